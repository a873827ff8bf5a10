#include "server/mounts/directory_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void
directory_table_init(struct directory_table *table)
{
    mutex_init(&table->lock, RANK_DIRECTORIES);
    condition_init(&table->removed);
    mutex_lock(&table->lock);
    table->directories = NULL;
    table->removing = 0;
    table->owed = 0;
    table->contents = NULL;
    table->contents_count = 0;
    table->owed_since_ns = 0;
    table->trying = false;
    table->visits = 0;
    mutex_unlock(&table->lock);
}

void
directory_table_done(struct directory_table *table)
{
    struct directory *directory, *next;
    mutex_lock(&table->lock);
    HASH_ITER(hh, table->directories, directory, next)
    {
        assert(directory->holds == 0 && "a hold outlives its root");
        directory_table_forget(table, directory);
    }
    mutex_unlock(&table->lock);
    pthread_cond_destroy(&table->removed);
    mutex_done(&table->lock);
}

/* Whether a directory on the way to one of the sources is being removed right now. */
static bool
is_unsettled(struct directory_table *table, const struct sandbox_path *sources, size_t count)
    REQUIRES(table->lock)
{
    for (size_t i = 0; i < count; i++) {
        for (unsigned depth = 1; depth <= sources[i].depth; depth++) {
            unsigned hash;
            const struct directory *directory = directory_table_find(table, &sources[i], depth, &hash);
            if (directory && directory->removing)
                return true;
        }
    }
    return false;
}

void
directory_table_settle(struct directory_table *table, const struct sandbox_path *sources, size_t count)
{
    /* Whoever removes waits for nobody: this ends when its file-system calls do. */
    while (table->removing > 0 && is_unsettled(table, sources, count))
        condition_wait(&table->removed, &table->lock);
}

struct directory *
directory_table_find(struct directory_table *table, const struct sandbox_path *source, unsigned depth,
                     unsigned *hash)
{
    const unsigned length = source->end[depth - 1];
    struct directory *found;
    HASH_VALUE(source->relative, length, *hash);
    HASH_FIND_BYHASHVALUE(hh, table->directories, source->relative, length, *hash, found);
    return found;
}

struct directory *
directory_table_add(struct directory_table *table, const struct sandbox_path *source, unsigned depth,
                    unsigned hash)
{
    const size_t length = source->end[depth - 1];
    struct directory *directory = malloc(sizeof *directory + length + 1);
    if (!directory)
        return NULL;
    *directory = (struct directory){
        .length = (uint16_t)length,
        .name = (uint16_t)(depth > 1 ? source->end[depth - 2] + 1 : 0),
    };
    memcpy(directory->path, source->relative, length);
    directory->path[length] = '\0';
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, table->directories, directory->path, length, hash, directory);
    if (hash_holds(&directory->hh))
        return directory;
    free(directory);
    return NULL;
}

void
directory_table_forget(struct directory_table *table, struct directory *directory)
{
    HASH_DEL(table->directories, directory);
    if (directory->removing) {
        table->removing--;
        pthread_cond_broadcast(&table->removed);
    }
    free(directory);
}
