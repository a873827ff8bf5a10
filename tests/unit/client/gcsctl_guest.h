/*
 * A guest for tests of gcsctl: a real server of the transport whose handlers only keep a log and do as the
 * test says. It runs no container.
 *
 * Threads: handlers run on the server's threads; the functions here are the test's.
 */
#ifndef TESTS_UNIT_CLIENT_GCSCTL_GUEST_H
#define TESTS_UNIT_CLIENT_GCSCTL_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"

/* When a process ends, apart from the end of the test. */
enum guest_end {
    GUEST_ENDS_AT_ONCE,   /* as soon as it is started, with exit_code */
    GUEST_ENDS_AT_INPUT,  /* when its input ends, with exit_code */
    GUEST_ENDS_AT_SIGNAL, /* at any signal, with 130 */
    GUEST_ENDS_BY_FORCE,  /* when the container is shut down or the process is killed, with 137 */
};

struct guest_behaviour {
    bool creates_sandbox_mounts, needs_policy, policy_set;
    const char *sandbox_root;
    enum guest_end end;
    uint32_t exit_code;
    bool exit_code_unknown;
    const char *output, *error_output;  /* NULL: none */
    Gcs__V1__Request__BodyCase refused; /* this call is denied; NOT_SET: none */
    const char *refusal;                /* with this message */
    Gcs__V1__Request__BodyCase held;    /* this call waits for guest_release(); NOT_SET: none */
    uint32_t guest_exit_code;           /* of processes outside of containers, which end at once */
    size_t input_room;                  /* most bytes that one write is granted; 0: all */
};

struct guest;

/* Starts one behind ipc:// in a directory of its own; NULL on failure. `behaviour` is copied. */
struct guest *guest_start(const struct guest_behaviour *behaviour);
void guest_stop(struct guest *guest);

const char *guest_url(const struct guest *guest);
const char *guest_directory(const struct guest *guest);

/* Waits until the log has this line; false after 20 s. */
bool guest_wait_for(struct guest *guest, const char *line);

/* Lets the held call go. */
void guest_release(struct guest *guest);

/* What was called, a line each, in order; waits, reads and pings are left out. The caller frees it. */
char *guest_log(struct guest *guest);

/* What was written to the init process. The caller frees it. */
char *guest_input(struct guest *guest);

#endif
