/*
 * One decision in the making: what the procedures of the enforcement points share.
 *
 * Threads: made and used under the state's lock, by the thread that decides.
 */
#ifndef SERVER_POLICY_DECISION_H
#define SERVER_POLICY_DECISION_H

#include "server/policy/compiled.h"
#include "server/policy/state.h"

/* Which spelling of the command a comparison looks at (policy.h, "Two rule sets"). */
enum form { FORM_ARGS, FORM_JOINED, FORM_EITHER };

/* A growing list of texts in the decision's arena. */
struct texts {
    const char **items;
    size_t count, room;
};

/* A receipt that one of the trust lists' keys has verified. */
struct good_receipt {
    const char *issuer;
    struct policy_strings subjects; /* of the lists that offered the key */
};

struct decision {
    struct policy_state *state; /* for the record to know */
    struct store *store;
    const struct policy *policy;
    const struct policy_request *request;
    struct arena *arena;
    struct policy_verdict *verdict;
    struct error *err;
    bool strict;

    struct view *args; /* of the request, as given */
    size_t args_count;
    bool args_absent;
    struct view joined; /* the same as one command line; text NULL: there is no such form */
    enum form form;

    const char *policy_error;   /* why the policy could not answer; NULL: it did */
    bool error_is_plain;        /* that text is the whole message, without the decision object */
    bool keep_record;           /* commit the record although the decision is a denial (spec 4.5, create 7) */
    struct texts strict_errors; /* what strict found where the reference found nothing */

    /* load_fragment only */
    struct good_receipt *receipts;
    size_t receipts_count;
    bool fragment_loaded;       /* the fragment's text has been read: phase 2 of spec 6.4 */
    struct fragment_part *part; /* then what it holds; a reference */
};

/* Decides by the framework's procedure: *allowed, the verdict's outputs, and the record when allowed. */
typedef enum status point_procedure_fn(struct decision *decision, bool *allowed);

/* Adds the framework's error texts of the point for this request (spec 4.6), whatever the procedure did. */
typedef enum status point_errors_fn(struct decision *decision, struct texts *errors);

point_procedure_fn decide_mount_cims, decide_create_container, decide_exec_in_container, decide_exec_external,
    decide_signal, decide_shutdown, decide_registry, decide_flag, decide_log_provider, decide_scratch_mount,
    decide_scratch_unmount, decide_mount_device, decide_rw_mount_device, decide_unmount_device,
    decide_rw_unmount_device, decide_mount_overlay, decide_unmount_overlay, decide_plan9_mount,
    decide_container_mount, decide_plan9_unmount, decide_never, decide_load_fragment, decide_load_trust_list;

point_errors_fn errors_create_container, errors_exec_in_container, errors_exec_external, errors_signal,
    errors_shutdown, errors_log_provider, errors_scratch_mount, errors_scratch_unmount, errors_mount_device,
    errors_rw_mount_device, errors_unmount_device, errors_rw_unmount_device, errors_blockdev,
    errors_mount_overlay, errors_unmount_overlay, errors_plan9_mount, errors_plan9_unmount,
    errors_load_fragment, errors_load_trust_list, errors_container_mount, errors_none;

/* The arena refused: RESOURCE_EXHAUSTED, with the text. */
MUST_CHECK enum status decision_full(struct decision *decision);

/* Adds an operation to the verdict's record, which it makes when there is none; see record_add(). */
MUST_CHECK enum status decision_add(struct decision *decision, enum space space, const char *key,
                                    struct operation operation);

/* Narrows a container to `count` of its candidates, unless that changes nothing and cannot come to. */
MUST_CHECK enum status decision_narrow(struct decision *decision, const char *id, const uint32_t *items,
                                       size_t count);

/* Whether a policy's command equals the request's, in the form the decision is at. */
bool command_equal(const struct decision *decision, const struct value *command);

/* Whether the list holds the text. */
bool strings_hold(const struct policy_strings *strings, struct view text);

/* Appends; the text is borrowed for as long as the verdict. */
MUST_CHECK enum status texts_add(struct decision *decision, struct texts *texts, const char *text);

/* Appends when `condition` holds. */
MUST_CHECK enum status texts_add_if(struct decision *decision, struct texts *texts, bool condition,
                                    const char *text);

/* A formatted text in the arena; NULL when it is full. */
char *decision_format(struct decision *decision, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Matches the pattern by the reference's rule, and from end to end when the decision is strict. */
MUST_CHECK enum status decision_pattern(struct decision *decision, struct view pattern, struct view text,
                                        bool *matches);

/* Sends the denial (spec 1.5, 1.6): verdict->errors and ->policy_error, and the message in `err`. */
MUST_CHECK enum status reason_deny(struct decision *decision, point_errors_fn *errors);

#endif
