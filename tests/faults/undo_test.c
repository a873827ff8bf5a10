/*
 * An undo fails: the guest cannot be as before, so it says so and stays that way. It takes nothing new upon
 * it and lets go what it has.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/fd.h"
#include "tests/faults/snapshot.h"
#include "tests/faults/sweep.h"

#define INCONSISTENT "an undo has failed"

/* From the n-th of these calls on all fail: a directory cannot be made, and none of those before it
 * removed. */
#define MAKE_AND_REMOVE "|mkdirat|unlinkat|"

static enum gcs_status
create(struct gcs_connection *host, unsigned number, const char *source, struct gcs_error *err)
{
    struct test_spec spec;
    char id[65];
    spec_init(&spec);
    spec_add_mount(&spec, source, "/volumemountscratch");
    return gcs_create(host, container_id(id, number), &spec.spec, err);
}

static void
assert_refuses(enum gcs_status status, struct gcs_error *err, const char *what)
{
    if (status != GCS_FAILED_PRECONDITION || !strstr(err->message, INCONSISTENT))
        fail_msg("%s: %s: %s", what, gcs_status_name(status), status == GCS_OK ? "" : err->message);
    gcs_error_clear(err);
}

static void
assert_refuses_what_is_new(struct gcs_connection *host, unsigned prepared)
{
    static const char *const files[] = {"base"};
    struct gcs_error err = {0};
    char id[65];
    assert_refuses(create(host, prepared, "sandbox:///tmp/atlas/emptydir/other", &err), &err, "create");
    assert_refuses(gcs_add_scratch(host, "another", 0, &err), &err, "add a scratch");
    assert_refuses(gcs_add_volume(host, container_id(id, 90), "another", files, 1, NULL, &err), &err,
                   "add a volume");
    assert_refuses(gcs_combine_layers(host, container_id(id, 91), "another", VOLUME_ID, &err), &err,
                   "combine layers");
}

static void
assert_health_says_so(struct gcs_connection *host)
{
    struct gcs_error err = {0};
    Gcs__V1__Response *response = NULL;
    bool said = false;
    assert_int_equal(GCS_OK, gcs_health(host, &response, &err));
    assert_true(response->health->inconsistent);
    assert_false(response->health->ready);
    for (size_t i = 0; i < response->health->n_reasons; i++)
        said = said || strstr(response->health->reasons[i], INCONSISTENT);
    assert_true(said);
    gcs_response_free(response);
}

static void
assert_metrics_say_so(struct gcs_connection *host)
{
    struct gcs_error err = {0};
    char *text = NULL;
    assert_int_equal(GCS_OK, gcs_metrics(host, &text, &err));
    assert_non_null(strstr(text, "\ngcs_inconsistent 1\n"));
    free(text);
}

/* One line of the log, an error, with the reason. */
static void
assert_log_says_so(const struct program *sidecar)
{
    char *text = NULL;
    size_t size;
    struct error err;
    assert_int_equal(STATUS_OK, fd_read_file(sidecar->log, 4 << 20, &text, &size, &err));
    char *line = strstr(text, "an undo failed");
    assert_non_null(line);
    line[strcspn(line, "\n")] = '\0';
    while (line > text && line[-1] != '\n')
        line--;
    assert_non_null(strstr(line, "\"level\":\"error\""));
    assert_non_null(strstr(line, "Input/output error"));
    free(text);
}

static void
assert_inconsistent(struct sweep *s, unsigned prepared)
{
    assert_health_says_so(s->host);
    assert_metrics_say_so(s->host);
    assert_log_says_so(&s->guest->sidecar);
    assert_refuses_what_is_new(s->host, prepared);
}

static void
a_guest_whose_create_cannot_be_undone_takes_nothing_new_and_lets_go_what_it_has(void **state)
{
    static const char *const cmd[] = {"cmd", NULL};
    struct sweep *s = *state;
    struct gcs_error err = {0};
    struct test_process process;
    char id[65];
    uint32_t exec = 0;
    host_add_volume(s->host);
    uint32_t init = host_run(s->host, 11);
    host_prepare(s->host, 2);
    host_prepare(s->host, 3);

    /* tmp, atlas and emptydir are made, vol1 is not, and the three cannot be removed. */
    inject_arm(s->inject, INJECT_CALLS, MAKE_AND_REMOVE, 4, UINT_MAX);
    enum gcs_status status = create(s->host, 2, "sandbox:///tmp/atlas/emptydir/vol1", &err);
    inject_disarm(s->inject);

    assert_int_equal(GCS_DATA_LOSS, status);
    assert_non_null(strstr(err.message, "make sandbox directory 'sandbox:///tmp/atlas/emptydir/vol1'"));
    assert_non_null(strstr(err.message, "and the undo failed"));
    gcs_error_clear(&err);
    assert_inconsistent(s, 3);

    /* What is there goes on and comes to its end. */
    process_init(&process, cmd);
    assert_int_equal(GCS_OK, gcs_exec(s->host, container_id(id, 11), &process.process, &exec, &err));
    assert_int_equal(GCS_OK, gcs_signal(s->host, id, exec, GCS__V1__SIGNAL__SIGNAL_TERMINATE, &err));
    host_stop(s->host, 11, init);
    host_clear(s->host, 11);
    assert_int_equal(2, host_health(s->host).containers); /* the two that were only prepared */
    assert_inconsistent(s, 3);
}

static void
a_volume_that_cannot_be_undone_makes_the_guest_inconsistent(void **state)
{
    static const char *const files[] = {"base", "top"};
    struct sweep *s = *state;
    struct gcs_error err = {0};
    char id[65];
    host_add_volume(s->host);
    host_prepare(s->host, 2);

    /* The directory of the volume and its first mount point are made, the second is not. */
    inject_arm(s->inject, INJECT_CALLS, MAKE_AND_REMOVE, 3, UINT_MAX);
    enum gcs_status status = gcs_add_volume(s->host, container_id(id, 5), "volume-2", files, 2, NULL, &err);
    inject_disarm(s->inject);

    assert_int_not_equal(GCS_OK, status);
    gcs_error_clear(&err);
    assert_inconsistent(s, 2);
    /* Nobody can use it, and its removal may be tried again; what else there is can go as well. */
    assert_int_equal(GCS_OK, gcs_remove_volume(s->host, "volume-2", &err));
    assert_int_equal(GCS_OK, gcs_separate_layers(s->host, container_id(id, 2), "scratch-2", VOLUME_ID, &err));
    assert_int_equal(GCS_OK, gcs_remove_volume(s->host, VOLUME_ID, &err));
    assert_health_says_so(s->host);
}

static void
a_deletion_that_leaves_a_directory_makes_the_guest_inconsistent(void **state)
{
    struct sweep *s = *state;
    struct gcs_error err = {0};
    char id[65];
    host_add_volume(s->host);
    host_prepare(s->host, 2);
    host_prepare(s->host, 3);
    assert_int_equal(GCS_OK, create(s->host, 2, "sandbox:///tmp/atlas/emptydir/vol1", &err));

    inject_arm(s->inject, INJECT_CALLS, "|unlinkat|", 1, UINT_MAX);
    enum gcs_status status = gcs_delete(s->host, container_id(id, 2), &err);
    inject_disarm(s->inject);

    assert_int_equal(GCS_OK, status); /* the container is gone */
    assert_inconsistent(s, 3);
    assert_int_equal(GCS_OK, gcs_separate_layers(s->host, id, "scratch-2", VOLUME_ID, &err));
}

static void
a_deletion_that_is_short_of_descriptors_is_finished_as_soon_as_there_are_some(void **state)
{
    static const char source[] = "sandbox:///tmp/atlas/emptydir/vol1";
    struct sweep *s = *state;
    struct gcs_error err = {0};
    char id[65];
    host_add_volume(s->host);
    host_prepare(s->host, 2);
    host_prepare(s->host, 3);
    char *before = snapshot_take(s->guest);
    assert_int_equal(GCS_OK, create(s->host, 2, source, &err));

    inject_arm(s->inject, INJECT_CALLS, "|openat2|", 1, UINT_MAX);
    enum gcs_status status = gcs_delete(s->host, container_id(id, 2), &err);
    enum gcs_status another =
        create(s->host, 3, source, &err); /* it is not to find what the first has left */
    assert_true(inject_disarm(s->inject) > 0);

    assert_int_equal(GCS_OK, status);
    assert_int_equal(GCS_RESOURCE_EXHAUSTED, another);
    assert_non_null(strstr(err.message, "of a deleted container could not be removed yet"));
    gcs_error_clear(&err);
    snapshot_await(s->guest, before, "a deletion short of descriptors"); /* by itself: nothing is asked for */
    assert_false(host_health(s->host).inconsistent);
    assert_int_equal(GCS_OK, create(s->host, 3, source, &err));
    assert_int_equal(GCS_OK, gcs_delete(s->host, container_id(id, 3), &err));
    snapshot_await(s->guest, before, "another container");
    free(before);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, sweep_setup_sidecar, sweep_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_guest_whose_create_cannot_be_undone_takes_nothing_new_and_lets_go_what_it_has),
        TEST(a_volume_that_cannot_be_undone_makes_the_guest_inconsistent),
        TEST(a_deletion_that_leaves_a_directory_makes_the_guest_inconsistent),
        TEST(a_deletion_that_is_short_of_descriptors_is_finished_as_soon_as_there_are_some),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
