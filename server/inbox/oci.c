#include "server/inbox/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/base/fd.h"
#include "server/base/limits.h"
#include "server/inbox/guest_path.h"
#include "server/inbox/oci_check.h"
#include "server/mounts/security_context.h"

/* What containerd and CRI-O give a pod that asks for nothing. */
static const char *const capabilities[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",     "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",    "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT",
};

static const char *const masked_paths[] = {
    "/proc/acpi",          "/proc/asound",
    "/proc/kcore",         "/proc/keys",
    "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi",          "/proc/timer_list",
    "/proc/timer_stats",   "/sys/devices/virtual/powercap",
    "/sys/firmware",
};

static const char *const readonly_paths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                             "/proc/sysrq-trigger"};

static const char *const namespaces[] = {"pid", "ipc", "uts", "mount", "network", "cgroup"};

struct default_mount {
    const char *destination, *type, *source;
    const char *options[8];
};

static const struct default_mount default_mounts[] = {
    {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
    {"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}},
    {"/dev/pts",
     "devpts",
     "devpts",
     {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
    {"/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
    {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
    {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}},
    {"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "noexec", "nodev", "relatime", "ro"}},
};

void
oci_decrefp(json_t **json)
{
    json_decref(*json);
}

/* An array of the strings, or NULL: no memory, or a string that is not UTF-8. */
static json_t *
strings(const char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_string(items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

#define STRINGS(table) strings((table), sizeof(table) / sizeof(table)[0])

static enum status
no_memory(struct error *err)
{
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the container's configuration");
}

/* What container runtimes usually give, but never more than this program itself may have: without
 * CAP_SYS_RESOURCE the runtime cannot raise a hard limit, and would fail the create. */
static json_int_t
open_files_max(void)
{
    struct rlimit own;
    const json_int_t usual = 1048576;
    if (getrlimit(RLIMIT_NOFILE, &own) < 0 || own.rlim_max >= (rlim_t)usual)
        return usual;
    return (json_int_t)own.rlim_max;
}

/* jansson's packing steals the references it is given, and gives up with NULL when one of them is NULL. */
static json_t *
process_json(const Gcs__V1__Process *process, const char *cwd, const struct oci_user *user)
{
    json_t *json =
        json_pack("{s:b, s:{s:I, s:I}, s:o, s:o, s:s, s:{s:o, s:o, s:o}, s:[{s:s, s:I, s:I}], s:b}",
                  "terminal", (int)process->terminal, "user", "uid", (json_int_t)user->uid, "gid",
                  (json_int_t)user->gid, "args", strings((const char *const *)process->args, process->n_args),
                  "env", strings((const char *const *)process->env, process->n_env), "cwd", cwd,
                  "capabilities", "bounding", STRINGS(capabilities), "effective", STRINGS(capabilities),
                  "permitted", STRINGS(capabilities), "rlimits", "type", "RLIMIT_NOFILE", "hard",
                  open_files_max(), "soft", (json_int_t)1024, "noNewPrivileges", 1);
    if (json && process->terminal && process->console_height && process->console_width)
        json_object_set_new(json, "consoleSize",
                            json_pack("{s:I, s:I}", "height", (json_int_t)process->console_height, "width",
                                      (json_int_t)process->console_width));
    return json;
}

enum status
oci_process(const Gcs__V1__Process *process, json_t **ret, struct error *err)
{
    char cwd[LIMIT_PATH_BYTES + 1];
    struct oci_user user;
    TRY(oci_process_check(process, err));
    TRY(guest_path(process->cwd, cwd, err));
    TRY(oci_user_parse(process->user, &user, err));
    json_t *json = process_json(process, cwd, &user);
    if (!json)
        return no_memory(err);
    *ret = json;
    return STATUS_OK;
}

static size_t
option_count(const struct default_mount *mount)
{
    size_t count = 0;
    while (count < sizeof mount->options / sizeof mount->options[0] && mount->options[count])
        count++;
    return count;
}

/* A bind is always asked for, and propagation back to the guest never: unless the mount says how, it is
 * private. */
static json_t *
bind_options(const Gcs__V1__Mount *mount)
{
    bool binds = false, propagates = false;
    json_t *array = strings((const char *const *)mount->options, mount->n_options);
    for (size_t i = 0; i < mount->n_options; i++) {
        binds = binds || strcmp(mount->options[i], "rbind") == 0 || strcmp(mount->options[i], "bind") == 0;
        propagates = propagates || oci_option_propagates(mount->options[i]);
    }
    if (array && !binds)
        json_array_insert_new(array, 0, json_string("rbind"));
    if (array && !propagates)
        json_array_append_new(array, json_string("rprivate"));
    /* Whatever the mount says: what a container leaves there is run as nobody else, and opens no device. */
    if (array)
        json_array_append_new(array, json_string("nosuid"));
    if (array)
        json_array_append_new(array, json_string("nodev"));
    return array;
}

static enum status
mounts_json(const struct oci_input *input, json_t **ret, struct error *err)
{
    CLEANUP(oci_decrefp)
    json_t *array = json_array();
    for (size_t i = 0; i < sizeof default_mounts / sizeof default_mounts[0]; i++) {
        const struct default_mount *mount = &default_mounts[i];
        json_t *json =
            json_pack("{s:s, s:s, s:s, s:o}", "destination", mount->destination, "type", mount->type,
                      "source", mount->source, "options", strings(mount->options, option_count(mount)));
        if (!array || json_array_append_new(array, json) < 0)
            return no_memory(err);
    }
    for (size_t i = 0; i < input->spec->n_mounts; i++) {
        const Gcs__V1__Mount *mount = input->spec->mounts[i];
        char destination[LIMIT_PATH_BYTES + 1];
        TRY(guest_path(mount->destination, destination, err));
        json_t *json = json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", "bind", "source",
                                 input->bind_sources[i], "options", bind_options(mount));
        if (json_array_append_new(array, json) < 0)
            return no_memory(err);
    }
    /* The last one, so that no mount of the spec lies on top of it. */
    if (input->security_context &&
        json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:[s, s, s, s, s, s]}", "destination",
                                               SECURITY_CONTEXT_PATH, "type", "bind", "source",
                                               input->security_context, "options", "bind", "ro", "nosuid",
                                               "nodev", "noexec", "rprivate")) < 0)
        return no_memory(err);
    *ret = TAKE_PTR(array);
    return STATUS_OK;
}

static enum status
resources_json(const Gcs__V1__Resources *resources, json_t **ret, struct error *err)
{
    CLEANUP(oci_decrefp)
    json_t *cpu = json_object();
    CLEANUP(oci_decrefp)
    json_t *memory = json_object();
    if (!cpu || !memory)
        return no_memory(err);
    int failed = 0;
    if (resources && resources->cpu_shares)
        failed |= json_object_set_new(cpu, "shares", json_integer((json_int_t)resources->cpu_shares));
    if (resources && resources->cpu_quota_us)
        failed |= json_object_set_new(cpu, "quota", json_integer((json_int_t)resources->cpu_quota_us));
    if (resources && resources->cpu_period_us)
        failed |= json_object_set_new(cpu, "period", json_integer((json_int_t)resources->cpu_period_us));
    if (resources && resources->cpuset_cpus[0])
        failed |= json_object_set_new(cpu, "cpus", json_string(resources->cpuset_cpus));
    if (resources && resources->memory_limit_bytes)
        failed |=
            json_object_set_new(memory, "limit", json_integer((json_int_t)resources->memory_limit_bytes));
    /* The runtime adds its own list of harmless devices to "none". */
    json_t *json =
        failed ? NULL
               : json_pack("{s:[{s:b, s:s}], s:O, s:O, s:{s:i}}", "devices", "allow", 0, "access", "rwm",
                           "cpu", cpu, "memory", memory, "pids", "limit", LIMIT_CONTAINER_TASKS);
    if (!json)
        return no_memory(err);
    *ret = json;
    return STATUS_OK;
}

static json_t *
namespaces_json(const char *network_path)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < sizeof namespaces / sizeof namespaces[0]; i++) {
        const char *path = strcmp(namespaces[i], "network") == 0 ? network_path : NULL;
        json_array_append_new(array, path ? json_pack("{s:s, s:s}", "type", namespaces[i], "path", path)
                                          : json_pack("{s:s}", "type", namespaces[i]));
    }
    return array;
}

enum status
oci_config(const struct oci_input *input, json_t **ret, struct error *err)
{
    TRY(oci_check(input->spec, err));
    CLEANUP(oci_decrefp)
    json_t *process = NULL;
    CLEANUP(oci_decrefp)
    json_t *mounts = NULL;
    CLEANUP(oci_decrefp)
    json_t *resources = NULL;
    TRY(oci_process(input->spec->process, &process, err));
    TRY(mounts_json(input, &mounts, err));
    TRY(resources_json(input->spec->resources, &resources, err));
    char hostname[LIMIT_HOSTNAME_BYTES + 1] = "", group[LIMIT_CONTAINER_ID_BYTES + 16];
    if (input->spec->hostname[0] != '\0')
        snprintf(hostname, sizeof hostname, "%s", input->spec->hostname);
    else
        snprintf(hostname, sizeof hostname, "%.12s", input->container_id);
    snprintf(group, sizeof group, "/gcs-%.64s", input->container_id);
    json_t *json = json_pack("{s:s, s:O, s:{s:s, s:b}, s:s, s:O, s:{s:s, s:O, s:o, s:o, s:o}}", "ociVersion",
                             "1.0.2", "process", process, "root", "path", input->root_path, "readonly", 0,
                             "hostname", hostname, "mounts", mounts, "linux", "cgroupsPath", group,
                             "resources", resources, "namespaces", namespaces_json(input->network_path),
                             "maskedPaths", STRINGS(masked_paths), "readonlyPaths", STRINGS(readonly_paths));
    if (!json)
        return no_memory(err);
    *ret = json;
    return STATUS_OK;
}

/* Written in one go: json_dumpfd() makes a system call of every token. */
enum status
oci_write(int dir_fd, const char *name, const json_t *json, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = openat(dir_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "make '%s'", name);
    char *text = json_dumps(json, JSON_COMPACT);
    if (!text)
        return no_memory(err);
    int written = fd_write_full(fd, text, strlen(text));
    int failure = errno;
    free(text);
    return written == 0 ? STATUS_OK : error_set(err, status_of_errno(failure), failure, "write '%s'", name);
}
