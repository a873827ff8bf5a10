/* The sweep in which a call of the sidecar is its last. */
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "tests/faults/snapshot.h"
#include "tests/faults/sweep_steps.h"

enum { KILLS_MAX = 500 };

/* A request on a thread of its own: its caller waits until there is a guest again, which the main thread sees
 * to. */
struct attempt {
    struct sweep *sweep;
    const struct swept *swept;
    int done_fd;
    enum gcs_status status;
    struct gcs_error err;
};

struct figures {
    unsigned kills, unknown; /* unknown: the host was told UNAVAILABLE */
    unsigned done;           /* of those, what the predecessor had finished all the same */
};

static void *
attempt_main(void *arg)
{
    struct attempt *attempt = arg;
    const uint64_t one = 1;
    attempt->status = attempt->swept->step(attempt->sweep, &attempt->err);
    (void)!write(attempt->done_fd, &one, sizeof one);
    return NULL;
}

/* Makes the request. True: the sidecar was killed in the middle of it, and is back. */
static bool
attempt_run(struct attempt *attempt, unsigned k)
{
    struct sweep *s = attempt->sweep;
    struct program *sidecar = &s->guest->sidecar;
    pthread_t thread;
    inject_arm_kill(s->inject, k);
    assert_int_equal(0, pthread_create(&thread, NULL, attempt_main, attempt));
    struct pollfd fds[] = {{.fd = attempt->done_fd, .events = POLLIN},
                           {.fd = sidecar->pidfd, .events = POLLIN}};
    int ready = poll(fds, 2, PROGRAM_PATIENCE_MS);
    bool killed = inject_disarm(s->inject) > 0;
    assert_true(ready > 0);
    if (killed) {
        assert_int_equal(-SIGKILL, program_end(sidecar));
        inject_environment(s->inject, true);
        guest_start_sidecar(s->guest);
        inject_environment(s->inject, false);
    }
    pthread_join(thread, NULL);
    return killed;
}

/* Whether a status may say that there is nothing left to do; a mount that is there leaves no rule for
 * another. */
static bool
may_say_done(enum gcs_status status)
{
    return status == GCS_ALREADY_EXISTS || status == GCS_NOT_FOUND || status == GCS_FAILED_PRECONDITION ||
           status == GCS_PERMISSION_DENIED;
}

/* The container that there is now, whoever made it, is one to use. */
static void
use(struct sweep *s, const char *what)
{
    static const char *const args[] = {"exit", "0", NULL};
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t init, id;
    process_init(&process, args);
    if (gcs_start(s->host, s->id, &init, &err) != GCS_OK)
        fail_msg("%s: start: %s", what, err.message);
    if (s->is_real)
        return; /* its layer has none of the fake runtime's programs */
    if (gcs_exec(s->host, s->id, &process.process, &id, &err) != GCS_OK ||
        gcs_wait(s->host, s->id, id, GCS_WAIT_FOREVER, &ended, &err) != GCS_OK)
        fail_msg("%s: exec: %s", what, err.message);
}

/* Takes away whatever there is, as a host does that does not know. */
static void
take_away(struct sweep *s, const char *what)
{
    struct gcs_error err = {0};
    host_take_away(s->host, s->number, VOLUME_ID);
    enum gcs_status status = gcs_remove_volume(s->host, VOLUME_ID, &err);
    if (status != GCS_OK && status != GCS_NOT_FOUND)
        fail_msg("%s: then the volume cannot go: %s", what, err.message);
    gcs_error_clear(&err);
    s->level = NOTHING;
}

/* The k-th call is the sidecar's last. False: there is no k-th call. */
static bool
kill_once(struct sweep *s, const struct swept *swept, unsigned k, const char *before, struct figures *figures)
{
    struct attempt attempt = {.sweep = s, .swept = swept, .done_fd = eventfd(0, EFD_CLOEXEC)};
    char what[160];
    assert_true(attempt.done_fd >= 0);
    sweep_go(s, swept->from, swept->name);
    bool killed = attempt_run(&attempt, k);
    close(attempt.done_fd);
    snprintf(what, sizeof what, "%s, killed at call %u, %s", swept->name, k, s->inject->name);
    if (attempt.status != GCS_OK && !(killed && attempt.status == GCS_UNAVAILABLE))
        fail_msg("%s: %s: %s", what, gcs_status_name(attempt.status), attempt.err.message);
    if (!killed) {
        s->level = swept->to;
        sweep_go(s, NOTHING, what);
        return false;
    }
    guest_reconnect(s->guest);
    assert_int_equal(GCS_OK, policy_set(s->guest->host, guest_policy_text(s->guest)));
    assert_false(host_health(s->guest->host).inconsistent);
    figures->kills++;
    figures->unknown += attempt.status == GCS_UNAVAILABLE;
    gcs_error_clear(&attempt.err);

    enum gcs_status again = swept->step(s, &attempt.err);
    if (getenv("GCS_TEST_VERBOSE"))
        print_message("  %s: %s, asked again: %s\n", what, gcs_status_name(attempt.status),
                      gcs_status_name(again));
    if (again != GCS_OK && !may_say_done(again))
        fail_msg("%s: asked again: %s: %s", what, gcs_status_name(again), attempt.err.message);
    if (attempt.status == GCS_UNAVAILABLE)
        figures->done += again != GCS_OK;
    gcs_error_clear(&attempt.err);
    if (swept->from == COMBINED && swept->to == CREATED)
        use(s, what);
    take_away(s, what);
    snapshot_await(s->guest, before, what);
    return true;
}

void
sweep_run_killed(struct sweep *s, const char *const *names)
{
    char *before = snapshot_take(s->guest);
    for (size_t i = 0; i < sweep_steps_count; i++) {
        const struct swept *swept = &sweep_steps[i];
        struct figures figures = {0};
        unsigned k = 0;
        if (!sweep_is_named(names, swept->name) || swept->before || swept->after)
            continue;
        do
            assert_true(++k < KILLS_MAX);
        while (kill_once(s, swept, k, before, &figures));
        print_message(
            "%-16s killed at each of %3u calls: %u left the host without an answer, of which %u were "
            "done all the same; left behind 0\n",
            swept->name, figures.kills, figures.unknown, figures.done);
    }
    free(before);
}
