#include "server/inbox/guest_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
windows_and_linux_forms_name_the_same_place(void **state)
{
    (void)state;
    static const struct {
        const char *path, *result;
    } cases[] = {
        {"/", "/"},           {"/a/b", "/a/b"},     {"/a//b/", "/a/b"},
        {"/a/./b", "/a/b"},   {"C:\\", "/"},        {"c:", "/"},
        {"C:\\a\\b", "/a/b"}, {"C:/a/b\\", "/a/b"}, {"c:\\a/.\\b", "/a/b"},
        {"/a\\b", "/a\\b"},   {"/C:/x", "/C:/x"},   {"/...", "/..."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char result[LIMIT_PATH_BYTES + 1];
        struct error err;
        assert_int_equal(guest_path(cases[i].path, result, &err), STATUS_OK);
        assert_string_equal(result, cases[i].result);
    }
}

static void
what_could_lead_elsewhere_is_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {"",          "a",      "..",        "/..", "/a/../b",
                                        "C:\\..\\b", "C:a",    "D:\\a",     "\\a", "\\\\?\\C:\\a",
                                        "/a\nb",     "/a\x7f", "C:\\a\\..", "./a"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char result[LIMIT_PATH_BYTES + 1];
        struct error err;
        assert_int_equal(guest_path(cases[i], result, &err), STATUS_INVALID_ARGUMENT);
    }
}

static void
long_paths_and_components_are_refused(void **state)
{
    (void)state;
    static char path[LIMIT_PATH_BYTES + 8];
    char result[LIMIT_PATH_BYTES + 1];
    struct error err;
    memset(path, 'x', LIMIT_PATH_COMPONENT + 2);
    path[0] = '/';
    assert_int_equal(guest_path(path, result, &err), STATUS_INVALID_ARGUMENT);
    path[LIMIT_PATH_COMPONENT + 1] = '\0';
    assert_int_equal(guest_path(path, result, &err), STATUS_OK);
    for (size_t i = 0; i < LIMIT_PATH_BYTES + 1; i++)
        path[i] = i % 2 ? 'a' : '/';
    path[LIMIT_PATH_BYTES] = '\0';
    assert_int_equal(guest_path(path, result, &err), STATUS_OK);
    memcpy(path + LIMIT_PATH_BYTES, "/", 2);
    assert_int_equal(guest_path(path, result, &err), STATUS_INVALID_ARGUMENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_and_linux_forms_name_the_same_place),
        cmocka_unit_test(what_could_lead_elsewhere_is_refused),
        cmocka_unit_test(long_paths_and_components_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
