#include "server/inbox/state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <utlist.h>

#include "server/base/text.h"
#include "server/inbox/added_mount.h"
#include "server/inbox/networks.h"
#include "server/inbox/process.h"
#include "server/rpc/hresult.h"

/* The state an action leads to, plus one; 0: refused. The header's table, row by row. */
static const unsigned char transitions[CONTAINER_ACTIONS][CONTAINER_STATES] = {
    [CONTAINER_ON_CREATED] = {[CONTAINER_CREATING] = CONTAINER_CREATED + 1},
    [CONTAINER_ON_START] = {[CONTAINER_CREATED] = CONTAINER_CREATED + 1},
    [CONTAINER_ON_STARTED] = {[CONTAINER_CREATED] = CONTAINER_RUNNING + 1},
    [CONTAINER_ON_EXEC] = {[CONTAINER_RUNNING] = CONTAINER_RUNNING + 1},
    [CONTAINER_ON_MOUNT] = {[CONTAINER_RUNNING] = CONTAINER_RUNNING + 1},
    [CONTAINER_ON_SHUTDOWN] =
        {[CONTAINER_CREATED] = CONTAINER_CREATED + 1, [CONTAINER_RUNNING] = CONTAINER_RUNNING + 1},
    [CONTAINER_ON_EXITED] =
        {[CONTAINER_CREATED] = CONTAINER_STOPPED + 1, [CONTAINER_RUNNING] = CONTAINER_STOPPED + 1},
    [CONTAINER_ON_DELETE] =
        {[CONTAINER_CREATED] = CONTAINER_DELETING + 1, [CONTAINER_STOPPED] = CONTAINER_DELETING + 1},
    [CONTAINER_ON_RESTORE] = {[CONTAINER_DELETING] = CONTAINER_STOPPED + 1},
};

static const char *const action_names[CONTAINER_ACTIONS] = {
    [CONTAINER_ON_CREATED] = "be created",  [CONTAINER_ON_START] = "start",
    [CONTAINER_ON_STARTED] = "be started",  [CONTAINER_ON_EXEC] = "run another process",
    [CONTAINER_ON_MOUNT] = "get a mount",   [CONTAINER_ON_SHUTDOWN] = "be shut down",
    [CONTAINER_ON_EXITED] = "exit",         [CONTAINER_ON_DELETE] = "be deleted",
    [CONTAINER_ON_RESTORE] = "be restored",
};

const char *
container_state_name(enum container_state state)
{
    static const char *const names[CONTAINER_STATES] = {"creating", "created", "running", "stopped",
                                                        "deleting"};
    return names[state];
}

bool
container_next(enum container_state from, enum container_action action, enum container_state *ret)
{
    unsigned char next = transitions[action][from];
    if (next == 0)
        return false;
    *ret = (enum container_state)(next - 1);
    return true;
}

enum status
container_step(struct inbox *inbox, struct container *container, enum container_action action,
               struct error *err)
{
    (void)inbox; /* names the lock */
    if (container_next(container->state, action, &container->state))
        return STATUS_OK;
    uint32_t hresult =
        container->state == CONTAINER_STOPPED ? HRESULT_SYSTEM_ALREADY_STOPPED : HRESULT_INVALID_STATE;
    return error_set_hresult(err, STATUS_FAILED_PRECONDITION, hresult, "container %s is %s and cannot %s",
                             container->id, container_state_name(container->state), action_names[action]);
}

enum status
container_act(struct container *container, enum container_action action, struct error *err)
{
    struct inbox *inbox = container->inbox;
    mutex_lock(&inbox->table.lock);
    enum status status = container_step(inbox, container, action, err);
    mutex_unlock(&inbox->table.lock);
    return status;
}

bool
container_id_valid(const char *id)
{
    return text_is_hex(id, LIMIT_CONTAINER_ID_BYTES);
}

/* A version 4 GUID. */
static enum status
system_id_make(char ret[SYSTEM_ID_BYTES], struct error *err)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return error_set(err, STATUS_INTERNAL, 0, "no random bytes for a system id");
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
    char hex[33];
    text_hex(hex, bytes, sizeof bytes);
    size_t to = 0;
    for (size_t from = 0; from < 32; from++) {
        if (from == 8 || from == 12 || from == 16 || from == 20)
            ret[to++] = '-';
        ret[to++] = hex[from];
    }
    ret[to] = '\0';
    return STATUS_OK;
}

static struct container *
container_new(struct inbox *inbox, const char *id)
{
    struct container *container = calloc(1, sizeof *container);
    if (!container)
        return NULL;
    container->inbox = inbox;
    atomic_init(&container->references, 1);
    memcpy(container->id, id, strnlen(id, LIMIT_CONTAINER_ID_BYTES));
    return container;
}

static enum status
reserve_locked(struct inbox *inbox, struct container *container, struct error *err)
    REQUIRES(inbox->table.lock)
{
    struct container *other;
    HASH_FIND_STR(inbox->table.containers, container->id, other);
    if (other)
        return error_set_hresult(err, STATUS_ALREADY_EXISTS, HRESULT_SYSTEM_ALREADY_EXISTS,
                                 "container %s exists and is %s", container->id,
                                 container_state_name(other->state));
    if (HASH_COUNT(inbox->table.containers) >= LIMIT_CONTAINERS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "there are %d containers already",
                         LIMIT_CONTAINERS);
    if (inbox->table.stopping)
        return error_set(err, STATUS_UNAVAILABLE, 0, "the inbox is shutting down");
    HASH_ADD_STR(inbox->table.containers, id, container);
    if (!hash_holds(&container->hh))
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for container %s", container->id);
    container_ref(container); /* the table's */
    return STATUS_OK;
}

enum status
container_reserve(struct inbox *inbox, const char *id, struct container **ret, struct error *err)
{
    if (!container_id_valid(id))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "a container id is %d lower-case hexadecimal digits", LIMIT_CONTAINER_ID_BYTES);
    CLEANUP(container_unrefp)
    struct container *container = container_new(inbox, id);
    if (!container)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a container");
    TRY(system_id_make(container->system_id, err));
    mutex_lock(&inbox->table.lock);
    enum status status = reserve_locked(inbox, container, err);
    mutex_unlock(&inbox->table.lock);
    TRY(status);
    *ret = TAKE_PTR(container);
    return STATUS_OK;
}

enum status
container_find(struct inbox *inbox, const char *id, struct container **ret, struct error *err)
{
    if (strcmp(id, GUEST_ID) == 0) {
        *ret = container_ref(inbox->guest);
        return STATUS_OK;
    }
    struct container *container;
    mutex_lock(&inbox->table.lock);
    HASH_FIND_STR(inbox->table.containers, id, container);
    if (container)
        container_ref(container);
    mutex_unlock(&inbox->table.lock);
    if (!container)
        return error_set_hresult(err, STATUS_NOT_FOUND, HRESULT_SYSTEM_NOT_FOUND,
                                 "there is no container '%s'", id);
    *ret = container;
    return STATUS_OK;
}

struct process *
container_init(struct container *container)
{
    mutex_lock(&container->inbox->table.lock);
    struct process *init = container->init ? process_ref(container->init) : NULL;
    mutex_unlock(&container->inbox->table.lock);
    return init;
}

void
container_retag(struct container *container, struct tag *tag)
{
    if (tag->size == 0)
        return;
    mutex_lock(&container->inbox->table.lock);
    tag_replace(&container->tag, tag);
    mutex_unlock(&container->inbox->table.lock);
}

void
container_forget(struct container *container)
{
    struct inbox *inbox = container->inbox;
    mutex_lock(&inbox->table.lock);
    bool in_table = container != inbox->guest;
    if (in_table)
        HASH_DEL(inbox->table.containers, container);
    struct process *list = container->processes;
    container->processes = container->init = NULL;
    container->process_count = 0;
    mutex_unlock(&inbox->table.lock);
    struct process *process, *next;
    DL_FOREACH_SAFE(list, process, next)
    process_discard(process);
    if (container->network_id[0])
        networks_leave(inbox->networks, container->network_id);
    if (in_table)
        container_unref(container);
}

struct container *
container_ref(struct container *container)
{
    atomic_fetch_add_explicit(&container->references, 1, memory_order_relaxed);
    return container;
}

static void
container_free(struct container *container)
{
    for (size_t i = 0; i < container->created_mount_count; i++)
        free(container->created_mounts[i]);
    free(container->created_mounts);
    added_mounts_free(container);
    mutex_lock(&container->inbox->table.lock);
    tag_done(&container->tag);
    mutex_unlock(&container->inbox->table.lock);
    free(container);
}

void
container_unref(struct container *container)
{
    if (container && atomic_fetch_sub_explicit(&container->references, 1, memory_order_acq_rel) == 1)
        container_free(container);
}

void
container_unrefp(struct container **container)
{
    container_unref(*container);
    *container = NULL;
}

struct container *
container_new_guest(struct inbox *inbox)
{
    struct container *guest = container_new(inbox, GUEST_ID);
    if (!guest)
        return NULL;
    mutex_lock(&inbox->table.lock);
    guest->state = CONTAINER_RUNNING;
    mutex_unlock(&inbox->table.lock);
    return guest;
}

size_t
container_count(struct inbox *inbox)
{
    mutex_lock(&inbox->table.lock);
    size_t count = HASH_COUNT(inbox->table.containers);
    mutex_unlock(&inbox->table.lock);
    return count;
}

struct container **
container_list(struct inbox *inbox, size_t *ret_count)
{
    struct container **list = NULL, *container, *next;
    size_t count = 0;
    mutex_lock(&inbox->table.lock);
    if (inbox->table.containers)
        list = calloc(HASH_COUNT(inbox->table.containers), sizeof *list);
    if (list) {
        HASH_ITER(hh, inbox->table.containers, container, next)
        list[count++] = container_ref(container);
    }
    mutex_unlock(&inbox->table.lock);
    *ret_count = count;
    return list;
}
