#include "server/rpc/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uthash.h>
#include <utlist.h>

#include "server/base/clock.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/base/text.h"

/* How often ended leases are looked for. */
#define SWEEP_NS (5 * NS_PER_S)

struct pipe_key {
    struct listener *listener;
    uint64_t pipe; /* as wide as the pointer, so that the key has no padding */
};

/* A connection that has answers on their way or waiting; forgotten when it has neither. */
struct pipe {
    struct pipe_key key;
    size_t sent_count, sent_bytes; /* copies sent and not acknowledged */
    struct session_entry *waiting; /* oldest first */
    UT_hash_handle hh;
};

enum entry_state {
    ENTRY_RUNNING,      /* admitted, no answer yet */
    ENTRY_KEPT,         /* answered; the bytes are kept */
    ENTRY_ACKNOWLEDGED, /* only the id is kept, until acknowledged_through passes it: it must not run again */
};

struct session {
    uint8_t id[SESSION_ID_BYTES];
    struct sessions *owner;
    uint32_t answer_bytes_max;
    int64_t used_ns;
    uint64_t through;              /* acknowledged_through */
    struct session_entry *entries; /* by id, all above `through` */
    size_t open_count;             /* running or kept */
    size_t running_count;
    size_t kept_bytes;
    bool ended; /* out of the table; freed with its last running request */
    UT_hash_handle hh;
};

struct session_entry {
    uint64_t id;
    struct session *session;
    enum entry_state state;
    bool unwanted; /* acknowledged before it was answered: the answer goes nowhere */
    struct route route;
    unsigned char *bytes;
    size_t size;
    struct pipe *pipe; /* where its copies count, or where it waits; NULL: nowhere */
    unsigned copies;   /* sent on `pipe` */
    bool waits;        /* in pipe->waiting */
    struct session_entry *prev, *next;
    UT_hash_handle hh;
};

struct sessions {
    struct timers *timers;
    struct timer sweep;

    struct {
        struct mutex lock;
        struct session *table GUARDED;
        struct pipe *pipes GUARDED;
        size_t count GUARDED;
    } state; /* lock guards its neighbours and everything reachable from them */
};

/* What a step decided to send; sent after the lock is released. */
struct outgoing {
    struct route route;
    void *bytes;
    size_t size;
    struct outgoing *next;
};

static void
outgoing_add(struct outgoing **list, const struct session_entry *entry)
{
    struct outgoing *item = malloc(sizeof *item);
    void *copy = malloc(entry->size);
    if (!item || !copy) { /* the client repeats its request */
        free(item);
        free(copy);
        return;
    }
    memcpy(copy, entry->bytes, entry->size);
    *item = (struct outgoing){.route = entry->route, .bytes = copy, .size = entry->size};
    LL_APPEND(*list, item);
}

static void
outgoing_drop(struct outgoing *list)
{
    struct outgoing *item, *after;
    LL_FOREACH_SAFE(list, item, after)
    {
        free(item->bytes);
        free(item);
    }
}

static void
outgoing_send(struct outgoing *list)
{
    struct outgoing *item;
    LL_FOREACH(list, item)
    listener_send(&item->route, item->bytes, item->size);
    outgoing_drop(list);
}

static struct pipe *
pipe_get(struct sessions *sessions, const struct route *route) REQUIRES(sessions->state.lock)
{
    struct pipe_key key = {.listener = route->listener, .pipe = route->pipe};
    struct pipe *pipe = NULL;
    HASH_FIND(hh, sessions->state.pipes, &key, sizeof key, pipe);
    if (pipe)
        return pipe;
    pipe = calloc(1, sizeof *pipe);
    if (!pipe)
        return NULL;
    pipe->key = key;
    HASH_ADD(hh, sessions->state.pipes, key, sizeof pipe->key, pipe);
    return pipe;
}

static bool
pipe_has_room(const struct pipe *pipe, size_t size)
{
    return pipe->sent_count == 0 ||
           (pipe->sent_count < LIMIT_PIPE_ANSWERS && pipe->sent_bytes + size <= LIMIT_PIPE_ANSWER_BYTES);
}

static void
pipe_count_copy(struct pipe *pipe, struct session_entry *entry)
{
    pipe->sent_count++;
    pipe->sent_bytes += entry->size;
    entry->copies++;
}

/* Sends what waits and has room now; forgets the pipe when nothing is left on it. */
static void
pipe_pump(struct sessions *sessions, struct pipe *pipe, struct outgoing **list) REQUIRES(sessions->state.lock)
{
    while (pipe->waiting && pipe_has_room(pipe, pipe->waiting->size)) {
        struct session_entry *entry = pipe->waiting;
        DL_DELETE(pipe->waiting, entry);
        entry->waits = false;
        pipe_count_copy(pipe, entry);
        outgoing_add(list, entry);
    }
    if (pipe->sent_count == 0 && !pipe->waiting) {
        HASH_DEL(sessions->state.pipes, pipe);
        free(pipe);
    }
}

/* Takes the entry off its pipe and gives the credit of its copies back. */
static void
entry_leave_pipe(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    struct pipe *pipe = entry->pipe;
    if (!pipe)
        return;
    if (entry->waits)
        DL_DELETE(pipe->waiting, entry);
    pipe->sent_count -= entry->copies;
    pipe->sent_bytes -= entry->copies * entry->size;
    entry->pipe = NULL;
    entry->copies = 0;
    entry->waits = false;
    pipe_pump(sessions, pipe, list);
}

/* Sends the kept answer on its route when there is credit; otherwise it waits its turn. */
static void
entry_send(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    if (entry->waits)
        return;
    if (!entry->pipe)
        entry->pipe = pipe_get(sessions, &entry->route);
    if (!entry->pipe)
        return; /* no memory: the client repeats its request */
    if (!entry->pipe->waiting && pipe_has_room(entry->pipe, entry->size)) {
        pipe_count_copy(entry->pipe, entry);
        outgoing_add(list, entry);
        return;
    }
    DL_APPEND(entry->pipe->waiting, entry);
    entry->waits = true;
}

static void
entry_free(struct session_entry *entry)
{
    free(entry->bytes);
    free(entry);
}

/* Drops the answer's bytes; the id stays until `through` passes it. */
static void
entry_acknowledge(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    struct session *session = entry->session;
    if (entry->state == ENTRY_RUNNING) {
        entry->unwanted = true;
        return;
    }
    if (entry->state != ENTRY_KEPT)
        return;
    entry_leave_pipe(sessions, entry, list);
    session->kept_bytes -= entry->size;
    session->open_count--;
    free(entry->bytes);
    entry->bytes = NULL;
    entry->state = ENTRY_ACKNOWLEDGED;
}

/* Ends a session: kept answers go, running requests finish for nobody. Frees it when none runs. */
static void
session_end(struct sessions *sessions, struct session *session, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    struct session_entry *entry, *after;
    /* What waits goes first, or the credit of the others would send it. */
    HASH_ITER(hh, session->entries, entry, after)
    if (entry->waits)
        entry_acknowledge(sessions, entry, list);
    HASH_ITER(hh, session->entries, entry, after)
    {
        entry_acknowledge(sessions, entry, list);
        if (entry->state == ENTRY_RUNNING)
            continue;
        HASH_DEL(session->entries, entry);
        entry_free(entry);
    }
    HASH_DEL(sessions->state.table, session);
    sessions->state.count--;
    session->ended = true;
    if (session->running_count == 0)
        free(session);
}

void
sessions_sweep(struct sessions *sessions, int64_t now_ns)
{
    struct outgoing *list = NULL;
    int64_t oldest = now_ns - LIMIT_SESSION_LEASE_MS * NS_PER_MS;
    mutex_lock(&sessions->state.lock);
    struct session *session, *after;
    HASH_ITER(hh, sessions->state.table, session, after)
    if (session->used_ns < oldest)
        session_end(sessions, session, &list);
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
}

static void
sweep(struct timer *timer, void *arg)
{
    sessions_sweep(arg, clock_now_ns());
    if (timer_arm(timer, clock_now_ns() + SWEEP_NS) != STATUS_OK)
        return; /* cannot be: this timer's place in the heap was free a moment ago */
}

enum status
sessions_new(struct timers *timers, struct sessions **ret, struct error *err)
{
    struct sessions *sessions = calloc(1, sizeof *sessions);
    if (!sessions)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for sessions");
    sessions->timers = timers;
    mutex_init(&sessions->state.lock, RANK_SESSIONS);
    timer_init(&sessions->sweep, timers, sweep, sessions);
    if (timer_arm(&sessions->sweep, clock_now_ns() + SWEEP_NS) != STATUS_OK) {
        free(sessions);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for the lease timer");
    }
    *ret = sessions;
    return STATUS_OK;
}

void
sessions_stop(struct sessions *sessions)
{
    timer_cancel_and_wait(&sessions->sweep);
}

void
sessions_free(struct sessions *sessions)
{
    if (!sessions)
        return;
    sessions_stop(sessions);
    struct outgoing *list = NULL;
    mutex_lock(&sessions->state.lock);
    struct session *session, *after;
    HASH_ITER(hh, sessions->state.table, session, after)
    session_end(sessions, session, &list);
    mutex_unlock(&sessions->state.lock);
    outgoing_drop(list); /* what one session's credit let go for another */
    mutex_done(&sessions->state.lock);
    free(sessions);
}

/* At the bound the session that has rested longest and owes its client nothing makes room. */
static void
make_room(struct sessions *sessions, struct outgoing **list) REQUIRES(sessions->state.lock)
{
    struct session *session, *after, *oldest = NULL;
    HASH_ITER(hh, sessions->state.table, session, after)
    if (session->open_count == 0 && (!oldest || session->used_ns < oldest->used_ns))
        oldest = session;
    if (oldest)
        session_end(sessions, oldest, list);
}

enum status
session_open(struct sessions *sessions, uint32_t answer_bytes_max, uint8_t id[SESSION_ID_BYTES],
             struct error *err)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a session");
    if (getrandom(session->id, sizeof session->id, 0) != (ssize_t)sizeof session->id) {
        free(session);
        return error_set(err, STATUS_INTERNAL, errno, "draw a session id");
    }
    session->owner = sessions;
    session->answer_bytes_max = answer_bytes_max;
    session->used_ns = clock_now_ns();
    struct outgoing *list = NULL;
    enum status status = STATUS_OK;
    mutex_lock(&sessions->state.lock);
    if (sessions->state.count >= LIMIT_SESSIONS)
        make_room(sessions, &list);
    if (sessions->state.count >= LIMIT_SESSIONS) {
        status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                           "%d sessions are open, each with unacknowledged answers", LIMIT_SESSIONS);
        free(session);
    } else {
        HASH_ADD(hh, sessions->state.table, id, sizeof session->id, session);
        sessions->state.count++;
        memcpy(id, session->id, sizeof session->id);
    }
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
    return status;
}

static struct session *
session_find(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES]) REQUIRES(sessions->state.lock)
{
    struct session *session = NULL;
    HASH_FIND(hh, sessions->state.table, id, SESSION_ID_BYTES, session);
    if (session)
        session->used_ns = clock_now_ns();
    return session;
}

/* Whether somebody still expects this entry's answer. */
static bool
entry_is_open(const struct session_entry *entry)
{
    return entry->state == ENTRY_KEPT || (entry->state == ENTRY_RUNNING && !entry->unwanted);
}

/* A request that was seen before: the answer takes the new way back. The client does not have it, so copies
 * sent before were lost and give their credit back; were they to count for ever, a connection that lost all
 * it was sent would stand still until the lease ends. */
static void
repeat(struct sessions *sessions, struct session_entry *entry, const struct route *route,
       struct outgoing **list) REQUIRES(sessions->state.lock)
{
    bool moved = entry->route.listener != route->listener || entry->route.pipe != route->pipe;
    if (moved || !entry->waits)
        entry_leave_pipe(sessions, entry, list);
    entry->route = *route;
    if (entry->state == ENTRY_KEPT)
        entry_send(sessions, entry, list);
}

static enum status
admission_check(const struct session *session, uint64_t request_id, bool seen, struct error *err)
{
    if (request_id <= session->through || seen)
        return error_set(err, STATUS_INVALID_ARGUMENT, 0, "request_id %llu: acknowledged already, or 0",
                         (unsigned long long)request_id);
    if (request_id - session->through > LIMIT_SESSION_WINDOW_IDS)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "request_id %llu: more than %d ahead of acknowledged_through",
                         (unsigned long long)request_id, LIMIT_SESSION_WINDOW_IDS);
    if (session->open_count >= LIMIT_SESSION_ANSWERS || session->kept_bytes >= LIMIT_SESSION_ANSWER_BYTES)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                         "%zu requests and %zu bytes of answers wait for acknowledgement",
                         session->open_count, session->kept_bytes);
    return STATUS_OK;
}

static enum status
admit(struct session *session, uint64_t request_id, bool seen, const struct route *route,
      struct session_entry **ret, struct error *err)
{
    TRY(admission_check(session, request_id, seen, err));
    struct session_entry *entry = calloc(1, sizeof *entry);
    if (!entry)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a request");
    *entry =
        (struct session_entry){.id = request_id, .session = session, .state = ENTRY_RUNNING, .route = *route};
    HASH_ADD(hh, session->entries, id, sizeof entry->id, entry);
    session->open_count++;
    session->running_count++;
    *ret = entry;
    return STATUS_OK;
}

enum status
session_admit(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES], uint64_t request_id,
              const struct route *route, struct session_entry **ret, struct error *err)
{
    struct outgoing *list = NULL;
    struct session_entry *entry = NULL;
    enum status status = STATUS_OK;
    *ret = NULL;
    mutex_lock(&sessions->state.lock);
    struct session *session = session_find(sessions, id);
    if (session)
        HASH_FIND(hh, session->entries, &request_id, sizeof request_id, entry);
    if (!session)
        status = error_set(err, STATUS_UNAVAILABLE, 0,
                           "session_id: no such session; it ended, or the server restarted");
    else if (entry && entry_is_open(entry))
        repeat(sessions, entry, route, &list);
    else
        status = admit(session, request_id, entry != NULL, route, ret, err);
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
    return status;
}

bool
session_repeat(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES], uint64_t request_id,
               const struct route *route)
{
    struct outgoing *list = NULL;
    struct session_entry *entry = NULL;
    mutex_lock(&sessions->state.lock);
    struct session *session = session_find(sessions, id);
    if (session)
        HASH_FIND(hh, session->entries, &request_id, sizeof request_id, entry);
    bool known = entry && entry_is_open(entry);
    if (known)
        repeat(sessions, entry, route, &list);
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
    return known;
}

/* The client has this answer and every one before it: even the id may go, unless the request still runs. */
static void
entry_pass(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    entry_acknowledge(sessions, entry, list);
    if (entry->state == ENTRY_RUNNING)
        return;
    HASH_DEL(entry->session->entries, entry);
    entry_free(entry);
}

/* Moves `through` up and forgets what lies below. By id where the step is small, which it is with every
 * request. */
static void
advance_through(struct sessions *sessions, struct session *session, uint64_t through, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    if (through <= session->through)
        return;
    struct session_entry *entry, *after;
    if (through - session->through < HASH_COUNT(session->entries)) {
        for (uint64_t id = session->through + 1; id <= through; id++) {
            HASH_FIND(hh, session->entries, &id, sizeof id, entry);
            if (entry)
                entry_pass(sessions, entry, list);
        }
    } else {
        HASH_ITER(hh, session->entries, entry, after)
        if (entry->id <= through)
            entry_pass(sessions, entry, list);
    }
    session->through = through;
}

void
session_acknowledge(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES], uint64_t through,
                    const uint64_t *listed, size_t listed_count)
{
    struct outgoing *list = NULL;
    mutex_lock(&sessions->state.lock);
    struct session *session = session_find(sessions, id);
    if (session) {
        advance_through(sessions, session, through, &list);
        for (size_t i = 0; i < listed_count; i++) {
            struct session_entry *entry = NULL;
            HASH_FIND(hh, session->entries, &listed[i], sizeof listed[i], entry);
            if (entry)
                entry_acknowledge(sessions, entry, &list);
        }
    }
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
}

uint32_t
session_answer_bytes_max(const struct session_entry *entry)
{
    return entry->session->answer_bytes_max; /* constant since session_open() */
}

const uint8_t *
session_entry_id(const struct session_entry *entry)
{
    return entry->session->id;
}

/* The answer goes nowhere: its session ended, or the client said beforehand that it has it. */
static void
entry_discard(struct session_entry *entry)
{
    struct session *session = entry->session;
    session->open_count--;
    if (session->ended || entry->id <= session->through) {
        HASH_DEL(session->entries, entry);
        entry_free(entry);
    } else {
        entry->state = ENTRY_ACKNOWLEDGED;
    }
    if (session->ended && session->running_count == 0)
        free(session);
}

void
session_answer(struct session_entry *entry, void *bytes, size_t size)
{
    struct sessions *sessions = entry->session->owner;
    struct outgoing *list = NULL;
    mutex_lock(&sessions->state.lock);
    entry->session->running_count--;
    if (entry->unwanted) {
        free(bytes);
        entry_discard(entry);
    } else {
        entry->state = ENTRY_KEPT;
        entry->bytes = bytes;
        entry->size = size;
        entry->session->kept_bytes += size;
        entry_send(sessions, entry, &list);
    }
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
}

void
sessions_figures(struct sessions *sessions, struct session_figures *ret)
{
    *ret = (struct session_figures){0};
    mutex_lock(&sessions->state.lock);
    struct session *session, *after;
    HASH_ITER(hh, sessions->state.table, session, after)
    {
        ret->sessions++;
        ret->running += session->running_count;
        ret->kept += session->open_count - session->running_count;
        ret->kept_bytes += session->kept_bytes;
    }
    struct pipe *pipe, *pipe_after;
    HASH_ITER(hh, sessions->state.pipes, pipe, pipe_after)
    {
        struct session_entry *entry;
        size_t waiting;
        DL_COUNT(pipe->waiting, entry, waiting);
        ret->waiting += waiting;
        ret->pipes++;
    }
    mutex_unlock(&sessions->state.lock);
}
