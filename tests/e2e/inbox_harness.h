/*
 * A gcs-inbox in a directory of its own, and a client that is connected to it as a sidecar is; inbox_calls.h
 * is what it says. For tests: everything here fails the running cmocka test when it cannot do what its name
 * says. Main thread only.
 */
#ifndef TESTS_E2E_INBOX_HARNESS_H
#define TESTS_E2E_INBOX_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "server/rpc/caller.h"

struct guest {
    pid_t pid; /* of the inbox; 0: none */
    char dir[64], run_dir[96], sandbox[96], layer[96], url[128];
    struct timers *timers;
    struct caller *caller;
    bool unprivileged; /* the inbox runs as nobody */
    bool standalone;
    uint32_t timeout_ms;             /* of the calls to come; 0: the default */
    const char *tag, *container_tag; /* of the approvals to come; NULL: none */
    bool forget_id;
};

struct guest_options {
    const char *runtime;
    bool standalone;
    bool unprivileged; /* started by root, the inbox runs as nobody; else it is whoever runs the test */
};

/* Far beyond what any step takes, also under a sanitizer on a busy machine. */
enum { PATIENCE_S = 40 };

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Container ids: of this run alone, since control groups are named after them and tests may run side by
 * side. */
extern char guest_id_a[65], guest_id_b[65];
#define GUEST_ID_A guest_id_a
#define GUEST_ID_B guest_id_b
#define GUEST_UVM  "00000000-0000-0000-0000-000000000000"

/* Makes the directory and a layer of busybox, starts the inbox, connects. */
void guest_start(struct guest *guest, const struct guest_options *options);

/* Starts the inbox again in the same directory, and a new client. */
void guest_restart(struct guest *guest, const struct guest_options *options);

/* Starts an inbox that is expected to refuse, and returns its wait status. */
int guest_end_of_start(struct guest *guest, const struct guest_options *options);

/* Sends the inbox a signal and returns its wait status. */
int guest_end(struct guest *guest, int number);

/* Kills what still runs and removes the directory. Safe after any failure. */
void guest_remove(struct guest *guest);

/* Makes an EROFS image of the busybox layer, "layer.erofs", in the directory a standalone inbox takes layers
 * from. */
void guest_image_make(struct guest *guest);

/* What is left of the inbox on the machine. */
size_t guest_mounts(const struct guest *guest);                    /* mount points below its directory */
size_t guest_groups(const char *container_id);                     /* control groups of the container */
size_t guest_entries(const struct guest *guest, const char *name); /* of a directory of the run directory */
bool guest_path_exists(const char *path);

#endif
