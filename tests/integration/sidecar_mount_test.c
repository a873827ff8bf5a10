/*
 * A mapped directory for a running container, through the whole sidecar: what is decided, made and forwarded,
 * and that one that fails leaves everything as if it had not been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

/* The one mount that the seed's policy allows. */
struct test_mount {
    Gcs__V1__Mount mount;
    char *options[3];
};

static void
mount_init(struct test_mount *mount, const char *source, const char *destination)
{
    static const char *const options[] = {"rbind", "rshared", "rw"};
    gcs__v1__mount__init(&mount->mount);
    for (size_t i = 0; i < 3; i++)
        mount->options[i] = (char *)(uintptr_t)options[i];
    mount->mount.source = (char *)(uintptr_t)source;
    mount->mount.destination = (char *)(uintptr_t)destination;
    mount->mount.type = (char *)(uintptr_t) "bind";
    mount->mount.options = mount->options;
    mount->mount.n_options = 3;
}

static enum gcs_status
add(struct sidecar_fixture *f, const char *id, const char *source, const char *destination,
    struct gcs_error *err)
{
    struct test_mount mount;
    mount_init(&mount, source, destination);
    return gcs_add_mount(f->host, id, &mount.mount, err);
}

static struct host_call *
begin_add(struct sidecar_fixture *f, const char *id, uint32_t timeout_ms)
{
    struct test_mount mount;
    Gcs__V1__ContainerMount container_mount = GCS__V1__CONTAINER_MOUNT__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    mount_init(&mount, MOUNT_SOURCE, MOUNT_TARGET);
    container_mount.mount = &mount.mount;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
    settings.container_mount = &container_mount;
    request.container_id = (char *)(uintptr_t)id;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static const Gcs__V1__ModifySettings *
last_settings(struct sidecar_fixture *f, const char *id)
{
    size_t count = inbox_count(f->inbox, INBOX_SETTINGS, id);
    assert_true(count > 0);
    return inbox_message(f->inbox, INBOX_SETTINGS, id, count - 1)->request->modify_settings;
}

/* The container's init ends, and the sidecar has heard of it. */
static void
end_init(struct sidecar_fixture *f, const char *id, uint32_t init)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    inbox_emit(f->inbox, GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT, id, init, 1);
    assert_int_equal(GCS_OK, gcs_watch_events(f->host, 0, 20000, &response, &err));
    assert_int_equal(1, response->watch_events->n_events);
    gcs_response_free(response);
    assert_int_equal(CONTAINER_STOPPED, container_state(f->sidecar->containers, id));
}

static void
assert_nothing_is_left(struct sidecar_fixture *f)
{
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(0, sandbox_root_directories(f->sidecar->sandbox));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_running_container_gets_a_directory_that_the_policy_allows_and_keeps_it_until_it_is_deleted(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65], path[300];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);
    snprintf(path, sizeof path, "%s/tmp/atlas/emptydir/vol1", f->sandbox);
    inbox_look_at(f->inbox, path);

    assert_int_equal(GCS_OK, add(f, id, "C:\\SandboxMounts\\tmp\\atlas\\emptydir\\vol1", MOUNT_TARGET, &err));

    const Gcs__V1__ModifySettings *got = last_settings(f, id);
    assert_int_equal(GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT, got->resource_case);
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, got->request_type);
    assert_string_equal(MOUNT_SOURCE, got->container_mount->mount->source);
    assert_string_equal(MOUNT_TARGET, got->container_mount->mount->destination);
    assert_int_equal(3, got->container_mount->mount->n_options);
    size_t count = inbox_count(f->inbox, INBOX_SETTINGS, id);
    assert_int_equal(S_IFDIR | 0777, inbox_message(f->inbox, INBOX_SETTINGS, id, count - 1)->modes[0]);
    end_init(f, id, init);
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(GCS_OK, gcs_delete(f->host, id, &err));
    assert_nothing_is_left(f);
}

static void
what_no_rule_is_left_for_is_denied_and_nothing_is_made_or_forwarded(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    size_t before = inbox_count(f->inbox, INBOX_SETTINGS, id);

    assert_denied(&err, add(f, id, "sandbox:///tmp/other/vol1", MOUNT_TARGET, &err), "invalid mount list");
    assert_denied(&err, add(f, id, MOUNT_SOURCE, "/elsewhere", &err), "invalid mount list");

    assert_nothing_is_left(f);
    assert_int_equal(before, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_int_equal(GCS_OK, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));
    /* One rule, one mount: those that are there count. */
    assert_denied(&err, add(f, id, "sandbox:///tmp/atlas/emptydir/vol2", MOUNT_TARGET, &err),
                  "invalid mount list");
    assert_int_equal(before + 1, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_int_equal(0, sandbox_mode(f, "tmp/atlas/emptydir/vol2"));
}

static void
a_mount_of_the_create_counts_as_well(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    uint32_t process;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &process, &err));

    assert_denied(&err, add(f, id, "sandbox:///tmp/atlas/emptydir/vol2", MOUNT_TARGET, &err),
                  "invalid mount list");
}

static void
malformed_mounts_are_refused_by_their_field(void **state)
{
    struct sidecar_fixture *f = *state;
    static const struct {
        const char *source, *destination, *field;
    } bad[] = {
        {"/etc", MOUNT_TARGET, "container_mount.mount.source"},
        {"sandbox:///a/../b", MOUNT_TARGET, "container_mount.mount.source"},
        {MOUNT_SOURCE, "", "container_mount.mount.destination"},
    };
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct gcs_error err = {0};
        assert_int_equal(GCS_INVALID_ARGUMENT, add(f, id, bad[i].source, bad[i].destination, &err));
        assert_non_null(strstr(err.message, bad[i].field));
        gcs_error_clear(&err);
    }
    struct gcs_error err = {0};
    assert_int_equal(GCS_INVALID_ARGUMENT, add(f, GCS_UVM_ID, MOUNT_SOURCE, MOUNT_TARGET, &err));
    gcs_error_clear(&err);
    assert_nothing_is_left(f);
}

static void
only_a_container_that_runs_gets_a_mount(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    uint32_t process;
    char id[65];
    host_prepare(f->host, 0);
    container_id(id, 0);
    assert_int_equal(GCS_FAILED_PRECONDITION, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));
    gcs_error_clear(&err);
    spec_init(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_int_equal(GCS_FAILED_PRECONDITION, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &process, &err));
    end_init(f, id, process);

    assert_int_equal(GCS_FAILED_PRECONDITION, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));

    assert_int_equal(0xC0370110, err.hresult); /* it has stopped already */
    gcs_error_clear(&err);
    assert_nothing_is_left(f);
}

static void
a_mount_that_the_inbox_refuses_is_undone_before_the_host_hears_of_it(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, STATUS_FAILED_PRECONDITION);

    enum gcs_status status = add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err);

    assert_int_equal(GCS_FAILED_PRECONDITION, status);
    assert_nothing_is_left(f);
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err)); /* its rule is free again */
}

static void
a_directory_that_cannot_be_made_leaves_nothing_and_is_not_forwarded(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65], path[300];
    host_run(f->host, 0);
    container_id(id, 0);
    snprintf(path, sizeof path, "%s/tmp", f->sandbox);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fclose(file);
    size_t before = inbox_count(f->inbox, INBOX_SETTINGS, id);

    assert_int_equal(GCS_FAILED_PRECONDITION, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));

    gcs_error_clear(&err);
    assert_int_equal(before, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_int_equal(0, sandbox_root_directories(f->sidecar->sandbox));
    assert_int_equal(0, remove(path));
    assert_int_equal(GCS_OK, add(f, id, MOUNT_SOURCE, MOUNT_TARGET, &err));
}

static void
a_mount_that_comes_too_late_is_taken_away_at_the_inbox_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(begin_add(f, id, 100)));
    struct host_call *again = begin_add(f, id, 600000);
    assert_true(inbox_wait_held(f->inbox, 1));
    size_t before = inbox_count(f->inbox, INBOX_SETTINGS, id);

    inbox_release(f->inbox, INBOX_SETTINGS);

    /* The second one waits until the first has been taken back, and finds the rule free. */
    assert_int_equal(GCS_OK, host_end(again));
    assert_int_equal(before + 2, inbox_count(f->inbox, INBOX_SETTINGS, id));
    const Gcs__V1__ModifySettings *reverse =
        inbox_message(f->inbox, INBOX_SETTINGS, id, before)->request->modify_settings;
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, reverse->request_type);
    assert_string_equal(MOUNT_TARGET, reverse->container_mount->mount->destination);
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_false(host_health(f->host).inconsistent);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_running_container_gets_a_directory_that_the_policy_allows_and_keeps_it_until_it_is_deleted),
        TEST(what_no_rule_is_left_for_is_denied_and_nothing_is_made_or_forwarded),
        TEST(a_mount_of_the_create_counts_as_well),
        TEST(malformed_mounts_are_refused_by_their_field),
        TEST(only_a_container_that_runs_gets_a_mount),
        TEST(a_mount_that_the_inbox_refuses_is_undone_before_the_host_hears_of_it),
        TEST(a_directory_that_cannot_be_made_leaves_nothing_and_is_not_forwarded),
        TEST(a_mount_that_comes_too_late_is_taken_away_at_the_inbox_and_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
