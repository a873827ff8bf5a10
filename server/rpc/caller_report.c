/* Callbacks: the outcomes of calls that ended without an answer, and changes of state. */
#include <stdlib.h>

#include "server/rpc/caller_internal.h"

static void
tell_ended(struct caller *caller, struct call *call)
{
    struct error err;
    /* The texts are this folder's own; each has one %s. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    error_set(&err, call->fate, 0, call->why, caller->url);
#pragma GCC diagnostic pop
    call->on_answer(call->arg, NULL, &err);
}

/* Tells on_state until it knows the present state. One thread at a time, so that changes arrive in order;
 * what happens meanwhile is seen by the thread that is at it. */
static void
report_state(struct caller *caller)
{
    mutex_lock(&caller->state.lock);
    if (caller->state.reporting || !caller->on_state) {
        mutex_unlock(&caller->state.lock);
        return;
    }
    caller->state.reporting = true;
    for (;;) {
        bool ready = caller_is_ready(caller);
        bool again = ready && caller->state.ready_reported != caller->state.ready_count;
        if (ready == caller->state.reported_ready && !again)
            break;
        Gcs__V1__NegotiateResponse *negotiated = NULL;
        bool changed = ready && caller->state.instance_changed;
        if (ready) {
            negotiated = gcs__v1__negotiate_response__unpack(NULL, caller->state.negotiated_size,
                                                             caller->state.negotiated);
            caller->state.instance_changed = false;
            caller->state.ready_reported = caller->state.ready_count;
        }
        caller->state.reported_ready = ready;
        mutex_unlock(&caller->state.lock);
        if (!ready || negotiated)
            caller->on_state(caller->state_arg, ready ? CALLER_READY : CALLER_CONNECTING, negotiated,
                             changed);
        if (negotiated)
            gcs__v1__negotiate_response__free_unpacked(negotiated, NULL);
        mutex_lock(&caller->state.lock);
    }
    caller->state.reporting = false;
    mutex_unlock(&caller->state.lock);
}

void
caller_finish(struct caller *caller, struct call *ended)
{
    struct call *call, *after;
    DL_FOREACH_SAFE(ended, call, after)
    {
        tell_ended(caller, call);
        free(call);
    }
    report_state(caller);
}
