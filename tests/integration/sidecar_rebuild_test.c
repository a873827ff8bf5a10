/* A sidecar that was started anew knows again what its predecessor approved, from the inbox's objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"
#include "tests/integration/sidecar_objects.h"

#define SOURCE "sandbox:///tmp/atlas/emptydir/vol1"
#define TARGET "/volumemountscratch"

static const char *const cmd[] = {"cmd", NULL};
static const char *const other[] = {"other", NULL};
static const char *const neither[] = {"neither", NULL};

/* Two containers in the policy that differ in what they may exec: which of them runs is open until then. */
static char *
two_candidates(const struct sidecar_fixture *f)
{
    char *text = seed_policy_text(&f->seed), *second = NULL;
    const char *from = strstr(text, "  {\n    \"allow_stdio_access\""),
               *end = strstr(text, "\n]\n\nexternal");
    assert_non_null(from);
    assert_non_null(end);
    assert_true(asprintf(&second, "%.*s,\n%.*s%s", (int)(end - text), text, (int)(end - from), from, end) >
                0);
    free(text);
    char *place = strstr(strstr(second, "\"cmd\"") + 1, "\"cmd\"");
    memcpy(place, "\"oth\"", 5);
    return policy_replace(second, "\"oth\"", "\"other\"");
}

/* As above, and only the first may have the mount. */
static char *
candidates_that_differ_in_their_mount(const struct sidecar_fixture *f)
{
    char *text = two_candidates(f);
    char *second = strstr(strstr(text, TARGET) + 1, TARGET);
    assert_non_null(second);
    assert_null(strstr(second + 1, TARGET));
    second[1] = 'V';
    return text;
}

typedef char *policy_fn(const struct sidecar_fixture *f);

static int
setup_with(policy_fn *policy, void **state)
{
    static char journal[200];
    struct sidecar_fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_init(f);
    snprintf(journal, sizeof journal, "%s/sandbox.journal", f->directory);
    f->config.sandbox.journal = journal;
    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, policy(f)));
    host_add_volume(f->host);
    *state = f;
    return 0;
}

static int
setup(void **state)
{
    return setup_with(two_candidates, state);
}

static int
setup_mounts(void **state)
{
    return setup_with(candidates_that_differ_in_their_mount, state);
}

/* Another sidecar, which knows nothing; then the policy. */
static void
start_anew(struct sidecar_fixture *f, char *policy)
{
    fixture_stop(f);
    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, policy));
}

static uint32_t
run_with_mount(struct sidecar_fixture *f, unsigned number)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    uint32_t init = 0;
    host_prepare(f->host, number);
    spec_init(&spec);
    spec_add_mount(&spec, SOURCE, TARGET);
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, number), &spec.spec, &err));
    assert_int_equal(GCS_OK, gcs_start(f->host, id, &init, &err));
    return init;
}

static enum gcs_status
exec(struct sidecar_fixture *f, const char *id, const char *const *args, uint32_t *ret_process)
{
    struct gcs_error err = {0};
    struct test_process process;
    process_init(&process, args);
    enum gcs_status status = gcs_exec(f->host, id, &process.process, ret_process, &err);
    gcs_error_clear(&err);
    return status;
}

static enum gcs_status
ask(struct sidecar_fixture *f, const char *id, int kind)
{
    return host_end(host_begin_empty(f->host, id, kind, 0));
}

/* Whether reading the stream of the process is allowed. */
static enum gcs_status
read_stream(struct sidecar_fixture *f, const char *id, uint32_t process)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ReadStream body = GCS__V1__READ_STREAM__INIT;
    request.container_id = (char *)(uintptr_t)id;
    request.body_case = GCS__V1__REQUEST__BODY_READ_STREAM;
    body.process_id = process;
    body.stream = GCS__V1__STREAM__STREAM_STDOUT;
    request.read_stream = &body;
    return host_end(host_begin(f->host, &request));
}

/* Shutdown, the exit, deletion, layers, scratch: all must work, and nothing is left on disk. */
static void
clean_up(struct sidecar_fixture *f, unsigned number, uint32_t init)
{
    struct gcs_error err = {0};
    char id[65], scratch[32];
    snprintf(scratch, sizeof scratch, "scratch-%u", number);
    assert_int_equal(GCS_OK, ask(f, container_id(id, number), INBOX_FORCED));
    inbox_emit(f->inbox, GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT, id, init, 137);
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    enum gcs_status status;
    while ((status = ask(f, id, INBOX_DELETE)) == GCS_FAILED_PRECONDITION && clock_now_ns() < deadline_ns)
        ; /* until the event is here */
    assert_int_equal(GCS_OK, status);
    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, scratch, VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, scratch, &err));
}

static struct host_call *
begin_mount_of(struct sidecar_fixture *f, const char *id, const char *source, const char *destination,
               uint32_t timeout_ms)
{
    struct test_spec spec;
    Gcs__V1__ContainerMount container_mount = GCS__V1__CONTAINER_MOUNT__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    spec_init(&spec);
    spec_add_mount(&spec, source, destination);
    container_mount.mount = spec.spec.mounts[0];
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
    settings.container_mount = &container_mount;
    request.container_id = (char *)(uintptr_t)id;
    request.timeout_ms = timeout_ms;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    return host_begin(f->host, &request);
}

static struct host_call *
begin_mount(struct sidecar_fixture *f, const char *id, uint32_t timeout_ms)
{
    return begin_mount_of(f, id, SOURCE, TARGET, timeout_ms);
}

/* Adds a mount, and waits. */
static enum gcs_status
mount(struct sidecar_fixture *f, const char *id, const char *source, const char *destination)
{
    return host_end(begin_mount_of(f, id, source, destination, 0));
}

static void
a_later_mount_is_judged_as_that_of_any_other_container(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t init = host_run(f->host, 0);
    container_id(id, 0);

    start_anew(f, two_candidates(f));

    size_t forwarded = inbox_count(f->inbox, INBOX_SETTINGS, id);
    assert_int_equal(GCS_PERMISSION_DENIED, mount(f, id, SOURCE, "/elsewhere"));
    assert_int_equal(GCS_PERMISSION_DENIED, mount(f, id, "sandbox:///tmp/other/vol1", TARGET));
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(forwarded, inbox_count(f->inbox, INBOX_SETTINGS, id));
    assert_int_equal(GCS_OK, mount(f, id, SOURCE, TARGET));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(forwarded + 1, inbox_count(f->inbox, INBOX_SETTINGS, id));

    start_anew(f, two_candidates(f)); /* one rule, one mount: what was added counts from now on, too */

    assert_int_equal(GCS_PERMISSION_DENIED, mount(f, id, "sandbox:///tmp/atlas/emptydir/vol2", TARGET));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(GCS_NOT_FOUND, mount(f, container_id(id, 1), SOURCE, TARGET));
    clean_up(f, 0, init);
    assert_int_equal(0, sandbox_entries(f));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_mount_of_the_create_counts_after_a_restart(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t init = run_with_mount(f, 0);
    container_id(id, 0);

    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_PERMISSION_DENIED, mount(f, id, "sandbox:///tmp/atlas/emptydir/vol2", TARGET));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    clean_up(f, 0, init);
    assert_int_equal(0, sandbox_entries(f));
}

static void
a_mount_that_told_which_container_it_is_still_does(void **state)
{
    struct sidecar_fixture *f = *state;
    uint32_t process = 0;
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    assert_int_equal(GCS_OK, host_end(begin_mount(f, id, 0)));

    start_anew(f, candidates_that_differ_in_their_mount(f));

    assert_int_equal(GCS_PERMISSION_DENIED, exec(f, id, other, &process));
    assert_int_equal(GCS_OK, exec(f, id, cmd, &process));
}

static void
a_mount_that_was_taken_back_tells_nothing(void **state)
{
    struct sidecar_fixture *f = *state;
    uint32_t process = 0;
    char id[65];
    host_run(f->host, 0);
    container_id(id, 0);
    inbox_hold(f->inbox, INBOX_SETTINGS, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(begin_mount(f, id, 100)));
    assert_true(inbox_wait_held(f->inbox, 1));
    inbox_release(f->inbox, INBOX_SETTINGS);
    assert_int_equal(GCS_PERMISSION_DENIED, exec(f, id, neither, &process)); /* waits for the way back */

    start_anew(f, candidates_that_differ_in_their_mount(f));

    assert_int_equal(GCS_OK, exec(f, id, other, &process));
    assert_int_equal(GCS_PERMISSION_DENIED, exec(f, id, cmd, &process));
}

static void
a_container_is_known_with_all_it_has(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    char id[65];
    uint32_t init = run_with_mount(f, 0), process = 0, later = 0;
    container_id(id, 0);
    assert_int_equal(GCS_OK, exec(f, id, cmd, &process));
    assert_int_equal(GCS_OK, exec(f, "00000000-0000-0000-0000-000000000000", cmd, &later));
    inbox_page_single(f->inbox);

    start_anew(f, two_candidates(f));

    assert_int_equal(1, host_health(f->host).containers);
    assert_int_equal(GCS_OK, read_stream(f, id, init));
    assert_int_equal(GCS_OK, read_stream(f, id, process));
    assert_int_equal(GCS_OK, read_stream(f, "00000000-0000-0000-0000-000000000000", later));
    assert_int_equal(GCS_OK, exec(f, id, cmd, &later));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_remove_volume(f->host, VOLUME_ID, &err)); /* it is held */
    gcs_error_clear(&err);
    host_prepare(f->host, 1); /* the adopted volume serves others as well */
    clean_up(f, 0, init);
    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, container_id(id, 1), "scratch-1", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_volume(f->host, VOLUME_ID, &err));
    assert_int_equal(0, sandbox_entries(f));
    assert_false(host_health(f->host).inconsistent);
}

static void
what_was_narrowed_stays_narrow(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process;
    uint32_t init = run_with_mount(f, 0);
    assert_int_equal(GCS_OK, exec(f, container_id(id, 0), other, &process));

    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_PERMISSION_DENIED, exec(f, id, cmd, &process));
    assert_int_equal(GCS_OK, exec(f, id, other, &process));
    clean_up(f, 0, init);
}

static void
a_refused_exec_narrows_nothing_for_the_successor(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process;
    uint32_t init = run_with_mount(f, 0);
    inbox_refuse(f->inbox, INBOX_EXEC, NULL, 1, STATUS_INTERNAL);
    assert_int_equal(GCS_INTERNAL, exec(f, container_id(id, 0), other, &process));

    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_OK, exec(f, id, cmd, &process));
    clean_up(f, 0, init);
}

static void
a_container_that_was_shut_down_gets_nothing_more(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process;
    uint32_t init = run_with_mount(f, 0);
    assert_int_equal(GCS_OK, ask(f, container_id(id, 0), INBOX_GRACEFUL));

    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_PERMISSION_DENIED, exec(f, id, cmd, &process));
    clean_up(f, 0, init);
}

static void
an_id_is_not_created_twice(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    clean_up(f, 0, run_with_mount(f, 0));

    start_anew(f, two_candidates(f));
    host_add_volume(f->host);
    host_prepare(f->host, 0);
    spec_init(&spec);
    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_denied(&err, status, "container already started");
}

static void
combined_layers_and_created_containers_go_on_from_where_they_were(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    uint32_t init = 0;
    spec_init(&spec);
    host_prepare(f->host, 0);
    start_anew(f, two_candidates(f));
    assert_int_equal(GCS_OK, gcs_create(f->host, container_id(id, 0), &spec.spec, &err));
    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_OK, gcs_start(f->host, id, &init, &err));

    assert_int_equal(GCS_OK, read_stream(f, id, init));
    clean_up(f, 0, init);
}

/* What may still be done with the container 0, and no more. */
static void
assert_restricted(struct sidecar_fixture *f, uint32_t init, uint32_t process)
{
    struct gcs_error err = {0};
    struct gcs_exit end;
    char id[65];
    uint32_t later;
    container_id(id, 0);
    assert_int_equal(GCS_FAILED_PRECONDITION, exec(f, id, cmd, &later));
    assert_int_equal(GCS_FAILED_PRECONDITION, mount(f, id, "sandbox:///tmp/atlas/emptydir/vol2", TARGET));
    assert_int_equal(GCS_FAILED_PRECONDITION, read_stream(f, id, init));
    assert_int_equal(GCS_FAILED_PRECONDITION, read_stream(f, id, process));
    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_signal(f->host, id, process, 0, &err));
    assert_non_null(strstr(err.message, "not known any more"));
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_wait(f->host, id, process, 0, &end, &err));
    clean_up(f, 0, init);
    assert_int_equal(0, sandbox_entries(f));
    assert_false(host_health(f->host).inconsistent);
}

static void
an_unreadable_tag_leaves_wait_shutdown_and_delete(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process, init = run_with_mount(f, 0);
    assert_int_equal(GCS_OK, exec(f, container_id(id, 0), cmd, &process));
    objects_spoil(inbox_objects(f->inbox), id, "nonsense", "nonsense");

    start_anew(f, two_candidates(f));

    assert_restricted(f, init, process);
}

static void
a_tag_of_another_policy_leaves_wait_shutdown_and_delete(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process, init = run_with_mount(f, 0);
    assert_int_equal(GCS_OK, exec(f, container_id(id, 0), cmd, &process));

    start_anew(f, seed_policy_text(&f->seed));

    assert_restricted(f, init, process);
}

static void
layers_without_a_readable_tag_are_not_created_from(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    spec_init(&spec);
    host_prepare(f->host, 0);
    objects_spoil(inbox_objects(f->inbox), container_id(id, 0), "nonsense", NULL);

    start_anew(f, two_candidates(f));

    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_create(f->host, id, &spec.spec, &err));
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_separate_layers(f->host, id, "scratch-0", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_scratch(f->host, "scratch-0", &err));
}

static void
what_belongs_to_nothing_is_swept_away(void **state)
{
    struct sidecar_fixture *f = *state;
    char path[200];
    snprintf(path, sizeof path, "%s/of-nobody", f->volumes);
    run_with_mount(f, 0);
    fixture_stop(f);
    inbox_cut(f->inbox);
    inbox_restart(f->inbox); /* it has lost everything, too */
    inbox_mend(f->inbox);
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(0, mkdir(path, 0700));

    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, two_candidates(f)));

    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(-1, access(path, F_OK));
    host_add_volume(f->host); /* its name is free */
}

static void
without_an_inbox_nothing_is_served_until_it_comes(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    static const char *const files[] = {"base", "top"};
    char id[65];
    uint32_t process, init = run_with_mount(f, 0);
    fixture_stop(f);
    inbox_cut(f->inbox);
    struct error failure;
    assert_int_equal(STATUS_OK, sidecar_start(&f->config, &f->sidecar, &failure));
    assert_int_equal(GCS_OK, gcs_connect(f->url, NULL, &f->host, &err));
    assert_int_equal(GCS_OK, policy_set(f->host, two_candidates(f)));

    assert_int_equal(GCS_UNAVAILABLE,
                     gcs_add_volume(f->host, container_id(id, 0), "v2", files, 2, NULL, &err));
    assert_non_null(strstr(err.message, "not known yet"));
    gcs_error_clear(&err);
    inbox_mend(f->inbox);
    assert_true(host_wait_connected(f->host, true));

    assert_int_equal(GCS_OK, exec(f, id, cmd, &process));
    clean_up(f, 0, init);
}

static void
an_inbox_that_refuses_to_tell_is_asked_again(void **state)
{
    struct sidecar_fixture *f = *state;
    char id[65];
    uint32_t process, init = run_with_mount(f, 0);
    fixture_stop(f);
    inbox_refuse(f->inbox, INBOX_LIST, NULL, 2, STATUS_INTERNAL);
    fixture_start(f);
    assert_int_equal(GCS_OK, policy_set(f->host, two_candidates(f)));
    assert_true(host_wait_connected(f->host, true));

    assert_int_equal(GCS_OK, exec(f, container_id(id, 0), cmd, &process));
    clean_up(f, 0, init);
}

static void
a_sidecar_that_ends_while_it_asks_ends(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    fixture_stop(f);
    inbox_hold(f->inbox, INBOX_LIST, NULL, 1);
    fixture_start(f);
    f->config.drain_ns = 0;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__ModifySettings settings = GCS__V1__MODIFY_SETTINGS__INIT;
    Gcs__V1__SecurityPolicy policy = GCS__V1__SECURITY_POLICY__INIT;
    char *text = two_candidates(f);
    policy.policy = (ProtobufCBinaryData){.data = (uint8_t *)text, .len = strlen(text)};
    settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_SECURITY_POLICY;
    settings.security_policy = &policy;
    request.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    request.modify_settings = &settings;
    struct host_call *call = host_begin(f->host, &request);
    free(text);
    assert_true(inbox_wait_held(f->inbox, 1));

    inbox_cut(f->inbox);
    assert_int_equal(GCS_OK, host_end(call)); /* the policy is set; the rest follows with the inbox */
    inbox_mend(f->inbox);
    gcs_error_clear(&err);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_container_is_known_with_all_it_has),
        TEST(what_was_narrowed_stays_narrow),
        TEST(a_refused_exec_narrows_nothing_for_the_successor),
        TEST(a_container_that_was_shut_down_gets_nothing_more),
        cmocka_unit_test_setup_teardown(a_mount_that_told_which_container_it_is_still_does, setup_mounts,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_mount_that_was_taken_back_tells_nothing, setup_mounts,
                                        fixture_teardown),
        TEST(a_later_mount_is_judged_as_that_of_any_other_container),
        TEST(a_mount_of_the_create_counts_after_a_restart),
        TEST(an_id_is_not_created_twice),
        TEST(combined_layers_and_created_containers_go_on_from_where_they_were),
        TEST(an_unreadable_tag_leaves_wait_shutdown_and_delete),
        TEST(a_tag_of_another_policy_leaves_wait_shutdown_and_delete),
        TEST(layers_without_a_readable_tag_are_not_created_from),
        TEST(what_belongs_to_nothing_is_swept_away),
        TEST(without_an_inbox_nothing_is_served_until_it_comes),
        TEST(an_inbox_that_refuses_to_tell_is_asked_again),
        TEST(a_sidecar_that_ends_while_it_asks_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
