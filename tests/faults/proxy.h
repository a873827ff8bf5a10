/*
 * A bad line between nanomsg clients and a server on this machine: a unix socket that speaks nanomsg's ipc
 * framing on both sides and passes on whole frames, except that it loses some, sends some twice, holds some
 * back so that later ones overtake them, and now and then ends a connection.
 *
 * Threads: one of its own does everything; the functions may be called from any thread.
 */
#ifndef TESTS_FAULTS_PROXY_H
#define TESTS_FAULTS_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct proxy;

/* What happens to a frame, in millionths; together at most a million. */
struct proxy_faults {
    uint64_t seed; /* of every choice */
    unsigned drop;
    unsigned duplicate; /* the copy comes up to `delay_ns_max` later */
    unsigned delay;     /* for up to delay_ns_max, whatever comes meanwhile */
    unsigned reorder;   /* until up to eight later ones have gone by, or delay_ns_max has */
    unsigned cut;       /* ends the connection instead; frames held back are lost with it */
    bool cut_within;    /* half of the cuts leave the beginning of the frame */
    bool in_order; /* nothing is overtaken: a copy follows at once; what is delayed delays all behind it */
    int64_t delay_ns_max;
};

struct proxy_counts {
    uint64_t connections, frames, dropped, duplicated, delayed;
    uint64_t overtaken; /* frames that a later one of their direction overtook */
    uint64_t cuts, cut_within;
};

/* Listens at `path` and passes on to `target`; both are socket paths, copied. Aborts when it cannot. */
struct proxy *proxy_new(const char *path, const char *target, const struct proxy_faults *faults);

/* Ends every connection and frees it. NULL is fine. */
void proxy_free(struct proxy *proxy);

void proxy_count(struct proxy *proxy, struct proxy_counts *ret);

#endif
