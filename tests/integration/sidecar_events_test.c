/*
 * Events on their way from the inbox through the sidecar to the host, and an inbox that goes and comes back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

#define CREATED    GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED
#define STARTED    GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED
#define EXITED     GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED
#define GRACEFUL   GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT
#define FORCED     GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT
#define UNEXPECTED GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT
#define DELETED    GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED

/* Reads events after `seq` until there are `count`, and copies them. False: they did not come in time. */
static bool
read_events(struct sidecar_fixture *f, uint64_t seq, size_t count, Gcs__V1__Event *ret)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    size_t got = 0;
    while (got < count && clock_now_ns() < deadline_ns) {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_watch_events(f->host, seq, 1000, &response, &err) != GCS_OK)
            fail_msg("%s", err.message);
        for (size_t i = 0; i < response->watch_events->n_events && got < count; i++) {
            ret[got] = *response->watch_events->events[i];
            ret[got].container_id = NULL; /* freed with the answer */
            seq = ret[got++].seq;
        }
        gcs_response_free(response);
    }
    return got == count;
}

/* A marker: an event that comes after all that was emitted before, and that nobody filters. */
static void
emit_marker(struct sidecar_fixture *f)
{
    inbox_emit(f->inbox, EXITED, GCS_UVM_ID, 4711, 0);
}

static void
events_reach_the_host_in_order_and_each_container_exits_once(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Event events[5];
    char id[65];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);

    inbox_emit(f->inbox, CREATED, id, 0, 0);
    inbox_emit(f->inbox, STARTED, id, init, 0);
    inbox_emit(f->inbox, EXITED, id, init + 1, 3);
    inbox_emit(f->inbox, GRACEFUL, id, init, 143);
    inbox_emit(f->inbox, UNEXPECTED, id, init, 9); /* a second exit of the same life */
    inbox_emit(f->inbox, FORCED, id, init, 137);
    emit_marker(f);

    assert_true(read_events(f, 0, 5, events));
    static const Gcs__V1__EventType order[] = {CREATED, STARTED, EXITED, GRACEFUL, EXITED};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(i + 1, events[i].seq);
        assert_int_equal(order[i], events[i].type);
    }
    assert_int_equal(143, events[3].exit_code);
    assert_int_equal(4711, events[4].process_id);
    assert_int_equal(CONTAINER_STOPPED, container_state(f->sidecar->containers, id));
}

static void
an_exit_that_overtakes_the_answer_to_its_start_stops_the_container(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    Gcs__V1__Event events[2];
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_hold(f->inbox, INBOX_START, NULL, 1);
    struct host_call *start = host_begin_empty(f->host, id, INBOX_START, 0);
    assert_true(inbox_wait_held(f->inbox, 1));

    inbox_emit(f->inbox, STARTED, id, INBOX_FIRST_PROCESS, 0);
    inbox_emit(f->inbox, UNEXPECTED, id, INBOX_FIRST_PROCESS, 1);
    assert_true(read_events(f, 0, 2, events));
    inbox_release(f->inbox, INBOX_START);

    assert_int_equal(GCS_OK, host_end(start));
    assert_int_equal(STARTED, events[0].type);
    assert_int_equal(UNEXPECTED, events[1].type);
    assert_int_equal(CONTAINER_STOPPED, container_state(f->sidecar->containers, id));
    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
}

static void
an_exit_during_a_deletion_that_fails_is_told_and_leaves_the_container_stopped(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    Gcs__V1__Event events[2];
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_hold(f->inbox, INBOX_DELETE, NULL, 1);
    struct host_call *deletion = host_begin_empty(f->host, id, INBOX_DELETE, 0);
    assert_true(inbox_wait_held(f->inbox, 1));

    inbox_emit(f->inbox, FORCED, id, 0, 137);
    inbox_emit(f->inbox, FORCED, id, 0, 137); /* once is enough */
    emit_marker(f);
    assert_true(read_events(f, 0, 2, events));
    inbox_release_refused(f->inbox, INBOX_DELETE, STATUS_INTERNAL);

    assert_int_equal(GCS_INTERNAL, host_end(deletion));
    assert_int_equal(FORCED, events[0].type);
    assert_int_equal(EXITED, events[1].type);
    assert_int_equal(CONTAINER_STOPPED, container_state(f->sidecar->containers, id));
    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
}

/* Its container was created and never started; the watch for events is held, so what the inbox tells of the end
 * comes when the deletion is long over. */
static struct host_call *
begin_deletion_unwatched(struct sidecar_fixture *f, char id[65])
{
    struct gcs_error err = {0};
    struct test_spec spec;
    host_prepare(f->host, 0);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    assert_true(inbox_wait_count(f->inbox, INBOX_WATCH, NULL, 1));
    inbox_hold(f->inbox, INBOX_WATCH, NULL, 1);
    inbox_hold(f->inbox, INBOX_DELETE, NULL, 1);
    emit_marker(f); /* answers the watch that is parked; the next one is held */
    struct host_call *deletion = host_begin_empty(f->host, id, INBOX_DELETE, 0);
    assert_true(inbox_wait_held(f->inbox, 2));
    return deletion;
}

static void
the_end_of_a_container_that_never_ran_is_told_although_the_answer_to_its_deletion_comes_first(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Event events[3];
    char id[65];
    struct host_call *deletion = begin_deletion_unwatched(f, id);
    inbox_emit(f->inbox, FORCED, id, 0, 137);
    inbox_emit(f->inbox, DELETED, id, 0, 0);

    inbox_release(f->inbox, INBOX_DELETE);
    assert_int_equal(GCS_OK, host_end(deletion));
    inbox_release(f->inbox, INBOX_WATCH); /* tells both a second time */
    emit_marker(f);

    assert_true(read_events(f, 1, 3, events));
    assert_int_equal(FORCED, events[0].type);
    assert_int_equal(137, events[0].exit_code);
    assert_false(events[0].exit_code_unknown);
    assert_int_equal(DELETED, events[1].type);
    assert_int_equal(EXITED, events[2].type);
}

static void
the_end_of_a_container_that_never_ran_is_told_although_the_inbox_does_not_tell(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Event events[2];
    char id[65];
    struct host_call *deletion = begin_deletion_unwatched(f, id);
    inbox_emit(f->inbox, FORCED, id, 0, 137);
    inbox_refuse(f->inbox, INBOX_WATCH, NULL, 1, STATUS_INTERNAL);

    inbox_release(f->inbox, INBOX_DELETE);
    assert_int_equal(GCS_OK, host_end(deletion));
    inbox_release(f->inbox, INBOX_WATCH); /* tells it now: once is enough */
    emit_marker(f);

    assert_true(read_events(f, 1, 2, events));
    assert_int_equal(FORCED, events[0].type);
    assert_true(events[0].exit_code_unknown);
    assert_int_equal(EXITED, events[1].type);
}

static void
who_waited_for_the_end_of_a_container_may_delete_it_at_once(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct gcs_exit ended = {0};
    Gcs__V1__Event events[2];
    char id[65];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);
    assert_true(inbox_wait_count(f->inbox, INBOX_WATCH, NULL, 1));
    inbox_hold(f->inbox, INBOX_WATCH, NULL, 1);
    emit_marker(f); /* answers the watch that is parked; the next one is held with the exit in it */
    assert_true(inbox_wait_held(f->inbox, 1));
    inbox_emit(f->inbox, GRACEFUL, id, init, 0);

    enum gcs_status waited = gcs_wait(f->host, id, init, 0, &ended, &err);

    assert_int_equal(GCS_OK, waited);
    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
    inbox_release(f->inbox, INBOX_WATCH); /* tells the exit a second time */
    emit_marker(f);
    assert_true(read_events(f, 1, 2, events));
    assert_int_equal(GRACEFUL, events[0].type);
    assert_int_equal(EXITED, events[1].type);
}

static void
a_watcher_is_parked_until_something_happens(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__WatchEvents watch = GCS__V1__WATCH_EVENTS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    watch.wait_ms = 25000;
    request.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    request.watch_events = &watch;
    struct host_call *call = host_begin(f->host, &request);
    (void)host_health(f->host); /* the watcher was received before */
    assert_false(host_has_ended(call));

    emit_marker(f);

    assert_true(host_wait(call));
    assert_int_equal(1, call->response->watch_events->n_events);
    assert_int_equal(4711, call->response->watch_events->events[0]->process_id);
    assert_int_equal(GCS_OK, host_end(call));
}

static void
a_watcher_that_nothing_wakes_is_answered_with_nothing(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;

    assert_int_equal(GCS_OK, gcs_watch_events(f->host, 0, 50, &response, &err));

    assert_int_equal(0, response->watch_events->n_events);
    gcs_response_free(response);
}

/* -- an inbox that does not tell -- */

static void
an_inbox_that_refuses_to_tell_is_asked_again_but_not_in_a_hurry(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Event events[2];
    assert_true(inbox_wait_count(f->inbox, INBOX_WATCH, NULL, 1));
    inbox_refuse(f->inbox, INBOX_WATCH, NULL, 3, STATUS_RESOURCE_EXHAUSTED);
    int64_t began_ns = clock_now_ns();

    emit_marker(f); /* answers the call that is parked; the next three are refused */

    assert_true(inbox_wait_count(f->inbox, INBOX_WATCH, NULL, 5));
    assert_true(clock_now_ns() - began_ns >= 250 * NS_PER_MS);
    emit_marker(f);
    assert_true(read_events(f, 0, 2, events));
    assert_int_equal(2, events[1].seq);
}

/* -- an inbox that goes -- */

static void
come_back_as_another(struct sidecar_fixture *f)
{
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));
    inbox_restart(f->inbox);
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));
}

static void
when_the_inbox_comes_back_as_another_every_container_has_exited_once(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    Gcs__V1__Event events[3];
    char running[65], stopped[65];
    uint32_t first = host_run(f->host, 0), second = host_run(f->host, 1);
    container_id(running, 0);
    container_id(stopped, 1);
    inbox_emit(f->inbox, GRACEFUL, stopped, second, 0);
    assert_true(read_events(f, 0, 1, events));

    come_back_as_another(f);
    /* The new one says so as well, of both, as it must: it cannot know what was told before. */
    inbox_emit(f->inbox, UNEXPECTED, running, first, 0);
    inbox_emit(f->inbox, UNEXPECTED, stopped, second, 0);
    emit_marker(f);

    assert_true(read_events(f, 1, 2, events));
    assert_int_equal(UNEXPECTED, events[0].type);
    assert_int_equal(first, events[0].process_id);
    assert_true(events[0].exit_code_unknown);
    assert_int_equal(4711, events[1].process_id);
    assert_int_equal(CONTAINER_STOPPED, container_state(f->sidecar->containers, running));
    assert_int_equal(GCS_OK, gcs_delete(f->host, running, &err));
    assert_int_equal(GCS_OK, gcs_delete(f->host, stopped, &err));
}

static void
a_connection_that_only_breaks_costs_no_container(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Event events[1];
    char id[65];
    host_run(f->host, 0);

    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));
    emit_marker(f);
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));

    assert_true(read_events(f, 0, 1, events)); /* and no event is lost */
    assert_int_equal(4711, events[0].process_id);
    assert_int_equal(CONTAINER_RUNNING, container_state(f->sidecar->containers, container_id(id, 0)));
}

static void
without_an_inbox_what_needs_it_is_unavailable_and_the_rest_goes_on(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    static const Gcs__V1__PropertyType types[] = {GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID};
    struct gcs_exit end;
    char id[65];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));

    assert_refused(&err, gcs_get_properties(f->host, id, types, 1, NULL, &err), GCS_UNAVAILABLE);
    assert_refused(&err, gcs_wait(f->host, id, init, 1000, &end, &err), GCS_UNAVAILABLE);
    assert_refused(&err, gcs_shutdown(f->host, id, true, &err), GCS_UNAVAILABLE);
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
    assert_int_equal(GCS_OK, gcs_watch_events(f->host, 0, 0, NULL, &err));
    assert_false(host_health(f->host).ready);

    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));
    assert_int_equal(GCS_OK, gcs_shutdown(f->host, id, true, &err));
    assert_true(host_health(f->host).ready);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(events_reach_the_host_in_order_and_each_container_exits_once),
        TEST(an_exit_that_overtakes_the_answer_to_its_start_stops_the_container),
        TEST(an_exit_during_a_deletion_that_fails_is_told_and_leaves_the_container_stopped),
        TEST(the_end_of_a_container_that_never_ran_is_told_although_the_answer_to_its_deletion_comes_first),
        TEST(the_end_of_a_container_that_never_ran_is_told_although_the_inbox_does_not_tell),
        TEST(who_waited_for_the_end_of_a_container_may_delete_it_at_once),
        TEST(a_watcher_is_parked_until_something_happens),
        TEST(a_watcher_that_nothing_wakes_is_answered_with_nothing),
        TEST(an_inbox_that_refuses_to_tell_is_asked_again_but_not_in_a_hurry),
        TEST(when_the_inbox_comes_back_as_another_every_container_has_exited_once),
        TEST(a_connection_that_only_breaks_costs_no_container),
        TEST(without_an_inbox_what_needs_it_is_unavailable_and_the_rest_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
