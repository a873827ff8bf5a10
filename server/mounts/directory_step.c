#include "server/mounts/directory_step.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "server/base/heartbeat.h"

/* How often a name may appear between look and make, or vanish between make and look, before we give up. */
#define ATTEMPTS_MAX 8

static const char *const kind_texts[] = {
    [SANDBOX_KIND_DIRECTORY] = "it is a directory that cannot be entered",
    [SANDBOX_KIND_FILE] = "it is a file, not a directory",
    [SANDBOX_KIND_LINK] = "it is a symbolic link",
    [SANDBOX_KIND_MOUNT] = "it is a mount point",
    [SANDBOX_KIND_OTHER] = "it is neither a directory nor a regular file",
};

static enum status
refuse_kind(const struct directory_step *step, enum sandbox_kind kind, struct error *err)
{
    return error_set(err, STATUS_FAILED_PRECONDITION, 0, "sandbox directory 'sandbox:///%s': %s", step->path,
                     kind_texts[kind]);
}

static enum status
fail(const struct directory_step *step, const char *what, int os_error, struct error *err)
{
    enum status status = status_of_errno(os_error);
    if (os_error == EAGAIN || os_error == ENOENT) /* it, or the directory that we hold, is gone again */
        status = STATUS_ABORTED;
    return error_set(err, status, os_error, "%s sandbox directory 'sandbox:///%s'", what, step->path);
}

static enum status
give_up(const struct directory_step *step, struct error *err)
{
    return error_set(err, STATUS_ABORTED, 0, "sandbox directory 'sandbox:///%s' keeps coming and going",
                     step->path);
}

/* Makes the directory. OK with `*made` false: something of that name exists. */
static enum status
make(const struct directory_step *step, bool *made, struct error *err)
{
    heartbeat_beat(); /* a thousand of them on a slow file system take long */
    if (mkdirat(step->parent_fd, step->name, step->mode) == 0)
        *made = true;
    else if (errno != EEXIST)
        return fail(step, "make", errno, err);
    return STATUS_OK;
}

enum status
directory_step_leaf(const struct directory_step *step, bool look_first, bool *made, struct error *err)
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        if (attempt > 0 || !look_first) {
            TRY(make(step, made, err));
            if (*made)
                return STATUS_OK;
        }
        enum sandbox_kind kind;
        int result = sandbox_look(step->parent_fd, step->name, step->walk, &kind);
        if (result == 0 && (kind == SANDBOX_KIND_DIRECTORY || kind == SANDBOX_KIND_FILE))
            return STATUS_OK;
        if (result == 0)
            return refuse_kind(step, kind, err);
        if (result != -ENOENT)
            return fail(step, "examine", -result, err);
    }
    return give_up(step, err);
}

enum status
directory_step_open(const struct directory_step *step, bool *made, int *fd, struct error *err)
{
    for (int attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        TRY(make(step, made, err));
        int result =
            sandbox_open_name(step->parent_fd, step->name, O_PATH | O_DIRECTORY, step->walk->submounts);
        if (result >= 0) {
            *fd = result;
            return STATUS_OK;
        }
        if (result == -ENOENT)
            continue;
        /* Only for the text: what is there may be another thing already. */
        enum sandbox_kind kind;
        if ((result == -ELOOP || result == -ENOTDIR || result == -EXDEV) &&
            sandbox_look(step->parent_fd, step->name, step->walk, &kind) == 0 &&
            kind != SANDBOX_KIND_DIRECTORY)
            return refuse_kind(step, kind, err);
        return fail(step, "open", -result, err);
    }
    return give_up(step, err);
}
