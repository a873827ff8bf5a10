#include "server/mounts/volume_table.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"
#include "server/mounts/volume_leftovers.h"

/* Where the descriptor's directory is, free of symlinks: as mountinfo writes it and umount2(2) needs it. */
static enum status
root_path_read(int fd, const char *given, char path[PATH_MAX], struct error *err)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return error_set(err, STATUS_INTERNAL, errno, "find the path of volume directory '%s'", given);
    path[length] = '\0';
    if (path[strcspn(path, ":,\\")] != '\0')
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "volume directory '%s' has a ':', ',' or '\\' in its path", path);
    return STATUS_OK;
}

/* Whoever else can write there could swap what we are about to mount on or remove. */
static enum status
root_owner_check(int fd, const char *path, struct error *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "examine volume directory '%s'", path);
    if (info.st_uid != geteuid())
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "volume directory '%s' belongs to user %u", path,
                         (unsigned)info.st_uid);
    if (info.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "others may write in volume directory '%s'",
                         path);
    return STATUS_OK;
}

static enum status
root_open(struct volume_table *table, const char *given, struct error *err)
{
    table->root_fd = open(given, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (table->root_fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open volume directory '%s'", given);
    TRY(root_path_read(table->root_fd, given, table->root_path, err));
    TRY(root_owner_check(table->root_fd, table->root_path, err));
    if (flock(table->root_fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, errno == EWOULDBLOCK ? STATUS_FAILED_PRECONDITION : STATUS_INTERNAL, errno,
                         "volume directory '%s' is in use", table->root_path);
    return STATUS_OK;
}

static void
table_free(struct volume_table *table)
{
    fd_closep(&table->root_fd);
    mutex_done(&table->volumes.lock);
    free(table);
}

static bool
is_adopted(void *arg, const char *name)
{
    return volume_state(arg, name) != VOLUME_ABSENT;
}

enum status
volume_table_sweep(struct volume_table *table, size_t *ret_count, struct error *err)
{
    return volume_leftovers_remove(table->root_fd, table->root_path, is_adopted, table, ret_count, err);
}

enum status
volume_table_open(const struct volume_options *options, struct volume_table **ret, size_t *ret_leftovers,
                  struct error *err)
{
    struct volume_table *table = calloc(1, sizeof *table);
    if (!table)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the volume table");
    mutex_init(&table->volumes.lock, RANK_VOLUMES);
    table->backend = options->backend;
    table->backend_arg = options->backend_arg;
    table->layers = options->layers;
    table->root_fd = -1;
    enum status status = root_open(table, options->directory, err);
    *ret_leftovers = 0;
    if (status == STATUS_OK && !options->keep_leftovers)
        status = volume_table_sweep(table, ret_leftovers, err);
    if (status != STATUS_OK) {
        table_free(table);
        return status;
    }
    *ret = table;
    return STATUS_OK;
}

/* Takes any volume out of the table; NULL when it is empty. */
static struct volume *
volume_take(struct volume_table *table)
{
    mutex_lock(&table->volumes.lock);
    struct volume *volume = table->volumes.all;
    if (volume) {
        assert(volume->state != VOLUME_VERIFYING && volume->state != VOLUME_MOUNTING &&
               volume->state != VOLUME_UNMOUNTING && "the table is closed under somebody's feet");
        HASH_DELETE(hh, table->volumes.all, volume);
    }
    mutex_unlock(&table->volumes.lock);
    return volume;
}

static enum status
table_end(struct volume_table *table, bool leave_held, struct error *err)
{
    enum status outcome = STATUS_OK;
    for (struct volume *volume; (volume = volume_take(table)) != NULL; volume_free(volume)) {
        if (leave_held && volume->hold_count > 0)
            continue;
        struct volume_plan plan = volume_table_plan(table, volume);
        struct error failure;
        enum status status = volume_tree_unmount(&volume->tree, &plan, true, &failure);
        if (status != STATUS_OK && outcome == STATUS_OK) {
            outcome = status;
            *err = failure;
        }
    }
    table_free(table);
    return outcome;
}

enum status
volume_table_close(struct volume_table *table, struct error *err)
{
    return table ? table_end(table, false, err) : STATUS_OK;
}

enum status
volume_table_leave(struct volume_table *table, struct error *err)
{
    return table_end(table, true, err);
}

struct volume_plan
volume_table_plan(const struct volume_table *table, const struct volume *volume)
{
    return (struct volume_plan){
        .backend = table->backend,
        .backend_arg = table->backend_arg,
        .root_fd = table->root_fd,
        .id = volume->id,
        .stack = volume->stack,
    };
}

void
volume_holders_clear(struct volume *volume)
{
    struct volume_holder *holder, *next;
    HASH_ITER(hh, volume->holders, holder, next)
    {
        HASH_DELETE(hh, volume->holders, holder);
        free(holder);
    }
    volume->hold_count = 0;
}

void
volume_free(struct volume *volume)
{
    for (size_t i = 0; i < volume->layer_count; i++)
        layer_close(volume->layers[i]);
    volume_stack_unref(volume->stack);
    volume_holders_clear(volume);
    free(volume);
}
