/*
 * The wire checks held to the schema: every message that is read off the wire and all that it holds, by the
 * descriptors, so that a message, a field or an enum that is added is tested too.
 */
#include "server/rpc/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "gcs/v1/bridge.pb-c.h"
#include "gcs/v1/tag.pb-c.h"
#include "tests/unit/rpc/wire_bytes.h"

#define MESSAGES_MAX 256

static const ProtobufCMessageDescriptor *messages[MESSAGES_MAX];
static size_t message_count;

/* Adds a message and those of its fields, each once. */
static void
collect(const ProtobufCMessageDescriptor *message)
{
    for (size_t i = 0; i < message_count; i++)
        if (messages[i] == message)
            return;
    assert_true(message_count < MESSAGES_MAX);
    messages[message_count++] = message;
    for (unsigned f = 0; f < message->n_fields; f++)
        if (message->fields[f].type == PROTOBUF_C_TYPE_MESSAGE)
            collect(message->fields[f].descriptor);
}

static int
collect_schema(void **state)
{
    (void)state;
    collect(&gcs__v1__request__descriptor);
    collect(&gcs__v1__response__descriptor);
    collect(&gcs__v1__tag__descriptor);
    print_message("%zu messages\n", message_count);
    return 0;
}

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
    for (size_t i = 0; i < message_count; i++)
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
    for (size_t i = 0; i < message_count; i++)
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
    for (size_t i = 0; i < message_count; i++)
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
    assert_true(enums >= 12);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_the_schema_is_taken_once_and_refused_twice),
        cmocka_unit_test(every_pair_of_arms_of_a_oneof_is_refused),
        cmocka_unit_test(every_enum_takes_its_values_and_no_other),
    };
    return cmocka_run_group_tests(tests, collect_schema, NULL);
}
