#include "server/sidecar/inbox_sync.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/sidecar/compare.h"
#include "server/sidecar/inbox_watch.h"
#include "server/sidecar/rebuild.h"
#include "server/sidecar/sidecar.h"

/* How long to wait before another attempt while the connection lasts. */
#define AGAIN_NS (100 * NS_PER_MS)

/* How long the inbox may take for a page: its requests under way end first. */
enum { PAGE_TIME_MS = LIMIT_TIMEOUT_MS };

struct inbox_sync {
    struct sidecar *sidecar;
    _Atomic(struct caller *) inbox; /* NULL until inbox_sync_start() */
    struct timer again;

    struct {
        struct mutex lock;
        bool connected GUARDED;
        bool running GUARDED;            /* a run is under way */
        uint64_t connection GUARDED;     /* counts up with each change */
        struct request *waiting GUARDED; /* SetPolicy; NULL: nobody waits */
    } state;

    /* The run's, which belongs to one thread at a time. */
    uint64_t run_connection;
    struct inventory *inventory;
    struct orphans orphans;
    size_t orphans_gone;
    uint64_t known_through; /* events that the tables were built with; 0: they were compared */
};

static void run_begin(struct inbox_sync *sync);

static void
again_fired(struct timer *timer, void *arg)
{
    (void)timer;
    run_begin(arg);
}

struct inbox_sync *
inbox_sync_new(struct sidecar *sidecar)
{
    struct inbox_sync *sync = calloc(1, sizeof *sync);
    if (!sync)
        abort();
    sync->sidecar = sidecar;
    mutex_init(&sync->state.lock, RANK_LEAF);
    timer_init(&sync->again, sidecar->timers, again_fired, sync);
    return sync;
}

void
inbox_sync_stop(struct inbox_sync *sync)
{
    timer_cancel_and_wait(&sync->again);
}

void
inbox_sync_free(struct inbox_sync *sync)
{
    if (!sync)
        return;
    inventory_free(sync->inventory);
    orphans_done(&sync->orphans);
    mutex_done(&sync->state.lock);
    free(sync);
}

static void
policy_answer(struct request *req)
{
    Gcs__V1__Response response = request_response(req);
    Gcs__V1__ModifySettingsResponse body = GCS__V1__MODIFY_SETTINGS_RESPONSE__INIT;
    response.body_case = GCS__V1__RESPONSE__BODY_MODIFY_SETTINGS;
    response.modify_settings = &body;
    request_reply(req, &response);
}

/* -- the end of a run -- */

/* `reason` NULL: both agree. */
static void
run_end(struct inbox_sync *sync, const char *reason)
{
    struct sidecar *sidecar = sync->sidecar;
    uint64_t known_through = sync->known_through;
    mutex_lock(&sync->state.lock);
    bool current = sync->state.connected && sync->state.connection == sync->run_connection;
    bool again = sync->state.connected && !(current && !reason);
    struct request *waiting = TAKE_PTR(sync->state.waiting);
    if (current && !reason)
        atomic_store(&sidecar->inbox_agrees, true); /* under the lock: a loss that comes now comes after */
    sync->state.running = false;
    mutex_unlock(&sync->state.lock);
    if (reason)
        LOG_WARNING("no agreement with the inbox yet", LOG_TEXT("reason", reason));
    else if (current)
        inbox_watch_resume(sidecar->watch, known_through);
    if (again && timer_arm(&sync->again, clock_now_ns() + AGAIN_NS) != STATUS_OK)
        LOG_ERROR("no memory to ask the inbox for its objects again");
    if (waiting)
        policy_answer(waiting);
}

/* -- orphans -- */

static void orphans_go(struct inbox_sync *sync);

static void
orphan_gone(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct inbox_sync *sync = arg;
    struct error refusal;
    /* A mount goes with the end of its container, too. */
    bool ended = response && response->status == STATUS_FAILED_PRECONDITION &&
                 sync->orphans.items[sync->orphans_gone].kind == ORPHAN_MOUNT;
    if (response && response->status != STATUS_OK && response->status != STATUS_NOT_FOUND && !ended) {
        error_set(&refusal, (enum status)response->status, 0, "an orphan at the inbox stays: %.400s",
                  response->message);
        sidecar_set_inconsistent(sync->sidecar, &refusal);
    }
    if (!response) {
        run_end(sync, err->text);
        return;
    }
    sync->orphans_gone++;
    orphans_go(sync);
}

static void
orphans_go(struct inbox_sync *sync)
{
    if (sync->orphans_gone == sync->orphans.count) {
        run_end(sync, NULL);
        return;
    }
    struct orphan_call call;
    struct error err;
    orphan_call(&sync->orphans.items[sync->orphans_gone], &call);
    call.call.timeout_ms = LIMIT_TIMEOUT_MS;
    if (caller_call(atomic_load(&sync->inbox), &call.call, orphan_gone, sync, &err) != STATUS_OK)
        run_end(sync, err.text);
}

/* -- the inventory -- */

static void
compare(struct inbox_sync *sync)
{
    struct error err;
    orphans_done(&sync->orphans);
    sync->orphans_gone = 0;
    sync->known_through = 0;
    if (compare_with(sync->sidecar, sync->inventory, &sync->orphans, &err) != STATUS_OK)
        run_end(sync, err.text);
    else
        orphans_go(sync);
}

static void
rebuild_job(void *arg)
{
    struct inbox_sync *sync = arg;
    rebuild_from(sync->sidecar, sync->inventory);
    atomic_store(&sync->sidecar->is_rebuilt, true);
    sync->known_through = sync->inventory->events_through;
    run_end(sync, NULL);
}

static void
inventory_is_here(struct inbox_sync *sync)
{
    if (atomic_load(&sync->sidecar->is_rebuilt))
        compare(sync);
    else if (pool_submit(sync->sidecar->pool, rebuild_job, sync) != STATUS_OK)
        run_end(sync, "the worker pool is full");
}

static void page_ask(struct inbox_sync *sync, uint64_t first);

static void
page_here(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct inbox_sync *sync = arg;
    struct error refusal;
    if (!response || response->status != STATUS_OK) {
        run_end(sync, response ? response->message : err->text);
        return;
    }
    if (response->body_case != GCS__V1__RESPONSE__BODY_LIST_OBJECTS ||
        inventory_add(sync->inventory, response->list_objects, &refusal) != STATUS_OK)
        run_end(sync,
                response->body_case == GCS__V1__RESPONSE__BODY_LIST_OBJECTS ? refusal.text : "no inventory");
    else if (response->list_objects->next != 0)
        page_ask(sync, response->list_objects->next);
    else
        inventory_is_here(sync);
}

static void
page_ask(struct inbox_sync *sync, uint64_t first)
{
    Gcs__V1__ListObjects body = GCS__V1__LIST_OBJECTS__INIT;
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    struct error err;
    body.first = first;
    call.timeout_ms = PAGE_TIME_MS;
    call.body_case = GCS__V1__REQUEST__BODY_LIST_OBJECTS;
    call.list_objects = &body;
    if (caller_call(atomic_load(&sync->inbox), &call, page_here, sync, &err) != STATUS_OK)
        run_end(sync, err.text);
}

static void
run_begin(struct inbox_sync *sync)
{
    if (!atomic_load(&sync->inbox) || !policy_gate_is_set(sync->sidecar->gate))
        return;
    mutex_lock(&sync->state.lock);
    bool begins = sync->state.connected && !sync->state.running;
    if (begins) {
        sync->state.running = true;
        sync->run_connection = sync->state.connection;
    }
    mutex_unlock(&sync->state.lock);
    if (!begins)
        return;
    inventory_free(sync->inventory);
    sync->inventory = inventory_new();
    sync->known_through = 0;
    page_ask(sync, 0);
}

/* -- what starts a run -- */

void
inbox_sync_start(struct inbox_sync *sync, struct caller *inbox)
{
    atomic_store(&sync->inbox, inbox);
    run_begin(sync);
}

void
inbox_sync_connected(struct inbox_sync *sync, bool connected)
{
    mutex_lock(&sync->state.lock);
    sync->state.connected = connected;
    sync->state.connection++;
    atomic_store(&sync->sidecar->inbox_agrees, false);
    mutex_unlock(&sync->state.lock);
    if (connected)
        run_begin(sync);
}

void
inbox_sync_policy_set(struct inbox_sync *sync, struct request *req)
{
    mutex_lock(&sync->state.lock);
    bool waits = sync->state.connected && atomic_load(&sync->inbox);
    if (waits)
        sync->state.waiting = req;
    mutex_unlock(&sync->state.lock);
    if (!waits) {
        policy_answer(req);
        return;
    }
    run_begin(sync);
    /* The connection may have gone before the run began: then nobody else answers. */
    mutex_lock(&sync->state.lock);
    struct request *left = sync->state.running ? NULL : TAKE_PTR(sync->state.waiting);
    mutex_unlock(&sync->state.lock);
    if (left)
        policy_answer(left);
}
