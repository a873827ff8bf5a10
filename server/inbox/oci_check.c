#include "server/inbox/oci_check.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"
#include "server/inbox/guest_path.h"
#include "server/inbox/oci.h"

/* The kernel's bounds for a period, in microseconds. */
enum { PERIOD_MIN_US = 1000, PERIOD_MAX_US = 1000000 };

static const char *const mount_options[] = {"rbind", "bind",    "rprivate", "private", "rslave",
                                            "slave", "rshared", "shared",   "ro",      "rw"};

/* Below these the runtime's own mounts live. */
static const char *const reserved_directories[] = {"/proc", "/sys"};

bool
oci_option_propagates(const char *option)
{
    return strstr(option, "private") || strstr(option, "slave") || strstr(option, "shared");
}

/* Decimal digits alone; at most 2^32 - 2, since -1 means "no change" to the kernel. */
static const char *
id_parse(const char *text, uint32_t *ret)
{
    uint64_t value = 0;
    const char *c = text;
    for (; isdigit((unsigned char)*c) && c - text < 11; c++)
        value = 10 * value + (uint64_t)(*c - '0');
    if (c == text || value >= UINT32_MAX)
        return NULL;
    *ret = (uint32_t)value;
    return c;
}

enum status
oci_user_parse(const char *user, struct oci_user *ret, struct error *err)
{
    struct oci_user parsed = {0, 0};
    if (user[0] != '\0') {
        const char *rest = id_parse(user, &parsed.uid);
        if (rest && *rest == ':')
            rest = id_parse(rest + 1, &parsed.gid);
        if (!rest || *rest != '\0')
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "process.user: '%.64s' is not \"uid\" or \"uid:gid\"", user);
    }
    *ret = parsed;
    return STATUS_OK;
}

static int
compare_names(const void *left, const void *right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    size_t a_length = strcspn(a, "="), b_length = strcspn(b, "=");
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order != 0 ? order : (a_length > b_length) - (a_length < b_length);
}

static enum status
environment_check(const Gcs__V1__Process *process, struct error *err)
{
    const char *sorted[LIMIT_ENV];
    if (process->n_env > LIMIT_ENV)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "process.env has more than %d entries", LIMIT_ENV);
    for (size_t i = 0; i < process->n_env; i++) {
        const char *equals = strchr(process->env[i], '=');
        if (!equals || equals == process->env[i])
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "process.env[%zu] is not of the form NAME=value", i);
        sorted[i] = process->env[i];
    }
    qsort(sorted, process->n_env, sizeof *sorted, compare_names);
    for (size_t i = 1; i < process->n_env; i++) {
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "process.env has '%.*s' twice",
                             (int)strnlen(sorted[i], strcspn(sorted[i], "=")), sorted[i]);
    }
    return STATUS_OK;
}

enum status
oci_process_check(const Gcs__V1__Process *process, struct error *err)
{
    char cwd[LIMIT_PATH_BYTES + 1];
    struct oci_user user;
    if (process->n_args == 0 || process->args[0][0] == '\0')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "process.args is empty");
    if (process->n_args > LIMIT_ARGS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "process.args has more than %d elements",
                         LIMIT_ARGS);
    if (process->console_height > UINT16_MAX || process->console_width > UINT16_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "process.console_height and _width are at most 65535");
    TRY(environment_check(process, err));
    TRY(oci_user_parse(process->user, &user, err));
    enum status status = guest_path(process->cwd, cwd, err);
    if (status != STATUS_OK)
        error_prefix(err, "process.cwd: ");
    return status;
}

static bool
option_known(const char *option)
{
    for (size_t i = 0; i < sizeof mount_options / sizeof mount_options[0]; i++) {
        if (strcmp(option, mount_options[i]) == 0)
            return true;
    }
    return false;
}

static bool
below(const char *path, const char *directory)
{
    size_t length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

enum status
oci_mount_check(const Gcs__V1__Mount *mount, struct error *err)
{
    char destination[LIMIT_PATH_BYTES + 1];
    if (mount->type[0] != '\0' && strcmp(mount->type, "bind") != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "type '%.64s' is not \"bind\"", mount->type);
    for (size_t i = 0; i < mount->n_options; i++) {
        if (!option_known(mount->options[i]))
            return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                             "options[%zu]: '%.64s' is not a bind mount's option", i, mount->options[i]);
    }
    TRY(guest_path(mount->destination, destination, err));
    if (strcmp(destination, "/") == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "destination: the root cannot be mounted over");
    for (size_t i = 0; i < sizeof reserved_directories / sizeof reserved_directories[0]; i++) {
        if (below(destination, reserved_directories[i]))
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "destination: '%.200s' is below %s",
                             destination, reserved_directories[i]);
    }
    return STATUS_OK;
}

static enum status
hostname_check(const char *hostname, struct error *err)
{
    size_t length = strlen(hostname);
    size_t good = strspn(hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
    if (length > LIMIT_HOSTNAME_BYTES || good != length)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "hostname: at most %d of [A-Za-z0-9.-]",
                         LIMIT_HOSTNAME_BYTES);
    return STATUS_OK;
}

static enum status
resources_check(const Gcs__V1__Resources *resources, struct error *err)
{
    if (resources->cpu_shares > 262144)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resources.cpu_shares is at most 262144");
    if (resources->cpu_quota_us < 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resources.cpu_quota_us is negative");
    if (resources->cpu_period_us &&
        (resources->cpu_period_us < PERIOD_MIN_US || resources->cpu_period_us > PERIOD_MAX_US))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resources.cpu_period_us is %d to %d",
                         PERIOD_MIN_US, PERIOD_MAX_US);
    if (strspn(resources->cpuset_cpus, "0123456789,-") != strlen(resources->cpuset_cpus))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "resources.cpuset_cpus is no list of CPUs such as 0-3,7");
    if (resources->memory_limit_bytes > INT64_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resources.memory_limit_bytes is below 2^63");
    return STATUS_OK;
}

enum status
oci_check(const Gcs__V1__Spec *spec, struct error *err)
{
    if (!spec || !spec->process)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "spec.process is missing");
    TRY(oci_process_check(spec->process, err));
    if (spec->n_mounts > LIMIT_MOUNTS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "spec.mounts has more than %d elements",
                         LIMIT_MOUNTS);
    for (size_t i = 0; i < spec->n_mounts; i++) {
        enum status status = oci_mount_check(spec->mounts[i], err);
        if (status != STATUS_OK) {
            error_prefix(err, "spec.mounts[%zu]: ", i);
            return status;
        }
    }
    TRY(hostname_check(spec->hostname, err));
    return spec->resources ? resources_check(spec->resources, err) : STATUS_OK;
}
