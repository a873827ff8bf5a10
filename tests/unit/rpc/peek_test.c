#include "server/rpc/peek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gcs/v1/bridge.pb-c.h"
#include "tests/unit/rpc/wire_bytes.h"

static void
the_envelope_is_found_in_what_an_encoder_writes(void **state)
{
    (void)state;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Health health = GCS__V1__HEALTH__INIT;
    uint8_t session[16] = {1, 2, 3};
    uint64_t acknowledged[] = {12, 14, 1000000};
    char container[] = "00000000-0000-0000-0000-000000000000";
    request.session_id = (ProtobufCBinaryData){.data = session, .len = sizeof session};
    request.request_id = 4711;
    request.acknowledged_through = 10;
    request.acknowledged = acknowledged;
    request.n_acknowledged = 3;
    request.container_id = container;
    request.timeout_ms = 1500;
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    uint8_t bytes[512];
    size_t size = gcs__v1__request__pack(&request, bytes);
    struct peek peek;
    struct error err;

    assert_int_equal(peek_request(bytes, size, &peek, &err), STATUS_OK);

    assert_int_equal(peek.session_id_size, 16);
    assert_memory_equal(peek.session_id, session, 16);
    assert_int_equal(peek.request_id, 4711);
    assert_int_equal(peek.acknowledged_through, 10);
    assert_int_equal(peek.acknowledged_count, 3);
    assert_memory_equal(peek.acknowledged, acknowledged, sizeof acknowledged);
    assert_int_equal(peek.container_id_length, 36);
    assert_memory_equal(peek.container_id, container, 36);
    assert_int_equal(peek.timeout_ms, 1500);
    assert_int_equal(peek.arm, 65);
    assert_int_equal(peek.body_size, 0);
    assert_int_equal(peek.resource, 0);
    assert_false(peek.has_approval);
}

static void
an_acknowledgement_has_no_arm(void **state)
{
    (void)state;
    struct wire_bytes in = {0};
    struct peek peek;
    struct error err;
    put_number(&in, 3, 7);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_int_equal(peek.arm, 0);
    assert_int_equal(peek.acknowledged_through, 7);

    assert_int_equal(peek_request(NULL, 0, &peek, &err), STATUS_OK);
    assert_int_equal(peek.arm, 0);
    assert_null(peek.session_id);
}

static void
modify_settings_tells_its_resource_wherever_it_stands(void **state)
{
    (void)state;
    for (int type_first = 0; type_first < 2; type_first++) {
        struct wire_bytes in = {0}, volume = {0};
        struct peek peek;
        struct error err;
        put_text(&volume, 1, "vol-1");
        if (type_first)
            put_number(&in, 1, 1);
        put_message(&in, 4, &volume);
        if (!type_first)
            put_number(&in, 1, 1);
        wrap_in(&in, 42);
        const uint32_t path[] = {42, 4, 1, 0};
        const char *text = NULL;
        size_t length = 0;

        assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
        assert_int_equal(peek.arm, 42);
        assert_int_equal(peek.resource, 4);
        assert_true(peek_string(in.bytes, in.size, path, 4, &text, &length));
        assert_int_equal(length, 5);
        assert_memory_equal(text, "vol-1", 5);
    }
}

static void
arms_that_are_not_in_the_schema_are_told_too(void **state)
{
    (void)state;
    struct wire_bytes in = {0}, empty = {0};
    struct peek peek;
    struct error err;
    put_number(&in, 2, 9);
    put_message(&in, 4000, &empty);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_int_equal(peek.arm, 4000);
    assert_int_equal(peek.request_id, 9);
}

static void
the_first_of_two_counts(void **state)
{
    (void)state;
    struct wire_bytes in = {0}, empty = {0};
    struct peek peek;
    struct error err;
    put_text(&in, 5, "first");
    put_text(&in, 5, "second!");
    put_number(&in, 2, 1);
    put_number(&in, 2, 2);
    put_message(&in, 65, &empty);
    put_message(&in, 64, &empty);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_int_equal(peek.container_id_length, 5);
    assert_int_equal(peek.request_id, 1);
    assert_int_equal(peek.arm, 65);
}

static void
an_approval_is_noticed(void **state)
{
    (void)state;
    struct wire_bytes in = {0}, empty = {0};
    struct peek peek;
    struct error err;
    put_message(&in, 10, &empty);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_true(peek.has_approval);
}

static void
a_time_limit_beyond_32_bits_is_no_short_one(void **state)
{
    (void)state;
    struct wire_bytes in = {0};
    struct peek peek;
    struct error err;
    put_number(&in, 9, UINT64_C(0x100000001));
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_int_equal(peek.timeout_ms, UINT32_MAX);
}

static void
acknowledgements_are_read_packed_and_single_up_to_the_limit(void **state)
{
    (void)state;
    struct wire_bytes in = {0}, packed = {0};
    struct peek peek;
    struct error err;
    for (uint64_t id = 1; id < LIMIT_ACKNOWLEDGED_IDS; id++)
        put_varint(&packed, id);
    put_message(&in, 4, &packed);
    put_number(&in, 4, 5000);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_OK);
    assert_int_equal(peek.acknowledged_count, LIMIT_ACKNOWLEDGED_IDS);
    assert_int_equal(peek.acknowledged[LIMIT_ACKNOWLEDGED_IDS - 1], 5000);

    put_number(&in, 4, 5001);
    assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_RESOURCE_EXHAUSTED);
}

static void
malformed_bytes_are_refused_and_the_id_before_them_is_known(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } faults[] = {
        {"\x80", 1},     /* half a tag */
        {"\x00\x01", 2}, /* field 0 */
        {"\x2a\x05"
         "ab",
         4},                                                      /* 5 bytes of 2 */
        {"\x2a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},     /* a length of 2^64 - 1 */
        {"\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12}, /* 11 bytes of a varint */
        {"\x18\x80\x00", 3},                                      /* a zero in two bytes */
        {"\x1b", 1},                                              /* a group */
        {"\x1c", 1},                                              /* its end */
        {"\x1e", 1},                                              /* wire type 6 */
        {"\x1d\x01\x02\x03", 4},                                  /* 3 of 4 bytes */
        {"\x19\x01\x02\x03", 4},                                  /* 3 of 8 bytes */
        {"\x22\x02\x05\x80", 4},                                  /* half an id in a packed field */
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct wire_bytes in = {0};
        struct peek peek;
        struct error err;
        put_number(&in, 2, 99);
        put_raw(&in, faults[i].bytes, faults[i].size);
        assert_int_equal(peek_request(in.bytes, in.size, &peek, &err), STATUS_INVALID_ARGUMENT);
        assert_int_equal(peek.request_id, 99);
    }
}

static void
a_key_is_not_found_where_there_is_none(void **state)
{
    (void)state;
    struct wire_bytes number = {0}, cut = {0}, other = {0};
    const uint32_t path[] = {42, 4, 1};
    const char *text = "untouched";
    size_t length = 9;
    put_number(&number, 42, 4); /* no message */
    put_number(&other, 4, 1);
    wrap_in(&other, 42);
    put_raw(&cut, "\xd2\x02\x7f", 3); /* field 42, longer than what follows */

    assert_false(peek_string(number.bytes, number.size, path, 3, &text, &length));
    assert_false(peek_string(other.bytes, other.size, path, 3, &text, &length));
    assert_false(peek_string(cut.bytes, cut.size, path, 3, &text, &length));
    assert_false(peek_string(NULL, 0, path, 3, &text, &length));
    assert_string_equal(text, "untouched");
    assert_int_equal(length, 9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_envelope_is_found_in_what_an_encoder_writes),
        cmocka_unit_test(an_acknowledgement_has_no_arm),
        cmocka_unit_test(modify_settings_tells_its_resource_wherever_it_stands),
        cmocka_unit_test(arms_that_are_not_in_the_schema_are_told_too),
        cmocka_unit_test(the_first_of_two_counts),
        cmocka_unit_test(an_approval_is_noticed),
        cmocka_unit_test(a_time_limit_beyond_32_bits_is_no_short_one),
        cmocka_unit_test(acknowledgements_are_read_packed_and_single_up_to_the_limit),
        cmocka_unit_test(malformed_bytes_are_refused_and_the_id_before_them_is_known),
        cmocka_unit_test(a_key_is_not_found_where_there_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
