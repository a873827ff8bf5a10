#include "server/policy/restore.h"

#include <string.h>

#include "server/policy/state.h"

/* ---- export ---- */

static enum status
candidates_export(const struct store *store, const struct matches *matches, struct arena *arena,
                  struct policy_container_state *ret, struct error *err)
{
    if (matches->catalog != store->policy->catalog)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "the candidates of a container depend on loaded fragments");
    uint32_t *items = ARENA_NEW(arena, uint32_t, matches->count + 1);
    if (!items)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no room for %u candidates", matches->count);
    memcpy(items, matches->items, matches->count * sizeof(*items));
    ret->candidates = items;
    ret->candidates_count = matches->count;
    return STATUS_OK;
}

static enum status
container_export(const struct store *store, const char *id, struct arena *arena,
                 struct policy_container_state *ret, struct error *err)
{
    const struct cell_value *value = state_container(store, id);
    struct policy_container_state found = {
        .is_present = value->is_present,
        .is_started = value->is_started,
        .is_privileged = value->is_privileged,
        .has_stdio = value->has_stdio,
        .allow_stdio = value->stdio,
        .candidates_total = store->policy->catalog->containers_count,
    };
    if (value->is_present && value->matches)
        TRY(candidates_export(store, value->matches, arena, &found, err));
    *ret = found;
    return STATUS_OK;
}

enum status
policy_export_container(struct policy_state *state, const char *id, struct arena *arena,
                        struct policy_container_state *ret, struct error *err)
{
    mutex_lock(&state->guarded.lock);
    enum status status = container_export(&state->guarded.store, id, arena, ret, err);
    mutex_unlock(&state->guarded.lock);
    return status;
}

static bool
scratch_is_held(const struct store *store, const char *target)
{
    const struct cell_value *value = state_find(store, SPACE_SCRATCH, target);
    return value && value->is_present;
}

bool
policy_export_scratch(struct policy_state *state, const char *target)
{
    mutex_lock(&state->guarded.lock);
    bool is_there = scratch_is_held(&state->guarded.store, target);
    mutex_unlock(&state->guarded.lock);
    return is_there;
}

/* ---- restore ---- */

static enum status
candidates_check(const struct store *store, const struct policy_container_state *from, struct error *err)
{
    uint32_t total = store->policy->catalog->containers_count;
    bool good = from->candidates_total == total && (from->is_present || from->candidates_count == 0);
    for (size_t i = 0; good && i < from->candidates_count; i++)
        good = from->candidates[i] < total && (i == 0 || from->candidates[i - 1] < from->candidates[i]);
    return good ? STATUS_OK
                : error_set(err, STATUS_INVALID_ARGUMENT, 0,
                            "these are no candidates of this policy, which has %u", total);
}

/* Adds an operation to the record, which it makes when there is none. */
static enum status
add(struct policy_state *state, struct store *store, struct policy_record **record, enum space space,
    const char *key, struct operation operation, struct error *err)
{
    if (!*record)
        *record = record_new(state);
    if (*record)
        return record_add(store, *record, space, key, operation, err);
    matches_unref(operation.matches);
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's state");
}

/* One operation for each thing a decision would have written. */
static enum status
container_add(struct policy_state *state, struct store *store, const char *id,
              const struct policy_container_state *from, struct policy_record **record, struct error *err)
{
    if (from->is_present) {
        struct matches *matches =
            matches_new(store->policy->catalog, from->candidates, from->candidates_count);
        if (!matches)
            return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the policy's state");
        TRY(add(state, store, record, SPACE_CONTAINER, id,
                (struct operation){.kind = OPERATION_SET, .matches = matches}, err));
    }
    if (from->is_started)
        return add(state, store, record, SPACE_CONTAINER, id,
                   (struct operation){.kind = OPERATION_START,
                                      .is_privileged = from->is_privileged,
                                      .stdio = from->allow_stdio},
                   err);
    if (from->has_stdio)
        return add(state, store, record, SPACE_CONTAINER, id,
                   (struct operation){.kind = OPERATION_STDIO, .stdio = from->allow_stdio}, err);
    return STATUS_OK;
}

static enum status
container_restore(struct policy_state *state, struct store *store, const char *id,
                  const struct policy_container_state *from, struct policy_record **record, struct error *err)
{
    const struct cell_value *now = state_container(store, id);
    TRY(candidates_check(store, from, err));
    if (store->fragments_count > 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "fragments were loaded before");
    if (now->is_present || now->is_started || now->has_stdio)
        return error_set(err, STATUS_ALREADY_EXISTS, 0, "the policy's state holds container %s", id);
    enum status status = container_add(state, store, id, from, record, err);
    if (status != STATUS_OK && *record)
        record_undo(store, TAKE_PTR(*record));
    return status;
}

enum status
policy_restore_container(struct policy_state *state, const char *id,
                         const struct policy_container_state *from, struct policy_record **record,
                         struct error *err)
{
    *record = NULL;
    mutex_lock(&state->guarded.lock);
    enum status status = container_restore(state, &state->guarded.store, id, from, record, err);
    mutex_unlock(&state->guarded.lock);
    return status;
}

enum status
policy_restore_ended(struct policy_state *state, const char *id, struct policy_record **record,
                     struct error *err)
{
    const struct policy_container_state ended = {
        .is_started = state->policy->points[POLICY_CREATE_CONTAINER].answer == ANSWER_FRAMEWORK,
        .candidates_total = state->policy->catalog->containers_count,
    };
    return policy_restore_container(state, id, &ended, record, err);
}

enum status
policy_restore_scratch(struct policy_state *state, const char *target, struct policy_record **record,
                       struct error *err)
{
    *record = NULL;
    mutex_lock(&state->guarded.lock);
    struct store *store = &state->guarded.store;
    enum status status =
        scratch_is_held(store, target)
            ? error_set(err, STATUS_ALREADY_EXISTS, 0, "the policy's state holds scratch '%s'", target)
            : add(state, store, record, SPACE_SCRATCH, target, (struct operation){.kind = OPERATION_SET},
                  err);
    if (status != STATUS_OK && *record)
        record_undo(store, TAKE_PTR(*record));
    mutex_unlock(&state->guarded.lock);
    return status;
}
