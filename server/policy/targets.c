/*
 * Everything about one target path: scratch spaces, devices, overlays and plan 9 shares (spec/policy.md 4.5).
 */
#include <stdlib.h>

#include "server/policy/decision.h"

static const char mount_path[] = "/run/mounts/scsi/m[0-9]+";
static const char rw_mount_path[] = "/run/gcs/c/[0-9a-fA-F]{64}";

static const struct policy_target_input *
input_of(const struct decision *decision)
{
    return &decision->request->target;
}

static bool
is_there(const struct decision *decision, enum space space)
{
    const struct cell_value *value = state_find(decision->store, space, input_of(decision)->target);
    return value && value->is_present;
}

/* Allowed: the target is taken now, with a copy of `text` unless that is NULL. */
static enum status
take_target(struct decision *decision, enum space space, const char *text, bool *allowed)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return decision_full(decision);
    *allowed = true;
    return decision_add(decision, space, input_of(decision)->target,
                        (struct operation){.kind = OPERATION_SET, .text = copy});
}

/* Allowed when the target is taken; then it is free. */
static enum status
give_target_back(struct decision *decision, enum space space, bool *allowed)
{
    if (!is_there(decision, space))
        return STATUS_OK;
    *allowed = true;
    return decision_add(decision, space, input_of(decision)->target,
                        (struct operation){.kind = OPERATION_CLEAR});
}

/* ---- scratch ---- */

static bool
scratch_encryption_ok(const struct decision *decision)
{
    return input_of(decision)->encrypted || decision->policy->flags[FLAG_UNENCRYPTED_SCRATCH];
}

enum status
decide_scratch_mount(struct decision *decision, bool *allowed)
{
    if (is_there(decision, SPACE_SCRATCH) || !scratch_encryption_ok(decision))
        return STATUS_OK;
    return take_target(decision, SPACE_SCRATCH, NULL, allowed);
}

enum status
errors_scratch_mount(struct decision *decision, struct texts *errors)
{
    TRY(texts_add_if(decision, errors, is_there(decision, SPACE_SCRATCH), "scratch already mounted at path"));
    return texts_add_if(decision, errors, !scratch_encryption_ok(decision),
                        "unencrypted scratch not allowed");
}

enum status
decide_scratch_unmount(struct decision *decision, bool *allowed)
{
    return give_target_back(decision, SPACE_SCRATCH, allowed);
}

enum status
errors_scratch_unmount(struct decision *decision, struct texts *errors)
{
    return texts_add_if(decision, errors, !is_there(decision, SPACE_SCRATCH),
                        "no scratch at path to unmount");
}

/* ---- devices ---- */

static bool
device_is_there(const struct decision *decision)
{
    return is_there(decision, SPACE_DEVICE) || is_there(decision, SPACE_RW_DEVICE);
}

static bool
hash_is_known(const struct decision *decision)
{
    const struct list *containers = &decision->store->catalog->raw_containers;
    const char *hash = input_of(decision)->device_hash;

    for (size_t i = 0; i < containers->count; i++) {
        const struct value *layers = value_member(containers->items[i], "layers");
        for (size_t j = 0; j < value_length(layers); j++)
            if (value_is_text(value_at(layers, j), view_of(hash ? hash : "")))
                return true;
    }
    return false;
}

static enum status
path_ok(struct decision *decision, const char *pattern, bool *ok)
{
    return decision_pattern(decision, view_of(pattern), view_of(input_of(decision)->target), ok);
}

enum status
decide_mount_device(struct decision *decision, bool *allowed)
{
    bool ok;

    TRY(path_ok(decision, mount_path, &ok));
    if (!ok || device_is_there(decision) || !hash_is_known(decision))
        return STATUS_OK;
    return take_target(decision, SPACE_DEVICE, input_of(decision)->device_hash, allowed);
}

enum status
errors_mount_device(struct decision *decision, struct texts *errors)
{
    bool ok;

    TRY(path_ok(decision, mount_path, &ok));
    TRY(texts_add_if(decision, errors, !hash_is_known(decision), "deviceHash not found"));
    TRY(texts_add_if(decision, errors, device_is_there(decision), "device already mounted at path"));
    return texts_add_if(decision, errors, !ok, "mountpoint invalid");
}

static bool
filesystem_ok(const struct decision *decision)
{
    const char *filesystem = input_of(decision)->filesystem;
    return filesystem && (strcmp(filesystem, "ext4") == 0 || strcmp(filesystem, "xfs") == 0);
}

enum status
decide_rw_mount_device(struct decision *decision, bool *allowed)
{
    bool ok;

    TRY(path_ok(decision, rw_mount_path, &ok));
    if (!ok || device_is_there(decision) || !scratch_encryption_ok(decision) ||
        !input_of(decision)->ensure_filesystem || !filesystem_ok(decision))
        return STATUS_OK;
    return take_target(decision, SPACE_RW_DEVICE, NULL, allowed);
}

enum status
errors_rw_mount_device(struct decision *decision, struct texts *errors)
{
    bool ok;

    TRY(path_ok(decision, rw_mount_path, &ok));
    TRY(texts_add_if(decision, errors, device_is_there(decision), "device already mounted at path"));
    TRY(texts_add_if(decision, errors, !ok, "mountpoint invalid"));
    TRY(texts_add_if(decision, errors, !scratch_encryption_ok(decision),
                     "unencrypted scratch not allowed, non-readonly mount request for SCSI disk must request "
                     "encryption"));
    TRY(texts_add_if(decision, errors, !input_of(decision)->ensure_filesystem,
                     "ensureFilesystem must be set on rw device mounts"));
    return texts_add_if(decision, errors, !filesystem_ok(decision),
                        "rw device mounts uses a filesystem that is not allowed");
}

enum status
decide_unmount_device(struct decision *decision, bool *allowed)
{
    return give_target_back(decision, SPACE_DEVICE, allowed);
}

enum status
errors_unmount_device(struct decision *decision, struct texts *errors)
{
    bool other = is_there(decision, SPACE_RW_DEVICE);

    TRY(texts_add_if(decision, errors, !device_is_there(decision), "no device at path to unmount"));
    return texts_add_if(decision, errors, other && !is_there(decision, SPACE_DEVICE),
                        "received read-only unmount request, but device provided is read-write");
}

enum status
decide_rw_unmount_device(struct decision *decision, bool *allowed)
{
    return give_target_back(decision, SPACE_RW_DEVICE, allowed);
}

enum status
errors_rw_unmount_device(struct decision *decision, struct texts *errors)
{
    bool other = is_there(decision, SPACE_DEVICE);

    TRY(texts_add_if(decision, errors, !device_is_there(decision), "no device at path to unmount"));
    return texts_add_if(decision, errors, other && !is_there(decision, SPACE_RW_DEVICE),
                        "received read-write unmount request, but device provided is read-only");
}

enum status
errors_blockdev(struct decision *decision, struct texts *errors)
{
    return texts_add(decision, errors, "blockdev mounts are not supported");
}

/* ---- overlays ---- */

/* The containers whose layers are, base first, the hashes mounted at the request's layer paths. */
static enum status
overlay_candidates(struct decision *decision, uint32_t **ret, size_t *count)
{
    const struct policy_strings *paths = &input_of(decision)->layer_paths;
    const struct catalog *catalog = decision->store->catalog;
    struct view *hashes = ARENA_NEW(decision->arena, struct view, paths->count ? paths->count : 1);

    *count = 0;
    *ret = NULL;
    if (!hashes)
        return decision_full(decision);
    for (size_t i = 0; i < paths->count; i++) {
        const struct cell_value *device = state_find(decision->store, SPACE_DEVICE, paths->items[i]);
        if (!device || !device->is_present)
            return STATUS_OK;
        hashes[i] = view_of(device->text);
    }
    const struct group *group = catalog_group(catalog, hashes, paths->count, decision->arena);
    if (!group)
        return STATUS_OK;
    *ret = ARENA_NEW(decision->arena, uint32_t, group->count);
    if (!*ret)
        return decision_full(decision);
    memcpy(*ret, group->members, group->count * sizeof(**ret));
    *count = group->count;
    return STATUS_OK;
}

static bool
overlay_is_new(const struct decision *decision)
{
    return !state_container(decision->store, input_of(decision)->container_id)->is_present;
}

enum status
decide_mount_overlay(struct decision *decision, bool *allowed)
{
    uint32_t *items;
    size_t count;

    if (!overlay_is_new(decision) || is_there(decision, SPACE_OVERLAY))
        return STATUS_OK;
    TRY(overlay_candidates(decision, &items, &count));
    if (count == 0)
        return STATUS_OK;
    struct matches *matches = matches_new(decision->store->catalog, items, count);
    if (!matches)
        return decision_full(decision);
    TRY(decision_add(decision, SPACE_CONTAINER, input_of(decision)->container_id,
                     (struct operation){.kind = OPERATION_SET, .matches = matches}));
    return take_target(decision, SPACE_OVERLAY, NULL, allowed);
}

enum status
errors_mount_overlay(struct decision *decision, struct texts *errors)
{
    uint32_t *items;
    size_t count;

    TRY(overlay_candidates(decision, &items, &count));
    TRY(texts_add_if(decision, errors, !overlay_is_new(decision), "overlay has already been mounted"));
    return texts_add_if(decision, errors, count == 0, "no matching containers for overlay");
}

enum status
decide_unmount_overlay(struct decision *decision, bool *allowed)
{
    return give_target_back(decision, SPACE_OVERLAY, allowed);
}

enum status
errors_unmount_overlay(struct decision *decision, struct texts *errors)
{
    return texts_add_if(decision, errors, !is_there(decision, SPACE_OVERLAY),
                        "no overlay at path to unmount");
}

/* ---- plan 9 ---- */

/* The container whose mount directory the target is: /run/gcs/c/ID/mounts/mN with a mounted ID; NULL:
 * none. */
static const char *
plan9_container(struct decision *decision)
{
    static const char root[] = "/run/gcs/c/", middle[] = "/mounts/m";
    const char *target = input_of(decision)->target;

    if (strncmp(target, root, sizeof(root) - 1) != 0)
        return NULL;
    const char *id = target + sizeof(root) - 1, *end = id, *next;
    while ((next = strstr(end + (end != id), middle)) != NULL) /* the last one */
        end = next;
    if (end == id)
        return NULL;
    size_t digits = strspn(end + strlen(middle), "0123456789");
    if (digits == 0 || end[strlen(middle) + digits] != '\0')
        return NULL;
    char *copy = arena_strndup(decision->arena, id, (size_t)(end - id));
    return copy && state_container(decision->store, copy)->is_present ? copy : NULL;
}

enum status
decide_plan9_mount(struct decision *decision, bool *allowed)
{
    const char *id = plan9_container(decision);

    if (is_there(decision, SPACE_PLAN9) || !id)
        return STATUS_OK;
    return take_target(decision, SPACE_PLAN9, id, allowed);
}

enum status
errors_plan9_mount(struct decision *decision, struct texts *errors)
{
    return texts_add_if(decision, errors, is_there(decision, SPACE_PLAN9), "device already mounted at path");
}

enum status
decide_plan9_unmount(struct decision *decision, bool *allowed)
{
    return give_target_back(decision, SPACE_PLAN9, allowed);
}

enum status
errors_plan9_unmount(struct decision *decision, struct texts *errors)
{
    return texts_add_if(decision, errors, !is_there(decision, SPACE_PLAN9), "no device at path to unmount");
}
