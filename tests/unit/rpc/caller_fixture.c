#include "tests/unit/rpc/caller_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* The arg of a call: which outcome it fills in. */
struct slot {
    struct record *record;
    size_t index;
};

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct error *err)
{
    struct slot *slot = arg;
    struct record *record = slot->record;
    mutex_lock(&record->lock);
    struct outcome *outcome = &record->outcomes[slot->index];
    outcome->times++;
    outcome->has_response = response != NULL;
    outcome->at_ns = clock_now_ns();
    if (response) {
        outcome->response_status = response->status;
        outcome->request_id = response->request_id;
    } else {
        outcome->err = *err;
    }
    record->finished++;
    pthread_cond_broadcast(&record->changed);
    int64_t deadline_ns = clock_now_ns() + WAIT_NS;
    while (record->hold && record->finished > record->allowed &&
           condition_wait_until(&record->changed, &record->lock, deadline_ns) != ETIMEDOUT)
        ;
    mutex_unlock(&record->lock);
    free(slot);
}

static void
on_state(void *arg, enum caller_state state, const Gcs__V1__NegotiateResponse *negotiated, bool changed)
{
    struct record *record = arg;
    (void)negotiated;
    mutex_lock(&record->lock);
    if (record->states_count < STATES_MAX) {
        record->states[record->states_count] = state;
        record->instance_changed[record->states_count++] = changed;
    }
    pthread_cond_broadcast(&record->changed);
    mutex_unlock(&record->lock);
}

/* Waits until a number of the record has reached `count`. */
static bool
wait_for(struct record *record, const size_t *number, size_t count)
{
    int64_t deadline_ns = clock_now_ns() + WAIT_NS;
    mutex_lock(&record->lock);
    while (*number < count && condition_wait_until(&record->changed, &record->lock, deadline_ns) != ETIMEDOUT)
        ;
    bool reached = *number >= count;
    mutex_unlock(&record->lock);
    return reached;
}

bool
record_wait_finished(struct record *record, size_t count)
{
    return wait_for(record, &record->finished, count);
}

bool
record_wait_states(struct record *record, size_t count)
{
    return wait_for(record, &record->states_count, count);
}

size_t
record_finished(struct record *record)
{
    mutex_lock(&record->lock);
    size_t count = record->finished;
    mutex_unlock(&record->lock);
    return count;
}

struct outcome
record_outcome(struct record *record, size_t index)
{
    mutex_lock(&record->lock);
    struct outcome outcome = record->outcomes[index];
    mutex_unlock(&record->lock);
    return outcome;
}

int
fixture_setup(void **state)
{
    struct fixture *fix = calloc(1, sizeof *fix);
    struct error err;
    fix->record = calloc(1, sizeof *fix->record);
    mutex_init(&fix->record->lock, RANK_LEAF);
    condition_init(&fix->record->changed);
    assert_int_equal(timers_start(&fix->timers, &err), STATUS_OK);
    rep_server_init(&fix->server);
    *state = fix;
    return 0;
}

int
fixture_teardown(void **state)
{
    struct fixture *fix = *state;
    rep_server_close(&fix->server); /* first: nobody would answer the goodbye */
    caller_stop(fix->caller);
    timers_stop(fix->timers);
    rep_server_done(&fix->server);
    pthread_cond_destroy(&fix->record->changed);
    mutex_done(&fix->record->lock);
    free(fix->record);
    free(fix);
    return 0;
}

void
fixture_start(struct fixture *fix, bool fail_fast)
{
    struct error err;
    struct caller_config config = {.url = fix->server.url,
                                   .timers = fix->timers,
                                   .on_state = on_state,
                                   .state_arg = fix->record,
                                   .repeat_ms = fix->repeat_ms,
                                   .fail_fast = fail_fast};
    assert_int_equal(caller_start(&config, &fix->caller, &err), STATUS_OK);
}

void
fixture_start_ready(struct fixture *fix, bool fail_fast)
{
    struct error err;
    rep_server_open(&fix->server);
    fixture_start(fix, fail_fast);
    rep_server_negotiate(&fix->server, 1, 1);
    assert_int_equal(caller_wait_ready(fix->caller, clock_now_ns() + WAIT_NS, &err), STATUS_OK);
}

enum status
fixture_call(struct fixture *fix, size_t index, uint32_t timeout_ms, struct error *err)
{
    Gcs__V1__Request request = GCS__V1__REQUEST__INIT;
    Gcs__V1__Health health = GCS__V1__HEALTH__INIT;
    request.body_case = GCS__V1__REQUEST__BODY_HEALTH;
    request.health = &health;
    request.timeout_ms = timeout_ms;
    struct slot *slot = malloc(sizeof *slot);
    *slot = (struct slot){.record = fix->record, .index = index};
    enum status status = caller_call(fix->caller, &request, on_answer, slot, err);
    if (status != STATUS_OK)
        free(slot);
    return status;
}

void
fixture_call_ok(struct fixture *fix, size_t index, uint32_t timeout_ms)
{
    struct error err;
    assert_int_equal(fixture_call(fix, index, timeout_ms, &err), STATUS_OK);
}

void
record_hold(struct record *record, bool on, size_t allowed)
{
    mutex_lock(&record->lock);
    record->hold = on;
    record->allowed = allowed;
    pthread_cond_broadcast(&record->changed);
    mutex_unlock(&record->lock);
}
