/*
 * Semantic versions as the reference reads them (spec/policy.md 3.1).
 */
#ifndef SERVER_POLICY_SEMVER_H
#define SERVER_POLICY_SEMVER_H

#include <stdbool.h>
#include <stdint.h>

#include "server/policy/document.h"

struct semver {
    int64_t major, minor, patch;
    struct view prerelease; /* borrowed from the parsed text; empty: none */
};

/* Reads a version; false when the text is none. The result points into the text. */
bool semver_parse(struct view text, struct semver *version);

/* Negative, 0 or positive; build metadata does not count. */
int semver_compare(const struct semver *a, const struct semver *b);

#endif
