/*
 * The security policy: what the host may make this guest do.
 *
 * A policy's text is compiled once into an immutable `struct policy`. A `struct policy_state` holds what was
 * decided under it so far: which containers were mounted, started, narrowed and shut down, scratch spaces,
 * fragments, trust lists. A decision takes one request, answers allowed or denied, and hands out a record of
 * what it added to the state. The owner of the request commits the record when the request was carried out,
 * or undoes it when it was not; records are independent of each other and end in any order.
 *
 * Two rule sets (the design's "Strict and reference"):
 *
 *   POLICY_REFERENCE  the Go enforcer's decisions, faults included; for comparison and for the vectors
 *   POLICY_STRICT     what the reference allows, from the same state, less everything in the list below
 *
 * Strict starts from what the reference would keep and only takes away: the decision, the environment and the
 * candidate containers that strict leaves are each a subset of the reference's. It takes away
 *   - candidates whose `mounts` do not cover the request's mounts one to one: each request mount needs a rule
 *     of its own with an equal destination, an equal type, the same options as a set, and a source pattern
 *     that matches the request's source whole; rules left over are fine
 *   - matches of a pattern that does not match the text from end to end, as ^(?:pattern)$
 *   - registry values without an equal value in one and the same candidate's `registry_changes.add_values`,
 *     deleted keys without one in its `delete_keys`; the candidates that pass become the only ones
 *   - policies and fragments that load in the reference but are surely not meant: policy_state_new(), for a
 *     fragment the policy's error of the denial, names the place
 *   - in linux mode, mount sources under a sandbox id that would not stand for itself in a pattern
 * and it adds one thing, a second spelling of a command: exec_in_container, exec_external and a signal to an
 * exec'd process are asked with `args` as given first and, when that is denied, with the one-element list
 * that holds `args` joined the Windows way, as the reference's host sends them. An entry ["cmd"] thus allows
 * args ["cmd"] and not ["cmd", "/c", "mkdir"]; an entry ["cmd /c dir"] allows args ["cmd", "/c", "dir"]. What
 * runs is always `args`. The reference rule set looks at `args` alone, and create_container does so in both.
 * A fragment that is loaded again is kept once in strict, which changes no decision.
 *
 * In one place strict allows what the reference rule set does not: POLICY_CONTAINER_MOUNT, which the
 * reference has not got. For every point of the reference, from equal state, strict allows a subset.
 *
 * A point that the policy answers with a constant, {"allowed": true}, is its author's word: no candidate is
 * asked, so no mounts are matched either.
 *
 * Threads: a compiled policy is shared read-only by any number of threads. A state has one lock inside
 * (RANK_POLICY) and every function here may be called from any thread; deciding and recording is one critical
 * section, so no two decisions see the same state and both add to it. The engine does not order requests:
 * decisions on one container id or target happen in the order of the calls, so whoever needs arrival order
 * keeps it by key before calling (the sidecar's keyed order does). load_fragment and
 * load_transparency_trust_list change what every later decision sees, so their caller keeps other requests
 * out until the record has ended. Nothing here does I/O.
 */
#ifndef SERVER_POLICY_POLICY_H
#define SERVER_POLICY_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/error.h"

struct policy;
struct policy_state;
struct policy_record;

enum policy_os { POLICY_WINDOWS, POLICY_LINUX };

enum policy_rules { POLICY_REFERENCE, POLICY_STRICT };

/* The enforcement points, in the order of spec/policy.md 3.4. */
enum policy_point {
    POLICY_MOUNT_DEVICE,
    POLICY_RW_MOUNT_DEVICE,
    POLICY_MOUNT_BLOCKDEV,
    POLICY_MOUNT_OVERLAY,
    POLICY_MOUNT_CIMS,
    POLICY_REGISTRY_CHANGES,
    POLICY_CREATE_CONTAINER,
    POLICY_UNMOUNT_DEVICE,
    POLICY_RW_UNMOUNT_DEVICE,
    POLICY_UNMOUNT_BLOCKDEV,
    POLICY_UNMOUNT_OVERLAY,
    POLICY_EXEC_IN_CONTAINER,
    POLICY_EXEC_EXTERNAL,
    POLICY_SHUTDOWN_CONTAINER,
    POLICY_SIGNAL_CONTAINER_PROCESS,
    POLICY_PLAN9_MOUNT,
    POLICY_PLAN9_UNMOUNT,
    POLICY_GET_PROPERTIES,
    POLICY_DUMP_STACKS,
    POLICY_RUNTIME_LOGGING,
    POLICY_LOAD_FRAGMENT,
    POLICY_SCRATCH_MOUNT,
    POLICY_SCRATCH_UNMOUNT,
    POLICY_LOG_PROVIDER,
    POLICY_LOAD_TRANSPARENCY_TRUST_LIST,
    POLICY_HOST_NETWORK,
    POLICY_POINTS, /* how many a policy can speak of */

    /*
     * Ours alone, since the reference lets it pass unasked: a mount into a running container, by the mount
     * rules of what the container still may be. `process` holds the container's id and every mount that it
     * would have then, those it was created with among them, so that they are matched one to one all
     * together. No policy names this point; POLICY_REFERENCE denies it always.
     */
    POLICY_CONTAINER_MOUNT = POLICY_POINTS,
    POLICY_ALL_POINTS
};

/* The point's name as policies spell it ("create_container"). Static text. */
const char *policy_point_name(enum policy_point point);

/* Finds the point of that name; false when there is none. */
bool policy_point_parse(const char *name, enum policy_point *point);

/* What the reference writes before a denial of this point ("CreateContainer operation is denied by policy:
 * "), for error_prefix(); "" where it writes nothing. Static text. */
const char *policy_point_prefix(enum policy_point point);

/* The whole text of a denial while no policy is set (spec 1.2). Everything is denied then, mount_cims too,
 * which the reference lets through. Static text. */
const char *policy_closed_text(enum policy_point point);

/* ---- loading ---- */

/*
 * Parses and compiles a policy in the declarative profile (spec section 2).
 *
 * text  `size` bytes, 0 to LIMIT_POLICY_BYTES; borrowed
 * ret   the policy, which the caller gives back with policy_unref(); untouched on failure
 * err   "policy.rego:LINE:COLUMN: what was expected", lines and columns from 1, columns in bytes
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    the text is outside the profile or the reference would not load it
 *   STATUS_RESOURCE_EXHAUSTED  too large, too deep, too many parts
 */
MUST_CHECK enum status policy_load(const char *text, size_t size, enum policy_os os, struct policy **ret,
                                   struct error *err);

struct policy *policy_ref(struct policy *policy);
void policy_unref(struct policy *policy); /* NULL is fine */
void policy_unrefp(struct policy **policy);

/* ---- state ---- */

/*
 * An empty state under `policy`, of which it takes a reference of its own.
 *
 * A caller may act on STATUS_INVALID_ARGUMENT: POLICY_STRICT refuses this policy; the text is as
 * policy_load()'s.
 */
MUST_CHECK enum status policy_state_new(struct policy *policy, enum policy_rules rules,
                                        struct policy_state **ret, struct error *err);

/* Every record has been committed or undone before. NULL is fine. */
void policy_state_free(struct policy_state *state);
void policy_state_freep(struct policy_state **state);

/* ---- requests ---- */

/* A list of NUL-terminated strings. `absent` is JSON's null, which is not the empty list (spec 4.4). */
struct policy_strings {
    const char *const *items;
    size_t count;
    bool absent;
};

struct policy_mount {
    const char *destination;
    const char *source; /* canonical: "sandbox:///a/b" */
    const char *type;   /* "bind" */
    struct policy_strings options;
};

/* Linux mode: an id and a name, as text. */
struct policy_identity {
    const char *id, *name;
};

struct policy_capabilities {
    struct policy_strings bounding, effective, inheritable, permitted, ambient;
};

/* Linux mode: what create_container and exec_in_container take besides. */
struct policy_linux_process {
    struct policy_identity user;
    const struct policy_identity *groups;
    size_t groups_count;
    const char *umask;                              /* four octal digits; NULL is "0022" */
    const struct policy_capabilities *capabilities; /* NULL: none were provided, which is an error */
    bool no_new_privileges;
    /* create_container only */
    const char *sandbox_id, *seccomp_profile_sha256;
    bool privileged, is_sandbox_container;
    struct policy_strings devices;
};

/* create_container, exec_in_container (no mounts), exec_external (only args, env, working_dir) and
 * container_mount (only container_id, mounts). */
struct policy_process_input {
    const char *container_id;
    struct policy_strings args; /* the argument vector; see the rule sets above */
    struct policy_strings env;  /* "NAME=value" */
    const char *working_dir;
    const char *user; /* windows mode */
    const struct policy_mount *mounts;
    size_t mounts_count;
    const struct policy_linux_process *linux_process; /* linux mode; NULL in windows mode */
};

struct policy_cims_input {
    const char *container_id;
    struct policy_strings layer_hashes; /* topmost layer first, lower-case hexadecimal */
    struct policy_strings mounted_cim;
};

struct policy_signal_input {
    const char *container_id;
    const char *signal;         /* windows mode: "CtrlC" and so on */
    int64_t signal_number;      /* linux mode */
    bool is_init;               /* the container's own `signals` count, else those of the exec process */
    struct policy_strings args; /* of the process that is to get it; unused for init */
};

struct policy_registry_key {
    const char *hive, *name;
    bool is_volatile;
};

/* A string NULL or empty, or a number 0, counts as absent, as in the reference (spec 5.10). */
struct policy_registry_value {
    struct policy_registry_key key;
    const char *name;
    const char *type; /* String, ExpandedString, MultiString, DWord, QWord, Binary, CustomType or None */
    const char *string_value, *binary_value;
    uint64_t dword_value, qword_value, custom_type;
};

struct policy_registry_input {
    const char *container_id;
    const struct policy_registry_value *add_values;
    size_t add_values_count;
    const struct policy_registry_key *delete_keys;
    size_t delete_keys_count;
};

/* scratch, devices, overlays, plan 9: everything that is about one target path. */
struct policy_target_input {
    const char *target;
    bool encrypted;                    /* scratch_mount, rw_mount_device */
    const char *device_hash;           /* mount_device */
    bool ensure_filesystem;            /* rw_mount_device */
    const char *filesystem;            /* rw_mount_device */
    const char *container_id;          /* mount_overlay */
    struct policy_strings layer_paths; /* mount_overlay */
};

struct policy_receipt {
    const char *issuer; /* the ledger */
    const char *kid;    /* of the key that has verified it; the caller has checked the signature */
};

struct policy_fragment_input {
    const char *issuer, *feed; /* of a verified envelope */
    const char *text;          /* the module */
    size_t text_size;
    bool has_header_svn;
    int64_t header_svn;
    const struct policy_receipt *receipts;
    size_t receipts_count;
};

struct policy_ledger_key {
    const char *kid;
    const void *key; /* opaque bytes; two keys are the same when the bytes are */
    size_t key_size;
};

struct policy_ledger {
    const char *name;
    const struct policy_ledger_key *keys;
    size_t keys_count;
};

struct policy_trust_list_input {
    const char *issuer, *subject; /* of a verified envelope */
    int64_t svn;
    const struct policy_ledger *ledgers;
    size_t ledgers_count;
};

/* One request: the member of the union that the point's comment above names. Texts are valid UTF-8, never
 * NULL unless said, and borrowed until the verdict is no longer needed. */
struct policy_request {
    enum policy_point point;
    union {
        struct policy_process_input process;
        struct policy_cims_input cims;
        struct policy_signal_input signal;
        struct policy_registry_input registry;
        struct policy_target_input target; /* POLICY_*MOUNT_DEVICE, _BLOCKDEV, _OVERLAY, PLAN9_*, SCRATCH_* */
        struct policy_fragment_input fragment;
        struct policy_trust_list_input trust_list;
        struct policy_strings providers;
        const char *container_id; /* POLICY_SHUTDOWN_CONTAINER */
    };
};

/* The container that the request is about; NULL: its point is about none. Lives as long as the request. */
const char *policy_request_container(const struct policy_request *request);

/* ---- decisions ---- */

struct policy_verdict {
    bool allowed;

    /* Of an allowed create or exec. `env` points to the request's own strings: what the process gets, in the
     * request's order, without repeats when the policy named a list. */
    struct policy_strings env;
    bool allow_stdio;

    struct policy_strings providers; /* of an allowed log_provider: those to keep */
    struct policy_strings ledgers;   /* of an allowed load_transparency_trust_list: those accepted */
    const struct policy_capabilities *capabilities; /* linux mode: of an allowed create or exec */

    /* Of a denial: the `errors` of the policy's `reason`, sorted; or why the policy could not answer. */
    struct policy_strings errors;
    const char *policy_error; /* NULL: the policy did answer */
    bool reason_has_errors;   /* `reason` is an object with a list of strings `errors` */

    /* What the decision added to the state; NULL when it added nothing. The owner of the request ends it with
     * exactly one of policy_record_commit() and policy_record_undo(). */
    struct policy_record *record;
};

/*
 * Decides one request and, when it is allowed, records it.
 *
 * arena    holds everything the verdict points to and the work in between; the request's arena
 * verdict  always filled in, except when the status is neither OK nor PERMISSION_DENIED: then nothing is
 *          recorded and the verdict says denied
 * err      of a denial, the message for the host: "policyDecision< BASE64 >policyDecision" (spec 1.5, 1.6),
 *          at most 3,072 bytes unless the policy's own error text is longer
 *
 * STATUS_OK means allowed and nothing else does. A caller may act on
 *   STATUS_PERMISSION_DENIED   denied; nothing is recorded (the reference rule set has one exception,
 *                              spec 4.5, create_container 7, which it commits itself)
 *   STATUS_RESOURCE_EXHAUSTED  the arena is full or the state has reached its bound; nothing is recorded
 *
 * Never blocks beyond the state's lock.
 */
MUST_CHECK enum status policy_decide(struct policy_state *state, const struct policy_request *request,
                                     struct arena *arena, struct policy_verdict *verdict, struct error *err);

/* The request was carried out: what the record added stays for good. Frees the record; NULL is fine. */
void policy_record_commit(struct policy_record *record);

/* The request was not carried out: removes what this record added and nothing else, whatever other records
 * did meanwhile. Frees the record; NULL is fine. */
void policy_record_undo(struct policy_record *record);

/* Joins `args` into one command line the Windows way: an argument that is empty or holds a blank or a tab is
 * put in quotes; quotes, and backslashes before a quote, are escaped. NULL when the arena is full. */
char *policy_join_args(const struct policy_strings *args, struct arena *arena);

#endif
