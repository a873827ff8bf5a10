/*
 * Passing a request on to the inbox, and what its answer leads to.
 *
 * The inbox gets the longest time limit there is, not the request's own: when the request's deadline comes
 * the host has its answer, but what the request holds stays reserved until the inbox says what became of it.
 * So `then` is called exactly once, with the real outcome, and finds out by request_is_answered() whether
 * somebody still waits for it.
 */
#ifndef SERVER_SIDECAR_FORWARD_H
#define SERVER_SIDECAR_FORWARD_H

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/error.h"
#include "server/rpc/request.h"
#include "server/sidecar/policy_gate.h"

/*
 * The inbox has answered, or cannot any more.
 *
 * response  its OK answer, borrowed for the call; NULL when it refused or is gone
 * err       then the reason: the inbox's status, code and text, or UNAVAILABLE
 *
 * Runs on the caller's thread (or, when the request could not be sent, on the handler's) with no lock held;
 * must not block: what makes file-system calls goes on by request_continue_on_pool().
 */
typedef void forward_fn(struct request *req, const Gcs__V1__Response *response, const struct error *err);

/* Whether a refusal of what was to be taken away says that there is nothing of it at the inbox: it does not
 * know it, or is gone itself, and ends with it (its next run takes away what is left). */
bool forward_nothing_is_left(const struct error *err);

/*
 * Sends `call`, whose body the handler has set; container, activity and trace are taken from the request.
 * After this the request belongs to `then`: the handler does not touch it again.
 */
void forward(struct request *req, Gcs__V1__Request *call, forward_fn *then);

/* As forward(), for a call that only waits: it ends at the inbox when the request's own deadline comes. */
void forward_wait(struct request *req, Gcs__V1__Request *call, forward_fn *then);

/* A forward_fn: replies with the inbox's answer as it is, or with its error. */
void forward_relay(struct request *req, const Gcs__V1__Response *response, const struct error *err);

/* The call that passes the request on as it was approved: its container, activity and body, encoded anew, and
 * its trace with the request as the parent. Where the handler changes something it replaces the body. */
Gcs__V1__Request forward_call(const struct request *req);

/* An approval with the container's tag after a decision that changed its state; without, when nothing changed
 * or the request is about the UVM, which has none. */
Gcs__V1__Approval forward_approval(struct request *req, const struct gate_record *record);

/* A forward_fn for a request whose policy record is in req->slot: commits it when the inbox did what was
 * decided, undoes it otherwise, and relays. */
void forward_settle(struct request *req, const Gcs__V1__Response *response, const struct error *err);

#endif
