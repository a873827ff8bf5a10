/*
 * gcs-bench: finds the subcommand and runs it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench/bench.h"
#include "server/base/log.h"

static const struct {
    const char *name, *summary;
    bench_run_fn *run;
} commands[] = {
    {"latency", "make requests beside what the transport alone costs", bench_latency},
    {"mounts", "make mount directories beside plainer ways of doing it", bench_mounts},
    {"peer", "serve the floors of latency", bench_peer},
    {"policy", "decide requests and load policies", bench_policy},
    {"slowfs", "serve an empty file system whose every operation takes a while", bench_slowfs},
};

static int
usage(FILE *to)
{
    fprintf(to, "Usage: gcs-bench COMMAND [OPTION...]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n`gcs-bench COMMAND --help` lists the options of a command.\n");
    return to == stdout ? 0 : 2;
}

int
main(int argc, char **argv)
{
    umask(0);
    log_set_program("gcs-bench");
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0)
        return usage(stdout);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "gcs-bench: there is no command '%s'\n", argv[1]);
    return usage(stderr);
}
