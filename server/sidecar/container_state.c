#include "server/sidecar/container_state.h"

#include <stddef.h>

static const char *const state_names[CONTAINER_STATES] = {
    [CONTAINER_ABSENT] = "absent",     [CONTAINER_COMBINING] = "combining",
    [CONTAINER_COMBINED] = "combined", [CONTAINER_UNCOMBINING] = "uncombining",
    [CONTAINER_CREATING] = "creating", [CONTAINER_CREATED] = "created",
    [CONTAINER_STARTING] = "starting", [CONTAINER_RUNNING] = "running",
    [CONTAINER_STOPPED] = "stopped",   [CONTAINER_DELETING] = "deleting",
};

static const char *const step_names[CONTAINER_STEPS] = {
    [STEP_COMBINED] = "finish combining",
    [STEP_COMBINE_FAILED] = "undo combining",
    [STEP_UNCOMBINE] = "take apart",
    [STEP_UNCOMBINED] = "forget",
    [STEP_UNCOMBINE_FAILED] = "keep",
    [STEP_CREATE] = "create",
    [STEP_CREATED] = "finish creating",
    [STEP_CREATE_FAILED] = "undo creating",
    [STEP_START] = "start",
    [STEP_STARTED] = "finish starting",
    [STEP_START_FAILED] = "undo starting",
    [STEP_EXITED] = "end",
    [STEP_DELETE] = "delete",
    [STEP_DELETED] = "finish deleting",
    [STEP_DELETE_FAILED] = "undo deleting",
};

/* The table of the header. BACK: what it was before the deletion began. */
enum { BACK = CONTAINER_STATES };
static const struct transition {
    enum container_state from;
    enum container_step step;
    int to;
} transitions[] = {
    {CONTAINER_COMBINING, STEP_COMBINED, CONTAINER_COMBINED},
    {CONTAINER_COMBINING, STEP_COMBINE_FAILED, CONTAINER_ABSENT},
    {CONTAINER_COMBINED, STEP_UNCOMBINE, CONTAINER_UNCOMBINING},
    {CONTAINER_UNCOMBINING, STEP_UNCOMBINED, CONTAINER_ABSENT},
    {CONTAINER_UNCOMBINING, STEP_UNCOMBINE_FAILED, CONTAINER_COMBINED},
    {CONTAINER_COMBINED, STEP_CREATE, CONTAINER_CREATING},
    {CONTAINER_CREATING, STEP_CREATED, CONTAINER_CREATED},
    {CONTAINER_CREATING, STEP_CREATE_FAILED, CONTAINER_COMBINED},
    {CONTAINER_CREATED, STEP_START, CONTAINER_STARTING},
    {CONTAINER_STARTING, STEP_STARTED, CONTAINER_RUNNING},
    {CONTAINER_STOPPED, STEP_STARTED, CONTAINER_STOPPED},
    {CONTAINER_STARTING, STEP_START_FAILED, CONTAINER_CREATED},
    {CONTAINER_CREATED, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_STARTING, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_RUNNING, STEP_EXITED, CONTAINER_STOPPED},
    {CONTAINER_CREATED, STEP_DELETE, CONTAINER_DELETING},
    {CONTAINER_STOPPED, STEP_DELETE, CONTAINER_DELETING},
    {CONTAINER_DELETING, STEP_DELETED, CONTAINER_COMBINED},
    {CONTAINER_DELETING, STEP_DELETE_FAILED, BACK},
    {CONTAINER_DELETING, STEP_EXITED, CONTAINER_DELETING},
};

const char *
container_state_name(enum container_state state)
{
    return state_names[state];
}

const char *
container_step_name(enum container_step step)
{
    return step_names[step];
}

bool
container_state_next(enum container_state from, enum container_state before_delete, enum container_step step,
                     enum container_state *ret)
{
    if (from == CONTAINER_DELETING && step == STEP_EXITED && before_delete == CONTAINER_STOPPED)
        return false; /* it has ended before */
    for (size_t i = 0; i < sizeof transitions / sizeof transitions[0]; i++) {
        if (transitions[i].from != from || transitions[i].step != step)
            continue;
        *ret = transitions[i].to == BACK ? before_delete : (enum container_state)transitions[i].to;
        return true;
    }
    return false;
}
