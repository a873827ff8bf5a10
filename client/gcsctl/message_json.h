/*
 * Any message of the schema as JSON and back, along its descriptor: what `gcsctl call` speaks.
 *
 * Fields go by their names in the schema, enum values likewise ("SIGNAL_CTRL_C"), bytes as base64 (RFC 4648,
 * with padding). An integer beyond what JSON's readers agree on is a string of digits; both forms are read. A
 * field that is not there has its default; null is not read.
 */
#ifndef CLIENT_GCSCTL_MESSAGE_JSON_H
#define CLIENT_GCSCTL_MESSAGE_JSON_H

#include <protobuf-c/protobuf-c.h>

#include <jansson.h>

#include "server/base/error.h"

/*
 * Makes a message of `object`, which must be an object.
 *
 * path  what the message is, for errors: "create_container" gives
 *       "create_container.spec.process.args[2]: ..."
 * ret   the message, which the caller frees with protobuf_c_message_free_unpacked(); untouched on failure
 *
 * INVALID_ARGUMENT: a field that the schema has not, two fields of one oneof, a value of another kind or out
 * of its range; the error names the field.
 */
MUST_CHECK enum status message_of_json(const ProtobufCMessageDescriptor *descriptor, const json_t *object,
                                       const char *path, ProtobufCMessage **ret, struct error *err);

/*
 * Every field but messages that are not there and what a oneof has not chosen. The caller gives the object
 * back with json_decref().
 */
json_t *message_to_json(const ProtobufCMessage *message);

#endif
