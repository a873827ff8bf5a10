#include "server/mounts/directory_owed.h"

#include <stdlib.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/mounts/directory_hold.h"
#include "server/mounts/sandbox_root_fields.h"

/* A note that cannot be written costs a successor a look at a name that is gone: no failure. */
static void
note_gone(struct sandbox_root *root, const struct directory *directory)
{
    struct journal_line line = JOURNAL_LINE_EMPTY;
    struct error ignored;
    journal_line_add(&line, NOTE_GONE, directory->path);
    enum status status = directory_journal_write(root->journal, &line, &ignored);
    (void)status;
}

static size_t
owed_count(const struct directory_table *table) REQUIRES(table->lock)
{
    return table->owed + table->contents_count;
}

static void
note_owed(struct directory_table *table) REQUIRES(table->lock)
{
    if (table->owed_since_ns == 0)
        table->owed_since_ns = clock_now_ns();
}

/*
 * What to do about a directory that is not empty, so that it stays: if something is owed, that may be what is
 * in it, and then it is owed as well. Whoever tries again goes from the deepest upwards, so for him only what
 * he could not do counts.
 */
static bool
may_empty_yet(struct directory_table *table, bool trying_again)
{
    mutex_lock(&table->lock);
    bool may = owed_count(table) > 0 || (table->trying && !trying_again);
    mutex_unlock(&table->lock);
    return may;
}

static void
owe_directory(struct directory_table *table, struct directory *directory)
{
    mutex_lock(&table->lock);
    directory->removing = false;
    table->removing--;
    pthread_cond_broadcast(&table->removed);
    directory->owed = true;
    table->owed++;
    note_owed(table);
    mutex_unlock(&table->lock);
}

/* Takes over what is left of the removal, whose failure `err` tells. */
static enum status
owe_contents(struct directory_table *table, struct directory_removal *removal, struct error *err)
{
    struct owed_contents *contents = malloc(sizeof *contents);
    bool owed = false;
    mutex_lock(&table->lock);
    if (contents && table->contents_count < LIMIT_OWED_CONTENTS) {
        *contents = (struct owed_contents){.removal = *removal};
        LL_APPEND(table->contents, contents);
        table->contents_count++;
        note_owed(table);
        owed = true;
    }
    mutex_unlock(&table->lock);
    if (owed)
        return STATUS_OK;
    free(contents);
    fd_closep(&removal->parent_fd);
    err->status = STATUS_DATA_LOSS;
    return STATUS_DATA_LOSS;
}

static enum status
take_away(struct sandbox_root *root, struct directory *directory, bool remove, bool tell, bool trying_again,
          struct error *err)
{
    struct directory_table *table = &root->table;
    struct directory_removal removal = DIRECTORY_REMOVAL_EMPTY;
    enum status begun = STATUS_OK;
    if (remove)
        begun =
            directory_removal_begin(root, directory->path, directory->name, directory->used, &removal, err);
    if (begun == STATUS_RESOURCE_EXHAUSTED || (removal.stays && may_empty_yet(table, trying_again))) {
        owe_directory(table, directory);
        return STATUS_OK;
    }
    if (tell && begun == STATUS_OK)
        note_gone(root, directory);
    mutex_lock(&table->lock);
    directory_table_forget(table, directory);
    mutex_unlock(&table->lock);
    enum status ended = directory_removal_end(&removal, err);
    if (ended == STATUS_RESOURCE_EXHAUSTED)
        ended = owe_contents(table, &removal, err);
    return begun != STATUS_OK ? begun : ended;
}

enum status
directory_take_away(struct sandbox_root *root, struct directory *directory, bool remove, bool tell,
                    struct error *err)
{
    return take_away(root, directory, remove, tell, false, err);
}

enum status
directory_owed_check(struct directory_table *table, const struct sandbox_path *sources, size_t count,
                     struct error *err)
{
    for (size_t i = 0; i < count && table->owed > 0; i++) {
        for (unsigned depth = 1; depth <= sources[i].depth; depth++) {
            unsigned hash;
            const struct directory *directory = directory_table_find(table, &sources[i], depth, &hash);
            if (directory && directory->owed && directory->used)
                return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                                 "'sandbox:///%s' of a deleted container could not be removed yet",
                                 directory->path);
        }
    }
    return STATUS_OK;
}

void
directory_first_failure(enum status ended, const struct error *why, enum status *status, struct error *err)
{
    if (ended == STATUS_OK || *status == STATUS_DATA_LOSS ||
        (*status != STATUS_OK && ended != STATUS_DATA_LOSS))
        return;
    *status = ended;
    *err = *why;
}

void
directory_owed_forgive(struct directory_table *table, struct directory *directory)
{
    directory->owed = false;
    table->owed--;
}

/* -- trying again -- */

/* What one try takes upon itself. */
struct attempt {
    struct owed_contents *contents;
    struct directory **directories; /* NULL: none, or no memory to list them */
    size_t count;
};

/* What lies in a directory has a longer path and comes before it. */
static int
compare_lengths(const void *left, const void *right)
{
    const struct directory *const *a = left, *const *b = right;
    return (int)(*b)->length - (int)(*a)->length;
}

/* False: nothing is owed, or somebody is at it. */
static bool
attempt_begin(struct directory_table *table, struct attempt *attempt)
{
    struct directory *directory, *next;
    *attempt = (struct attempt){0};
    mutex_lock(&table->lock);
    bool begins = !table->trying && owed_count(table) > 0;
    if (begins) {
        table->trying = true;
        attempt->contents = TAKE_PTR(table->contents);
        attempt->directories = calloc(table->owed + 1, sizeof(struct directory *));
    }
    if (attempt->directories) {
        HASH_ITER(hh, table->directories, directory, next)
        {
            if (!directory->owed)
                continue;
            directory_owed_forgive(table, directory);
            directory->removing = true;
            table->removing++;
            attempt->directories[attempt->count++] = directory;
        }
    }
    mutex_unlock(&table->lock);
    if (attempt->count > 1)
        qsort(attempt->directories, attempt->count, sizeof(struct directory *), compare_lengths);
    return begins;
}

/* Tries one. What fails for good is owed no longer. */
static enum status
contents_try(struct directory_table *table, struct owed_contents *contents, struct error *err)
{
    enum status status = directory_removal_end(&contents->removal, err);
    mutex_lock(&table->lock);
    if (status == STATUS_RESOURCE_EXHAUSTED) {
        LL_APPEND(table->contents, contents);
        contents = NULL;
        status = STATUS_OK;
    } else {
        table->contents_count--;
    }
    mutex_unlock(&table->lock);
    free(contents);
    return status;
}

static enum status
attempt_end(struct sandbox_root *root, struct error *err)
{
    struct directory_table *table = &root->table;
    mutex_lock(&table->lock);
    table->trying = false;
    size_t left = owed_count(table);
    int64_t now_ns = clock_now_ns();
    bool over = left > 0 && now_ns - table->owed_since_ns >= root->options.owed_ms * NS_PER_MS;
    if (left == 0)
        table->owed_since_ns = 0;
    else if (over)
        table->owed_since_ns = now_ns; /* it is told again as often */
    mutex_unlock(&table->lock);
    if (!over)
        return STATUS_OK;
    return error_set(err, STATUS_DATA_LOSS, 0,
                     "%zu sandbox directories could not be removed for %u ms: no descriptors or memory", left,
                     root->options.owed_ms);
}

enum status
directory_holds_retry(struct sandbox_root *root, struct error *err)
{
    struct attempt attempt;
    struct owed_contents *contents, *next;
    struct error later;
    enum status status = STATUS_OK;
    if (!attempt_begin(&root->table, &attempt))
        return STATUS_OK;
    LL_FOREACH_SAFE(attempt.contents, contents, next)
    {
        contents->next = NULL;
        directory_first_failure(contents_try(&root->table, contents, &later), &later, &status, err);
    }
    for (size_t i = 0; i < attempt.count; i++)
        directory_first_failure(
            take_away(root, attempt.directories[i], true, root->journal != NULL, true, &later), &later,
            &status, err);
    directory_first_failure(attempt_end(root, &later), &later, &status, err);
    free(attempt.directories);
    return status;
}

size_t
directory_holds_owed(struct sandbox_root *root)
{
    mutex_lock(&root->table.lock);
    size_t count = owed_count(&root->table);
    mutex_unlock(&root->table.lock);
    return count;
}

void
directory_owed_done(struct sandbox_root *root)
{
    struct error ignored;
    struct owed_contents *contents, *next;
    enum status status = directory_holds_retry(root, &ignored);
    (void)status;
    mutex_lock(&root->table.lock);
    LL_FOREACH_SAFE(root->table.contents, contents, next)
    {
        fd_closep(&contents->removal.parent_fd);
        free(contents);
    }
    root->table.contents = NULL;
    root->table.contents_count = 0;
    mutex_unlock(&root->table.lock);
}
