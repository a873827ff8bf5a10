#!/usr/bin/env bash
# Runs scripts/quickstart on the programs of a build: once to its end, and once for each of its steps and each ending
# signal, interrupted as soon as the step has shown. Whatever happens it leaves nothing behind and says the truth.
#
#   tests/e2e/quickstart_test.sh BUILD_DIR [STEP...]     interrupts it at these steps alone
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: the quickstart needs root"
    exit 77
fi
if ! losetup -f >/dev/null 2>&1; then
    echo "skipped: this machine has no loop devices"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work

leftovers() {
    find "$work" -mindepth 1 -maxdepth 1 ! -name out
    awk -v dir="$work/" 'index($2, dir) == 1' /proc/mounts
    pgrep -a -f -- "$work/" || true
}

expect() { # expect WHAT GOT WANTED
    if [ "$2" != "$3" ]; then
        printf 'FAILED: %s: got "%s", expected "%s"; the output was\n' "$1" "$2" "$3"
        cat "$work/out"
        exit 1
    fi
}

# interrupt SIGNAL STATUS STEP: runs it and sends the signal once a line that begins with STEP has been written.
interrupt() {
    local pid status=0 line
    coproc RUN { exec env --default-signal=HUP,INT,TERM scripts/quickstart --build "$build" 2>&1; }
    # shellcheck disable=SC2153 # set by coproc
    pid=$RUN_PID
    exec 3<&"${RUN[0]}"
    : >"$work/out"
    while IFS= read -r -t 60 -u 3 line; do
        printf '%s\n' "$line" >>"$work/out"
        case "$line" in "$3"*) kill -s "$1" "$pid" ;; esac
    done
    exec 3<&-
    wait "$pid" || status=$?
    expect "exit status after SIG$1 at '$3'" "$status" "$2"
    expect "ok after SIG$1 at '$3'" "$(grep -c '^quickstart: ok' "$work/out" || true)" 0
    expect "leftovers after SIG$1 at '$3'" "$(leftovers)" ''
    echo "ok: SIG$1 at '$3' leaves nothing"
}

# The terminal's Ctrl-C and a service manager's TERM go to the whole group, children included: here while the layer is
# being made, by a script with temporary files of its own.
interrupt_group() {
    local pid status=0 deadline=$((SECONDS + 60))
    setsid env --default-signal=HUP,INT,TERM scripts/quickstart --build "$build" >"$work/out" 2>&1 </dev/null &
    pid=$!
    until compgen -G "$work/gcs-quickstart.*/tmp.*" >/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || expect "the layer's stage" none one
    done
    kill -s TERM -- "-$pid"
    wait "$pid" || status=$?
    expect "exit status after SIGTERM to the group" "$status" 143
    expect "leftovers after SIGTERM to the group" "$(leftovers)" ''
    echo "ok: SIGTERM to the whole group while the layer is made leaves nothing"
}

build=$1
status=0
scripts/quickstart --build "$build" >"$work/out" 2>&1 </dev/null || status=$?
expect "exit status" "$status" 0
expect "last line" "$(tail -n 1 "$work/out")" "quickstart: ok"
expect "leftovers" "$(leftovers)" ''
echo "ok: runs to its end and leaves nothing"
steps=("${@:2}")
[ "${#steps[@]}" -gt 0 ] || steps=(layer: policy: guest: run: directory: exec: denied: removed:)
for step in "${steps[@]}"; do
    interrupt INT 130 "$step"
    interrupt TERM 143 "$step"
done
interrupt KILL 137 run: # the job sees that the waiting shell is gone
for _ in 1 2 3 4 5; do
    interrupt_group
done
# The script says why at its two shells. What that breaks is rare enough to pass all of the above.
handles='/^install_and_build()/,/^}/p; /^ended()/,/^}/p; /^trap .signal=/,$p'
expect "expansions of commands where signals are handled" \
    "$(sed -n "$handles" scripts/quickstart | grep -E '[$<>]\(|`' || true)" ''
echo "ok: the shell that handles signals expands no command"
