#include "bench/latency_flight.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "bench/latency_target.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"

struct flight;

struct seat {
    struct flight *flight;
    int64_t sent_ns;
};

struct flight {
    struct gcs_connection *connection;
    flight_fill_fn *fill;
    void *arg;
    size_t count;
    struct samples *samples;
    struct seat seats[LATENCY_IN_FLIGHT_MAX];

    struct {
        pthread_mutex_t lock;
        pthread_cond_t ended; /* airborne fell to 0 */
        size_t sent;
        unsigned airborne;
        bool failed;
        struct error err;
    } state; /* lock guards its neighbours */
};

enum status
flight_error(struct error *err, struct gcs_error *failure, const char *what)
{
    enum status status = (enum status)failure->status;
    bool reasons = failure->denial && failure->denial->errors_count > 0;
    error_set(err, status, 0, "%s: %s%s%s", what, failure->message ? failure->message : "no reason given",
              reasons ? ": " : "", reasons ? failure->denial->errors[0] : "");
    gcs_error_clear(failure);
    return status;
}

static void on_answer(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err);

static void
note_failure(struct flight *flight, const struct gcs_error *failure)
{
    if (!flight->state.failed)
        error_set(&flight->state.err, (enum status)failure->status, 0, "request: %s", failure->message);
    flight->state.failed = true;
}

/* Sends the next request, if one is left, from `seat`. Called with the lock held: what fill() writes is
 * shared. */
static void
send_next(struct flight *flight, struct seat *seat)
{
    if (flight->state.sent == flight->count || flight->state.failed)
        return;
    Gcs__V1__Request request;
    gcs__v1__request__init(&request);
    flight->fill(flight->arg, flight->state.sent, &request);
    struct gcs_error failure = {0};
    seat->sent_ns = clock_now_ns();
    if (gcs_call_async(flight->connection, &request, on_answer, seat, &failure) != GCS_OK) {
        note_failure(flight, &failure);
        gcs_error_clear(&failure);
        return;
    }
    flight->state.sent++;
    flight->state.airborne++;
}

static void
on_answer(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err)
{
    struct seat *seat = arg;
    struct flight *flight = seat->flight;
    int64_t now_ns = clock_now_ns();
    pthread_mutex_lock(&flight->state.lock);
    flight->state.airborne--;
    if (response) {
        samples_add(flight->samples, now_ns - seat->sent_ns);
        send_next(flight, seat);
    } else {
        note_failure(flight, err);
    }
    if (flight->state.airborne == 0)
        pthread_cond_signal(&flight->state.ended);
    pthread_mutex_unlock(&flight->state.lock);
}

static enum status
run_many(struct flight *flight, unsigned in_flight, struct error *err)
{
    pthread_mutex_init(&flight->state.lock, NULL);
    condition_init(&flight->state.ended);
    pthread_mutex_lock(&flight->state.lock);
    for (unsigned i = 0; i < in_flight; i++) {
        flight->seats[i].flight = flight;
        send_next(flight, &flight->seats[i]);
    }
    /* Every call has a time limit of its own, so this ends. */
    while (flight->state.airborne > 0)
        pthread_cond_wait(&flight->state.ended, &flight->state.lock);
    bool failed = flight->state.failed;
    pthread_mutex_unlock(&flight->state.lock);
    if (failed)
        *err = flight->state.err;
    pthread_cond_destroy(&flight->state.ended);
    pthread_mutex_destroy(&flight->state.lock);
    return failed ? err->status : STATUS_OK;
}

static enum status
run_one_by_one(struct flight *flight, struct error *err)
{
    for (size_t i = 0; i < flight->count; i++) {
        Gcs__V1__Request request;
        gcs__v1__request__init(&request);
        flight->fill(flight->arg, i, &request);
        struct gcs_error failure = {0};
        int64_t sent_ns = clock_now_ns();
        if (gcs_call(flight->connection, &request, NULL, &failure) != GCS_OK)
            return flight_error(err, &failure, "request");
        samples_add(flight->samples, clock_now_ns() - sent_ns);
    }
    return STATUS_OK;
}

enum status
flight_run(struct gcs_connection *connection, unsigned in_flight, size_t count, flight_fill_fn *fill,
           void *arg, struct samples *samples, struct error *err)
{
    struct flight *flight = calloc(1, sizeof *flight);
    if (!flight)
        return error_set(err, STATUS_RESOURCE_EXHAUSTED, 0, "no memory");
    *flight = (struct flight){
        .connection = connection, .fill = fill, .arg = arg, .count = count, .samples = samples};
    int64_t begun_ns = clock_now_ns();
    enum status status = in_flight == 1 ? run_one_by_one(flight, err) : run_many(flight, in_flight, err);
    samples->elapsed_ns += clock_now_ns() - begun_ns;
    free(flight);
    return status;
}
