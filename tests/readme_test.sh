#!/usr/bin/env bash
# Holds the README to the programs: its table of requests is the dispatch table, every option it names is one that a
# program's --help or a script knows, and every path it names exists.
#
#   tests/readme_test.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1/bin
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

# "name<TAB>policy point" of each row, from the source: adjacent string literals are one text.
dispatch_rows() {
    sed -n 's/^ *REFUSED(.*, "\([^"]*\)"),$/\1\tnone: refused as not implemented/p' server/sidecar/methods.c
    { tr '\n' ' ' <server/sidecar/methods.c && echo; } | sed 's/{\.arm = /\n/g' | sed 's/"  *"//g' |
        sed -n 's/.*\.name = "\([^"]*\)".*\.policy_point = *"\([^"]*\)".*/\1\t\2/p'
}

rows=0
while IFS=$'\t' read -r name point; do
    rows=$((rows + 1))
    grep -qF "| $name | $point |" README.md || fail "README.md has no row '| $name | $point |'"
done < <(dispatch_rows)
told=$(sed -n '/^| Request | Decided by/,/^$/p' README.md | grep -c '^| [A-Z]' || true)
[ "$rows" -gt 10 ] || fail "only $rows rows were found in the dispatch table"
[ "$told" -eq $((rows + 1)) ] || fail "README.md tells of $((told - 1)) requests, the dispatch table has $rows"

help=$({
    for program in gcs-sidecar gcs-inbox gcs-bench gcsctl gcs-policy; do "$bin/$program" --help; done
    for command in run exec kill events call top; do "$bin/gcsctl" "$command" --help; done
    "$bin/gcsctl" network add --help
    for command in generate eval explain replay; do "$bin/gcs-policy" "$command" --help; done
} 2>&1)
while read -r option; do
    grep -qE -- "$option([ =,]|$)" <<<"$help" || fail "README.md names $option, which no --help does"
done < <(grep -v '^cmake ' README.md | grep -oE -- '(^|[ `(])--[a-z][a-z-]+' | grep -oE -- '--[a-z-]+' | sort -u)

while read -r path; do
    [ -e "$path" ] || fail "README.md names $path, which is not there"
done < <(grep -oE '(scripts|server|client|tests|bench|proto)/[A-Za-z0-9_./-]*[A-Za-z0-9_/]' README.md | sort -u)

[ "$failures" -eq 0 ] && echo "ok: $rows requests, all options and paths are as README.md says"
