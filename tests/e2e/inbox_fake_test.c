/* The inbox with the fake runtime, as nobody: the same code above the runtime's table, without root. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "server/base/status.h"
#include "tests/e2e/inbox_fixture.h"

static void
event_types_are(struct guest *guest, const Gcs__V1__EventType *types, size_t count)
{
    Gcs__V1__Response *response = guest_events(guest, 0, 0);
    Gcs__V1__WatchEventsResponse *events = response->watch_events;
    assert_int_equal(events->n_events, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(events->events[i]->type, types[i]);
        assert_int_equal(events->events[i]->seq, i + 1);
    }
    gcs__v1__response__free_unpacked(response, NULL);
}

static void
events_come_in_the_order_of_a_life(void **state)
{
    struct guest *guest = *state;
    uint32_t process = 0;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});
    assert_int_equal(
        guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("exit", "3")}, &process),
        STATUS_OK);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, process, 20000).code, 3);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, false), STATUS_OK);
    assert_int_equal(guest_wait(guest, GUEST_ID_A, init, 20000).code, 128 + SIGTERM);
    guest_container_down(guest, GUEST_ID_A);

    static const Gcs__V1__EventType types[] = {
        GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED,         GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED,
        GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_STARTED, GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED,
        GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT,   GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED,
    };
    event_types_are(guest, types, 6);
}

static void
a_running_container_gets_each_mount_once_and_keeps_book_of_it(void **state)
{
    struct guest *guest = *state;
    char path[256];
    snprintf(path, sizeof path, "%s/vol1", guest->sandbox);
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/v", "rw", true), STATUS_NOT_FOUND);
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});

    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/v", "rw", true), STATUS_OK);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "C:\\v\\", "rw", true),
                     STATUS_ALREADY_EXISTS);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/w", "rw", false), STATUS_NOT_FOUND);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/v", NULL, false), STATUS_OK);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/v", NULL, false), STATUS_NOT_FOUND);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/v", "rw", true), STATUS_OK);

    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    assert_int_equal(guest_mount(guest, GUEST_ID_A, "sandbox:///vol1", "/w", "rw", true),
                     STATUS_FAILED_PRECONDITION);
    guest_container_down(guest, GUEST_ID_A);
}

static void
networks_are_kept_book_of_without_root(void **state)
{
    struct guest *guest = *state;
    static const char id[] = "11111111-2222-3333-4444-555555555555",
                      adapter[] = "aaaaaaaa-2222-3333-4444-555555555555";
    char name[37];
    assert_int_equal(guest_adapter(guest, id, adapter, "", "10.77.0.2", "", true), STATUS_NOT_FOUND);
    assert_int_equal(guest_network(guest, id, true), STATUS_OK);
    assert_int_equal(guest_network(guest, id, true), STATUS_ALREADY_EXISTS);
    assert_int_equal(guest_adapter(guest, id, adapter, "", "fd00::2", "", true), STATUS_OK);
    assert_int_equal(guest_adapter(guest, id, adapter, "", "fd00::2", "", true), STATUS_ALREADY_EXISTS);
    for (int i = 1; i <= LIMIT_ADAPTERS; i++) {
        snprintf(name, sizeof name, "bbbbbbbb-2222-3333-4444-%012d", i);
        assert_int_equal(guest_adapter(guest, id, name, "", "", "", true),
                         i < LIMIT_ADAPTERS ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED);
    }
    uint32_t init = guest_container_up(guest, GUEST_ID_A,
                                       &(struct guest_container){.args = ARGS("pause"), .network = id});
    assert_int_equal(guest_network(guest, id, false), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_adapter(guest, id, adapter, "", "", "", false), STATUS_OK);
    assert_int_equal(guest_adapter(guest, id, adapter, "", "", "", false), STATUS_NOT_FOUND);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
    assert_int_equal(guest_network(guest, id, false), STATUS_OK);
    for (int i = 0; i <= LIMIT_NETWORKS; i++) {
        snprintf(name, sizeof name, "cccccccc-2222-3333-4444-%012d", i);
        assert_int_equal(guest_network(guest, name, true),
                         i < LIMIT_NETWORKS ? STATUS_OK : STATUS_RESOURCE_EXHAUSTED);
    }
}

static void
an_exit_is_named_after_what_was_asked(void **state)
{
    struct guest *guest = *state;
    uint32_t first =
        guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("exit", "0")});
    assert_true(guest_wait(guest, GUEST_ID_A, first, 20000).exited);
    uint32_t second =
        guest_container_up(guest, GUEST_ID_B, &(struct guest_container){.args = ARGS("stubborn")});
    assert_int_equal(guest_shutdown(guest, GUEST_ID_B, false), STATUS_OK);
    assert_false(guest_wait(guest, GUEST_ID_B, second, 0).exited);
    assert_int_equal(guest_signal(guest, GUEST_ID_B, second, GCS__V1__SIGNAL__SIGNAL_TERMINATE), STATUS_OK);
    assert_int_equal(guest_wait(guest, GUEST_ID_B, second, 20000).code, 128 + SIGKILL);

    static const Gcs__V1__EventType types[] = {
        GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED,         GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED,
        GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT, GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED,
        GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED,         GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT,
    };
    event_types_are(guest, types, 6);
}

static void
each_state_refuses_what_it_does_not_allow(void **state)
{
    struct guest *guest = *state;
    uint32_t process = 0;
    const struct guest_container pause = {.args = ARGS("pause")};
    /* absent */
    assert_int_equal(guest_run(guest, GUEST_ID_A, &process), STATUS_NOT_FOUND);
    assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_NOT_FOUND);
    assert_int_equal(guest_create(guest, GUEST_ID_A, &pause), STATUS_FAILED_PRECONDITION); /* no layers */
    assert_int_equal(guest_create(guest, "short", &pause), STATUS_INVALID_ARGUMENT);
    /* created */
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_ALREADY_EXISTS);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", false), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_create(guest, GUEST_ID_A, &pause), STATUS_OK);
    assert_int_equal(guest_create(guest, GUEST_ID_A, &pause), STATUS_ALREADY_EXISTS);
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &pause, &process), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_FAILED_PRECONDITION);
    /* running */
    assert_int_equal(guest_run(guest, GUEST_ID_A, &process), STATUS_OK);
    assert_int_equal(guest_run(guest, GUEST_ID_A, &process), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_FAILED_PRECONDITION);
    /* stopped */
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, process, 20000).exited);
    assert_int_equal(guest_run(guest, GUEST_ID_A, &process), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_exec(guest, GUEST_ID_A, &pause, &process), STATUS_FAILED_PRECONDITION);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_FAILED_PRECONDITION);
    /* The host takes the layers away first (spec/bridge.md 8.4); both orders work. */
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", false), STATUS_OK);
    assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_OK);
    assert_int_equal(guest_scratch(guest, "s", false), STATUS_OK);
    assert_int_equal(guest_entries(guest, "bundles"), 0);
}

static void
a_created_container_can_be_deleted_and_its_exit_is_told(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);
    assert_int_equal(guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")}),
                     STATUS_OK);

    assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_OK);

    static const Gcs__V1__EventType types[] = {GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED,
                                               GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT,
                                               GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED};
    event_types_are(guest, types, 3);
}

static void
a_runtime_that_fails_leaves_nothing_behind(void **state)
{
    struct guest *guest = *state;
    uint32_t process = 0;
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);

    int created = guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("create-fails")});
    assert_int_equal(guest_entries(guest, "bundles"), 0);
    int again = guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("start-fails")});
    int started = guest_run(guest, GUEST_ID_A, &process);
    int deleted = guest_delete(guest, GUEST_ID_A);

    assert_int_equal(created, STATUS_INTERNAL);
    assert_int_equal(again, STATUS_OK);
    assert_int_equal(started, STATUS_INTERNAL);
    assert_int_equal(deleted, STATUS_OK);
    assert_int_equal(guest_entries(guest, "bundles"), 0);
}

static void
process_ids_are_never_used_again(void **state)
{
    struct guest *guest = *state;
    uint32_t last = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});
    for (int i = 0; i < 50; i++) {
        uint32_t process = 0;
        assert_int_equal(
            guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("exit", "0")}, &process),
            STATUS_OK);
        assert_true(process > last);
        last = process;
    }
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, last, 20000).exited);
}

static void
old_ended_processes_make_way_for_new_ones(void **state)
{
    struct guest *guest = *state;
    uint32_t first = 0;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});
    for (int i = 0; i < LIMIT_PROCESSES + 5; i++) {
        uint32_t process = 0;
        assert_int_equal(
            guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("exit", "0")}, &process),
            STATUS_OK);
        assert_true(guest_wait(guest, GUEST_ID_A, process, 20000).exited);
        first = first ? first : process;
    }
    assert_int_equal(guest_signal(guest, GUEST_ID_A, first, GCS__V1__SIGNAL__SIGNAL_CTRL_C),
                     STATUS_NOT_FOUND);
}

static void
a_long_process_list_comes_in_pages(void **state)
{
    enum { EXECS = 600 };
    struct guest *guest = *state;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")}),
             last = 0;
    for (int i = 0; i < EXECS; i++)
        assert_int_equal(
            guest_exec(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("exit", "0")}, &last),
            STATUS_OK);

    uint32_t expected = init;
    uint64_t first = 0;
    unsigned pages = 0;
    do {
        Gcs__V1__Response *response = guest_process_page(guest, GUEST_ID_A, first);
        assert_int_equal(response->status, STATUS_OK);
        const Gcs__V1__GetPropertiesResponse *page = response->get_properties;
        assert_true(page->n_processes <= LIMIT_PROCESS_PAGE);
        for (size_t i = 0; i < page->n_processes; i++, expected++) {
            assert_int_equal(page->processes[i]->process_id, expected);
            assert_true(page->processes[i]->created_us > 0);
        }
        first = page->next_process;
        pages++;
        gcs__v1__response__free_unpacked(response, NULL);
    } while (first != 0);

    assert_int_equal(expected, last + 1); /* each one once, and all of them */
    assert_int_equal(pages, 3);
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
}

static void
properties_that_make_no_sense_are_refused(void **state)
{
#define GUID GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID
    static const struct {
        Gcs__V1__PropertyType types[3];
        size_t count;
        uint64_t first;
        const char *reason;
    } cases[] = {
        {{GUID}, 0, 0, "get_properties.types is empty"},
        {{GUID, GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_UNSPECIFIED}, 2, 0, "types[1] is no property"},
        {{GUID, GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_STATISTICS, GUID}, 3, 0, "types[2] is there twice"},
        {{GUID}, 1, 5, "get_properties.first_process: only with the process list"},
    };
    struct guest *guest = *state;
    uint32_t init = guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
        Gcs__V1__GetProperties body = GCS__V1__GET_PROPERTIES__INIT;
        Gcs__V1__PropertyType types[3];
        memcpy(types, cases[i].types, sizeof types);
        body.types = types;
        body.n_types = cases[i].count;
        body.first_process = cases[i].first;
        call.container_id = guest_id_a;
        call.body_case = GCS__V1__REQUEST__BODY_GET_PROPERTIES;
        call.get_properties = &body;

        guest_expect(guest, &call, STATUS_INVALID_ARGUMENT);

        if (!strstr(guest_message(), cases[i].reason))
            fail_msg("'%s' does not say '%s'", guest_message(), cases[i].reason);
    }
    assert_int_equal(guest_shutdown(guest, GUEST_ID_A, true), STATUS_OK);
    assert_true(guest_wait(guest, GUEST_ID_A, init, 20000).exited);
    guest_container_down(guest, GUEST_ID_A);
}

static void
a_source_must_exist_below_the_sandbox_root(void **state)
{
    struct guest *guest = *state;
    static const struct {
        const char *source, *destination;
        int status;
    } cases[] = {
        {"sandbox:///there", "/x", STATUS_OK},
        {"sandbox:///missing", "/x", STATUS_NOT_FOUND},
        {"sandbox:///../there", "/x", STATUS_INVALID_ARGUMENT},
        {"/etc", "/x", STATUS_INVALID_ARGUMENT},
        {"sandbox:///there", "/a/../b", STATUS_INVALID_ARGUMENT},
        {"sandbox:///there", "/proc/sys", STATUS_INVALID_ARGUMENT},
        {"sandbox:///there", "relative", STATUS_INVALID_ARGUMENT},
        {"sandbox:///there", "C:\\", STATUS_INVALID_ARGUMENT},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/there", guest->sandbox);
    assert_int_equal(mkdir(path, 0755), 0);
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Gcs__V1__Mount mount = GCS__V1__MOUNT__INIT;
        char type[] = "bind";
        memcpy(&mount.source, &cases[i].source, sizeof mount.source);
        memcpy(&mount.destination, &cases[i].destination, sizeof mount.destination);
        mount.type = type;

        int status = guest_create(guest, GUEST_ID_A,
                                  &(struct guest_container){.args = ARGS("pause"),
                                                            .mounts = (Gcs__V1__Mount *[]){&mount},
                                                            .mount_count = 1});

        if (status != cases[i].status)
            fail_msg("'%s' at '%s': status %d: %s", cases[i].source, cases[i].destination, status,
                     guest_message());
        if (status == STATUS_OK)
            assert_int_equal(guest_delete(guest, GUEST_ID_A), STATUS_OK);
        assert_int_equal(guest_entries(guest, "bundles"), 0);
    }
}

static void
sigterm_ends_everything_and_leaves_an_empty_directory(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("stubborn")});

    int status = guest_end(guest, SIGTERM);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(guest_entries(guest, "."), 0);
}

static void
a_create_that_misses_its_deadline_is_undone(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);
    guest->timeout_ms = 50;
    int late = guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("create-slow")});
    guest->timeout_ms = 0;

    /* The key of the container is not given on before the undoing has ended. */
    int again = guest_create(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});

    assert_int_equal(late, STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(again, STATUS_OK);
    assert_int_equal(guest_entries(guest, "bundles"), 1);
    static const Gcs__V1__EventType types[] = {GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED};
    event_types_are(guest, types, 1);
}

static void
a_second_inbox_in_the_same_directory_is_refused(void **state)
{
    struct guest *guest = *state;
    guest_container_up(guest, GUEST_ID_A, &(struct guest_container){.args = ARGS("pause")});
    struct guest second = *guest;
    snprintf(second.url, sizeof second.url, "ipc://%s/other", guest->dir);

    int status = guest_end_of_start(&second, &guest_fake);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_int_equal(guest_entries(guest, "bundles"), 1);
    assert_int_equal(guest_entries(guest, "scratch"), 1);
}

static void
figures_of_requests_and_containers_are_told(void **state)
{
    struct guest *guest = *state;
    const struct guest_container container = {.args = ARGS("sleep", "60")};
    assert_int_equal(guest_scratch(guest, "s", true), STATUS_OK);
    assert_int_equal(guest_layers(guest, GUEST_ID_A, "s", true), STATUS_OK);
    assert_int_equal(guest_create(guest, GUEST_ID_A, &container), STATUS_OK);
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    Gcs__V1__GetMetrics page = GCS__V1__GET_METRICS__INIT;
    call.body_case = GCS__V1__REQUEST__BODY_GET_METRICS;
    call.get_metrics = &page;

    Gcs__V1__Response *answer = guest_call(guest, &call);

    assert_int_equal(answer->status, 0);
    const ProtobufCBinaryData text = answer->get_metrics->text;
    static const char *const lines[] = {
        "\ngcs_containers 1\n",
        "\ngcs_events_dropped_total 0\n",
        "\ngcs_requests_total{method=\"CreateContainer\",outcome=\"OK\"} 1\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        assert_non_null(memmem(text.data, text.len, lines[i], strlen(lines[i])));
    gcs__v1__response__free_unpacked(answer, NULL);
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, guest_setup_fake, guest_teardown)
    const struct CMUnitTest tests[] = {
        CASE(events_come_in_the_order_of_a_life),
        CASE(a_running_container_gets_each_mount_once_and_keeps_book_of_it),
        CASE(networks_are_kept_book_of_without_root),
        CASE(an_exit_is_named_after_what_was_asked),
        CASE(each_state_refuses_what_it_does_not_allow),
        CASE(a_created_container_can_be_deleted_and_its_exit_is_told),
        CASE(a_runtime_that_fails_leaves_nothing_behind),
        CASE(process_ids_are_never_used_again),
        CASE(old_ended_processes_make_way_for_new_ones),
        CASE(a_long_process_list_comes_in_pages),
        CASE(properties_that_make_no_sense_are_refused),
        CASE(a_source_must_exist_below_the_sandbox_root),
        CASE(sigterm_ends_everything_and_leaves_an_empty_directory),
        CASE(a_create_that_misses_its_deadline_is_undone),
        CASE(figures_of_requests_and_containers_are_told),
        CASE(a_second_inbox_in_the_same_directory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
