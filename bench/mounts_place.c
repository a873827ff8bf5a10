#include "bench/mounts_place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/base/fd.h"

#define TMPFS_DIR        "/dev/shm"
#define DISK_DIR         "/var/tmp"
#define SLOW_DIR         "/tmp"
#define FAST_WORKERS     2
#define SLOW_WORKERS     8
#define QUEUE_LENGTH_MAX 64
#define READY_TIMEOUT_MS 10000

extern char **environ;

const char *const mounts_place_names[PLACES] = {
    [PLACE_TMPFS] = "tmpfs",
    [PLACE_DISK] = "disk",
    [PLACE_SLOW] = "slow",
};

static bool
complain(const char *what, const char *path, int os_error)
{
    fprintf(stderr, "gcs-bench mounts: %s '%s': %s\n", what, path, strerror(os_error));
    return false;
}

/* Waits for slowfs's first line, which it writes once the kernel talks to it. */
static bool
slowfs_wait(int fd, const char *path)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char line[8];
    int count = poll(&ready, 1, READY_TIMEOUT_MS);
    if (count == 0)
        return complain("wait for the slow file system at", path, ETIMEDOUT);
    if (count < 0 || read(fd, line, sizeof line) <= 0)
        return complain("start the slow file system (it needs root and /dev/fuse) at", path, EIO);
    return true;
}

/* Starts this program again as the server of the slow file system, in a process group of its own so that
 * Ctrl-C reaches us alone and we end it in order. */
static bool
slowfs_start(struct mounts_place *place, unsigned delay_us)
{
    CLEANUP(fd_closep)
    int from = -1;
    CLEANUP(fd_closep)
    int to = -1;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return complain("pipe for", place->root_path, errno);
    from = ends[0];
    to = ends[1];
    char delay[32];
    snprintf(delay, sizeof delay, "--delay-us=%u", delay_us);
    char *argv[] = {(char[]){"gcs-bench"}, (char[]){"slowfs"}, delay, place->root_path, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int failure = posix_spawn(&place->slowfs, "/proc/self/exe", &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) {
        place->slowfs = 0;
        return complain("start the slow file system at", place->root_path, failure);
    }
    fd_closep(&to);
    return slowfs_wait(from, place->root_path);
}

void
mounts_place_slow(const struct mounts_place *place, unsigned delay_us)
{
    if (place->kind != PLACE_SLOW)
        return;
    char control[PLACE_PATH_MAX + 32];
    snprintf(control, sizeof control, "%s/.slow-%u", place->root_path, delay_us);
    /* Finding nothing is the expected answer. */
    if (access(control, F_OK) == 0)
        fprintf(stderr, "gcs-bench mounts: '%s' exists\n", control);
}

static bool
directory_make(struct mounts_place *place, const char *dir)
{
    snprintf(place->base, sizeof place->base, "%s/gcs-bench-XXXXXX", dir);
    if (!mkdtemp(place->base)) {
        place->base[0] = '\0';
        return complain("make a directory in", dir, errno);
    }
    snprintf(place->root_path, sizeof place->root_path, "%.*s/root", PLACE_PATH_MAX - 8, place->base);
    return true;
}

bool
mounts_place_init(struct mounts_place *place, enum mounts_place_kind kind, const char *dir, unsigned delay_us)
{
    *place = (struct mounts_place){.kind = kind};
    if (!dir || kind != PLACE_DISK)
        dir = kind == PLACE_TMPFS ? TMPFS_DIR : kind == PLACE_SLOW ? SLOW_DIR : DISK_DIR;
    struct statfs info;
    if (kind == PLACE_TMPFS && (statfs(dir, &info) < 0 || info.f_type != TMPFS_MAGIC))
        return complain("no tmpfs at", dir, ENODEV);
    if (!directory_make(place, dir))
        return false;
    if (kind == PLACE_SLOW && (mkdir(place->root_path, 0755) < 0 || !slowfs_start(place, delay_us)))
        return false;
    mounts_place_slow(place, 0);

    /* With a journal, as gcs-sidecar keeps it: beside the root, on a fast file system. */
    char journal[PLACE_PATH_MAX + 16];
    snprintf(journal, sizeof journal, "%s/journal", place->base);
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    options.journal = journal;
    unsigned workers = kind == PLACE_SLOW ? SLOW_WORKERS : FAST_WORKERS;
    struct error err;
    if (sandbox_root_open(place->root_path, &options, &place->root, &err) != STATUS_OK ||
        pool_start(workers, QUEUE_LENGTH_MAX, &place->pool, &err) != STATUS_OK) {
        fprintf(stderr, "gcs-bench mounts: %s\n", err.text);
        return false;
    }
    return true;
}

void
mounts_place_done(struct mounts_place *place)
{
    pool_stop(place->pool);
    sandbox_root_free(place->root);
    if (place->slowfs > 0) {
        kill(place->slowfs, SIGTERM);
        waitpid(place->slowfs, NULL, 0);
    }
    if (place->base[0] == '\0')
        return;
    rmdir(place->root_path);
    if (rmdir(place->base) < 0)
        complain("remove", place->base, errno);
}
