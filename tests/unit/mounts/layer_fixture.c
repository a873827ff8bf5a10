#include "tests/unit/mounts/layer_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/fd.h"

static void
must(int result, const char *what)
{
    if (result >= 0)
        return;
    perror(what);
    abort();
}

void
scratch_make(struct scratch *scratch)
{
    const char *base = getenv("TMPDIR");
    snprintf(scratch->path, sizeof scratch->path, "%.64s/gcs-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(scratch->path))
        must(-1, "mkdtemp");
    snprintf(scratch->layers, sizeof scratch->layers, "%.110s/layers", scratch->path);
    snprintf(scratch->volumes, sizeof scratch->volumes, "%.110s/volumes", scratch->path);
    must(mkdir(scratch->layers, 0755), "mkdir");
    must(mkdir(scratch->volumes, 0700), "mkdir");
}

static int
entry_remove(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

void
scratch_remove(struct scratch *scratch)
{
    must(nftw(scratch->path, entry_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT), "remove scratch directory");
}

void
scratch_write(const struct scratch *scratch, const char *name, const void *bytes, size_t size)
{
    char path[SCRATCH_PATH_MAX + 256 + 1];
    snprintf(path, sizeof path, "%s/%s", scratch->layers, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    must(fd, path);
    must(fd_write_full(fd, bytes, size), path);
    close(fd);
}

void
scratch_fill(const struct scratch *scratch, const char *name, size_t size, unsigned seed)
{
    unsigned char *bytes = malloc(size + 1);
    if (!bytes)
        abort();
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)((i * 31 + i / 251 + seed * 7) & 0xFF);
    scratch_write(scratch, name, bytes, size);
    free(bytes);
}

size_t
entries_in(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir)
        must(-1, path);
    size_t count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            count++;
    closedir(dir);
    return count;
}

size_t
open_descriptors(void)
{
    return entries_in("/proc/self/fd") - 1; /* the one that looks */
}
