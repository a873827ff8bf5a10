/*
 * The states of a process, from before its start is told to after a client was told of its end.
 *
 * Three things come in any order: its start is told (it is "held" until then), it ends, and all its output is
 * here
 * ("quiet"; or "cut": a while after the end something still holds a stream open). When all have come it is
 * settled.
 *
 *                    hold        release        ended       quiet          grace over   collect
 *     held           held        running        held-ended  held-quiet     -            -
 *     held-quiet     held-quiet  running-quiet  held-done   held-quiet     -            -
 *     held-ended     held-ended  ended          -           held-done      held-cut     -
 *     held-done      held-done   settled        -           held-done      held-done    -
 *     held-cut       held-cut    settled-cut    -           held-cut       held-cut     -
 *     running        held        running        ended       running-quiet  -            -
 *     running-quiet  held-quiet  running-quiet  settled     running-quiet  -            -
 *     ended          held-ended  ended          -           settled        settled-cut  -
 *     settled        -           settled        -           settled        settled      collected
 *     settled-cut    -           settled-cut    -           settled-cut    settled-cut  collected-cut
 *     collected      -           collected      -           collected      collected    collected
 *     collected-cut  -           collected-cut  -           collected-cut  collected-cut collected-cut
 *
 * "-" changes nothing and is refused. "hold" comes before a step that the telling of an end must not
 * overtake: it is too late once the process is settled. "collect" is a client that was told.
 *
 * Threads: no state of its own.
 */
#ifndef SERVER_INBOX_PROCESS_STATE_H
#define SERVER_INBOX_PROCESS_STATE_H

#include <stdbool.h>

enum process_state {
    PROCESS_HELD,
    PROCESS_HELD_QUIET,
    PROCESS_HELD_ENDED,
    PROCESS_HELD_DONE,
    PROCESS_HELD_CUT,
    PROCESS_RUNNING,
    PROCESS_RUNNING_QUIET,
    PROCESS_ENDED,
    PROCESS_SETTLED,
    PROCESS_SETTLED_CUT,
    PROCESS_COLLECTED,
    PROCESS_COLLECTED_CUT,
    PROCESS_STATES,
};

enum process_event {
    PROCESS_ON_HOLD,
    PROCESS_ON_RELEASE,
    PROCESS_ON_ENDED,
    PROCESS_ON_QUIET,
    PROCESS_ON_GRACE_OVER,
    PROCESS_ON_COLLECT,
    PROCESS_EVENTS,
};

/* Whether `event` is allowed in `from`, and where it leads. The table above. */
bool process_next(enum process_state from, enum process_event event, enum process_state *ret);

/* It has ended, told or not. */
bool process_state_is_ended(enum process_state state);

/* Its output is not all here, and nobody has given up waiting for it. */
bool process_state_is_open(enum process_state state);

/* Its end is known to everybody. */
bool process_state_is_settled(enum process_state state);

/* Its output was given up. */
bool process_state_is_cut(enum process_state state);

#endif
