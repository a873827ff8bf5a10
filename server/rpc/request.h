/*
 * One request on its way: receive -> order -> decode -> decide -> act -> park; later: resume -> commit or
 * undo -> reply.
 *
 * A request belongs to one thread at a time: the receiver, then whoever runs its handler, then whoever brings
 * the outcome. Answer and end are two things, because a deadline answers a request that is still at work:
 *
 *   request_reply()/request_reject()   answer, then end
 *   request_answer()                   answers; the handler goes on (undo, a late commit) and ends it later
 *   request_done()                     ends it: gives its keys to the next in line and drops the arena
 *
 * Every request is answered exactly once, whatever is called: the first answer counts, or the one that was
 * claimed.
 */
#ifndef SERVER_RPC_REQUEST_H
#define SERVER_RPC_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "gcs/v1/bridge.pb-c.h"
#include "server/base/arena.h"
#include "server/base/error.h"
#include "server/base/pool.h"
#include "server/rpc/method.h"
#include "server/rpc/trace.h"

/* In place of a container's id: the guest itself. */
#define UVM_ID "00000000-0000-0000-0000-000000000000"

struct request {
    const Gcs__V1__Request *call;    /* decoded and checked; lives in the arena; constant */
    const struct rpc_method *method; /* its row */
    struct arena arena;              /* memory that lives as long as the request */
    void *app;                       /* rpc_server_config.app */
    int64_t arrived_ns, deadline_ns; /* monotonic */
    struct trace trace;              /* what the call's trace context came to; set with `call` */
    void *slot;                      /* the handler's own, NULL at first */
};

/* Prepares an OK answer for `req`; its body is the caller's to set before request_reply(). */
Gcs__V1__Response request_response(const struct request *req);

/* Answers with `response` (borrowed) and ends the request. `response` may point into the request's arena. */
void request_reply(struct request *req, Gcs__V1__Response *response);

/* Answers with the error (borrowed) and ends the request. */
void request_reject(struct request *req, const struct error *err);

/* Answers, without ending. Ignored when the request has its answer. */
void request_answer(struct request *req, Gcs__V1__Response *response);
void request_answer_error(struct request *req, const struct error *err);

/* Whether the request has its answer: before a step that is not worth while any more. */
bool request_is_answered(struct request *req);

/*
 * Takes the right to answer. False: the deadline has spoken, and nothing that the handler answers will be
 * sent. True: the deadline will say nothing any more, so the handler decides the outcome, and answers soon.
 * For what is committed only when the client hears of it; looking at request_is_answered() leaves a gap for
 * the deadline.
 */
MUST_CHECK bool request_claim_answer(struct request *req);

/* Ends the request and frees it. If nothing was answered, the answer is INTERNAL: a bug, but not a
 * silence. */
void request_done(struct request *req);

/* Gives the keys to the next in line although the request goes on: for waits, once they are forwarded. */
void request_release_keys(struct request *req);

/* Continues the request on the pool: for a continuation that makes file-system calls. Never fails. */
void request_continue_on_pool(struct request *req, pool_job_fn *job);

/* Milliseconds until the deadline, at least 1: the time limit for what the request forwards. */
uint32_t request_time_left_ms(const struct request *req);

/* The pool the request's server runs on: for teams. */
struct pool *request_pool(const struct request *req);

/*
 * Ends the request's own session, as if its lease were over. Requests that have begun go on, for nobody;
 * those that still wait for their keys, or come later, are refused and never run. The request itself is
 * answered as any other, but that answer is not kept. Once a request, before it is answered.
 */
void request_end_session(struct request *req);

/* Ends every session but the request's own. Requests of theirs that have begun go on, for nobody; those that
 * still wait for their keys, or come later, are refused and never run. */
void request_end_other_sessions(struct request *req);

#endif
