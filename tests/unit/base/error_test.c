#include "server/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/base/text.h"

static void
set_returns_its_status_and_forgets_an_older_error(void **state)
{
    (void)state;
    struct error err;
    enum status first = error_set_hresult(&err, STATUS_PERMISSION_DENIED, 0x80004005, "no: %d", 7);
    assert_int_equal(first, STATUS_PERMISSION_DENIED);
    assert_int_equal(err.hresult, 0x80004005);
    assert_string_equal(err.text, "no: 7");

    enum status second = error_set(&err, STATUS_NOT_FOUND, ENOENT, "open '%s'", "x");

    assert_int_equal(second, STATUS_NOT_FOUND);
    assert_int_equal(err.status, STATUS_NOT_FOUND);
    assert_int_equal(err.hresult, 0);
    assert_string_equal(err.text, "open 'x': No such file or directory");
}

/* `count` times `unit` after `pad` bytes of 'a'. */
static char *
repeated(size_t pad, const char *unit, size_t count)
{
    size_t length = strlen(unit);
    char *text = malloc(pad + count * length + 1);
    assert_non_null(text);
    memset(text, 'a', pad);
    for (size_t i = 0; i < count; i++)
        memcpy(text + pad + i * length, unit, length);
    text[pad + count * length] = '\0';
    return text;
}

static void
over_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const units[] = {"b", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t unit = 0; unit < sizeof units / sizeof units[0]; unit++) {
        for (size_t pad = 0; pad < 4; pad++) {
            size_t width = strlen(units[unit]);
            char *text = repeated(pad, units[unit], ERROR_TEXT_MAX);
            struct error err;

            (void)error_set(&err, STATUS_INTERNAL, 0, "%s", text);

            size_t length = strlen(err.text);
            assert_int_equal(length, pad + (ERROR_TEXT_MAX - 1 - pad) / width * width);
            assert_memory_equal(err.text, text, length);
            assert_true(text_is_utf8(err.text, length));
            free(text);
        }
    }
}

static void
text_that_just_fits_is_not_cut(void **state)
{
    (void)state;
    char *text = repeated(1, "\xC3\xBC", (ERROR_TEXT_MAX - 2) / 2);
    assert_int_equal(strlen(text), ERROR_TEXT_MAX - 1);
    struct error err;

    (void)error_set(&err, STATUS_INTERNAL, 0, "%s", text);

    assert_string_equal(err.text, text);
    free(text);
}

static void
text_that_ends_in_stray_continuation_bytes_does_not_break_the_cut(void **state)
{
    (void)state;
    char *text = repeated(0, "\x80", ERROR_TEXT_MAX + 10);
    struct error err;

    (void)error_set(&err, STATUS_INTERNAL, 0, "%s", text);

    assert_true(strlen(err.text) < ERROR_TEXT_MAX);
    free(text);
}

static void
the_system_text_is_kept_out_of_a_full_error(void **state)
{
    (void)state;
    char *text = repeated(0, "b", ERROR_TEXT_MAX);
    struct error err;

    (void)error_set(&err, STATUS_INTERNAL, ENOENT, "%s", text);

    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    free(text);
}

static void
a_prefix_goes_in_front_and_keeps_status_and_hresult(void **state)
{
    (void)state;
    struct error err;
    (void)error_set_hresult(&err, STATUS_INVALID_ARGUMENT, 0x80070057, "path is too long");

    error_prefix(&err, "mount %d: ", 3);

    assert_string_equal(err.text, "mount 3: path is too long");
    assert_int_equal(err.status, STATUS_INVALID_ARGUMENT);
    assert_int_equal(err.hresult, 0x80070057);
}

static void
a_prefix_pushes_the_end_out_between_characters(void **state)
{
    (void)state;
    for (size_t pad = 0; pad < 3; pad++) {
        char *text = repeated(pad, "\xE2\x82\xAC", (ERROR_TEXT_MAX - 1 - pad) / 3);
        struct error err;
        (void)error_set(&err, STATUS_INTERNAL, 0, "%s", text);

        error_prefix(&err, "step 12: ");

        assert_memory_equal(err.text, "step 12: ", 9);
        size_t length = strlen(err.text);
        assert_true(length >= ERROR_TEXT_MAX - 4);
        assert_true(text_is_utf8(err.text, length));
        free(text);
    }
}

static void
an_over_long_prefix_leaves_valid_text(void **state)
{
    (void)state;
    char *text = repeated(1, "\xC3\xBC", ERROR_TEXT_MAX);
    struct error err;
    (void)error_set(&err, STATUS_INTERNAL, 0, "the end");

    error_prefix(&err, "%s", text);

    size_t length = strlen(err.text);
    assert_true(text_is_utf8(err.text, length));
    assert_memory_equal(err.text, text, length - 1);
    free(text);
}

static void
every_status_has_its_grpc_name_and_number(void **state)
{
    (void)state;
    static const struct {
        int number;
        const char *name;
    } cases[] = {
        {0, "OK"},
        {1, "CANCELLED"},
        {2, "UNKNOWN"},
        {3, "INVALID_ARGUMENT"},
        {4, "DEADLINE_EXCEEDED"},
        {5, "NOT_FOUND"},
        {6, "ALREADY_EXISTS"},
        {7, "PERMISSION_DENIED"},
        {8, "RESOURCE_EXHAUSTED"},
        {9, "FAILED_PRECONDITION"},
        {10, "ABORTED"},
        {11, "OUT_OF_RANGE"},
        {12, "UNIMPLEMENTED"},
        {13, "INTERNAL"},
        {14, "UNAVAILABLE"},
        {15, "DATA_LOSS"},
        {16, "UNAUTHENTICATED"},
        {17, "UNKNOWN"},
        {-1, "UNKNOWN"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(status_name((enum status)cases[i].number), cases[i].name);
}

static void
what_the_kernel_says_becomes_a_status_a_client_can_act_on(void **state)
{
    (void)state;
    static const struct {
        int os_error;
        enum status status;
    } cases[] = {
        {ENOENT, STATUS_NOT_FOUND},
        {EEXIST, STATUS_ALREADY_EXISTS},
        {ENAMETOOLONG, STATUS_INVALID_ARGUMENT},
        {ELOOP, STATUS_FAILED_PRECONDITION},
        {EXDEV, STATUS_FAILED_PRECONDITION},
        {EROFS, STATUS_FAILED_PRECONDITION},
        {ENOTDIR, STATUS_FAILED_PRECONDITION},
        {ENOSPC, STATUS_RESOURCE_EXHAUSTED},
        {EDQUOT, STATUS_RESOURCE_EXHAUSTED},
        {EMFILE, STATUS_RESOURCE_EXHAUSTED},
        {ECONNREFUSED, STATUS_UNAVAILABLE},
        {EIO, STATUS_INTERNAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(status_of_errno(cases[i].os_error), cases[i].status);
}

static enum status
fail_when(bool fail, int *steps, struct error *err)
{
    (*steps)++;
    return fail ? error_set(err, STATUS_ABORTED, 0, "step %d", *steps) : STATUS_OK;
}

static enum status
two_steps(bool first_fails, int *steps, struct error *err)
{
    TRY(fail_when(first_fails, steps, err));
    TRY(fail_when(false, steps, err));
    return STATUS_OK;
}

static void
try_returns_at_the_first_failure(void **state)
{
    (void)state;
    struct error err;
    int steps = 0;
    assert_int_equal(two_steps(true, &steps, &err), STATUS_ABORTED);
    assert_int_equal(steps, 1);
    assert_string_equal(err.text, "step 1");

    steps = 0;
    assert_int_equal(two_steps(false, &steps, &err), STATUS_OK);
    assert_int_equal(steps, 2);
}

static void
taking_leaves_the_empty_value_behind(void **state)
{
    (void)state;
    int value = 5;
    int *pointer = &value;
    int fd = 3;

    int *taken = TAKE_PTR(pointer);
    int taken_fd = TAKE_FD(fd);

    assert_ptr_equal(taken, &value);
    assert_null(pointer);
    assert_int_equal(taken_fd, 3);
    assert_int_equal(fd, -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_returns_its_status_and_forgets_an_older_error),
        cmocka_unit_test(over_long_text_is_cut_between_characters),
        cmocka_unit_test(text_that_just_fits_is_not_cut),
        cmocka_unit_test(text_that_ends_in_stray_continuation_bytes_does_not_break_the_cut),
        cmocka_unit_test(the_system_text_is_kept_out_of_a_full_error),
        cmocka_unit_test(a_prefix_goes_in_front_and_keeps_status_and_hresult),
        cmocka_unit_test(a_prefix_pushes_the_end_out_between_characters),
        cmocka_unit_test(an_over_long_prefix_leaves_valid_text),
        cmocka_unit_test(every_status_has_its_grpc_name_and_number),
        cmocka_unit_test(what_the_kernel_says_becomes_a_status_a_client_can_act_on),
        cmocka_unit_test(try_returns_at_the_first_failure),
        cmocka_unit_test(taking_leaves_the_empty_value_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
