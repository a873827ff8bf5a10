/* `gcsctl events`: what happens in the guest, one event a line. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client/gcsctl/command.h"
#include "client/gcsctl/enum_name.h"
#include "client/gcsctl/stopper.h"
#include "server/base/clock.h"
#include "server/base/fd.h"
#include "server/base/limits.h"

/* How long to wait before asking a guest again that refuses or is gone; signals end the wait. */
#define AGAIN_MS 200

static bool
event_is_exit(Gcs__V1__EventType type)
{
    switch (type) {
    case GCS__V1__EVENT_TYPE__EVENT_TYPE_PROCESS_EXITED:
    case GCS__V1__EVENT_TYPE__EVENT_TYPE_GRACEFUL_EXIT:
    case GCS__V1__EVENT_TYPE__EVENT_TYPE_FORCED_EXIT:
    case GCS__V1__EVENT_TYPE__EVENT_TYPE_UNEXPECTED_EXIT:
        return true;
    default:
        return false;
    }
}

static void
event_print(struct tool *tool, const Gcs__V1__Event *event)
{
    const char *type = enum_name(&gcs__v1__event_type__descriptor, event->type, "EVENT_TYPE_");
    json_t *object =
        json_pack("{s:I, s:s, s:s, s:I, s:I, s:b, s:I}", "seq", (json_int_t)event->seq, "type", type,
                  "container_id", event->container_id, "process_id", (json_int_t)event->process_id,
                  "exit_code", (json_int_t)event->exit_code, "exit_code_unknown", event->exit_code_unknown,
                  "timestamp_us", (json_int_t)event->timestamp_us);
    char process[32] = "", outcome[48] = "";
    if (event->process_id != 0)
        snprintf(process, sizeof(process), " process %u", event->process_id);
    if (event_is_exit(event->type))
        snprintf(outcome, sizeof(outcome), event->exit_code_unknown ? " exit code unknown" : " exit code %u",
                 event->exit_code);
    (void)tool_result(tool, object, "%" PRIu64 " %s %s%s%s", event->seq, type, event->container_id, process,
                      outcome);
    fflush(tool->results);
}

/* Prints what was told, and moves `*after` past it. Returns how many there were. */
static size_t
events_print(struct tool *tool, const Gcs__V1__WatchEventsResponse *watched, uint64_t *after)
{
    if (*after > 0 && watched->first_seq_kept > *after + 1)
        tool_progress(tool, "events", "those before %" PRIu64 " are forgotten", watched->first_seq_kept);
    for (size_t i = 0; i < watched->n_events; i++) {
        event_print(tool, watched->events[i]);
        *after = watched->events[i]->seq;
    }
    return watched->n_events;
}

/* -- those that there are -- */

static int
print_kept(struct tool *tool, uint64_t after)
{
    size_t count;
    do {
        struct gcs_error err = {0};
        Gcs__V1__Response *response = NULL;
        if (gcs_watch_events(tool->conn, after, 0, &response, &err) != GCS_OK)
            return tool_fail(tool, "events", &err);
        count = events_print(tool, response->watch_events, &after);
        gcs_response_free(response);
    } while (count > 0);
    return EXIT_STATUS_OK;
}

/* -- and those to come -- */

/* One call under way, and what came of it: written by the connection's thread before done_fd is raised. */
struct asking {
    int signal_fd, done_fd;
    enum gcs_status status;
    char *message;               /* of a failure; NULL: none */
    Gcs__V1__Response *response; /* a copy; NULL: none */
};

static Gcs__V1__Response *
copy_of(const Gcs__V1__Response *response)
{
    size_t size = gcs__v1__response__get_packed_size(response);
    uint8_t *packed = malloc(size + 1);
    if (packed == NULL)
        abort();
    gcs__v1__response__pack(response, packed);
    Gcs__V1__Response *copy = gcs__v1__response__unpack(NULL, size, packed);
    free(packed);
    if (copy == NULL)
        abort(); /* what was packed just now is well formed: no memory */
    return copy;
}

static void
answered(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct asking *asking = arg;
    asking->status = err != NULL ? err->status : GCS_OK;
    asking->message = err != NULL ? strdup(err->message) : NULL;
    asking->response = response != NULL ? copy_of(response) : NULL;
    uint64_t one = 1;
    (void)!write(asking->done_fd, &one, sizeof(one));
}

static bool
ask(struct tool *tool, struct asking *asking, uint64_t after)
{
    Gcs__V1__WatchEvents body = GCS__V1__WATCH_EVENTS__INIT;
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    struct gcs_error err = {0};
    body.after_seq = after;
    body.wait_ms = LIMIT_PARK_MS;
    request.timeout_ms = LIMIT_PARK_MS + 10000;
    request.body_case = GCS__V1__REQUEST__BODY_WATCH_EVENTS;
    request.watch_events = &body;
    if (gcs_call_async(tool->conn, &request, answered, asking, &err) == GCS_OK)
        return true;
    (void)tool_fail(tool, "events", &err);
    return false;
}

/* Waits for the answer, or just for a while. False: a signal came, which ends it all. */
static bool
wait_for(const struct asking *asking, bool answer)
{
    struct pollfd fds[] = {{.fd = asking->signal_fd, .events = POLLIN},
                           {.fd = answer ? asking->done_fd : -1, .events = POLLIN}};
    while (poll(fds, 2, answer ? -1 : AGAIN_MS) < 0 && errno == EINTR)
        ;
    uint64_t count;
    if (fds[1].revents & POLLIN)
        (void)!read(asking->done_fd, &count, sizeof(count));
    return (fds[0].revents & POLLIN) == 0;
}

/* Whether it is worth asking again: the guest is away, is being started anew, or has no policy yet. */
static bool
may_come_back(enum gcs_status status)
{
    return status == GCS_UNAVAILABLE || status == GCS_DEADLINE_EXCEEDED || status == GCS_FAILED_PRECONDITION;
}

/* What was told, unless it is another run of the guest, whose events are numbered from 1: then all of them
 * are asked for. */
static void
take(struct tool *tool, const struct asking *asking, uint8_t instance[16], uint64_t *after)
{
    uint8_t now[16];
    gcs_instance(tool->conn, now);
    if (memcmp(now, instance, sizeof(now)) == 0) {
        (void)events_print(tool, asking->response->watch_events, after);
        return;
    }
    tool_progress(tool, "events", "the guest was started anew");
    memcpy(instance, now, sizeof(now));
    *after = 0;
}

static int
follow(struct tool *tool, struct asking *asking, uint64_t after)
{
    uint8_t instance[16];
    bool away = false;
    gcs_instance(tool->conn, instance);
    while (ask(tool, asking, after)) {
        if (!wait_for(asking, true))
            return EXIT_STATUS_OK;
        if (asking->status == GCS_OK) {
            take(tool, asking, instance, &after);
        } else if (may_come_back(asking->status)) {
            if (!away)
                tool_progress(tool, "events", "waiting for the guest: %s", asking->message);
        } else {
            struct gcs_error err = {.status = asking->status, .message = asking->message};
            asking->message = NULL;
            return tool_fail(tool, "events", &err);
        }
        away = asking->status != GCS_OK;
        free(TAKE_PTR(asking->message));
        gcs_response_free(TAKE_PTR(asking->response));
        if (away && !wait_for(asking, false))
            return EXIT_STATUS_OK;
    }
    return EXIT_STATUS_FAILED;
}

/* The signals are blocked (command.takes_signals), so they come by descriptor alone. */
static int
follow_until_told(struct tool *tool, uint64_t after)
{
    sigset_t set;
    stopper_signals(&set);
    struct asking asking = {.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
                            .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int status;
    if (asking.signal_fd >= 0 && asking.done_fd >= 0) {
        status = follow(tool, &asking, after);
    } else {
        struct error local;
        (void)error_set(&local, STATUS_RESOURCE_EXHAUSTED, errno, "wait for signals");
        status = tool_fail_local(tool, "events", &local);
    }
    gcs_disconnect(TAKE_PTR(tool->conn)); /* a call may be under way, and its answer is written here */
    free(asking.message);
    gcs_response_free(asking.response);
    fd_closep(&asking.signal_fd);
    fd_closep(&asking.done_fd);
    return status;
}

bool
command_events_takes_signals(const struct arguments *arguments)
{
    return arguments->follow;
}

int
command_events(struct tool *tool, const struct arguments *arguments)
{
    return arguments->follow ? follow_until_told(tool, arguments->after) : print_kept(tool, arguments->after);
}
