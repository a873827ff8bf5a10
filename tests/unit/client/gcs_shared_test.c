/* The installed form of libgcs: this file sees its header and the schema's, and links the library alone. */
#include <gcs.h>

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void
the_header_and_the_library_are_all_a_program_needs(void **state)
{
    (void)state;
    struct gcs_options options = {.connect_timeout_ms = 50};
    struct gcs_connection *conn = NULL;
    struct gcs_error err = {0};

    enum gcs_status status = gcs_connect("tcp://127.0.0.1:1", &options, &conn, &err);

    assert_int_equal(status, GCS_DEADLINE_EXCEEDED);
    assert_null(conn);
    assert_string_equal(gcs_status_name(err.status), "DEADLINE_EXCEEDED");
    gcs_error_clear(&err);
    assert_null(err.message);
}

static void
the_library_shows_its_own_names_and_no_other(void **state)
{
    (void)state;
    static const char *const shown[] = {"gcs_call", "gcs_wait", "gcs__v1__request__init",
                                        "gcs__v1__spec__free_unpacked"};
    static const char *const hidden[] = {"error_set",  "caller_start",   "wire_check", "arena_init",
                                         "pool_start", "gcs_error_fill", "status_name"};
    for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_non_null(dlsym(RTLD_DEFAULT, shown[i]));
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        assert_null(dlsym(RTLD_DEFAULT, hidden[i]));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_header_and_the_library_are_all_a_program_needs),
        cmocka_unit_test(the_library_shows_its_own_names_and_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
