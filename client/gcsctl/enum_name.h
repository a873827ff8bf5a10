/* How gcsctl shows an enum value: its name in the schema without the enum's own prefix. */
#ifndef CLIENT_GCSCTL_ENUM_NAME_H
#define CLIENT_GCSCTL_ENUM_NAME_H

#include <protobuf-c/protobuf-c.h>

/*
 * prefix  what every name of the enum begins with: "EVENT_TYPE_"
 *
 * Returns static text; "UNKNOWN" for a number that this schema has no name for.
 */
const char *enum_name(const ProtobufCEnumDescriptor *descriptor, int number, const char *prefix);

/* The name of a container's state: "RUNNING". */
const char *container_state_name(int state);

#endif
