/*
 * Creates and execs: the tests and selections that procedures and error texts share.
 *
 * Threads: as decision.h.
 */
#ifndef SERVER_POLICY_PROCESS_H
#define SERVER_POLICY_PROCESS_H

#include "server/policy/select.h"

/* A test of one candidate. */
typedef enum status fits_fn(struct decision *decision, const struct candidate *candidate, bool *fits);

/* Everything that create, exec_in and exec_external ask of a candidate but its environment, capabilities and
 * stdio. */
fits_fn process_create_fits, process_exec_fits, process_external_fits;

bool process_is_linux(const struct decision *decision);
const struct policy_process_input *process_input(const struct decision *decision);

/* The state of the request's container; never NULL. */
const struct cell_value *process_container(const struct decision *decision);

/* Whether the object's `working_dir` is the request's. */
bool process_working_dir_equal(const struct decision *decision, const struct value *object);

/* The user test of the policy's mode on an object's `user`. */
MUST_CHECK enum status process_user_fits(struct decision *decision, const struct value *user, bool *fits);

/* Whether some exec process of the candidate has the request's command. */
bool process_has_exec(const struct decision *decision, const struct candidate *candidate);

/* The candidates mounted for the container that pass the test; NULL matches are none. */
MUST_CHECK enum status process_select_mounted(struct decision *decision, const struct matches *matches,
                                              fits_fn *fits, struct selection *selection);

/* Of mounted candidates those that the environment leaves. */
MUST_CHECK enum status process_choose_env(struct decision *decision, struct selection *selection);

/* The reference's whole selection of each point. */
MUST_CHECK enum status process_select_create(struct decision *decision, const struct cell_value *container,
                                             struct selection *selection);
MUST_CHECK enum status process_select_exec(struct decision *decision, const struct cell_value *container,
                                           struct selection *selection);
MUST_CHECK enum status process_select_external(struct decision *decision, struct selection *selection);

#endif
