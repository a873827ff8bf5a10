#include "tests/faults/snapshot.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/faults/guest.h"

enum { LINES_MAX = 4096 };

struct lines {
    char *list[LINES_MAX];
    size_t count;
};

/* nftw(3) gives its callback no argument. */
static _Thread_local struct lines *walk_lines;

__attribute__((format(printf, 2, 3))) static void
line_add(struct lines *lines, const char *format, ...)
{
    va_list list;
    assert_true(lines->count < LINES_MAX);
    va_start(list, format);
    int length = vasprintf(&lines->list[lines->count], format, list);
    va_end(list);
    assert_true(length >= 0);
    lines->count++;
}

static int
entry_add(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)kind, (void)walk;
    line_add(walk_lines, "entry %s %06o", path, (unsigned)info->st_mode);
    return 0;
}

static void
tree_add(struct lines *lines, const char *path)
{
    walk_lines = lines;
    nftw(path, entry_add, 16, FTW_PHYS | FTW_MOUNT);
}

/* What each descriptor is, without the numbers that differ from one socket or pipe to the next. */
static void
descriptors_add(struct lines *lines, const char *name, const struct program *program)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)program->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char target[256] = "";
        ssize_t length = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        if (length < 0)
            continue;
        char *number = strstr(target, ":[");
        if (number && target[0] != 'a')
            number[1] = '\0';
        line_add(lines, "%s descriptor %s", name, target);
    }
    closedir(dir);
    line_add(lines, "%s threads %zu", name, process_resources(program->pid).threads);
}

static void
mounts_add(struct lines *lines, const char *directory)
{
    char *line = NULL, point[4096], type[64];
    size_t size = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    assert_non_null(file);
    while (getline(&line, &size, file) > 0) {
        const char *after = strstr(line, " - ");
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) == 1 && after &&
            sscanf(after, " - %63s", type) == 1 && strncmp(point, directory, strlen(directory)) == 0)
            line_add(lines, "mount %s %s", point, type);
    }
    free(line);
    fclose(file);
}

/* The guest's ends of adapters. */
static void
interfaces_add(struct lines *lines)
{
    char line[256], name[64];
    FILE *file = fopen("/proc/self/net/dev", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, " %63[^:]:", name) == 1 && strncmp(name, "gcs", 3) == 0)
            line_add(lines, "interface %s", name);
    fclose(file);
}

static int
line_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *
snapshot_take(const struct guest *guest)
{
    struct lines *lines = calloc(1, sizeof *lines);
    assert_non_null(lines);
    struct host_health health = host_health(guest->host);
    line_add(lines, "containers %" PRIu32 "%s%s", health.containers,
             health.inconsistent ? ", inconsistent" : "", health.inbox_connected ? "" : ", no inbox");
    tree_add(lines, guest->run_dir);
    tree_add(lines, guest->sandbox);
    tree_add(lines, guest->volumes);
    mounts_add(lines, guest->directory);
    interfaces_add(lines);
    descriptors_add(lines, "sidecar", &guest->sidecar);
    descriptors_add(lines, "inbox", &guest->inbox);
    qsort(lines->list, lines->count, sizeof lines->list[0], line_compare);

    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (size_t i = 0; i < lines->count; i++) {
        fprintf(out, "%s\n", lines->list[i]);
        free(lines->list[i]);
    }
    assert_int_equal(0, fclose(out));
    free(lines);
    return text;
}

static void
line_print(char sign, const char *line)
{
    print_message("    %c %.*s\n", sign, (int)strcspn(line, "\n"), line);
}

static const char *
line_next(const char *line)
{
    return line + strcspn(line, "\n") + 1;
}

/* Both are sorted, so one walk over both finds what only one has. */
static void
difference_print(const char *before, const char *after)
{
    while (*before || *after) {
        size_t length = strcspn(before, "\n"), other = strcspn(after, "\n");
        int order = *before == '\0'  ? 1
                    : *after == '\0' ? -1
                                     : strncmp(before, after, length < other ? length : other);
        if (order == 0 && length != other)
            order = length < other ? -1 : 1;
        if (order < 0)
            line_print('-', before);
        else if (order > 0)
            line_print('+', after);
        before = order <= 0 ? line_next(before) : before;
        after = order >= 0 ? line_next(after) : after;
    }
}

void
snapshot_await(const struct guest *guest, const char *before, const char *what)
{
    int64_t deadline_ns = clock_now_ns() + GATE_PATIENCE_NS;
    for (;;) {
        char *now = snapshot_take(guest);
        bool same = strcmp(before, now) == 0;
        bool over = clock_now_ns() >= deadline_ns;
        if (!same && over) {
            print_message("after %s (- was, + is):\n", what);
            difference_print(before, now);
            program_print_log(&guest->sidecar);
            program_print_log(&guest->inbox);
        }
        free(now);
        if (same)
            return;
        if (over)
            fail_msg("the guest is not as it was before %s", what);
    }
}
