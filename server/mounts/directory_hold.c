#include "server/mounts/directory_hold.h"

#include <assert.h>
#include <stdlib.h>

#include "server/mounts/directory_plan.h"
#include "server/mounts/directory_remove.h"
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
        directory->holds++;
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

static enum status
sources_hold(struct directory_hold *hold, struct directory_node *nodes, const struct sandbox_path *sources,
             size_t count, struct error *err)
{
    struct directory_table *table = &hold->root->table;
    enum status status = STATUS_OK;
    mutex_lock(&table->lock);
    directory_table_settle(table, sources, count);
    table->visits++;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = source_add(table, hold, nodes, &sources[i], err);
    mutex_unlock(&table->lock);
    return status;
}

/* Notes in the table, and in the hold, what the run has done. */
static void
run_note(struct directory_hold *hold, const struct directory_node *nodes)
{
    struct directory_table *table = &hold->root->table;
    mutex_lock(&table->lock);
    for (size_t i = 0; i < hold->count; i++) {
        hold->entries[i].named = nodes[i + 1].named;
        if (nodes[i + 1].made)
            hold->entries[i].directory->made = true;
    }
    mutex_unlock(&table->lock);
}

/* Ends the hold on one directory; removes it if that was the last one and it is ours to remove. */
static enum status
entry_end(struct sandbox_root *root, const struct hold_entry *entry, enum end how, struct error *err)
{
    struct directory_table *table = &root->table;
    struct directory *directory = entry->directory;
    mutex_lock(&table->lock);
    if (how == END_FORGET || (how == END_RELEASE && root->options.keep))
        directory->made = false; /* from now on it is as if it had been there before us */
    if (how == END_RELEASE && entry->named)
        directory->used = true;
    bool last = --directory->holds == 0;
    bool remove = last && directory->made;
    if (remove) {
        directory->removing = true;
        table->removing++;
    } else if (last) {
        directory_table_forget(table, directory);
    }
    mutex_unlock(&table->lock);
    if (!remove)
        return STATUS_OK;

    struct directory_removal removal;
    enum status begun =
        directory_removal_begin(root, directory->path, directory->name, directory->used, &removal, err);
    mutex_lock(&table->lock);
    directory_table_forget(table, directory);
    mutex_unlock(&table->lock);
    enum status ended = directory_removal_end(&removal, err);
    return begun != STATUS_OK ? begun : ended;
}

/* Ends the hold, deepest directories first; the first failure is told, a loss before others. */
static enum status
hold_end(struct directory_hold *hold, enum end how, struct error *err)
{
    if (!hold)
        return STATUS_OK;
    enum status status = STATUS_OK;
    struct error later;
    /* An ancestor is held until all below it has gone: whoever ends the last hold on it finds it empty. */
    for (size_t i = hold->count; i > 0; i--) {
        enum status ended = entry_end(hold->root, &hold->entries[i - 1], how, &later);
        if (ended != STATUS_OK && (status == STATUS_OK || ended == STATUS_DATA_LOSS) &&
            status != STATUS_DATA_LOSS) {
            status = ended;
            *err = later;
        }
    }
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

enum status
directory_hold_make(struct sandbox_root *root, struct pool *pool, const struct sandbox_path *sources,
                    size_t count, struct directory_hold **ret, struct error *err)
{
    if (count > LIMIT_MOUNTS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "%zu sandbox mounts, the limit is %d", count,
                         LIMIT_MOUNTS);
    size_t entries_max = 0;
    for (size_t i = 0; i < count; i++)
        entries_max += sources[i].depth;
    CLEANUP(nodes_freep)
    struct directory_node *nodes = calloc(entries_max + 1, sizeof *nodes);
    struct directory_hold *hold = calloc(1, sizeof *hold + entries_max * sizeof hold->entries[0]);
    if (!nodes || !hold) {
        free(hold);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu sandbox mounts", count);
    }
    hold->root = root;

    enum status status = sources_hold(hold, nodes, sources, count, err);
    if (status == STATUS_OK) {
        status = directory_plan_run(root, pool, nodes, hold->count + 1, err);
        run_note(hold, nodes);
    }
    if (status != STATUS_OK)
        return make_failed(hold, status, err);
    *ret = hold;
    return STATUS_OK;
}
