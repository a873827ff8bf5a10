#include "tests/e2e/inbox_harness.h"

#include <dirent.h>
#include <ftw.h>
#include <linux/magic.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/base/clock.h"
#include "server/base/text.h"

char guest_id_a[65], guest_id_b[65];

static void
ids_make(void)
{
    unsigned char bytes[2][32];
    if (guest_id_a[0] != '\0')
        return;
    assert_int_equal(getrandom(bytes, sizeof bytes, 0), sizeof bytes);
    bytes[0][0] = 0x1A; /* their beginnings differ: scratches are named after them */
    bytes[1][0] = 0x1B;
    text_hex(guest_id_a, bytes[0], 32);
    text_hex(guest_id_b, bytes[1], 32);
}

static void
run_or_fail(const char *const *argv)
{
    pid_t pid;
    int status = -1;
    char *copy[32];
    size_t count = 0;
    for (; argv[count]; count++)
        copy[count] = strdup(argv[count]);
    copy[count] = NULL;
    int failure = posix_spawnp(&pid, argv[0], NULL, NULL, copy, environ);
    if (failure == 0)
        waitpid(pid, &status, 0);
    for (size_t i = 0; i < count; i++)
        free(copy[i]);
    assert_int_equal(status, 0);
}

/* A file system of busybox, complete enough for a shell. */
static void
layer_make(const char *layer)
{
    static const char *const names[] = {"bin", "etc", "tmp", "proc", "sys", "dev"};
    static const char *const applets[] = {"sh",    "cat",      "echo", "sleep", "true",  "false",
                                          "touch", "ls",       "head", "trap",  "tty",   "stty",
                                          "id",    "mount",    "dd",   "yes",   "kill",  "env",
                                          "pwd",   "hostname", "wc",   "ping",  "chmod", "setsid"};
    char path[256];
    assert_int_equal(mkdir(layer, 0755), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", layer, names[i]);
        assert_int_equal(mkdir(path, 0755), 0);
    }
    snprintf(path, sizeof path, "%s/bin/busybox", layer);
    run_or_fail(ARGS("cp", "/bin/busybox", path));
    for (size_t i = 0; i < sizeof applets / sizeof applets[0]; i++) {
        snprintf(path, sizeof path, "%s/bin/%s", layer, applets[i]);
        assert_int_equal(symlink("busybox", path), 0);
    }
}

void
guest_image_make(struct guest *guest)
{
    char path[128];
    snprintf(path, sizeof path, "%s/images", guest->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/images/layer.erofs", guest->dir);
    run_or_fail(ARGS("mkfs.erofs", "--quiet", path, guest->layer));
}

static void
inbox_spawn(struct guest *guest, const struct guest_options *options)
{
    const char *argv[24];
    size_t count = 0;
    if (guest->unprivileged) {
        argv[count++] = "setpriv";
        argv[count++] = "--reuid=65534";
        argv[count++] = "--regid=65534";
        argv[count++] = "--clear-groups";
    }
    argv[count++] = INBOX_PROGRAM;
    argv[count++] = "--runtime";
    argv[count++] = options->runtime;
    argv[count++] = "--run-dir";
    argv[count++] = guest->run_dir;
    argv[count++] = "--sandbox-root";
    argv[count++] = guest->sandbox;
    argv[count++] = "--listen";
    argv[count++] = guest->url;
    argv[count++] = "--log-level";
    argv[count++] = getenv("INBOX_LOG") ? getenv("INBOX_LOG") : "error";
    char images[96];
    snprintf(images, sizeof images, "%s/images", guest->dir);
    if (options->standalone) {
        argv[count++] = "--standalone";
        argv[count++] = "--layer-dir";
        argv[count++] = images;
    }
    argv[count] = NULL;
    char *copy[24];
    memcpy(copy, argv, sizeof copy);
    assert_int_equal(posix_spawnp(&guest->pid, argv[0], NULL, NULL, copy, environ), 0);
}

static void
connect_client(struct guest *guest)
{
    struct error err;
    struct caller_config config = {.url = guest->url, .timers = guest->timers};
    if (caller_start(&config, &guest->caller, &err) != STATUS_OK ||
        caller_wait_ready(guest->caller, clock_now_ns() + PATIENCE_S * NS_PER_S, &err) != STATUS_OK)
        fail_msg("the inbox does not answer: %s", err.text);
}

void
guest_start(struct guest *guest, const struct guest_options *options)
{
    struct error err;
    *guest = (struct guest){.unprivileged = options->unprivileged && geteuid() == 0,
                            .standalone = options->standalone};
    ids_make();
    strcpy(guest->dir, "/tmp/gcs-inbox-XXXXXX");
    assert_non_null(mkdtemp(guest->dir));
    snprintf(guest->run_dir, sizeof guest->run_dir, "%s/run", guest->dir);
    snprintf(guest->sandbox, sizeof guest->sandbox, "%s/sandbox", guest->dir);
    snprintf(guest->layer, sizeof guest->layer, "%s/layer", guest->dir);
    snprintf(guest->url, sizeof guest->url, "ipc://%s/sock", guest->dir);
    layer_make(guest->layer);
    if (options->standalone)
        guest_image_make(guest);
    if (guest->unprivileged)
        assert_int_equal(chown(guest->dir, 65534, 65534), 0);
    assert_int_equal(timers_start(&guest->timers, &err), STATUS_OK);
    inbox_spawn(guest, options);
    connect_client(guest);
}

void
guest_restart(struct guest *guest, const struct guest_options *options)
{
    caller_stop(guest->caller);
    guest->caller = NULL;
    inbox_spawn(guest, options);
    connect_client(guest);
}

/* Waits for the inbox's end, at most PATIENCE_S; then it is killed. */
static int
inbox_wait(struct guest *guest)
{
    int status = -1;
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, guest->pid, 0), .events = POLLIN};
    if (ended.fd < 0 || poll(&ended, 1, PATIENCE_S * 1000) != 1)
        kill(guest->pid, SIGKILL);
    waitpid(guest->pid, &status, 0);
    close(ended.fd);
    guest->pid = 0;
    return status;
}

int
guest_end_of_start(struct guest *guest, const struct guest_options *options)
{
    inbox_spawn(guest, options);
    return inbox_wait(guest);
}

int
guest_end(struct guest *guest, int number)
{
    kill(guest->pid, number);
    return inbox_wait(guest);
}

static int
remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

void
guest_remove(struct guest *guest)
{
    int status = guest->pid > 0 ? guest_end(guest, SIGTERM) : 0;
    size_t mounts = guest->dir[0] != '\0' ? guest_mounts(guest) : 0;
    caller_stop(guest->caller);
    timers_stop(guest->timers);
    if (guest->dir[0] != '\0' && mounts == 0)
        nftw(guest->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    *guest = (struct guest){.pid = 0};
    /* Whatever the test did, the inbox ends well, and so does the sanitizer in it. */
    assert_int_equal(status, 0);
    assert_int_equal(mounts, 0);
}

size_t
guest_mounts(const struct guest *guest)
{
    char line[8192];
    size_t count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, guest->dir) != NULL;
    fclose(file);
    return count;
}

bool
guest_path_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

size_t
guest_groups(const char *container_id)
{
    size_t count = 0;
    char path[512];
    DIR *directory = opendir("/sys/fs/cgroup");
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/gcs-%s", entry->d_name, container_id);
        struct statfs info; /* crun makes a plain directory for a hierarchy that is not mounted */
        count += statfs(path, &info) == 0 &&
                 (info.f_type == CGROUP_SUPER_MAGIC || info.f_type == CGROUP2_SUPER_MAGIC);
    }
    if (directory)
        closedir(directory);
    return count;
}

size_t
guest_entries(const struct guest *guest, const char *name)
{
    size_t count = 0;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", guest->run_dir, name);
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}
