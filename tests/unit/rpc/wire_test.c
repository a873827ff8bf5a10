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
        cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(a_message_that_unpacks_to_more_than_the_arena_is_refused),
        cmocka_unit_test(a_megabyte_of_empty_messages_is_refused_by_count_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
