/* The tracestate of a host: it reaches the inbox as it came, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/sidecar_fixture.h"

#define PARENT "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

/* What the inbox got as tracestate with the start of a container. */
static const char *
start_traced(struct sidecar_fixture *f, const char *traceparent, const char *tracestate)
{
    char id[65];
    host_run_traced(f->host, 0, traceparent, tracestate);
    return inbox_message(f->inbox, INBOX_START, container_id(id, 0), 0)->request->tracestate;
}

static void
a_valid_tracestate_reaches_the_inbox_as_it_came(void **state)
{
    assert_string_equal("rojo=1,congo=2", start_traced(*state, PARENT, "rojo=1,congo=2"));
}

static void
a_bad_tracestate_is_no_error_and_does_not_reach_the_inbox(void **state)
{
    assert_string_equal("", start_traced(*state, PARENT, "rojo=1,rojo=2"));
}

static void
a_tracestate_without_a_valid_parent_does_not_reach_the_inbox(void **state)
{
    assert_string_equal("", start_traced(*state, "", "rojo=1"));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup_volume, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_valid_tracestate_reaches_the_inbox_as_it_came),
        TEST(a_bad_tracestate_is_no_error_and_does_not_reach_the_inbox),
        TEST(a_tracestate_without_a_valid_parent_does_not_reach_the_inbox),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
