/*
 * From a CRI container configuration to the specification that CreateContainer carries, the way a CRI makes
 * one. What gcsctl sends and what `gcs-policy generate` allows both come from here.
 */
#ifndef CLIENT_SPEC_SPEC_H
#define CLIENT_SPEC_SPEC_H

#include "client/spec/container.h"
#include "gcs/v1/bridge.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"

/* The PATH of a process whose environment has none. */
#define SPEC_PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/*
 * Translates `container` (borrowed).
 *
 *   args       command, then args
 *   env        "NAME=value" in the configuration's order, SPEC_PATH_DEFAULT last when PATH is not set
 *   cwd, user  the working directory; "" or "uid" or "uid:gid"
 *   streams    standard input when the configuration says so; output always, error unless there is a terminal
 *   mounts     type "bind", options "rbind", "rprivate" | "rslave" | "rshared", "ro" | "rw", in that order
 *   resources  those that are set
 *
 * arena  holds the result, which also points into what `container` points to
 *
 * A caller may act on
 *   STATUS_INVALID_ARGUMENT    too many variables (LIMIT_ENV with PATH), or arguments and environment
 *                              together exceed LIMIT_ENV_BYTES
 *   STATUS_RESOURCE_EXHAUSTED  the arena is full
 */
MUST_CHECK enum status spec_from_cri(const struct cri_container *container, struct arena *arena,
                                     Gcs__V1__Spec **ret, struct error *err);

/*
 * A process that is run besides the init process: `args` with the environment `env` ("NAME=value" each, no
 * name twice; SPEC_PATH_DEFAULT is added when PATH is not set), in the directory `cwd`, as `user`.
 *
 * env   may be empty
 * ret   in the arena; points to the strings given; wants no standard input and no terminal yet
 *
 * INVALID_ARGUMENT: no args, an entry that is no "NAME=value", a name twice, or too much of either;
 * RESOURCE_EXHAUSTED: the arena is full.
 */
MUST_CHECK enum status spec_process(const struct cri_strings *args, const struct cri_strings *env,
                                    const char *cwd, const char *user, struct arena *arena,
                                    Gcs__V1__Process **ret, struct error *err);

/*
 * The process that a CRI runs for an exec in `container`: its environment, directory and user, with other
 * args. Statuses as spec_process().
 */
MUST_CHECK enum status spec_exec_from_cri(const struct cri_container *container,
                                          const struct cri_strings *args, struct arena *arena,
                                          Gcs__V1__Process **ret, struct error *err);

#endif
