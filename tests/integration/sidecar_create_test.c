/* CreateContainer through the whole sidecar: what is made, what is forwarded, and what is refused at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

/* -- what is made and forwarded -- */

static void
the_seeds_create_makes_its_directory_before_the_inbox_hears_of_it(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    static const char *const watched[] = {"tmp", "tmp/atlas", "tmp/atlas/emptydir",
                                          "tmp/atlas/emptydir/vol1"};
    for (size_t i = 0; i < 4; i++) {
        char path[300];
        snprintf(path, sizeof path, "%s/%s", f->sandbox, watched[i]);
        inbox_look_at(f->inbox, path);
    }
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);

    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    const struct inbox_message *message = inbox_message(f->inbox, INBOX_CREATE, id, 0);
    assert_non_null(message);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(S_IFDIR | (i == 3 ? 0777 : 0755), message->modes[i]);
    assert_int_equal(1, inbox_count(f->inbox, INBOX_CREATE, NULL));
}

static void
the_inbox_gets_the_approved_spec_and_the_approval(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec.spec.hostname = (char *)(uintptr_t) "atlas";
    spec_add_mount(&spec, MOUNT_SOURCE, MOUNT_TARGET);

    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
    const Gcs__V1__Spec *document = got->create_container->spec;
    assert_non_null(got->approval);
    assert_true(got->approval->allow_stdio);
    assert_int_equal(0, got->approval->n_lower_directories);
    assert_int_equal(3, document->process->n_args);
    assert_string_equal("-t", document->process->args[1]);
    assert_int_equal(1, document->process->n_env);
    assert_string_equal("PATH=/bin", document->process->env[0]);
    assert_string_equal("C:\\", document->process->cwd);
    assert_true(document->process->stdin && document->process->stdout && document->process->stderr);
    assert_string_equal("atlas", document->hostname);
    assert_int_equal(1, document->n_mounts);
    assert_string_equal(MOUNT_SOURCE, document->mounts[0]->source);
    assert_string_equal(MOUNT_TARGET, document->mounts[0]->destination);
    assert_string_equal("bind", document->mounts[0]->type);
    assert_int_equal(3, document->mounts[0]->n_options);
}

static void
every_spelling_of_a_source_reaches_the_inbox_in_the_canonical_one(void **state)
{
    struct sidecar_fixture *f = *state;
    static const char *const spellings[] = {
        MOUNT_SOURCE,
        "C:\\SandboxMounts\\tmp\\atlas\\emptydir\\vol1",
        "c:/sandboxmounts/tmp/atlas/emptydir/vol1",
        "C:\\SANDBOXMOUNTS/tmp\\atlas/emptydir\\vol1",
        "SANDBOX:///tmp/atlas/emptydir/vol1",
    };
    for (unsigned i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        struct gcs_error err = {0};
        struct test_spec spec;
        char id[65];
        host_prepare(f->host, i);
        spec_init(&spec);
        spec_add_mount(&spec, spellings[i], MOUNT_TARGET);

        enum gcs_status status = gcs_create(f->host, container_id(id, i), &spec.spec, &err);

        if (status != GCS_OK)
            fail_msg("%s: %s", spellings[i], err.message);
        const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
        assert_string_equal(MOUNT_SOURCE, got->create_container->spec->mounts[0]->source);
    }
}

static int
setup_nested(void **state)
{
    static const char outer[] = "{\n        \"destination\": \"/volumemountscratch\"";
    fixture_setup(state);
    struct sidecar_fixture *f = *state;
    char *text = policy_replace(seed_policy_text(&f->seed), outer,
                                "{ \"destination\": \"/volumemountscratch/inner\", \"type\": \"bind\","
                                " \"options\": [\"rbind\", \"rshared\", \"rw\"],"
                                " \"source\": \"sandbox:///tmp/atlas/emptydir/.+\" },\n"
                                "{\n        \"destination\": \"/volumemountscratch\"");
    assert_int_equal(GCS_OK, policy_set(f->host, text));
    host_add_volume(f->host);
    return 0;
}

static void
a_mount_is_never_hidden_by_one_that_the_host_puts_behind_it(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    spec_add_mount(&spec, "sandbox:///tmp/atlas/emptydir/vol2", MOUNT_TARGET "/inner");
    spec_add_mount(&spec, MOUNT_SOURCE, MOUNT_TARGET);

    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    const Gcs__V1__Request *got = inbox_message(f->inbox, INBOX_CREATE, id, 0)->request;
    const Gcs__V1__Spec *document = got->create_container->spec;
    assert_int_equal(2, document->n_mounts);
    assert_string_equal(MOUNT_TARGET, document->mounts[0]->destination);
    assert_string_equal(MOUNT_SOURCE, document->mounts[0]->source);
    assert_string_equal(MOUNT_TARGET "/inner", document->mounts[1]->destination);
    assert_string_equal("sandbox:///tmp/atlas/emptydir/vol2", document->mounts[1]->source);
}

static void
an_approval_from_the_host_is_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    Gcs__V1__Approval approval = GCS__V1__APPROVAL__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    create.spec = &spec.spec;
    approval.allow_stdio = true;
    request.approval = &approval;
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    struct gcs_error err = {0};

    enum gcs_status status = gcs_call(f->host, &request, NULL, &err);

    assert_int_equal(GCS_INVALID_ARGUMENT, status);
    assert_non_null(strstr(err.message, "approval"));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
    gcs_error_clear(&err);
}

/* -- refusals before anything is forwarded -- */

static void
without_process(struct test_spec *spec)
{
    spec->spec.process = NULL;
}

static void
without_args(struct test_spec *spec)
{
    spec->process.n_args = 0;
}

static void
with_an_empty_program(struct test_spec *spec)
{
    spec->args[0] = (char *)(uintptr_t) "";
}

static void
with_other_args(struct test_spec *spec)
{
    spec->process.n_args = 2;
}

static void
with_a_name_twice(struct test_spec *spec)
{
    spec->env[1] = (char *)(uintptr_t) "PATH=/elsewhere";
    spec->process.n_env = 2;
}

static void
with_an_env_that_is_none(struct test_spec *spec)
{
    spec->env[0] = (char *)(uintptr_t) "PATH";
}

static void
with_a_relative_cwd(struct test_spec *spec)
{
    spec->process.cwd = (char *)(uintptr_t) "Users";
}

static void
with_a_cwd_of_its_drive(struct test_spec *spec)
{
    spec->process.cwd = (char *)(uintptr_t) "C:Users";
}

static void
with_another_user(struct test_spec *spec)
{
    spec->process.user = (char *)(uintptr_t) "1000";
}

static void
with_a_plain_source(struct test_spec *spec)
{
    spec_add_mount(spec, "/etc", MOUNT_TARGET);
}

static void
with_a_look_alike_source(struct test_spec *spec)
{
    spec_add_mount(spec, "C:\\SandboxMountsX\\tmp", MOUNT_TARGET);
}

static void
with_a_source_without_a_root(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox://tmp/atlas", MOUNT_TARGET);
}

static void
with_the_root_as_source(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox:///", MOUNT_TARGET);
}

static void
with_a_parent_in_the_source(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox:///tmp/atlas/emptydir/../../../etc", MOUNT_TARGET);
}

static void
with_a_parent_the_windows_way(struct test_spec *spec)
{
    spec_add_mount(spec, "C:\\SandboxMounts\\tmp\\..\\..\\etc", MOUNT_TARGET);
}

static void
with_a_slash_at_the_end(struct test_spec *spec)
{
    spec_add_mount(spec, MOUNT_SOURCE "/", MOUNT_TARGET);
}

static void
without_destination(struct test_spec *spec)
{
    spec_add_mount(spec, MOUNT_SOURCE, "");
}

static void
with_a_source_of_no_rule(struct test_spec *spec)
{
    spec_add_mount(spec, "sandbox:///tmp/elsewhere", MOUNT_TARGET);
}

static void
with_257_mounts(struct test_spec *spec)
{
    for (unsigned i = 0; i < LIMIT_MOUNTS + 1; i++)
        spec_add_mount(spec, MOUNT_SOURCE, MOUNT_TARGET);
}

static void
with_two_mounts_for_one_rule(struct test_spec *spec)
{
    spec_add_mount(spec, MOUNT_SOURCE, MOUNT_TARGET);
    spec_add_mount(spec, "sandbox:///tmp/atlas/emptydir/vol2", MOUNT_TARGET);
}

static const struct refusal {
    void (*spoil)(struct test_spec *spec);
    enum gcs_status status;
    const char *text; /* NULL: a denial of the policy */
} refusals[] = {
    {without_process, GCS_INVALID_ARGUMENT, "create_container.spec.process: missing"},
    {without_args, GCS_INVALID_ARGUMENT, "spec.process.args: missing"},
    {with_an_empty_program, GCS_INVALID_ARGUMENT, "spec.process.args[0]: empty"},
    {with_other_args, GCS_PERMISSION_DENIED, NULL},
    {with_a_name_twice, GCS_INVALID_ARGUMENT, "spec.process.env: the name 'PATH' stands twice"},
    {with_an_env_that_is_none, GCS_INVALID_ARGUMENT, "spec.process.env[0]: not NAME=value"},
    {with_a_relative_cwd, GCS_INVALID_ARGUMENT, "spec.process.cwd: not an absolute path"},
    {with_a_cwd_of_its_drive, GCS_INVALID_ARGUMENT, "spec.process.cwd: not an absolute path"},
    {with_another_user, GCS_PERMISSION_DENIED, NULL},
    {with_a_plain_source, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: '/etc' is no sandbox mount"},
    {with_a_look_alike_source, GCS_INVALID_ARGUMENT, "is no sandbox mount"},
    {with_a_source_without_a_root, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: "},
    {with_the_root_as_source, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: "},
    {with_a_parent_in_the_source, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: "},
    {with_a_parent_the_windows_way, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: "},
    {with_a_slash_at_the_end, GCS_INVALID_ARGUMENT, "spec.mounts[0].source: "},
    {without_destination, GCS_INVALID_ARGUMENT, "spec.mounts[0].destination: missing"},
    {with_a_source_of_no_rule, GCS_PERMISSION_DENIED, NULL},
    {with_257_mounts, GCS_RESOURCE_EXHAUSTED, "create_container.spec.mounts"},
    {with_two_mounts_for_one_rule, GCS_PERMISSION_DENIED, NULL},
};

static void
what_a_create_must_not_say_is_refused_and_leaves_nothing(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec *spec = malloc(sizeof *spec);
    char id[65];
    assert_non_null(spec);
    host_prepare(f->host, 0);
    container_id(id, 0);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct gcs_error err = {0};
        spec_init(spec);
        refusals[i].spoil(spec);

        enum gcs_status status = gcs_create(f->host, id, &spec->spec, &err);

        if (status != refusals[i].status ||
            (refusals[i].text ? !strstr(err.message, refusals[i].text) : !err.denial))
            fail_msg("refusal %zu: %s: %s", i, gcs_status_name(status), err.message);
        gcs_error_clear(&err);
        assert_int_equal(0, sandbox_entries(f));
        assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
    }
    /* Nothing of all that is in the policy's state or in the table: the right one still works. */
    struct gcs_error err = {0};
    spec_init_mounted(spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec->spec, &err));
    free(spec);
}

static void
a_create_without_a_spec_is_refused(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    host_prepare(f->host, 0);
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    request.container_id = container_id(id, 0);
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    struct gcs_error err = {0};

    enum gcs_status status = gcs_call(f->host, &request, NULL, &err);

    assert_int_equal(GCS_INVALID_ARGUMENT, status);
    assert_string_equal("create_container.spec: missing", err.message);
    gcs_error_clear(&err);
}

static void
a_container_whose_layers_are_not_combined_cannot_be_created(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    spec_init_mounted(&spec);

    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_int_equal(GCS_NOT_FOUND, status);
    assert_int_equal(0xC037010E, err.hresult);
    assert_int_equal(0, sandbox_entries(f));
    gcs_error_clear(&err);
}

static void
the_same_id_cannot_be_created_twice_and_the_first_stays(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));

    enum gcs_status status = gcs_create(f->host, id, &spec.spec, &err);

    assert_int_equal(GCS_ALREADY_EXISTS, status);
    assert_int_equal(0xC037010F, err.hresult);
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(1, inbox_count(f->inbox, INBOX_CREATE, NULL));
    assert_int_equal(CONTAINER_CREATED, container_state(f->sidecar->containers, id));
    gcs_error_clear(&err);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_seeds_create_makes_its_directory_before_the_inbox_hears_of_it),
        TEST(the_inbox_gets_the_approved_spec_and_the_approval),
        TEST(every_spelling_of_a_source_reaches_the_inbox_in_the_canonical_one),
        cmocka_unit_test_setup_teardown(a_mount_is_never_hidden_by_one_that_the_host_puts_behind_it,
                                        setup_nested, fixture_teardown),
        TEST(an_approval_from_the_host_is_refused),
        TEST(what_a_create_must_not_say_is_refused_and_leaves_nothing),
        TEST(a_create_without_a_spec_is_refused),
        TEST(a_container_whose_layers_are_not_combined_cannot_be_created),
        TEST(the_same_id_cannot_be_created_twice_and_the_first_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
