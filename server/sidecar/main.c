/*
 * gcs-sidecar: starts, waits for SIGTERM or SIGINT, ends. The first signal drains, the second ends it at
 * once.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/stacks.h"
#include "server/service/manager.h"
#include "server/sidecar/options.h"
#include "server/sidecar/sidecar.h"

/* 128 + SIGTERM, as a shell reports a program that a signal ended. */
#define EXIT_AT_ONCE 143

/* Handles the second signal while the first one's drain goes on. */
static void
end_at_once(int signal)
{
    (void)signal;
    _exit(EXIT_AT_ONCE);
}

/* Each verified layer holds a descriptor (server/mounts/volume.h), and the usual soft limit of 1,024 is for
 * programs that call select(2). A failure is harmless: fewer layers fit. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        LOG_WARNING("the limit of open files stays as it is");
}

int
main(int argc, char **argv)
{
    struct options options;
    struct sidecar *sidecar;
    struct error err;
    log_set_program("gcs-sidecar");
    umask(0); /* once, before any thread: modes are what mkdirat(2) is given (server/mounts/sandbox_root.h) */

    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ending, NULL);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    stacks_start();

    enum status status = options_parse(argc, argv, &options, &err);
    struct watchdog *watchdog = options.config.watchdog = manager_watchdog_new();
    if (status != STATUS_OK || sidecar_start(&options.config, &sidecar, &err) != STATUS_OK) {
        LOG_ERROR("cannot start", LOG_TEXT("reason", err.text));
        watchdog_free(watchdog);
        return EXIT_FAILURE;
    }
    if (options.any_policy)
        LOG_WARNING("any policy is accepted: the host decides what this guest does");
    LOG_INFO("listening", LOG_TEXT("url", options.listen_urls[0]));
    if (manager_ready(watchdog, &err) != STATUS_OK)
        LOG_ERROR("no watchdog", LOG_TEXT("reason", err.text)); /* the manager, not fed, starts us anew */

    int received = 0;
    sigwait(&ending, &received);
    LOG_INFO("shutting down", LOG_NUMBER("signal", received));
    manager_stopping();
    watchdog_stop(watchdog);
    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
    pthread_sigmask(SIG_UNBLOCK, &ending, NULL);
    sidecar_stop(sidecar);
    watchdog_free(watchdog);
    LOG_INFO("ended");
    return EXIT_SUCCESS;
}
