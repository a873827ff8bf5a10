/* The vectors: what the reference decided, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "server/policy/vectors.h"

static void
the_reference_rule_set_decides_every_vector_as_the_reference_did(void **state)
{
    struct vector_counts counts = {0};
    struct error err;

    (void)state;
    enum status status = vectors_run("tests/fixtures/policy", POLICY_REFERENCE, stdout, &counts, &err);

    assert_int_equal(status, STATUS_OK);
    assert_int_equal(counts.failed, 0);
    assert_int_equal(counts.passed, 123);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_rule_set_decides_every_vector_as_the_reference_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
