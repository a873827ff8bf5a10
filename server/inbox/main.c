/*
 * gcs-inbox: the inner agent. Opens the inbox, serves the sidecar until SIGTERM or SIGINT, and leaves nothing
 * behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/stacks.h"
#include "server/inbox/health.h"
#include "server/inbox/inbox.h"
#include "server/inbox/log_forwarder.h"
#include "server/inbox/methods.h"
#include "server/inbox/metrics.h"
#include "server/inbox/options.h"
#include "server/inbox/poller.h"
#include "server/rpc/server.h"
#include "server/service/endpoint.h"
#include "server/service/manager.h"

/* How long the containers' end may take once requests are done. */
enum { STOP_TIME_MS = 30000 };

/* Descriptors 0, 1, 2 are open in all that follows, so no pipe is ever mistaken for a standard stream. */
static void
standard_streams_open(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

/* Three pipes a process, a thousand processes a container: the usual soft limit is far too low. */
static void
descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        LOG_WARNING("cannot raise the limit of open files");
}

static void
signals_block(sigset_t *ret_ending)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(ret_ending);
    sigaddset(ret_ending, SIGTERM);
    sigaddset(ret_ending, SIGINT);
    pthread_sigmask(SIG_BLOCK, ret_ending, NULL);
}

/* From now on a second signal ends the program at once. */
static void
signals_release(const sigset_t *ending)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, ending, NULL);
}

static enum status
listen_all(struct rpc_server *server, const struct options *options, struct error *err)
{
    for (size_t i = 0; i < options->listen_count; i++)
        TRY(rpc_server_listen(server, options->listen[i], err));
    return STATUS_OK;
}

/* Everything listens: tells the service manager, and watches the threads from now on. */
static enum status
watch(struct inbox *inbox, struct rpc_server *server, struct error *err)
{
    pool_heartbeats(inbox->pool, watchdog_add, inbox->watchdog);
    timers_heartbeats(inbox->timers, watchdog_add, inbox->watchdog);
    poller_heartbeats(inbox->poller, watchdog_add, inbox->watchdog);
    rpc_server_heartbeats(server, watchdog_add, inbox->watchdog);
    return manager_ready(inbox->watchdog, err);
}

/* Until a signal comes; then lets what is under way finish, for a while. */
static void
serve_until_told(struct rpc_server *server, const struct options *options, const sigset_t *ending)
{
    int number;
    LOG_INFO("ready", LOG_TEXT("runtime", options->runtime_name), LOG_TEXT("listen", options->listen[0]));
    sigwait(ending, &number);
    LOG_INFO("ending", LOG_NUMBER("signal", number));
    manager_stopping();
    signals_release(ending);
    if (!rpc_server_drain(server, clock_now_ns() + options->drain_ms * NS_PER_MS))
        LOG_WARNING("requests are still under way");
}

static enum status
serve(struct inbox *inbox, const struct options *options, const sigset_t *ending, struct error *err)
{
    struct metrics *metrics = inbox_metrics_new(inbox);
    struct rpc_server_config config = {
        .methods = &inbox_methods,
        .pool = inbox->pool,
        .timers = inbox->timers,
        .module_name = "gcs-inbox",
        .accepts_approval = !inbox->options.standalone,
        .metrics = metrics,
        .app = inbox,
    };
    struct rpc_server *server = NULL;
    enum status status = rpc_server_start(&config, &server, err);
    if (status != STATUS_OK) {
        metrics_free(metrics);
        return status;
    }
    struct endpoint *endpoint = NULL;
    const struct endpoint_config show = {
        .listen = options->metrics_listen, .metrics = metrics, .health = inbox_health_write, .arg = inbox};
    inbox->watchdog = manager_watchdog_new();
    status = listen_all(server, options, err);
    if (status == STATUS_OK && options->metrics_listen)
        status = endpoint_start(&show, &endpoint, err);
    if (status == STATUS_OK)
        status = watch(inbox, server, err);
    if (status == STATUS_OK)
        serve_until_told(server, options, ending);
    watchdog_stop(inbox->watchdog);
    endpoint_stop(endpoint);
    inbox_stop(inbox, clock_now_ns() + STOP_TIME_MS * NS_PER_MS);
    rpc_server_stop(server);
    metrics_free(metrics);
    watchdog_free(TAKE_PTR(inbox->watchdog));
    return status;
}

int
main(int argc, char **argv)
{
    static struct options options; /* too large for a stack; nobody but main() knows of it */
    struct error err;
    sigset_t ending;
    standard_streams_open();
    umask(022); /* the usual one, for what we run: `runc exec` sets none and so hands ours to the process */
    log_set_program("gcs-inbox");
    options_parse(argc, argv, &options);
    log_set_level(options.log_level);
    signals_block(&ending);
    descriptors_raise();
    stacks_start();

    struct inbox *inbox = NULL;
    enum status status = options_complete(&options, &err);
    if (status == STATUS_OK)
        status = log_forwarder_start(options.log_sink, &options.inbox.log_forwarder, &err);
    if (status == STATUS_OK)
        status = inbox_open(&options.inbox, &inbox, &err);
    if (status == STATUS_OK)
        status = serve(inbox, &options, &ending, &err);
    inbox_close(inbox);
    log_forwarder_stop(options.inbox.log_forwarder);
    if (status != STATUS_OK) {
        LOG_ERROR("cannot serve", LOG_TEXT("error", err.text));
        return EXIT_FAILURE;
    }
    LOG_INFO("ended");
    return EXIT_SUCCESS;
}
