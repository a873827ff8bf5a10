/*
 * The fields of a sandbox root, for the files of this folder alone; see sandbox_root.h.
 */
#ifndef SERVER_MOUNTS_SANDBOX_ROOT_FIELDS_H
#define SERVER_MOUNTS_SANDBOX_ROOT_FIELDS_H

#include <stdatomic.h>
#include <stdint.h>

#include "server/mounts/directory_journal.h"
#include "server/mounts/directory_table.h"
#include "server/mounts/sandbox_open.h"
#include "server/mounts/sandbox_root.h"

struct sandbox_root {
    int fd; /* O_PATH */
    struct sandbox_root_options options;
    struct sandbox_walk walk;
    atomic_int_fast64_t step_ns; /* relaxed: how long one step takes here of late; see directory_plan.c */
    atomic_uint_fast64_t made;   /* relaxed: directories made so far */
    struct directory_table table;
    struct directory_journal *journal; /* NULL: none is kept */
};

#endif
