#include "server/mounts/security_context.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

#define FILE_MODE 0444

static const char policy_file[] = "security-policy-base64";
static const char reference_file[] = "reference-info-base64";
static const char transparent_file[] = "transparent-reference-info-base64";
static const char certificate_file[] = "host-amd-cert-base64";

static const char *const shared_files[] = {policy_file, reference_file, transparent_file};
enum { SHARED_FILES = sizeof shared_files / sizeof shared_files[0] };

static mode_t
directory_mode(void)
{
    return geteuid() == 0 ? 0555 : 0755;
}

static void
freep(unsigned char **text)
{
    free(*text);
}

static enum status
item_write(int directory_fd, const char *name, const struct security_context_item *item, struct error *err)
{
    if (item->size == 0)
        return STATUS_OK;
    CLEANUP(freep)
    unsigned char *text = malloc((item->size + 2) / 3 * 4 + 1);
    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for '%s'", name);
    int length = EVP_EncodeBlock(text, item->bytes, (int)item->size); /* at most LIMIT_POLICY_BYTES */
    CLEANUP(fd_closep)
    int fd = openat(directory_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0 || fd_write_full(fd, text, (size_t)length) < 0)
        return error_set(err, status_of_errno(errno), errno, "write '%s' of the security context", name);
    return STATUS_OK;
}

/* Where the directory is: everything happens to that name in what is held here. */
struct place {
    const char *path;
    int parent_fd;
    const char *name;
};

#define PLACE_EMPTY ((struct place){.parent_fd = -1})

static void
place_done(struct place *place)
{
    fd_closep(&place->parent_fd);
}

static enum status
place_init(struct place *place, const char *path, struct error *err)
{
    place->path = path;
    place->parent_fd = fd_open_parent(path, &place->name);
    return place->parent_fd >= 0 ? STATUS_OK
                                 : error_set(err, status_of_errno(errno), errno,
                                             "open the directory of the security context '%s'", path);
}

/* Opens the directory, which must be ours alone to write to. */
static enum status
directory_open(const struct place *place, int *ret, struct error *err)
{
    struct stat info;
    const char *path = place->path;
    CLEANUP(fd_closep)
    int fd = openat(place->parent_fd, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "open the security context '%s'", path);
    if (fstat(fd, &info) < 0 || info.st_uid != geteuid() || (info.st_mode & 0022) != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "the security context '%s' is not this user's alone to write to", path);
    *ret = TAKE_FD(fd);
    return STATUS_OK;
}

static enum status
files_clear(int fd, struct error *err)
{
    for (size_t i = 0; i < SHARED_FILES; i++) {
        if (unlinkat(fd, shared_files[i], 0) < 0 && errno != ENOENT)
            return error_set(err, status_of_errno(errno), errno, "remove '%s' of the security context",
                             shared_files[i]);
    }
    return STATUS_OK;
}

static enum status
files_write(int fd, const struct security_context_content *content, struct error *err)
{
    TRY(files_clear(fd, err));
    TRY(item_write(fd, policy_file, &content->policy, err));
    TRY(item_write(fd, reference_file, &content->reference_info, err));
    TRY(item_write(fd, transparent_file, &content->transparent_reference_info, err));
    if (fchmod(fd, directory_mode()) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make the security context read-only");
    return STATUS_OK;
}

enum status
security_context_write(const char *path, const struct security_context_content *content, struct error *err)
{
    CLEANUP(place_done)
    struct place place = PLACE_EMPTY;
    CLEANUP(fd_closep)
    int fd = -1;
    struct error ignored;
    TRY(place_init(&place, path, err));
    if (mkdirat(place.parent_fd, place.name, 0755) < 0 && errno != EEXIST)
        return error_set(err, status_of_errno(errno), errno, "make the security context '%s'", path);
    TRY(directory_open(&place, &fd, err));
    enum status status = files_write(fd, content, err);
    if (status != STATUS_OK) {
        enum status cleared = files_clear(fd, &ignored);
        (void)cleared; /* what cannot be removed could not be written either */
    }
    return status;
}

void
security_context_remove(const char *path)
{
    CLEANUP(place_done)
    struct place place = PLACE_EMPTY;
    CLEANUP(fd_closep)
    int fd = -1;
    struct error ignored;
    if (place_init(&place, path, &ignored) == STATUS_OK &&
        directory_open(&place, &fd, &ignored) == STATUS_OK && files_clear(fd, &ignored) == STATUS_OK)
        unlinkat(place.parent_fd, place.name, AT_REMOVEDIR);
}

/* -- a container's -- */

static enum status
file_copy(int from_fd, int to_fd, const char *name, struct error *err)
{
    CLEANUP(fd_closep)
    int from = openat(from_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    CLEANUP(fd_closep)
    int to = openat(to_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    ssize_t copied = from < 0 || to < 0 ? -1 : 1;
    while (copied > 0)
        copied = sendfile(to, from, NULL, INT_MAX);
    return copied == 0
               ? STATUS_OK
               : error_set(err, status_of_errno(errno), errno, "copy '%s' of the security context", name);
}

/* A link costs nothing, and so do a thousand containers; between two file systems there is none. */
static enum status
file_place(int from_fd, int to_fd, const char *name, struct error *err)
{
    if (linkat(from_fd, name, to_fd, name, 0) == 0 || errno == ENOENT)
        return STATUS_OK;
    if (errno == EXDEV || errno == EPERM || errno == EMLINK)
        return file_copy(from_fd, to_fd, name, err);
    return error_set(err, status_of_errno(errno), errno, "link '%s' of the security context", name);
}

enum status
security_context_place(const struct security_context_source *source, int parent_fd, const char *name,
                       struct error *err)
{
    CLEANUP(place_done)
    struct place place = PLACE_EMPTY;
    CLEANUP(fd_closep)
    int from_fd = -1;
    TRY(place_init(&place, source->directory, err));
    TRY(directory_open(&place, &from_fd, err));
    if (mkdirat(parent_fd, name, 0755) < 0)
        return error_set(err, status_of_errno(errno), errno, "make directory '%s'", name);
    CLEANUP(fd_closep)
    int to_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to_fd < 0)
        return error_set(err, STATUS_INTERNAL, errno, "open directory '%s'", name);
    for (size_t i = 0; i < SHARED_FILES; i++)
        TRY(file_place(from_fd, to_fd, shared_files[i], err));
    TRY(item_write(to_fd, certificate_file, &source->certificate, err));
    if (fchmod(to_fd, directory_mode()) < 0)
        return error_set(err, STATUS_INTERNAL, errno, "make '%s' read-only", name);
    return STATUS_OK;
}
