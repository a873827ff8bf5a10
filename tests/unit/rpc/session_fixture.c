#include "session_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
note_send(const struct route *route, const void *bytes, size_t size)
{
    struct fixture *f = (struct fixture *)route->listener;
    struct sent item = {.pipe = route->pipe, .size = size};
    if (size >= sizeof item.number)
        memcpy(&item.number, bytes, sizeof item.number);
    mutex_lock(&f->sent.lock);
    if (f->sent.count < SENDS_MAX)
        f->sent.log[f->sent.count++] = item;
    mutex_unlock(&f->sent.lock);
}

static const struct listener_ops noting_listener = {.prefix = "test://", .send = note_send};

int
fixture_setup(void **state)
{
    struct error err;
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    f->listener.ops = &noting_listener;
    mutex_init(&f->sent.lock, RANK_LEAF);
    if (timers_start(&f->timers, &err) != STATUS_OK ||
        sessions_new(f->timers, &f->sessions, &err) != STATUS_OK)
        return -1;
    return session_open(f->sessions, ANSWER_MAX, f->id, &err) == STATUS_OK ? 0 : -1;
}

int
fixture_teardown(void **state)
{
    struct fixture *f = *state;
    sessions_free(f->sessions);
    timers_stop(f->timers);
    mutex_done(&f->sent.lock);
    free(f);
    return 0;
}

struct route
route_to(struct fixture *f, uint32_t pipe)
{
    return (struct route){.listener = &f->listener, .pipe = pipe};
}

struct session_entry *
admit_to(struct fixture *f, const uint8_t id[SESSION_ID_BYTES], uint64_t number, uint32_t pipe)
{
    struct error err;
    struct session_entry *entry = NULL;
    struct route route = route_to(f, pipe);
    assert_int_equal(session_admit(f->sessions, id, number, &route, &entry, &err), STATUS_OK);
    return entry;
}

struct session_entry *
admit(struct fixture *f, uint64_t number, uint32_t pipe)
{
    return admit_to(f, f->id, number, pipe);
}

struct error
assert_refused(struct fixture *f, uint64_t number, enum status expected)
{
    struct error err = {0};
    struct session_entry *entry = (struct session_entry *)&err;
    struct route route = route_to(f, 1);
    assert_int_equal(session_admit(f->sessions, f->id, number, &route, &entry, &err), expected);
    assert_int_equal(err.status, expected);
    assert_null(entry);
    return err;
}

void
answer(struct session_entry *entry, uint64_t number, size_t size)
{
    void *bytes = calloc(1, size);
    memcpy(bytes, &number, sizeof number);
    session_answer(entry, bytes, size);
}

void
serve(struct fixture *f, uint64_t first, uint64_t last, uint32_t pipe, size_t size)
{
    for (uint64_t number = first; number <= last; number++) {
        struct session_entry *entry = admit(f, number, pipe);
        assert_non_null(entry);
        answer(entry, number, size);
    }
}

void
acknowledge(struct fixture *f, uint64_t through)
{
    session_acknowledge(f->sessions, f->id, through, NULL, 0);
}

void
acknowledge_one(struct fixture *f, uint64_t number)
{
    session_acknowledge(f->sessions, f->id, 0, &number, 1);
}

size_t
sent_count(struct fixture *f)
{
    mutex_lock(&f->sent.lock);
    size_t count = f->sent.count;
    mutex_unlock(&f->sent.lock);
    return count;
}

struct sent
sent_at(struct fixture *f, size_t place)
{
    assert_true(place < sent_count(f));
    mutex_lock(&f->sent.lock);
    struct sent item = f->sent.log[place];
    mutex_unlock(&f->sent.lock);
    return item;
}

void
assert_last_sent(struct fixture *f, uint64_t number, uint32_t pipe)
{
    struct sent item = sent_at(f, sent_count(f) - 1);
    assert_int_equal(item.number, number);
    assert_int_equal(item.pipe, pipe);
}

struct session_figures
figures(struct fixture *f)
{
    struct session_figures now;
    sessions_figures(f->sessions, &now);
    return now;
}

void
assert_nothing_kept(struct fixture *f)
{
    struct session_figures now = figures(f);
    assert_int_equal(now.running, 0);
    assert_int_equal(now.kept, 0);
    assert_int_equal(now.kept_bytes, 0);
    assert_int_equal(now.waiting, 0);
    assert_int_equal(now.pipes, 0);
}
