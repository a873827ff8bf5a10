#include "tests/unit/mounts/sandbox_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned
descriptors_open(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

int
fixture_setup(void **state)
{
    struct sandbox_fixture *fixture = calloc(1, sizeof *fixture);
    if (!fixture)
        return -1;
    umask(0);
    fixture->descriptors = descriptors_open();
    snprintf(fixture->base, sizeof fixture->base, "/tmp/gcs-mounts-XXXXXX");
    if (!mkdtemp(fixture->base)) {
        free(fixture);
        return -1;
    }
    snprintf(fixture->root_path, sizeof fixture->root_path, "%s/root", fixture->base);
    arena_init(&fixture->arena, 16 << 20);
    struct sandbox_root_options options = SANDBOX_ROOT_OPTIONS_DEFAULT;
    if (sandbox_root_open(fixture->root_path, &options, &fixture->root, &fixture->err) != STATUS_OK ||
        pool_start(4, 64, &fixture->pool, &fixture->err) != STATUS_OK) {
        fprintf(stderr, "%s\n", fixture->err.text);
        return -1;
    }
    *state = fixture;
    return 0;
}

static int
entry_delete(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

int
fixture_teardown(void **state)
{
    struct sandbox_fixture *fixture = *state;
    pool_stop(fixture->pool);
    sandbox_root_free(fixture->root);
    arena_done(&fixture->arena);
    int result = nftw(fixture->base, entry_delete, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (descriptors_open() != fixture->descriptors) {
        fprintf(stderr, "descriptors leaked: %u before, %u after\n", fixture->descriptors,
                descriptors_open());
        result = -1;
    }
    free(fixture);
    return result;
}

void
fixture_reopen(struct sandbox_fixture *fixture, const struct sandbox_root_options *options)
{
    sandbox_root_free(fixture->root);
    fixture->root = NULL;
    assert_int_equal(sandbox_root_open(fixture->root_path, options, &fixture->root, &fixture->err),
                     STATUS_OK);
}

struct sandbox_path
fixture_path(struct sandbox_fixture *fixture, const char *source)
{
    struct sandbox_path path;
    if (sandbox_path_parse(&fixture->arena, source, strlen(source), &path, &fixture->err) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
    return path;
}

enum status
fixture_make(struct sandbox_fixture *fixture, const char *sources, struct directory_hold **ret)
{
    struct sandbox_path paths[LIMIT_MOUNTS + 1];
    size_t count = 0;
    char *words = arena_strndup(&fixture->arena, sources, strlen(sources));
    char *rest = NULL;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
        paths[count++] = fixture_path(fixture, word);
    return directory_hold_make(fixture->root, fixture->pool, paths, count, ret, &fixture->err);
}

struct directory_hold *
fixture_hold(struct sandbox_fixture *fixture, const char *sources)
{
    struct directory_hold *hold = NULL;
    if (fixture_make(fixture, sources, &hold) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
    return hold;
}

void
fixture_undo(struct sandbox_fixture *fixture, struct directory_hold *hold)
{
    if (directory_hold_undo(hold, &fixture->err) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
}

void
fixture_release(struct sandbox_fixture *fixture, struct directory_hold *hold)
{
    if (directory_hold_release(hold, &fixture->err) != STATUS_OK)
        fail_msg("%s", fixture->err.text);
}

static void
tree_add(struct sandbox_fixture *fixture, const char *relative)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", fixture->root_path, relative);
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            char below[4100];
            snprintf(below, sizeof below, "%s%s%s", relative, relative[0] ? "/" : "", name);
            unsigned char type = entries[i]->d_type;
            size_t used = strlen(fixture->tree);
            snprintf(fixture->tree + used, sizeof fixture->tree - used, "%s%s%s", used ? " " : "", below,
                     type == DT_DIR   ? "/"
                     : type == DT_LNK ? "@"
                                      : "");
            if (type == DT_DIR)
                tree_add(fixture, below);
        }
        free(entries[i]);
    }
    free(entries);
}

const char *
fixture_tree(struct sandbox_fixture *fixture)
{
    fixture->tree[0] = '\0';
    tree_add(fixture, "");
    return fixture->tree;
}

static const char *
below_root(struct sandbox_fixture *fixture, const char *relative)
{
    char path[4200];
    int length = snprintf(path, sizeof path, "%s/%s", fixture->root_path, relative);
    return arena_strndup(&fixture->arena, path, (size_t)length);
}

unsigned
fixture_mode(struct sandbox_fixture *fixture, const char *relative)
{
    struct stat info;
    assert_int_equal(lstat(below_root(fixture, relative), &info), 0);
    return info.st_mode & 07777;
}

void
fixture_mkdir(struct sandbox_fixture *fixture, const char *relative, unsigned mode)
{
    assert_int_equal(mkdir(below_root(fixture, relative), mode), 0);
}

void
fixture_file(struct sandbox_fixture *fixture, const char *relative, const char *text)
{
    FILE *file = fopen(below_root(fixture, relative), "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

void
fixture_link(struct sandbox_fixture *fixture, const char *target, const char *relative)
{
    assert_int_equal(symlink(target, below_root(fixture, relative)), 0);
}
