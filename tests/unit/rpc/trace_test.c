/* W3C trace context: what is taken, what is ignored, and what is passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/rpc/trace.h"

#define ID     "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN   "00f067aa0ba902b7"
#define PARENT "00-" ID "-" SPAN "-01"

static void
a_traceparent_is_taken_with_a_span_of_our_own(void **state)
{
    (void)state;
    struct trace trace, other;
    trace_take(&trace, PARENT, "");
    trace_take(&other, PARENT, "");

    assert_string_equal(ID, trace.id);
    assert_string_equal(SPAN, trace.parent);
    assert_int_equal(16, strspn(trace.span, "0123456789abcdef"));
    assert_string_not_equal(SPAN, trace.span);
    assert_string_not_equal(other.span, trace.span);
    char onward[TRACE_PARENT_TEXT];
    snprintf(onward, sizeof onward, "00-" ID "-%s-01", trace.span);
    assert_string_equal(onward, trace.onward);
    assert_true(trace_parent_is_valid(trace.onward));
}

static void
a_malformed_traceparent_is_no_trace(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "00",
        "00-" ID "-" SPAN,
        "00-" ID "-" SPAN "-0",
        "00-" ID "-" SPAN "-01-",
        "00-" ID "-" SPAN "-01-more",
        "00-" ID "-" SPAN "-0g",
        "00_" ID "-" SPAN "-01",
        "00-" ID "_" SPAN "-01",
        "00-" ID "-" SPAN "_01",
        "0g-" ID "-" SPAN "-01",
        "0A-" ID "-" SPAN "-01",
        "ff-" ID "-" SPAN "-01",
        "01-" ID "-" SPAN "-01more",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01",
        "00-" ID "-00F067AA0BA902B7-01",
        "00-00000000000000000000000000000000-" SPAN "-01",
        "00-" ID "-0000000000000000-01",
        " 00-" ID "-" SPAN "-01",
    };
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        struct trace trace;
        trace_take(&trace, malformed[i], "a=1");
        if (trace.id[0] || trace.onward[0] || trace.state_counts)
            fail_msg("taken: '%s'", malformed[i]);
    }
}

static void
a_later_version_is_read_as_the_first_and_passed_on_as_it(void **state)
{
    (void)state;
    static const char *const later[] = {"01-" ID "-" SPAN "-09",
                                        "cc-" ID "-" SPAN "-ff-what-the-future-brings"};
    for (size_t i = 0; i < 2; i++) {
        struct trace trace;
        trace_take(&trace, later[i], "");
        assert_string_equal(ID, trace.id);
        assert_memory_equal("00-" ID "-", trace.onward, 36);
        assert_string_equal("-01", trace.onward + 52); /* sampled; no flag that 00 does not know */
    }
    struct trace trace;
    trace_take(&trace, "00-" ID "-" SPAN "-fe", "");
    assert_string_equal("-00", trace.onward + 52);
}

static void
a_tracestate_counts_when_all_of_it_is_well_formed(void **state)
{
    (void)state;
    char long_key[300], long_value[300], many[400] = "", too_many[400] = "";
    snprintf(long_key, sizeof long_key, "%0256d=1", 0);
    long_key[0] = 'a';
    snprintf(long_value, sizeof long_value, "a=%0256d", 0);
    for (int i = 0; i < 33; i++) {
        char member[16];
        snprintf(member, sizeof member, "k%d=v,", i);
        if (i < 32)
            strncat(many, member, sizeof many - strlen(many) - 1);
        strncat(too_many, member, sizeof too_many - strlen(too_many) - 1);
    }
    const char *const good[] = {"",
                                "a=1",
                                "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
                                "a=1, b=2\t,\tc=3",
                                "a=1,,b=2",
                                "a/b*c-d_e=~!",
                                "0tenant@system=x",
                                "a= b",
                                long_key,
                                long_value,
                                many};
    const char *const bad[] = {"a",       "=1",     "a=",      "A=1",         "1a=2", "a=1=2",
                               "a=1,a=2", "a=\x7f", "a=\t1b",  "a\xc3\xa4=1", "@b=1", "a@=1",
                               "a@1b=1",  "a b=1",  "a@b@c=1", too_many};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!trace_state_is_valid(good[i]))
            fail_msg("refused: '%s'", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (trace_state_is_valid(bad[i]))
            fail_msg("taken: '%s'", bad[i]);
    snprintf(long_key, sizeof long_key, "%0257d=1", 0);
    long_key[0] = 'a';
    assert_false(trace_state_is_valid(long_key));
}

static void
a_bad_tracestate_leaves_the_trace(void **state)
{
    (void)state;
    struct trace trace;
    trace_take(&trace, PARENT, "a=1,a=2");
    assert_string_equal(ID, trace.id);
    assert_false(trace.state_counts);
    trace_take(&trace, PARENT, "a=1,b=2");
    assert_true(trace.state_counts);
}

static void
a_trace_of_ones_own_is_new_each_time(void **state)
{
    (void)state;
    char one[TRACE_PARENT_TEXT], other[TRACE_PARENT_TEXT];
    assert_true(trace_begin(one));
    assert_true(trace_begin(other));
    assert_true(trace_parent_is_valid(one));
    assert_string_not_equal(one, other);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_traceparent_is_taken_with_a_span_of_our_own),
        cmocka_unit_test(a_malformed_traceparent_is_no_trace),
        cmocka_unit_test(a_later_version_is_read_as_the_first_and_passed_on_as_it),
        cmocka_unit_test(a_tracestate_counts_when_all_of_it_is_well_formed),
        cmocka_unit_test(a_bad_tracestate_leaves_the_trace),
        cmocka_unit_test(a_trace_of_ones_own_is_new_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
