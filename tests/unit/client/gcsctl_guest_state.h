/*
 * Inside the guest of gcsctl_guest.h: what its handlers, its processes and its life share.
 *
 * Threads: the functions are the handlers', on the server's threads; the lock guards what they change.
 */
#ifndef TESTS_UNIT_CLIENT_GCSCTL_GUEST_STATE_H
#define TESTS_UNIT_CLIENT_GCSCTL_GUEST_STATE_H

#include <pthread.h>

#include "server/base/mutex.h"
#include "server/rpc/method.h"
#include "server/rpc/request.h"
#include "server/rpc/server.h"
#include "tests/unit/client/gcsctl_guest.h"

#define PARKED_MAX    64
#define PROCESSES_MAX 16
#define TEXT_MAX      16384

struct process {
    bool exited, in_guest, input_ended;
    uint32_t code;
};

struct guest {
    struct guest_behaviour behaviour;
    char directory[64], url[96];
    struct pool *pool;
    struct timers *timers;
    struct rpc_server *server;

    struct {
        struct mutex lock;
        pthread_cond_t changed;
        char log[TEXT_MAX] GUARDED, input[TEXT_MAX] GUARDED;
        size_t log_length GUARDED, input_length GUARDED;
        struct process processes[PROCESSES_MAX] GUARDED; /* by process id */
        uint32_t processes_count GUARDED;
        struct request *parked[PARKED_MAX] GUARDED, *held GUARDED;
        size_t parked_count GUARDED;
        bool released GUARDED;
    } state;
};

/* Every method and resource that gcsctl uses. */
extern const struct rpc_method_table guest_methods;

/* Appends a line to the log. */
void __attribute__((format(printf, 2, 3))) guest_record(struct guest *guest, const char *format, ...);

/* Processes are told by id; a process of the guest's own ends at once. */
uint32_t guest_process_add(struct guest *guest, bool in_guest);
void guest_process_end(struct guest *guest, uint32_t id, uint32_t code);
void guest_process_end_all(struct guest *guest, uint32_t code);

/* WaitForProcess and ReadStream: parked until there is an answer. */
void guest_handle_parked(struct request *req);

/* Appends what is new and within the room; true when the input has ended with it. */
bool guest_input_take(struct guest *guest, const Gcs__V1__WriteStream *in, uint64_t *accepted_through);

/* Whether this call is to be denied; then it is. */
bool guest_refused(struct request *req);

#endif
