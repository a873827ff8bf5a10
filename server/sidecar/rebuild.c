#include "server/sidecar/rebuild.h"

#include <string.h>

#include "server/base/log.h"
#include "server/base/text.h"
#include "server/mounts/directory_hold.h"
#include "server/policy/restore.h"
#include "server/sidecar/mount_check.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

struct rebuild {
    struct sidecar *sidecar;
    struct policy_state *policy;
    struct arena arena; /* of one item at a time */
    int64_t containers, restricted, processes, volumes;
};

static void
note_failure(struct rebuild *rebuild, const char *id, struct error *err)
{
    error_prefix(err, "rebuild %s: ", id);
    sidecar_set_inconsistent(rebuild->sidecar, err);
}

/* -- the policy's state -- */

static void
scratch_rebuild(struct rebuild *rebuild, const Gcs__V1__ScratchObject *scratch)
{
    const Gcs__V1__Tag *tag;
    struct policy_record *record;
    struct error err;
    /* Without a tag it is taken as mounted: so that the host can remove it, and not mount it twice. */
    bool accounted = tag_read(rebuild->sidecar->gate, &scratch->tag, GCS__V1__TAG__OBJECT_SCRATCH,
                              &rebuild->arena, &tag, &err) != STATUS_OK ||
                     strcmp(tag->scratch->target, scratch->target) != 0 || tag->scratch->is_accounted;
    if (!accounted)
        return;
    if (policy_restore_scratch(rebuild->policy, scratch->target, &record, &err) == STATUS_OK)
        policy_record_commit(record);
    else
        note_failure(rebuild, scratch->target, &err);
}

static void
ended_rebuild(struct rebuild *rebuild, const char *id)
{
    struct policy_record *record;
    struct error err;
    if (policy_restore_ended(rebuild->policy, id, &record, &err) == STATUS_OK)
        policy_record_commit(record);
    else
        note_failure(rebuild, id, &err);
}

/* True: the policy's state is as the tag says. */
static bool
policy_rebuild(struct rebuild *rebuild, const char *id, const Gcs__V1__PolicyTag *tag, struct error *err)
{
    struct policy_container_state state;
    struct policy_record *record;
    if (!tag_policy_state(tag, &state)) {
        error_set(err, STATUS_INVALID_ARGUMENT, 0, "its tag has no policy state");
        return false;
    }
    if (policy_restore_container(rebuild->policy, id, &state, &record, err) != STATUS_OK)
        return false;
    policy_record_commit(record);
    return true;
}

/* -- what a container stands on -- */

static const Gcs__V1__RootTag *
root_tag(struct rebuild *rebuild, const struct inventory_item *item, struct error *err)
{
    const Gcs__V1__RootObject *root = item->root;
    const Gcs__V1__Tag *tag;
    if (!root || tag_read(rebuild->sidecar->gate, &root->tag, GCS__V1__TAG__OBJECT_ROOT, &rebuild->arena,
                          &tag, err) != STATUS_OK)
        return NULL;
    if (strcmp(tag->root->container_id, item->id) == 0 &&
        strcmp(tag->root->scratch_target, root->scratch_target) == 0 &&
        strcmp(tag->root->volume_id, root->volume_id) == 0)
        return tag->root;
    error_set(err, STATUS_INVALID_ARGUMENT, 0, "its root's tag is another one's");
    return NULL;
}

/* Whether the volume's layers are those of the tag: another root's may have named the volume before. */
static bool
stack_is(const struct volume_stack *stack, const Gcs__V1__RootTag *tag)
{
    bool same = tag->layer_digests.len == stack->layer_count * LAYER_DIGEST_BYTES;
    for (size_t i = 0; same && i < stack->layer_count; i++) {
        uint8_t digest[LAYER_DIGEST_BYTES];
        same = text_unhex(digest, sizeof digest, stack->layers[i].digest) &&
               memcmp(digest, tag->layer_digests.data + i * sizeof digest, sizeof digest) == 0;
    }
    return same;
}

/* Adopts the volume of the root, unless another root's rebuild has, and holds it. */
static enum status
volume_rebuild(struct rebuild *rebuild, const char *id, const Gcs__V1__RootTag *tag, struct error *err)
{
    struct volume_table *volumes = rebuild->sidecar->volumes;
    struct volume_stack *stack = NULL;
    bool admitted;
    enum status status =
        volume_adopt(volumes, tag->volume_id, (const uint8_t(*)[LAYER_DIGEST_BYTES])tag->layer_digests.data,
                     tag->layer_digests.len / LAYER_DIGEST_BYTES, err);
    rebuild->volumes += status == STATUS_OK;
    if (status != STATUS_OK && status != STATUS_ALREADY_EXISTS)
        return status;
    TRY(volume_ref(volumes, tag->volume_id, id, &admitted, &stack, err));
    bool same = stack_is(stack, tag);
    volume_stack_unref(stack);
    if (same)
        return volume_admit(volumes, tag->volume_id, id, err);
    TRY(volume_unref(volumes, tag->volume_id, id, err));
    return error_set(err, STATUS_INVALID_ARGUMENT, 0, "volume '%s' has other layers", tag->volume_id);
}

/* The mounts of a container as they were decided on, and where they come from. */
struct mounts_known {
    struct sandbox_path *sources; /* one a mount; NULL: they are not known */
    struct policy_mount *mounts;
};

static enum status
mounts_read(struct rebuild *rebuild, const struct inventory_item *item, struct mounts_known *ret,
            struct error *err)
{
    struct sandbox_path *sources = ARENA_NEW(&rebuild->arena, struct sandbox_path, item->mount_count + 1);
    ret->mounts = ARENA_NEW(&rebuild->arena, struct policy_mount, item->mount_count + 1);
    if (!sources || !ret->mounts)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for %zu mounts", item->mount_count);
    for (size_t i = 0; i < item->mount_count; i++) {
        TRY(mount_check(&rebuild->arena, item->mounts[i], &sources[i], err));
        ret->mounts[i] = mount_for_policy(item->mounts[i], &sources[i]);
    }
    ret->sources = sources;
    return STATUS_OK;
}

static struct mounts_known
mounts_rebuild(struct rebuild *rebuild, const struct inventory_item *item)
{
    struct mounts_known known = {0};
    struct error err;
    if (item->container && mounts_read(rebuild, item, &known, &err) != STATUS_OK)
        note_failure(rebuild, item->id, &err);
    return known;
}

/* The hold on its sandbox directories, or NULL: then they go, at the latest with the guest. */
static struct directory_hold *
directories_rebuild(struct rebuild *rebuild, const struct inventory_item *item,
                    const struct mounts_known *known)
{
    struct directory_hold *hold = NULL;
    struct error err;
    if (known->sources && directory_hold_adopt(rebuild->sidecar->sandbox, known->sources, item->mount_count,
                                               &hold, &err) != STATUS_OK)
        note_failure(rebuild, item->id, &err);
    return hold;
}

/* -- containers -- */

static enum container_state
state_of(const struct inventory_item *item)
{
    if (!item->container)
        return CONTAINER_COMBINED;
    switch (item->container->state) {
    case GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATED:
        return CONTAINER_CREATED;
    case GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING:
        return CONTAINER_RUNNING;
    default: /* half made or half deleted, too: there is nothing to do but to delete it */
        return CONTAINER_STOPPED;
    }
}

/* What was approved for the container. False: it is not known; then `err` says why. */
static bool
approval_rebuild(struct rebuild *rebuild, const struct inventory_item *item, const Gcs__V1__RootTag *root,
                 bool *ret_stdio, struct error *err)
{
    const Gcs__V1__Tag *tag;
    if (!item->container && item->was_created) {
        ended_rebuild(rebuild, item->id); /* its life is over, whatever its layers were combined for */
        return root != NULL;
    }
    if (!item->container)
        return root && policy_rebuild(rebuild, item->id, root->policy, err);
    if (tag_read(rebuild->sidecar->gate, &item->container->tag, GCS__V1__TAG__OBJECT_CONTAINER,
                 &rebuild->arena, &tag, err) == STATUS_OK &&
        strcmp(tag->container->container_id, item->id) == 0 &&
        policy_rebuild(rebuild, item->id, tag->container->policy, err)) {
        *ret_stdio = tag->container->policy->has_stdio && tag->container->policy->allow_stdio;
        return true;
    }
    ended_rebuild(rebuild, item->id); /* so that it can be shut down */
    return false;
}

static void
process_rebuild(struct rebuild *rebuild, const struct inventory_item *item,
                const struct container_adoption *container, const Gcs__V1__ProcessObject *object)
{
    const Gcs__V1__Tag *tag = NULL;
    struct error err;
    struct container_process process = {.is_init = object->is_init, .exited = object->exited};
    if (object->is_init) {
        process.allow_stdio = container->allow_stdio;
        process.is_restricted = container->is_restricted;
    } else if (tag_read(rebuild->sidecar->gate, &object->tag, GCS__V1__TAG__OBJECT_PROCESS, &rebuild->arena,
                        &tag, &err) == STATUS_OK) {
        process.allow_stdio = tag->process->allow_stdio;
        process.is_restricted = container->is_restricted;
        process.args = policy_strings_of(tag->process->args, tag->process->n_args);
    } else {
        process.is_restricted = true;
    }
    if (container_adopt_process(rebuild->sidecar->containers, item->id, object->process_id, &process, &err) !=
        STATUS_OK)
        note_failure(rebuild, item->id, &err);
    rebuild->processes++;
}

static void
processes_rebuild(struct rebuild *rebuild, const struct inventory_item *item,
                  const struct container_adoption *container)
{
    for (size_t i = 0; i < item->process_count; i++)
        /* Init is known from its start on: until then the answer to that names it. */
        if (!item->processes[i]->is_init || container->state != CONTAINER_CREATED)
            process_rebuild(rebuild, item, container, item->processes[i]);
}

/* The host may never have heard of it, or has lost it: so its life is told from the beginning. */
static void
life_tell(const struct rebuild *rebuild, const Gcs__V1__ContainerObject *container)
{
    struct event_log *events = rebuild->sidecar->events;
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED};
    memcpy(event.container_id, container->container_id,
           strnlen(container->container_id, LIMIT_CONTAINER_ID_BYTES));
    event_log_append(events, &event);
    event.process_id = container->init_process_id;
    event.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED;
    if (container->was_started)
        event_log_append(events, &event);
    event.type = container->exit;
    event.exit_code = container->exit_code;
    if (container->exit != GCS__V1__EVENT_TYPE__EVENT_TYPE_UNSPECIFIED)
        event_log_append(events, &event);
}

static void
container_rebuild(struct rebuild *rebuild, const struct inventory_item *item)
{
    struct error err, volume_err;
    error_set(&err, STATUS_INVALID_ARGUMENT, 0, "its root has no tag");
    const Gcs__V1__RootTag *root = root_tag(rebuild, item, &err);
    struct container_adoption adoption = {
        .id = item->id,
        .state = state_of(item),
        /* Without a root it stands on nothing that somebody else could name. */
        .scratch_target = item->root ? item->root->scratch_target : item->id,
    };
    adoption.is_restricted = !approval_rebuild(rebuild, item, root, &adoption.allow_stdio, &err);
    if (adoption.is_restricted)
        LOG_WARNING("what was approved for a container is not known any more",
                    LOG_TEXT("container_id", item->id), LOG_TEXT("reason", err.text));
    if (root && volume_rebuild(rebuild, item->id, root, &volume_err) == STATUS_OK)
        adoption.volume_id = root->volume_id;
    else if (root) /* it runs on: the overlay has the layers open */
        LOG_WARNING("a container's volume is not known any more", LOG_TEXT("container_id", item->id),
                    LOG_TEXT("reason", volume_err.text));
    struct mounts_known mounts = mounts_rebuild(rebuild, item);
    adoption.hold = directories_rebuild(rebuild, item, &mounts);
    if (container_adopt(rebuild->sidecar->containers, &adoption, &err) != STATUS_OK) {
        directory_hold_forget(adoption.hold);
        note_failure(rebuild, item->id, &err);
        return;
    }
    if (mounts.sources)
        container_note_mounts(rebuild->sidecar->containers, item->id, mounts.mounts, item->mount_count);
    processes_rebuild(rebuild, item, &adoption);
    if (item->container)
        life_tell(rebuild, item->container);
    rebuild->containers += item->container != NULL;
    rebuild->restricted += adoption.is_restricted;
}

static void
item_rebuild(struct rebuild *rebuild, const struct inventory_item *item)
{
    static const struct container_adoption uvm = {.state = CONTAINER_RUNNING};
    if (strcmp(item->id, UVM_CONTAINER_ID) == 0)
        processes_rebuild(rebuild, item, &uvm);
    else if (item->root || item->container)
        container_rebuild(rebuild, item);
    else
        ended_rebuild(rebuild, item->id);
}

/* What nothing has been found for. */
static void
sweep(struct rebuild *rebuild)
{
    size_t mounts = 0, directories = 0;
    struct error err;
    if (volume_table_sweep(rebuild->sidecar->volumes, &mounts, &err) != STATUS_OK)
        note_failure(rebuild, "the volumes", &err);
    enum status status = directory_holds_sweep(rebuild->sidecar->sandbox, &directories, &err);
    if (status == STATUS_ABORTED)
        LOG_WARNING("something of a sandbox directory is left", LOG_TEXT("reason", err.text));
    else if (status != STATUS_OK)
        note_failure(rebuild, "the sandbox directories", &err);
    if (mounts + directories > 0)
        LOG_WARNING("what a predecessor left was taken away", LOG_NUMBER("mounts", (int64_t)mounts),
                    LOG_NUMBER("directories", (int64_t)directories));
}

void
rebuild_from(struct sidecar *sidecar, const struct inventory *inventory)
{
    struct rebuild rebuild = {.sidecar = sidecar, .policy = policy_gate_state(sidecar->gate)};
    struct inventory_item *item, *next;
    arena_init(&rebuild.arena, LIMIT_REQUEST_ARENA_BYTES);
    for (size_t i = 0; i < inventory->scratch_count; i++) {
        scratch_rebuild(&rebuild, inventory->scratches[i]);
        arena_reset(&rebuild.arena);
    }
    HASH_ITER(hh, inventory->items, item, next)
    {
        item_rebuild(&rebuild, item);
        arena_reset(&rebuild.arena);
    }
    arena_done(&rebuild.arena);
    sweep(&rebuild);
    if (inventory->items)
        LOG_INFO("knows again what a predecessor approved", LOG_NUMBER("containers", rebuild.containers),
                 LOG_NUMBER("processes", rebuild.processes), LOG_NUMBER("volumes", rebuild.volumes),
                 LOG_NUMBER("not_known", rebuild.restricted));
}
