/*
 * gcs-sidecar is killed in the middle of its work and started anew, with the same flags, while gcs-inbox
 * lives on. Requests of the old session are not run again, what the inbox has is known again once the same
 * policy is set, and what belongs to nothing is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "tests/faults/guest.h"
#include "tests/faults/snapshot.h"
#include "tests/faults/sweep.h"

#define CREATED   GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED
#define STARTED_  GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED
#define FORCED    GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT
#define IN_FLIGHT "gcs_requests_in_flight" /* whoever asks is one of them */
#define SENT      "gcs_inbox_requests_total"
#define TARGET    "/volumemountscratch"

enum { CREATES = 50, LOG_BYTES_MAX = 64 << 20, EVENTS_MAX = 64 };

/* -- what the inbox has really done: its log has a line for each request that it has run -- */

struct runs {
    unsigned all, good;
};

static struct runs
creates_of(const struct guest *guest, const char *id)
{
    struct runs runs = {0};
    struct error err;
    char *text = NULL, *saved = NULL;
    size_t size;
    assert_int_equal(STATUS_OK, fd_read_file(guest->inbox.log, LOG_BYTES_MAX, &text, &size, &err));
    for (char *line = strtok_r(text, "\n", &saved); line; line = strtok_r(NULL, "\n", &saved))
        if (strstr(line, "\"method\":\"CreateContainer\"") && (!id || strstr(line, id))) {
            runs.all++;
            runs.good += strstr(line, "\"outcome\":\"OK\"") != NULL;
        }
    free(text);
    return runs;
}

/* -- fifty creates -- */

/* When the sidecar is killed. */
static const struct moment {
    const char *name;
    unsigned answered; /* so many creates have their answer; the others are under way */
    bool made;         /* and the inbox makes them, but the sidecar takes no answer */
    bool races;        /* all are sent at once, and nobody stands still: any state may be hit */
} moments[] = {
    {"before any answer", .answered = 0},
    {"after 1 answer", .answered = 1},
    {"after 25 answers", .answered = 25},
    {"after 49 answers", .answered = 49},
    {"before any answer, all made", .answered = 0, .made = true},
    {"after 25 answers, all made", .answered = 25, .made = true},
    {"at the first answer", .answered = 1, .races = true},
    {"at the first answer again", .answered = 1, .races = true},
};

struct fifty {
    struct guest *guest;
    unsigned first; /* number of the first container: ids are never used again */
    struct host_call *calls[CREATES];
    char sources[CREATES][64];
    bool answered[CREATES], made[CREATES];
    unsigned answers, adopted, swept, twice;
};

static enum gcs_status
create(struct fifty *fifty, unsigned i)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    spec_init(&spec);
    spec_add_mount(&spec, fifty->sources[i], TARGET);
    enum gcs_status status =
        gcs_create(fifty->guest->host, container_id(id, fifty->first + i), &spec.spec, &err);
    gcs_error_clear(&err);
    return status;
}

/* Every container has a directory of its own. */
static void
begin(struct fifty *fifty, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct test_spec spec;
        char id[65];
        snprintf(fifty->sources[i], sizeof fifty->sources[i], "sandbox:///tmp/atlas/emptydir/vol%u",
                 fifty->first + i);
        spec_init(&spec);
        spec_add_mount(&spec, fifty->sources[i], TARGET);
        fifty->calls[i] = host_begin_create(fifty->guest->host, container_id(id, fifty->first + i), &spec, 0);
    }
}

/* Waits until the inbox has run so many, or for a while: what a stopped sidecar has not sent yet never
 * comes. */
static unsigned
wait_for_creates(const struct guest *guest, unsigned count)
{
    int64_t deadline_ns = clock_now_ns() + 5 * NS_PER_S;
    unsigned now;
    while ((now = creates_of(guest, NULL).all) < count && clock_now_ns() < deadline_ns)
        ;
    return now;
}

static void
kill_at(struct fifty *fifty, const struct moment *moment)
{
    struct guest *guest = fifty->guest;
    unsigned before = creates_of(guest, NULL).all, under_way = CREATES - moment->answered;
    begin(fifty, 0, moment->races ? CREATES : moment->answered);
    for (unsigned i = 0; i < moment->answered; i++)
        assert_true(host_wait(fifty->calls[i]));
    if (moment->races) {
        program_kill(&guest->sidecar);
        return;
    }
    program_pause(&guest->inbox);
    int64_t sent = host_figure(guest->host, SENT);
    begin(fifty, moment->answered, CREATES);
    assert_true(host_wait_figure(guest->host, IN_FLIGHT, under_way + 1, under_way + 1));
    assert_true(host_wait_figure(guest->host, SENT, sent + under_way, INT64_MAX));
    if (moment->made) {
        program_pause(&guest->sidecar);
        program_resume(&guest->inbox);
        assert_true(wait_for_creates(guest, before + CREATES) > before + moment->answered);
    }
    program_kill(&guest->sidecar);
    if (!moment->made)
        program_resume(&guest->inbox);
}

static bool
directory_is_there(const struct fifty *fifty, unsigned i)
{
    char path[200];
    snprintf(path, sizeof path, "%s%s", fifty->guest->sandbox, fifty->sources[i] + strlen("sandbox://"));
    return access(path, F_OK) == 0;
}

/* The same sidecar again. What was in flight ends: its session is not known any more. */
static void
start_anew(struct fifty *fifty)
{
    struct guest *guest = fifty->guest;
    guest_start_sidecar(guest);
    for (unsigned i = 0; i < CREATES; i++) {
        assert_true(host_wait(fifty->calls[i]));
        enum gcs_status status = host_end(fifty->calls[i]);
        if (status != GCS_OK && status != GCS_UNAVAILABLE)
            fail_msg("create %u: %s", i, gcs_status_name(status));
        fifty->answered[i] = status == GCS_OK;
        fifty->answers += fifty->answered[i];
    }
    assert_true(host_wait_connected(guest->host, true));
    assert_int_equal(GCS_FAILED_PRECONDITION, create(fifty, 0)); /* there is no policy yet */
}

/* Each is known exactly if the inbox has made it, and its directory is there exactly then. */
static void
assert_known(struct fifty *fifty, const struct moment *moment)
{
    struct guest *guest = fifty->guest;
    unsigned before = 0, after = 0;
    char id[65];
    for (unsigned i = 0; i < CREATES; i++)
        before += directory_is_there(fifty, i);
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));
    for (unsigned i = 0; i < CREATES; i++) {
        struct runs runs = creates_of(guest, container_id(id, fifty->first + i));
        fifty->twice += runs.all > 1;
        fifty->made[i] = runs.good > 0;
        fifty->adopted += fifty->made[i];
        assert_true(fifty->made[i] || !fifty->answered[i]);
        assert_int_equal(fifty->made[i], directory_is_there(fifty, i));
        after += fifty->made[i];
    }
    fifty->swept = before - after;
    assert_int_equal(0, fifty->twice);
    if (moment->made)
        assert_true(fifty->adopted > moment->answered);
    assert_int_equal(CREATES, host_health(guest->host).containers); /* the others are prepared still */
    assert_false(host_health(guest->host).inconsistent);
}

/* A host asks again for all of them, and then uses them. */
static void
use(struct fifty *fifty, unsigned i)
{
    static const char *const args[] = {"exit", "0", NULL};
    struct gcs_connection *host = fifty->guest->host;
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t init, exec;
    char id[65];
    assert_int_equal(fifty->made[i] ? GCS_ALREADY_EXISTS : GCS_OK, create(fifty, i));
    assert_int_equal(1, creates_of(fifty->guest, container_id(id, fifty->first + i)).good);
    process_init(&process, args);
    if (gcs_start(host, id, &init, &err) != GCS_OK ||
        gcs_exec(host, id, &process.process, &exec, &err) != GCS_OK ||
        gcs_wait(host, id, exec, GCS_WAIT_FOREVER, &ended, &err) != GCS_OK)
        fail_msg("%s", err.message);
    assert_int_equal(0, ended.code);
    host_stop(host, fifty->first + i, init);
    host_clear(host, fifty->first + i);
}

static void
fifty_creates_are_whole_or_not_at_all_and_none_runs_twice(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    host_stop(guest->host, 0, host_run(guest->host, 0)); /* what is made once and kept is there */
    host_clear(guest->host, 0);
    assert_int_equal(GCS_OK, gcs_remove_volume(guest->host, VOLUME_ID, &err));
    char *before = snapshot_take(guest);

    for (unsigned k = 0; k < sizeof moments / sizeof moments[0]; k++) {
        struct fifty fifty = {.guest = guest, .first = (k + 1) * 100};
        host_add_volume(guest->host);
        for (unsigned i = 0; i < CREATES; i++)
            host_prepare(guest->host, fifty.first + i);

        kill_at(&fifty, &moments[k]);

        start_anew(&fifty);
        assert_known(&fifty, &moments[k]);
        for (unsigned i = 0; i < CREATES; i++)
            use(&fifty, i);
        assert_int_equal(GCS_OK, gcs_remove_volume(guest->host, VOLUME_ID, &err));
        snapshot_await(guest, before, moments[k].name);
        print_message("killed %-28s creates sent %d, answered %2u, adopted %2u, directories swept %2u; run "
                      "twice %u, left 0\n",
                      moments[k].name, CREATES, fifty.answers, fifty.adopted, fifty.swept, fifty.twice);
    }
    free(before);
}

/* -- what nobody was told of -- */

/* The events that a host finds which begins at 0, of one container. */
static size_t
life_of(struct guest *guest, unsigned number, struct host_event *ret)
{
    struct host_event events[EVENTS_MAX];
    size_t found = 0, count = host_events(guest->host, 0, 0, events, EVENTS_MAX);
    char id[65];
    container_id(id, number);
    for (size_t i = 0; i < count; i++)
        if (strcmp(events[i].container_id, id) == 0)
            ret[found++] = events[i];
    return found;
}

/* Runs a container to its end and forgets all events up to there: guest and host alike. */
static uint32_t
end_one_and_acknowledge(struct guest *guest, unsigned number)
{
    struct host_event events[EVENTS_MAX];
    uint32_t init = host_run(guest->host, number);
    host_stop(guest->host, number, init);
    size_t count = host_events(guest->host, 0, 0, events, EVENTS_MAX);
    assert_true(count > 0);
    assert_int_equal(0, host_events(guest->host, events[count - 1].seq, 0, events, EVENTS_MAX));
    return init;
}

static void
what_a_killed_sidecar_told_nobody_is_kept_listed_and_can_be_removed(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct host_event life[EVENTS_MAX];
    struct test_spec spec;
    char id[65];
    uint32_t running = host_run(guest->host, 1), ended = end_one_and_acknowledge(guest, 2);
    host_prepare(guest->host, 3);
    spec_init(&spec);
    program_pause(&guest->inbox);
    int64_t sent = host_figure(guest->host, SENT);
    struct host_call *call = host_begin_create(guest->host, container_id(id, 3), &spec, 0);
    assert_true(host_wait_figure(guest->host, IN_FLIGHT, 2, 2));
    assert_true(host_wait_figure(guest->host, SENT, sent + 1, INT64_MAX));
    unsigned before = creates_of(guest, NULL).all;
    program_pause(&guest->sidecar);
    program_resume(&guest->inbox);
    assert_int_equal(before + 1, wait_for_creates(guest, before + 1));

    program_kill(&guest->sidecar);
    guest_start_sidecar(guest);
    assert_int_equal(GCS_UNAVAILABLE, host_end(call));
    guest_reconnect(guest); /* a host that knows nothing */
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));

    assert_int_equal(1, life_of(guest, 3, life));
    assert_int_equal(CREATED, life[0].type);
    assert_int_equal(2, life_of(guest, 1, life));
    assert_int_equal(STARTED_, life[1].type);
    assert_int_equal(running, life[1].process_id);
    assert_int_equal(3, life_of(guest, 2, life));
    assert_int_equal(CREATED, life[0].type);
    assert_int_equal(STARTED_, life[1].type);
    assert_int_equal(FORCED, life[2].type);
    assert_int_equal(ended, life[2].process_id);
    assert_int_equal(128 + 9, life[2].exit_code);
    host_stop(guest->host, 1, running);
    for (unsigned i = 1; i <= 3; i++)
        host_clear(guest->host, i);
    assert_int_equal(GCS_OK, gcs_remove_volume(guest->host, VOLUME_ID, &err));
    assert_int_equal(0, host_health(guest->host).containers);
}

/* -- ids that were used -- */

static enum gcs_status
create_once_more(struct guest *guest, unsigned number, struct gcs_error *err)
{
    struct test_spec spec;
    char id[65];
    host_prepare(guest->host, number);
    spec_init(&spec);
    return gcs_create(guest->host, container_id(id, number), &spec.spec, err);
}

static void
start_sidecar_anew(struct guest *guest)
{
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    assert_int_equal(GCS_OK, policy_set(guest->host, guest_policy_text(guest)));
    host_add_volume(guest->host); /* that of before had nobody */
}

static void
an_id_is_used_once_until_sidecar_and_inbox_have_both_gone(void **state)
{
    struct guest *guest = *state;
    struct gcs_error err = {0};
    for (unsigned i = 1; i <= 2; i++) {
        host_stop(guest->host, i, host_run(guest->host, i));
        host_clear(guest->host, i);
    }

    program_kill(&guest->sidecar);
    start_sidecar_anew(guest);
    assert_denied(&err, create_once_more(guest, 1, &err), "container already started");
    host_unprepare(guest->host, 1);

    program_kill(&guest->inbox);
    assert_true(host_wait_connected(guest->host, false));
    guest_start_inbox(guest);
    assert_true(host_wait_connected(guest->host, true));
    assert_denied(&err, create_once_more(guest, 2, &err), "container already started");
    host_unprepare(guest->host, 2);

    program_kill(&guest->sidecar);
    start_sidecar_anew(guest);
    assert_int_equal(GCS_OK, create_once_more(guest, 1, &err));
    host_clear(guest->host, 1);
}

/* -- another policy -- */

static void
under_another_policy_there_is_wait_shutdown_and_delete(void **state)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct guest *guest = *state;
    struct gcs_error err = {0};
    struct test_process process;
    struct gcs_exit ended;
    uint32_t exec, init = host_run(guest->host, 1);
    char id[65];
    container_id(id, 1);
    process_init(&process, cmd);

    program_kill(&guest->sidecar);
    guest_start_sidecar(guest);
    guest_reconnect(guest);
    assert_int_equal(GCS_OK, policy_set(guest->host, seed_policy_text(&guest->seed)));

    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_exec(guest->host, id, &process.process, &exec, &err));
    assert_non_null(strstr(err.message, "not known any more"));
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_shutdown(guest->host, id, true, &err));
    assert_int_equal(GCS_OK, gcs_wait(guest->host, id, init, GCS_WAIT_FOREVER, &ended, &err));
    host_clear(guest->host, 1);
    assert_int_equal(0, host_health(guest->host).containers);
    assert_false(host_health(guest->host).inconsistent);
}

/* -- at any call -- */

static void
the_sidecar_may_be_killed_at_any_call_of_any_request(void **state)
{
    sweep_run_killed(*state, NULL);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, guest_setup, guest_teardown)
    const struct CMUnitTest tests[] = {
        TEST(fifty_creates_are_whole_or_not_at_all_and_none_runs_twice),
        TEST(what_a_killed_sidecar_told_nobody_is_kept_listed_and_can_be_removed),
        TEST(an_id_is_used_once_until_sidecar_and_inbox_have_both_gone),
        TEST(under_another_policy_there_is_wait_shutdown_and_delete),
        cmocka_unit_test_setup_teardown(the_sidecar_may_be_killed_at_any_call_of_any_request,
                                        sweep_setup_sidecar, sweep_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
