#include "server/inbox/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

static int
actions_fill(posix_spawn_file_actions_t *actions, const struct spawn_options *options)
{
    int failure = 0;
    if (options->terminal) {
        /* The leader of a session without a terminal gets the first one it opens. */
        failure = posix_spawn_file_actions_addopen(actions, 0, options->terminal, O_RDWR, 0);
        for (int i = 1; i < 3 && failure == 0; i++)
            failure = posix_spawn_file_actions_adddup2(actions, 0, i);
    } else {
        for (int i = 0; i < 3 && failure == 0; i++)
            failure = posix_spawn_file_actions_adddup2(actions, options->ends[i], i);
    }
    /* Whatever else is open, ours or inherited from who started us. */
    if (failure == 0)
        failure = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    if (failure == 0 && options->directory)
        failure = posix_spawn_file_actions_addchdir_np(actions, options->directory);
    return failure;
}

static int
attributes_fill(posix_spawnattr_t *attributes, const struct spawn_options *options)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (options->session || options->terminal)
        flags |= POSIX_SPAWN_SETSID;
    int failure = posix_spawnattr_setflags(attributes, flags);
    if (failure == 0)
        failure = posix_spawnattr_setsigdefault(attributes, &all);
    if (failure == 0)
        failure = posix_spawnattr_setsigmask(attributes, &none);
    return failure;
}

enum status
spawn(const struct spawn_options *options, pid_t *ret, struct error *err)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int failure = actions_fill(&actions, options);
    if (failure == 0)
        failure = attributes_fill(&attributes, options);
    pid_t pid;
    if (failure == 0)
        failure = posix_spawn(&pid, options->path, &actions, &attributes, options->argv, options->envp);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (failure != 0)
        return error_set(err, status_of_errno(failure), failure, "start '%s' in '%s'", options->path,
                         options->directory ? options->directory : ".");
    *ret = pid;
    return STATUS_OK;
}
