#include "server/mounts/directory_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/arena.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

/* A file is written anew when it is larger than this and than twice what counted the last time. */
#define GROWN_BYTES (1024 * 1024)

struct directory_journal {
    struct directory_table *table;
    int parent; /* the directory it is in */
    char name[NAME_MAX + 1], new_name[NAME_MAX + 1];

    struct {
        struct mutex lock;
        int fd GUARDED;
        size_t size GUARDED, size_counted GUARDED; /* now; after it was last written anew */
    } file;                                        /* lock guards its neighbours and the file's contents */
};

/* -- lines -- */

void
journal_line_add(struct journal_line *line, enum journal_note note, const char *path)
{
    size_t length = strlen(path), needed = line->used + length + 2;
    if (needed > line->size && !line->failed) {
        size_t size = needed < 512 ? 1024 : 2 * needed;
        char *text = realloc(line->text, size);
        line->failed = !text;
        if (text) {
            line->text = text;
            line->size = size;
        }
    }
    if (line->failed)
        return;
    line->text[line->used] = (char)note;
    memcpy(line->text + line->used + 1, path, length);
    line->used += length + 2;
    line->text[line->used - 1] = '\t';
}

void
journal_line_done(struct journal_line *line)
{
    free(line->text);
    *line = JOURNAL_LINE_EMPTY;
}

/* Writes all or nothing at the end of the file; 0 or a negative errno. */
static int
text_append(int fd, const char *text, size_t size, size_t *file_size)
{
    if (*file_size + size > LIMIT_JOURNAL_BYTES)
        return -EFBIG;
    if (fd_write_full(fd, text, size) == 0) {
        *file_size += size;
        return 0;
    }
    int error = errno;
    if (ftruncate(fd, (off_t)*file_size) < 0)
        error = errno; /* the half line stays: the next one would be part of it, so it is told as the worse */
    return -error;
}

/* -- the file anew -- */

/* What counts of the table, as one line. */
static void
table_note(struct directory_table *table, struct journal_line *line)
{
    struct directory *directory, *next;
    mutex_lock(&table->lock);
    HASH_ITER(hh, table->directories, directory, next)
    {
        if (directory->made || !directory->known)
            journal_line_add(line, directory->made && directory->leaf ? NOTE_MADE : NOTE_MAY_MAKE,
                             directory->path);
    }
    mutex_unlock(&table->lock);
}

/* Opens an empty file that nobody else writes. */
static int
new_open(struct directory_journal *journal)
{
    int fd = openat(journal->parent, journal->new_name,
                    O_CREAT | O_TRUNC | O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
        fd_closep(&fd);
    return fd;
}

/* A failure changes nothing: the old file goes on, and the next line tries again. */
static void
write_anew(struct directory_journal *journal) REQUIRES(journal->file.lock)
{
    struct journal_line line = JOURNAL_LINE_EMPTY;
    table_note(journal->table, &line);
    if (line.used > 0 && !line.failed)
        line.text[line.used - 1] = '\n';
    CLEANUP(fd_closep)
    int fd = line.failed ? -1 : new_open(journal);
    size_t size = 0;
    bool written = fd >= 0 && text_append(fd, line.text, line.used, &size) == 0;
    journal_line_done(&line);
    if (!written || renameat(journal->parent, journal->new_name, journal->parent, journal->name) < 0)
        return;
    int old = journal->file.fd;
    journal->file.fd = TAKE_FD(fd);
    journal->file.size = journal->file.size_counted = size;
    fd_closep(&old);
}

enum status
directory_journal_write(struct directory_journal *journal, struct journal_line *line, struct error *err)
{
    if (!journal || line->used == 0) {
        bool failed = line->failed;
        journal_line_done(line);
        return failed ? error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the directory journal")
                      : STATUS_OK;
    }
    int result = -ENOMEM;
    if (!line->failed) {
        line->text[line->used - 1] = '\n';
        mutex_lock(&journal->file.lock);
        result = text_append(journal->file.fd, line->text, line->used, &journal->file.size);
        if (journal->file.size > GROWN_BYTES && journal->file.size > 2 * journal->file.size_counted)
            write_anew(journal);
        mutex_unlock(&journal->file.lock);
    }
    journal_line_done(line);
    if (result < 0)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, -result, "write the directory journal '%s'",
                         journal->name);
    return STATUS_OK;
}

/* -- what predecessors left -- */

/* Brings the table up to date with one note. */
static enum status
note_apply(struct directory_table *table, struct arena *arena, const char *note, struct error *err)
{
    char source[LIMIT_PATH_BYTES + 16];
    struct sandbox_path path;
    int length = snprintf(source, sizeof source, "sandbox:///%s", note + 1);
    if (!strchr("?*=-", note[0]) || (size_t)length >= sizeof source)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "'%.64s' is no note", note);
    TRY(sandbox_path_parse(arena, source, (size_t)length, &path, err));
    unsigned hash;
    mutex_lock(&table->lock);
    struct directory *directory = directory_table_find(table, &path, path.depth, &hash);
    bool counts = note[0] == NOTE_MAY_MAKE || note[0] == NOTE_MADE;
    if (!directory && counts)
        directory = directory_table_add(table, &path, path.depth, hash);
    if (directory && counts) {
        directory->made = directory->known = true;
        if (note[0] == NOTE_MADE)
            directory->leaf = directory->used = true;
    } else if (directory) {
        directory_table_forget(table, directory);
    }
    mutex_unlock(&table->lock);
    if (counts && !directory)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for '%s'", path.text);
    return STATUS_OK;
}

static enum status
text_apply(struct directory_table *table, char *text, struct error *err)
{
    struct arena arena;
    enum status status = STATUS_OK;
    unsigned number = 1;
    for (char *line = text, *end; status == STATUS_OK && (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        char *saved = NULL;
        arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
        for (char *note = strtok_r(line, "\t", &saved); note && status == STATUS_OK;
             note = strtok_r(NULL, "\t", &saved)) {
            status = note_apply(table, &arena, note, err);
            arena_reset(&arena);
        }
        arena_done(&arena);
        if (status != STATUS_OK)
            error_prefix(err, "line %u: ", number);
        number++;
    }
    if (status == STATUS_INVALID_ARGUMENT)
        status = err->status = STATUS_FAILED_PRECONDITION;
    return status;
}

static enum status
file_read(int fd, char **ret, struct error *err)
{
    struct stat info;
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode) || info.st_uid != geteuid() || info.st_nlink != 1 ||
        (info.st_mode & 0077) != 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "it is not a file of ours alone (regular, mode 0600, one name)");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, errno, "another process uses it");
    if (info.st_size > LIMIT_JOURNAL_BYTES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "it has more than %d bytes", LIMIT_JOURNAL_BYTES);
    char *text = malloc((size_t)info.st_size + 1);
    if (!text)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for its %lld bytes",
                         (long long)info.st_size);
    ssize_t count = fd_read_full(fd, text, (size_t)info.st_size);
    if (count < 0) {
        free(text);
        return error_set(err, STATUS_INTERNAL, errno, "read it");
    }
    text[count] = '\0';
    *ret = text;
    return STATUS_OK;
}

static enum status
journal_load(struct directory_journal *journal, struct error *err) NO_LOCK_CHECK /* nobody else has it yet */
{
    char *text = NULL;
    int fd = openat(journal->parent, journal->name,
                    O_CREAT | O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, errno == ELOOP ? STATUS_FAILED_PRECONDITION : status_of_errno(errno), errno,
                         "open it");
    journal->file.fd = fd;
    TRY(file_read(fd, &text, err));
    const char *last = strrchr(text, '\n');
    journal->file.size = last ? (size_t)(last + 1 - text) : 0;
    enum status status = ftruncate(fd, (off_t)journal->file.size) == 0
                             ? text_apply(journal->table, text, err)
                             : error_set(err, STATUS_INTERNAL, errno, "cut off half a line");
    free(text);
    if (status == STATUS_OK)
        write_anew(journal);
    return status;
}

static enum status
parent_open(struct directory_journal *journal, const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || slash[1] == '\0' || strlen(slash + 1) + sizeof ".new" > sizeof journal->name ||
        slash - path > LIMIT_PATH_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "it must be an absolute path that ends in a name");
    const char *name;
    journal->parent = fd_open_parent(path, &name);
    if (journal->parent < 0)
        return error_set(err, status_of_errno(errno), errno, "open the directory it is in");
    memcpy(journal->name, name, strlen(name) + 1);
    snprintf(journal->new_name, sizeof journal->new_name, "%.250s.new", name);
    return STATUS_OK;
}

static void
journal_free(struct directory_journal *journal) NO_LOCK_CHECK /* nobody else has it any more */
{
    fd_closep(&journal->file.fd);
    fd_closep(&journal->parent);
    mutex_done(&journal->file.lock);
    free(journal);
}

enum status
directory_journal_open(const char *path, struct directory_table *table, struct directory_journal **ret,
                       struct error *err)
{
    struct directory_journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the directory journal");
    mutex_init(&journal->file.lock, RANK_JOURNAL);
    journal->table = table;
    journal->parent = -1;
    mutex_lock(&journal->file.lock);
    journal->file.fd = -1;
    mutex_unlock(&journal->file.lock);
    enum status status = parent_open(journal, path, err);
    if (status == STATUS_OK)
        status = journal_load(journal, err);
    if (status != STATUS_OK) {
        error_prefix(err, "directory journal '%.512s': ", path);
        journal_free(journal);
        return status;
    }
    *ret = journal;
    return STATUS_OK;
}

void
directory_journal_close(struct directory_journal *journal)
{
    if (!journal)
        return;
    struct journal_line line = JOURNAL_LINE_EMPTY;
    table_note(journal->table, &line);
    if (line.used == 0 && !line.failed)
        unlinkat(journal->parent, journal->name, 0);
    journal_line_done(&line);
    journal_free(journal);
}
