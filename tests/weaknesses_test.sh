#!/usr/bin/env bash
# Holds the table of weaknesses in tests/README.md to the tests: it has the rows 1 to 38, each names a test or a reason,
# and each test it names is there.
set -euo pipefail
cd "$(dirname "$0")"
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

table=$(sed -n '/^| # | Weakness/,/^$/p' README.md)
numbers=$(sed -n 's/^| \([0-9]*\) | .*/\1/p' <<<"$table" | tr '\n' ' ')
[ "$numbers" = "$(seq -s ' ' 1 38) " ] || fail "the rows are not 1 to 38: $numbers"
names=$(grep -oE '`[a-z0-9_]+`' <<<"$table" | tr -d '`' | sort -u)
[ "$(wc -l <<<"$names")" -gt 38 ] || fail "too few tests are named"
while read -r name; do
    # A case is a function of a test; a program has a line of its own in a CMakeLists.txt.
    grep -rqE "^$name\(void \*\*state\)" --include='*.c' . ||
        grep -rqE "^add_(unit_test|fuzz_target)\($name( |$)" --include=CMakeLists.txt . || fail "there is no test '$name'"
done <<<"$names"
[ "$failures" -eq 0 ] && echo "ok: 38 rows, $(wc -l <<<"$names") tests"
