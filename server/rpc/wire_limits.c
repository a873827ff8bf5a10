#include "server/rpc/wire_limits.h"

#include "gcs/v1/bridge.pb-c.h"
#include "gcs/v1/tag.pb-c.h"
#include "server/base/error.h"
#include "server/base/limits.h"

enum { DEFAULT_COUNT = 1024, ID_BYTES = 16, STRING_OF_EXECVE = LIMIT_ENV_BYTES - 1 };

/* clang-format off */
#define ROW(message_, field_, count_, bytes_) \
    {&gcs__v1__##message_##__descriptor, (field_), (count_), (bytes_)}
static const struct wire_limit rows[] = {
    ROW(request, 1, 1, ID_BYTES),                          /* session_id */
    ROW(request, 4, LIMIT_ACKNOWLEDGED_IDS, 0),            /* acknowledged */
    ROW(request, 5, 1, LIMIT_CONTAINER_ID_BYTES),          /* container_id */
    ROW(request, 6, 1, LIMIT_CORRELATION_BYTES),           /* activity_id */
    ROW(request, 7, 1, LIMIT_CORRELATION_BYTES),           /* traceparent */
    ROW(request, 8, 1, LIMIT_CORRELATION_BYTES),           /* tracestate */
    ROW(approval, 2, 1, LIMIT_TAG_BYTES),                  /* tag */
    ROW(approval, 3, LIMIT_LAYERS, LIMIT_PATH_BYTES),      /* lower_directories */
    ROW(approval, 4, 1, LIMIT_TAG_BYTES),                  /* container_tag */
    ROW(spec, 2, LIMIT_MOUNTS, 0),                         /* mounts */
    ROW(spec, 3, 1, LIMIT_HOSTNAME_BYTES),                 /* hostname */
    ROW(process, 1, LIMIT_ARGS, STRING_OF_EXECVE),         /* args */
    ROW(process, 2, LIMIT_ENV + 1, STRING_OF_EXECVE),      /* env: LIMIT_ENV of a host, and one the sidecar adds */
    ROW(process, 4, 1, LIMIT_NAME_BYTES),                  /* user */
    ROW(mount, 3, 1, LIMIT_NAME_BYTES),                    /* type */
    ROW(mount, 4, LIMIT_MOUNT_OPTIONS, LIMIT_NAME_BYTES),  /* options */
    ROW(get_properties, 1, LIMIT_PROPERTY_TYPES, 0),       /* types */
    ROW(ping, 1, 1, LIMIT_PING_BYTES),                     /* payload */
    ROW(write_stream, 3, 1, LIMIT_STREAM_CHUNK_BYTES),     /* data */
    ROW(security_policy, 1, 1, LIMIT_NAME_BYTES),          /* enforcer_type */
    ROW(security_policy, 2, 1, LIMIT_POLICY_BYTES),        /* policy */
    ROW(security_policy, 3, 1, LIMIT_REFERENCE_BYTES),     /* reference_info */
    ROW(security_policy, 4, 1, LIMIT_REFERENCE_BYTES),     /* transparent_reference_info */
    ROW(create_container, 2, 1, LIMIT_REFERENCE_BYTES),    /* host_amd_certificate */
    ROW(block_cims, 1, 1, LIMIT_NAME_BYTES),               /* volume_id */
    ROW(block_cims, 2, LIMIT_LAYERS, LIMIT_NAME_BYTES),    /* layers */
    ROW(container_scratch, 1, 1, LIMIT_NAME_BYTES),        /* target */
    ROW(combined_layers, 1, 1, LIMIT_NAME_BYTES),          /* scratch_target */
    ROW(combined_layers, 2, 1, LIMIT_NAME_BYTES),          /* volume_id */
    ROW(network, 4, LIMIT_ADDRESSES, 0),                   /* ip_configurations */
    ROW(network, 5, LIMIT_ROUTES, 0),                      /* routes */
    ROW(network, 6, LIMIT_ADDRESSES, 0),                   /* guest_ip_configurations */
    ROW(log_config, 1, LIMIT_LOG_SOURCES, 0),              /* sources */
    ROW(log_source, 1, 1, LIMIT_NAME_BYTES),               /* type */
    ROW(log_source, 2, LIMIT_LOG_PROVIDERS, 0),            /* providers */
    ROW(log_provider, 1, 1, LIMIT_NAME_BYTES),             /* name */
    ROW(log_provider, 2, 1, LIMIT_LOG_GUID_BYTES),         /* guid */
    ROW(response, 1, 1, ID_BYTES),                         /* session_id */
    ROW(response, 5, 1, ERROR_TEXT_MAX),                   /* message */
    ROW(response, 7, 1, LIMIT_CORRELATION_BYTES),          /* activity_id */
    ROW(error_record, 2, 1, ERROR_TEXT_MAX),               /* message */
    ROW(negotiate_response, 2, 1, ID_BYTES),               /* session_id */
    ROW(negotiate_response, 4, 1, ID_BYTES),               /* instance_id */
    ROW(ping_response, 1, 1, LIMIT_PING_BYTES),            /* payload */
    ROW(get_metrics_response, 1, 1, LIMIT_METRICS_BYTES),  /* text */
    ROW(list_objects_response, 1, LIMIT_INVENTORY_BYTES, 0), /* objects */
    ROW(scratch_object, 2, 1, LIMIT_TAG_BYTES),            /* tag */
    ROW(root_object, 4, 1, LIMIT_TAG_BYTES),               /* tag */
    ROW(container_object, 5, 1, LIMIT_TAG_BYTES),          /* tag */
    ROW(process_object, 4, 1, LIMIT_TAG_BYTES),            /* tag */
    ROW(dump_stacks_response, 1, 1, LIMIT_STACKS_BYTES),   /* guest_stacks */
    ROW(get_properties_response, 4, LIMIT_PROCESS_PAGE, 0),   /* processes */
    ROW(policy_tag, 6, LIMIT_TAG_BYTES, 0),                /* candidates */
    ROW(watch_events_response, 1, LIMIT_EVENTS, 0),        /* events */
    ROW(read_stream_response, 2, 1, LIMIT_STREAM_CHUNK_BYTES), /* data */
    ROW(block_cims_response, 1, LIMIT_LAYERS, LIMIT_NAME_BYTES), /* layer_digests */
};
/* clang-format on */

static const struct wire_limit defaults = {.count_max = DEFAULT_COUNT, .bytes_max = LIMIT_PATH_BYTES};

struct wire_limits
wire_limits_of(const ProtobufCMessageDescriptor *message)
{
    size_t first = 0, end = sizeof rows / sizeof *rows;
    while (first < end && rows[first].message != message)
        first++;
    size_t last = first;
    while (last < end && rows[last].message == message)
        last++;
    return (struct wire_limits){.rows = rows + first, .count = last - first};
}

const struct wire_limit *
wire_limits_field(struct wire_limits limits, uint32_t field)
{
    for (size_t i = 0; i < limits.count; i++)
        if (limits.rows[i].field == field)
            return &limits.rows[i];
    return &defaults;
}
