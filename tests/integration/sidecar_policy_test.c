/*
 * The closed door, the one policy, and the resources that a container stands on, through the whole sidecar.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "server/rpc/method.h"
#include "tests/integration/sidecar_fixture.h"

/* -- the closed door -- */

static void
before_a_policy_is_set_only_these_requests_are_answered(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char *const open[] = {
        "Negotiate", "EndSession", "Ping", "Health", "ModifySettings/SecurityPolicy",
    };
    size_t open_count = 0;
    char id[65];
    for (size_t i = 0; i < sidecar_methods.count; i++) {
        const struct rpc_method *row = &sidecar_methods.rows[i];
        if (row->before_policy) {
            assert_true(open_count < sizeof open / sizeof open[0]);
            assert_string_equal(open[open_count++], row->name);
            continue;
        }
        struct gcs_error err = {0};

        enum gcs_status status =
            host_call_row(f->host, row, GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD, container_id(id, 0), &err);

        if (status != GCS_FAILED_PRECONDITION || !strstr(err.message, "no security policy is set"))
            fail_msg("%s: %s: %s", row->name, gcs_status_name(status), err.message ? err.message : "");
        gcs_error_clear(&err);
    }
    assert_int_equal(sizeof open / sizeof open[0], open_count);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_ANY, NULL));
    assert_int_equal(0, sandbox_entries(f));
    assert_false(host_health(f->host).ready);
    struct gcs_error err = {0};
    assert_int_equal(GCS_OK, gcs_ping(f->host, &err));
}

static void
every_row_of_the_dispatch_table_has_a_policy_point_or_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sidecar_methods.count; i++) {
        const char *point = sidecar_methods.rows[i].policy_point;
        assert_non_null(point);
        assert_true(strncmp(point, "none", 4) != 0 || strncmp(point, "none: ", 6) == 0);
        assert_true(strlen(point) > strlen("none: "));
    }
}

/* -- one policy, once -- */

static void
a_policy_is_set_once(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    assert_true(host_health(f->host).ready);
    char *another = seed_policy_text(&f->seed);

    enum gcs_status status = gcs_set_policy(f->host, another, strlen(another), &err);

    assert_int_equal(GCS_ALREADY_EXISTS, status);
    assert_string_equal("security policy has already been set", err.message);
    gcs_error_clear(&err);
    free(another);
}

static void
with_host_data(struct sidecar_fixture *f, const char *text)
{
    static uint8_t digest[32];
    assert_int_equal(1, EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL));
    fixture_stop(f);
    f->config.host_data = digest;
    fixture_start(f);
}

static void
a_policy_that_is_not_the_host_datas_is_refused_and_the_right_one_still_works(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char *right = seed_policy_text(&f->seed);
    with_host_data(f, right);
    char *wrong = policy_replace(seed_policy_text(&f->seed), "\"ping\"", "\"pong\"");

    enum gcs_status status = gcs_set_policy(f->host, wrong, strlen(wrong), &err);

    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_non_null(strstr(err.message, "doesn't match HostData provided at launch"));
    gcs_error_clear(&err);
    assert_false(host_health(f->host).ready);
    assert_int_equal(GCS_OK, gcs_set_policy(f->host, right, strlen(right), &err));
    assert_true(host_health(f->host).ready);
    free(right);
    free(wrong);
}

static void
a_policy_that_does_not_parse_is_refused_by_line_and_column_and_another_may_follow(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    static const char text[] = "package policy\n\napi_version := \"0.12.0\"\ncontainers := [ { ]\n";

    enum gcs_status status = gcs_set_policy(f->host, text, strlen(text), &err);

    assert_int_equal(GCS_INVALID_ARGUMENT, status);
    assert_non_null(strstr(err.message, "policy.rego:4:"));
    gcs_error_clear(&err);
    assert_false(host_health(f->host).ready);
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
}

static void
an_enforcer_of_another_kind_is_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char *text = seed_policy_text(&f->seed);
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    policy.enforcer_type = (char *)(uintptr_t) "open_door";
    policy.policy.data = (uint8_t *)text;
    policy.policy.len = strlen(text);
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;

    assert_int_equal(GCS_INVALID_ARGUMENT, gcs_call(f->host, &request, NULL, &err));
    assert_non_null(strstr(err.message, "open_door"));
    gcs_error_clear(&err);
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    policy.enforcer_type = (char *)(uintptr_t) "rego";
    assert_refused(&err, gcs_call(f->host, &request, NULL, &err), GCS_UNIMPLEMENTED);
    settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    assert_int_equal(GCS_OK, gcs_call(f->host, &request, NULL, &err));
    free(text);
}

/* The policy, made `size` bytes long by a comment. */
static char *
padded(const struct sidecar_fixture *f, size_t size)
{
    char *text = seed_policy_text(&f->seed);
    size_t length = strlen(text);
    text = realloc(text, size + 1);
    assert_non_null(text);
    memset(text + length, '#', size - length);
    text[length] = '\n';
    for (size_t i = length + 200; i < size; i += 200)
        if (i + 1 < size)
            text[i] = '\n', text[i + 1] = '#';
    text[size] = '\0';
    return text;
}

static void
sixteen_mebibytes_of_policy_fit_and_one_byte_more_does_not(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char *larger = padded(f, LIMIT_POLICY_BYTES + 1), *largest = padded(f, LIMIT_POLICY_BYTES);

    enum gcs_status status = gcs_set_policy(f->host, larger, LIMIT_POLICY_BYTES + 1, &err);

    assert_int_equal(GCS_RESOURCE_EXHAUSTED, status);
    gcs_error_clear(&err);
    assert_false(host_health(f->host).ready);
    if (gcs_set_policy(f->host, largest, LIMIT_POLICY_BYTES, &err) != GCS_OK)
        fail_msg("%s", err.message);
    assert_true(host_health(f->host).ready);
    free(larger);
    free(largest);
}

/* -- layers, scratch, root -- */

static void
layers_are_verified_and_their_digests_told(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char *const files[] = {"base", "top"};
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));

    assert_int_equal(GCS_OK,
                     gcs_add_volume(f->host, container_id(id, 0), VOLUME_ID, files, 2, &response, &err));

    const Gcs__V1__BlockCimsResponse *told = response->modify_settings->block_cims;
    assert_int_equal(2, told->n_layer_digests);
    assert_string_equal(f->seed.digests[0], told->layer_digests[0]);
    assert_string_equal(f->seed.digests[1], told->layer_digests[1]);
    assert_string_equal(f->seed.mounted_cim, told->mounted_cim);
    assert_int_equal(VOLUME_MOUNTED, volume_state(f->sidecar->volumes, VOLUME_ID));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_ANY, NULL));
    gcs_response_free(response);
}

static void
layers_that_the_policy_does_not_name_are_not_mounted(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char *const turned[] = {"top", "base"};
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));

    enum gcs_status status = gcs_add_volume(f->host, container_id(id, 0), VOLUME_ID, turned, 2, NULL, &err);

    assert_int_equal(GCS_PERMISSION_DENIED, status);
    assert_string_equal("mount_cims", err.denial->rule);
    assert_int_equal(VOLUME_ABSENT, volume_state(f->sidecar->volumes, VOLUME_ID));
    gcs_error_clear(&err);
}

static void
a_root_is_a_volume_and_a_scratch_and_is_taken_apart_in_turn(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    container_id(id, 0);

    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "scratch-0", 4096, &err));
    assert_int_equal(GCS_OK, gcs_combine_layers(f->host, id, "scratch-0", VOLUME_ID, &err));

    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_SETTINGS, id, 0)->request;
    assert_int_equal(GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS, got->modify_settings->resource_case);
    assert_int_equal(2, got->approval->n_lower_directories);
    for (size_t i = 0; i < 2; i++)
        assert_memory_equal(f->volumes, got->approval->lower_directories[i], strlen(f->volumes));

    /* Nothing that something stands on goes. */
    assert_refused(&err, gcs_remove_scratch(f->host, "scratch-0", &err), GCS_FAILED_PRECONDITION);
    assert_refused(&err, gcs_remove_volume(f->host, VOLUME_ID, &err), GCS_FAILED_PRECONDITION);
    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, "scratch-0", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, "scratch-0", &err));
    assert_int_equal(GCS_OK, gcs_remove_volume(f->host, VOLUME_ID, &err));
    assert_int_equal(0, host_health(f->host).containers);
    assert_int_equal(VOLUME_ABSENT, volume_state(f->sidecar->volumes, VOLUME_ID));
}

static void
what_the_inbox_refuses_to_combine_can_be_combined_again(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    for (unsigned number = 0; number < 2; number++) { /* admitted with the volume, and by the combination */
        char scratch[32];
        snprintf(scratch, sizeof scratch, "scratch-%u", number);
        container_id(id, number);
        assert_int_equal(GCS_OK, gcs_add_scratch(f->host, scratch, 0, &err));
        inbox_refuse(f->inbox, INBOX_SETTINGS, id, 1, STATUS_INTERNAL);

        assert_refused(&err, gcs_combine_layers(f->host, id, scratch, VOLUME_ID, &err), GCS_INTERNAL);

        assert_int_equal(CONTAINER_ABSENT, container_state(f->sidecar->containers, id));
        assert_int_equal(GCS_OK, gcs_combine_layers(f->host, id, scratch, VOLUME_ID, &err));
        assert_false(host_health(f->host).inconsistent);
    }
}

static void
a_scratch_that_the_inbox_refuses_can_be_added_again(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, STATUS_RESOURCE_EXHAUSTED);

    assert_refused(&err, gcs_add_scratch(f->host, "scratch-0", 0, &err), GCS_RESOURCE_EXHAUSTED);

    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "scratch-0", 0, &err));
    assert_refused(&err, gcs_add_scratch(f->host, "scratch-0", 0, &err), GCS_PERMISSION_DENIED);
}

static void
one_scratch_serves_one_container(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    host_prepare(f->host, 0);

    enum gcs_status status = gcs_combine_layers(f->host, container_id(id, 1), "scratch-0", VOLUME_ID, &err);

    assert_int_equal(GCS_FAILED_PRECONDITION, status);
    assert_non_null(strstr(err.message, "scratch 'scratch-0' is in use by container"));
    assert_int_equal(CONTAINER_ABSENT, container_state(f->sidecar->containers, id));
    gcs_error_clear(&err);
}

/* -- roots and deadlines -- */

static struct host_call *
begin_scratch(struct sidecar_fixture *f, const char *target, uint32_t timeout_ms)
{
    Gcs__V1__ContainerScratch scratch = GCS__V1__CONTAINER_SCRATCH__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    scratch.target = (char *)(uintptr_t)target;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
    settings.container_scratch = &scratch;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static struct host_call *
begin_combine(struct sidecar_fixture *f, const char *id, const char *target, uint32_t timeout_ms)
{
    Gcs__V1__CombinedLayers layers = GCS__V1__COMBINED_LAYERS__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    layers.scratch_target = (char *)(uintptr_t)target;
    layers.volume_id = (char *)(uintptr_t)VOLUME_ID;
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    settings.combined_layers = &layers;
    request.container_id = (char *)(uintptr_t)id;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

/* The last message of the settings kind takes away what the first one added. */
static void
assert_reversed(struct sidecar_fixture *f, size_t number)
{
    assert_true(inbox_wait_count(f->inbox, INBOX_SETTINGS, NULL, number + 1));
    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_SETTINGS, NULL, number)->request;
    assert_int_equal(GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE, got->modify_settings->request_type);
    assert_null(got->approval);
}

/* How the inbox answers the removal of what came too late. */
static const struct late {
    enum status answer;
    bool consistent;
} late_answers[] = {{STATUS_OK, true}, {STATUS_NOT_FOUND, true}, {STATUS_INTERNAL, false}};

static void
a_scratch_that_comes_too_late_is_removed_at_the_inbox_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    size_t messages = 0;
    for (size_t i = 0; i < sizeof late_answers / sizeof late_answers[0]; i++) {
        inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
        assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(begin_scratch(f, "scratch", 100)));
        struct host_call *again = begin_scratch(f, "scratch", 600000);
        if (late_answers[i].answer != STATUS_OK)
            inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, late_answers[i].answer);

        assert_true(inbox_wait_held(f->inbox, 1));
        inbox_release(f->inbox, INBOX_SETTINGS);

        assert_int_equal(late_answers[i].consistent ? GCS_OK : GCS_FAILED_PRECONDITION, host_end(again));
        assert_reversed(f, messages + 1);
        assert_int_equal(!late_answers[i].consistent, host_health(f->host).inconsistent);
        struct gcs_error err = {0};
        if (late_answers[i].consistent)
            assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, "scratch", &err));
        messages = inbox_count(f->inbox, INBOX_SETTINGS, NULL);
    }
}

static void
a_root_that_comes_too_late_is_taken_apart_at_the_inbox_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "scratch", 0, &err));
    for (unsigned i = 0; i < sizeof late_answers / sizeof late_answers[0]; i++) {
        size_t messages = inbox_count(f->inbox, INBOX_SETTINGS, NULL);
        container_id(id, 10 + i);
        inbox_hold(f->inbox, INBOX_SETTINGS, id, 1);
        assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(begin_combine(f, id, "scratch", 100)));
        assert_int_equal(CONTAINER_COMBINING, container_state(f->sidecar->containers, id));
        struct host_call *again = begin_combine(f, id, "scratch", 600000);
        if (late_answers[i].answer != STATUS_OK)
            inbox_refuse(f->inbox, INBOX_SETTINGS, id, 1, late_answers[i].answer);

        assert_true(inbox_wait_held(f->inbox, 1));
        inbox_release(f->inbox, INBOX_SETTINGS);

        assert_int_equal(late_answers[i].consistent ? GCS_OK : GCS_FAILED_PRECONDITION, host_end(again));
        assert_reversed(f, messages + 1);
        assert_int_equal(!late_answers[i].consistent, host_health(f->host).inconsistent);
        if (late_answers[i].consistent)
            assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, "scratch", VOLUME_ID, &err));
    }
}

static void
an_inbox_that_gives_up_by_time_may_have_added_it_so_it_is_removed_there(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);

    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 1, STATUS_DEADLINE_EXCEEDED);
    assert_refused(&err, gcs_add_scratch(f->host, "scratch", 0, &err), GCS_DEADLINE_EXCEEDED);
    assert_reversed(f, 1);
    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "scratch", 0, &err));

    container_id(id, 0);
    inbox_refuse(f->inbox, INBOX_SETTINGS, id, 1, STATUS_DEADLINE_EXCEEDED);
    assert_refused(&err, gcs_combine_layers(f->host, id, "scratch", VOLUME_ID, &err), GCS_DEADLINE_EXCEEDED);
    assert_reversed(f, 4);
    assert_int_equal(GCS_OK, gcs_combine_layers(f->host, id, "scratch", VOLUME_ID, &err));
    assert_false(host_health(f->host).inconsistent);
}

static void
what_a_restarted_inbox_does_not_know_can_be_removed(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    container_id(id, 0);
    inbox_refuse(f->inbox, INBOX_SETTINGS, NULL, 2, STATUS_NOT_FOUND);

    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, "scratch-0", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, "scratch-0", &err));

    assert_int_equal(0, host_health(f->host).containers);
    assert_int_equal(GCS_OK, gcs_add_scratch(f->host, "scratch-0", 0, &err));
    assert_int_equal(GCS_OK, gcs_remove_volume(f->host, VOLUME_ID, &err));
}

/* -- what this guest does not do -- */

static void
what_is_not_implemented_is_refused_with_a_reason_and_never_reaches_the_inbox(void **state)
{
    struct sidecar_fixture *f = *state;
    const struct {
        const char *name, *reason;
    } refused[] = {
        {"UpdateContainer", "created with"},
        {"LifecycleNotification", "nothing in the guest"},
        {"ModifySettings/SecurityPolicyFragment", "signatures"},
        {"ModifySettings/MappedVirtualDisk", "virtual disk"},
        {"ModifySettings/MappedDirectory", "share"},
        {"ModifySettings/ContainerProcessor", "created with"},
        {"ModifySettings/ContainerMemory", "created with"},
        {"ModifySettings/HvSocket", "hvsocket"},
        {"ListObjects", "sidecar's own question"},
    };
    size_t tried = 0;
    char id[65];
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
    for (size_t i = 0; i < sidecar_methods.count; i++)
        for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
            struct gcs_error err = {0};
            if (strcmp(sidecar_methods.rows[i].name, refused[k].name) != 0)
                continue;

            assert_int_equal(GCS_UNIMPLEMENTED, host_call_row(f->host, &sidecar_methods.rows[i],
                                                              GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD,
                                                              container_id(id, 0), &err));

            assert_int_equal(0x80004001, err.hresult);
            assert_non_null(strstr(err.message, refused[k].name));
            assert_non_null(strstr(err.message, refused[k].reason));
            gcs_error_clear(&err);
            tried++;
        }
    assert_int_equal(sizeof refused / sizeof refused[0], tried);
    assert_int_equal(0, inbox_count(f->inbox, INBOX_ANY, NULL));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(before_a_policy_is_set_only_these_requests_are_answered),
        cmocka_unit_test(every_row_of_the_dispatch_table_has_a_policy_point_or_a_reason),
        TEST(what_is_not_implemented_is_refused_with_a_reason_and_never_reaches_the_inbox),
        TEST(a_policy_is_set_once),
        TEST(a_policy_that_is_not_the_host_datas_is_refused_and_the_right_one_still_works),
        TEST(a_policy_that_does_not_parse_is_refused_by_line_and_column_and_another_may_follow),
        TEST(an_enforcer_of_another_kind_is_refused),
        TEST(sixteen_mebibytes_of_policy_fit_and_one_byte_more_does_not),
        TEST(layers_are_verified_and_their_digests_told),
        TEST(layers_that_the_policy_does_not_name_are_not_mounted),
        TEST(a_root_is_a_volume_and_a_scratch_and_is_taken_apart_in_turn),
        TEST(what_the_inbox_refuses_to_combine_can_be_combined_again),
        TEST(a_scratch_that_the_inbox_refuses_can_be_added_again),
        TEST(one_scratch_serves_one_container),
        TEST(a_scratch_that_comes_too_late_is_removed_at_the_inbox_and_undone),
        TEST(a_root_that_comes_too_late_is_taken_apart_at_the_inbox_and_undone),
        TEST(an_inbox_that_gives_up_by_time_may_have_added_it_so_it_is_removed_there),
        TEST(what_a_restarted_inbox_does_not_know_can_be_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
