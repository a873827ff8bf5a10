#include "server/inbox/guest_exec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/inbox/console.h"
#include "server/inbox/guest_path.h"
#include "server/inbox/oci.h"
#include "server/inbox/oci_check.h"
#include "server/inbox/spawn.h"

#define PATH_DEFAULT "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static void
vectorp(char ***vector)
{
    free(*vector);
}

/* A copy of the array of pointers with the NULL that exec wants at its end. */
static char **
vector_new(char *const *items, size_t count)
{
    char **vector = calloc(count + 1, sizeof *vector);
    for (size_t i = 0; vector && i < count; i++)
        vector[i] = items[i];
    return vector;
}

static const char *
search_path(const Gcs__V1__Process *spec)
{
    for (size_t i = 0; i < spec->n_env; i++) {
        if (strncmp(spec->env[i], "PATH=", 5) == 0)
            return spec->env[i] + 5;
    }
    return PATH_DEFAULT;
}

static enum status
program_find(const Gcs__V1__Process *spec, char ret[LIMIT_PATH_BYTES + 1], struct error *err)
{
    const char *name = spec->args[0];
    if (strchr(name, '/'))
        return guest_path(name, ret, err);
    for (const char *rest = search_path(spec); *rest;) {
        size_t length = strcspn(rest, ":");
        if (rest[0] == '/' &&
            snprintf(ret, LIMIT_PATH_BYTES + 1, "%.*s/%s", (int)length, rest, name) <= LIMIT_PATH_BYTES &&
            access(ret, X_OK) == 0)
            return STATUS_OK;
        rest += length;
        rest += *rest == ':';
    }
    return error_set(err, STATUS_NOT_FOUND, 0, "there is no program '%.200s' in the guest", name);
}

enum status
guest_exec(const Gcs__V1__Process *spec, const int child_ends[3], pid_t *ret, int *ret_terminal,
           struct error *err)
{
    char directory[LIMIT_PATH_BYTES + 1], program[LIMIT_PATH_BYTES + 1], terminal[CONSOLE_PATH_MAX];
    struct oci_user user;
    TRY(oci_process_check(spec, err));
    TRY(guest_path(spec->cwd, directory, err));
    TRY(oci_user_parse(spec->user, &user, err));
    if (user.uid != 0 || user.gid != 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "process.user: the guest's own programs run as root");
    TRY(program_find(spec, program, err));
    CLEANUP(vectorp)
    char **argv = vector_new(spec->args, spec->n_args);
    CLEANUP(vectorp)
    char **envp = vector_new(spec->env, spec->n_env);
    if (!argv || !envp)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a process");
    CLEANUP(fd_closep)
    int master = -1;
    if (spec->terminal)
        TRY(console_open(&master, terminal, err));
    struct spawn_options options = {.path = program,
                                    .argv = argv,
                                    .envp = envp,
                                    .directory = directory,
                                    .ends = child_ends,
                                    .terminal = spec->terminal ? terminal : NULL,
                                    .session = true};
    TRY(spawn(&options, ret, err));
    if (master >= 0)
        *ret_terminal = TAKE_FD(master);
    return STATUS_OK;
}
