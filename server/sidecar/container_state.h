/*
 * The states of a container, and the steps between them.
 *
 * A step that is not listed for a state is refused and changes nothing:
 *
 *     absent       COMBINE -> combining
 *     combining    COMBINED -> combined        COMBINE_FAILED -> absent
 *     combined     CREATE -> creating          UNCOMBINE -> uncombining
 *     uncombining  UNCOMBINED -> absent        UNCOMBINE_FAILED -> combined
 *     creating     CREATED -> created          CREATE_FAILED -> combined
 *     created      START -> starting           DELETE -> deleting       EXITED -> stopped
 *     starting     STARTED -> running          START_FAILED -> created  EXITED -> stopped
 *     running      EXITED -> stopped
 *     stopped      DELETE -> deleting          STARTED -> stopped (its init was faster than the answer)
 *     deleting     DELETED -> combined         DELETE_FAILED -> what it was before
 *                  EXITED -> deleting, and what it was before is stopped; not when it was already
 *
 * A state that ends in -ing is a reservation: its request is under way, at the inbox perhaps, and may still
 * fail. It is kept beyond the request's deadline until the inbox has answered.
 */
#ifndef SERVER_SIDECAR_CONTAINER_STATE_H
#define SERVER_SIDECAR_CONTAINER_STATE_H

#include <stdbool.h>

enum container_state {
    CONTAINER_ABSENT,
    CONTAINER_COMBINING,
    CONTAINER_COMBINED,
    CONTAINER_UNCOMBINING,
    CONTAINER_CREATING,
    CONTAINER_CREATED,
    CONTAINER_STARTING,
    CONTAINER_RUNNING,
    CONTAINER_STOPPED,
    CONTAINER_DELETING,
    CONTAINER_STATES
};

enum container_step {
    STEP_COMBINED,
    STEP_COMBINE_FAILED,
    STEP_UNCOMBINE,
    STEP_UNCOMBINED,
    STEP_UNCOMBINE_FAILED,
    STEP_CREATE,
    STEP_CREATED,
    STEP_CREATE_FAILED,
    STEP_START,
    STEP_STARTED,
    STEP_START_FAILED,
    STEP_EXITED,
    STEP_DELETE,
    STEP_DELETED,
    STEP_DELETE_FAILED,
    CONTAINER_STEPS
};

/* As an error says them: "cannot start a container that is running". Static text. */
const char *container_state_name(enum container_state state);
const char *container_step_name(enum container_step step);

/* Whether `step` is allowed in `from`, and where it leads. The table above; `before_delete` counts while it is
 * being deleted. */
bool container_state_next(enum container_state from, enum container_state before_delete,
                          enum container_step step, enum container_state *ret);

#endif
