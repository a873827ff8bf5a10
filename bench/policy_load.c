#include "bench/policy_load.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/policy_subject.h"
#include "server/base/clock.h"

enum { TEXT_FACTOR = 8, PATTERN_BYTES = 6 * 1024 };

static struct policy *
load(const struct policy_load_row *row, const char *text, size_t size)
{
    struct policy *policy = NULL;
    struct error err;
    if (policy_load(text, size, POLICY_WINDOWS, &policy, &err) != STATUS_OK) {
        fprintf(stderr, "gcs-bench policy: %s: %s\n", row->label, err.text);
        exit(EXIT_FAILURE);
    }
    return policy;
}

static size_t
held_bytes(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* What the policy holds more once every pattern has been tried; the state is not counted. */
static size_t
used_bytes(const struct policy_load_row *row, struct policy *policy)
{
    struct policy_subject subject = {.label = row->label, .kind = KIND_CREATE, .shape = row->shape};

    size_t before = held_bytes();
    for (unsigned i = 0; i < row->shape.containers; i++)
        policy_subject_try(&subject, policy, i);
    return held_bytes() - before;
}

void
policy_load_measure(struct policy_load_row *row)
{
    char *text = policy_text(&row->shape, &row->text_bytes);
    if (!text) {
        fprintf(stderr, "gcs-bench policy: no memory\n");
        exit(EXIT_FAILURE);
    }
    samples_init(&row->samples, row->loads);
    for (unsigned i = 0; i < row->loads; i++) {
        int64_t begin_ns = clock_now_ns();
        struct policy *policy = load(row, text, row->text_bytes);
        samples_add(&row->samples, clock_now_ns() - begin_ns);
        policy_unref(policy);
    }
    size_t before = held_bytes();
    struct policy *policy = load(row, text, row->text_bytes);
    row->held_bytes = held_bytes() - before;
    row->used_bytes = row->held_bytes + used_bytes(row, policy);
    policy_unref(policy);
    row->patterns = policy_text_patterns(&row->shape);
    row->bound_bytes = TEXT_FACTOR * row->text_bytes + PATTERN_BYTES * row->patterns;
    free(text);
}
