/*
 * Bringing a container up and taking it away again: carries out a plan, remembers what was done, and undoes
 * it in reverse, also after a failure in the middle.
 *
 * Threads: a bringup belongs to one thread.
 */
#ifndef CLIENT_GCSCTL_BRINGUP_H
#define CLIENT_GCSCTL_BRINGUP_H

#include <stdbool.h>
#include <stdint.h>

#include "client/gcsctl/identity.h"
#include "client/gcsctl/plan.h"
#include "client/gcsctl/tool.h"

/* A call whose answer never came may have been carried out. */
enum done { NOT_DONE, MAYBE_DONE, DONE };

struct bringup {
    struct tool *tool;
    struct identity identity;
    const Gcs__V1__Spec *spec;
    const char *policy_path;   /* NULL: none was given */
    const char *const *layers; /* paths or names; only the last component is sent. Base layer first */
    size_t layers_count;

    enum done volume, scratch, combined, created, started;
    bool ended;          /* the init process was seen to end */
    bool lost;           /* the guest no longer answers: nothing more is tried */
    uint32_t process_id; /* of init, once started */
};

/* Makes the plan for this guest. Returns an exit status, after saying what failed. */
MUST_CHECK int bringup_plan(struct bringup *bringup, struct arena *arena, struct plan *ret);

/* Carries out one step, with a progress line. Returns an exit status, after saying what failed. */
MUST_CHECK int bringup_step(struct bringup *bringup, const struct step *step);

/* Undoes all that was done, newest first, whatever fails on the way. Returns an exit status likewise: not OK
 * when something may be left behind. */
MUST_CHECK int bringup_undo(struct bringup *bringup);

/* The last component of a layer's path: its name in the guest's layer directory. */
const char *bringup_layer_name(const char *path);

#endif
