/*
 * A file system of directories in memory, each operation of which takes a set time: what a network file
 * system, or a shared folder of the host without a cache, looks like to the code that makes directories.
 *
 * The kernel keeps no name and no attribute (their time limits are 0), so that every component of every path
 * is asked for. Operations on different directories run at the same time, as many as come.
 *
 * Looking up `.slow-N` in the root sets the time to N microseconds and finds nothing; measurements set it to
 * 0 while they prepare and clean up.
 */
#define FUSE_USE_VERSION 34

#include <argp.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "bench/bench.h"

#define CONTROL_PREFIX ".slow-"
#define THREADS_IDLE   32

struct node {
    UT_hash_handle hh; /* among the children of `parent`, by name */
    struct node *parent, *children;
    char *name;
    mode_t mode;
    uint64_t lookups; /* references of the kernel */
    bool removed;
};

struct slowfs {
    pthread_mutex_t lock; /* guards the tree */
    struct node root;
    atomic_uint delay_us;
    struct fuse_session *session;
};

static struct slowfs *
slowfs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static struct node *
node_of(struct slowfs *fs, fuse_ino_t inode)
{
    return inode == FUSE_ROOT_ID ? &fs->root : (struct node *)inode;
}

static void
delay(struct slowfs *fs)
{
    unsigned delay_us = atomic_load(&fs->delay_us);
    struct timespec time = {.tv_sec = delay_us / 1000000, .tv_nsec = (long)(delay_us % 1000000) * 1000};
    while (delay_us > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &time) == EINTR)
        continue;
}

static struct stat
node_stat(const struct slowfs *fs, const struct node *node)
{
    return (struct stat){
        .st_ino = node == &fs->root ? FUSE_ROOT_ID : (ino_t)(uintptr_t)node,
        .st_mode = S_IFDIR | node->mode,
        .st_nlink = 2,
        .st_uid = geteuid(),
        .st_gid = getegid(),
    };
}

/* The entry of `node` for the kernel, which from now on refers to it once more. */
static struct fuse_entry_param
node_entry(const struct slowfs *fs, struct node *node)
{
    node->lookups++;
    return (struct fuse_entry_param){
        .ino = (fuse_ino_t)(uintptr_t)node,
        .attr = node_stat(fs, node),
    };
}

static void
node_free_if_unused(struct node *node)
{
    if (!node->removed || node->lookups > 0)
        return;
    free(node->name);
    free(node);
}

static void
slowfs_init(void *userdata, struct fuse_conn_info *connection)
{
    (void)userdata;
    (void)connection;
    /* Who started us waits for this line. */
    printf("ready\n");
    fflush(stdout);
}

static void
slowfs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct slowfs *fs = slowfs_of(req);
    if (parent == FUSE_ROOT_ID && strncmp(name, CONTROL_PREFIX, strlen(CONTROL_PREFIX)) == 0) {
        atomic_store(&fs->delay_us, (unsigned)strtoul(name + strlen(CONTROL_PREFIX), NULL, 10));
        fuse_reply_err(req, ENOENT);
        return;
    }
    delay(fs);
    struct fuse_entry_param entry;
    struct node *node;
    pthread_mutex_lock(&fs->lock);
    HASH_FIND_STR(node_of(fs, parent)->children, name, node);
    if (node)
        entry = node_entry(fs, node);
    pthread_mutex_unlock(&fs->lock);
    if (node)
        fuse_reply_entry(req, &entry);
    else
        fuse_reply_err(req, ENOENT);
}

static void
slowfs_forget(fuse_req_t req, fuse_ino_t inode, uint64_t lookups)
{
    struct slowfs *fs = slowfs_of(req);
    if (inode != FUSE_ROOT_ID) {
        struct node *node = node_of(fs, inode);
        pthread_mutex_lock(&fs->lock);
        node->lookups -= lookups;
        node_free_if_unused(node);
        pthread_mutex_unlock(&fs->lock);
    }
    fuse_reply_none(req);
}

static void
slowfs_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)info;
    struct slowfs *fs = slowfs_of(req);
    delay(fs);
    struct stat attributes = node_stat(fs, node_of(fs, inode));
    fuse_reply_attr(req, &attributes, 0);
}

static void
slowfs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct slowfs *fs = slowfs_of(req);
    delay(fs);
    struct node *fresh = calloc(1, sizeof *fresh);
    char *copy = strdup(name);
    struct fuse_entry_param entry = {0};
    struct node *found = NULL;
    if (fresh && copy) {
        *fresh = (struct node){.parent = node_of(fs, parent), .name = copy, .mode = mode & 07777};
        pthread_mutex_lock(&fs->lock);
        HASH_FIND_STR(fresh->parent->children, name, found);
        if (!found) {
            HASH_ADD_KEYPTR(hh, fresh->parent->children, copy, strlen(copy), fresh);
            entry = node_entry(fs, fresh);
        }
        pthread_mutex_unlock(&fs->lock);
    }
    if (entry.ino != 0) {
        fuse_reply_entry(req, &entry);
        return;
    }
    fuse_reply_err(req, found ? EEXIST : ENOMEM);
    free(copy);
    free(fresh);
}

static void
slowfs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct slowfs *fs = slowfs_of(req);
    delay(fs);
    int result = ENOENT;
    struct node *directory = node_of(fs, parent), *node;
    pthread_mutex_lock(&fs->lock);
    HASH_FIND_STR(directory->children, name, node);
    if (node && node->children) {
        result = ENOTEMPTY;
    } else if (node) {
        HASH_DEL(directory->children, node);
        node->removed = true;
        node_free_if_unused(node);
        result = 0;
    }
    pthread_mutex_unlock(&fs->lock);
    fuse_reply_err(req, result);
}

static const struct fuse_lowlevel_ops operations = {
    .init = slowfs_init,
    .lookup = slowfs_lookup,
    .forget = slowfs_forget,
    .getattr = slowfs_getattr,
    .mkdir = slowfs_mkdir,
    .rmdir = slowfs_rmdir,
};

static void
tree_free(struct node *node)
{
    struct node *child, *next;
    HASH_ITER(hh, node->children, child, next)
    {
        HASH_DEL(node->children, child);
        tree_free(child);
        free(child->name);
        free(child);
    }
}

/* Serves at `where` until a signal ends it or it is unmounted. */
static int
serve(struct slowfs *fs, const char *where)
{
    char *words[] = {(char[]){"gcs-bench"}, (char[]){"-ofsname=gcs-bench-slowfs,default_permissions"}, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(2, words);
    fs->session = fuse_session_new(&args, &operations, sizeof operations, fs);
    if (!fs->session)
        return 1;
    int result = 1;
    if (fuse_set_signal_handlers(fs->session) == 0) {
        if (fuse_session_mount(fs->session, where) == 0) {
            struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = THREADS_IDLE};
            result = fuse_session_loop_mt(fs->session, &config) < 0;
            fuse_session_unmount(fs->session);
        }
        fuse_remove_signal_handlers(fs->session);
    }
    fuse_session_destroy(fs->session);
    fuse_opt_free_args(&args);
    return result;
}

struct arguments {
    unsigned delay_us;
    const char *where;
};

static error_t
option_parse(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    char *end;
    switch (key) {
    case 'd':
        arguments->delay_us = (unsigned)strtoul(value, &end, 10);
        if (*end != '\0' || end == value)
            argp_error(state, "--delay-us takes a number, not '%s'", value);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->where)
            argp_usage(state);
        arguments->where = value;
        return 0;
    case ARGP_KEY_END:
        if (!arguments->where)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int
bench_slowfs(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"delay-us", 'd', "N", 0, "Microseconds that each operation takes (1000)", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = option_parse,
        .args_doc = "DIRECTORY",
        .doc =
            "Serves an empty file system at DIRECTORY, through FUSE, until it is unmounted or interrupted.",
    };
    struct arguments arguments = {.delay_us = 1000};
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    struct slowfs fs = {.lock = PTHREAD_MUTEX_INITIALIZER, .root = {.mode = 0755}};
    atomic_store(&fs.delay_us, arguments.delay_us);
    int result = serve(&fs, arguments.where);
    tree_free(&fs.root);
    return result;
}
