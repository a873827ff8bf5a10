#include "server/sidecar/container.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/hash.h"
#include "server/base/mutex.h"
#include "server/rpc/hresult.h"

struct container {
    char id[LIMIT_CONTAINER_ID_BYTES + 1];
    enum container_state state;
    enum container_state before_delete;
    char volume_id[LIMIT_NAME_BYTES + 1];
    char scratch_target[LIMIT_NAME_BYTES + 1];
    struct directory_hold *hold;
    struct container_mounts mounts;
    bool allow_stdio;
    bool is_restricted; /* adopted, without what was approved for it */
    struct container_processes processes;
    UT_hash_handle hh;
};

struct container_table {
    struct {
        struct mutex lock;
        struct container *table GUARDED;
    } state; /* lock guards its neighbour and all that is reachable from it */
};

static struct container *
find(struct container_table *table, const char *id) REQUIRES(table->state.lock)
{
    struct container *container = NULL;
    HASH_FIND_STR(table->state.table, id, container);
    return container;
}

static enum status
find_or_error(struct container_table *table, const char *id, struct container **ret, struct error *err)
    REQUIRES(table->state.lock)
{
    *ret = find(table, id);
    return *ret ? STATUS_OK
                : error_set_hresult(err, STATUS_NOT_FOUND, HRESULT_SYSTEM_NOT_FOUND,
                                    "container %s: not known", id);
}

struct container_table *
container_table_new(void)
{
    struct container_table *table = calloc(1, sizeof *table);
    struct container *uvm = calloc(1, sizeof *uvm);
    if (!table || !uvm)
        abort();
    mutex_init(&table->state.lock, RANK_APP);
    *uvm = (struct container){.id = UVM_CONTAINER_ID, .state = CONTAINER_RUNNING};
    mutex_lock(&table->state.lock);
    HASH_ADD_STR(table->state.table, id, uvm);
    if (!hash_holds(&uvm->hh))
        abort();
    mutex_unlock(&table->state.lock);
    return table;
}

void
container_table_free(struct container_table *table)
{
    if (!table)
        return;
    mutex_lock(&table->state.lock);
    struct container *container, *after;
    HASH_ITER(hh, table->state.table, container, after)
    {
        HASH_DEL(table->state.table, container);
        directory_hold_forget(container->hold);
        container_mounts_done(&container->mounts);
        container_processes_done(&container->processes);
        free(container);
    }
    mutex_unlock(&table->state.lock);
    mutex_done(&table->state.lock);
    free(table);
}

/* -- steps -- */

static void
name_set(char name[LIMIT_NAME_BYTES + 1], const char *text)
{
    size_t length = strnlen(text, LIMIT_NAME_BYTES);
    memcpy(name, text, length);
    name[length] = '\0';
}

/* Whether the id and the scratch are free and there is room. */
static enum status
combine_check(struct container_table *table, const char *id, const char *scratch_target, struct error *err)
    REQUIRES(table->state.lock)
{
    struct container *other = find(table, id), *after;
    if (other)
        return error_set_hresult(err, STATUS_ALREADY_EXISTS, HRESULT_SYSTEM_ALREADY_EXISTS,
                                 "container %s: exists already (%s)", id, container_state_name(other->state));
    if (HASH_COUNT(table->state.table) > LIMIT_CONTAINERS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "%d containers exist", LIMIT_CONTAINERS);
    HASH_ITER(hh, table->state.table, other, after)
    if (strcmp(other->scratch_target, scratch_target) == 0)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0, "scratch '%s' is in use by container %s",
                         scratch_target, other->id);
    return STATUS_OK;
}

enum status
container_combine(struct container_table *table, const char *id, const char *volume_id,
                  const char *scratch_target, struct error *err)
{
    struct container *container = calloc(1, sizeof *container);
    if (!container)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for container %s", id);
    container->state = CONTAINER_COMBINING;
    memcpy(container->id, id, strnlen(id, LIMIT_CONTAINER_ID_BYTES));
    name_set(container->volume_id, volume_id);
    name_set(container->scratch_target, scratch_target);
    mutex_lock(&table->state.lock);
    enum status status = combine_check(table, id, scratch_target, err);
    if (status == STATUS_OK)
        HASH_ADD_STR(table->state.table, id, container);
    if (status == STATUS_OK && !hash_holds(&container->hh))
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for container %s", id);
    mutex_unlock(&table->state.lock);
    if (status != STATUS_OK)
        free(container);
    return status;
}

enum status
container_adopt(struct container_table *table, const struct container_adoption *adoption, struct error *err)
{
    TRY(container_combine(table, adoption->id, adoption->volume_id ? adoption->volume_id : "",
                          adoption->scratch_target, err));
    mutex_lock(&table->state.lock);
    struct container *container = find(table, adoption->id);
    container->state = adoption->state;
    container->is_restricted = adoption->is_restricted;
    container->allow_stdio = adoption->allow_stdio;
    container->hold = adoption->hold;
    mutex_unlock(&table->state.lock);
    return STATUS_OK;
}

/* Where the step leads. False: the state does not allow it. */
static bool
next_state(const struct container *container, enum container_step step, enum container_state *ret)
{
    return container_state_next(container->state, container->before_delete, step, ret);
}

static void
enter_state(struct container_table *table, struct container *container, enum container_state state)
    REQUIRES(table->state.lock)
{
    if (state == CONTAINER_DELETING) /* from itself: its init has ended meanwhile */
        container->before_delete =
            container->state == CONTAINER_DELETING ? CONTAINER_STOPPED : container->state;
    if (state == CONTAINER_COMBINED) {
        container_processes_done(&container->processes);
        container_mounts_done(&container->mounts);
        container->allow_stdio = false;
    }
    container->state = state;
    if (state == CONTAINER_ABSENT) {
        HASH_DEL(table->state.table, container);
        container_mounts_done(&container->mounts);
        container_processes_done(&container->processes);
        free(container);
    }
}

static enum status
restriction_check(const struct container *container, struct error *err)
{
    return container->is_restricted
               ? error_set_hresult(err, STATUS_FAILED_PRECONDITION, HRESULT_INVALID_STATE,
                                   "container %s: what a former sidecar approved for it is not known any "
                                   "more: it can only be waited for, shut down and deleted",
                                   container->id)
               : STATUS_OK;
}

enum status
container_take_step(struct container_table *table, const char *id, enum container_step step,
                    struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK && (step == STEP_CREATE || step == STEP_START))
        status = restriction_check(container, err);
    enum container_state state;
    if (status == STATUS_OK && next_state(container, step, &state))
        enter_state(table, container, state);
    else if (status == STATUS_OK)
        status =
            error_set_hresult(err, step == STEP_CREATE ? STATUS_ALREADY_EXISTS : STATUS_FAILED_PRECONDITION,
                              step == STEP_CREATE ? HRESULT_SYSTEM_ALREADY_EXISTS : HRESULT_INVALID_STATE,
                              "container %s: cannot %s a container that is %s", id, container_step_name(step),
                              container_state_name(container->state));
    mutex_unlock(&table->state.lock);
    return status;
}

enum status
container_check_running(struct container_table *table, const char *id, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK && container->state != CONTAINER_RUNNING)
        status = error_set_hresult(
            err, STATUS_FAILED_PRECONDITION,
            container->state == CONTAINER_STOPPED ? HRESULT_SYSTEM_ALREADY_STOPPED : HRESULT_INVALID_STATE,
            "container %s: is %s, not running", id, container_state_name(container->state));
    if (status == STATUS_OK)
        status = restriction_check(container, err);
    mutex_unlock(&table->state.lock);
    return status;
}

enum status
container_check_known(struct container_table *table, const char *id, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    mutex_unlock(&table->state.lock);
    return status;
}

enum status
container_check_unrestricted(struct container_table *table, const char *id, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        status = restriction_check(container, err);
    mutex_unlock(&table->state.lock);
    return status;
}

enum container_state
container_state(struct container_table *table, const char *id)
{
    mutex_lock(&table->state.lock);
    const struct container *container = find(table, id);
    enum container_state state = container ? container->state : CONTAINER_ABSENT;
    mutex_unlock(&table->state.lock);
    return state;
}

enum status
container_ground(struct container_table *table, const char *id, struct arena *arena,
                 const char **ret_volume_id, const char **ret_scratch_target, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK) {
        const char *volume_id = container->volume_id;
        *ret_volume_id = volume_id[0] ? arena_strndup(arena, volume_id, strlen(volume_id)) : NULL;
        *ret_scratch_target =
            arena_strndup(arena, container->scratch_target, strlen(container->scratch_target));
        if ((volume_id[0] && !*ret_volume_id) || !*ret_scratch_target)
            status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    }
    mutex_unlock(&table->state.lock);
    return status;
}

bool
container_uses_scratch(struct container_table *table, const char *scratch_target)
{
    bool used = false;
    struct container *container, *after;
    mutex_lock(&table->state.lock);
    HASH_ITER(hh, table->state.table, container, after)
    used = used || strcmp(container->scratch_target, scratch_target) == 0;
    mutex_unlock(&table->state.lock);
    return used;
}

void
container_set_created(struct container_table *table, const char *id, struct directory_hold *hold,
                      bool allow_stdio)
{
    mutex_lock(&table->state.lock);
    struct container *container = find(table, id);
    container->hold = hold;
    container->allow_stdio = allow_stdio;
    mutex_unlock(&table->state.lock);
}

void
container_note_mounts(struct container_table *table, const char *id, const struct policy_mount *mounts,
                      size_t count)
{
    struct container_mounts noted = {.known = true};
    for (size_t i = 0; i < count && noted.known; i++) {
        struct container_mount *mount = container_mount_new(&mounts[i]);
        noted.known = mount != NULL;
        if (mount)
            container_mounts_add(&noted, mount, NULL);
    }
    if (!noted.known)
        container_mounts_done(&noted);
    mutex_lock(&table->state.lock);
    find(table, id)->mounts = noted;
    mutex_unlock(&table->state.lock);
}

static enum status
mounts_copy(const struct container *container, struct arena *arena, struct policy_mount **ret,
            size_t *ret_count, struct error *err)
{
    const struct container_mounts *mounts = &container->mounts;
    if (!mounts->known)
        return error_set(err, STATUS_FAILED_PRECONDITION, 0,
                         "container %s: the mounts it was created with are not known", container->id);
    if (mounts->count >= LIMIT_MOUNTS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "container %s: it has %d mounts", container->id,
                         LIMIT_MOUNTS);
    *ret_count = mounts->count;
    return container_mounts_copy(mounts, arena, ret, err);
}

enum status
container_mounts_of(struct container_table *table, const char *id, struct arena *arena,
                    struct policy_mount **ret, size_t *ret_count, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        status = mounts_copy(container, arena, ret, ret_count, err);
    mutex_unlock(&table->state.lock);
    return status;
}

void
container_add_mount(struct container_table *table, const char *id, struct container_mount *mount,
                    struct directory_hold *hold)
{
    mutex_lock(&table->state.lock);
    container_mounts_add(&find(table, id)->mounts, mount, hold);
    mutex_unlock(&table->state.lock);
}

struct directory_hold *
container_take_hold(struct container_table *table, const char *id)
{
    struct directory_hold *hold = NULL;
    mutex_lock(&table->state.lock);
    struct container *container = find(table, id);
    if (container)
        hold = container->hold ? TAKE_PTR(container->hold) : container_mounts_take_hold(&container->mounts);
    mutex_unlock(&table->state.lock);
    return hold;
}

bool
container_allows_stdio(struct container_table *table, const char *id)
{
    mutex_lock(&table->state.lock);
    const struct container *container = find(table, id);
    bool allows = container && container->allow_stdio;
    mutex_unlock(&table->state.lock);
    return allows;
}

/* -- processes -- */

enum status
container_check_room(struct container_table *table, const char *id, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        status = container_processes_make_room(&container->processes, id, err);
    mutex_unlock(&table->state.lock);
    return status;
}

enum status
container_set_init(struct container_table *table, const char *id, uint32_t process_id, bool allow_stdio,
                   struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        container_processes_set_init(&container->processes, process_id, allow_stdio,
                                     container->state == CONTAINER_STOPPED);
    mutex_unlock(&table->state.lock);
    return status;
}

enum status
container_add_process(struct container_table *table, const char *id, uint32_t process_id, bool allow_stdio,
                      const struct policy_strings *args, struct error *err)
{
    struct process *process = container_process_new(process_id, allow_stdio, args);
    if (!process)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a process");
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        status = container_processes_add(&container->processes, process, id, err);
    else
        container_process_free(process);
    mutex_unlock(&table->state.lock);
    return status;
}

static enum status
process_enter(struct container_table *table, const char *id, uint32_t process_id,
              const struct container_process *process, struct error *err)
{
    if (process->is_init)
        return container_set_init(table, id, process_id, process->allow_stdio, err);
    return container_add_process(table, id, process_id, process->allow_stdio, &process->args, err);
}

enum status
container_adopt_process(struct container_table *table, const char *id, uint32_t process_id,
                        const struct container_process *process, struct error *err)
{
    TRY(process_enter(table, id, process_id, process, err));
    if (process->exited)
        container_process_exited(table, id, process_id);
    mutex_lock(&table->state.lock);
    struct container *container = find(table, id);
    if (container && process->is_restricted)
        container_processes_restrict(&container->processes, process_id);
    mutex_unlock(&table->state.lock);
    return STATUS_OK;
}

enum status
container_find_process(struct container_table *table, const char *id, uint32_t process_id,
                       struct arena *arena, struct container_process *ret, struct error *err)
{
    struct container *container;
    mutex_lock(&table->state.lock);
    enum status status = find_or_error(table, id, &container, err);
    if (status == STATUS_OK)
        status = container_processes_find(&container->processes, process_id, id, arena, ret, err);
    mutex_unlock(&table->state.lock);
    return status;
}

void
container_process_exited(struct container_table *table, const char *id, uint32_t process_id)
{
    mutex_lock(&table->state.lock);
    struct container *container = find(table, id);
    if (container)
        container_processes_end(&container->processes, process_id, id);
    mutex_unlock(&table->state.lock);
}

/* Whether its init may end yet, and what it is then. */
static bool
may_exit(const struct container *container, enum container_state *ret)
{
    return container && strcmp(container->id, UVM_CONTAINER_ID) != 0 &&
           next_state(container, STEP_EXITED, ret);
}

bool
container_may_exit(struct container_table *table, const char *id)
{
    mutex_lock(&table->state.lock);
    enum container_state next;
    bool may = may_exit(find(table, id), &next);
    mutex_unlock(&table->state.lock);
    return may;
}

bool
container_exited(struct container_table *table, const char *id)
{
    mutex_lock(&table->state.lock);
    struct container *container = find(table, id);
    enum container_state next;
    bool alive = may_exit(container, &next);
    if (alive)
        enter_state(table, container, next);
    mutex_unlock(&table->state.lock);
    return alive;
}

/* What is being deleted is its deletion's affair. */
static bool
lives(const struct container *container)
{
    enum container_state next;
    return container->state != CONTAINER_DELETING && may_exit(container, &next);
}

void
container_for_each_live(struct container_table *table, container_visit_fn *visit, void *arg)
{
    struct live {
        char id[LIMIT_CONTAINER_ID_BYTES + 1];
        uint32_t init_process_id;
    };
    mutex_lock(&table->state.lock);
    struct live *live = calloc(HASH_COUNT(table->state.table), sizeof *live);
    size_t count = 0;
    struct container *container, *after;
    HASH_ITER(hh, table->state.table, container, after)
    {
        if (!live || !lives(container))
            continue;
        memcpy(live[count].id, container->id, sizeof live[count].id);
        live[count++].init_process_id = container->processes.init.id;
    }
    mutex_unlock(&table->state.lock);
    for (size_t i = 0; i < count; i++)
        visit(arg, live[i].id, live[i].init_process_id);
    free(live);
}

size_t
container_count(struct container_table *table)
{
    mutex_lock(&table->state.lock);
    size_t count = HASH_COUNT(table->state.table) - 1;
    mutex_unlock(&table->state.lock);
    return count;
}
