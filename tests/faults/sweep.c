#include "tests/faults/sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/faults/real_guest.h"
#include "tests/faults/snapshot.h"

enum { CALLS_MAX = 2000, CALL_MS = 15000 };

#define SCRATCH "scratch-1"

typedef enum gcs_status step_fn(struct sweep *sweep, struct gcs_error *err);

/* -- the steps -- */

static enum gcs_status
volume_add(struct sweep *s, struct gcs_error *err)
{
    static const char *const files[] = {"base", "top"};
    return gcs_add_volume(s->host, s->id, VOLUME_ID, files, 2, NULL, err);
}

static enum gcs_status
volume_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_volume(s->host, VOLUME_ID, err);
}

static enum gcs_status
scratch_add(struct sweep *s, struct gcs_error *err)
{
    return gcs_add_scratch(s->host, SCRATCH, 0, err);
}

static enum gcs_status
scratch_remove(struct sweep *s, struct gcs_error *err)
{
    return gcs_remove_scratch(s->host, SCRATCH, err);
}

static enum gcs_status
layers_combine(struct sweep *s, struct gcs_error *err)
{
    return gcs_combine_layers(s->host, s->id, SCRATCH, VOLUME_ID, err);
}

static enum gcs_status
layers_separate(struct sweep *s, struct gcs_error *err)
{
    return gcs_separate_layers(s->host, s->id, SCRATCH, VOLUME_ID, err);
}

static enum gcs_status
create(struct sweep *s, struct gcs_error *err)
{
    struct test_spec spec;
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol1", "/volumemountscratch");
    return gcs_create(s->host, s->id, &spec.spec, err);
}

static enum gcs_status delete (struct sweep *s, struct gcs_error *err) {
    return gcs_delete(s->host, s->id, err);
}

static enum gcs_status
start(struct sweep *s, struct gcs_error *err)
{
    return gcs_start(s->host, s->id, &s->init, err);
}

static enum gcs_status
stop(struct sweep *s, struct gcs_error *err)
{
    (void)err;
    host_stop(s->host, s->number, s->init);
    return GCS_OK;
}

/* Up to the end of what was executed, with all its descriptors; only the execution itself is disturbed. */
static enum gcs_status
execute(struct sweep *s, struct gcs_error *err)
{
    static const char *const args[] = {"exit", "0", NULL};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t id;
    process_init(&process, args);
    enum gcs_status status = gcs_exec(s->host, s->id, &process.process, &id, err);
    inject_disarm(s->inject);
    return status == GCS_OK ? gcs_wait(s->host, s->id, id, GCS_WAIT_FOREVER, &ended, err) : status;
}

static void
must(struct sweep *s, step_fn *step, const char *what)
{
    struct gcs_error err = {0};
    enum gcs_status status = step(s, &err);
    if (status == GCS_OK)
        return;
    program_print_log(&s->guest->sidecar);
    program_print_log(&s->guest->inbox);
    fail_msg("%s: then %s: %s", what, gcs_status_name(status), err.message);
}

/* Brings the container up or down to a level; from nothing it is a new container. */
void
sweep_go(struct sweep *s, enum level level, const char *what)
{
    static step_fn *const up[] = {volume_add, scratch_add, layers_combine, create, start};
    static step_fn *const down[] = {volume_remove, scratch_remove, layers_separate, delete, stop};
    if (s->level == NOTHING)
        container_id(s->id, ++s->number);
    for (; s->level < level; s->level++)
        must(s, up[s->level], what);
    for (; s->level > level; s->level--)
        must(s, down[s->level - 1], what);
}

/* -- what is swept -- */

static const struct swept {
    const char *name;
    step_fn *step;
    enum level from, to;
    /* What has been taken away half is not put back: the request may be repeated until it is done. */
    bool removes;
    /* A deletion takes away directories that only the deleted container had, when there is nothing left to
     * refuse: when one of them cannot be removed, the guest is inconsistent and says so; but not for want of
     * descriptors or memory, which passes. */
    bool may_stick;
} all_swept[] = {
    {"add a volume", volume_add, NOTHING, VOLUME},
    {"add a scratch", scratch_add, VOLUME, SCRATCHED},
    {"combine layers", layers_combine, SCRATCHED, COMBINED},
    {"create", create, COMBINED, CREATED},
    {"start", start, CREATED, STARTED},
    {"execute", execute, STARTED, STARTED},
    {"delete", delete, CREATED, COMBINED, .removes = true, .may_stick = true},
    {"separate layers", layers_separate, COMBINED, SCRATCHED, .removes = true},
    {"remove a scratch", scratch_remove, SCRATCHED, VOLUME, .removes = true},
    {"remove a volume", volume_remove, VOLUME, NOTHING, .removes = true},
};

struct figures {
    unsigned refused, harmless, stuck;
};

static void guest_begin(struct sweep *s);
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
    guest_begin(s);
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
        must(s, swept->step, what);
        s->level = swept->to;
    }
    gcs_error_clear(&err);
    free(before);
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
    } while (fail_once(s, swept, kinds, k, &figures));
    snapshot_await(s->guest, before, swept->name);
    print_message(
        "%-16s each of %3u calls failed once: %u refusals, %u harmless, %u inconsistent and said so\n",
        swept->name, k - 1, figures.refused, figures.harmless, figures.stuck);
}

static bool
is_named(const char *const *names, const char *name)
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
    for (size_t i = 0; i < sizeof all_swept / sizeof all_swept[0]; i++)
        if (is_named(names, all_swept[i].name))
            sweep_one(s, &all_swept[i], kinds, before);
    free(before);
}

/* -- fixtures -- */

static void
guest_begin(struct sweep *s)
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
    if (real)
        real_guest_setup_files(&s->guest);
    else
        guest_setup_files((void **)&s->guest);
    s->inject = inject_open(s->guest->directory);
    guest_begin(s);
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
