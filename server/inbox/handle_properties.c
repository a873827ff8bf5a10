/* GetProperties: the system id, statistics, and the list of processes. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/inbox/handlers.h"
#include "server/inbox/proc.h"
#include "server/inbox/process.h"
#include "server/inbox/runtime.h"

/* A process's place in the list: those the inbox started by their ids, all others behind them by their
 * pids. */
#define PLACE_OF_PID(pid) (((uint64_t)1 << 32) + (uint64_t)(pid))

/* A process the inbox started, as it was when the table was looked at. */
struct known {
    uint32_t id;
    pid_t pid;
    bool is_init, exited;
    uint64_t created_us;
    char image[PROCESS_IMAGE_BYTES];
};

static enum status
types_check(const Gcs__V1__GetProperties *call, struct error *err)
{
    unsigned seen = 0;
    if (call->n_types == 0)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "get_properties.types is empty");
    for (size_t i = 0; i < call->n_types; i++) {
        unsigned type = (unsigned)call->types[i];
        if (type == GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_UNSPECIFIED ||
            type > GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST)
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "get_properties.types[%zu] is no property", i);
        if (seen & (1U << type))
            return error_set(err, STATUS_INVALID_ARGUMENT, 0, "get_properties.types[%zu] is there twice", i);
        seen |= 1U << type;
    }
    return STATUS_OK;
}

static Gcs__V1__ContainerState
state_message(enum container_state state)
{
    static const Gcs__V1__ContainerState messages[CONTAINER_STATES] = {
        [CONTAINER_CREATING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATING,
        [CONTAINER_CREATED] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATED,
        [CONTAINER_RUNNING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING,
        [CONTAINER_STOPPED] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_STOPPED,
        [CONTAINER_DELETING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_STOPPED,
    };
    return messages[state];
}

static Gcs__V1__Statistics *
statistics_read(struct container *container, struct arena *arena)
{
    struct inbox *inbox = container->inbox;
    Gcs__V1__Statistics *message = ARENA_NEW(arena, Gcs__V1__Statistics, 1);
    if (!message)
        return NULL;
    gcs__v1__statistics__init(message);
    struct cgroup_figures figures;
    inbox->runtime->statistics(container, &figures);
    mutex_lock(&inbox->table.lock);
    int64_t started_ns = container->started_ns;
    message->start_time_us = container->started_wall_us;
    int64_t until_ns = container->stopped_ns ? container->stopped_ns : clock_now_ns();
    mutex_unlock(&inbox->table.lock);
    message->timestamp_us = clock_wall_us();
    message->uptime_us = started_ns ? (uint64_t)((until_ns - started_ns) / NS_PER_US) : 0;
    message->cpu_total_ns = figures.cpu_total_ns;
    message->cpu_user_ns = figures.cpu_user_ns;
    message->cpu_kernel_ns = figures.cpu_kernel_ns;
    message->memory_bytes = figures.memory_bytes;
    message->memory_peak_bytes = figures.memory_peak_bytes;
    message->memory_limit_bytes = figures.memory_limit_bytes;
    message->memory_working_set_bytes = figures.memory_working_set_bytes;
    message->storage_read_count = figures.read_count;
    message->storage_read_bytes = figures.read_bytes;
    message->storage_write_count = figures.write_count;
    message->storage_write_bytes = figures.write_bytes;
    message->processes = figures.processes;
    return message;
}

static size_t
known_list(struct container *container, struct known *ret, size_t max)
{
    size_t count = 0;
    struct process *process;
    mutex_lock(&container->inbox->table.lock);
    DL_FOREACH(container->processes, process)
    {
        if (count == max)
            break;
        ret[count] = (struct known){.id = process->id,
                                    .pid = process->pid,
                                    .is_init = process->is_init,
                                    .exited = process_state_is_ended(process->state),
                                    .created_us = process->announced_wall_us};
        memcpy(ret[count].image, process->image, sizeof process->image);
        count++;
    }
    mutex_unlock(&container->inbox->table.lock);
    return count;
}

static const struct known *
known_find(const struct known *known, size_t count, pid_t pid)
{
    for (size_t i = 0; i < count; i++) {
        if (known[i].pid == pid && !known[i].exited)
            return &known[i];
    }
    return NULL;
}

static void
figures_use(Gcs__V1__ProcessDetails *details, struct proc_figures *figures)
{
    details->user_time_us = figures->user_us;
    details->kernel_time_us = figures->kernel_us;
    details->memory_bytes = figures->memory_bytes;
    details->memory_shared_bytes = figures->memory_shared_bytes;
    details->memory_commit_bytes = figures->memory_commit_bytes;
}

/* One page of the list, as it grows. */
struct page {
    Gcs__V1__ProcessDetails details[LIMIT_PROCESS_PAGE], *list[LIMIT_PROCESS_PAGE];
    size_t count;
    uint64_t next; /* the place of the first one that had no room; 0: all had */
};

/* Room for the process at `place`, or NULL: it is on another page. */
static Gcs__V1__ProcessDetails *
page_take(struct page *page, uint64_t first, uint64_t place)
{
    if (place < first || page->next != 0)
        return NULL;
    if (page->count == LIMIT_PROCESS_PAGE) {
        page->next = place;
        return NULL;
    }
    Gcs__V1__ProcessDetails *one = page->list[page->count] = &page->details[page->count];
    page->count++;
    gcs__v1__process_details__init(one);
    return one;
}

/* What the inbox started, ended ones included. */
static void
page_add_known(struct page *page, uint64_t first, struct known *known, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct proc_figures figures;
        Gcs__V1__ProcessDetails *one = page_take(page, first, known[i].id);
        if (!one)
            continue;
        one->process_id = known[i].id;
        one->pid = (uint32_t)known[i].pid;
        one->is_init = known[i].is_init;
        one->exited = known[i].exited;
        one->image_name = known[i].image;
        one->created_us = known[i].created_us;
        if (!one->exited && known[i].pid > 0 && proc_read(known[i].pid, &figures))
            figures_use(one, &figures);
    }
}

/* What those have started in the container. */
static enum status
page_add_pid(struct page *page, uint64_t first, pid_t pid, struct arena *arena, struct error *err)
{
    struct proc_figures figures;
    if (PLACE_OF_PID(pid) < first || !proc_read(pid, &figures))
        return STATUS_OK;
    Gcs__V1__ProcessDetails *one = page_take(page, first, PLACE_OF_PID(pid));
    if (!one)
        return STATUS_OK;
    one->pid = (uint32_t)pid;
    one->created_us = figures.started_wall_us;
    one->image_name = arena_strndup(arena, figures.name, strlen(figures.name));
    if (!one->image_name)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the process list");
    figures_use(one, &figures);
    return STATUS_OK;
}

static int
pid_compare(const void *a, const void *b)
{
    pid_t left = *(const pid_t *)a, right = *(const pid_t *)b;
    return (left > right) - (left < right);
}

static enum status
process_list(struct container *container, uint64_t first, struct arena *arena,
             Gcs__V1__GetPropertiesResponse *body, struct error *err)
{
    struct known *known = ARENA_NEW(arena, struct known, LIMIT_PROCESSES);
    pid_t *pids = ARENA_NEW(arena, pid_t, LIMIT_CONTAINER_TASKS);
    struct page *page = ARENA_NEW(arena, struct page, 1);
    if (!known || !pids || !page)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the process list");
    size_t known_count = known_list(container, known, LIMIT_PROCESSES);
    page_add_known(page, first, known, known_count);
    size_t pid_count = container->inbox->runtime->processes(container, pids, LIMIT_CONTAINER_TASKS);
    qsort(pids, pid_count, sizeof *pids, pid_compare);
    for (size_t i = 0; i < pid_count && page->next == 0; i++)
        if (!known_find(known, known_count, pids[i]))
            TRY(page_add_pid(page, first, pids[i], arena, err));
    body->n_processes = page->count;
    body->processes = page->list;
    body->next_process = page->next;
    return STATUS_OK;
}

static bool
wants_processes(const Gcs__V1__GetProperties *call)
{
    for (size_t i = 0; i < call->n_types; i++)
        if (call->types[i] == GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_PROCESS_LIST)
            return true;
    return false;
}

static enum status
fill(struct request *req, struct container *container, Gcs__V1__GetPropertiesResponse *body,
     struct error *err)
{
    const Gcs__V1__GetProperties *call = req->call->get_properties;
    TRY(types_check(call, err));
    if (call->first_process != 0 && !wants_processes(call))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "get_properties.first_process: only with the process list among the types");
    mutex_lock(&container->inbox->table.lock);
    body->state = state_message(container->state);
    mutex_unlock(&container->inbox->table.lock);
    for (size_t i = 0; i < call->n_types; i++) {
        if (call->types[i] == GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_SYSTEM_GUID) {
            body->system_id = arena_strndup(&req->arena, container->system_id, SYSTEM_ID_BYTES - 1);
            if (!body->system_id)
                return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the system id");
        } else if (call->types[i] == GCS__V1__PROPERTY_TYPE__PROPERTY_TYPE_STATISTICS) {
            body->statistics = statistics_read(container, &req->arena);
            if (!body->statistics)
                return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the statistics");
        } else {
            TRY(process_list(container, call->first_process, &req->arena, body, err));
        }
    }
    return STATUS_OK;
}

void
handle_get_properties(struct request *req)
{
    struct error err;
    struct container *container = NULL;
    Gcs__V1__GetPropertiesResponse body;
    gcs__v1__get_properties_response__init(&body);
    enum status status = container_find(inbox_of(req), req->call->container_id, &container, &err);
    if (status == STATUS_OK)
        status = fill(req, container, &body, &err);
    container_unref(container);
    if (status != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_GET_PROPERTIES;
    response.get_properties = &body;
    request_reply(req, &response);
}
