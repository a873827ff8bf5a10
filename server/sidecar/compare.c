#include "server/sidecar/compare.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/policy/restore.h"
#include "server/sidecar/sidecar.h"
#include "server/sidecar/tag.h"

struct comparison {
    struct sidecar *sidecar;
    const struct inventory *inventory;
    struct orphans orphans;
    struct arena arena; /* of one question at a time */
    bool out_of_memory;
};

static void
orphan_add(struct comparison *comparison, const struct orphan *orphan)
{
    struct orphans *orphans = &comparison->orphans;
    struct orphan *more = reallocarray(orphans->items, orphans->count + 1, sizeof *more);
    if (!more) {
        comparison->out_of_memory = true;
        return;
    }
    orphans->items = more;
    orphans->items[orphans->count++] = *orphan;
}

/* -- containers that are known here -- */

static void
report_lost(void *arg, const char *id, uint32_t init_process_id)
{
    struct comparison *comparison = arg;
    struct sidecar *sidecar = comparison->sidecar;
    const struct inventory_item *item = inventory_find(comparison->inventory, id);
    if ((item && item->container) || !container_exited(sidecar->containers, id))
        return;
    struct event event = {.type = GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT,
                          .process_id = init_process_id,
                          .exit_code_unknown = true};
    memcpy(event.container_id, id, strnlen(id, LIMIT_CONTAINER_ID_BYTES));
    event_log_append(sidecar->events, &event);
}

/* A start whose answer was lost and which has succeeded all the same. */
static void
start_late(struct comparison *comparison, const struct inventory_item *item)
{
    struct container_table *containers = comparison->sidecar->containers;
    struct error err;
    if (container_take_step(containers, item->id, STEP_START, &err) != STATUS_OK)
        return;
    if (container_set_init(containers, item->id, item->container->init_process_id,
                           container_allows_stdio(containers, item->id), &err) != STATUS_OK ||
        container_take_step(containers, item->id, STEP_STARTED, &err) != STATUS_OK)
        sidecar_set_inconsistent(comparison->sidecar, &err);
}

/* Processes that run and whose answers were lost. */
static void
processes_compare(struct comparison *comparison, const struct inventory_item *item)
{
    for (size_t i = 0; i < item->process_count; i++) {
        const Gcs__V1__ProcessObject *object = item->processes[i];
        struct container_process process;
        struct error err;
        arena_reset(&comparison->arena);
        if (!object->is_init && !object->exited &&
            container_find_process(comparison->sidecar->containers, item->id, object->process_id,
                                   &comparison->arena, &process, &err) == STATUS_NOT_FOUND)
            orphan_add(comparison, &(struct orphan){.kind = ORPHAN_PROCESS,
                                                    .container_id = item->id,
                                                    .process_id = object->process_id});
    }
}

static bool
mount_is_known(const struct policy_mount *known, size_t count, const Gcs__V1__Mount *mount)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(known[i].destination, mount->destination) == 0 &&
            strcmp(known[i].source, mount->source) == 0)
            return true;
    return false;
}

/* Mounts that were added while it ran and whose answers were lost. */
static void
mounts_compare(struct comparison *comparison, const struct inventory_item *item)
{
    struct policy_mount *known;
    size_t count;
    struct error err;
    arena_reset(&comparison->arena);
    if (container_mounts_of(comparison->sidecar->containers, item->id, &comparison->arena, &known, &count,
                            &err) != STATUS_OK)
        return;
    for (size_t i = 0; i < item->mount_count; i++)
        if (!mount_is_known(known, count, item->mounts[i]))
            orphan_add(
                comparison,
                &(struct orphan){.kind = ORPHAN_MOUNT, .container_id = item->id, .mount = item->mounts[i]});
}

/* -- what is not known here -- */

static void
container_orphaned(struct comparison *comparison, const struct inventory_item *item)
{
    struct orphan orphan = {.container_id = item->id, .process_id = item->container->init_process_id};
    if (item->container->state == GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING) {
        orphan.kind = ORPHAN_RUNNING;
        orphan_add(comparison, &orphan);
        orphan.kind = ORPHAN_INIT;
        orphan_add(comparison, &orphan);
    }
    orphan.kind = ORPHAN_CONTAINER;
    orphan_add(comparison, &orphan);
}

static void
container_compare(struct comparison *comparison, const struct inventory_item *item)
{
    switch (container_state(comparison->sidecar->containers, item->id)) {
    case CONTAINER_CREATED:
        if (item->container->state == GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING)
            start_late(comparison, item);
        break;
    case CONTAINER_RUNNING:
    case CONTAINER_STARTING:
        processes_compare(comparison, item);
        mounts_compare(comparison, item);
        break;
    case CONTAINER_STOPPED: /* it waits for its deletion */
    case CONTAINER_DELETING:
        break;
    default:
        container_orphaned(comparison, item);
    }
}

static void
item_compare(struct comparison *comparison, const struct inventory_item *item)
{
    if (item->container)
        container_compare(comparison, item);
    enum container_state state = container_state(comparison->sidecar->containers, item->id);
    if (item->root && (state == CONTAINER_ABSENT || state == CONTAINER_COMBINING))
        orphan_add(comparison, &(struct orphan){.kind = ORPHAN_ROOT,
                                                .container_id = item->id,
                                                .scratch_target = item->root->scratch_target,
                                                .volume_id = item->root->volume_id});
}

/* Only a scratch that the policy should keep account of, and does not, is known to be one of nobody's. */
static void
scratch_compare(struct comparison *comparison, const Gcs__V1__ScratchObject *scratch)
{
    struct sidecar *sidecar = comparison->sidecar;
    const Gcs__V1__Tag *tag;
    struct error err;
    arena_reset(&comparison->arena);
    if (tag_read(sidecar->gate, &scratch->tag, GCS__V1__TAG__OBJECT_SCRATCH, &comparison->arena, &tag,
                 &err) == STATUS_OK &&
        tag->scratch->is_accounted && !container_uses_scratch(sidecar->containers, scratch->target) &&
        !policy_export_scratch(policy_gate_state(sidecar->gate), scratch->target))
        orphan_add(
            comparison,
            &(struct orphan){.kind = ORPHAN_SCRATCH, .container_id = "", .scratch_target = scratch->target});
}

enum status
compare_with(struct sidecar *sidecar, const struct inventory *inventory, struct orphans *ret,
             struct error *err)
{
    struct comparison comparison = {.sidecar = sidecar, .inventory = inventory};
    struct inventory_item *item, *next;
    arena_init(&comparison.arena, LIMIT_REQUEST_ARENA_BYTES);
    container_for_each_live(sidecar->containers, report_lost, &comparison);
    HASH_ITER(hh, inventory->items, item, next)
    {
        if (strcmp(item->id, UVM_CONTAINER_ID) == 0)
            processes_compare(&comparison, item);
        else
            item_compare(&comparison, item);
    }
    for (size_t i = 0; i < inventory->scratch_count; i++)
        scratch_compare(&comparison, inventory->scratches[i]);
    arena_done(&comparison.arena);
    if (comparison.out_of_memory) {
        orphans_done(&comparison.orphans);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory to compare with the inbox");
    }
    if (comparison.orphans.count > 0)
        LOG_WARNING("the inbox has what nobody was told of",
                    LOG_NUMBER("count", (int64_t)comparison.orphans.count));
    *ret = comparison.orphans;
    return STATUS_OK;
}

void
orphans_done(struct orphans *orphans)
{
    free(orphans->items);
    *orphans = (struct orphans){0};
}

/* -- the requests that take orphans away -- */

static char *
text(const char *constant)
{
    return (char *)(uintptr_t)constant; /* packing only reads */
}

static void
settings_fill(const struct orphan *orphan, struct orphan_call *ret)
{
    gcs__v1__modify_settings__init(&ret->settings);
    ret->settings.request_type = GCS__V1__REQUEST_TYPE__REQUEST_TYPE_REMOVE;
    ret->call.body_case = GCS__V1__REQUEST__BODY_MODIFY_SETTINGS;
    ret->call.modify_settings = &ret->settings;
    if (orphan->kind == ORPHAN_SCRATCH) {
        gcs__v1__container_scratch__init(&ret->scratch);
        ret->scratch.target = text(orphan->scratch_target);
        ret->settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH;
        ret->settings.container_scratch = &ret->scratch;
        return;
    }
    if (orphan->kind == ORPHAN_MOUNT) {
        gcs__v1__container_mount__init(&ret->mount);
        ret->mount.mount = (Gcs__V1__Mount *)(uintptr_t)orphan->mount; /* packing only reads */
        ret->settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT;
        ret->settings.container_mount = &ret->mount;
        return;
    }
    gcs__v1__combined_layers__init(&ret->layers);
    ret->layers.scratch_target = text(orphan->scratch_target);
    ret->layers.volume_id = text(orphan->volume_id);
    ret->settings.resource_case = GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS;
    ret->settings.combined_layers = &ret->layers;
}

void
orphan_call(const struct orphan *orphan, struct orphan_call *ret)
{
    gcs__v1__request__init(&ret->call);
    ret->call.container_id = text(orphan->container_id);
    switch (orphan->kind) {
    case ORPHAN_PROCESS:
        gcs__v1__signal_process__init(&ret->signal);
        ret->signal.process_id = orphan->process_id;
        ret->signal.signal = GCS__V1__SIGNAL__SIGNAL_TERMINATE;
        ret->call.body_case = GCS__V1__REQUEST__BODY_SIGNAL_PROCESS;
        ret->call.signal_process = &ret->signal;
        return;
    case ORPHAN_RUNNING:
        gcs__v1__shutdown_forced__init(&ret->shutdown);
        ret->call.body_case = GCS__V1__REQUEST__BODY_SHUTDOWN_FORCED;
        ret->call.shutdown_forced = &ret->shutdown;
        return;
    case ORPHAN_INIT:
        gcs__v1__wait_for_process__init(&ret->wait);
        ret->wait.process_id = orphan->process_id;
        ret->wait.wait_ms = LIMIT_PARK_MS;
        ret->call.body_case = GCS__V1__REQUEST__BODY_WAIT_FOR_PROCESS;
        ret->call.wait_for_process = &ret->wait;
        return;
    case ORPHAN_CONTAINER:
        gcs__v1__approval__init(&ret->approval);
        gcs__v1__delete_container_state__init(&ret->delete);
        ret->approval.forget_id = true;
        ret->call.approval = &ret->approval;
        ret->call.body_case = GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE;
        ret->call.delete_container_state = &ret->delete;
        return;
    default:
        settings_fill(orphan, ret);
    }
}
