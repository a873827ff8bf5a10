/*
 * A strict reader of Prometheus' text format 0.0.4, for tests: what it takes, a scraper takes.
 */
#ifndef TESTS_UNIT_SERVICE_EXPOSITION_H
#define TESTS_UNIT_SERVICE_EXPOSITION_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Checks the whole text: every line is a comment or a sample and ends in a newline; HELP and TYPE, once each,
 * come before a family's samples, which stand together; names, labels, escapes and numbers are well-formed;
 * no sample comes twice; a counter is a number of at least 0; a histogram's buckets rise in their bounds,
 * never fall in their counts, end in +Inf, and agree with its _count, and it has a _sum.
 *
 * why  what is wrong, with its line, at least 256 bytes
 *
 * True: nothing is.
 */
bool exposition_check(const char *text, char *why, size_t size);

#endif
