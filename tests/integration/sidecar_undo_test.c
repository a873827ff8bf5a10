/*
 * A create that fails, wherever it fails, leaves everything as if it had not been, through the whole sidecar;
 * and where undoing it fails, the sidecar says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

/* -- all or nothing -- */

static void
assert_nothing_is_left(struct sidecar_fixture *f, const char *id)
{
    assert_int_equal(0, sandbox_entries(f));
    assert_int_equal(0, sandbox_root_directories(f->sidecar->sandbox));
    assert_int_equal(CONTAINER_COMBINED, container_state(f->sidecar->containers, id));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_create_that_the_inbox_refuses_is_undone_before_the_host_hears_of_it(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_refuse(f->inbox, INBOX_CREATE, NULL, 1, STATUS_RESOURCE_EXHAUSTED);

    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_int_equal(GCS_RESOURCE_EXHAUSTED, status);
    assert_string_equal("the test inbox refuses", err.message);
    assert_nothing_is_left(f, id);
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
}

static void
a_directory_that_cannot_be_made_names_its_path_and_leaves_nothing(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65], path[300];
    snprintf(path, sizeof path, "%s/tmp", f->sandbox);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fclose(file);
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);

    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_int_equal(GCS_FAILED_PRECONDITION, status);
    assert_non_null(strstr(err.message, "'sandbox:///tmp': it is a file, not a directory"));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_CREATE, NULL));
    gcs_error_clear(&err);
    assert_int_equal(0, unlink(path));
    assert_nothing_is_left(f, id);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
}

static void
a_create_whose_inbox_goes_is_unavailable_at_once_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    struct host_call *call = host_begin_create(f->host, container_id(id, 0), &spec, 600000);
    assert_true(inbox_wait_held(f->inbox, 1));

    inbox_cut(f->inbox);

    assert_int_equal(GCS_UNAVAILABLE, host_end(call));
    assert_nothing_is_left(f, id);
}

static void
without_an_inbox_a_create_is_unavailable_at_once_and_undone(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_cut(f->inbox);
    assert_true(host_wait_connected(f->host, false));

    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_int_equal(GCS_UNAVAILABLE, status);
    assert_nothing_is_left(f, id);
    gcs_error_clear(&err);
}

/* -- deadlines -- */

static void
at_its_deadline_a_create_is_answered_but_its_id_stays_taken_until_the_inbox_has_confirmed(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    inbox_hold(f->inbox, INBOX_DELETE, NULL, 1);

    /* The deadline. */
    assert_int_equal(GCS_DEADLINE_EXCEEDED,
                     host_end(host_begin_create(f->host, container_id(id, 0), &spec, HELD_MS)));
    assert_int_equal(CONTAINER_CREATING, container_state(f->sidecar->containers, id));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_int_equal(GCS_DEADLINE_EXCEEDED, host_end(host_begin_create(f->host, id, &spec, HELD_MS)));

    /* The inbox has made it after all: it is deleted there, and only then the id is free. */
    struct host_call *next = host_begin_create(f->host, id, &spec, 600000);
    assert_int_equal(1, inbox_release(f->inbox, INBOX_CREATE));
    assert_true(inbox_wait_held(f->inbox, 1));
    assert_int_equal(1, inbox_count(f->inbox, INBOX_DELETE, id));
    assert_int_equal(1, inbox_count(f->inbox, INBOX_CREATE, id));
    assert_false(host_has_ended(next));
    assert_int_equal(1, inbox_release(f->inbox, INBOX_DELETE));

    assert_int_equal(GCS_OK, host_end(next));
    assert_int_equal(2, inbox_count(f->inbox, INBOX_CREATE, id));
    assert_int_equal(0777, sandbox_mode(f, "tmp/atlas/emptydir/vol1"));
    assert_false(host_health(f->host).inconsistent);
}

static void
a_create_refused_after_its_deadline_is_undone_without_a_delete(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    assert_int_equal(GCS_DEADLINE_EXCEEDED,
                     host_end(host_begin_create(f->host, container_id(id, 0), &spec, HELD_MS)));

    inbox_release_refused(f->inbox, INBOX_CREATE, STATUS_INTERNAL);

    assert_int_equal(GCS_OK, host_end(host_begin_create(f->host, id, &spec, 600000)));
    assert_int_equal(0, inbox_count(f->inbox, INBOX_DELETE, id));
}

static void
an_inbox_that_gives_up_by_time_may_have_made_the_container_so_it_is_deleted_there(void **state)
{
    struct sidecar_fixture *f = *state;
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_refuse(f->inbox, INBOX_CREATE, NULL, 1, STATUS_DEADLINE_EXCEEDED);
    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_NOT_FOUND);

    enum gcs_status status = gcs_create(f->host, container_id(id, 0), &spec.spec, &err);

    assert_int_equal(GCS_DEADLINE_EXCEEDED, status);
    assert_int_equal(1, inbox_count(f->inbox, INBOX_DELETE, id));
    assert_nothing_is_left(f, id);
    gcs_error_clear(&err);
    assert_int_equal(GCS_OK, gcs_create(f->host, id, &spec.spec, &err));
}

/* -- when undoing fails -- */

static void
assert_refused_as_inconsistent(struct sidecar_fixture *f)
{
    struct gcs_error err = {0};
    struct test_spec spec;
    char id[65];
    struct host_health health = host_health(f->host);
    assert_true(health.inconsistent);
    assert_false(health.ready);
    spec_init(&spec);
    assert_int_equal(GCS_FAILED_PRECONDITION, gcs_create(f->host, container_id(id, 1), &spec.spec, &err));
    assert_non_null(strstr(err.message, "inconsistent"));
    gcs_error_clear(&err);
    assert_refused(&err, gcs_add_scratch(f->host, "another", 0, &err), GCS_FAILED_PRECONDITION);
    assert_refused(&err, gcs_combine_layers(f->host, id, "scratch-1", VOLUME_ID, &err),
                   GCS_FAILED_PRECONDITION);
    assert_refused(&err, gcs_add_volume(f->host, id, "another", (const char *const[]){"base"}, 1, NULL, &err),
                   GCS_FAILED_PRECONDITION);
}

static void
a_late_container_that_cannot_be_deleted_makes_the_guest_inconsistent(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65];
    host_prepare(f->host, 0);
    spec_init(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    inbox_refuse(f->inbox, INBOX_DELETE, NULL, 1, STATUS_INTERNAL);
    assert_int_equal(GCS_DEADLINE_EXCEEDED,
                     host_end(host_begin_create(f->host, container_id(id, 0), &spec, HELD_MS)));

    inbox_release(f->inbox, INBOX_CREATE);

    assert_true(inbox_wait_count(f->inbox, INBOX_DELETE, id, 1));
    /* The key of the container is free again once the undo is over. */
    assert_int_equal(GCS_FAILED_PRECONDITION, host_end(host_begin_create(f->host, id, &spec, 0)));
    assert_refused_as_inconsistent(f);
}

static void
a_directory_that_cannot_be_taken_away_makes_the_guest_inconsistent(void **state)
{
    struct sidecar_fixture *f = *state;
    struct test_spec spec;
    char id[65], path[300];
    snprintf(path, sizeof path, "%s/tmp/atlas/emptydir/vol1", f->sandbox);
    host_prepare(f->host, 0);
    spec_init_mounted(&spec);
    inbox_hold(f->inbox, INBOX_CREATE, NULL, 1);
    struct host_call *call = host_begin_create(f->host, container_id(id, 0), &spec, 0);
    assert_true(inbox_wait_held(f->inbox, 1));
    if (mount("none", path, "tmpfs", 0, NULL) < 0) {
        inbox_release(f->inbox, INBOX_CREATE);
        assert_int_equal(GCS_OK, host_end(call));
        print_message("mount(2) is not allowed here: root is needed\n");
        skip();
    }

    inbox_release_refused(f->inbox, INBOX_CREATE, STATUS_INTERNAL);

    assert_int_equal(GCS_INTERNAL, host_end(call));
    assert_int_equal(0, umount(path));
    assert_refused_as_inconsistent(f);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_create_that_the_inbox_refuses_is_undone_before_the_host_hears_of_it),
        TEST(a_directory_that_cannot_be_made_names_its_path_and_leaves_nothing),
        TEST(a_create_whose_inbox_goes_is_unavailable_at_once_and_undone),
        TEST(without_an_inbox_a_create_is_unavailable_at_once_and_undone),
        TEST(at_its_deadline_a_create_is_answered_but_its_id_stays_taken_until_the_inbox_has_confirmed),
        TEST(a_create_refused_after_its_deadline_is_undone_without_a_delete),
        TEST(an_inbox_that_gives_up_by_time_may_have_made_the_container_so_it_is_deleted_there),
        TEST(a_late_container_that_cannot_be_deleted_makes_the_guest_inconsistent),
        TEST(a_directory_that_cannot_be_taken_away_makes_the_guest_inconsistent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
