/* The vectors: what the reference decided, step by step, and where strict means to differ. */
#include "server/policy/vectors.h"
#include "tests/unit/policy/harness.h"

#define VECTORS "tests/fixtures/policy"

static void
the_reference_rule_set_decides_every_vector_as_the_reference_did(void **state)
{
    struct vector_counts counts = {0};
    struct error err;

    (void)state;
    enum status status = vectors_run(VECTORS, POLICY_REFERENCE, stdout, &counts, &err);

    assert_int_equal(status, STATUS_OK);
    assert_int_equal(counts.failed, 0);
    assert_int_equal(counts.passed, 123);
}

/* How each report of a difference begins; README.md tells why for each case. */
static const char *const strict_differences[] = {
    "cims-odd-definitions: policy.rego:44:20: expected 'mounted_cim' to be an array",
    "create-missing-fields: policy.rego:132:18: expected 'env_rules' to be an array",
    "env-name-value: step 34 differs in allowed",
    "env-name-value: step 38 differs in allowed",
    "env-re2-anchoring: step 26 differs in allowed",
    "env-re2-anchoring: step 28 differs in allowed",
    "env-re2-anchoring: step 34 differs in allowed",
    "env-re2-lines-and-utf8: step 34 differs in allowed",
    "env-required-values: policy.rego:27:72: expected 'required' to be true or false",
    "exec-processes: step 6 differs in allowed",
    "external-processes: step 10 differs in allowed",
    "flags-odd-values: policy.rego:7:28: expected 'allow_properties_access' to be true or false",
    "linux-users: step 11 differs in allowed",
    "load-wrong-package: policy.rego:1:9: expected package 'policy'",
    "override-wrong-types: policy.rego:35:15: expected 'mount_cims' to be an alias or an object",
    "registry-changes: step 5 differs in allowed",
    "registry-changes: step 6 differs in allowed",
    "registry-changes: step 9 differs in allowed",
    "registry-changes: step 19 differs in allowed",
    "seed-mounts: step 6 differs in allowed",
    "seed-mounts: step 8 differs in allowed",
    "seed-mounts: step 10 differs in allowed",
    "seed-mounts: step 12 differs in allowed",
    "seed-mounts: step 14 differs in allowed",
    "seed-mounts: step 16 differs in allowed",
    "stdio-values: policy.rego:22:27: expected 'allow_stdio_access' to be true or false",
    "syntax-forms: policy.rego:19:25: expected an integer",
};

enum { DIFFERENCES = sizeof(strict_differences) / sizeof(strict_differences[0]) };

static void
strict_differs_from_the_vectors_where_it_means_to_and_nowhere_else(void **state)
{
    struct vector_counts counts = {0};
    struct error err;
    char *output = NULL, *rest, *line;
    size_t size = 0, found = 0;

    (void)state;
    FILE *file = open_memstream(&output, &size);
    assert_non_null(file);
    enum status status = vectors_run(VECTORS, POLICY_STRICT, file, &counts, &err);
    assert_int_equal(fclose(file), 0);

    assert_int_equal(status, STATUS_OK);
    assert_int_equal(counts.passed, 107);
    assert_int_equal(counts.failed, 16);
    for (line = strtok_r(output, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        if (*line == ' ') /* the decisions, below the line that names the step */
            continue;
        if (found == DIFFERENCES ||
            strncmp(line, strict_differences[found], strlen(strict_differences[found])) != 0)
            fail_msg("%s\n  instead of %s", line,
                     found < DIFFERENCES ? strict_differences[found] : "nothing");
        found++;
    }
    assert_int_equal(found, DIFFERENCES);
    free(output);
}

static void
each_difference_of_strict_is_told_in_the_readme(void **state)
{
    char *readme = harness_read("tests/unit/policy/README.md");
    char *table = strstr(readme, "## Where strict differs");

    (void)state;
    assert_non_null(table);
    for (size_t i = 0; i < DIFFERENCES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "`%.*s`", (int)strcspn(strict_differences[i], ":"),
                 strict_differences[i]);
        if (!strstr(table, name))
            fail_msg("%s is not told", name);
    }
    free(readme);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reference_rule_set_decides_every_vector_as_the_reference_did),
        cmocka_unit_test(strict_differs_from_the_vectors_where_it_means_to_and_nowhere_else),
        cmocka_unit_test(each_difference_of_strict_is_told_in_the_readme),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
