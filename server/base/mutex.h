/*
 * Mutexes with ranks, and the words for clang's static lock analysis (-Wthread-safety).
 *
 * A thread takes locks in rank order, outermost (lowest number) first, and never two of one rank. Builds with
 * assertions abort on a wrong order. No callback and no I/O runs under a lock, unless the header of the
 * lock's owner says which and why.
 */
#ifndef SERVER_BASE_MUTEX_H
#define SERVER_BASE_MUTEX_H

#include <pthread.h>
#include <stdint.h>

#if defined(__clang__)
#define THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define THREAD_ATTRIBUTE(x)
#endif

/* On a field: touched only with a lock held. In C the attribute cannot name the sibling field that is the
 * lock. */
#define GUARDED        THREAD_ATTRIBUTE(guarded_var)
#define REQUIRES(lock) THREAD_ATTRIBUTE(requires_capability(lock))
#define ACQUIRES(lock) THREAD_ATTRIBUTE(acquire_capability(lock))
#define RELEASES(lock) THREAD_ATTRIBUTE(release_capability(lock))
#define NO_LOCK_CHECK  THREAD_ATTRIBUTE(no_thread_safety_analysis)

/* Outermost first. Add a rank where the lock belongs, never reuse one for a second purpose. */
enum mutex_rank {
    RANK_ORDER,       /* rpc: keyed order */
    RANK_APP,         /* sidecar, inbox: the container table */
    RANK_PROCESS,     /* inbox: one process and its streams */
    RANK_OVERLAYS,    /* inbox: scratches and root file systems */
    RANK_NETWORKS,    /* inbox: network namespaces */
    RANK_EVENTS,      /* rpc: the event log */
    RANK_CHILDREN,    /* inbox: children being watched */
    RANK_POLICY,      /* policy: the mutable decision state */
    RANK_VOLUMES,     /* mounts: the volume table */
    RANK_JOURNAL,     /* mounts: the directory journal's file */
    RANK_DIRECTORIES, /* mounts: reference counts of sandbox directories */
    RANK_PLAN,        /* mounts: the task list of one directory plan */
    RANK_CALLER,      /* rpc: calls in flight towards a server */
    RANK_LIVE,        /* rpc: the list of requests under way */
    RANK_SESSIONS,    /* rpc: sessions, kept answers, pipe credit */
    RANK_POOL,        /* base: the worker pool's queue */
    RANK_TIMERS,      /* base: the timer heap */
    RANK_LEAF,        /* anything that takes no other lock while it is held */
    RANK_LOG,         /* inbox: lines that wait for a sink; a line may be logged under any lock */
};

struct THREAD_ATTRIBUTE(capability("mutex")) mutex {
    pthread_mutex_t handle;
    enum mutex_rank rank;
};

void mutex_init(struct mutex *mutex, enum mutex_rank rank);
void mutex_done(struct mutex *mutex);
void mutex_lock(struct mutex *mutex) ACQUIRES(mutex);
void mutex_unlock(struct mutex *mutex) RELEASES(mutex);

/* A condition on CLOCK_MONOTONIC, so that deadlines survive a change of the wall clock. */
void condition_init(pthread_cond_t *condition);

/* Waits until woken or until `deadline_ns` (monotonic); returns 0 or ETIMEDOUT. Spurious wake-ups happen. */
int condition_wait_until(pthread_cond_t *condition, struct mutex *mutex, int64_t deadline_ns) REQUIRES(mutex);

/* Waits until woken, for ever: only for a worker's wait for work, which its owner ends by stopping it. */
void condition_wait(pthread_cond_t *condition, struct mutex *mutex) REQUIRES(mutex);

#endif
