/*
 * ListObjects: everything there is, in pages, for a sidecar that has to know it again.
 *
 * All objects are one sequence: scratches, roots, containers with what is theirs, ids. A page walks it from
 * the beginning and keeps what lies behind its first number, until it is full: simple, and it happens when a
 * sidecar starts.
 */
#include <string.h>
#include <utlist.h>

#include "server/inbox/added_mount.h"
#include "server/inbox/handlers.h"
#include "server/inbox/kept_mount.h"
#include "server/inbox/overlay.h"
#include "server/inbox/process.h"

/* No object of the schema is encoded in fewer bytes than this, its place in the list included. */
enum { OBJECT_BYTES_MIN = 4, OBJECTS_MAX = LIMIT_INVENTORY_BYTES / OBJECT_BYTES_MIN };

struct page {
    struct arena *arena;
    uint64_t first, at; /* at: the number of the next object of the sequence */
    uint64_t next;      /* where the page ended; 0: not yet */
    size_t bytes;
    bool out_of_memory;
    Gcs__V1__ListObjectsResponse body;
};

/* An object and its message in one piece. */
struct listed {
    Gcs__V1__InboxObject object;
    union {
        Gcs__V1__ScratchObject scratch;
        Gcs__V1__RootObject root;
        Gcs__V1__ContainerObject container;
        Gcs__V1__ProcessObject process;
    } message;
};

/* A place for the next object, or NULL: it belongs to another page. The caller fills it and calls
 * page_put(). */
static struct listed *
page_take(struct page *page, Gcs__V1__InboxObject__ObjectCase kind)
{
    uint64_t number = page->at++;
    if (number < page->first || page->next != 0 || page->out_of_memory)
        return NULL;
    if (page->bytes >= LIMIT_INVENTORY_BYTES || page->body.n_objects == OBJECTS_MAX) {
        page->next = number;
        return NULL;
    }
    struct listed *listed = ARENA_NEW(page->arena, struct listed, 1);
    page->out_of_memory = !listed;
    if (listed) {
        gcs__v1__inbox_object__init(&listed->object);
        listed->object.object_case = kind;
    }
    return listed;
}

static void
page_put(struct page *page, struct listed *listed)
{
    if (page->out_of_memory)
        return;
    page->body.objects[page->body.n_objects++] = &listed->object;
    page->bytes += OBJECT_BYTES_MIN + gcs__v1__inbox_object__get_packed_size(&listed->object);
}

/* Copies, since what is copied stays only as long as a lock is held. */
static char *
text_copy(struct page *page, const char *text)
{
    char *copy = arena_strndup(page->arena, text, strlen(text));
    page->out_of_memory = page->out_of_memory || !copy;
    return copy;
}

static ProtobufCBinaryData
bytes_copy(struct page *page, const uint8_t *bytes, size_t size)
{
    ProtobufCBinaryData copy = {.len = size, .data = ARENA_NEW(page->arena, uint8_t, size + 1)};
    page->out_of_memory = page->out_of_memory || !copy.data;
    if (copy.data && size > 0)
        memcpy(copy.data, bytes, size);
    return copy;
}

static void
scratch_list(void *arg, const char *target, const struct tag *tag)
{
    struct page *page = arg;
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH);
    if (!listed)
        return;
    Gcs__V1__ScratchObject *message = listed->object.scratch = &listed->message.scratch;
    gcs__v1__scratch_object__init(message);
    message->target = text_copy(page, target);
    message->tag = bytes_copy(page, tag->bytes, tag->size);
    page_put(page, listed);
}

static void
root_list(void *arg, const char *id, const char *target, const char *volume_id, const struct tag *tag)
{
    struct page *page = arg;
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_ROOT);
    if (!listed)
        return;
    Gcs__V1__RootObject *message = listed->object.root = &listed->message.root;
    gcs__v1__root_object__init(message);
    message->container_id = text_copy(page, id);
    message->scratch_target = text_copy(page, target);
    message->volume_id = text_copy(page, volume_id);
    message->tag = bytes_copy(page, tag->bytes, tag->size);
    page_put(page, listed);
}

static void
mount_list(struct page *page, const struct kept_mount *kept)
{
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_MOUNT);
    if (!listed)
        return;
    listed->object.mount = kept_mount_read(kept, page->arena);
    page->out_of_memory = !listed->object.mount;
    page_put(page, listed);
}

static void
process_list(struct inbox *inbox, struct page *page, const struct process *process)
    REQUIRES(inbox->table.lock)
{
    (void)inbox; /* names the lock */
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_PROCESS);
    if (!listed)
        return;
    Gcs__V1__ProcessObject *message = listed->object.process = &listed->message.process;
    gcs__v1__process_object__init(message);
    message->process_id = process->id;
    message->is_init = process->is_init;
    message->exited = process_state_is_settled(process->state);
    message->tag = bytes_copy(page, process->tag.bytes, process->tag.size);
    page_put(page, listed);
}

static void
container_list_one(struct inbox *inbox, struct page *page, const struct container *container)
    REQUIRES(inbox->table.lock)
{
    static const Gcs__V1__ContainerState states[CONTAINER_STATES] = {
        [CONTAINER_CREATING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATING,
        [CONTAINER_CREATED] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATED,
        [CONTAINER_RUNNING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING,
        [CONTAINER_STOPPED] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_STOPPED,
        [CONTAINER_DELETING] = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_UNSPECIFIED,
    };
    const struct process *process;
    const struct added_mount *mount;
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER);
    if (listed) {
        Gcs__V1__ContainerObject *message = listed->object.container = &listed->message.container;
        gcs__v1__container_object__init(message);
        message->container_id = text_copy(page, container->id);
        message->system_id = text_copy(page, container->system_id);
        message->state = states[container->state];
        message->init_process_id = container->init ? container->init->id : 0;
        message->tag = bytes_copy(page, container->tag.bytes, container->tag.size);
        message->was_started = container->started_ns != 0;
        if (container->init && process_state_is_settled(container->init->state)) {
            message->exit = process_exit_type(inbox, container->init);
            message->exit_code = (uint32_t)container->init->exit_code;
        }
        page_put(page, listed);
    }
    for (size_t i = 0; container->state != CONTAINER_CREATING && i < container->created_mount_count; i++)
        mount_list(page, container->created_mounts[i]);
    LL_FOREACH(container->mounts, mount)
    mount_list(page, mount->kept);
    DL_FOREACH(container->processes, process)
    process_list(inbox, page, process);
}

static void
id_list(struct page *page, const struct created_id *id)
{
    struct listed *listed = page_take(page, GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID);
    if (!listed)
        return;
    listed->object.created_id = bytes_copy(page, id->bytes, sizeof id->bytes);
    page_put(page, listed);
}

static void
table_list(struct inbox *inbox, struct page *page)
{
    struct container *container, *next;
    struct created_id *id, *next_id;
    mutex_lock(&inbox->table.lock);
    if (inbox->guest->processes)
        container_list_one(inbox, page, inbox->guest);
    HASH_ITER(hh, inbox->table.containers, container, next)
    container_list_one(inbox, page, container);
    HASH_ITER(hh, inbox->table.created, id, next_id)
    id_list(page, id);
    mutex_unlock(&inbox->table.lock);
}

static enum status
page_make(struct request *req, struct page *page, struct error *err)
{
    struct inbox *inbox = inbox_of(req);
    page->arena = &req->arena;
    page->first = req->call->list_objects->first;
    gcs__v1__list_objects_response__init(&page->body);
    page->body.events_through = event_log_last(inbox->events); /* first: a later event may be seen as well */
    page->body.objects = ARENA_NEW(&req->arena, Gcs__V1__InboxObject *, OBJECTS_MAX);
    if (!page->body.objects)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the objects");
    overlays_visit(inbox->overlays, scratch_list, root_list, page);
    table_list(inbox, page);
    if (page->out_of_memory)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the objects");
    if (page->first > 0 && page->first >= page->at)
        return error_set(err, STATUS_OUT_OF_RANGE, 0, "list_objects.first: there are %llu objects",
                         (unsigned long long)page->at);
    page->body.next = page->next;
    return STATUS_OK;
}

void
handle_list_objects(struct request *req)
{
    struct page page = {0};
    struct error err;
    if (inbox_of(req)->options.standalone) {
        error_set(&err, STATUS_UNIMPLEMENTED, 0, "ListObjects: only an inbox behind a sidecar tells it");
        request_reject(req, &err);
        return;
    }
    if (req->call->list_objects->first == 0)
        request_end_other_sessions(req);
    if (page_make(req, &page, &err) != STATUS_OK) {
        request_reject(req, &err);
        return;
    }
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_LIST_OBJECTS;
    response.list_objects = &page.body;
    request_reply(req, &response);
}
