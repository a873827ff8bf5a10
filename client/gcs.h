/*
 * libgcs: the host's side of the guest bridge.
 *
 * A connection is one session with a gcs-sidecar (or a standalone gcs-inbox). Any number of calls may be in
 * flight over it, from any threads. What is lost on the way is repeated under the same id and run once by the
 * server; answers are acknowledged, and the session is kept alive, without the user's help.
 *
 *     struct gcs_error err = {0};
 *     struct gcs_connection *conn = NULL;
 *     if (gcs_connect("ipc:///run/gcs/sidecar.sock", NULL, &conn, &err) != GCS_OK ||
 *         gcs_ping(conn, &err) != GCS_OK)
 *         fprintf(stderr, "%s: %s\n", gcs_status_name(err.status), err.message);
 *     gcs_error_clear(&err);
 *     gcs_disconnect(conn);
 *
 * Every function that can fail returns GCS_OK or the status that `err` has as well. `err` may be NULL;
 * otherwise it was zeroed or used before, is written on failure only, and is cleared by the user. Functions
 * that wait do so for the call's time limit at most. Statuses of every call:
 *
 * - GCS_UNAVAILABLE: the server is gone or was started anew, so whether the call ran is not known unless the
 *   message says that it was never sent; the next calls go to the new server
 * - GCS_DEADLINE_EXCEEDED: the time limit passed; the server gives up as well, and undoes what it began
 * - GCS_PERMISSION_DENIED: the policy said no: err->denial has its reasons
 * - GCS_RESOURCE_EXHAUSTED: a limit of the server, or the request is larger than it receives
 * - GCS_INTERNAL: an answer that does not decode, or no memory
 *
 * Requests and answers are the generated protobuf-c messages of the schema (gcs/v1/ .proto files), which
 * document each field.
 */
#ifndef GCS_H
#define GCS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <gcs/v1/bridge.pb-c.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GCS_API __attribute__((visibility("default")))

/* The gRPC status codes. */
enum gcs_status {
    GCS_OK = 0,
    GCS_CANCELLED = 1,
    GCS_UNKNOWN = 2,
    GCS_INVALID_ARGUMENT = 3,
    GCS_DEADLINE_EXCEEDED = 4,
    GCS_NOT_FOUND = 5,
    GCS_ALREADY_EXISTS = 6,
    GCS_PERMISSION_DENIED = 7,
    GCS_RESOURCE_EXHAUSTED = 8,
    GCS_FAILED_PRECONDITION = 9,
    GCS_ABORTED = 10,
    GCS_OUT_OF_RANGE = 11,
    GCS_UNIMPLEMENTED = 12,
    GCS_INTERNAL = 13,
    GCS_UNAVAILABLE = 14,
    GCS_DATA_LOSS = 15,
    GCS_UNAUTHENTICATED = 16,
};

/* ---- errors ---- */

/* What the policy decided, decoded from the `policyDecision< BASE64 >policyDecision` of an error message. */
struct gcs_denial {
    char *decision; /* "deny" */
    char *rule;     /* the enforcement point, "create_container"; "" when the server had to leave it out */
    char **errors;  /* why: the policy's reason, one sentence each */
    size_t errors_count;
    char **truncated; /* names of what the server left out to keep the message short */
    size_t truncated_count;
    char *json; /* the decision object as it came */
};

struct gcs_error {
    enum gcs_status status;
    uint32_t hresult; /* the reference's code; 0 when the error was found on this side */
    char *message;    /* what failed, on what, and why, without the encoded decision; never NULL after
                         a failure */
    struct gcs_denial *denial; /* NULL: this is no decision of the policy */
};

/* Frees what the error holds and zeroes it. A zeroed error is fine. */
GCS_API void gcs_error_clear(struct gcs_error *err);

/* gRPC's name of a status, "PERMISSION_DENIED". Static text. */
GCS_API const char *gcs_status_name(enum gcs_status status);

/* ---- connection ---- */

struct gcs_connection;

/* Zero in every field is the default. */
struct gcs_options {
    uint32_t connect_timeout_ms; /* until there is a session; 0: 10,000 */
    uint32_t call_timeout_ms;    /* of the typed calls below; 0: 30,000 */
    uint32_t answer_bytes_max;   /* the largest answer to receive, at least 65,536; 0: 960 KiB */
    uint32_t repeat_ms; /* how long an answer may take before its request is sent again, under the same id;
                           doubled each time; 0: 2,000 */
    const char *traceparent; /* W3C: the span that causes the calls, sent with each that names none itself;
                                copied; NULL: none */
};

/*
 * Connects and negotiates.
 *
 * url      ipc://PATH or tcp://HOST:PORT
 * options  copied; NULL: the defaults
 * ret      the connection, which gcs_disconnect() ends; untouched on failure
 *
 * GCS_INVALID_ARGUMENT   the url, or a malformed traceparent
 * GCS_DEADLINE_EXCEEDED  nobody answers there
 */
GCS_API enum gcs_status gcs_connect(const char *url, const struct gcs_options *options,
                                    struct gcs_connection **ret, struct gcs_error *err);

/* Fails what is in flight with GCS_UNAVAILABLE, tells the server that the session is over, and frees the
 * connection. Waits a quarter of a second at most until the server has heard it; otherwise the session ends
 * with its lease. NULL is fine. Not from a callback, and not while another thread uses the connection. */
GCS_API void gcs_disconnect(struct gcs_connection *conn);

/* What the server told when the session was opened. The text lives as long as the connection. */
struct gcs_server {
    uint32_t version;            /* of the protocol */
    bool creates_sandbox_mounts; /* the guest makes the source directories of sandbox mounts; the host must
                                    not */
    bool needs_policy;           /* nothing works before gcs_set_policy() */
    const char *sandbox_root; /* where sandbox mounts are in the guest, if the host must make them; else "" */
    const Gcs__V1__Capabilities *capabilities; /* all of them; lives as long as the connection, may be NULL */
    uint8_t instance_id[16];                   /* another value: another run of the server */
    uint32_t request_bytes_max;
    uint32_t calls_max; /* in flight at one time */
};
GCS_API void gcs_server_info(struct gcs_connection *conn, struct gcs_server *ret);

/* The run of the server that the last session was opened with: another value means that it was started anew,
 * and has forgotten everything. */
GCS_API void gcs_instance(struct gcs_connection *conn, uint8_t ret[16]);

/* ---- calls ---- */

/*
 * Calls and waits for the answer.
 *
 * request  body, container id, correlation ids and timeout_ms (0: 30 s) are the user's; session, request id
 *          and acknowledgements are written here. Borrowed.
 * ret      the answer when its status is OK, to be freed with gcs_response_free(); may be NULL; untouched on
 *          failure
 */
GCS_API enum gcs_status gcs_call(struct gcs_connection *conn, Gcs__V1__Request *request,
                                 Gcs__V1__Response **ret, struct gcs_error *err);

GCS_API void gcs_response_free(Gcs__V1__Response *response);

/*
 * The outcome of an asynchronous call.
 *
 * response  the answer when its status is OK, else NULL; borrowed for the callback
 * err       why there is none, else NULL; borrowed
 *
 * Runs on a thread of the connection with no lock held; must not block. It may start further calls.
 */
typedef void gcs_answer_fn(void *arg, const Gcs__V1__Response *response, const struct gcs_error *err);

/* As gcs_call(), without waiting. `on_answer` runs exactly once when this returns GCS_OK, else never.
 * `request` is packed before the return. */
GCS_API enum gcs_status gcs_call_async(struct gcs_connection *conn, Gcs__V1__Request *request,
                                       gcs_answer_fn *on_answer, void *arg, struct gcs_error *err);

/* ---- the guest ---- */

GCS_API enum gcs_status gcs_ping(struct gcs_connection *conn, struct gcs_error *err);

/* ret->health */
GCS_API enum gcs_status gcs_health(struct gcs_connection *conn, Gcs__V1__Response **ret,
                                   struct gcs_error *err);

/*
 * What the guest has counted, in Prometheus' exposition format.
 *
 * ret  malloc()ed text, which the caller frees; untouched on failure
 */
GCS_API enum gcs_status gcs_metrics(struct gcs_connection *conn, char **ret, struct gcs_error *err);

/*
 * What the guest's threads are doing, a page at a time: the sidecar's, then the inbox's.
 *
 * after  0 for the first page, then the answer's next_after until that is 0
 * ret    ->dump_stacks
 *
 * GCS_ABORTED  another client's page is being made: ask again
 */
GCS_API enum gcs_status gcs_dump_stacks(struct gcs_connection *conn, uint64_t after, Gcs__V1__Response **ret,
                                        struct gcs_error *err);

/* Sets the policy, once in a guest's life. `size` bytes of text, at most 16 MiB; borrowed. */
GCS_API enum gcs_status gcs_set_policy(struct gcs_connection *conn, const void *text, size_t size,
                                       struct gcs_error *err);

/*
 * Mounts verified layers as the volume `volume_id`, for the container `container_id`: the policy is asked
 * once for each container that is to stand on it, for this one now, for others when their layers are
 * combined.
 *
 * files  names in the guest's layer directory, base first
 * ret    ret->modify_settings->block_cims has the digests; may be NULL
 */
GCS_API enum gcs_status gcs_add_volume(struct gcs_connection *conn, const char *container_id,
                                       const char *volume_id, const char *const *files, size_t count,
                                       Gcs__V1__Response **ret, struct gcs_error *err);
GCS_API enum gcs_status gcs_remove_volume(struct gcs_connection *conn, const char *volume_id,
                                          struct gcs_error *err);

/* Writable storage in guest memory; size_bytes 0 is half of it. */
GCS_API enum gcs_status gcs_add_scratch(struct gcs_connection *conn, const char *target, uint64_t size_bytes,
                                        struct gcs_error *err);
GCS_API enum gcs_status gcs_remove_scratch(struct gcs_connection *conn, const char *target,
                                           struct gcs_error *err);

/* The root file system of a container to come: a volume below, a scratch above. */
GCS_API enum gcs_status gcs_combine_layers(struct gcs_connection *conn, const char *container_id,
                                           const char *scratch_target, const char *volume_id,
                                           struct gcs_error *err);
GCS_API enum gcs_status gcs_separate_layers(struct gcs_connection *conn, const char *container_id,
                                            const char *scratch_target, const char *volume_id,
                                            struct gcs_error *err);

/* A network namespace of the guest, which containers enter by their specification. namespace_id: a GUID in
 * lower case. Removing it takes its adapters away; GCS_FAILED_PRECONDITION while a container is in it. */
GCS_API enum gcs_status gcs_add_network_namespace(struct gcs_connection *conn, const char *namespace_id,
                                                  struct gcs_error *err);
GCS_API enum gcs_status gcs_remove_network_namespace(struct gcs_connection *conn, const char *namespace_id,
                                                     struct gcs_error *err);

/*
 * An adapter of a network namespace: its ids, and for an add what settings.proto says of the other fields.
 * network: borrowed, not changed.
 *
 * GCS_INVALID_ARGUMENT  an id, an address, a prefix or a route is malformed; the message names its field
 * GCS_NOT_FOUND         no such namespace, or none of its adapters has the id
 * GCS_ALREADY_EXISTS    the adapter's id is in use
 */
GCS_API enum gcs_status gcs_add_network(struct gcs_connection *conn, const Gcs__V1__Network *network,
                                        struct gcs_error *err);
GCS_API enum gcs_status gcs_remove_network(struct gcs_connection *conn, const char *namespace_id,
                                           const char *adapter_id, struct gcs_error *err);

/*
 * Log forwarding: what the guest logs to a sink of its own, never to the host.
 *
 * rpc     sets the providers, or starts or stops forwarding
 * config  as logging.proto says; NULL, with start and stop alone: as they are. Borrowed, not changed
 * ret     ret->modify_service_settings has what is in effect; may be NULL
 *
 * GCS_INVALID_ARGUMENT     a provider, its GUID or its keywords; the message names the field
 * GCS_FAILED_PRECONDITION  to start: the guest has no sink, or cannot open it. Settings that came with it
 * count
 */
GCS_API enum gcs_status gcs_log_forwarding(struct gcs_connection *conn, Gcs__V1__LogRpc rpc,
                                           const Gcs__V1__LogConfig *config, Gcs__V1__Response **ret,
                                           struct gcs_error *err);

/* Waits up to `wait_ms` (at most 25,000) for events after `after_seq`; ret->watch_events may have none. */
GCS_API enum gcs_status gcs_watch_events(struct gcs_connection *conn, uint64_t after_seq, uint32_t wait_ms,
                                         Gcs__V1__Response **ret, struct gcs_error *err);

/* ---- containers ---- */

/* container_id everywhere: 64 lower-case hexadecimal digits; for gcs_exec() and what concerns its process
 * also GCS_UVM_ID, the guest itself. */
#define GCS_UVM_ID "00000000-0000-0000-0000-000000000000"

/* Creates a container. spec: borrowed, not changed. */
GCS_API enum gcs_status gcs_create(struct gcs_connection *conn, const char *container_id,
                                   const Gcs__V1__Spec *spec, struct gcs_error *err);

/* Runs the init process; *ret_process_id names it. */
GCS_API enum gcs_status gcs_start(struct gcs_connection *conn, const char *container_id,
                                  uint32_t *ret_process_id, struct gcs_error *err);

/* Runs an additional process. process: borrowed, not changed. */
GCS_API enum gcs_status gcs_exec(struct gcs_connection *conn, const char *container_id,
                                 const Gcs__V1__Process *process, uint32_t *ret_process_id,
                                 struct gcs_error *err);

struct gcs_exit {
    uint32_t code;     /* 128 + n when signal n ended the process */
    bool code_unknown; /* nobody watched when it ended; `code` means nothing */
    bool output_cut;   /* something else held the output open; more may come */
};

#define GCS_WAIT_FOREVER UINT32_MAX

/*
 * Waits until a process has ended, asking again as often as it takes.
 *
 * wait_ms  how long; 0 asks once; GCS_WAIT_FOREVER
 *
 * GCS_DEADLINE_EXCEEDED  it still runs
 */
GCS_API enum gcs_status gcs_wait(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                                 uint32_t wait_ms, struct gcs_exit *ret, struct gcs_error *err);

GCS_API enum gcs_status gcs_signal(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                                   Gcs__V1__Signal signal, struct gcs_error *err);

/*
 * Reads output from `offset` on; what lies before it may be forgotten by the guest.
 *
 * wait_ms  for the first byte, at most 25,000
 * ret      ->read_stream: data (may be empty), its offset, eof
 *
 * GCS_OUT_OF_RANGE  the guest has forgotten that offset; the message names the first one left
 */
GCS_API enum gcs_status gcs_read(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                                 Gcs__V1__Stream stream, uint64_t offset, uint32_t wait_ms,
                                 Gcs__V1__Response **ret, struct gcs_error *err);

/*
 * Writes standard input, at most 256 KiB a call.
 *
 * offset  of the first byte in the whole stream; on success moved past what the process's input has room for,
 *         which may be less than `size`: write the rest later
 * eof     nothing comes after these bytes
 */
GCS_API enum gcs_status gcs_write(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                                  const void *bytes, size_t size, bool eof, uint64_t *offset,
                                  struct gcs_error *err);

/*
 * Closes a stream to this side. Input: the process reads its end. Output: what is kept is dropped, what comes
 * is discarded, and the process never waits for a reader. A repeat changes nothing.
 *
 * GCS_FAILED_PRECONDITION  the process was started without this stream
 */
GCS_API enum gcs_status gcs_close_stream(struct gcs_connection *conn, const char *container_id,
                                         uint32_t process_id, Gcs__V1__Stream stream, struct gcs_error *err);

/*
 * Sets the size of a process's terminal, in character cells, 1 to 65,535 each.
 *
 * GCS_FAILED_PRECONDITION  it has no terminal, or its last user is gone
 */
GCS_API enum gcs_status gcs_resize(struct gcs_connection *conn, const char *container_id, uint32_t process_id,
                                   uint32_t height, uint32_t width, struct gcs_error *err);

/*
 * Adds a mapped directory to a running container, which keeps it until it is deleted. mount: borrowed, not
 * changed.
 *
 * GCS_FAILED_PRECONDITION  the container does not run, or something is in the way at the destination
 */
GCS_API enum gcs_status gcs_add_mount(struct gcs_connection *conn, const char *container_id,
                                      const Gcs__V1__Mount *mount, struct gcs_error *err);

/* types: at least one, none twice. ret->get_properties */
GCS_API enum gcs_status gcs_get_properties(struct gcs_connection *conn, const char *container_id,
                                           const Gcs__V1__PropertyType *types, size_t count,
                                           Gcs__V1__Response **ret, struct gcs_error *err);

/*
 * A page of the container's processes: ret->get_properties.
 *
 * first  0 for the first page, then the answer's next_process until that is 0
 */
GCS_API enum gcs_status gcs_list_processes(struct gcs_connection *conn, const char *container_id,
                                           uint64_t first, Gcs__V1__Response **ret, struct gcs_error *err);

/* Asks init to end (SIGTERM), or with `forced` kills every process. gcs_wait() tells when it is done. */
GCS_API enum gcs_status gcs_shutdown(struct gcs_connection *conn, const char *container_id, bool forced,
                                     struct gcs_error *err);

/* Forgets a container that has stopped or was never started. */
GCS_API enum gcs_status gcs_delete(struct gcs_connection *conn, const char *container_id,
                                   struct gcs_error *err);

#ifdef __cplusplus
}
#endif

#endif
