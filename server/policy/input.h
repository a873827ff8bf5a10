/*
 * The `input` member of a denial: the request as the reference's decision object shows it
 * (spec/policy.md 4.4).
 */
#ifndef SERVER_POLICY_INPUT_H
#define SERVER_POLICY_INPUT_H

#include "server/policy/decision.h"
#include "server/policy/encode.h"

/* Writes the object, environment values redacted; with a member "rule" when `with_rule`. */
void input_write(const struct decision *decision, bool with_rule, struct writer *writer);

#endif
