#include "server/sidecar/container_processes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/rpc/hresult.h"

struct process {
    uint32_t id;
    enum container_process_state state;
    bool allow_stdio, is_restricted;
    char **args;
    size_t args_count;
    UT_hash_handle hh; /* in order of insertion, so the first is the oldest */
};

/* The state an event leads to, plus one; 0: refused. The header's table, row by row. */
#define TO(name) (CONTAINER_PROCESS_##name + 1)
static const unsigned char transitions[CONTAINER_PROCESS_STATES][CONTAINER_PROCESS_EVENTS] = {
    /*                                named        ended */
    [CONTAINER_PROCESS_UNKNOWN] = {TO(RUNNING), TO(NAMELESS)},
    [CONTAINER_PROCESS_NAMELESS] = {TO(EXITED), TO(NAMELESS)},
    [CONTAINER_PROCESS_RUNNING] = {0, TO(EXITED)},
    [CONTAINER_PROCESS_EXITED] = {0, TO(EXITED)},
};

bool
container_process_next(enum container_process_state from, enum container_process_event event,
                       enum container_process_state *ret)
{
    unsigned char next = transitions[from][event];
    if (next == 0)
        return false;
    *ret = (enum container_process_state)(next - 1);
    return true;
}

static void
state_take(enum container_process_state *state, enum container_process_event event)
{
    bool taken = container_process_next(*state, event, state);
    assert(taken); /* nobody is named twice */
    (void)taken;
}

void
container_process_free(struct process *process)
{
    for (size_t i = 0; i < process->args_count; i++)
        free(process->args[i]);
    free(process->args);
    free(process);
}

struct process *
container_process_new(uint32_t process_id, bool allow_stdio, const struct policy_strings *args)
{
    struct process *process = calloc(1, sizeof *process);
    char **copies = calloc(args->count + 1, sizeof *copies);
    if (!process || !copies) {
        free(process);
        free(copies);
        return NULL;
    }
    *process = (struct process){.id = process_id, .allow_stdio = allow_stdio, .args = copies};
    for (; process->args_count < args->count; process->args_count++) {
        copies[process->args_count] = strdup(args->items[process->args_count]);
        if (!copies[process->args_count]) {
            container_process_free(process);
            return NULL;
        }
    }
    return process;
}

void
container_processes_done(struct container_processes *processes)
{
    struct process *process, *after;
    HASH_ITER(hh, processes->others, process, after)
    {
        HASH_DEL(processes->others, process);
        container_process_free(process);
    }
    *processes = (struct container_processes){0};
}

enum status
container_processes_make_room(struct container_processes *processes, const char *container_id,
                              struct error *err)
{
    if (HASH_COUNT(processes->others) < LIMIT_PROCESSES)
        return STATUS_OK;
    struct process *process, *after;
    HASH_ITER(hh, processes->others, process, after)
    {
        if (process->state == CONTAINER_PROCESS_RUNNING)
            continue;
        HASH_DEL(processes->others, process);
        container_process_free(process);
        return STATUS_OK;
    }
    return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "container %s: %d processes run", container_id,
                     LIMIT_PROCESSES);
}

static bool
is_init(const struct container_processes *processes, uint32_t process_id)
{
    return process_id != 0 && processes->init.id == process_id;
}

static struct process *
other(const struct container_processes *processes, uint32_t process_id)
{
    struct process *process = NULL;
    HASH_FIND_INT(processes->others, &process_id, process);
    return process;
}

/* What is known of a process before it is named; that is forgotten. */
static enum container_process_state
nameless_take(struct container_processes *processes, uint32_t process_id)
{
    struct process *process = other(processes, process_id);
    if (!process || process->state != CONTAINER_PROCESS_NAMELESS)
        return CONTAINER_PROCESS_UNKNOWN;
    HASH_DEL(processes->others, process);
    container_process_free(process);
    return CONTAINER_PROCESS_NAMELESS;
}

void
container_processes_set_init(struct container_processes *processes, uint32_t process_id, bool allow_stdio,
                             bool ended)
{
    processes->init.state = nameless_take(processes, process_id);
    processes->init.id = process_id;
    processes->init.allow_stdio = allow_stdio;
    processes->init.is_restricted = false;
    state_take(&processes->init.state, CONTAINER_PROCESS_ON_NAMED);
    if (ended)
        state_take(&processes->init.state, CONTAINER_PROCESS_ON_ENDED);
}

static enum status
insert(struct container_processes *processes, struct process *process, const char *container_id,
       struct error *err)
{
    TRY(container_processes_make_room(processes, container_id, err));
    HASH_ADD_INT(processes->others, id, process);
    return hash_holds(&process->hh) ? STATUS_OK
                                    : error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a process");
}

enum status
container_processes_add(struct container_processes *processes, struct process *process,
                        const char *container_id, struct error *err)
{
    process->state = nameless_take(processes, process->id);
    state_take(&process->state, CONTAINER_PROCESS_ON_NAMED);
    enum status status = insert(processes, process, container_id, err);
    if (status != STATUS_OK)
        container_process_free(process);
    return status;
}

static void
nameless_add(struct container_processes *processes, uint32_t process_id, const char *container_id)
{
    static const struct policy_strings no_args;
    struct error err;
    struct process *process = container_process_new(process_id, false, &no_args);
    if (!process)
        return;
    state_take(&process->state, CONTAINER_PROCESS_ON_ENDED);
    if (insert(processes, process, container_id, &err) != STATUS_OK)
        container_process_free(process);
}

void
container_processes_end(struct container_processes *processes, uint32_t process_id, const char *container_id)
{
    struct process *process = other(processes, process_id);
    if (is_init(processes, process_id))
        state_take(&processes->init.state, CONTAINER_PROCESS_ON_ENDED);
    else if (process)
        state_take(&process->state, CONTAINER_PROCESS_ON_ENDED);
    else
        nameless_add(processes, process_id, container_id);
}

void
container_processes_restrict(struct container_processes *processes, uint32_t process_id)
{
    struct process *process = other(processes, process_id);
    if (is_init(processes, process_id))
        processes->init.is_restricted = true;
    else if (process)
        process->is_restricted = true;
}

/* Copies what a decision needs into the arena. */
static enum status
process_copy(const struct process *process, struct arena *arena, struct container_process *ret,
             struct error *err)
{
    const char **items = ARENA_NEW(arena, const char *, process->args_count + 1);
    for (size_t i = 0; items && i < process->args_count; i++) {
        items[i] = arena_strndup(arena, process->args[i], strlen(process->args[i]));
        if (!items[i])
            items = NULL;
    }
    if (!items)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "the request's memory is used up");
    *ret = (struct container_process){.allow_stdio = process->allow_stdio,
                                      .exited = process->state == CONTAINER_PROCESS_EXITED,
                                      .is_restricted = process->is_restricted,
                                      .args = {.items = items, .count = process->args_count}};
    return STATUS_OK;
}

enum status
container_processes_find(const struct container_processes *processes, uint32_t process_id,
                         const char *container_id, struct arena *arena, struct container_process *ret,
                         struct error *err)
{
    if (is_init(processes, process_id)) {
        *ret = (struct container_process){.is_init = true,
                                          .allow_stdio = processes->init.allow_stdio,
                                          .exited = processes->init.state == CONTAINER_PROCESS_EXITED,
                                          .is_restricted = processes->init.is_restricted};
        return STATUS_OK;
    }
    const struct process *process = other(processes, process_id);
    if (process && process->state != CONTAINER_PROCESS_NAMELESS)
        return process_copy(process, arena, ret, err);
    return error_set_hresult(err, STATUS_NOT_FOUND, HRESULT_ELEMENT_NOT_FOUND,
                             "container %s: process %u is not known", container_id, process_id);
}
