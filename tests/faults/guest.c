#include "tests/faults/guest.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "server/base/log.h"

enum { ARGS_MAX = 40, CONNECT_MS = 20000 };

/* The end of the seed's one mount, and with another mount behind it. */
#define MOUNT_END "        \"type\": \"bind\"\n      },\n"
#define LATER_MOUNT                                                                                          \
    MOUNT_END "      {\"destination\": \"" GUEST_LATER                                                       \
              "\", \"options\": [\"rbind\", \"rshared\", \"rw\"],\n"                                         \
              "       \"source\": \"sandbox:///tmp/atlas/emptydir/.+\", \"type\": \"bind\"},\n"

#define SIGNALS "[\"CtrlC\", \"CtrlBreak\", \"CtrlShutdown\"]"

/* -- programs -- */

struct arguments {
    const char *list[ARGS_MAX + 1];
    size_t count;
};

static void
add(struct arguments *args, const char *const *more)
{
    for (; more && *more; more++) {
        assert_true(args->count < ARGS_MAX);
        args->list[args->count++] = *more;
    }
}

static void
start(struct program *program, const struct guest *guest, const char *name, const char *path,
      const char *const *defaults, const char *const *more)
{
    char log[128];
    struct arguments args = {.list = {name}, .count = 1};
    assert_int_equal(0, program->pid);
    add(&args, defaults);
    add(&args, more);
    snprintf(log, sizeof log, "%s/%s.log", guest->directory, name);
    program_start(program, path, args.list, log);
}

void
guest_start_inbox(struct guest *guest)
{
    const char *const args[] = {"--runtime",      "fake",         "--run-dir",
                                guest->run_dir,   "--listen",     guest->inbox_url,
                                "--sandbox-root", guest->sandbox, NULL};
    start(&guest->inbox, guest, "gcs-inbox", GCS_INBOX_PROGRAM, args, guest->inbox_args);
}

void
guest_start_sidecar(struct guest *guest)
{
    const char *const args[] = {"--trusted-listen",
                                guest->url,
                                "--inbox",
                                guest->inbox_url,
                                "--sandbox-root",
                                guest->sandbox,
                                "--layer-dir",
                                guest->layers,
                                "--volume-dir",
                                guest->volumes,
                                "--volumes",
                                "fake",
                                "--workers",
                                "2",
                                "--insecure-any-policy",
                                NULL};
    start(&guest->sidecar, guest, "gcs-sidecar", GCS_SIDECAR_PROGRAM, args, guest->sidecar_args);
}

struct gcs_connection *
guest_connect(struct guest *guest)
{
    struct gcs_options options = {.connect_timeout_ms = CONNECT_MS};
    struct gcs_connection *host = NULL;
    struct gcs_error err = {0};
    if (gcs_connect(guest->url, &options, &host, &err) != GCS_OK) {
        program_print_log(&guest->sidecar);
        fail_msg("%s", err.message);
    }
    return host;
}

void
guest_reconnect(struct guest *guest)
{
    gcs_disconnect(guest->host);
    guest->host = NULL; /* the next line may fail the test */
    guest->host = guest_connect(guest);
    assert_true(host_wait_connected(guest->host, true));
}

/* -- the policy -- */

char *
guest_policy_text(const struct guest *guest)
{
    static const char *const execs[] = {GUEST_EXECS};
    char *list = NULL, *text = seed_policy_text(&guest->seed);
    size_t size;
    FILE *out = open_memstream(&list, &size);
    assert_non_null(out);
    fputs("\"exec_processes\": [\n", out);
    for (size_t i = 0; i < sizeof execs / sizeof execs[0]; i++)
        fprintf(out, "%s{\"command\": %s, \"signals\": " SIGNALS "}", i ? ",\n" : "", execs[i]);
    assert_int_equal(0, fclose(out));
    text = policy_replace(
        text,
        "\"exec_processes\": [\n      {\n        \"command\": [\n          \"cmd\"\n        ],\n"
        "        \"signals\": []\n      }",
        list);
    free(list);
    text = policy_replace(text, MOUNT_END, LATER_MOUNT);
    return policy_replace(text, "\"signals\": [],\n    \"user\"", "\"signals\": " SIGNALS ",\n    \"user\"");
}

void
guest_set_policy(struct guest *guest)
{
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));
    host_add_volume(guest->host);
}

/* -- cmocka's -- */

int
guest_setup_files(void **state)
{
    struct guest *guest = calloc(1, sizeof *guest);
    assert_non_null(guest);
    *state = guest;
    log_set_level(LOG_LEVEL_ERROR); /* of libgcs here */
    run_directory_make(guest->directory, "gcs-guest");
    snprintf(guest->url, sizeof guest->url, "ipc://%s/sidecar.sock", guest->directory);
    snprintf(guest->inbox_url, sizeof guest->inbox_url, "ipc://%s/inbox.sock", guest->directory);
    snprintf(guest->run_dir, sizeof guest->run_dir, "%s/inbox", guest->directory);
    snprintf(guest->sandbox, sizeof guest->sandbox, "%s/sandbox", guest->directory);
    snprintf(guest->layers, sizeof guest->layers, "%s/layers", guest->directory);
    snprintf(guest->volumes, sizeof guest->volumes, "%s/volumes", guest->directory);
    assert_int_equal(0, mkdir(guest->run_dir, 0700));
    assert_int_equal(0, mkdir(guest->sandbox, 0755));
    assert_int_equal(0, mkdir(guest->layers, 0755));
    assert_int_equal(0, mkdir(guest->volumes, 0700));
    seed_layers_make(guest->layers, &guest->seed);
    return 0;
}

void
guest_start(struct guest *guest)
{
    guest_start_inbox(guest);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
}

int
guest_setup_programs(void **state)
{
    guest_setup_files(state);
    guest_start(*state);
    return 0;
}

int
guest_setup(void **state)
{
    guest_setup_programs(state);
    guest_set_policy(*state);
    return 0;
}

static int
end(struct program *program)
{
    if (program->pid <= 0)
        return 0;
    program_resume(program); /* a test that failed may have left it stopped */
    int code = program_terminate(program);
    if (code != 0)
        program_print_log(program);
    return code;
}

int
guest_teardown(void **state)
{
    struct guest *guest = *state;
    if (!guest)
        return 0;
    gcs_disconnect(guest->host);
    int sidecar = end(&guest->sidecar), inbox = end(&guest->inbox);
    run_directory_remove(guest->directory);
    free(guest);
    if (sidecar != 0 || inbox != 0)
        print_message("gcs-sidecar ended with %d, gcs-inbox with %d\n", sidecar, inbox);
    return sidecar != 0 || inbox != 0 ? -1 : 0;
}
