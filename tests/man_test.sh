#!/usr/bin/env bash
# Holds the manual pages to the programs: mandoc has nothing to say against them, every command and option of a
# program's --help is in its page, and every option in the page is one that a --help names.
#
#   tests/man_test.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1/bin
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

command -v mandoc >/dev/null || {
    echo "mandoc is missing: install the package of that name"
    exit 77
}

options() {
    grep -oE -- '(^|[^a-z-])--[a-z][a-z-]*' | grep -oE -- '--[a-z-]+' | sort -u
}

# The names of a program's commands, one or two words a line; nothing for a program without any.
commands() {
    "$bin/$1" --help 2>&1 | sed -n 's/^  \([a-z][a-z ]*[a-z]\)  .*/\1/p'
}

help_of() {
    local command
    "$bin/$1" --help
    commands "$1" | while read -r command; do
        # shellcheck disable=SC2086 # a command may be two words
        "$bin/$1" $command --help
    done
}

for page in man/*.[18]; do
    name=$(basename "${page%.*}")
    said=$(mandoc -T lint -W warning "$page" 2>&1) || fail "$page: $said"
    text=$(mandoc -T ascii "$page" | sed 's/.\x08//g')
    help=$(help_of "$name" 2>&1)
    # The pages of the two tools name options of gcs-sidecar as well.
    known=$( (cat <<<"$help" && "$bin/gcs-sidecar" --help) | options)
    for option in $(options <<<"$help"); do
        grep -qE -- "$option([^a-z-]|\$)" <<<"$text" || fail "$page does not tell of $option"
    done
    for option in $(options <<<"$text"); do
        grep -qxF -- "$option" <<<"$known" || fail "$page tells of $option, which no --help names"
    done
    while read -r command; do
        grep -qE "(^|[ ,])$command([ ,]|\$)" <<<"$text" || fail "$page does not tell of the command '$command'"
    done < <(commands "$name")
done

[ "$(commands gcsctl | wc -l)" -gt 20 ] || fail "the commands of gcsctl were not found"
[ "$failures" -eq 0 ] && echo "ok: the manual pages are as the programs"
