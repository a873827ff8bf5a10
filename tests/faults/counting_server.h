/*
 * A server whose requests have a number each and whose only effect is to count how often each number ran. It
 * is made of what sidecar and inbox are made of, and answers in the three ways that their handlers do:
 *
 *   Ping            where it is received; the number is the first eight bytes of the payload, which comes
 * back WriteStream     on the pool; the number is the offset, accepted_through is one more WaitForProcess
 * parked, and answered by the timer thread some milliseconds later; the number is the process id, exit_code
 * is the number again ReadStream      where it is received; counts nothing, answers with max_bytes bytes,
 * each the low byte of the offset
 */
#ifndef TESTS_FAULTS_COUNTING_SERVER_H
#define TESTS_FAULTS_COUNTING_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"

struct counting_server {
    char directory[64];
    char url[96];   /* where it listens */
    char path[96];  /* the same, without ipc:// */
    char proxy[96]; /* a free path beside it, for a proxy; ipc_url() makes a URL of it */
    char proxy_url[96];
    struct pool *pool;
    struct timers *timers;
    struct rpc_server *server;
    size_t numbers;
    atomic_uchar *ran;      /* by number */
    atomic_ulong strangers; /* requests whose number is none */
};

/* Starts it in a directory of its own, for the numbers below `numbers`; false on failure. */
bool counting_server_start(struct counting_server *counting, size_t numbers);
void counting_server_stop(struct counting_server *counting);

/* How many numbers ran not at all, and more than once. */
void counting_server_tell(const struct counting_server *counting, size_t *ret_lost, size_t *ret_twice);

/* One request of a kind that its number chooses. */
struct numbered {
    Gcs__V1__Request request; /* session and ids are the user's */
    Gcs__V1__Ping ping;
    Gcs__V1__WriteStream write;
    Gcs__V1__WaitForProcess wait;
    uint8_t payload[2048];
};
void numbered_init(struct numbered *ret, uint64_t number);

/* Whether this is the answer to the request of that number. */
bool numbered_is_answer(const Gcs__V1__Response *response, uint64_t number);

#endif
