/*
 * What must hold of every text that is loaded as a policy, beside what the sanitizers see:
 *
 *   - it loads, or is refused with a status that the header names and a text; never both, and the same twice
 *   - what strict accepts the reference accepts
 *   - what loads can be asked: the first question of a fresh state has an answer
 */
#ifndef TESTS_FUZZ_POLICY_LOAD_CHECK_H
#define TESTS_FUZZ_POLICY_LOAD_CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "server/policy/policy.h"

/* Aborts when one of them does not. */
void policy_load_check(const uint8_t *bytes, size_t size, enum policy_os os);

#endif
