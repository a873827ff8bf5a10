#include "server/base/run_dir.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Where it must lie, for whoever runs the test. */
static const char *
expected_base(void)
{
    return geteuid() == 0 ? "/run" : "/somewhere";
}

static void
a_path_is_prefix_directory_and_suffix(void **state)
{
    (void)state;
    setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
    char text[128], expected[128] = "ipc://";
    struct error err;
    strcat(strcat(expected, expected_base()), "/gcs/sidecar.sock");

    assert_int_equal(run_dir_path(text, sizeof text, "ipc://", "/sidecar.sock", &err), STATUS_OK);

    assert_string_equal(text, expected);
}

static void
a_path_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    setenv("XDG_RUNTIME_DIR", "/somewhere", 1);
    char text[128];
    struct error err;
    size_t length = strlen(expected_base()) + strlen("/gcs/x");
    assert_int_equal(run_dir_path(text, length, "", "/x", &err), STATUS_INVALID_ARGUMENT);
    assert_int_equal(run_dir_path(text, length + 1, "", "/x", &err), STATUS_OK);
    assert_int_equal(strlen(text), length);
}

static void
without_root_the_environment_must_name_a_directory(void **state)
{
    (void)state;
    char text[128];
    struct error err;
    enum status wanted = geteuid() == 0 ? STATUS_OK : STATUS_FAILED_PRECONDITION; /* root never looks */
    unsetenv("XDG_RUNTIME_DIR");
    assert_int_equal(run_dir_path(text, sizeof text, "", "/x", &err), wanted);
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    assert_int_equal(run_dir_path(text, sizeof text, "", "/x", &err), wanted);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_prefix_directory_and_suffix),
        cmocka_unit_test(a_path_that_does_not_fit_is_refused),
        cmocka_unit_test(without_root_the_environment_must_name_a_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
