#include "server/mounts/directory_hold.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/mounts/directory_owed.h"
#include "server/mounts/directory_plan.h"
#include "server/mounts/sandbox_root_fields.h"

struct hold_entry {
    struct directory *directory;
    bool named; /* by a mount source */
};

struct directory_hold {
    struct sandbox_root *root;
    size_t count;
    struct hold_entry entries[]; /* a directory comes after the one it lies in; none comes twice */
};

enum end {
    END_UNDO,    /* the request failed */
    END_RELEASE, /* the container was deleted */
    END_FORGET,  /* we end, the container goes on */
};

static void
nodes_freep(struct directory_node **nodes)
{
    free(*nodes);
}

/*
 * Adds what is missing of `source` to the tree in `nodes`, whose entry i + 1 stands for the hold's entry i,
 * and holds it. The tree is built within one critical section, so the table itself can tell which of its
 * entries the tree has already: those that carry the number of this visit.
 */
static enum status
source_add(struct directory_table *table, struct directory_hold *hold, struct directory_node *nodes,
           const struct sandbox_path *source, struct error *err) REQUIRES(table->lock)
{
    struct directory *found[LIMIT_MOUNT_DEPTH];
    unsigned hash[LIMIT_MOUNT_DEPTH];
    struct directory_node *node = &nodes[0];
    unsigned depth = source->depth;
    for (; depth > 0; depth--) {
        struct directory *directory = directory_table_find(table, source, depth, &hash[depth - 1]);
        if (directory && directory->visit == table->visits) {
            node = &nodes[directory->visitor];
            break;
        }
        found[depth - 1] = directory;
    }
    for (; depth < source->depth; depth++) {
        struct directory *directory = found[depth];
        if (!directory)
            directory = directory_table_add(table, source, depth + 1, hash[depth]);
        if (!directory)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to hold '%s'", source->text);
        if (directory->owed)
            directory_owed_forgive(table, directory);
        directory->holds++;
        directory->runs++;
        hold->entries[hold->count++] = (struct hold_entry){.directory = directory};
        directory->visit = table->visits;
        directory->visitor = hold->count;
        struct directory_node *child = &nodes[hold->count];
        child->path = directory->path;
        child->name = directory->name;
        child->fd = -1;
        directory_node_append(node, child);
        node = child;
    }
    node->named = true;
    return STATUS_OK;
}

/* Holds all of the sources and builds their tree. Notes in `line` what the tree's run may make. */
static enum status
sources_hold(struct directory_hold *hold, struct directory_node *nodes, const struct sandbox_path *sources,
             size_t count, struct journal_line *line, struct error *err)
{
    struct directory_table *table = &hold->root->table;
    enum status status = STATUS_OK;
    mutex_lock(&table->lock);
    directory_table_settle(table, sources, count);
    status = directory_owed_check(table, sources, count, err);
    table->visits++;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = source_add(table, hold, nodes, &sources[i], err);
    for (size_t i = 0; i < hold->count && hold->root->journal; i++) {
        if (!hold->entries[i].directory->known)
            journal_line_add(line, NOTE_MAY_MAKE, hold->entries[i].directory->path);
    }
    mutex_unlock(&table->lock);
    return status;
}

/*
 * Notes in the table, in the hold and in `line` what the run, which ended with `outcome`, has done. What
 * several runs may have made was found only when the last of them says so.
 */
static void
run_note(struct directory_hold *hold, const struct directory_node *nodes, enum status outcome,
         struct journal_line *line)
{
    struct directory_table *table = &hold->root->table;
    uint64_t made = 0;
    mutex_lock(&table->lock);
    for (size_t i = 0; i < hold->count; i++) {
        struct directory *directory = hold->entries[i].directory;
        bool was_known = directory->known;
        hold->entries[i].named = nodes[i + 1].named;
        directory->runs--;
        if (nodes[i + 1].made) {
            directory->made = directory->known = true;
            directory->leaf = nodes[i + 1].named;
            made++;
        } else if (outcome == STATUS_OK && directory->runs == 0) {
            directory->known = true;
        }
        if (!hold->root->journal)
            continue;
        if (nodes[i + 1].made && directory->leaf)
            journal_line_add(line, NOTE_MADE, directory->path);
        else if (directory->known && !was_known && !directory->made)
            journal_line_add(line, NOTE_FOUND, directory->path);
    }
    mutex_unlock(&table->lock);
    atomic_fetch_add_explicit(&hold->root->made, made, memory_order_relaxed);
}

/* What is to be done about a directory when a hold on it has ended. */
struct parting {
    bool remove;
    bool tell; /* the journal has a note about it that is to be taken back */
};

/* Ends the hold in the table. If something is to be done, the entry stays, as being removed, until it is. */
static struct parting
entry_unhold(struct sandbox_root *root, const struct hold_entry *entry, enum end how)
{
    struct directory_table *table = &root->table;
    struct directory *directory = entry->directory;
    mutex_lock(&table->lock);
    bool noted = root->journal && (directory->made || !directory->known);
    bool inherited = how == END_FORGET && noted;
    if (how == END_FORGET || (how == END_RELEASE && root->options.keep))
        directory->made = inherited && directory->made; /* else it is as if it had been there before us */
    if (how == END_RELEASE && entry->named)
        directory->used = true;
    bool last = --directory->holds == 0;
    struct parting parting = {.remove = last && directory->made && !inherited,
                              .tell = last && noted && !inherited};
    if (parting.remove || parting.tell) {
        directory->removing = true;
        table->removing++;
    } else if (last && !inherited) {
        directory_table_forget(table, directory);
    }
    mutex_unlock(&table->lock);
    return parting;
}

/* Ends the hold on one directory; removes it if that was the last one and it is ours to remove. */
static enum status
entry_end(struct sandbox_root *root, const struct hold_entry *entry, enum end how, struct error *err)
{
    struct parting parting = entry_unhold(root, entry, how);
    if (!parting.remove && !parting.tell)
        return STATUS_OK;
    return directory_take_away(root, entry->directory, parting.remove, parting.tell, err);
}

/* Ends the hold, deepest directories first. */
static enum status
hold_end(struct directory_hold *hold, enum end how, struct error *err)
{
    if (!hold)
        return STATUS_OK;
    enum status status = STATUS_OK;
    struct error later;
    /* An ancestor is held until all below it has gone: whoever ends the last hold on it finds it empty. */
    for (size_t i = hold->count; i > 0; i--)
        directory_first_failure(entry_end(hold->root, &hold->entries[i - 1], how, &later), &later, &status,
                                err);
    free(hold);
    return status;
}

enum status
directory_hold_undo(struct directory_hold *hold, struct error *err)
{
    return hold_end(hold, END_UNDO, err);
}

enum status
directory_hold_release(struct directory_hold *hold, struct error *err)
{
    return hold_end(hold, END_RELEASE, err);
}

void
directory_hold_forget(struct directory_hold *hold)
{
    struct error never; /* nothing is removed, so nothing fails */
    enum status status = hold_end(hold, END_FORGET, &never);
    assert(status == STATUS_OK);
    (void)status;
}

/* Undoes a hold whose making failed with `status` and `err`; returns what the caller is told. */
static enum status
make_failed(struct directory_hold *hold, enum status status, struct error *err)
{
    struct error undo;
    if (directory_hold_undo(hold, &undo) == STATUS_OK)
        return status;
    error_prefix(&undo, "%s; and the undo failed: ", err->text);
    *err = undo;
    return STATUS_DATA_LOSS;
}

/* Memory for a hold on the sources, and for their tree. */
static enum status
hold_new(struct sandbox_root *root, const struct sandbox_path *sources, size_t count,
         struct directory_hold **ret, struct directory_node **ret_nodes, struct error *err)
{
    if (count > LIMIT_MOUNTS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%zu sandbox mounts, the limit is %d", count,
                         LIMIT_MOUNTS);
    size_t entries_max = 0;
    for (size_t i = 0; i < count; i++)
        entries_max += sources[i].depth;
    *ret_nodes = calloc(entries_max + 1, sizeof **ret_nodes);
    *ret = calloc(1, sizeof **ret + entries_max * sizeof(*ret)->entries[0]);
    if (!*ret_nodes || !*ret) {
        free(*ret);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu sandbox mounts", count);
    }
    (*ret)->root = root;
    return STATUS_OK;
}

/* Announces what may be made, makes it, and tells what was. */
static enum status
hold_run(struct directory_hold *hold, struct pool *pool, struct directory_node *nodes,
         struct journal_line *line, struct error *err)
{
    struct sandbox_root *root = hold->root;
    enum status status = directory_journal_write(root->journal, line, err);
    if (status == STATUS_OK)
        status = directory_plan_run(root, pool, nodes, hold->count + 1, err);
    run_note(hold, nodes, status, line);
    struct error later;
    enum status told = directory_journal_write(root->journal, line, &later);
    if (status != STATUS_OK || told == STATUS_OK)
        return status;
    *err = later;
    return told;
}

enum status
directory_hold_make(struct sandbox_root *root, struct pool *pool, const struct sandbox_path *sources,
                    size_t count, struct directory_hold **ret, struct error *err)
{
    CLEANUP(nodes_freep)
    struct directory_node *nodes = NULL;
    struct directory_hold *hold;
    struct journal_line line = JOURNAL_LINE_EMPTY;
    struct error owed;
    if (directory_holds_retry(root, &owed) == STATUS_DATA_LOSS) {
        *err = owed;
        return STATUS_DATA_LOSS;
    }
    TRY(hold_new(root, sources, count, &hold, &nodes, err));
    enum status status = sources_hold(hold, nodes, sources, count, &line, err);
    if (status == STATUS_OK)
        status = hold_run(hold, pool, nodes, &line, err);
    else
        run_note(hold, nodes, status, &line);
    journal_line_done(&line);
    if (status != STATUS_OK)
        return make_failed(hold, status, err);
    *ret = hold;
    return STATUS_OK;
}

/* -- what predecessors left -- */

enum status
directory_hold_adopt(struct sandbox_root *root, const struct sandbox_path *sources, size_t count,
                     struct directory_hold **ret, struct error *err)
{
    CLEANUP(nodes_freep)
    struct directory_node *nodes = NULL;
    struct directory_hold *hold;
    struct journal_line none = JOURNAL_LINE_EMPTY;
    TRY(hold_new(root, sources, count, &hold, &nodes, err));
    enum status status = sources_hold(hold, nodes, sources, count, &none, err);
    journal_line_done(&none);
    run_note(hold, nodes, status, &none); /* a run that found everything */
    journal_line_done(&none);
    if (status != STATUS_OK)
        return make_failed(hold, status, err);
    *ret = hold;
    return STATUS_OK;
}

static int
compare_lengths(const void *left, const void *right)
{
    const struct hold_entry *a = left, *b = right;
    return (int)a->directory->length - (int)b->directory->length;
}

/* A hold on everything that nobody holds; NULL without memory. */
static struct directory_hold *
hold_unheld(struct sandbox_root *root)
{
    struct directory_table *table = &root->table;
    struct directory *directory, *next;
    mutex_lock(&table->lock);
    struct directory_hold *hold =
        calloc(1, sizeof *hold + HASH_COUNT(table->directories) * sizeof hold->entries[0]);
    HASH_ITER(hh, table->directories, directory, next)
    {
        if (!hold || directory->holds > 0 || directory->removing || directory->owed)
            continue;
        directory->holds = 1;
        hold->entries[hold->count++] = (struct hold_entry){.directory = directory};
    }
    mutex_unlock(&table->lock);
    if (hold) {
        hold->root = root;
        /* What lies in a directory has a longer path. */
        qsort(hold->entries, hold->count, sizeof hold->entries[0], compare_lengths);
    }
    return hold;
}

/* Looks for what predecessors renamed and did not come to remove, where that can be: in the root, and in what
 * they have made on the way to sources. */
static enum status
renamed_sweep(struct sandbox_root *root, struct error *err)
{
    struct directory_table *table = &root->table;
    struct directory *directory, *next;
    size_t count = 0;
    mutex_lock(&table->lock);
    char **paths = calloc(HASH_COUNT(table->directories) + 1, sizeof *paths);
    HASH_ITER(hh, table->directories, directory, next)
    {
        if (paths && directory->made && !directory->leaf && (paths[count] = strdup(directory->path)))
            count++; /* one that there was no memory for stays for the next successor */
    }
    mutex_unlock(&table->lock);
    enum status status = directory_removal_sweep(root, ".", err);
    for (size_t i = 0; i < count; i++) {
        struct error later;
        directory_first_failure(directory_removal_sweep(root, paths[i], &later), &later, &status, err);
        free(paths[i]);
    }
    free(paths);
    return status;
}

enum status
directory_holds_sweep(struct sandbox_root *root, size_t *ret_count, struct error *err)
{
    struct directory_hold *hold = hold_unheld(root);
    if (!hold)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to sweep the sandbox root");
    *ret_count = hold->count;
    bool looks =
        root->journal && !root->options.keep; /* else there was no predecessor, or it removed nothing */
    enum status status = looks ? renamed_sweep(root, err) : STATUS_OK;
    struct error later;
    directory_first_failure(directory_hold_release(hold, &later), &later, &status, err);
    return status;
}
