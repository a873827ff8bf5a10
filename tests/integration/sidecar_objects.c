#include "tests/integration/sidecar_objects.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/base/text.h"
#include "server/rpc/wire.h"

enum { OBJECTS_MAX = 8192 };

/* An object of the schema, owned. `about` is its container; scratches and ids have none. */
struct object {
    char about[LIMIT_CONTAINER_ID_BYTES + 1];
    Gcs__V1__InboxObject *message;
};

struct objects {
    struct {
        struct mutex lock;
        struct object list[OBJECTS_MAX] GUARDED;
        size_t count GUARDED;
    } state;
};

/* The sequence that ListObjects promises. */
static const Gcs__V1__InboxObject__ObjectCase order[] = {
    GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH, GCS__V1__INBOX_OBJECT__OBJECT_ROOT,
    GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER, GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID};

struct objects *
objects_new(void)
{
    struct objects *objects = calloc(1, sizeof *objects);
    if (!objects)
        abort();
    mutex_init(&objects->state.lock, RANK_LEAF);
    return objects;
}

void
objects_clear(struct objects *objects)
{
    mutex_lock(&objects->state.lock);
    for (size_t i = 0; i < objects->state.count; i++)
        gcs__v1__inbox_object__free_unpacked(objects->state.list[i].message, NULL);
    objects->state.count = 0;
    mutex_unlock(&objects->state.lock);
}

void
objects_free(struct objects *objects)
{
    objects_clear(objects);
    mutex_done(&objects->state.lock);
    free(objects);
}

static Gcs__V1__InboxObject *
copy_of(const Gcs__V1__InboxObject *message)
{
    size_t size = gcs__v1__inbox_object__get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        abort();
    gcs__v1__inbox_object__pack(message, bytes);
    Gcs__V1__InboxObject *copy = gcs__v1__inbox_object__unpack(NULL, size, bytes);
    free(bytes);
    return copy;
}

static void
add(struct objects *objects, const char *about, const Gcs__V1__InboxObject *message)
    REQUIRES(objects->state.lock)
{
    if (objects->state.count == OBJECTS_MAX)
        abort();
    struct object *object = &objects->state.list[objects->state.count++];
    snprintf(object->about, sizeof object->about, "%s", about);
    object->message = copy_of(message);
}

static bool
is_id(const Gcs__V1__InboxObject *message)
{
    return message->object_case == GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID;
}

/* What tells it from others of its kind and container; "": there are none. */
static const char *
name_of(const Gcs__V1__InboxObject *message)
{
    switch (message->object_case) {
    case GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH:
        return message->scratch->target;
    case GCS__V1__INBOX_OBJECT__OBJECT_MOUNT:
        return message->mount->destination;
    default:
        return "";
    }
}

/* Takes away what is about the container and of the kind; NOT_SET: the container with all that is its own.
 * name: that one alone; NULL: all of them. */
static void
drop(struct objects *objects, const char *about, Gcs__V1__InboxObject__ObjectCase kind, const char *name)
    REQUIRES(objects->state.lock)
{
    size_t kept = 0;
    for (size_t i = 0; i < objects->state.count; i++) {
        struct object *object = &objects->state.list[i];
        Gcs__V1__InboxObject__ObjectCase its = object->message->object_case;
        bool goes = strcmp(object->about, about) == 0 &&
                    (kind == GCS__V1__INBOX_OBJECT__OBJECT__NOT_SET
                         ? its != GCS__V1__INBOX_OBJECT__OBJECT_ROOT && !is_id(object->message)
                         : its == kind && (!name || strcmp(name_of(object->message), name) == 0));
        if (goes)
            gcs__v1__inbox_object__free_unpacked(object->message, NULL);
        else
            objects->state.list[kept++] = *object;
    }
    objects->state.count = kept;
}

static Gcs__V1__ContainerObject *
container_of(struct objects *objects, const char *about) REQUIRES(objects->state.lock)
{
    for (size_t i = 0; i < objects->state.count; i++)
        if (objects->state.list[i].message->object_case == GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER &&
            strcmp(objects->state.list[i].about, about) == 0)
            return objects->state.list[i].message->container;
    return NULL;
}

static ProtobufCBinaryData
tag_of(const Gcs__V1__Request *request)
{
    return request->approval ? request->approval->tag : (ProtobufCBinaryData){0};
}

static void
tag_set(ProtobufCBinaryData *tag, const void *bytes, size_t size)
{
    free(tag->data);
    tag->data = malloc(size + 1);
    if (!tag->data)
        abort();
    memcpy(tag->data, bytes, size);
    tag->len = size;
}

static void
follow_settings(struct objects *objects, const Gcs__V1__Request *request) REQUIRES(objects->state.lock)
{
    const Gcs__V1__ModifySettings *settings = request->modify_settings;
    const char *id = request->container_id;
    bool adds = settings->request_type == GCS__V1__REQUEST_TYPE__REQUEST_TYPE_ADD;
    Gcs__V1__InboxObject message = GCS__V1__INBOX_OBJECT__INIT;
    Gcs__V1__ScratchObject scratch = GCS__V1__SCRATCH_OBJECT__INIT;
    Gcs__V1__RootObject root = GCS__V1__ROOT_OBJECT__INIT;
    if (settings->resource_case == GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_SCRATCH) {
        scratch.target = settings->container_scratch->target;
        scratch.tag = tag_of(request);
        message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_SCRATCH;
        message.scratch = &scratch;
        drop(objects, "", message.object_case, scratch.target);
        if (adds)
            add(objects, "", &message);
        return;
    }
    if (settings->resource_case == GCS__V1__MODIFY_SETTINGS__RESOURCE_CONTAINER_MOUNT) {
        message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_MOUNT;
        message.mount = settings->container_mount->mount;
        drop(objects, id, message.object_case, message.mount->destination);
        if (adds)
            add(objects, id, &message);
        return;
    }
    if (settings->resource_case != GCS__V1__MODIFY_SETTINGS__RESOURCE_COMBINED_LAYERS)
        return;
    root.container_id = request->container_id;
    root.scratch_target = settings->combined_layers->scratch_target;
    root.volume_id = settings->combined_layers->volume_id;
    root.tag = tag_of(request);
    message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_ROOT;
    message.root = &root;
    drop(objects, id, message.object_case, NULL);
    if (adds)
        add(objects, id, &message);
}

static void
follow_create(struct objects *objects, const Gcs__V1__Request *request) REQUIRES(objects->state.lock)
{
    const Gcs__V1__Spec *spec = request->create_container->spec;
    Gcs__V1__InboxObject message = GCS__V1__INBOX_OBJECT__INIT;
    Gcs__V1__ContainerObject container = GCS__V1__CONTAINER_OBJECT__INIT;
    uint8_t bytes[LIMIT_CONTAINER_ID_BYTES / 2];
    container.container_id = request->container_id;
    container.state = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_CREATED;
    container.tag = tag_of(request);
    message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER;
    message.container = &container;
    add(objects, request->container_id, &message);
    for (size_t i = 0; i < spec->n_mounts; i++) {
        message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_MOUNT;
        message.mount = spec->mounts[i];
        add(objects, request->container_id, &message);
    }
    if (!text_unhex(bytes, sizeof bytes, request->container_id))
        abort();
    message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID;
    message.created_id = (ProtobufCBinaryData){.data = bytes, .len = sizeof bytes};
    add(objects, request->container_id, &message);
}

static void
follow_process(struct objects *objects, const Gcs__V1__Request *request, uint32_t process_id)
    REQUIRES(objects->state.lock)
{
    Gcs__V1__InboxObject message = GCS__V1__INBOX_OBJECT__INIT;
    Gcs__V1__ProcessObject process = GCS__V1__PROCESS_OBJECT__INIT;
    Gcs__V1__ContainerObject *container = container_of(objects, request->container_id);
    if (!container) { /* the UVM, which is listed once it has a process */
        Gcs__V1__ContainerObject uvm = GCS__V1__CONTAINER_OBJECT__INIT;
        uvm.container_id = request->container_id;
        uvm.state = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING;
        message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER;
        message.container = &uvm;
        add(objects, request->container_id, &message);
    }
    process.process_id = process_id;
    process.is_init = request->body_case == GCS__V1__REQUEST__BODY_START_CONTAINER;
    process.tag = tag_of(request);
    if (process.is_init && container) {
        container->state = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_RUNNING;
        container->init_process_id = process_id;
    }
    message.object_case = GCS__V1__INBOX_OBJECT__OBJECT_PROCESS;
    message.process = &process;
    add(objects, request->container_id, &message);
}

static void
follow_locked(struct objects *objects, const Gcs__V1__Request *request, uint32_t process_id)
    REQUIRES(objects->state.lock)
{
    Gcs__V1__ContainerObject *container = container_of(objects, request->container_id);
    if (container && request->approval && request->approval->container_tag.len > 0)
        tag_set(&container->tag, request->approval->container_tag.data, request->approval->container_tag.len);
    switch (request->body_case) {
    case GCS__V1__REQUEST__BODY_MODIFY_SETTINGS:
        follow_settings(objects, request);
        break;
    case GCS__V1__REQUEST__BODY_CREATE_CONTAINER:
        follow_create(objects, request);
        break;
    case GCS__V1__REQUEST__BODY_START_CONTAINER:
    case GCS__V1__REQUEST__BODY_EXECUTE_PROCESS:
        follow_process(objects, request, process_id);
        break;
    case GCS__V1__REQUEST__BODY_DELETE_CONTAINER_STATE:
        drop(objects, request->container_id, GCS__V1__INBOX_OBJECT__OBJECT__NOT_SET, NULL);
        if (request->approval && request->approval->forget_id)
            drop(objects, request->container_id, GCS__V1__INBOX_OBJECT__OBJECT_CREATED_ID, NULL);
        break;
    default:
        break;
    }
}

void
objects_follow(struct objects *objects, const Gcs__V1__Request *request, uint32_t process_id)
{
    mutex_lock(&objects->state.lock);
    follow_locked(objects, request, process_id);
    mutex_unlock(&objects->state.lock);
}

void
objects_process_ended(struct objects *objects, const char *container_id, uint32_t process_id)
{
    mutex_lock(&objects->state.lock);
    Gcs__V1__ContainerObject *container = container_of(objects, container_id);
    if (container && (process_id == 0 || container->init_process_id == process_id))
        container->state = GCS__V1__CONTAINER_STATE__CONTAINER_STATE_STOPPED;
    for (size_t i = 0; i < objects->state.count; i++) {
        Gcs__V1__InboxObject *message = objects->state.list[i].message;
        if (message->object_case == GCS__V1__INBOX_OBJECT__OBJECT_PROCESS &&
            strcmp(objects->state.list[i].about, container_id) == 0 &&
            message->process->process_id == process_id)
            message->process->exited = true;
    }
    mutex_unlock(&objects->state.lock);
}

void
objects_spoil(struct objects *objects, const char *container_id, const char *root_tag,
              const char *container_tag)
{
    mutex_lock(&objects->state.lock);
    for (size_t i = 0; i < objects->state.count; i++) {
        Gcs__V1__InboxObject *message = objects->state.list[i].message;
        if (strcmp(objects->state.list[i].about, container_id) != 0)
            continue;
        if (root_tag && message->object_case == GCS__V1__INBOX_OBJECT__OBJECT_ROOT)
            tag_set(&message->root->tag, root_tag, strlen(root_tag));
        if (container_tag && message->object_case == GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER)
            tag_set(&message->container->tag, container_tag, strlen(container_tag));
    }
    mutex_unlock(&objects->state.lock);
}

/* -- the list -- */

struct listing {
    uint64_t at, first;
    bool one_a_page;
    Gcs__V1__ListObjectsResponse *ret;
};

static void
list_one(struct listing *listing, const Gcs__V1__InboxObject *message)
{
    uint64_t number = listing->at++;
    if (number < listing->first || listing->ret->next != 0)
        return;
    if (listing->one_a_page && listing->ret->n_objects == 1) {
        listing->ret->next = number;
        return;
    }
    listing->ret->objects[listing->ret->n_objects++] = (Gcs__V1__InboxObject *)(uintptr_t)message;
}

/* The container's own. */
static void
list_parts(struct objects *objects, struct listing *listing, const char *about) REQUIRES(objects->state.lock)
{
    static const Gcs__V1__InboxObject__ObjectCase parts[] = {GCS__V1__INBOX_OBJECT__OBJECT_MOUNT,
                                                             GCS__V1__INBOX_OBJECT__OBJECT_PROCESS};
    for (size_t k = 0; k < 2; k++)
        for (size_t i = 0; i < objects->state.count; i++)
            if (objects->state.list[i].message->object_case == parts[k] &&
                strcmp(objects->state.list[i].about, about) == 0)
                list_one(listing, objects->state.list[i].message);
}

void
objects_list(struct objects *objects, const Gcs__V1__ListObjects *ask, bool one_a_page, struct arena *arena,
             Gcs__V1__ListObjectsResponse *ret)
{
    struct listing listing = {.first = ask->first, .one_a_page = one_a_page, .ret = ret};
    gcs__v1__list_objects_response__init(ret);
    ret->objects = ARENA_NEW(arena, Gcs__V1__InboxObject *, OBJECTS_MAX);
    if (!ret->objects)
        abort();
    mutex_lock(&objects->state.lock);
    for (size_t k = 0; k < sizeof order / sizeof order[0]; k++)
        for (size_t i = 0; i < objects->state.count; i++) {
            const struct object *object = &objects->state.list[i];
            if (object->message->object_case != order[k])
                continue;
            list_one(&listing, object->message);
            if (order[k] == GCS__V1__INBOX_OBJECT__OBJECT_CONTAINER)
                list_parts(objects, &listing, object->about);
        }
    for (size_t i = 0; i < ret->n_objects; i++) { /* copies: the objects may change once the lock is gone */
        size_t size = gcs__v1__inbox_object__get_packed_size(ret->objects[i]);
        uint8_t *bytes = arena_alloc(arena, size + 1);
        ProtobufCMessage *copy;
        struct error err;
        if (!bytes)
            abort();
        gcs__v1__inbox_object__pack(ret->objects[i], bytes);
        if (wire_unpack(&gcs__v1__inbox_object__descriptor, bytes, size, arena, &copy, &err) != STATUS_OK)
            abort();
        ret->objects[i] = (Gcs__V1__InboxObject *)copy;
    }
    mutex_unlock(&objects->state.lock);
}
