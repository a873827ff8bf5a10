/*
 * The table of enforcement points (spec/policy.md 3.4), with what is said of each before a policy is set
 * (1.2) and before its denials (1.7).
 */
#include "server/policy/compiled.h"

static const struct point_info infos[POLICY_ALL_POINTS] = {
    [POLICY_MOUNT_DEVICE] = {"mount_device", "0.1.0", DEFAULT_DENY, false, "",
                             "mounting is denied by policy"},
    [POLICY_RW_MOUNT_DEVICE] = {"rw_mount_device", "0.11.0", DEFAULT_NONE, true, "",
                                "Read-write device mounting is denied by policy"},
    [POLICY_MOUNT_BLOCKDEV] = {"mount_blockdev", "0.11.1", DEFAULT_DENY, false, "",
                               "block-device mounting is denied by policy"},
    [POLICY_MOUNT_OVERLAY] = {"mount_overlay", "0.1.0", DEFAULT_DENY, false, "",
                              "creating an overlay fs is denied by policy"},
    [POLICY_MOUNT_CIMS] = {"mount_cims", "0.11.0", DEFAULT_DENY, false,
                           "CIM mount is denied by policy: ", "mounting is denied by policy"},
    [POLICY_REGISTRY_CHANGES] = {"registry_changes", "0.10.0", DEFAULT_DENY, false,
                                 "registry entry operation is denied by policy: ",
                                 "registry changes are denied by policy"},
    [POLICY_CREATE_CONTAINER] = {"create_container", "0.1.0", DEFAULT_DENY, false,
                                 "CreateContainer operation is denied by policy: ",
                                 "running commands is denied by policy"},
    [POLICY_UNMOUNT_DEVICE] = {"unmount_device", "0.2.0", DEFAULT_ALLOW, false, "",
                               "unmounting is denied by policy"},
    [POLICY_RW_UNMOUNT_DEVICE] = {"rw_unmount_device", "0.11.0", DEFAULT_NONE, true, "",
                                  "Read-write device unmounting is denied by policy"},
    [POLICY_UNMOUNT_BLOCKDEV] = {"unmount_blockdev", "0.11.1", DEFAULT_DENY, false, "",
                                 "block-device unmounting is denied by policy"},
    [POLICY_UNMOUNT_OVERLAY] = {"unmount_overlay", "0.6.0", DEFAULT_ALLOW, false, "",
                                "removing an overlay fs is denied by policy"},
    [POLICY_EXEC_IN_CONTAINER] = {"exec_in_container", "0.2.0", DEFAULT_ALLOW, false,
                                  "exec in container denied due to policy: ",
                                  "starting additional processes in a container is denied by policy"},
    [POLICY_EXEC_EXTERNAL] = {"exec_external", "0.3.0", DEFAULT_ALLOW, false,
                              "exec is denied due to policy: ",
                              "starting additional processes in uvm is denied by policy"},
    [POLICY_SHUTDOWN_CONTAINER] = {"shutdown_container", "0.4.0", DEFAULT_ALLOW, false,
                                   "rpcShudownGraceful operation not allowed: ", /* sic */
                                   "shutting down containers is denied by policy"},
    [POLICY_SIGNAL_CONTAINER_PROCESS] = {"signal_container_process", "0.5.0", DEFAULT_ALLOW, false, "",
                                         "signalling container processes is denied by policy"},
    [POLICY_PLAN9_MOUNT] = {"plan9_mount", "0.6.0", DEFAULT_ALLOW, false, "", "mounting is denied by policy"},
    [POLICY_PLAN9_UNMOUNT] = {"plan9_unmount", "0.6.0", DEFAULT_ALLOW, false, "",
                              "unmounting is denied by policy"},
    [POLICY_GET_PROPERTIES] = {"get_properties", "0.7.0", DEFAULT_ALLOW, false,
                               "get properties denied due to policy: ",
                               "getting container properties is denied by policy"},
    [POLICY_DUMP_STACKS] = {"dump_stacks", "0.7.0", DEFAULT_ALLOW, false, "",
                            "getting stack dumps is denied by policy"},
    [POLICY_RUNTIME_LOGGING] = {"runtime_logging", "0.8.0", DEFAULT_ALLOW, false, "",
                                "runtime logging is denied by policy"},
    [POLICY_LOAD_FRAGMENT] = {"load_fragment", "0.9.0", DEFAULT_DENY, false, "",
                              "loading fragments is denied by policy"},
    [POLICY_SCRATCH_MOUNT] = {"scratch_mount", "0.10.0", DEFAULT_ALLOW, false,
                              "scratch mounting denied by policy: ",
                              "mounting scratch is denied by the policy"},
    [POLICY_SCRATCH_UNMOUNT] = {"scratch_unmount", "0.10.0", DEFAULT_ALLOW, false,
                                "scratch unmounting denied by policy: ",
                                "unmounting scratch is denied by the policy"},
    [POLICY_LOG_PROVIDER] = {"log_provider", "0.11.0", DEFAULT_ALLOW, false,
                             "log providers denied by policy: ", "log provider is denied by policy"},
    [POLICY_LOAD_TRANSPARENCY_TRUST_LIST] = {"load_transparency_trust_list", "0.12.0", DEFAULT_DENY, false,
                                             "", "loading transparency trust lists is denied by policy"},
    [POLICY_HOST_NETWORK] = {"host_network", "0.12.0", DEFAULT_DENY, false, "",
                             "host network is denied by policy"},
    [POLICY_CONTAINER_MOUNT] = {"container_mount", "0.0.0", DEFAULT_DENY, true,
                                "mounting into a running container is denied by policy: ",
                                "mounting into a running container is denied by policy"},
};

const struct point_info *
point_info(enum policy_point point)
{
    return &infos[point];
}

const char *
policy_point_name(enum policy_point point)
{
    return infos[point].name;
}

const char *
policy_request_container(const struct policy_request *request)
{
    switch (request->point) {
    case POLICY_CREATE_CONTAINER:
    case POLICY_EXEC_IN_CONTAINER:
    case POLICY_CONTAINER_MOUNT:
        return request->process.container_id;
    case POLICY_MOUNT_CIMS:
        return request->cims.container_id;
    case POLICY_SIGNAL_CONTAINER_PROCESS:
        return request->signal.container_id;
    case POLICY_REGISTRY_CHANGES:
        return request->registry.container_id;
    case POLICY_SHUTDOWN_CONTAINER:
        return request->container_id;
    default:
        return NULL;
    }
}

bool
policy_point_parse(const char *name, enum policy_point *point)
{
    for (int i = 0; i < POLICY_ALL_POINTS; i++) {
        if (strcmp(infos[i].name, name) == 0) {
            *point = (enum policy_point)i;
            return true;
        }
    }
    return false;
}

const char *
policy_point_prefix(enum policy_point point)
{
    return infos[point].prefix;
}

const char *
policy_closed_text(enum policy_point point)
{
    return infos[point].closed;
}

const char *
policy_flag_name(enum policy_flag flag)
{
    static const char *const names[FLAGS] = {
        [FLAG_PROPERTIES_ACCESS] = "allow_properties_access",
        [FLAG_DUMP_STACKS] = "allow_dump_stacks",
        [FLAG_RUNTIME_LOGGING] = "allow_runtime_logging",
        [FLAG_HOST_NETWORK] = "allow_host_network",
        [FLAG_ENVIRONMENT_VARIABLE_DROPPING] = "allow_environment_variable_dropping",
        [FLAG_UNENCRYPTED_SCRATCH] = "allow_unencrypted_scratch",
        [FLAG_CAPABILITY_DROPPING] = "allow_capability_dropping",
        [FLAG_LOG_PROVIDER_DROPPING] = "allow_log_provider_dropping",
    };
    return names[flag];
}
