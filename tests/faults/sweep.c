#include "tests/faults/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/real_guest.h"
#include "tests/faults/snapshot.h"
#include "tests/faults/sweep_steps.h"

enum { CALLS_MAX = 2000, CALL_MS = 15000 };

struct figures {
    unsigned refused, harmless, stuck;
};

static void guest_end(struct sweep *s);

/* A refusal says why, and is none of those that say that nobody knows. */
static void
assert_reason(const char *what, enum gcs_status status, const struct gcs_error *err)
{
    if (status == GCS_UNAVAILABLE || status == GCS_DEADLINE_EXCEEDED || status == GCS_UNKNOWN ||
        status == GCS_PERMISSION_DENIED || !err->message[0])
        fail_msg("%s: %s: %s", what, gcs_status_name(status), err->message);
}

/* Whether a call fails as it does when descriptors or memory are short (inject_preload.c). */
static bool
passes(const char *call)
{
    static const char *const short_of_something[] = {"openat2", "fdopendir", "malloc", "calloc", NULL};
    for (size_t i = 0; short_of_something[i]; i++)
        if (strcmp(short_of_something[i], call) == 0)
            return true;
    return false;
}

/* The guest has become inconsistent: only where that may be. It starts anew, on a clean place. */
static void
begin_anew(struct sweep *s, const struct swept *swept, const char *what)
{
    if (!swept->may_stick || passes(s->inject->name))
        fail_msg("%s: the guest is inconsistent", what);
    guest_end(s);
    run_directory_remove(s->guest->sandbox);
    s->level = NOTHING;
    sweep_guest_begin(s);
}

/* The k-th call fails. False: there is no k-th call. */
static bool
fail_once(struct sweep *s, const struct swept *swept, unsigned kinds, unsigned k, struct figures *figures)
{
    struct gcs_error err = {0};
    char what[160];
    char *before = snapshot_take(s->guest);
    inject_arm(s->inject, kinds, NULL, k, k);
    enum gcs_status status = swept->step(s, &err);
    unsigned failed = inject_disarm(s->inject);
    snprintf(what, sizeof what, "%s, when call %u, %s, failed", swept->name, k, s->inject->name);
    if (getenv("GCS_TEST_VERBOSE"))
        print_message("  %s: %s %s\n", what, gcs_status_name(status), status == GCS_OK ? "" : err.message);
    if (host_health(s->guest->host).inconsistent) {
        figures->stuck++;
        begin_anew(s, swept, what);
    } else if (status == GCS_OK) {
        figures->harmless += failed > 0;
        s->level = swept->to;
    } else {
        assert_reason(what, status, &err);
        figures->refused++;
        if (!swept->removes)
            snapshot_await(s->guest, before, what);
        sweep_must(s, swept->step, what);
        s->level = swept->to;
    }
    gcs_error_clear(&err);
    free(before);
    if (swept->after)
        sweep_must(s, swept->after, what);
    sweep_go(s, NOTHING, what);
    return failed > 0;
}

static void
sweep_one(struct sweep *s, const struct swept *swept, unsigned kinds, const char *before)
{
    struct figures figures = {0};
    unsigned k = 0;
    do {
        assert_true(++k < CALLS_MAX);
        sweep_go(s, swept->from, swept->name);
        if (swept->before)
            sweep_must(s, swept->before, swept->name);
    } while (fail_once(s, swept, kinds, k, &figures));
    snapshot_await(s->guest, before, swept->name);
    print_message(
        "%-16s each of %3u calls failed once: %u refusals, %u harmless, %u inconsistent and said so\n",
        swept->name, k - 1, figures.refused, figures.harmless, figures.stuck);
}

bool
sweep_is_named(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return !names;
}

void
sweep_run(struct sweep *s, unsigned kinds, const char *const *names)
{
    char *before = snapshot_take(s->guest);
    for (size_t i = 0; i < sweep_steps_count; i++)
        if (sweep_is_named(names, sweep_steps[i].name))
            sweep_one(s, &sweep_steps[i], kinds, before);
    free(before);
}

/* -- fixtures -- */

void
sweep_guest_begin(struct sweep *s)
{
    struct gcs_options options = {.call_timeout_ms = CALL_MS};
    struct gcs_error err = {0};
    inject_environment(s->inject, !s->of_sidecar);
    guest_start_inbox(s->guest);
    inject_environment(s->inject, s->of_sidecar);
    guest_start_sidecar(s->guest);
    inject_environment(s->inject, false);
    guest_reconnect(s->guest);
    assert_int_equal(GCS_OK, policy_set(s->guest->host, guest_policy_text(s->guest)));
    assert_int_equal(GCS_OK, gcs_connect(s->guest->url, &options, &s->host, &err));
    /* A container has come and gone: what is made once and kept is there from here on. */
    sweep_go(s, STARTED, "the first container");
    sweep_go(s, NOTHING, "the first container");
}

static void
guest_end(struct sweep *s)
{
    gcs_disconnect(s->host);
    s->host = NULL;
    assert_int_equal(0, program_terminate(&s->guest->sidecar));
    assert_int_equal(0, program_terminate(&s->guest->inbox));
}

static int
setup(void **state, bool of_sidecar, bool real)
{
    struct sweep *s = calloc(1, sizeof *s);
    assert_non_null(s);
    *state = s;
    s->of_sidecar = of_sidecar;
    s->is_real = real;
    if (real)
        real_guest_setup_files(&s->guest);
    else
        guest_setup_files((void **)&s->guest);
    s->inject = inject_open(s->guest->directory);
    sweep_guest_begin(s);
    return 0;
}

int
sweep_setup_sidecar(void **state)
{
    return setup(state, true, false);
}

int
sweep_setup_inbox(void **state)
{
    return setup(state, false, false);
}

int
sweep_setup_real_sidecar(void **state)
{
    return setup(state, true, true);
}

int
sweep_setup_real_inbox(void **state)
{
    return setup(state, false, true);
}

int
sweep_teardown(void **state)
{
    struct sweep *s = *state;
    gcs_disconnect(s->host);
    inject_close(s->inject);
    int result = guest_teardown((void **)&s->guest);
    free(s);
    return result;
}
