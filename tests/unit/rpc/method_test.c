/*
 * The dispatch table's lookup, and the table of result codes that go with a status.
 */
#include "server/rpc/method.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/base/limits.h"
#include "server/rpc/hresult.h"

static const struct rpc_method rows[] = {
    {.arm = 42, .resource = 2, .name = "ModifySettings/SecurityPolicy"},
    {.arm = 42, .resource = 4, .name = "ModifySettings/BlockCims"},
    {.arm = 64, .name = "Ping"},
};
static const struct rpc_method_table table = {rows, sizeof rows / sizeof rows[0]};

static void
a_row_is_found_by_its_arm_and_its_resource(void **state)
{
    (void)state;
    assert_ptr_equal(rpc_method_find(&table, 42, 2), &rows[0]);
    assert_ptr_equal(rpc_method_find(&table, 42, 4), &rows[1]);
    assert_ptr_equal(rpc_method_find(&table, 64, 0), &rows[2]);
}

static void
what_has_no_row_is_not_found(void **state)
{
    (void)state;
    static const struct {
        uint32_t arm, resource;
    } absent[] = {{0, 0}, {41, 0}, {42, 0}, {42, 3}, {64, 2}, {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_null(rpc_method_find(&table, absent[i].arm, absent[i].resource));
    assert_null(rpc_method_find(&(struct rpc_method_table){NULL, 0}, 64, 0));
}

static void
a_row_that_says_nothing_has_the_common_bounds(void **state)
{
    (void)state;
    assert_int_equal(rpc_method_timeout_ms(&(struct rpc_method){.name = "acts"}), 30000);
    assert_int_equal(rpc_method_timeout_ms(&(struct rpc_method){.waits = true}), LIMIT_PARK_MS + 10000);
    assert_int_equal(rpc_method_timeout_ms(&(struct rpc_method){.waits = true, .timeout_default_ms = 7}), 7);
    assert_int_equal(rpc_method_bytes_max(&(struct rpc_method){.name = "small"}), LIMIT_REQUEST_BYTES);
    assert_int_equal(rpc_method_bytes_max(&(struct rpc_method){.request_bytes_max = 9}), 9);
}

static void
a_resource_takes_the_request_types_of_its_row_and_names_them_to_any_other(void **state)
{
    (void)state;
    static const struct rpc_method row = {
        .resource = 4, .name = "Thing", .request_types = RPC_TAKES_ADD | RPC_TAKES_UPDATE};
    struct error err;
    assert_int_equal(STATUS_OK, rpc_method_check_type(&row, 0, &err));
    assert_int_equal(STATUS_OK, rpc_method_check_type(&row, 3, &err));
    assert_int_equal(STATUS_UNIMPLEMENTED, rpc_method_check_type(&row, 1, &err));
    assert_string_equal("Thing: modify_settings.request_type: REMOVE is not one of: ADD, UPDATE", err.text);
    assert_int_equal(STATUS_UNIMPLEMENTED, rpc_method_check_type(&row, 4, &err));
    assert_int_equal(STATUS_UNIMPLEMENTED, rpc_method_check_type(&row, 64, &err));
}

static void
every_status_has_its_result_code(void **state)
{
    (void)state;
    static const struct {
        enum status status;
        uint32_t hresult;
    } expected[] = {
        {STATUS_OK, 0},
        {STATUS_CANCELLED, 0x80004005},
        {STATUS_UNKNOWN, 0x80004005},
        {STATUS_INVALID_ARGUMENT, 0x80070057},
        {STATUS_DEADLINE_EXCEEDED, 0xC0370109},
        {STATUS_NOT_FOUND, 0xC037010E},
        {STATUS_ALREADY_EXISTS, 0xC037010F},
        {STATUS_PERMISSION_DENIED, 0x80004005},
        {STATUS_RESOURCE_EXHAUSTED, 0x80004005},
        {STATUS_FAILED_PRECONDITION, 0x80370105},
        {STATUS_ABORTED, 0x80004005},
        {STATUS_OUT_OF_RANGE, 0x80070057},
        {STATUS_UNIMPLEMENTED, 0x80004001},
        {STATUS_INTERNAL, 0x80004005},
        {STATUS_UNAVAILABLE, 0x80004005},
        {STATUS_DATA_LOSS, 0x80004005},
        {STATUS_UNAUTHENTICATED, 0x80004005},
    };
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(hresult_of_status(expected[i].status), expected[i].hresult);
}

static void
only_success_has_the_result_code_of_success(void **state)
{
    (void)state;
    for (int status = STATUS_OK + 1; status < 64; status++)
        assert_int_not_equal(hresult_of_status((enum status)status), HRESULT_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_is_found_by_its_arm_and_its_resource),
        cmocka_unit_test(what_has_no_row_is_not_found),
        cmocka_unit_test(a_row_that_says_nothing_has_the_common_bounds),
        cmocka_unit_test(a_resource_takes_the_request_types_of_its_row_and_names_them_to_any_other),
        cmocka_unit_test(every_status_has_its_result_code),
        cmocka_unit_test(only_success_has_the_result_code_of_success),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
