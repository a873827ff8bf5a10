/*
 * Every bound of the project: the unit ends the name, the reason stands beside it. A request beyond a bound
 * gets a clear error; nothing that was promised is lost.
 */
#ifndef SERVER_BASE_LIMITS_H
#define SERVER_BASE_LIMITS_H

/* Messages. nanomsg cuts the connection of a peer whose message exceeds NN_RCVMAXSIZE, so we stay below its
 * default. */
#define LIMIT_ANSWER_BYTES (960 * 1024) /* unless Negotiate declared more */
#define LIMIT_RESERVED_ANSWER_BYTES                                                                          \
    1024 /* set aside with each request: what was done can be told though memory has run out meanwhile */
#define LIMIT_REQUEST_BYTES (1024 * 1024) /* every request but those that carry a policy or a fragment */
#define LIMIT_POLICY_BYTES                                                                                   \
    (16 * 1024 * 1024) /* a policy's text; the receive limit leaves room for the rest */
#define LIMIT_REFERENCE_BYTES     (64 * 1024) /* a reference document or a certificate chain: some KiB each */
#define LIMIT_RECEIVE_BYTES       (17 * 1024 * 1024) /* NN_RCVMAXSIZE of our servers */
#define LIMIT_REQUEST_ARENA_BYTES (16 * 1024 * 1024) /* 1 MiB on the wire can unpack to 88 MB */
#define LIMIT_NESTING             16                 /* levels of messages; the schema needs 6 */
#define LIMIT_STREAM_CHUNK_BYTES  (256 * 1024)       /* one ReadStream or WriteStream */

#define LIMIT_PING_BYTES          (64 * 1024)
#define LIMIT_CORRELATION_BYTES   512         /* activity id, trace context: W3C asks for 512 of tracestate */
#define LIMIT_PROPERTY_TYPES      16          /* one GetProperties */
#define LIMIT_METRICS_BYTES       (63 * 1024) /* one page of GetMetrics: fits into what every session takes */
/* Likewise for ListObjects; the last object may add what a mount can have: two paths and LIMIT_MOUNT_OPTIONS. */
#define LIMIT_INVENTORY_BYTES (44 * 1024)
#define LIMIT_STACKS_BYTES    (63 * 1024) /* one page of DumpStacks: likewise */

/* Log forwarding. */
#define LIMIT_LOG_SOURCES    16 /* of one request; the reference's host sends 1 */
#define LIMIT_LOG_PROVIDERS  64 /* of one source: all names that there are, several times */
#define LIMIT_LOG_GUID_BYTES 48 /* 36 characters, braces, and some blanks */
#define LIMIT_LOG_QUEUE_BYTES                                                                                \
    (1024 * 1024) /* lines waiting for the sink; beyond, lines are dropped and counted */
#define LIMIT_LOG_SINK_BYTES                                                                                 \
    (64 * 1024 * 1024) /* of a sink's file; then it becomes the one older file kept */

/* Sessions. A pod has one host shim, but each run of a command-line tool opens a session that it may leave
 * behind. */
#define LIMIT_SESSIONS             1024
#define LIMIT_SESSION_LEASE_MS     90000
#define LIMIT_SESSION_ANSWERS      1024 /* running requests and answers not yet acknowledged */
#define LIMIT_SESSION_ANSWER_BYTES (16 * 1024 * 1024)
#define LIMIT_KEPT_ANSWER_BYTES                                                                              \
    (256 * 1024 * 1024)                /* of all sessions: many together must not fill the guest */
#define LIMIT_SESSION_WINDOW_IDS 65536 /* how far below the highest id a new one may be: 8 KiB a session */
#define LIMIT_ACKNOWLEDGED_IDS   256   /* ids acknowledged one by one in a request */

/* Credit of one connection: what nanomsg's raw REP holds for a slow reader without dropping (measured: 344 x
 * 16 B, 56 x 4 KiB, 6 x 64 KiB), with a margin. One answer larger than the byte credit travels alone. */
#define LIMIT_PIPE_ANSWERS      64
#define LIMIT_PIPE_ANSWER_BYTES (32 * 1024)

/* The endpoint of metrics and health: a scraper, a probe, and people who look. */
#define LIMIT_ENDPOINT_CONNECTIONS   16
#define LIMIT_ENDPOINT_IDLE_S        10
#define LIMIT_ENDPOINT_REQUEST_BYTES (16 * 1024) /* a connection's memory: the head of a request, and ours */

/* Requests. */
#define LIMIT_ADMITTED_BYTES    (128 * 1024 * 1024) /* of all of them together; a policy may have 16 MiB */
#define LIMIT_ADMITTED_REQUESTS 2048                /* received and not yet done, parked ones included */
#define LIMIT_QUEUED_JOBS       4096  /* worker queue: every admitted request and its continuation */
#define LIMIT_PARK_MS           25000 /* a parked call answers "nothing yet" after this */
#define LIMIT_TIMEOUT_MS        600000
#define LIMIT_KEYS              4 /* keys one request may name */
#define LIMIT_WORKERS           64

/* Names. Container ids are 64 hexadecimal digits or the UVM's nil GUID (spec/bridge.md 3.0). */
#define LIMIT_CONTAINER_ID_BYTES 64
#define LIMIT_NAME_BYTES         255 /* volume ids, layer file names: one path component */

/* A container's specification. */
#define LIMIT_ARGS          1024
#define LIMIT_ENV           1024
#define LIMIT_ENV_BYTES     (128 * 1024) /* args and env together; execve(2) takes 128 KiB a string */
#define LIMIT_MOUNTS        256
#define LIMIT_MOUNT_OPTIONS 32
#define LIMIT_MOUNT_DEPTH   32
#define LIMIT_REMOVAL_MS                                                                                     \
    20000 /* one sandbox directory with all its contents: some million files in memory                       \
           */
#define LIMIT_OWED_MS                                                                                        \
    60000 /* how long what could not be removed is tried again before it counts as a failed undo */
#define LIMIT_OWED_CONTENTS  64 /* each of them keeps a descriptor */
#define LIMIT_PATH_COMPONENT 255
#define LIMIT_PATH_BYTES     4095
#define LIMIT_HOSTNAME_BYTES 63

#define LIMIT_JOURNAL_BYTES                                                                                  \
    (256 * 1024 * 1024) /* of the directory journal: every container with every mount, 100 bytes each */

/* Objects. */
#define LIMIT_CONTAINERS         1024  /* alive at one time */
#define LIMIT_CONTAINER_IDS_EVER 65536 /* ids ever started: 32 bytes each */
#define LIMIT_CONTAINER_TASKS                                                                                \
    4096 /* of one container: processes and threads, so that none can take them all */
#define LIMIT_PROCESS_PAGE        256 /* of one answer of GetProperties: fits into what every session takes */
#define LIMIT_PROCESSES           1024 /* per container, exited ones not yet reaped included */
#define LIMIT_VOLUMES             1024
#define LIMIT_NETWORKS            64  /* namespaces: a pod has one */
#define LIMIT_ADAPTERS            8   /* of one namespace */
#define LIMIT_ADDRESSES           16  /* of one end of an adapter */
#define LIMIT_ROUTES              64  /* through one adapter */
#define LIMIT_LAYERS              128 /* per volume */
#define LIMIT_LAYER_BYTES         (4LL * 1024 * 1024 * 1024)
#define LIMIT_LAYERS_TOTAL_BYTES  (16LL * 1024 * 1024 * 1024)
#define LIMIT_EVENTS              4096          /* kept until acknowledged */
#define LIMIT_STREAM_BUFFER_BYTES (1024 * 1024) /* output kept per stream */
#define LIMIT_WAITERS             64            /* parked calls per process */
#define LIMIT_TAG_BYTES           4096          /* each object of the inbox has one */
#define LIMIT_DECISION_LOG_QUEUE_BYTES                                                                       \
    (4 * 1024 * 1024) /* lines waiting for the disk: some seconds of decisions at full load */

/* The policy. The reference has no such bounds; the tool's policies nest 5 levels. */
#define LIMIT_POLICY_DEPTH 64
#define LIMIT_POLICY_PATTERN_OPS                                                                             \
    (4 * 1024 * 1024) /* instructions of all compiled patterns together: 64 MiB */
#define LIMIT_POLICY_PATTERN_CACHE                                                                           \
    (256 * 1024) /* RE2's budget for one pattern and its cache, which fills with what the host sends */
#define LIMIT_POLICY_PATTERN_MEMORY (8 * 1024 * 1024) /* the same for a pattern too large for that */
#define LIMIT_POLICY_PATTERN_SETS                                                                            \
    (64 * 1024 * 1024)                          /* what all sets of patterns and their caches may take       \
                                                 */
#define LIMIT_POLICY_CANDIDATES    (256 * 1024) /* containers times platform rules, processes likewise */
#define LIMIT_POLICY_CATALOG_BYTES (512 * 1024 * 1024) /* what candidates and their indexes may take */
#define LIMIT_STEP_ARENA_BYTES     (256 * 1024 * 1024) /* one step of a steps file: tools only */
#define LIMIT_POLICY_PARAMETERS                                                                              \
    4096 /* parameter objects that loaded fragments gave: each is compared with each */
#define LIMIT_POLICY_RECEIPTS        64   /* of one fragment: each is looked up among all ledger keys */
#define LIMIT_POLICY_PROVIDERS       1024 /* of one log_provider request: each is compared with each */
#define LIMIT_POLICY_FRAGMENTS       1024 /* loaded at one time */
#define LIMIT_POLICY_FRAGMENTS_BYTES LIMIT_POLICY_BYTES /* text of all of them together */
#define LIMIT_POLICY_FRAGMENT_GROWTH                                                                         \
    32 /* bytes its values may take for one of its text: 8 without parameters */
#define LIMIT_POLICY_FRAGMENT_BASE_BYTES                                                                     \
    (1024 * 1024)                      /* and what the smallest may take: parameters are the policy's */
#define LIMIT_POLICY_LEDGER_KEYS 65536 /* of accepted trust lists */
#define LIMIT_POLICY_TARGETS     65536 /* scratch spaces, devices, overlays, plan 9 shares alive */

#endif
