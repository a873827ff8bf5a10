/* A policy's text, byte by byte: mostly what does not parse. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/policy_load_check.h"

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    policy_load_check(bytes, size, POLICY_WINDOWS);
    policy_load_check(bytes, size, POLICY_LINUX);
    return 0;
}
