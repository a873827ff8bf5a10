#include "server/mounts/volume.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/mounts/volume_table.h"

#define STATE_BIT(state) (1u << (state))

const char *
volume_state_name(enum volume_state state)
{
    static const char *const names[] = {
        [VOLUME_ABSENT] = "absent",     [VOLUME_VERIFYING] = "verifying", [VOLUME_VERIFIED] = "verified",
        [VOLUME_MOUNTING] = "mounting", [VOLUME_MOUNTED] = "mounted",     [VOLUME_UNMOUNTING] = "unmounting",
        [VOLUME_STUCK] = "stuck",
    };
    return names[state];
}

static struct volume *find(struct volume_table *table, const char *id) REQUIRES(table->volumes.lock);
static enum status find_in_state(struct volume_table *table, const char *id, unsigned states,
                                 const char *verb, struct volume **ret, struct error *err)
    REQUIRES(table->volumes.lock);
static void erase(struct volume_table *table, struct volume *volume) REQUIRES(table->volumes.lock);

static struct volume *
find(struct volume_table *table, const char *id)
{
    struct volume *volume = NULL;
    HASH_FIND_STR(table->volumes.all, id, volume);
    return volume;
}

/* The volume, if it is in one of `states` (bits); `verb` is what the caller would do with it. */
static enum status
find_in_state(struct volume_table *table, const char *id, unsigned states, const char *verb,
              struct volume **ret, struct error *err)
{
    struct volume *volume = find(table, id);
    if (!volume)
        return error_set(err, STATUS_NOT_FOUND, 0, "volume '%.*s' does not exist", LIMIT_NAME_BYTES, id);
    if (!(states & STATE_BIT(volume->state)))
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "cannot %s volume '%s': it is %s", verb, id,
                         volume_state_name(volume->state));
    *ret = volume;
    return STATUS_OK;
}

static void
erase(struct volume_table *table, struct volume *volume)
{
    HASH_DELETE(hh, table->volumes.all, volume);
}

/* Puts the volume into a state ending in -ing: from now on it is this thread's alone, until settle(). */
static enum status
seize(struct volume_table *table, const char *id, unsigned states, enum volume_state to, const char *verb,
      struct volume **ret, struct error *err)
{
    mutex_lock(&table->volumes.lock);
    enum status status = find_in_state(table, id, states, verb, ret, err);
    if (status == STATUS_OK && to == VOLUME_UNMOUNTING) {
        size_t holds = (*ret)->hold_count;
        if (holds > 0)
            status = error_set(err, STATUS_FAILED_PRECONDITION, 0,
                               "cannot %s volume '%s': %zu containers hold it", verb, id, holds);
        else
            volume_holders_clear(*ret); /* admissions end here, however the unmount ends */
    }
    if (status == STATUS_OK)
        (*ret)->state = to;
    mutex_unlock(&table->volumes.lock);
    return status;
}

/* Ends what seize() or reserve() began. ABSENT: the volume leaves the table and is freed. */
static void
settle(struct volume_table *table, struct volume *volume, enum volume_state state)
{
    if (state == VOLUME_ABSENT) {
        /* The memory goes first: who sees the id free again may rely on its bytes being free as well. */
        for (size_t i = 0; i < volume->layer_count; i++)
            layer_close(volume->layers[i]);
        volume->layer_count = 0;
    }
    mutex_lock(&table->volumes.lock);
    volume->state = state;
    if (state == VOLUME_ABSENT)
        erase(table, volume);
    mutex_unlock(&table->volumes.lock);
    if (state == VOLUME_ABSENT)
        volume_free(volume);
}

/* The id becomes a directory's name and part of overlayfs's options, which give ':' ',' and '\' a meaning. */
static enum status
id_check(const char *id, struct error *err)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t length = strnlen(id, LIMIT_NAME_BYTES + 1);
    if (length == 0 || length > LIMIT_NAME_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a volume's id has 1 to %d bytes",
                         LIMIT_NAME_BYTES);
    if (id[0] == '.' || id[strspn(id, alphabet)] != '\0')
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "volume id '%s' is not of [A-Za-z0-9._-], or begins with '.'", id);
    return STATUS_OK;
}

static enum status
count_check(const char *id, size_t count, struct error *err)
{
    if (count < 1 || count > LIMIT_LAYERS)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "volume '%s' has %zu layers, 1 to %d are allowed",
                         id, count, LIMIT_LAYERS);
    return STATUS_OK;
}

/* A new volume in the table, VERIFYING and this thread's. */
static enum status
reserve(struct volume_table *table, const char *id, struct volume **ret, struct error *err)
{
    struct volume *volume = calloc(1, sizeof *volume);
    if (!volume)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for volume '%s'", id);
    memcpy(volume->id, id, strlen(id) + 1);
    volume->state = VOLUME_VERIFYING;

    enum status status = STATUS_OK;
    mutex_lock(&table->volumes.lock);
    const struct volume *other = find(table, id);
    if (other)
        status = error_set(err, STATUS_ALREADY_EXISTS, 0, "volume '%s' exists: it is %s", id,
                           volume_state_name(other->state));
    else if (HASH_COUNT(table->volumes.all) >= LIMIT_VOLUMES)
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "there are %d volumes, no more are allowed",
                           LIMIT_VOLUMES);
    else
        HASH_ADD_STR(table->volumes.all, id, volume);
    if (status == STATUS_OK && !hash_holds(&volume->hh))
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for volume '%s'", id);
    mutex_unlock(&table->volumes.lock);

    if (status != STATUS_OK)
        free(volume);
    else
        *ret = volume;
    return status;
}

static enum status
verify(struct volume_table *table, struct volume *volume, const char *const *names, size_t count,
       struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        TRY(layer_open(table->layers, names[i], &volume->layers[i], err));
        volume->layer_count++;
    }
    return volume_stack_new(table->root_path, volume->id, volume->layers, count, &volume->stack, err);
}

enum status
volume_open(struct volume_table *table, const char *id, const char *const *names, size_t count,
            struct volume_stack **ret, struct error *err)
{
    TRY(id_check(id, err));
    TRY(count_check(id, count, err));
    struct volume *volume = NULL;
    TRY(reserve(table, id, &volume, err));
    enum status status = verify(table, volume, names, count, err);
    if (status == STATUS_OK)
        *ret = volume_stack_ref(volume->stack);
    settle(table, volume, status == STATUS_OK ? VOLUME_VERIFIED : VOLUME_ABSENT);
    return status;
}

struct adoption {
    struct volume_table *table;
    struct volume *volume;
    const uint8_t (*digests)[LAYER_DIGEST_BYTES];
    struct error *err;
};

static bool
adopt_layer(void *arg, size_t layer, uint64_t bytes)
{
    struct adoption *adoption = arg;
    struct volume *volume = adoption->volume;
    if (layer_adopt(adoption->table->layers, adoption->digests[layer], bytes, &volume->layers[layer],
                    adoption->err) != STATUS_OK)
        return false;
    volume->layer_count++;
    return true;
}

enum status
volume_adopt(struct volume_table *table, const char *id, const uint8_t (*digests)[LAYER_DIGEST_BYTES],
             size_t count, struct error *err)
{
    struct volume *volume = NULL;
    TRY(id_check(id, err));
    TRY(count_check(id, count, err));
    TRY(reserve(table, id, &volume, err));
    struct adoption adoption = {.table = table, .volume = volume, .digests = digests, .err = err};
    struct volume_plan plan = volume_table_plan(table, volume);
    enum status status = volume_tree_adopt(&volume->tree, &plan, count, adopt_layer, &adoption, err);
    if (status == STATUS_OK) {
        status = volume_stack_new(table->root_path, id, volume->layers, count, &volume->stack, err);
        if (status != STATUS_OK)
            volume->tree = (struct volume_tree){0}; /* given up again: the sweep's */
    }
    settle(table, volume, status == STATUS_OK ? VOLUME_MOUNTED : VOLUME_ABSENT);
    return status;
}

enum status
volume_mount(struct volume_table *table, const char *id, struct error *err)
{
    struct volume *volume = NULL;
    TRY(seize(table, id, STATE_BIT(VOLUME_VERIFIED), VOLUME_MOUNTING, "mount", &volume, err));
    struct volume_plan plan = volume_table_plan(table, volume);
    enum status status = volume_tree_mount(&volume->tree, &plan, volume->layers, err);
    if (status == STATUS_OK)
        settle(table, volume, VOLUME_MOUNTED);
    else
        settle(table, volume, volume_tree_is_empty(&volume->tree) ? VOLUME_VERIFIED : VOLUME_STUCK);
    return status;
}

static enum status
unmount(struct volume_table *table, const char *id, unsigned states, const char *verb, struct error *err)
{
    struct volume *volume = NULL;
    TRY(seize(table, id, states, VOLUME_UNMOUNTING, verb, &volume, err));
    struct volume_plan plan = volume_table_plan(table, volume);
    enum status status = volume_tree_unmount(&volume->tree, &plan, false, err);
    settle(table, volume, status == STATUS_OK ? VOLUME_ABSENT : VOLUME_STUCK);
    return status;
}

enum status
volume_unmount(struct volume_table *table, const char *id, struct error *err)
{
    return unmount(table, id, STATE_BIT(VOLUME_MOUNTED) | STATE_BIT(VOLUME_STUCK), "unmount", err);
}

enum status
volume_drop(struct volume_table *table, const char *id, struct error *err)
{
    /* A verified volume has an empty tree, so unmounting it is nothing and the rest is the same. */
    return unmount(table, id,
                   STATE_BIT(VOLUME_VERIFIED) | STATE_BIT(VOLUME_MOUNTED) | STATE_BIT(VOLUME_STUCK), "drop",
                   err);
}

static enum status admit(struct volume_table *table, const char *id, const char *container_id,
                         struct error *err) REQUIRES(table->volumes.lock);
static enum status dismiss(struct volume_table *table, const char *id, const char *container_id,
                           struct error *err) REQUIRES(table->volumes.lock);
static enum status hold(struct volume_table *table, const char *id, const char *container_id,
                        bool *ret_admitted, struct volume_stack **ret, struct error *err)
    REQUIRES(table->volumes.lock);
static enum status let_go(struct volume_table *table, const char *id, const char *container_id,
                          struct error *err) REQUIRES(table->volumes.lock);

static struct volume_holder *
holder_find(const struct volume *volume, const char *container_id)
{
    struct volume_holder *holder = NULL;
    HASH_FIND_STR(volume->holders, container_id, holder);
    return holder;
}

static enum status
holder_get(struct volume *volume, const char *container_id, struct volume_holder **ret, struct error *err)
{
    struct volume_holder *holder = holder_find(volume, container_id);
    if (!holder && HASH_COUNT(volume->holders) >= LIMIT_CONTAINERS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "volume '%s' serves %d containers already",
                         volume->id, LIMIT_CONTAINERS);
    if (!holder) {
        holder = calloc(1, sizeof *holder);
        if (holder) {
            memcpy(holder->container_id, container_id, strlen(container_id) + 1);
            HASH_ADD_STR(volume->holders, container_id, holder);
        }
        if (!holder || !hash_holds(&holder->hh)) {
            free(holder);
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a holder of volume '%s'",
                             volume->id);
        }
    }
    *ret = holder;
    return STATUS_OK;
}

/* A record that says nothing any more goes. */
static void
holder_prune(struct volume *volume, struct volume_holder *holder)
{
    if (holder->admitted || holder->holds)
        return;
    HASH_DELETE(hh, volume->holders, holder);
    free(holder);
}

static enum status
container_id_check(const char *container_id, struct error *err)
{
    size_t length = strnlen(container_id, LIMIT_CONTAINER_ID_BYTES + 1);
    if (length == 0 || length > LIMIT_CONTAINER_ID_BYTES)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "a container's id has 1 to %d bytes",
                         LIMIT_CONTAINER_ID_BYTES);
    return STATUS_OK;
}

static enum status
admit(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    struct volume *volume = NULL;
    struct volume_holder *holder = NULL;
    TRY(find_in_state(table, id, STATE_BIT(VOLUME_MOUNTED), "use", &volume, err));
    TRY(holder_get(volume, container_id, &holder, err));
    holder->admitted = true;
    return STATUS_OK;
}

static enum status
dismiss(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    struct volume *volume = NULL;
    TRY(find_in_state(table, id, ~0u, "leave", &volume, err));
    struct volume_holder *holder = holder_find(volume, container_id);
    if (!holder || !holder->admitted)
        return error_set(err, STATUS_NOT_FOUND, 0, "volume '%s' has not admitted container '%s'", id,
                         container_id);
    if (holder->holds)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "volume '%s' is held by container '%s'", id,
                         container_id);
    holder->admitted = false;
    holder_prune(volume, holder);
    return STATUS_OK;
}

static enum status
hold(struct volume_table *table, const char *id, const char *container_id, bool *ret_admitted,
     struct volume_stack **ret, struct error *err)
{
    struct volume *volume = NULL;
    struct volume_holder *holder = NULL;
    TRY(find_in_state(table, id, STATE_BIT(VOLUME_MOUNTED), "use", &volume, err));
    TRY(holder_get(volume, container_id, &holder, err));
    if (holder->holds)
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "volume '%s' is held by container '%s' already", id,
                         container_id);
    holder->holds = true;
    volume->hold_count++;
    *ret_admitted = holder->admitted;
    *ret = volume_stack_ref(volume->stack);
    return STATUS_OK;
}

static enum status
let_go(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    struct volume *volume = NULL;
    TRY(find_in_state(table, id, ~0u, "leave", &volume, err));
    struct volume_holder *holder = holder_find(volume, container_id);
    if (!holder || !holder->holds)
        return error_set(err, STATUS_NOT_FOUND, 0, "volume '%s' is not held by container '%s'", id,
                         container_id);
    holder->holds = false;
    volume->hold_count--;
    holder_prune(volume, holder);
    return STATUS_OK;
}

enum status
volume_admit(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    TRY(container_id_check(container_id, err));
    mutex_lock(&table->volumes.lock);
    enum status status = admit(table, id, container_id, err);
    mutex_unlock(&table->volumes.lock);
    return status;
}

enum status
volume_dismiss(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    TRY(container_id_check(container_id, err));
    mutex_lock(&table->volumes.lock);
    enum status status = dismiss(table, id, container_id, err);
    mutex_unlock(&table->volumes.lock);
    return status;
}

enum status
volume_ref(struct volume_table *table, const char *id, const char *container_id, bool *ret_admitted,
           struct volume_stack **ret, struct error *err)
{
    TRY(container_id_check(container_id, err));
    mutex_lock(&table->volumes.lock);
    enum status status = hold(table, id, container_id, ret_admitted, ret, err);
    mutex_unlock(&table->volumes.lock);
    return status;
}

enum status
volume_unref(struct volume_table *table, const char *id, const char *container_id, struct error *err)
{
    TRY(container_id_check(container_id, err));
    mutex_lock(&table->volumes.lock);
    enum status status = let_go(table, id, container_id, err);
    mutex_unlock(&table->volumes.lock);
    return status;
}

enum volume_state
volume_state(struct volume_table *table, const char *id)
{
    mutex_lock(&table->volumes.lock);
    const struct volume *volume = find(table, id);
    enum volume_state state = volume ? volume->state : VOLUME_ABSENT;
    mutex_unlock(&table->volumes.lock);
    return state;
}

size_t
volume_count(struct volume_table *table)
{
    mutex_lock(&table->volumes.lock);
    size_t count = HASH_COUNT(table->volumes.all);
    mutex_unlock(&table->volumes.lock);
    return count;
}
