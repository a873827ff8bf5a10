#include "server/sidecar/decision_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

#define FILE_MODE 0600

/* What a file of ours begins with; one that begins otherwise is somebody's, and stays as it is. */
#define BEGINNING "{\"decision_log\":"

/* The directory stays open: a rotation is a rename inside it, whatever becomes of the path. */
static enum status
open_directory(struct decision_file *file, const char *path, struct error *err)
{
    const char *name = "";
    file->directory = fd_open_parent(path, &name);
    if (file->directory < 0)
        return error_set(err, status_of_errno(errno), errno, "open the decision log's directory: '%s'", path);
    if (!name[0] || strlen(name) > NAME_MAX - strlen(".1"))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "decision log '%s': no name of a file", path);
    snprintf(file->name, sizeof file->name, "%s", name);
    snprintf(file->old_name, sizeof file->old_name, "%.*s.1", NAME_MAX - 2, name);
    return STATUS_OK;
}

static enum status
refuse(const struct decision_file *file, const char *what, struct error *err)
{
    return error_set(err, STATUS_FAILED_PRECONDITION, 0, "decision log '%s': %s", file->name, what);
}

/* Whether the descriptor is a file that we may append to; then it is ours alone. */
static enum status
check_file(const struct decision_file *file, int fd, struct stat *info, struct error *err)
{
    char beginning[sizeof BEGINNING - 1];
    if (fstat(fd, info) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "look at the decision log '%s'", file->name);
    if (!S_ISREG(info->st_mode))
        return refuse(file, "it is no regular file", err);
    if (info->st_uid != geteuid())
        return refuse(file, "the file belongs to another user", err);
    if (info->st_nlink != 1)
        return refuse(file, "the file has other names", err);
    if (info->st_size > 0 && (pread(fd, beginning, sizeof beginning, 0) != (ssize_t)sizeof beginning ||
                              memcmp(beginning, BEGINNING, sizeof beginning) != 0))
        return refuse(file, "the file is there and is no decision log", err);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return refuse(file, "another process writes it", err);
    if (fchmod(fd, FILE_MODE) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "set the mode of the decision log '%s'", file->name);
    return STATUS_OK;
}

/* O_NONBLOCK: a pipe in the place of the file must not hold us up; a regular file does not know it. */
static enum status
open_file(struct decision_file *file, struct error *err)
{
    CLEANUP(fd_closep)
    int fd = openat(file->directory, file->name,
                    O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, FILE_MODE);
    struct stat info;
    if (fd < 0 && errno == ELOOP)
        return refuse(file, "it is a symbolic link", err);
    if (fd < 0 && (errno == EISDIR || errno == ENXIO))
        return refuse(file, "it is no regular file", err);
    if (fd < 0)
        return error_set(err, status_of_errno(errno), errno, "open the decision log '%s'", file->name);
    TRY(check_file(file, fd, &info, err));
    file->size = info.st_size;
    file->file = TAKE_FD(fd);
    return STATUS_OK;
}

/* A line that a crash has cut stays, as a line of its own. */
static enum status
end_cut_line(struct decision_file *file, struct error *err)
{
    char last;
    if (file->size == 0 || (pread(file->file, &last, 1, file->size - 1) == 1 && last == '\n'))
        return STATUS_OK;
    if (file->size + 1 > file->bytes_max)
        return decision_file_rotate(file, err);
    return decision_file_append(file, "\n", 1, err);
}

enum status
decision_file_open(struct decision_file *file, const char *path, int64_t bytes_max, struct error *err)
{
    *file = DECISION_FILE_EMPTY;
    file->bytes_max = bytes_max;
    enum status status = open_directory(file, path, err);
    if (status == STATUS_OK)
        status = open_file(file, err);
    if (status == STATUS_OK)
        status = end_cut_line(file, err);
    if (status != STATUS_OK)
        decision_file_close(file);
    return status;
}

void
decision_file_close(struct decision_file *file)
{
    fd_closep(&file->file);
    fd_closep(&file->directory);
}

enum status
decision_file_append(struct decision_file *file, const char *bytes, size_t size, struct error *err)
{
    if (file->file < 0)
        TRY(open_file(file, err));
    if ((int64_t)size > file->bytes_max - file->size)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the decision log '%s' is full", file->name);
    if (fd_write_full(file->file, bytes, size) < 0) {
        int reason = errno;
        /* Half a line is no line. When even this fails a reader sees it, and the next line says what is
         * lost. */
        if (ftruncate(file->file, file->size) < 0)
            file->size += (int64_t)size;
        return error_set(err, STATUS_INTERNAL, reason, "write the decision log '%s'", file->name);
    }
    file->size += (int64_t)size;
    return STATUS_OK;
}

enum status
decision_file_rotate(struct decision_file *file, struct error *err)
{
    if (file->file >= 0) {
        if (renameat(file->directory, file->name, file->directory, file->old_name) < 0)
            return error_set(err, STATUS_INTERNAL, errno, "rename the decision log '%s' to '%s'", file->name,
                             file->old_name);
        fd_closep(&file->file);
        file->size = 0;
    }
    return open_file(file, err);
}
