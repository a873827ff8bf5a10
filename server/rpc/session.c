#include "server/rpc/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "server/base/clock.h"
#include "server/base/hash.h"
#include "server/base/limits.h"
#include "server/base/mutex.h"
#include "server/rpc/credit.h"

/* How often ended leases are looked for. */
#define SWEEP_NS (5 * NS_PER_S)

enum entry_state {
    ENTRY_RUNNING, /* admitted, no answer yet */
    ENTRY_KEPT,    /* answered; the bytes are kept */
};

/* A bit for each of the LIMIT_SESSION_WINDOW_IDS ids up to the highest that was seen, at id % that: whether
 * it was seen. */
struct window {
    uint64_t highest;
    uint64_t *bits; /* NULL until the first id */
};

struct session {
    uint8_t id[SESSION_ID_BYTES];
    struct sessions *owner;
    uint32_t answer_bytes_max;
    int64_t used_ns;
    uint64_t through;   /* acknowledged_through */
    struct window seen; /* ids that must not run again, though nothing else is known of them any more */
    struct session_entry *entries; /* by id: running, or answered and not acknowledged */
    size_t running_count;
    size_t kept_bytes;
    bool ended; /* out of the table; freed with its last running request */
    UT_hash_handle hh;
};

struct session_entry {
    uint64_t id;
    struct session *session;
    enum entry_state state;
    bool unwanted;             /* acknowledged before it was answered: the answer goes nowhere */
    struct kept_answer answer; /* only its route until there is one */
    UT_hash_handle hh;
};

struct sessions {
    struct timers *timers;
    struct timer sweep;

    struct {
        struct mutex lock;
        struct session *table GUARDED;
        struct credit credit GUARDED;
        size_t count GUARDED;
        size_t kept_bytes GUARDED; /* of all sessions */
    } state;                       /* lock guards its neighbours and everything reachable from them */
};

static void
entry_free(struct session_entry *entry)
{
    free(entry->answer.bytes);
    free(entry);
}

/* Whether the id was seen before, or is so far below the highest that nobody knows any more. */
static bool
window_has(const struct window *window, uint64_t id)
{
    if (id > window->highest)
        return false;
    if (window->highest - id >= LIMIT_SESSION_WINDOW_IDS)
        return true;
    uint64_t place = id % LIMIT_SESSION_WINDOW_IDS;
    return (window->bits[place / 64] >> (place % 64)) & 1;
}

/* Clears the bits of the ids from `first` up to `end`, word by word where it can: who names ids far apart
 * must not keep the receiver busy. */
static void
window_clear(struct window *window, uint64_t first, uint64_t end)
{
    while (first < end) {
        uint64_t place = first % LIMIT_SESSION_WINDOW_IDS;
        if (place % 64 == 0 && end - first >= 64) {
            window->bits[place / 64] = 0;
            first += 64;
        } else {
            window->bits[place / 64] &= ~(UINT64_C(1) << (place % 64));
            first++;
        }
    }
}

/* Notes an id that window_has() not. False: no memory. */
static bool
window_put(struct window *window, uint64_t id)
{
    if (!window->bits)
        window->bits = calloc(LIMIT_SESSION_WINDOW_IDS / 64, sizeof window->bits[0]);
    if (!window->bits)
        return false;
    if (id > window->highest && id - window->highest >= LIMIT_SESSION_WINDOW_IDS)
        memset(window->bits, 0, LIMIT_SESSION_WINDOW_IDS / 8);
    else if (id > window->highest)
        window_clear(window, window->highest + 1, id); /* these bits were older ids' */
    window->bits[id % LIMIT_SESSION_WINDOW_IDS / 64] |= UINT64_C(1) << (id % 64);
    if (id > window->highest)
        window->highest = id;
    return true;
}

/* Forgets a kept answer, which is on no pipe any more. */
static void
entry_forget(struct sessions *sessions, struct session_entry *entry) REQUIRES(sessions->state.lock)
{
    struct session *session = entry->session;
    session->kept_bytes -= entry->answer.size;
    sessions->state.kept_bytes -= entry->answer.size;
    HASH_DEL(session->entries, entry);
    entry_free(entry);
}

/* The client has the answer, or wants none: a kept one is forgotten, a running request's will go nowhere. */
static void
entry_acknowledge(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    if (entry->state == ENTRY_RUNNING) {
        entry->unwanted = true;
        return;
    }
    credit_arrived(&sessions->state.credit, &entry->answer, list);
    entry_forget(sessions, entry);
}

/* Its session is over: nobody has the answer, and nobody will. */
static void
entry_end(struct sessions *sessions, struct session_entry *entry, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    if (entry->state == ENTRY_RUNNING) {
        entry->unwanted = true;
        return;
    }
    credit_give_back(&sessions->state.credit, &entry->answer, list);
    entry_forget(sessions, entry);
}

static void
session_free(struct session *session)
{
    free(session->seen.bits);
    free(session);
}

/* Ends a session: kept answers go, running requests finish for nobody. Frees it when none runs. */
static void
session_end(struct sessions *sessions, struct session *session, struct outgoing **list)
    REQUIRES(sessions->state.lock)
{
    struct session_entry *entry, *after;
    /* What waits goes first, or the credit of the others would send it. */
    HASH_ITER(hh, session->entries, entry, after)
    if (entry->answer.waits)
        entry_end(sessions, entry, list);
    HASH_ITER(hh, session->entries, entry, after)
    entry_end(sessions, entry, list);
    HASH_DEL(sessions->state.table, session);
    sessions->state.count--;
    session->ended = true;
    if (session->running_count == 0)
        session_free(session);
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

void
sessions_end_others(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES])
{
    struct outgoing *list = NULL;
    mutex_lock(&sessions->state.lock);
    struct session *session, *after;
    HASH_ITER(hh, sessions->state.table, session, after)
    if (memcmp(session->id, id, SESSION_ID_BYTES) != 0)
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

/* The session that has rested longest and owes its client nothing; NULL: none. */
static struct session *
rested_longest(struct sessions *sessions) REQUIRES(sessions->state.lock)
{
    struct session *session, *after, *oldest = NULL;
    HASH_ITER(hh, sessions->state.table, session, after)
    if (!session->entries && (!oldest || session->used_ns < oldest->used_ns))
        oldest = session;
    return oldest;
}

/* At the bound that one makes room. */
static void
make_room(struct sessions *sessions, struct outgoing **list) REQUIRES(sessions->state.lock)
{
    struct session *oldest = rested_longest(sessions);
    if (oldest)
        session_end(sessions, oldest, list);
}

bool
sessions_are_full(struct sessions *sessions)
{
    mutex_lock(&sessions->state.lock);
    bool full = sessions->state.count >= LIMIT_SESSIONS && !rested_longest(sessions);
    mutex_unlock(&sessions->state.lock);
    return full;
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
        if (!hash_holds(&session->hh)) {
            status = error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a session");
            free(session);
        } else {
            sessions->state.count++;
            memcpy(id, session->id, sizeof session->id);
        }
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

bool
session_is_open(struct sessions *sessions, const uint8_t id[SESSION_ID_BYTES])
{
    mutex_lock(&sessions->state.lock);
    bool open = session_find(sessions, id) != NULL;
    mutex_unlock(&sessions->state.lock);
    return open;
}

/* A request that was seen before: the answer takes the new way back. */
static void
repeat(struct sessions *sessions, struct session_entry *entry, const struct route *route,
       struct outgoing **list) REQUIRES(sessions->state.lock)
{
    struct kept_answer *answer = &entry->answer;
    bool moved = answer->route.listener != route->listener || answer->route.pipe != route->pipe;
    if (moved)
        credit_give_back(&sessions->state.credit, answer, list);
    answer->route = *route;
    if (entry->state == ENTRY_KEPT)
        credit_send(&sessions->state.credit, answer, list);
}

static enum status
admission_check(const struct session *session, uint64_t request_id, struct error *err)
{
    if (request_id <= session->through || window_has(&session->seen, request_id))
        return error_set(err, STATUS_INVALID_ARGUMENT, 0,
                         "request_id %llu: acknowledged already, refused before, 0, or %d below a later one",
                         (unsigned long long)request_id, LIMIT_SESSION_WINDOW_IDS);
    size_t open_count = HASH_COUNT(session->entries);
    if (open_count >= LIMIT_SESSION_ANSWERS || session->kept_bytes >= LIMIT_SESSION_ANSWER_BYTES)
        return error_set(
            err, STATUS_RESOURCE_EXHAUSTED, 0,
            "acknowledged_through: %zu requests and %zu bytes of answers wait for acknowledgement",
            open_count, session->kept_bytes);
    return STATUS_OK;
}

static enum status
admit(struct session *session, uint64_t request_id, const struct route *route, struct session_entry **ret,
      struct error *err)
{
    TRY(admission_check(session, request_id, err));
    struct session_entry *entry = calloc(1, sizeof *entry);
    if (!entry || !window_put(&session->seen, request_id)) {
        free(entry);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a request");
    }
    *entry = (struct session_entry){
        .id = request_id, .session = session, .state = ENTRY_RUNNING, .answer.route = *route};
    HASH_ADD(hh, session->entries, id, sizeof entry->id, entry);
    if (!hash_holds(&entry->hh)) {
        free(entry);
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory for a request");
    }
    session->running_count++;
    *ret = entry;
    return STATUS_OK;
}

/* Notes that the request was refused, so that no later copy of it runs. Without memory for that it may. */
static enum status
refuse_for_good(struct session *session, uint64_t request_id, enum status status)
{
    if (request_id > session->through && !window_has(&session->seen, request_id))
        (void)window_put(&session->seen, request_id);
    return status;
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
    else if (entry && !entry->unwanted)
        repeat(sessions, entry, route, &list);
    else if (sessions->state.kept_bytes >= LIMIT_KEPT_ANSWER_BYTES)
        status = refuse_for_good(session, request_id,
                                 error_set(err, STATUS_RESOURCE_EXHAUSTED, 0,
                                           "%zu bytes of answers, of all sessions, wait for acknowledgement",
                                           sessions->state.kept_bytes));
    else
        status = admit(session, request_id, route, ret, err);
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
    bool known = entry && !entry->unwanted;
    if (known)
        repeat(sessions, entry, route, &list);
    else if (session && !entry)
        (void)refuse_for_good(session, request_id, STATUS_OK);
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
    return known;
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
                entry_acknowledge(sessions, entry, list);
        }
    } else {
        HASH_ITER(hh, session->entries, entry, after)
        if (entry->id <= through)
            entry_acknowledge(sessions, entry, list);
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
            else /* given up before it got here: it must not run when it does */
                (void)refuse_for_good(session, listed[i], STATUS_OK);
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

/* The answer goes nowhere: its session ended, or the client said beforehand that it wants none. */
static void
entry_discard(struct session_entry *entry)
{
    struct session *session = entry->session;
    HASH_DEL(session->entries, entry);
    entry_free(entry);
    if (session->ended && session->running_count == 0)
        session_free(session);
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
        entry->answer.bytes = bytes;
        entry->answer.size = size;
        entry->session->kept_bytes += size;
        sessions->state.kept_bytes += size;
        credit_send(&sessions->state.credit, &entry->answer, &list);
    }
    mutex_unlock(&sessions->state.lock);
    outgoing_send(list);
}

void
session_close(struct session_entry *entry, struct route *ret)
{
    struct session *session = entry->session;
    struct sessions *sessions = session->owner;
    struct outgoing *list = NULL;
    mutex_lock(&sessions->state.lock);
    *ret = entry->answer.route;
    if (!session->ended)
        session_end(sessions, session, &list); /* which does not free it: this request runs */
    session->running_count--;
    entry_discard(entry);
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
        ret->kept += HASH_COUNT(session->entries) - session->running_count;
        ret->kept_bytes += session->kept_bytes;
    }
    credit_count(&sessions->state.credit, &ret->pipes, &ret->waiting);
    mutex_unlock(&sessions->state.lock);
}
