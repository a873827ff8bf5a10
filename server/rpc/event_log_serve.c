/* WatchEvents, the same for every server that has an event log. */
#include <string.h>

#include "server/base/clock.h"
#include "server/rpc/event_log.h"
#include "server/rpc/request.h"

struct watch {
    struct event_log *log;
    struct request *req;
    struct waiter waiter;
};

static void
answer(struct event_log *log, struct request *req)
{
    const Gcs__V1__WatchEvents *call = req->call->watch_events;
    struct event *events = ARENA_NEW(&req->arena, struct event, EVENT_LOG_ANSWER_MAX);
    Gcs__V1__Event *messages = ARENA_NEW(&req->arena, Gcs__V1__Event, EVENT_LOG_ANSWER_MAX);
    Gcs__V1__Event **list = ARENA_NEW(&req->arena, Gcs__V1__Event *, EVENT_LOG_ANSWER_MAX);
    if (!events || !messages || !list) {
        struct error err;
        error_set(&err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for events");
        request_reject(req, &err);
        return;
    }
    Gcs__V1__WatchEventsResponse body = GCS__V1__WATCH_EVENTS_RESPONSE__INIT;
    size_t count = event_log_read(log, call->after_seq, events, EVENT_LOG_ANSWER_MAX, &body.first_seq_kept);
    for (size_t i = 0; i < count; i++) {
        gcs__v1__event__init(&messages[i]);
        messages[i].seq = events[i].seq;
        messages[i].type = events[i].type;
        messages[i].container_id = events[i].container_id;
        messages[i].process_id = events[i].process_id;
        messages[i].exit_code = events[i].exit_code;
        messages[i].exit_code_unknown = events[i].exit_code_unknown;
        messages[i].timestamp_us = events[i].timestamp_us;
        list[i] = &messages[i];
    }
    body.n_events = count;
    body.events = list;
    Gcs__V1__Response response = request_response(req);
    response.body_case = GCS__V1__RESPONSE__BODY_WATCH_EVENTS;
    response.watch_events = &body;
    request_reply(req, &response);
}

static void
watch_over(struct waiter *waiter, void *arg, bool timed_out)
{
    (void)waiter;
    (void)timed_out;
    struct watch *watch = arg;
    answer(watch->log, watch->req);
}

void
event_log_serve(struct event_log *log, struct request *req)
{
    const Gcs__V1__WatchEvents *call = req->call->watch_events;
    struct watch *watch = ARENA_NEW(&req->arena, struct watch, 1);
    uint32_t wait_ms = call->wait_ms < LIMIT_PARK_MS ? call->wait_ms : LIMIT_PARK_MS;
    if (watch && wait_ms > 0) {
        watch->log = log;
        watch->req = req;
        int64_t deadline_ns = clock_now_ns() + wait_ms * NS_PER_MS;
        if (event_log_wait(log, call->after_seq, &watch->waiter, deadline_ns, watch_over, watch))
            return;
    }
    answer(log, req);
}
