#!/usr/bin/env bash
# Tests scripts/layer and the ping in the layer: the same inputs give the same bytes, what is refused leaves
# nothing, and `ping -t ADDRESS` runs as the first process of a container whose network is down, until a
# signal. What needs root says so and is left out; exit status 77 when nothing could be tried.
#
#   tests/e2e/layer_test.sh SCRIPT PING
set -euo pipefail

# In a mount namespace of its own, so that even a killed test leaves no mount behind.
if [ "$(id -u)" -eq 0 ] && [ -z "${LAYER_TEST_INSIDE-}" ]; then
    LAYER_TEST_INSIDE=1 exec unshare --mount "$0" "$@"
fi

script=$1 ping=$2
for program in mkfs.erofs busybox sha256sum unshare; do
    command -v "$program" >/dev/null || { echo "skipped: $program is missing"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

check() { # check WHAT COMMAND...: the command succeeds
    local what=$1
    shift
    if "$@"; then
        echo "ok: $what"
    else
        echo "FAILED: $what"
        failures=$((failures + 1))
    fi
}

equal() { # equal GOT EXPECTED
    [ "$1" = "$2" ] || { echo "  got '$1', expected '$2'"; return 1; }
}

status_of() { # status_of COMMAND...: prints its exit status
    local status=0
    "$@" >"$work/out" 2>&1 || status=$?
    echo "$status"
}

layer_is_reproducible_and_prints_its_digest_last() {
    mkdir "$work/other"
    local first second
    first=$("$script" --ping "$ping" "$work/a.erofs" | tail -n 1)
    second=$(umask 077 && TMPDIR=$work/other "$script" --ping "$ping" "$work/b.erofs" | tail -n 1)
    equal "$first" "$(sha256sum <"$work/a.erofs" | cut -d ' ' -f 1)" && equal "$second" "$first" &&
        cmp "$work/a.erofs" "$work/b.erofs" && equal "$(ls -A "$work/other")" ''
}

refusals_leave_nothing() {
    mkdir "$work/empty"
    cp "$(command -v cat)" "$work/dynamic"
    equal "$(status_of "$script")" 2 && equal "$(status_of "$script" --what "$work/empty/x")" 2 &&
        equal "$(status_of "$script" --ping "$work/missing" "$work/empty/x")" 1 &&
        equal "$(status_of "$script" --ping "$work/dynamic" "$work/empty/x")" 1 &&
        equal "$(status_of "$script" --ping "$ping" "$work/missing/x")" 1 && equal "$(ls -A "$work/empty")" ''
}

ping_refuses_bad_command_lines() {
    equal "$(status_of "$ping")" 2 && equal "$(status_of "$ping" -t)" 2 &&
        equal "$(status_of "$ping" -t 127.0.0.1 10.0.0.1)" 2 && equal "$(status_of "$ping" -x 127.0.0.1)" 2 &&
        equal "$(status_of "$ping" -n 0 127.0.0.1)" 2 && equal "$(status_of "$ping" -n 1x 127.0.0.1)" 2 &&
        equal "$(status_of "$ping" -t no.such.host)" 2
}

# Runs `ping -t 127.0.0.1` from the mounted layer as PID 1 without a network, lets it say twice that it gets
# nowhere, and sends the signal.
ping_ends_with() { # ping_ends_with SIGNAL NUMBER
    local status=0 starter pid='' first='' line='' rest
    exec 3< <(exec unshare --net --pid --fork --kill-child --root "$work/root" /bin/ping -t 127.0.0.1 2>&1)
    starter=$!
    read -rt 30 -u 3 first || true
    for _ in 1 2; do
        read -rt 30 -u 3 line || true
        case "$line" in
        'Destination 127.0.0.1 unreachable: '*) ;;
        *)
            echo "  ping said '$first', '$line'"
            kill -KILL "$starter"
            return 1
            ;;
        esac
    done
    read -r pid _ <"/proc/$starter/task/$starter/children"
    kill -s "$1" "$pid"
    rest=$(cat <&3)
    exec 3<&-
    wait "$starter" || status=$?
    equal "$status" "$((128 + $2))" && equal "$first" 'Pinging 127.0.0.1 with 32 bytes of data:' &&
        grep -q '^Packets: Sent = [0-9]*, Received = 0' <<<"$rest"
}

programs_of_the_layer_run() {
    local applet
    for applet in sh ls cat echo sleep mkdir true false id env kill head dd touch stat ps; do
        equal "$(readlink "$work/root/bin/$applet")" busybox || return 1
    done
    [ ! -L "$work/root/bin/ping" ] && cmp "$ping" "$work/root/bin/ping" || return 1
    # shellcheck disable=SC2016 # the shell in the layer expands it
    equal "$(chroot "$work/root" /usr/bin/env -i /bin/sh -c '
            cd / && id -u && echo $(ls -d tmp proc sys dev) && stat -c %a /tmp && head -n 1 /etc/passwd | cat')" \
        "$(printf '%s\n' 0 'dev proc sys tmp' 1777 'root:x:0:0:root:/root:/bin/sh')"
}

check 'the layer is reproducible and its digest is printed last' layer_is_reproducible_and_prints_its_digest_last
check 'what the script refuses leaves nothing' refusals_leave_nothing
check 'ping refuses bad command lines' ping_refuses_bad_command_lines

if [ "$(id -u)" -ne 0 ]; then
    echo 'left out: to mount the layer and run its programs needs root'
elif ! { mkdir "$work/root" && mount -t erofs -o ro,loop "$work/a.erofs" "$work/root"; }; then
    echo 'left out: this machine cannot mount EROFS from a loop device'
else
    trap 'umount "$work/root"; rm -rf "$work"' EXIT
    check 'the programs of the layer run' programs_of_the_layer_run
    check 'ping as PID 1 ends with SIGTERM' ping_ends_with TERM 15
    check 'ping as PID 1 ends with SIGINT' ping_ends_with INT 2
    check 'ping as PID 1 ends with SIGQUIT' ping_ends_with QUIT 3
    check 'ping as PID 1 ends with SIGHUP' ping_ends_with HUP 1
fi
[ "$failures" -eq 0 ]
