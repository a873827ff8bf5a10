#include "server/sidecar/process_check.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"
#include "server/mounts/security_context.h"

/* The forms a directory may have: `/x`, and the Windows form `C:\x` that the inbox takes for `/x`. */
static bool
is_absolute(const char *path)
{
    bool drive = isalpha((unsigned char)path[0]) && path[1] == ':' && (path[2] == '\\' || path[2] == '/');
    return path[0] == '/' || drive;
}

static int
compare_names(const void *left, const void *right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    for (; *a == *b && *a != '='; a++, b++)
        ;
    return (*a == '=' ? 0 : (unsigned char)*a) - (*b == '=' ? 0 : (unsigned char)*b);
}

/* Sorted, names that stand twice are neighbours. */
static enum status
check_names_differ(const Gcs__V1__Process *process, const char *path, struct error *err)
{
    if (process->n_env < 2)
        return STATUS_OK;
    const char **sorted = malloc(process->n_env * sizeof *sorted);
    if (!sorted)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%s.env: no memory", path);
    memcpy(sorted, process->env, process->n_env * sizeof *sorted);
    qsort(sorted, process->n_env, sizeof *sorted, compare_names);
    enum status status = STATUS_OK;
    for (size_t i = 1; i < process->n_env && status == STATUS_OK; i++)
        if (compare_names(&sorted[i - 1], &sorted[i]) == 0)
            status = error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.env: the name '%.*s' stands twice", path,
                               (int)strcspn(sorted[i], "="), sorted[i]);
    free(sorted);
    return status;
}

static enum status
check_env(const Gcs__V1__Process *process, const char *path, struct error *err)
{
    if (process->n_env > LIMIT_ENV)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.env: more than %d entries", path, LIMIT_ENV);
    for (size_t i = 0; i < process->n_env; i++) {
        const char *equals = strchr(process->env[i], '=');
        if (!equals || equals == process->env[i])
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.env[%zu]: not NAME=value", path, i);
    }
    return check_names_differ(process, path, err);
}

enum status
process_check(const Gcs__V1__Process *process, const char *path, struct error *err)
{
    if (process->n_args == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.args: missing", path);
    if (!process->args[0][0])
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.args[0]: empty", path);
    if (!is_absolute(process->cwd))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.cwd: not an absolute path", path);
    if (process->console_height > UINT16_MAX || process->console_width > UINT16_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%s.console_height, console_width: at most 65535",
                         path);
    return check_env(process, path, err);
}

enum status
process_check_console(uint32_t height, uint32_t width, struct error *err)
{
    if (height == 0 || height > UINT16_MAX || width == 0 || width > UINT16_MAX)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "resize_console.height, width: 1 to 65535");
    return STATUS_OK;
}

void
process_apply(Gcs__V1__Process *process, const struct policy_verdict *verdict)
{
    process->env = (char **)(uintptr_t)verdict->env.items;
    process->n_env = verdict->env.count;
    if (!verdict->allow_stdio)
        process->stdin = process->stdout = process->stderr = false;
}

enum status
process_tell_security_context(Gcs__V1__Process *process, struct arena *arena, struct error *err)
{
    static const char entry[] = SECURITY_CONTEXT_NAME "=" SECURITY_CONTEXT_PATH;
    const size_t name_length = sizeof SECURITY_CONTEXT_NAME; /* with the "=" */
    char **env = ARENA_NEW(arena, char *, process->n_env + 1);
    if (!env)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    size_t count = 0;
    for (size_t i = 0; i < process->n_env; i++)
        if (strncmp(process->env[i], entry, name_length) != 0)
            env[count++] = process->env[i];
    env[count++] = (char *)(uintptr_t)entry;
    process->env = env;
    process->n_env = count;
    return STATUS_OK;
}
