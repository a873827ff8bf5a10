/*
 * A compiled policy: what every decision under it has in common.
 *
 * Threads: read-only once policy_load() has returned it, but for the pattern pool, which has its own lock.
 */
#ifndef SERVER_POLICY_COMPILED_H
#define SERVER_POLICY_COMPILED_H

#include "server/policy/catalog.h"
#include "server/policy/policy.h"

/* How a point answers, settled at load time (spec 3.2). */
enum answer {
    ANSWER_FRAMEWORK, /* the procedure of spec section 4 */
    ANSWER_CONSTANT,  /* the policy's object over the point's defaults */
    ANSWER_ERROR,     /* always denied, with `error` as policyError */
};

struct point {
    enum answer answer;
    const struct value *constant; /* NULL: the defaults alone */
    char error[128];
};

enum policy_flag {
    FLAG_PROPERTIES_ACCESS,
    FLAG_DUMP_STACKS,
    FLAG_RUNTIME_LOGGING,
    FLAG_HOST_NETWORK,
    FLAG_ENVIRONMENT_VARIABLE_DROPPING,
    FLAG_UNENCRYPTED_SCRATCH,
    FLAG_CAPABILITY_DROPPING,
    FLAG_LOG_PROVIDER_DROPPING,
    FLAGS
};

struct policy {
    atomic_uint references;
    enum policy_os os;
    struct module *module;
    struct arena arena; /* what is rebuilt from the module */
    struct framework framework;
    struct point points[POLICY_ALL_POINTS]; /* our own are left to the framework, whatever the text says */
    bool flags[FLAGS];
    const struct value *allowed_log_providers;
    const struct value *reason;
    struct contribution lists;
    struct pattern_pool *patterns;
    struct catalog *catalog; /* without fragments */

    /* Why POLICY_STRICT refuses it; status OK: it does not. */
    struct error strict_refusal;
};

/* What the defaults of a point hold (spec 3.4). */
enum default_allowed { DEFAULT_NONE, DEFAULT_DENY, DEFAULT_ALLOW };

struct point_info {
    const char *name;
    const char *since; /* the api version that brought it */
    enum default_allowed allowed;
    bool use_framework;
    const char *prefix; /* spec 1.7 */
    const char *closed; /* spec 1.2 */
};

const struct point_info *point_info(enum policy_point point);

/* The names of the flags in policies. */
const char *policy_flag_name(enum policy_flag flag);

/* Fills in policy->strict_refusal with the first thing that strict refuses in a policy the reference
 * loads. */
void policy_check_strict(struct policy *policy);

/* As above for a fragment: `refusal` gets status OK or the first thing found. */
void fragment_check_strict(const struct module *module, struct error *refusal);

#endif
