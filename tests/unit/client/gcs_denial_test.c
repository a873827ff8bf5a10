/* What libgcs makes of the text of a denial: its reasons, or the text as it is. */
#include "client/gcs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "tests/unit/client/gcs_fixture.h"

/* Wraps the JSON text as the server does, with `before` in front. */
static void
wrap(char *ret, size_t size, const char *before, const char *json)
{
    unsigned char base64[4096];
    assert_true(strlen(json) < sizeof base64 / 4 * 3 - 4);
    EVP_EncodeBlock(base64, (const unsigned char *)json, (int)strlen(json));
    snprintf(ret, size, "%spolicyDecision< %s >policyDecision", before, (char *)base64);
}

static void
ping_denied(struct fixture *fix, const char *message)
{
    struct rep_request got;
    gcs_begin(fix, gcs_ping_main, &got);
    rep_server_status(&fix->server, &got, GCS_PERMISSION_DENIED, message);
    gcs_end(fix);
    rep_request_done(&got);
    assert_int_equal(fix->client.status, GCS_PERMISSION_DENIED);
}

static void
a_denial_is_decoded_into_its_reasons(void **state)
{
    struct fixture *fix = *state;
    char message[8192];
    const char *json =
        "{\"decision\":\"deny\",\"input\":{\"argList\":[\"mkdir\"],\"rule\":\"exec_in_container\"},"
        "\"reason\":{\"candidate_containers\":[],\"errors\":[\"invalid command\",\"no "
        "\\u003crule\\u003e\"]}}";
    wrap(message, sizeof message, "exec in container denied due to policy: ", json);

    ping_denied(fix, message);

    const struct gcs_denial *denial = fix->client.err.denial;
    assert_non_null(denial);
    assert_string_equal(fix->client.err.message, "exec in container denied due to policy");
    assert_string_equal(denial->decision, "deny");
    assert_string_equal(denial->rule, "exec_in_container");
    assert_int_equal(denial->errors_count, 2);
    assert_string_equal(denial->errors[0], "invalid command");
    assert_string_equal(denial->errors[1], "no <rule>");
    assert_int_equal(denial->truncated_count, 0);
    assert_string_equal(denial->json, json);
}

static void
a_shortened_denial_tells_what_was_left_out(void **state)
{
    struct fixture *fix = *state;
    char message[8192];
    wrap(message, sizeof message, "",
         "{\"decision\":\"deny\",\"reason\":{\"errors\":[\"a\"]},\"truncated\":[\"reason.error_objects\","
         "\"input\"]}");

    ping_denied(fix, message);

    const struct gcs_denial *denial = fix->client.err.denial;
    assert_non_null(denial);
    assert_string_equal(fix->client.err.message, "denied by policy");
    assert_string_equal(denial->rule, "");
    assert_int_equal(denial->errors_count, 1);
    assert_int_equal(denial->truncated_count, 2);
    assert_string_equal(denial->truncated[1], "input");
}

static void
a_policy_error_and_a_plain_reason_are_both_told(void **state)
{
    struct fixture *fix = *state;
    char message[8192];
    wrap(message, sizeof message, "x: ",
         "{\"decision\":\"deny\",\"policyError\":\"rule not found\",\"reason\":\"Security policy is not "
         "valid.\"}");

    ping_denied(fix, message);

    const struct gcs_denial *denial = fix->client.err.denial;
    assert_non_null(denial);
    assert_int_equal(denial->errors_count, 2);
    assert_string_equal(denial->errors[0], "rule not found");
    assert_string_equal(denial->errors[1], "Security policy is not valid.");
}

static void
what_is_no_decision_stays_a_message(void **state)
{
    struct fixture *fix = *state;
    static const char *const messages[] = {
        "denied",
        "policyDecision<  >policyDecision",
        "policyDecision< !!!! >policyDecision",
        "policyDecision< e30 >policyDecision",                  /* no padding */
        "policyDecision< W10= >policyDecision",                 /* [] */
        "policyDecision< eyJhIjoxLCJhIjoyfQ== >policyDecision", /* a key twice */
        "policyDecision< e30= ",
        " >policyDecision policyDecision< ",
        "policyDecision<                  >policyDecision",
    };
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        ping_denied(fix, messages[i]);
        assert_null(fix->client.err.denial);
        assert_string_equal(fix->client.err.message, messages[i]);
    }
}

#define TEST_CONNECTED(name) cmocka_unit_test_setup_teardown(name, gcs_setup_connected, gcs_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_CONNECTED(a_denial_is_decoded_into_its_reasons),
        TEST_CONNECTED(a_shortened_denial_tells_what_was_left_out),
        TEST_CONNECTED(a_policy_error_and_a_plain_reason_are_both_told),
        TEST_CONNECTED(what_is_no_decision_stays_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
