/*
 * The dispatch table: one row per RPC. Adding an RPC is one arm in the schema, one row here, one handler, one
 * test.
 */
#ifndef SERVER_RPC_METHOD_H
#define SERVER_RPC_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/error.h"

struct request;

/*
 * Runs once every key of the request is its own: decide, act, then answer or forward. Ends by
 * request_reply(), request_reject() or request_done(), now or later from any thread; until then the request
 * is parked.
 */
typedef void rpc_handler_fn(struct request *req);

/* What a request must have to itself. Requests that share a key run in arrival order, all others in
 * parallel. */
enum rpc_keys {
    RPC_KEYS_NONE = 0,
    RPC_KEY_CONTAINER = 1, /* the container id of the envelope, unless it is empty */
    RPC_KEY_VOLUME = 2,    /* the string at volume_path */
    RPC_KEY_SCRATCH = 4,   /* the string at scratch_path */
    RPC_KEY_ALL = 8, /* every key there is: waits for all that is under way and holds back all that follows */
};

/* Which request types a resource of ModifySettings takes: bit 1 << GCS__V1__REQUEST_TYPE__... for each. */
enum rpc_request_types {
    RPC_TAKES_ADD = 1,
    RPC_TAKES_REMOVE = 2,
    RPC_TAKES_PRE_ADD = 4,
    RPC_TAKES_UPDATE = 8,
    RPC_TAKES_EVERY = 15, /* what is refused whatever the type says: the reason is the resource's */
};

/* Field numbers by the schema's names; whoever writes a table includes gcs/v1/bridge.pb-c.h. */
#define RPC_ARM(NAME_)      GCS__V1__REQUEST__BODY_##NAME_
#define RPC_RESOURCE(NAME_) GCS__V1__MODIFY_SETTINGS__RESOURCE_##NAME_

/* Longest path of field numbers to a key, from the Request; a shorter path ends in 0. */
#define RPC_KEY_PATH_MAX 4

struct rpc_method {
    uint32_t arm;             /* field number in Request's body */
    uint32_t resource;        /* field number in ModifySettings' resource; 0 for every other RPC */
    unsigned request_types;   /* of enum rpc_request_types, with a resource; no handler sees any other pair */
    const char *name;         /* as spec/bridge.md section 3 spells it; a resource follows a slash */
    const char *policy_point; /* the enforcement point that decides, or the written reason why none does */
    unsigned keys;            /* of enum rpc_keys */
    uint32_t volume_path[RPC_KEY_PATH_MAX];
    uint32_t scratch_path[RPC_KEY_PATH_MAX];
    bool blocks;    /* makes file-system calls or long computations: runs on the pool, never where it was
                       received */
    bool immediate; /* answers before the handler returns, so it needs no deadline of its own */
    bool quiet;     /* a success is logged at debug level: what clients ask over and over */
    bool waits;     /* may stay parked for long: a shutdown does not wait for it, it ends it */
    bool refused;   /* there is a number for it, and nothing behind it */
    bool without_session;        /* answered before Negotiate: Negotiate itself */
    bool before_policy;          /* answered before a policy is set */
    uint32_t timeout_default_ms; /* when the request says 0; 0: rpc_method_timeout_ms() says */
    size_t request_bytes_max;    /* 0: LIMIT_REQUEST_BYTES */
    rpc_handler_fn *handle;
};

struct rpc_method_table {
    const struct rpc_method *rows;
    size_t count;
};

/* The row of an arm (and of the resource, for ModifySettings), or NULL. */
const struct rpc_method *rpc_method_find(const struct rpc_method_table *table, uint32_t arm,
                                         uint32_t resource);

/*
 * Checks that a row with a resource takes the request type, a number of gcs.v1.RequestType.
 *
 * UNIMPLEMENTED  it does not; the error names the resource, the type, and the types that it takes
 */
MUST_CHECK enum status rpc_method_check_type(const struct rpc_method *method, unsigned request_type,
                                             struct error *err);

/* Whether the table has something behind the arm (and the resource). */
bool rpc_method_supported(const struct rpc_method_table *table, uint32_t arm, uint32_t resource);

/* The time limit of a request that names none. A call that waits is answered "nothing yet" after
 * LIMIT_PARK_MS, so its limit only ends what hangs. */
uint32_t rpc_method_timeout_ms(const struct rpc_method *method);

/* The largest message that is taken for the method. */
size_t rpc_method_bytes_max(const struct rpc_method *method);

#endif
