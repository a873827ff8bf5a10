#include "client/gcsctl/stopper.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/mutex.h"

#define GRACE_NS        (10 * NS_PER_S)
#define SIGNALS_TO_QUIT 3

/* What has been done to the process. */
enum pressure { PRESSURE_NONE, PRESSURE_ASKED, PRESSURE_FORCED };

struct stopper {
    struct tool *tool;
    pthread_t thread;
    int signal_fd, wake_fd;

    struct {
        struct mutex lock;
        const char *container_id GUARDED; /* NULL: no process to send signals to */
        uint32_t process_id GUARDED;
        bool is_init GUARDED;
        int first_signal GUARDED; /* 0: none */
        unsigned signals GUARDED; /* how many came */
        bool stopping GUARDED;
    } state; /* lock guards its neighbours; no call is made while it is held */
};

/* A copy of what the lock guards. */
struct situation {
    const char *container_id;
    uint32_t process_id;
    bool is_init;
    int first_signal;
    unsigned signals;
    bool stopping;
};

void
stopper_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGHUP);
}

void
stopper_block(void)
{
    sigset_t set;
    stopper_signals(&set);
    sigaddset(&set, SIGWINCH); /* window.h takes it */
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static struct situation
situation_now(struct stopper *stopper)
{
    mutex_lock(&stopper->state.lock);
    struct situation now = {
        .container_id = stopper->state.container_id,
        .process_id = stopper->state.process_id,
        .is_init = stopper->state.is_init,
        .first_signal = stopper->state.first_signal,
        .signals = stopper->state.signals,
        .stopping = stopper->state.stopping,
    };
    mutex_unlock(&stopper->state.lock);
    return now;
}

static void
wake(struct stopper *stopper)
{
    uint64_t one = 1;
    (void)!write(stopper->wake_fd, &one, sizeof(one)); /* full means that it wakes anyway */
}

static Gcs__V1__Signal
control_signal(int signal_number)
{
    switch (signal_number) {
    case SIGINT:
        return GCS__V1__SIGNAL__SIGNAL_CTRL_C;
    case SIGHUP:
        return GCS__V1__SIGNAL__SIGNAL_CTRL_CLOSE;
    default:
        return GCS__V1__SIGNAL__SIGNAL_CTRL_SHUTDOWN;
    }
}

static void
force(struct stopper *stopper, const struct situation *now)
{
    struct gcs_error err = {0};
    tool_progress(stopper->tool, "stop", "process %u is ended by force", now->process_id);
    enum gcs_status status = now->is_init
                                 ? gcs_shutdown(stopper->tool->conn, now->container_id, true, &err)
                                 : gcs_signal(stopper->tool->conn, now->container_id, now->process_id,
                                              GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err);
    if (status != GCS_OK)
        (void)tool_fail(stopper->tool, "stop", &err);
}

/* True when the process has got the signal. */
static bool
ask(struct stopper *stopper, const struct situation *now)
{
    struct gcs_error err = {0};
    tool_progress(stopper->tool, "stop", "process %u is asked to end", now->process_id);
    if (gcs_signal(stopper->tool->conn, now->container_id, now->process_id, control_signal(now->first_signal),
                   &err) == GCS_OK)
        return true;
    (void)tool_fail(stopper->tool, "signal", &err);
    return false;
}

/* Raises the pressure as far as the signals and the time that has passed say. */
static void
press(struct stopper *stopper, const struct situation *now, enum pressure *pressure, int64_t *force_at_ns)
{
    if (now->container_id == NULL || now->signals == 0)
        return;
    if (*pressure == PRESSURE_NONE) {
        bool asked = now->signals == 1 && ask(stopper, now);
        *force_at_ns = clock_now_ns() + (asked ? GRACE_NS : 0);
        *pressure = PRESSURE_ASKED;
    }
    if (*pressure == PRESSURE_ASKED && (now->signals > 1 || clock_now_ns() >= *force_at_ns)) {
        force(stopper, now);
        *pressure = PRESSURE_FORCED;
    }
}

static void
read_pending(struct stopper *stopper)
{
    struct signalfd_siginfo info;
    while (read(stopper->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        stopper_raise(stopper, (int)info.ssi_signo);
}

static void
read_signals(struct stopper *stopper)
{
    read_pending(stopper);
    uint64_t count;
    (void)!read(stopper->wake_fd, &count, sizeof(count));
}

static int
poll_timeout_ms(enum pressure pressure, int64_t force_at_ns)
{
    if (pressure != PRESSURE_ASKED)
        return -1;
    int64_t left_ms = (force_at_ns - clock_now_ns()) / NS_PER_MS + 1;
    return left_ms > 0 ? (int)left_ms : 0;
}

static void *
run(void *arg)
{
    struct stopper *stopper = arg;
    enum pressure pressure = PRESSURE_NONE;
    int64_t force_at_ns = 0;
    struct pollfd fds[] = {{.fd = stopper->signal_fd, .events = POLLIN},
                           {.fd = stopper->wake_fd, .events = POLLIN}};

    for (;;) {
        (void)poll(fds, 2, poll_timeout_ms(pressure, force_at_ns));
        read_signals(stopper);
        struct situation now = situation_now(stopper);
        if (now.signals >= SIGNALS_TO_QUIT) {
            fprintf(stderr, "gcsctl: given up; what is in the guest stays there\n");
            _exit(EXIT_STATUS_FAILED);
        }
        if (now.stopping)
            return NULL;
        press(stopper, &now, &pressure, &force_at_ns);
    }
}

static void
stopper_free(struct stopper *stopper)
{
    fd_closep(&stopper->signal_fd);
    fd_closep(&stopper->wake_fd);
    mutex_done(&stopper->state.lock);
    free(stopper);
}

enum status
stopper_start(struct tool *tool, struct stopper **ret, struct error *err)
{
    struct stopper *stopper = calloc(1, sizeof(*stopper));
    if (stopper == NULL)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    sigset_t set;
    stopper_signals(&set);
    stopper->tool = tool;
    mutex_init(&stopper->state.lock, RANK_LEAF);
    stopper->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    stopper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failed = stopper->signal_fd < 0 || stopper->wake_fd < 0
                     ? errno
                     : pthread_create(&stopper->thread, NULL, run, stopper);
    if (failed != 0) {
        stopper_free(stopper);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, failed, "wait for signals");
    }
    *ret = stopper;
    return STATUS_OK;
}

void
stopper_attach(struct stopper *stopper, const char *container_id, uint32_t process_id, bool is_init)
{
    mutex_lock(&stopper->state.lock);
    stopper->state.container_id = container_id;
    stopper->state.process_id = process_id;
    stopper->state.is_init = is_init;
    mutex_unlock(&stopper->state.lock);
    wake(stopper);
}

void
stopper_detach(struct stopper *stopper)
{
    mutex_lock(&stopper->state.lock);
    stopper->state.container_id = NULL;
    mutex_unlock(&stopper->state.lock);
}

void
stopper_raise(struct stopper *stopper, int signal_number)
{
    mutex_lock(&stopper->state.lock);
    if (stopper->state.first_signal == 0)
        stopper->state.first_signal = signal_number;
    stopper->state.signals++;
    mutex_unlock(&stopper->state.lock);
    wake(stopper);
}

int
stopper_signal(struct stopper *stopper)
{
    /* One that came a moment ago, which the thread has not seen yet, counts too. */
    read_pending(stopper);
    return situation_now(stopper).first_signal;
}

void
stopper_stop(struct stopper *stopper)
{
    if (stopper == NULL)
        return;
    mutex_lock(&stopper->state.lock);
    stopper->state.stopping = true;
    mutex_unlock(&stopper->state.lock);
    wake(stopper);
    pthread_join(stopper->thread, NULL);
    stopper_free(stopper);
}
