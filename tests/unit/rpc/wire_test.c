#include "server/rpc/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/limits.h"
#include "tests/unit/rpc/wire_bytes.h"

#define ARENA_BYTES (1024 * 1024)

/* -- what passes -- */

static void
what_an_encoder_writes_passes_and_decodes_to_the_same(void **state)
{
    (void)state;
    char *args[] = {(char[]){"ping"}, (char[]){"-t"}, (char[]){"127.0.0.1"}};
    char *env[] = {(char[]){"PATH=/bin"}, (char[]){"NAME=gr\xc3\xbc\xc3\x9f"}};
    Gcs__V1__Process process = GCS__V1__PROCESS__INIT;
    Gcs__V1__Resources resources = GCS__V1__RESOURCES__INIT;
    Gcs__V1__Spec spec = GCS__V1__SPEC__INIT;
    Gcs__V1__CreateContainer create = GCS__V1__CREATE_CONTAINER__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    uint64_t acknowledged[] = {3, 5};
    process.args = args;
    process.n_args = 3;
    process.env = env;
    process.n_env = 2;
    process.terminal = true;
    resources.cpu_quota_us = -1;
    resources.memory_limit_bytes = UINT64_MAX;
    spec.process = &process;
    spec.resources = &resources;
    create.spec = &spec;
    request.request_id = UINT64_MAX;
    request.acknowledged = acknowledged;
    request.n_acknowledged = 2;
    request.body_case = GCS__V1__REQUEST__BODY_CREATE_CONTAINER;
    request.create_container = &create;
    uint8_t bytes[1024], again[1024];
    size_t size = gcs__v1__request__pack(&request, bytes);
    struct arena arena;
    struct error err;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, ARENA_BYTES);

    assert_int_equal(wire_unpack(&gcs__v1__request__descriptor, bytes, size, &arena, &message, &err),
                     STATUS_OK);

    assert_int_equal(protobuf_c_message_get_packed_size(message), size);
    assert_int_equal(protobuf_c_message_pack(message, again), size);
    assert_memory_equal(again, bytes, size);
    arena_done(&arena);
}

static void
an_empty_message_passes(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(wire_check(&gcs__v1__request__descriptor, NULL, 0, &err), STATUS_OK);
    assert_int_equal(wire_check(&gcs__v1__health__descriptor, "", 0, &err), STATUS_OK);
}

static void
single_and_packed_numbers_may_be_mixed(void **state)
{
    (void)state;
    struct wire_bytes in = {0}, packed = {0};
    struct arena arena;
    struct error err;
    ProtobufCMessage *message = NULL;
    put_number(&in, 1, 1);
    put_varint(&packed, 2);
    put_varint(&packed, 3);
    put_message(&in, 1, &packed);
    arena_init(&arena, ARENA_BYTES);

    assert_int_equal(
        wire_unpack(&gcs__v1__get_properties__descriptor, in.bytes, in.size, &arena, &message, &err),
        STATUS_OK);

    assert_int_equal(((Gcs__V1__GetProperties *)message)->n_types, 3);
    assert_int_equal(((Gcs__V1__GetProperties *)message)->types[2], 3);
    arena_done(&arena);
}

/* -- what does not -- */

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

/* Each message of the schema, each field of it: given twice when it is singular, refused; by the descriptors,
 * so that a field that is added is tested too. */
static const ProtobufCMessageDescriptor *const messages[] = {
    &gcs__v1__request__descriptor,
    &gcs__v1__approval__descriptor,
    &gcs__v1__response__descriptor,
    &gcs__v1__error_record__descriptor,
    &gcs__v1__spec__descriptor,
    &gcs__v1__process__descriptor,
    &gcs__v1__mount__descriptor,
    &gcs__v1__resources__descriptor,
    &gcs__v1__create_container__descriptor,
    &gcs__v1__wait_for_process__descriptor,
    &gcs__v1__wait_for_process_response__descriptor,
    &gcs__v1__signal_process__descriptor,
    &gcs__v1__resize_console__descriptor,
    &gcs__v1__get_properties__descriptor,
    &gcs__v1__get_properties_response__descriptor,
    &gcs__v1__statistics__descriptor,
    &gcs__v1__process_details__descriptor,
    &gcs__v1__modify_settings__descriptor,
    &gcs__v1__security_policy__descriptor,
    &gcs__v1__block_cims__descriptor,
    &gcs__v1__block_cims_response__descriptor,
    &gcs__v1__container_scratch__descriptor,
    &gcs__v1__combined_layers__descriptor,
    &gcs__v1__negotiate__descriptor,
    &gcs__v1__negotiate_response__descriptor,
    &gcs__v1__capabilities__descriptor,
    &gcs__v1__limits__descriptor,
    &gcs__v1__ping__descriptor,
    &gcs__v1__health_response__descriptor,
    &gcs__v1__event__descriptor,
    &gcs__v1__watch_events__descriptor,
    &gcs__v1__watch_events_response__descriptor,
    &gcs__v1__read_stream__descriptor,
    &gcs__v1__read_stream_response__descriptor,
    &gcs__v1__write_stream__descriptor,
    &gcs__v1__close_stream__descriptor,
};

static void
put_least(struct wire_bytes *out, const ProtobufCFieldDescriptor *of)
{
    switch (of->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        put_bytes(out, of->id, "", 0);
        return;
    case PROTOBUF_C_TYPE_FIXED32:
        put_tag(out, of->id, 5);
        put_raw(out, "\0\0\0\0", 4);
        return;
    default:
        put_number(out, of->id, 0);
        return;
    }
}

static void
every_field_of_the_schema_is_taken_once_and_refused_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        for (unsigned f = 0; f < messages[i]->n_fields; f++) {
            const ProtobufCFieldDescriptor *of = &messages[i]->fields[f];
            struct wire_bytes in = {0};
            struct error err;
            char expected[256];
            put_least(&in, of);
            assert_int_equal(wire_check(messages[i], in.bytes, in.size, &err), STATUS_OK);
            put_least(&in, of);
            if (of->label == PROTOBUF_C_LABEL_REPEATED) {
                assert_int_equal(wire_check(messages[i], in.bytes, in.size, &err), STATUS_OK);
                continue;
            }
            snprintf(expected, sizeof expected, "%s: given twice", of->name);
            assert_int_equal(wire_check(messages[i], in.bytes, in.size, &err), STATUS_INVALID_ARGUMENT);
            assert_string_equal(err.text, expected);
        }
}

static void
every_pair_of_arms_of_a_oneof_is_refused(void **state)
{
    (void)state;
    size_t pairs = 0;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        for (unsigned a = 0; a < messages[i]->n_fields; a++)
            for (unsigned b = 0; b < messages[i]->n_fields; b++) {
                const ProtobufCFieldDescriptor *first = &messages[i]->fields[a],
                                               *second = &messages[i]->fields[b];
                if (a == b || !(first->flags & second->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
                    continue;
                struct wire_bytes in = {0};
                struct error err;
                put_least(&in, first);
                put_least(&in, second);
                assert_int_equal(wire_check(messages[i], in.bytes, in.size, &err), STATUS_INVALID_ARGUMENT);
                assert_non_null(strstr(err.text, "is given as well"));
                pairs++;
            }
    assert_true(pairs > 400);
}

static void
every_enum_takes_its_values_and_no_other(void **state)
{
    (void)state;
    size_t enums = 0;
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++)
        for (unsigned f = 0; f < messages[i]->n_fields; f++) {
            const ProtobufCFieldDescriptor *of = &messages[i]->fields[f];
            if (of->type != PROTOBUF_C_TYPE_ENUM)
                continue;
            const ProtobufCEnumDescriptor *values = of->descriptor;
            for (int64_t value = -2; value < 32; value++) {
                struct wire_bytes in = {0};
                struct error err;
                bool known = protobuf_c_enum_descriptor_get_value(values, (int)value) != NULL;
                put_number(&in, of->id, (uint64_t)value);
                assert_int_equal(wire_check(messages[i], in.bytes, in.size, &err),
                                 known ? STATUS_OK : STATUS_INVALID_ARGUMENT);
            }
            enums++;
        }
    assert_int_equal(enums, 7);
}

/* -- nesting, size -- */

/* The schema has no recursive message, so the test brings one. */
static const ProtobufCMessageDescriptor recursive;
static const ProtobufCFieldDescriptor recursive_fields[] = {
    {.name = "inner",
     .id = 1,
     .label = PROTOBUF_C_LABEL_NONE,
     .type = PROTOBUF_C_TYPE_MESSAGE,
     .descriptor = &recursive},
};
static const ProtobufCIntRange recursive_ranges[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor recursive = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                     .name = "Recursive",
                                                     .short_name = "Recursive",
                                                     .n_fields = 1,
                                                     .fields = recursive_fields,
                                                     .n_field_ranges = 1,
                                                     .field_ranges = recursive_ranges};

static void
nesting_ends_at_the_limit(void **state)
{
    (void)state;
    struct wire_bytes in = {0};
    struct error err;
    for (int level = 1; level < LIMIT_NESTING; level++)
        wrap_in(&in, 1);
    assert_int_equal(wire_check(&recursive, in.bytes, in.size, &err), STATUS_OK);

    wrap_in(&in, 1);
    assert_int_equal(wire_check(&recursive, in.bytes, in.size, &err), STATUS_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.text, "more than 16 levels"));
}

/* As many empty mounts with as many empty options as the limits let through: small on the wire, large in
 * memory. */
static void
a_message_that_unpacks_to_more_than_the_arena_is_refused(void **state)
{
    (void)state;
    struct wire_bytes mount = {0};
    for (int i = 0; i < LIMIT_MOUNT_OPTIONS; i++)
        put_text(&mount, 4, "");
    size_t each = mount.size + 2, total = LIMIT_MOUNTS * each;
    uint8_t *bytes = malloc(total);
    for (size_t i = 0; i < LIMIT_MOUNTS; i++) {
        bytes[i * each] = 0x12; /* mounts */
        bytes[i * each + 1] = (uint8_t)mount.size;
        memcpy(bytes + i * each + 2, mount.bytes, mount.size);
    }
    struct arena small, large;
    struct error err;
    ProtobufCMessage *message = NULL;
    arena_init(&small, 4 * total);
    arena_init(&large, 64 * total);

    assert_int_equal(wire_unpack(&gcs__v1__spec__descriptor, bytes, total, &small, &message, &err),
                     STATUS_RESOURCE_EXHAUSTED);
    assert_null(message);
    assert_true(small.taken_bytes <= 4 * total);
    assert_non_null(strstr(err.text, "when unpacked"));
    assert_int_equal(wire_unpack(&gcs__v1__spec__descriptor, bytes, total, &large, &message, &err),
                     STATUS_OK);

    arena_done(&small);
    arena_done(&large);
    free(bytes);
}

/* A schema without our limits: a megabyte of empty messages, which protobuf-c alone makes 88 megabytes of. */
static const ProtobufCMessageDescriptor many;
static const ProtobufCFieldDescriptor many_fields[] = {
    {.name = "records",
     .id = 1,
     .label = PROTOBUF_C_LABEL_REPEATED,
     .type = PROTOBUF_C_TYPE_MESSAGE,
     .descriptor = &gcs__v1__error_record__descriptor},
};
static const ProtobufCMessageDescriptor many = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                .name = "Many",
                                                .short_name = "Many",
                                                .n_fields = 1,
                                                .fields = many_fields,
                                                .n_field_ranges = 1,
                                                .field_ranges = recursive_ranges};

static void
a_megabyte_of_empty_messages_is_refused_by_count_without_memory(void **state)
{
    (void)state;
    size_t size = 1024 * 1024;
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 0x0A;
        bytes[i + 1] = 0;
    }
    struct arena arena;
    struct error err;
    ProtobufCMessage *message = NULL;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);

    assert_int_equal(wire_unpack(&many, bytes, size, &arena, &message, &err), STATUS_RESOURCE_EXHAUSTED);

    assert_string_equal(err.text, "records[1024]: more than 1024 elements");
    assert_int_equal(arena.taken_bytes, 0);
    arena_done(&arena);
    free(bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_encoder_writes_passes_and_decodes_to_the_same),
        cmocka_unit_test(an_empty_message_passes),
        cmocka_unit_test(single_and_packed_numbers_may_be_mixed),
        cmocka_unit_test(every_hostile_message_is_refused_with_the_place_at_fault),
        cmocka_unit_test(every_field_of_the_schema_is_taken_once_and_refused_twice),
        cmocka_unit_test(every_pair_of_arms_of_a_oneof_is_refused),
        cmocka_unit_test(every_enum_takes_its_values_and_no_other),
        cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(a_message_that_unpacks_to_more_than_the_arena_is_refused),
        cmocka_unit_test(a_megabyte_of_empty_messages_is_refused_by_count_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
