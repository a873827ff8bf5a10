#include "server/inbox/process_state.h"

/* The state an event leads to, plus one; 0: refused. The header's table, row by row. */
#define TO(name) (PROCESS_##name + 1)
static const unsigned char transitions[PROCESS_STATES][PROCESS_EVENTS] = {
    /*                         hold             release            ended           quiet              grace
       over     collect */
    [PROCESS_HELD] = {TO(HELD), TO(RUNNING), TO(HELD_ENDED), TO(HELD_QUIET), 0, 0},
    [PROCESS_HELD_QUIET] = {TO(HELD_QUIET), TO(RUNNING_QUIET), TO(HELD_DONE), TO(HELD_QUIET), 0, 0},
    [PROCESS_HELD_ENDED] = {TO(HELD_ENDED), TO(ENDED), 0, TO(HELD_DONE), TO(HELD_CUT), 0},
    [PROCESS_HELD_DONE] = {TO(HELD_DONE), TO(SETTLED), 0, TO(HELD_DONE), TO(HELD_DONE), 0},
    [PROCESS_HELD_CUT] = {TO(HELD_CUT), TO(SETTLED_CUT), 0, TO(HELD_CUT), TO(HELD_CUT), 0},
    [PROCESS_RUNNING] = {TO(HELD), TO(RUNNING), TO(ENDED), TO(RUNNING_QUIET), 0, 0},
    [PROCESS_RUNNING_QUIET] = {TO(HELD_QUIET), TO(RUNNING_QUIET), TO(SETTLED), TO(RUNNING_QUIET), 0, 0},
    [PROCESS_ENDED] = {TO(HELD_ENDED), TO(ENDED), 0, TO(SETTLED), TO(SETTLED_CUT), 0},
    [PROCESS_SETTLED] = {0, TO(SETTLED), 0, TO(SETTLED), TO(SETTLED), TO(COLLECTED)},
    [PROCESS_SETTLED_CUT] = {0, TO(SETTLED_CUT), 0, TO(SETTLED_CUT), TO(SETTLED_CUT), TO(COLLECTED_CUT)},
    [PROCESS_COLLECTED] = {0, TO(COLLECTED), 0, TO(COLLECTED), TO(COLLECTED), TO(COLLECTED)},
    [PROCESS_COLLECTED_CUT] = {0, TO(COLLECTED_CUT), 0, TO(COLLECTED_CUT), TO(COLLECTED_CUT),
                               TO(COLLECTED_CUT)},
};

bool
process_next(enum process_state from, enum process_event event, enum process_state *ret)
{
    unsigned char next = transitions[from][event];
    if (next == 0)
        return false;
    *ret = (enum process_state)(next - 1);
    return true;
}

bool
process_state_is_ended(enum process_state state)
{
    return transitions[state][PROCESS_ON_ENDED] == 0; /* nobody ends twice */
}

bool
process_state_is_open(enum process_state state)
{
    return state == PROCESS_HELD || state == PROCESS_RUNNING || state == PROCESS_HELD_ENDED ||
           state == PROCESS_ENDED;
}

bool
process_state_is_settled(enum process_state state)
{
    return state >= PROCESS_SETTLED;
}

bool
process_state_is_cut(enum process_state state)
{
    return state == PROCESS_HELD_CUT || state == PROCESS_SETTLED_CUT || state == PROCESS_COLLECTED_CUT;
}
