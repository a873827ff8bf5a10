/*
 * The catalog: every candidate a decision can choose from (spec/policy.md 3.3, 3.5, 4.3, 7), compiled from
 * the policy and the fragments loaded at one time. A new fragment makes a new catalog; whoever still refers
 * to candidates of the old one holds a reference to it.
 *
 * Threads: a finished catalog is read-only and shared; references are counted atomically.
 */
#ifndef SERVER_POLICY_CATALOG_H
#define SERVER_POLICY_CATALOG_H

#include <stdatomic.h>

#include "server/base/hash.h"
#include "server/policy/envrules.h"
#include "server/policy/module.h"
#include "server/policy/semver.h"

/* How a framework_version compares with ours (0.5.0). */
enum framework_age {
    FRAMEWORK_CURRENT,
    FRAMEWORK_OLDER,
    FRAMEWORK_NEWER,
    FRAMEWORK_MISSING,
    FRAMEWORK_INVALID
};

#define POLICY_FRAMEWORK_VERSION "0.5.0"

struct framework {
    enum framework_age age;
    struct semver version;     /* when CURRENT, OLDER or NEWER */
    const struct value *value; /* as written; NULL: missing */
};

/* Reads framework_version or, when that is not there, framework_svn. */
struct framework framework_of(const struct module *module);

/* Whether the version is valid and at least `version`. */
bool framework_at_least(const struct framework *framework, const char *version);

/* A list of objects. */
struct list {
    bool is_undefined;
    const struct value *const *items;
    size_t count;
};

/* What one module contributes, rebuilt for its framework version. */
struct contribution {
    struct list containers, fragments, external_processes, trust_lists, platform_rules;
};

/* Takes the lists out of a policy's module: what spec 3.3 lets through. `arena` holds what is rebuilt. */
MUST_CHECK enum status contribution_of_policy(const struct module *module, const struct framework *framework,
                                              struct arena *arena, struct contribution *ret,
                                              struct error *err);

/* As above for a fragment whose framework version is CURRENT or OLDER, and all its lists (spec 6.4,
 * EXTRACT). */
MUST_CHECK enum status contribution_of_fragment(const struct module *module,
                                                const struct framework *framework, struct arena *arena,
                                                struct contribution *ret, struct error *err);

struct group;

/* One container or external process: its object, and the members that decisions look at; NULL: not there. */
struct candidate {
    const struct value *object;
    const struct value *command, *working_dir, *user, *layers, *mounted_cim, *exec_processes, *signals;
    const struct value *allow_stdio_access, *mounts;
    struct env_rules env;
    const struct group *group; /* of a container; NULL: its layers can never equal a request's */
};

/* Containers with equal layers: the only ones that can stand in one set of matches. */
struct group {
    UT_hash_handle hh;
    const char *key; /* the layers, base first, each with a NUL behind */
    size_t key_length;
    const uint32_t *members;
    uint32_t count;
    struct env_table *env;
    uint32_t room; /* while it is made */
    uint32_t *growing;
};

struct catalog {
    atomic_uint references;
    struct fragment_part **parts;
    size_t parts_count;
    struct arena arena;
    bool containers_undefined;
    struct candidate *containers;
    uint32_t containers_count;
    struct group **groups;
    uint32_t groups_count;
    struct group *by_layers;
    struct candidate *processes;
    size_t processes_count;
    struct env_table *processes_env;
    struct list fragments, trust_lists;
    struct list raw_containers; /* of the policy as written and of fragments: mount_device looks here */
};

/* A loaded fragment, as the catalog needs it: one contribution and what it points into. Counted, since a
 * catalog may outlive the fragment's place in the state. */
struct fragment_part {
    atomic_uint references;
    struct module *module; /* owned */
    struct arena arena;
    struct value parameters; /* it was loaded under, in the arena */
    unsigned includes;       /* which of its lists were taken */
    struct contribution lists;
};

/* A part with one reference that owns the module, which is taken on success; NULL: no memory. */
struct fragment_part *fragment_part_new(struct module *module);
struct fragment_part *fragment_part_ref(struct fragment_part *part);
void fragment_part_unref(struct fragment_part *part); /* NULL is fine */

/*
 * Compiles a catalog.
 *
 * policy  outlives the catalog
 * parts   the fragments in the order of spec 4.3; the catalog takes references
 * ret     with one reference
 */
MUST_CHECK enum status catalog_make(const struct contribution *policy, const struct value *raw_containers,
                                    enum framework_age age, bool has_external_processes,
                                    struct fragment_part *const *parts, size_t parts_count,
                                    struct pattern_pool *pool, struct catalog **ret, struct error *err);

struct catalog *catalog_ref(struct catalog *catalog);
void catalog_unref(struct catalog *catalog); /* NULL is fine */
void catalog_unrefp(struct catalog **catalog);

/* The containers with these layers, topmost first; NULL when there are none. `arena` takes the key. */
const struct group *catalog_group(const struct catalog *catalog, const struct view *layers, size_t count,
                                  struct arena *arena);

#endif
