/* The policies and requests of the policy benchmark, made to a shape. */
#ifndef BENCH_POLICY_TEXT_H
#define BENCH_POLICY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "server/policy/policy.h"

/* Environment rules of a container and variables of a request: one for each other. */
enum { POLICY_TEXT_RULES = 10 };

struct policy_shape {
    unsigned containers;
    bool one_image; /* all containers have the layers of the first; else each its own */
    bool same_rules;
    bool no_prefix; /* patterns start with ".*" instead of the variable's name */
};

/*
 * A policy as the reference's tool writes them, strict mode's too. Every container has the same command,
 * working directory and user, so that only layers and environment rules tell them apart; the rules are by
 * turns of strategy "string" and "re2". The caller frees the text; NULL: no memory.
 */
char *policy_text(const struct policy_shape *shape, size_t *ret_size);

/* How many distinct patterns of strategy "re2" the policy has. */
size_t policy_text_patterns(const struct policy_shape *shape);

/* What a request for one container of the policy points to. */
struct policy_texts {
    char layer[65];
    char env[POLICY_TEXT_RULES][64];
    const char *layers[1], *envs[POLICY_TEXT_RULES];
};

void policy_texts_init(struct policy_texts *texts, const struct policy_shape *shape, unsigned container);

/* Requests about container `id`; they borrow `texts`, and the two commands are static. */
struct policy_request policy_text_mount(const struct policy_texts *texts, const char *id);
struct policy_request policy_text_create(const struct policy_texts *texts, const char *id);
struct policy_request policy_text_exec(const struct policy_texts *texts, const char *id);

#endif
