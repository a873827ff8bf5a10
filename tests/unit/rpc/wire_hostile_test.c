/* What no encoder writes: each message is refused by the place at fault before anything of it is unpacked. */
#include "server/rpc/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/limits.h"
#include "tests/unit/rpc/wire_bytes.h"

#define ARENA_BYTES       (1024 * 1024)

#define RAW(out, literal) put_raw((out), (literal), sizeof(literal) - 1)

static void
unknown_at_the_top(struct wire_bytes *in)
{
    put_number(in, 11, 1);
}

static void
unknown_in_a_spec(struct wire_bytes *in)
{
    put_number(in, 9, 1);
    wrap_in(in, 1);
    wrap_in(in, 33);
}

static void
unknown_in_a_mount(struct wire_bytes *in)
{
    struct wire_bytes good = {0};
    put_text(in, 8, "x");
    struct wire_bytes bad = *in;
    in->size = 0;
    put_message(in, 2, &good);
    put_message(in, 2, &bad);
    wrap_in(in, 1);
    wrap_in(in, 33);
}

static void
unknown_in_an_empty_message(struct wire_bytes *in)
{
    put_number(in, 1, 1);
    wrap_in(in, 34);
}

static void
unknown_body(struct wire_bytes *in)
{
    put_number(in, 1, 1);
    wrap_in(in, 63);
}

static void
unknown_resource(struct wire_bytes *in)
{
    wrap_in(in, 63);
    wrap_in(in, 42);
}

static void
scalar_twice(struct wire_bytes *in)
{
    put_number(in, 2, 1);
    put_number(in, 2, 1);
}

static void
text_twice(struct wire_bytes *in)
{
    put_text(in, 5, "a");
    put_text(in, 5, "b");
}

static void
message_twice(struct wire_bytes *in)
{
    wrap_in(in, 1);
    put_message(in, 1, &(struct wire_bytes){0});
    wrap_in(in, 33);
}

static void
arm_twice(struct wire_bytes *in)
{
    wrap_in(in, 65);
    put_message(in, 65, &(struct wire_bytes){0});
}

static void
two_bodies(struct wire_bytes *in)
{
    wrap_in(in, 64);
    put_message(in, 65, &(struct wire_bytes){0});
}

static void
two_resources(struct wire_bytes *in)
{
    wrap_in(in, 4);
    put_message(in, 5, &(struct wire_bytes){0});
    wrap_in(in, 42);
}

static void
nul_in_a_string(struct wire_bytes *in)
{
    put_bytes(in, 5, "a\0b", 3);
}

static void
bad_utf8_in_an_element(struct wire_bytes *in)
{
    put_text(in, 2, "a");
    put_text(in, 2, "b");
    put_text(in, 2, "c");
    put_text(in, 2, "\xc0\x80");
    wrap_in(in, 4);
    wrap_in(in, 42);
}

static void
bad_utf8_in_an_argument(struct wire_bytes *in)
{
    put_text(in, 1, "\xed\xa0\x80"); /* a surrogate */
    wrap_in(in, 1);
    wrap_in(in, 1);
    wrap_in(in, 33);
}

static void
enum_unknown(struct wire_bytes *in)
{
    put_number(in, 2, 6);
    wrap_in(in, 39);
}

static void
enum_negative(struct wire_bytes *in)
{
    put_number(in, 2, UINT64_MAX);
    wrap_in(in, 39);
}

static void
enum_beyond_32_bits(struct wire_bytes *in)
{
    put_number(in, 1, UINT64_C(0x100000001)); /* would be cut to 1, which is REMOVE */
    wrap_in(in, 42);
}

static void
enum_in_a_packed_field(struct wire_bytes *in)
{
    struct wire_bytes packed = {0};
    put_varint(&packed, 1);
    put_varint(&packed, 99);
    put_message(in, 1, &packed);
    wrap_in(in, 41);
}

static void
number_beyond_32_bits(struct wire_bytes *in)
{
    put_number(in, 9, UINT64_C(0x100000000));
}

static void
bool_of_two(struct wire_bytes *in)
{
    put_number(in, 5, 2);
    wrap_in(in, 1);
    wrap_in(in, 37);
}

static void
number_as_text(struct wire_bytes *in)
{
    put_text(in, 2, "1");
}

static void
text_as_number(struct wire_bytes *in)
{
    put_number(in, 5, 1);
}

static void
number_as_fixed(struct wire_bytes *in)
{
    RAW(in, "\x11\1\0\0\0\0\0\0\0");
}

static void
group(struct wire_bytes *in)
{
    RAW(in, "\x13\x14");
}

static void
group_end(struct wire_bytes *in)
{
    RAW(in, "\x14");
}

static void
wire_type_seven(struct wire_bytes *in)
{
    RAW(in, "\x17");
}

static void
field_zero(struct wire_bytes *in)
{
    RAW(in, "\x02\x00");
}

static void
field_beyond_29_bits(struct wire_bytes *in)
{
    RAW(in, "\x80\x80\x80\x80\x10\x01");
}

static void
half_a_varint(struct wire_bytes *in)
{
    RAW(in, "\x10\xff");
}

static void
long_varint(struct wire_bytes *in)
{
    RAW(in, "\x10\x81\x00");
}

static void
huge_varint(struct wire_bytes *in)
{
    RAW(in, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
}

static void
long_tag(struct wire_bytes *in)
{
    RAW(in, "\x90\x00\x01");
}

static void
length_beyond_the_end(struct wire_bytes *in)
{
    RAW(in, "\x2a\x05xyz");
}

static void
length_beyond_the_message_around(struct wire_bytes *in)
{
    RAW(in, "\x0a\x7f");
    wrap_in(in, 33);
    put_text(in, 7, "bytes behind it that it must not reach");
}

static void
half_a_packed_number(struct wire_bytes *in)
{
    RAW(in, "\x22\x02\x01\x80");
}

static void
long_id(struct wire_bytes *in)
{
    char id[66] = {0};
    memset(id, 'a', 65);
    put_text(in, 5, id);
}

static void
many_options(struct wire_bytes *in)
{
    for (int i = 0; i <= LIMIT_MOUNT_OPTIONS; i++)
        put_text(in, 4, "ro");
    wrap_in(in, 2);
    wrap_in(in, 1);
    wrap_in(in, 33);
}

static void
many_acknowledgements(struct wire_bytes *in)
{
    struct wire_bytes packed = {0};
    for (int i = 0; i <= LIMIT_ACKNOWLEDGED_IDS; i++)
        put_varint(&packed, 1);
    put_message(in, 4, &packed);
}

static const struct hostile {
    const char *name;
    void (*write)(struct wire_bytes *in);
    enum status status;
    const char *text;
} hostiles[] = {
    {"unknown_at_the_top", unknown_at_the_top, STATUS_INVALID_ARGUMENT, "Request: unknown field 11"},
    {"unknown_in_a_spec", unknown_in_a_spec, STATUS_INVALID_ARGUMENT,
     "create_container.spec: unknown field 9"},
    {"unknown_in_a_mount", unknown_in_a_mount, STATUS_INVALID_ARGUMENT,
     "create_container.spec.mounts[1]: unknown field 8"},
    {"unknown_in_an_empty_message", unknown_in_an_empty_message, STATUS_INVALID_ARGUMENT,
     "start_container: unknown field 1"},
    {"unknown_body", unknown_body, STATUS_UNIMPLEMENTED, "Request: unknown field 63"},
    {"unknown_resource", unknown_resource, STATUS_INVALID_ARGUMENT, "modify_settings: unknown field 63"},
    {"scalar_twice", scalar_twice, STATUS_INVALID_ARGUMENT, "request_id: given twice"},
    {"text_twice", text_twice, STATUS_INVALID_ARGUMENT, "container_id: given twice"},
    {"message_twice", message_twice, STATUS_INVALID_ARGUMENT, "create_container.spec: given twice"},
    {"arm_twice", arm_twice, STATUS_INVALID_ARGUMENT, "health: given twice"},
    {"two_bodies", two_bodies, STATUS_INVALID_ARGUMENT, "health: ping is given as well"},
    {"two_resources", two_resources, STATUS_INVALID_ARGUMENT,
     "modify_settings.container_scratch: block_cims is given as well"},
    {"nul_in_a_string", nul_in_a_string, STATUS_INVALID_ARGUMENT, "container_id: NUL in a string"},
    {"bad_utf8_in_an_element", bad_utf8_in_an_element, STATUS_INVALID_ARGUMENT,
     "modify_settings.block_cims.layers[3]: invalid UTF-8"},
    {"bad_utf8_in_an_argument", bad_utf8_in_an_argument, STATUS_INVALID_ARGUMENT,
     "create_container.spec.process.args[0]: invalid UTF-8"},
    {"enum_unknown", enum_unknown, STATUS_INVALID_ARGUMENT,
     "signal_process.signal: unknown value 6 of Signal"},
    {"enum_negative", enum_negative, STATUS_INVALID_ARGUMENT,
     "signal_process.signal: unknown value -1 of Signal"},
    {"enum_beyond_32_bits", enum_beyond_32_bits, STATUS_INVALID_ARGUMENT,
     "modify_settings.request_type: unknown value 4294967297 of RequestType"},
    {"enum_in_a_packed_field", enum_in_a_packed_field, STATUS_INVALID_ARGUMENT,
     "get_properties.types[1]: unknown value 99 of PropertyType"},
    {"number_beyond_32_bits", number_beyond_32_bits, STATUS_INVALID_ARGUMENT,
     "timeout_ms: number does not fit 32 bits"},
    {"bool_of_two", bool_of_two, STATUS_INVALID_ARGUMENT,
     "execute_process.process.terminal: bool is neither 0 nor 1"},
    {"number_as_text", number_as_text, STATUS_INVALID_ARGUMENT, "request_id: wrong wire type 2"},
    {"text_as_number", text_as_number, STATUS_INVALID_ARGUMENT, "container_id: wrong wire type 0"},
    {"number_as_fixed", number_as_fixed, STATUS_INVALID_ARGUMENT, "request_id: wrong wire type 1"},
    {"group", group, STATUS_INVALID_ARGUMENT, "request_id: groups are not part of the schema"},
    {"group_end", group_end, STATUS_INVALID_ARGUMENT, "request_id: groups are not part of the schema"},
    {"wire_type_seven", wire_type_seven, STATUS_INVALID_ARGUMENT, "request_id: unknown wire type"},
    {"field_zero", field_zero, STATUS_INVALID_ARGUMENT, "Request: field number 0"},
    {"field_beyond_29_bits", field_beyond_29_bits, STATUS_INVALID_ARGUMENT,
     "Request: field number out of range"},
    {"half_a_varint", half_a_varint, STATUS_INVALID_ARGUMENT, "request_id: truncated varint"},
    {"long_varint", long_varint, STATUS_INVALID_ARGUMENT, "request_id: over-long varint"},
    {"huge_varint", huge_varint, STATUS_INVALID_ARGUMENT, "request_id: varint of more than 64 bits"},
    {"long_tag", long_tag, STATUS_INVALID_ARGUMENT, "Request: over-long varint"},
    {"length_beyond_the_end", length_beyond_the_end, STATUS_INVALID_ARGUMENT,
     "container_id: length beyond the end of the message"},
    {"length_beyond_the_message_around", length_beyond_the_message_around, STATUS_INVALID_ARGUMENT,
     "create_container.spec: length beyond the end of the message"},
    {"half_a_packed_number", half_a_packed_number, STATUS_INVALID_ARGUMENT,
     "acknowledged[1]: truncated varint"},
    {"long_id", long_id, STATUS_RESOURCE_EXHAUSTED, "container_id: 65 bytes, at most 64"},
    {"many_options", many_options, STATUS_RESOURCE_EXHAUSTED,
     "create_container.spec.mounts[0].options[32]: more than 32 elements"},
    {"many_acknowledgements", many_acknowledgements, STATUS_RESOURCE_EXHAUSTED,
     "acknowledged[256]: more than 256 elements"},
};

static void
every_hostile_message_is_refused_with_the_place_at_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostiles / sizeof *hostiles; i++) {
        struct wire_bytes in = {0};
        struct arena arena;
        struct error err = {0};
        ProtobufCMessage *message = NULL;
        hostiles[i].write(&in);
        arena_init(&arena, ARENA_BYTES);
        enum status status =
            wire_unpack(&gcs__v1__request__descriptor, in.bytes, in.size, &arena, &message, &err);
        if (status != hostiles[i].status || strcmp(err.text, hostiles[i].text) != 0)
            print_message("%s: %s: %s\n", hostiles[i].name, status_name(status), err.text);
        assert_int_equal(status, hostiles[i].status);
        assert_string_equal(err.text, hostiles[i].text);
        assert_null(message);
        assert_int_equal(arena.taken_bytes, 0); /* refused before anything was unpacked */
        arena_done(&arena);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_hostile_message_is_refused_with_the_place_at_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
