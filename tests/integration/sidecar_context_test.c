/* The security context through the whole sidecar: what is written, what the inbox is told, what processes are
 * told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "server/mounts/security_context.h"
#include "tests/integration/sidecar_fixture.h"

#define OURS "UVM_SECURITY_CONTEXT_DIR=/security-context"

static char context_dir[128]; /* of the running test */

/* The directories alone: the test starts the sidecar. */
static int
setup_files(void **state)
{
    fixture_setup_files(state);
    struct sidecar_fixture *f = *state;
    snprintf(context_dir, sizeof context_dir, "%s/context", f->directory);
    f->config.security_context = context_dir;
    return 0;
}

static int
setup_with(void **state, bool on)
{
    setup_files(state);
    struct sidecar_fixture *f = *state;
    f->config.security_context = on ? context_dir : NULL;
    fixture_start(f);
    assert_true(host_wait_connected(f->host, true));
    return 0;
}

static int
setup_on(void **state)
{
    return setup_with(state, true);
}

static int
setup_off(void **state)
{
    return setup_with(state, false);
}

static bool
exists(const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", context_dir, name);
    return access(path, F_OK) == 0;
}

/* How often the variable is set, and whether the last one is ours. */
static size_t
times_told(const Gcs__V1__Process *process)
{
    size_t count = 0;
    for (size_t i = 0; i < process->n_env; i++) {
        if (strncmp(process->env[i], OURS, strlen("UVM_SECURITY_CONTEXT_DIR=")) != 0)
            continue;
        assert_string_equal(OURS, process->env[i]);
        count++;
    }
    return count;
}

/* Sets the policy with both reference documents. */
static void
set_policy(struct sidecar_fixture *f)
{
    char *text = seed_policy_text(&f->seed);
    struct gcs_error err = {0};
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    char container[] = GCS_UVM_ID;
    policy.policy = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    policy.reference_info = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = 3};
    policy.transparent_reference_info = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = 6};
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    request.container_id = container;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    if (gcs_call(f->host, &request, NULL, &err) != GCS_OK)
        fail_msg("%s", err.message);
    free(text);
}

/* A container with a variable of that name and a certificate from its host, and an exec likewise. */
static void
create_and_exec(struct sidecar_fixture *f, char id[65])
{
    static const char *const command[] = {"cmd", NULL};
    static char forged[] = "UVM_SECURITY_CONTEXT_DIR=/tmp/forged";
    struct gcs_error err = {0};
    struct test_spec spec;
    struct test_process process;
    uint32_t started = 0, executed = 0;
    char certificate[] = "chain";
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.env[spec.process.n_env] = forged;
    spec.process.env = spec.env;
    spec.process.n_env++;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    create.spec = &spec.spec;
    create.host_amd_certificate = (ProtobufCBinaryData){.data = (uint8_t *)certificate, .len = 5};
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    if (gcs_call(f->host, &request, NULL, &err) != GCS_OK || gcs_start(f->host, id, &started, &err) != GCS_OK)
        fail_msg("%s", err.message);
    process_init(&process, command);
    process.env[process.process.n_env] = forged;
    process.process.env = process.env;
    process.process.n_env++;
    if (gcs_exec(f->host, id, &process.process, &executed, &err) != GCS_OK)
        fail_msg("%s", err.message);
}

static void
container_and_execs_are_told_where_their_context_is(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    set_policy(f);

    create_and_exec(f, id);

    const Gcs__V1__Request *create = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
    const Gcs__V1__Request *exec = inbox_message(f->inbox, INBOX_EXEC, id, 0)->request;
    assert_string_equal(context_dir, create->approval->security_context_directory);
    assert_int_equal(5, create->create_container->host_amd_certificate.len);
    assert_int_equal(1, times_told(create->create_container->spec->process));
    assert_int_equal(1, times_told(exec->execute_process->process));
    assert_true(exists("security-policy-base64"));
    assert_true(exists("reference-info-base64"));
    assert_true(exists("transparent-reference-info-base64"));
    fixture_stop(f);
    assert_false(exists("."));
}

static void
what_is_turned_off_is_not_there(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    set_policy(f);

    create_and_exec(f, id);

    const Gcs__V1__Request *create = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
    assert_string_equal("", create->approval->security_context_directory);
    assert_int_equal(0, create->create_container->host_amd_certificate.len);
    const Gcs__V1__Process *process = create->create_container->spec->process;
    assert_string_equal("UVM_SECURITY_CONTEXT_DIR=/tmp/forged",
                        process->env[process->n_env - 1]); /* the policy's word */
    assert_false(exists("."));
}

static void
a_policy_that_is_refused_leaves_nothing(void **state)
{
    struct sidecar_fixture *f = *state;

    assert_int_equal(GCS_INVALID_ARGUMENT, policy_set(f->host, strdup("this is no policy")));

    assert_false(exists("."));
    set_policy(f);
    assert_true(exists("security-policy-base64"));
}

static void
a_second_policy_changes_nothing(void **state)
{
    struct sidecar_fixture *f = *state;
    set_policy(f);

    assert_int_equal(GCS_ALREADY_EXISTS, policy_set(f->host, seed_policy_text(&f->seed)));

    assert_true(exists("reference-info-base64"));
}

static void
a_policy_is_not_set_when_its_context_cannot_be_written(void **state)
{
    struct sidecar_fixture *f = *state;
    assert_int_equal(0, symlink("elsewhere", context_dir));

    assert_int_equal(GCS_FAILED_PRECONDITION, policy_set(f->host, seed_policy_text(&f->seed)));

    assert_int_equal(0, unlink(context_dir));
    assert_int_equal(GCS_OK, policy_set(f->host, seed_policy_text(&f->seed)));
}

/* What a killed one left, with a file of somebody's in it or without. */
static void
what_a_predecessor_left_goes_at_the_start_and_nothing_else(void **state)
{
    static const uint8_t text[] = "text";
    static const struct security_context_content content = {.policy = {text, 4}, .reference_info = {text, 4}};
    struct sidecar_fixture *f = *state;
    struct error err;
    char path[200];
    assert_int_equal(STATUS_OK, security_context_write(context_dir, &content, &err));
    fixture_start(f);
    assert_int_equal(-1, access(context_dir, F_OK));
    fixture_stop(f);
    assert_int_equal(STATUS_OK, security_context_write(context_dir, &content, &err));
    snprintf(path, sizeof path, "%s/somebodys", context_dir);
    assert_int_equal(0, mkdir(path, 0755));

    fixture_start(f);

    assert_false(exists("security-policy-base64"));
    assert_false(exists("reference-info-base64"));
    assert_true(exists("somebodys"));
    assert_int_equal(0, rmdir(path));
    set_policy(f);
    assert_true(exists("security-policy-base64"));
}

static void
a_second_sidecar_that_cannot_start_takes_nothing_from_the_first(void **state)
{
    struct sidecar_fixture *f = *state;
    struct sidecar *second = NULL;
    struct error err;
    set_policy(f);

    assert_int_not_equal(STATUS_OK, sidecar_start(&f->config, &second, &err));

    assert_null(second);
    assert_true(exists("security-policy-base64"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(container_and_execs_are_told_where_their_context_is, setup_on,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(what_is_turned_off_is_not_there, setup_off, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_policy_that_is_refused_leaves_nothing, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_second_policy_changes_nothing, setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_a_predecessor_left_goes_at_the_start_and_nothing_else,
                                        setup_files, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_second_sidecar_that_cannot_start_takes_nothing_from_the_first,
                                        setup_on, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_policy_is_not_set_when_its_context_cannot_be_written, setup_on,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
