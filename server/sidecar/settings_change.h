/*
 * ModifySettings that the inbox carries out: the way of one change from its decision to the inbox's answer,
 * and back when nobody is to have what was added.
 *
 * A handler embeds a settings_change as the first member of what it keeps in req->slot.
 */
#ifndef SERVER_SIDECAR_SETTINGS_CHANGE_H
#define SERVER_SIDECAR_SETTINGS_CHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "server/base/error.h"
#include "server/rpc/request.h"
#include "server/sidecar/forward.h"
#include "server/sidecar/policy_gate.h"

struct settings_change {
    struct gate_record *record; /* NULL: nothing was added to the policy's state */
    bool adds;
    ProtobufCBinaryData
        former_tag;       /* the container's before the decision, for the way back; empty: as it is */
    struct error outcome; /* of a change that is taken back at the inbox, for the answer after that */
};

/* Makes the request's slot: `size` bytes of its arena, zero, that begin with a settings_change. NULL: the
 * arena is full, and err says so. */
void *settings_change_new(struct request *req, size_t size, struct error *err);

/* Nothing is added to an inconsistent guest; taking away stays possible. FAILED_PRECONDITION. */
MUST_CHECK enum status settings_check_may_add(const struct request *req, struct error *err);

/* Sends the settings on as they were approved. */
void settings_forward(struct request *req, Gcs__V1__Approval *approval, forward_fn *then);

/* Whether the inbox has added, or may have, what nobody is to have: it did after the deadline, or gave up
 * itself. Otherwise what it has added is the host's, whatever the deadline would say from now on. */
bool settings_is_unwanted(struct request *req, const Gcs__V1__Response *response, const struct error *err);

/* Sends the opposite of what is unwanted, with the former tag, on the request's behalf, and keeps the
 * outcome: `err`, or NULL when the deadline passed. */
void settings_forward_reverse(struct request *req, const struct error *err, forward_fn *then);

/* Success without an answer of the inbox. Ends the request. */
void settings_reply_done(struct request *req);

#endif
