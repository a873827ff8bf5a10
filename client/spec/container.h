/*
 * A container as the CRI describes it: the JSON form of ContainerConfig (k8s.io/cri-api v1), as crictl
 * reads it.
 *
 *   {
 *     "metadata": {"name": "NAME", "attempt": 0},       required; the attempt is not used
 *     "image": {"image": "REFERENCE"},                  required; names the container in a generated policy
 *     "command": ["ARG", ...], "args": ["ARG", ...],    together the argument vector, at least one element:
 *                                                       the image's own command is not known here
 *     "working_dir": "C:\\",                            absolute; C:\ when absent
 *     "envs": [{"key": "NAME", "value": "VALUE"}],      no name twice
 *     "mounts": [{"container_path": "/PATH", "host_path": "sandbox:///PATH", "readonly": false,
 *                 "propagation": 0}],                   0 private, 1 host to container, 2 bidirectional
 *     "labels": {...}, "annotations": {...},            texts; they say nothing about the container and go
 *                                                       nowhere
 *     "log_path": "PATH",                               a CRI's log file; output is passed through instead
 *     "stdin": false, "stdin_once": false, "tty": false,
 *     "linux": {
 *       "resources": {"cpu_period": 0, "cpu_quota": 0, "cpu_shares": 0, "cpuset_cpus": "",
 *                     "memory_limit_in_bytes": 0},      0 and "": no limit
 *       "security_context": {"run_as_user": {"value": 0}, "run_as_group": {"value": 0}}
 *     }
 *   }
 *
 * Everything else in ContainerConfig (devices, capabilities, namespaces, security profiles, ...) is fixed by
 * the guest; a document that asks for it is refused like any unknown key, with the key's path. A key twice, a
 * value of another type, null included, and a value out of range are refused likewise.
 */
#ifndef CLIENT_SPEC_CONTAINER_H
#define CLIENT_SPEC_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/base/arena.h"
#include "server/base/error.h"

/* Where a container works when its configuration does not say. */
#define CRI_WORKING_DIR_DEFAULT "C:\\"

enum cri_propagation { CRI_PRIVATE, CRI_HOST_TO_CONTAINER, CRI_BIDIRECTIONAL };

struct cri_strings {
    const char **items;
    size_t count;
};

struct cri_env {
    const char *key, *value;
};

struct cri_mount {
    const char *container_path;
    const char *host_path; /* canonical: "sandbox:///a/b" */
    bool readonly;
    enum cri_propagation propagation;
};

struct cri_resources {
    int64_t cpu_period_us, cpu_quota_us, cpu_shares, memory_limit_bytes;
    const char *cpuset_cpus;
};

/* Texts are never NULL unless said. */
struct cri_container {
    const char *name;
    const char *image;
    struct cri_strings command, args;
    const char *working_dir; /* the default is filled in */
    struct cri_env *envs;
    size_t envs_count;
    struct cri_mount *mounts;
    size_t mounts_count;
    bool stdin_wanted, tty;
    bool has_user, has_group; /* a group goes with a user only */
    int64_t user, group;
    struct cri_resources resources;
};

/*
 * Parses `size` bytes of JSON (borrowed).
 *
 * name   what the text is, for errors: usually the file's name
 * arena  holds all that `ret` points to
 * err    "NAME: PLACE: what is wrong", with a place such as `mounts[0].hostpath`; or NAME:LINE:COLUMN
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    the text is not such a document
 *   STATUS_RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status cri_container_parse(const char *text, size_t size, const char *name,
                                           struct arena *arena, struct cri_container *ret, struct error *err);

/* As cri_container_parse(), from a file of at most LIMIT_REQUEST_BYTES. NOT_FOUND: there is no such file. */
MUST_CHECK enum status cri_container_load(const char *path, struct arena *arena, struct cri_container *ret,
                                          struct error *err);

#endif
