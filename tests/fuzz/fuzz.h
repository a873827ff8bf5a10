/* What a fuzz target defines: libFuzzer's entry, which replay.c calls too. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Runs one input; aborts when a promise is broken. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#endif
