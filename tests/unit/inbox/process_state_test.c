/* The states of a process, transition by transition, and what must hold whatever comes in whatever order. */
#include "server/inbox/process_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const names[PROCESS_STATES] = {
    "held",          "held-quiet", "held-ended", "held-done",   "held-cut",  "running",
    "running-quiet", "ended",      "settled",    "settled-cut", "collected", "collected-cut",
};

/* The header's table as it reads. */
static const char *const table[PROCESS_STATES][PROCESS_EVENTS] = {
    {"held", "running", "held-ended", "held-quiet", "-", "-"},
    {"held-quiet", "running-quiet", "held-done", "held-quiet", "-", "-"},
    {"held-ended", "ended", "-", "held-done", "held-cut", "-"},
    {"held-done", "settled", "-", "held-done", "held-done", "-"},
    {"held-cut", "settled-cut", "-", "held-cut", "held-cut", "-"},
    {"held", "running", "ended", "running-quiet", "-", "-"},
    {"held-quiet", "running-quiet", "settled", "running-quiet", "-", "-"},
    {"held-ended", "ended", "-", "settled", "settled-cut", "-"},
    {"-", "settled", "-", "settled", "settled", "collected"},
    {"-", "settled-cut", "-", "settled-cut", "settled-cut", "collected-cut"},
    {"-", "collected", "-", "collected", "collected", "collected"},
    {"-", "collected-cut", "-", "collected-cut", "collected-cut", "collected-cut"},
};

static void
every_event_leads_where_the_table_says_and_nowhere_else(void **state)
{
    (void)state;
    for (int from = 0; from < PROCESS_STATES; from++)
        for (int event = 0; event < PROCESS_EVENTS; event++) {
            enum process_state next = PROCESS_STATES;
            bool allowed = process_next((enum process_state)from, (enum process_event)event, &next);
            const char *got = allowed ? names[next] : "-";
            if (strcmp(got, table[from][event]) != 0)
                fail_msg("%s, event %d: %s, not %s", names[from], event, got, table[from][event]);
            if (!allowed)
                assert_int_equal(PROCESS_STATES, next);
        }
}

/* What the states stand for, kept as flags: the model. */
struct facts {
    bool held, ended, quiet, cut, settled;
};

static bool
facts_take(struct facts *facts, enum process_event event)
{
    switch (event) {
    case PROCESS_ON_HOLD:
        if (facts->settled)
            return false;
        facts->held = true;
        break;
    case PROCESS_ON_RELEASE:
        facts->held = false;
        break;
    case PROCESS_ON_ENDED:
        if (facts->ended)
            return false;
        facts->ended = true;
        break;
    case PROCESS_ON_QUIET:
        facts->quiet = facts->quiet || !facts->cut;
        break;
    case PROCESS_ON_GRACE_OVER:
        if (!facts->ended)
            return false;
        facts->cut = facts->cut || !facts->quiet;
        break;
    default:
        return facts->settled;
    }
    facts->settled = facts->settled || (facts->ended && !facts->held && (facts->quiet || facts->cut));
    return true;
}

static void
whatever_comes_in_whatever_order_the_state_says_all_of_it(void **state)
{
    (void)state;
    enum { EVENTS = 7 };
    uint32_t sequences = 1;
    for (int i = 0; i < EVENTS; i++)
        sequences *= PROCESS_EVENTS;
    for (uint32_t sequence = 0; sequence < sequences; sequence++) {
        enum process_state now = PROCESS_HELD;
        struct facts facts = {.held = true};
        uint32_t rest = sequence;
        for (int i = 0; i < EVENTS; i++, rest /= PROCESS_EVENTS) {
            enum process_event event = (enum process_event)(rest % PROCESS_EVENTS);
            bool expected = facts_take(&facts, event);
            if (process_next(now, event, &now) != expected ||
                process_state_is_settled(now) != facts.settled ||
                process_state_is_ended(now) != facts.ended || process_state_is_cut(now) != facts.cut ||
                process_state_is_open(now) != (!facts.quiet && !facts.cut))
                fail_msg("sequence %u, event %d: %s", sequence, i, names[now]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_event_leads_where_the_table_says_and_nowhere_else),
        cmocka_unit_test(whatever_comes_in_whatever_order_the_state_says_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
