/*
 * What a test says to the inbox of inbox_harness.h, as a sidecar does: each call waits for its answer. As
 * there, what cannot be done fails the running test. Main thread only.
 */
#ifndef TESTS_E2E_INBOX_CALLS_H
#define TESTS_E2E_INBOX_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "tests/e2e/inbox_harness.h"

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

#endif
