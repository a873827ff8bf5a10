/*
 * W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to, and what is
 * passed on with what it causes.
 *
 * As the recommendation has it, a malformed traceparent is no error: the request then belongs to no trace. A
 * tracestate counts only with a traceparent, and only when it is well-formed as a whole. Each program is one
 * hop: it takes part with a span of its own, whose id is the parent of what it sends.
 */
#ifndef SERVER_RPC_TRACE_H
#define SERVER_RPC_TRACE_H

#include <stdbool.h>

#define TRACE_ID_TEXT     33 /* 32 hexadecimal digits and a NUL */
#define TRACE_SPAN_TEXT   17
#define TRACE_PARENT_TEXT 56 /* 00-TRACE-SPAN-FLAGS */

struct trace {
    char id[TRACE_ID_TEXT];         /* "": the request belongs to no trace */
    char parent[TRACE_SPAN_TEXT];   /* the span that caused the request */
    char span[TRACE_SPAN_TEXT];     /* ours */
    char onward[TRACE_PARENT_TEXT]; /* the traceparent of what we send; "" without a trace */
    bool state_counts;              /* the request's tracestate may be passed on */
};

/* Takes the trace of a request and begins our span in it. Never fails. */
void trace_take(struct trace *trace, const char *traceparent, const char *tracestate);

/* Begins a trace of its own: a traceparent with random ids, not sampled. False: no randomness, and `text` is
 * "". */
bool trace_begin(char text[TRACE_PARENT_TEXT]);

/* Whether a traceparent is well-formed, of whatever version. */
bool trace_parent_is_valid(const char *traceparent);

/* Whether a tracestate is: at most 32 members `key=value`, no key twice. "" is. */
bool trace_state_is_valid(const char *tracestate);

#endif
