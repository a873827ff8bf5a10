#include "client/gcsctl/enum_name.h"

#include <string.h>

#include "gcs/v1/bridge.pb-c.h"

const char *
enum_name(const ProtobufCEnumDescriptor *descriptor, int number, const char *prefix)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);
    return value != NULL ? value->name + strlen(prefix) : "UNKNOWN";
}

const char *
container_state_name(int state)
{
    return enum_name(&gcs__v1__container_state__descriptor, state, "CONTAINER_STATE_");
}
