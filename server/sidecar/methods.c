/*
 * The dispatch table of the sidecar: every RPC, what it must have to itself, and who decides on it.
 *
 * Adding an RPC is one arm in the schema, one row here, one handler, one test. A row without a policy point
 * has its reason in that column; `gcsctl` and the README show it.
 */
#include "server/base/limits.h"
#include "server/sidecar/handlers.h"
#include "server/sidecar/sidecar.h"

/* Field numbers of proto/gcs/v1: where the keys of ModifySettings stand. */
#define SETTINGS_ARM        42
#define SETTINGS_POLICY     2
#define SETTINGS_FRAGMENT   3
#define SETTINGS_BLOCK_CIMS 4
#define SETTINGS_SCRATCH    5
#define SETTINGS_COMBINED   6
#define SETTINGS_DISK       7
#define SETTINGS_DIRECTORY  8
#define SETTINGS_NAMESPACE  9
#define SETTINGS_NETWORK    10
#define SETTINGS_HV_SOCKET  11
#define SETTINGS_MOUNT      12
#define SETTINGS_PROCESSOR  13
#define SETTINGS_MEMORY     14

/* A row of what is refused, with its reason, in handle_refused.c. */
#define REFUSED(arm_, resource_, name_)                                                                      \
    {                                                                                                        \
        .arm = (arm_), .resource = (resource_), .name = (name_),                                             \
        .request_types = (resource_) ? RPC_TAKES_EVERY : 0,                                                  \
        .policy_point = "none: refused as not implemented", .immediate = true, .refused = true,              \
        .handle = handle_refused                                                                             \
    }

static const struct rpc_method rows[] = {
    {.arm = 43,
     .name = "Negotiate",
     .policy_point = "none: it only opens a session",
     .without_session = true,
     .before_policy = true,
     .immediate = true,
     .handle = handle_negotiate},
    {.arm = 64,
     .name = "Ping",
     .policy_point = "none: it gives back what it got",
     .before_policy = true,
     .immediate = true,
     .quiet = true,
     .handle = handle_ping},
    {.arm = 65,
     .name = "Health",
     .policy_point = "none: it tells only whether the sidecar works",
     .before_policy = true,
     .immediate = true,
     .quiet = true,
     .handle = handle_health},
    {.arm = 66,
     .name = "WatchEvents",
     .policy_point = "none: the host sees these objects come and go anyway",
     .quiet = true,
     .waits = true,
     .handle = handle_watch_events},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_POLICY,
     .request_types = RPC_TAKES_ADD,
     .name = "ModifySettings/SecurityPolicy",
     .policy_point = "none: the host data decides",
     .keys = RPC_KEY_ALL,
     .blocks = true,
     .before_policy = true,
     .request_bytes_max = LIMIT_RECEIVE_BYTES,
     .handle = handle_set_policy},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_BLOCK_CIMS,
     .request_types = RPC_TAKES_ADD | RPC_TAKES_REMOVE,
     .name = "ModifySettings/BlockCims",
     .policy_point = "mount_cims; removal none: only what nobody holds goes",
     .keys = RPC_KEY_CONTAINER | RPC_KEY_VOLUME,
     .volume_path = {SETTINGS_ARM, SETTINGS_BLOCK_CIMS, 1},
     .blocks = true,
     .handle = handle_block_cims},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_SCRATCH,
     .request_types = RPC_TAKES_ADD | RPC_TAKES_REMOVE,
     .name = "ModifySettings/ContainerScratch",
     .policy_point = "scratch_mount, scratch_unmount",
     .keys = RPC_KEY_SCRATCH,
     .scratch_path = {SETTINGS_ARM, SETTINGS_SCRATCH, 1},
     .handle = handle_container_scratch},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_COMBINED,
     .request_types = RPC_TAKES_ADD | RPC_TAKES_REMOVE,
     .name = "ModifySettings/CombinedLayers",
     .policy_point =
         "mount_cims, unless it has spoken for this container and volume; removal none: it undoes only that",
     .keys = RPC_KEY_CONTAINER | RPC_KEY_VOLUME | RPC_KEY_SCRATCH,
     .volume_path = {SETTINGS_ARM, SETTINGS_COMBINED, 2},
     .scratch_path = {SETTINGS_ARM, SETTINGS_COMBINED, 1},
     .handle = handle_combined_layers},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_MOUNT,
     .request_types = RPC_TAKES_ADD,
     .name = "ModifySettings/ContainerMount",
     .policy_point = "container_mount, our own: the mount rules, with the mounts it has",
     .keys = RPC_KEY_CONTAINER,
     .blocks = true,
     .handle = handle_container_mount},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_NAMESPACE,
     .request_types = RPC_TAKES_ADD | RPC_TAKES_REMOVE,
     .name = "ModifySettings/NetworkNamespace",
     .policy_point =
         "none: all that a guest sends passes its host; a namespace holds only what containers join",
     .keys = RPC_KEY_VOLUME,
     .volume_path = {SETTINGS_ARM, SETTINGS_NAMESPACE, 1},
     .handle = handle_network_namespace},
    {.arm = SETTINGS_ARM,
     .resource = SETTINGS_NETWORK,
     .request_types = RPC_TAKES_ADD | RPC_TAKES_REMOVE,
     .name = "ModifySettings/Network",
     .policy_point =
         "none: all that a guest sends passes its host, and an adapter is in no namespace but one of those",
     .keys = RPC_KEY_VOLUME,
     .volume_path = {SETTINGS_ARM, SETTINGS_NETWORK, 1},
     .handle = handle_network},
    {.arm = 33,
     .name = "CreateContainer",
     .policy_point = "create_container, with the mounts",
     .keys = RPC_KEY_CONTAINER | RPC_KEY_VOLUME,
     .volume_path = {33, 1, 5}, /* the network namespace */
     .blocks = true,
     .handle = handle_create_container},
    {.arm = 34,
     .name = "StartContainer",
     .policy_point = "none: it runs the init process that create_container approved",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_start_container},
    {.arm = 35,
     .name = "ShutdownGraceful",
     .policy_point = "shutdown_container",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_shutdown_graceful},
    {.arm = 36,
     .name = "ShutdownForced",
     .policy_point = "shutdown_container",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_shutdown_forced},
    {.arm = 37,
     .name = "ExecuteProcess",
     .policy_point = "exec_in_container; exec_external for the UVM",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_execute_process},
    {.arm = 38,
     .name = "WaitForProcess",
     .policy_point = "none: it tells of a process that was approved",
     .keys = RPC_KEY_CONTAINER,
     .quiet = true,
     .waits = true,
     .handle = handle_wait_for_process},
    {.arm = 39,
     .name = "SignalProcess",
     .policy_point = "signal_container_process; shutdown_container to kill init",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_signal_process},
    {.arm = 40,
     .name = "ResizeConsole",
     .policy_point = "the stdio decision of the process's create or exec",
     .handle = handle_resize_console},
    {.arm = 41,
     .name = "GetProperties",
     .policy_point = "get_properties",
     .keys = RPC_KEY_CONTAINER,
     .quiet = true,
     .handle = handle_get_properties},
    {.arm = 44,
     .name = "DumpStacks",
     .policy_point = "dump_stacks",
     .blocks = true,
     .quiet = true,
     .handle = handle_dump_stacks},
    {.arm = 45,
     .name = "DeleteContainerState",
     .policy_point = "none: it forgets what has ended or never ran",
     .keys = RPC_KEY_CONTAINER,
     .handle = handle_delete_container_state},
    {.arm = 67,
     .name = "ReadStream",
     .policy_point = "the stdio decision of the process's create or exec",
     .quiet = true,
     .waits = true,
     .handle = handle_read_stream},
    {.arm = 68,
     .name = "WriteStream",
     .policy_point = "the stdio decision of the process's create or exec",
     .quiet = true,
     .handle = handle_write_stream},
    {.arm = 69,
     .name = "CloseStream",
     .policy_point = "the stdio decision of the process's create or exec",
     .handle = handle_close_stream},
    REFUSED(46, 0, "UpdateContainer"),
    REFUSED(47, 0, "LifecycleNotification"),
    REFUSED(71, 0, "ListObjects"),
    REFUSED(SETTINGS_ARM, SETTINGS_FRAGMENT, "ModifySettings/SecurityPolicyFragment"),
    REFUSED(SETTINGS_ARM, SETTINGS_DISK, "ModifySettings/MappedVirtualDisk"),
    REFUSED(SETTINGS_ARM, SETTINGS_DIRECTORY, "ModifySettings/MappedDirectory"),
    REFUSED(SETTINGS_ARM, SETTINGS_PROCESSOR, "ModifySettings/ContainerProcessor"),
    REFUSED(SETTINGS_ARM, SETTINGS_MEMORY, "ModifySettings/ContainerMemory"),
    REFUSED(SETTINGS_ARM, SETTINGS_HV_SOCKET, "ModifySettings/HvSocket"),
    {.arm = 70,
     .name = "GetMetrics",
     .policy_point = "none: it tells counts of requests, and names no object of a container",
     .blocks = true,
     .quiet = true,
     .handle = handle_get_metrics},
};

const struct rpc_method_table sidecar_methods = {.rows = rows, .count = sizeof rows / sizeof rows[0]};
