#!/usr/bin/env bash
# Holds the tables of tests/README.md to the tests: the weaknesses' has the rows 1 to 38, every row of either names a test
# or a reason, and each test that is named is there.
set -euo pipefail
cd "$(dirname "$0")"
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# table HEAD: the rows of the table whose first line begins so.
table() {
    sed -n "/^| $1 /,/^\$/p" README.md
}

# names_check TABLE: a case is a function of a test; a program has a line of its own in a CMakeLists.txt.
names_check() {
    local name count=0
    while read -r name; do
        count=$((count + 1))
        grep -rqE "^$name\(void \*\*state\)" --include='*.c' . || grep -rqE "^ +\{\"$name\", " --include='*.c' . ||
            grep -rqE "^add_(unit_test|fuzz_target)\($name( |$)" --include=CMakeLists.txt . || fail "there is no test '$name'"
    done < <(grep -oE '`[a-z0-9_]+`' <<<"$1" | tr -d '`' | sort -u)
    [ "$count" -gt "$2" ] || fail "too few tests are named: $count"
}

weaknesses=$(table '#')
numbers=$(sed -n 's/^| \([0-9]*\) | .*/\1/p' <<<"$weaknesses" | tr '\n' ' ')
[ "$numbers" = "$(seq -s ' ' 1 38) " ] || fail "the rows are not 1 to 38: $numbers"
names_check "$weaknesses" 38

faults=$(table Fault)
rows=$(grep -c '^| ' <<<"$faults")
[ "$rows" -eq 13 ] || fail "the faults have $((rows - 1)) rows, not 12"
grep -vE '`|^\|-|^\| Fault' <<<"$faults" | grep -q . && fail "a fault names no test"
names_check "$faults" 12

[ "$failures" -eq 0 ] && echo "ok: 38 weaknesses and 12 faults"
