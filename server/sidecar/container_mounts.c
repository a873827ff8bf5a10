#include "server/sidecar/container_mounts.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct container_mount {
    struct container_mount *next;
    struct directory_hold *hold; /* NULL: the container's own has it */
    char *destination, *source, *type;
    char **options;
    size_t options_count;
};

void
container_mount_free(struct container_mount *mount)
{
    if (!mount)
        return;
    for (size_t i = 0; i < mount->options_count; i++)
        free(mount->options[i]);
    free(mount->options);
    free(mount->destination);
    free(mount->source);
    free(mount->type);
    free(mount);
}

struct container_mount *
container_mount_new(const struct policy_mount *mount)
{
    struct container_mount *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    copy->destination = strdup(mount->destination);
    copy->source = strdup(mount->source);
    copy->type = strdup(mount->type);
    copy->options = calloc(mount->options.count + 1, sizeof *copy->options);
    bool complete = copy->destination && copy->source && copy->type && copy->options;
    for (size_t i = 0; complete && i < mount->options.count; i++) {
        copy->options[i] = strdup(mount->options.items[i]);
        complete = copy->options[i] != NULL;
        copy->options_count++;
    }
    if (complete)
        return copy;
    container_mount_free(copy);
    return NULL;
}

void
container_mounts_add(struct container_mounts *mounts, struct container_mount *mount,
                     struct directory_hold *hold)
{
    mount->hold = hold;
    LL_APPEND(mounts->list, mount);
    mounts->count++;
}

struct directory_hold *
container_mounts_take_hold(struct container_mounts *mounts)
{
    struct container_mount *mount;
    LL_FOREACH(mounts->list, mount)
    {
        if (mount->hold)
            return TAKE_PTR(mount->hold);
    }
    return NULL;
}

/* NULL: the arena is full. */
static const char *
copy_text(struct arena *arena, const char *text, bool *complete)
{
    const char *copy = arena_strndup(arena, text, strlen(text));
    *complete = *complete && copy;
    return copy;
}

static void
copy_one(const struct container_mount *mount, struct arena *arena, struct policy_mount *ret, bool *complete)
{
    const char **options = ARENA_NEW(arena, const char *, mount->options_count + 1);
    for (size_t i = 0; options && i < mount->options_count; i++)
        options[i] = copy_text(arena, mount->options[i], complete);
    *complete = *complete && options;
    ret->destination = copy_text(arena, mount->destination, complete);
    ret->source = copy_text(arena, mount->source, complete);
    ret->type = copy_text(arena, mount->type, complete);
    ret->options = (struct policy_strings){.items = options, .count = mount->options_count};
}

enum status
container_mounts_copy(const struct container_mounts *mounts, struct arena *arena, struct policy_mount **ret,
                      struct error *err)
{
    struct policy_mount *copies = ARENA_NEW(arena, struct policy_mount, mounts->count + 1);
    const struct container_mount *mount;
    bool complete = copies != NULL;
    size_t count = 0;
    LL_FOREACH(mounts->list, mount)
    {
        if (complete)
            copy_one(mount, arena, &copies[count++], &complete);
    }
    if (!complete)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    *ret = copies;
    return STATUS_OK;
}

void
container_mounts_done(struct container_mounts *mounts)
{
    while (mounts->list) {
        struct container_mount *mount = mounts->list;
        LL_DELETE(mounts->list, mount);
        directory_hold_forget(mount->hold);
        container_mount_free(mount);
    }
    *mounts = (struct container_mounts){0};
}
