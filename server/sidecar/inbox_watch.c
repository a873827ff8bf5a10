#include "server/sidecar/inbox_watch.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/log.h"
#include "server/rpc/request.h"
#include "server/sidecar/inbox_sync.h"
#include "server/sidecar/sidecar.h"

/* How long to wait before asking again an inbox that is there but did not tell: not at once, since one that
 * refuses would be asked as fast as it can refuse. */
#define AGAIN_NS (100 * NS_PER_MS)

struct inbox_watch {
    struct sidecar *sidecar;
    _Atomic(struct caller *) inbox; /* NULL until inbox_watch_start() */
    _Atomic uint64_t seen;          /* the last event of this inbox that was passed on */
    _Atomic uint64_t known;         /* events up to this one are in the tables already */
    atomic_bool asking;             /* a WatchEvents is under way */
    struct timer again;
    struct timer look; /* asks for a sign of life; always armed, or an answer is awaited */
};

static void ask(struct inbox_watch *watch);

static void
again_fired(struct timer *timer, void *arg)
{
    (void)timer;
    ask(arg);
}

/* -- signs of life: a connection to an inbox that is stopped, or stuck, looks like any other -- */

static void
look_again(struct inbox_watch *watch)
{
    if (timer_arm(&watch->look, clock_now_ns() + watch->sidecar->inbox_look_ns) != STATUS_OK)
        LOG_ERROR("no memory to ask the inbox for signs of life");
}

static void
look_answered(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct inbox_watch *watch = arg;
    uint32_t status = response ? response->status : (uint32_t)err->status;
    bool silent = status == STATUS_DEADLINE_EXCEEDED; /* whoever says so */
    if (atomic_exchange(&watch->sidecar->inbox_silent, silent) != silent)
        LOG_WARNING(silent ? "the inbox does not answer" : "the inbox answers again");
    look_again(watch);
}

static void
look_fired(struct timer *timer, void *arg)
{
    (void)timer;
    struct inbox_watch *watch = arg;
    Gcs__V1__Ping body = GCS__V1__PING__INIT;
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    struct error err;
    call.timeout_ms = (uint32_t)(watch->sidecar->inbox_look_ns / NS_PER_MS);
    call.body_case = GCS__V1__REQUEST__BODY_PING;
    call.ping = &body;
    if (caller_call(atomic_load(&watch->inbox), &call, look_answered, watch, &err) != STATUS_OK) {
        atomic_store(&watch->sidecar->inbox_silent, false); /* it is gone, which is said elsewhere */
        look_again(watch);
    }
}

struct inbox_watch *
inbox_watch_new(struct sidecar *sidecar)
{
    struct inbox_watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        abort();
    watch->sidecar = sidecar;
    timer_init(&watch->again, sidecar->timers, again_fired, watch);
    timer_init(&watch->look, sidecar->timers, look_fired, watch);
    return watch;
}

void
inbox_watch_start(struct inbox_watch *watch, struct caller *inbox)
{
    atomic_store(&watch->inbox, inbox);
    look_again(watch);
}

void
inbox_watch_stop(struct inbox_watch *watch)
{
    timer_cancel_and_wait(&watch->again);
    timer_cancel_and_wait(&watch->look);
}

void
inbox_watch_free(struct inbox_watch *watch)
{
    free(watch);
}

static bool
is_exit_of_init(Gcs__V1__EventType type)
{
    return type == GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT ||
           type == GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT ||
           type == GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT;
}

/* Whether the rebuild has told it, with the rest of its container's life. */
static bool
was_told(struct sidecar *sidecar, const struct event *event)
{
    switch (container_state(sidecar->containers, event->container_id)) {
    case CONTAINER_ABSENT:
    case CONTAINER_COMBINED:
        return false;
    default:
        return event->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_CREATED ||
               event->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_STARTED ||
               event->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_DELETED || is_exit_of_init(event->type);
    }
}

/* Brings the table up to date and tells the host. An exit is told once, whatever the inbox says. */
static void
take_event(struct sidecar *sidecar, const Gcs__V1__Event *from, bool is_known)
{
    struct event event = {
        .timestamp_us = from->timestamp_us,
        .type = from->type,
        .process_id = from->process_id,
        .exit_code = from->exit_code,
        .exit_code_unknown = from->exit_code_unknown,
    };
    memcpy(event.container_id, from->container_id, strnlen(from->container_id, LIMIT_CONTAINER_ID_BYTES));
    if (is_known) {
        if (!was_told(sidecar, &event))
            event_log_append(sidecar->events, &event);
        return;
    }
    if (from->type == GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED || is_exit_of_init(from->type))
        container_process_exited(sidecar->containers, event.container_id, from->process_id);
    if (is_exit_of_init(from->type) && !container_exited(sidecar->containers, event.container_id))
        return;
    event_log_append(sidecar->events, &event);
}

/* No answer came, or a refusal. Without a connection the inbox is asked again when it is back; with one, the
 * call was lost on the way to here (a deadline, a change of connection that has already been reported). */
static void
not_told(struct inbox_watch *watch, const char *reason)
{
    atomic_store(&watch->asking, false);
    LOG_DEBUG("no events from the inbox", LOG_TEXT("reason", reason));
    if (atomic_load(&watch->sidecar->inbox_agrees) &&
        timer_arm(&watch->again, clock_now_ns() + AGAIN_NS) != STATUS_OK)
        LOG_ERROR("no memory to ask the inbox for events again");
}

/* Answers come one at a time, on the caller's receiver: what one has taken the next does not take again. */
static void
take_events(struct inbox_watch *watch, const Gcs__V1__WatchEventsResponse *body)
{
    uint64_t seen = atomic_load(&watch->seen);
    for (size_t i = 0; i < body->n_events; i++) {
        if (body->events[i]->seq <= seen)
            continue;
        take_event(watch->sidecar, body->events[i], body->events[i]->seq <= atomic_load(&watch->known));
        seen = body->events[i]->seq;
    }
    atomic_store(&watch->seen, seen);
}

static void
answered(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct inbox_watch *watch = arg;
    if (!response || response->status != STATUS_OK) {
        not_told(watch, err ? err->text : response->message);
        return;
    }
    take_events(watch, response->watch_events);
    atomic_store(&watch->asking, false);
    ask(watch);
}

static enum status
send_watch(struct inbox_watch *watch, struct caller *inbox, uint32_t wait_ms, uint32_t timeout_ms,
           caller_answer_fn *on_answer, void *arg, struct error *err)
{
    Gcs__V1__WatchEvents body = GCS__V1__WATCH_EVENTS__INIT;
    body.after_seq = atomic_load(&watch->seen);
    body.wait_ms = wait_ms;
    Gcs__V1__Request call = GCS__V1__REQUEST__INIT;
    call.timeout_ms = timeout_ms;
    call.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    call.watch_events = &body;
    return caller_call(inbox, &call, on_answer, arg, err);
}

static void
ask(struct inbox_watch *watch)
{
    struct caller *inbox = atomic_load(&watch->inbox);
    if (!inbox || !atomic_load(&watch->sidecar->inbox_agrees) || atomic_exchange(&watch->asking, true))
        return;
    struct error err;
    if (send_watch(watch, inbox, LIMIT_PARK_MS, LIMIT_PARK_MS + 10000, answered, watch, &err) != STATUS_OK)
        not_told(watch, err.text);
}

/* -- catching up */

/* In the request's arena. */
struct catch_up {
    struct inbox_watch *watch;
    struct request *req;
    inbox_watch_fn *then;
};

static void catch_up_ask(struct catch_up *catch_up);

/* Goes on after the last page. An inbox that does not tell now is asked again by the watch; who waits here is
 * not held up by that. */
static void
caught_up(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct catch_up *catch_up = arg;
    (void)err;
    bool told = response && response->status == STATUS_OK;
    if (told)
        take_events(catch_up->watch, response->watch_events);
    if (told && response->watch_events->n_events == EVENT_LOG_ANSWER_MAX)
        catch_up_ask(catch_up);
    else
        catch_up->then(catch_up->req);
}

static void
catch_up_ask(struct catch_up *catch_up)
{
    struct error err;
    struct inbox_watch *watch = catch_up->watch;
    if (send_watch(watch, atomic_load(&watch->inbox), 0, request_time_left_ms(catch_up->req), caught_up,
                   catch_up, &err) != STATUS_OK)
        catch_up->then(catch_up->req);
}

void
inbox_watch_catch_up(struct inbox_watch *watch, struct request *req, inbox_watch_fn *then)
{
    struct catch_up *catch_up = ARENA_NEW(&req->arena, struct catch_up, 1);
    if (!catch_up) {
        then(req);
        return;
    }
    *catch_up = (struct catch_up){.watch = watch, .req = req, .then = then};
    catch_up_ask(catch_up);
}

void
inbox_watch_resume(struct inbox_watch *watch, uint64_t known_through)
{
    if (known_through > 0)
        atomic_store(&watch->known, known_through);
    ask(watch);
}

void
inbox_watch_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated,
                  bool instance_changed)
{
    struct inbox_watch *watch = arg;
    (void)negotiated;
    atomic_store(&watch->sidecar->inbox_connected, state == CALLER_READY);
    LOG_INFO(state == CALLER_READY ? "inbox connected" : "inbox lost");
    if (state == CALLER_READY && instance_changed) {
        atomic_store(&watch->seen, 0);
        atomic_store(&watch->known, 0);
    }
    inbox_sync_connected(watch->sidecar->sync, state == CALLER_READY);
}
