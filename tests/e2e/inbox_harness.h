/*
 * A gcs-inbox in a directory of its own, and a client that talks to it as a sidecar does. For tests:
 * everything here fails the running cmocka test when it cannot do what its name says. Main thread only.
 */
#ifndef TESTS_E2E_INBOX_HARNESS_H
#define TESTS_E2E_INBOX_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "gcs/v1/bridge.pb-c.h"
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

/* What a container in a test is; zero is "as root, no mounts". */
struct guest_container {
    const char *const *args; /* ends with NULL */
    const char *const *env;  /* ends with NULL; NULL: a PATH */
    const char *cwd, *user, *hostname, *network;
    bool terminal, stdin_wanted, stdio_denied;
    unsigned rows, columns;
    Gcs__V1__Mount **mounts;
    size_t mount_count;
    Gcs__V1__Resources *resources;
};

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

/* One call; the answer, whatever its status, is freed by gcs__v1__response__free_unpacked(answer, NULL). */
Gcs__V1__Response *guest_call(struct guest *guest, Gcs__V1__Request *call);

/* As guest_call(), and the status must be `status`. The text of a refusal is kept for guest_message(). */
void guest_expect(struct guest *guest, Gcs__V1__Request *call, int status);
const char *guest_message(void);

/* The steps of a container's life; each returns the status. */
int guest_scratch(struct guest *guest, const char *target, bool add);
int guest_layers(struct guest *guest, const char *id, const char *target, bool add);
int guest_mount(struct guest *guest, const char *id, const char *source, const char *destination,
                const char *option, bool add);                         /* ContainerMount; NULL: no option */
int guest_network(struct guest *guest, const char *network, bool add); /* NetworkNamespace */
/* Network: addresses of both ends, /24, "" for none; with a guest's address, a default route by way of it. */
int guest_adapter(struct guest *guest, const char *network, const char *adapter, const char *mac,
                  const char *address, const char *guest_address, bool add);
int guest_volume(struct guest *guest, const char *layer, bool add,
                 char ret_digest[65]); /* standalone: BlockCims */
int guest_create(struct guest *guest, const char *id, const struct guest_container *container);
int guest_run(struct guest *guest, const char *id, uint32_t *ret_process); /* StartContainer */
int guest_exec(struct guest *guest, const char *id, const struct guest_container *process,
               uint32_t *ret_process);
int guest_signal(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Signal number);
int guest_close(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream);
int guest_resize(struct guest *guest, const char *id, uint32_t process, uint32_t height, uint32_t width);
int guest_shutdown(struct guest *guest, const char *id, bool forced);
int guest_delete(struct guest *guest, const char *id);

/* Scratch, layers, create and start in one; all must work. Returns init's process id. */
uint32_t guest_container_up(struct guest *guest, const char *id, const struct guest_container *container);

/* Delete, layers, scratch: all must work. */
void guest_container_down(struct guest *guest, const char *id);

struct guest_exit {
    bool exited, cut;
    uint32_t code;
};
struct guest_exit guest_wait(struct guest *guest, const char *id, uint32_t process, uint32_t wait_ms);

/* Reads a stream to its end; the text is malloc()ed and NUL-terminated. */
char *guest_output(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream,
                   size_t *ret_size);

/* Reads until `text` has come (from `*offset` on, which it advances), or fails. */
void guest_output_has(struct guest *guest, const char *id, uint32_t process, const char *text,
                      uint64_t *offset);

/* One ReadStream; returns the status. */
int guest_read(struct guest *guest, const char *id, uint32_t process, Gcs__V1__Stream stream, uint64_t offset,
               uint32_t wait_ms, char *ret, size_t max, size_t *ret_size, bool *ret_eof);

/* One WriteStream; returns the status. */
int guest_write(struct guest *guest, const char *id, uint32_t process, uint64_t offset, const char *bytes,
                size_t size, bool eof, uint64_t *ret_accepted);

/* Properties of all three types; freed as guest_call()'s answer. */
Gcs__V1__Response *guest_properties(struct guest *guest, const char *id);

/* One page of the process list; freed likewise, whatever its status. */
Gcs__V1__Response *guest_process_page(struct guest *guest, const char *id, uint64_t first);

/* The next events after `after_seq`; freed likewise. */
Gcs__V1__Response *guest_events(struct guest *guest, uint64_t after_seq, uint32_t wait_ms);

/* Makes an EROFS image of the busybox layer, "layer.erofs", in the directory a standalone inbox takes layers
 * from. */
void guest_image_make(struct guest *guest);

/* What is left of the inbox on the machine. */
size_t guest_mounts(const struct guest *guest);                    /* mount points below its directory */
size_t guest_groups(const char *container_id);                     /* control groups of the container */
size_t guest_entries(const struct guest *guest, const char *name); /* of a directory of the run directory */
bool guest_path_exists(const char *path);

#endif
