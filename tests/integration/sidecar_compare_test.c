/* The connection to the inbox breaks while requests are under way: afterwards both sides have the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"
#include "tests/integration/sidecar_objects.h"

static const char *const cmd[] = {"cmd", NULL};

static int
setup(void **state)
{
    fixture_setup_policy(state);
    struct sidecar_fixture *f = *state;
    host_add_volume(f->host);
    return 0;
}

/* Breaks the line while the inbox has the request, which it then carries out for nobody. */
static void
lose_answer(struct sidecar_fixture *f, struct host_call *call, int kind)
{
    assert_true(inbox_wait_held(f->inbox, 1));
    inbox_cut(f->inbox);
    assert_int_equal(GCS_UNAVAILABLE, host_end(call));
    assert_int_equal(1, inbox_release(f->inbox, kind));
    assert_true(host_wait_connected(f->host, false));
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));
}

static void
a_container_that_nobody_was_told_of_is_deleted_and_its_id_is_free(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);

    lose_answer(f, host_begin_create(f->host, container_id(id, 0), &spec, 0), INBOX_CREATE);

    assert_int_equal(1, inbox_count(f->inbox, INBOX_DELETE, id));
    assert_true(inbox_message(f->inbox, INBOX_DELETE, id, 0)->request->approval->forget_id);
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_process_that_nobody_was_told_of_is_killed(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t init = host_run(f->host, 0), exec;
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(f->host, container_id(id, 0), &process.process, &exec, &err));
    inbox_hold(f->inbox, INBOX_EXEC, NULL, 1);

    lose_answer(f, host_begin_exec(f->host, id, &process, 0), INBOX_EXEC);

    assert_int_equal(1, inbox_count(f->inbox, INBOX_SIGNAL, id)); /* neither init nor what is known */
    const Gcs__V1__SignalProcess *signal =
        inbox_message(f->inbox, INBOX_SIGNAL, id, 0)->request->signal_process;
    assert_int_equal(init + 2, signal->process_id);
    assert_int_equal(GCS__V1__SIGNAL__SIGNAL_TERMINATE, signal->signal);
    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
}

static struct host_call *
begin_mount(struct sidecar_fixture *f, const char *id, const char *source)
{
    struct test_spec spec;
    Gcs__V1__ContainerMount mount = GCS__V1__CONTAINER_MOUNT__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    spec_init(&spec);
    spec_add_mount(&spec, source, "/volumemountscratch");
    mount.mount = spec.spec.mounts[0];
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
    settings.container_mount = &mount;
    request.container_id = (char *)(uintptr_t)id;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static void
a_mount_that_nobody_was_told_of_is_taken_away(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    host_run(f->host, 0);
    size_t before = inbox_count(f->inbox, INBOX_SETTINGS, container_id(id, 0));
    inbox_hold(f->inbox, INBOX_SETTINGS, id, 1);

    lose_answer(f, begin_mount(f, id, "sandbox:///tmp/atlas/emptydir/vol1"), INBOX_SETTINGS);

    assert_int_equal(before + 2, inbox_count(f->inbox, INBOX_SETTINGS, id));
    const Gcs__V1__ModifySettings *last =
        inbox_message(f->inbox, INBOX_SETTINGS, id, before + 1)->request->modify_settings;
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, last->request_type);
    assert_string_equal("/volumemountscratch", last->container_mount->mount->destination);
    assert_int_equal(0, sandbox_entries(f));
    /* Its rule is free; and what is known stays when the line breaks once more. */
    assert_int_equal(GCS_OK, host_end(begin_mount(f, id, "sandbox:///tmp/atlas/emptydir/vol2")));
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));
    assert_int_equal(before + 3, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_start_that_nobody_was_told_of_stays_a_start(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    char id[65];
    uint32_t exec;
    host_prepare(f->host, 0);
    spec_init(&spec);
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    inbox_hold(f->inbox, INBOX_START, NULL, 1);

    lose_answer(f, host_begin_empty(f->host, id, INBOX_START, 0), INBOX_START);

    assert_int_equal(GCS_OK, gcs_exec(f->host, id, &process.process, &exec, &err));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_DELETE, id));
}

static struct host_call *
begin_settings(struct sidecar_fixture *f, const char *id, bool scratch)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__ContainerScratch target = GCS__V1__CONTAINER_SCRATCH__INIT;
    Gcs__V1__CombinedLayers layers = GCS__V1__COMBINED_LAYERS__INIT;
    target.target = layers.scratch_target = (char *)(uintptr_t) "s";
    layers.volume_id = (char *)(uintptr_t)VOLUME_ID;
    settings.resource_case = scratch ? GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH
                                     : GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    if (scratch)
        settings.container_scratch = &target;
    else
        settings.combined_layers = &layers;
    request.container_id = (char *)(uintptr_t)id;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static void
a_scratch_and_a_root_that_nobody_was_told_of_go(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    container_id(id, 0);
    inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
    lose_answer(f, begin_settings(f, "", true), INBOX_SETTINGS);
    assert_int_equal(2, inbox_count(f->inbox, INBOX_SETTINGS, NULL));
    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "s", 0, &err));

    inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
    lose_answer(f, begin_settings(f, id, false), INBOX_SETTINGS);

    assert_int_equal(2, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE,
                     inbox_message(f->inbox, INBOX_SETTINGS, id, 1)->request->modify_settings->request_type);
    assert_int_equal(GCS_OK, gcs_combine_layers(f->host, id, "s", VOLUME_ID, &err));
}

/* As an inbox has it whose sidecar has lost a whole life of a container: the line breaks, and what is there is
 * not what the sidecar made. */
static void
a_running_container_of_nobody_is_ended_before_it_is_deleted(void **state)
{
    struct sidecar_fixture *f = *state;
    Gcs__V1__Spec spec = GCS__V1__SPEC__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__StartContainer start = GCS__V1__START_CONTAINER__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    char id[65];
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));
    request.container_id = container_id(id, 7);
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    create.spec = &spec;
    objects_follow(inbox_objects(f->inbox), &request, 0);
    request.body_case = GCS__V1__REQUEST__BODY_START_CONTAINER;
    request.start_container = &start;
    objects_follow(inbox_objects(f->inbox), &request, INBOX_FIRST_PROCESS);

    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));

    assert_int_equal(1, inbox_count(f->inbox, INBOX_FORCED, id));
    assert_int_equal(1, inbox_count(f->inbox, INBOX_WAIT, id)); /* until it has ended */
    assert_int_equal(INBOX_FIRST_PROCESS,
                     inbox_message(f->inbox, INBOX_WAIT, id, 0)->request->wait_for_process->process_id);
    assert_int_equal(1, inbox_count(f->inbox, INBOX_DELETE, id));
    assert_false(host_health(f->host).inconsistent);
}

static void
an_orphan_that_stays_makes_the_guest_inconsistent(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_INTERNAL);

    lose_answer(f, host_begin_create(f->host, container_id(id, 0), &spec, 0), INBOX_CREATE);

    assert_true(host_health(f->host).inconsistent);
}

static void
what_an_inbox_has_lost_is_reported_and_can_be_made_anew(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    Gcs__V1__Response *events = NULL;
    struct test_spec spec;
    char id[65], next[65];
    host_run(f->host, 0);
    host_prepare(f->host, 1);
    container_id(id, 0);
    inbox_cut(f->inbox);
    inbox_restart(f->inbox);
    assert_true(host_wait_connected(f->host, false));
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));

    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__WatchEvents watch = GCS__V1__WATCH_EVENTS__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    request.watch_events = &watch;
    assert_int_equal(GCS_OK, gcs_call(f->host, &request, &events, &err));
    assert_int_equal(1, events->watch_events->n_events);
    assert_int_equal(GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT, events->watch_events->events[0]->type);
    assert_string_equal(id, events->watch_events->events[0]->container_id);
    gcs_response_free(events);

    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_NOT_FOUND); /* as an inbox that has nothing says */
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 4, STATUS_NOT_FOUND);
    assert_int_equal(GCS_OK, host_end(host_begin_empty(f->host, id, INBOX_DELETE, 0)));
    for (unsigned i = 0; i < 2; i++) {
        char scratch[32];
        snprintf(scratch, sizeof scratch, "scratch-%u", i);
        assert_int_equal(GCS_OK,
                         gcs_separate_layers(f->host, container_id(next, i), scratch, VOLUME_ID, &err));
        assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, scratch, &err));
    }
    host_prepare(f->host, 2);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(next, 2), &spec.spec, &err));
    assert_false(host_health(f->host).inconsistent);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_container_that_nobody_was_told_of_is_deleted_and_its_id_is_free),
        TEST(a_process_that_nobody_was_told_of_is_killed),
        TEST(a_mount_that_nobody_was_told_of_is_taken_away),
        TEST(a_start_that_nobody_was_told_of_stays_a_start),
        TEST(a_scratch_and_a_root_that_nobody_was_told_of_go),
        TEST(a_running_container_of_nobody_is_ended_before_it_is_deleted),
        TEST(an_orphan_that_stays_makes_the_guest_inconsistent),
        TEST(what_an_inbox_has_lost_is_reported_and_can_be_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
