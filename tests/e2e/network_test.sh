#!/usr/bin/env bash
# `gcsctl run --network` on real runc, as a host does it: the container is in the namespace that was made, has the address
# that was asked for, reaches the guest and is reached from it; while it is there the namespace stays, and in the end
# nothing is left. The test has a network namespace of its own, which is the guest's: nothing touches the machine's.
#
#   tests/e2e/network_test.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8

. tests/e2e/guest.sh
needs_real_containers
[ -n "${NETWORK_TEST_INSIDE-}" ] || NETWORK_TEST_INSIDE=1 exec unshare --net -- "tests/e2e/network_test.sh" "$@"
guest_prepare "$1"
ns=11111111-2222-3333-4444-555555555555
other=99999999-2222-3333-4444-555555555555
adapter=aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee

# Tells what it sees, and then stays as long as its input does.
look='ip -o -4 addr show dev eth0 | tr -s " " | cut -d " " -f 4
cat /sys/class/net/eth0/address
ip -4 route show default | cut -d " " -f 1-3
readlink /proc/self/ns/net
ping -c 1 -W 20 10.77.0.1 >/dev/null && echo reached
read -r _
exit 7'
escaped=${look//\"/\\\"} # as JSON has it: there is no backslash in it
cat >"$dir/net.json" <<JSON
{"metadata": {"name": "net"}, "image": {"image": "net"}, "stdin": true,
 "command": ["sh", "-c", "${escaped//$'\n'/\\n}"]}
JSON
"$bin/gcs-policy" generate --layer "$dir/layers/base.erofs" --container "$dir/net.json" >"$dir/policy.rego"
start_inbox
start_sidecar

status=0
gcsctl run "$dir/net.json" --policy "$dir/policy.rego" --layer base.erofs --network $other </dev/null \
    >"$dir/run.log" 2>&1 || status=$?
expect "the exit status of a run in a namespace that is not there" "$status" 125
grep -q "there is no network namespace '$other'" "$dir/run.log" || fail "it does not say why: $(cat "$dir/run.log")"
expect "containers after it" "$(grep -o '"containers": *[0-9]*' <<<"$(health)" | tr -dc 0-9)" 0

gcsctl netns add $ns >/dev/null
gcsctl network add $ns $adapter --mac 02:00:00:00:00:07 --address 10.77.0.2/24 --guest-address 10.77.0.1/24 \
    --route 0.0.0.0/0,10.77.0.1 >/dev/null
coproc RUN {
    exec "$bin/gcsctl" --connect "ipc://$dir/sidecar.sock" --quiet run "$dir/net.json" --layer base.erofs --network $ns \
        2>"$dir/run.log"
}
# shellcheck disable=SC2153 # set by coproc
pids+=("$RUN_PID")
run=$RUN_PID
exec 3<&"${RUN[0]}" 4>&"${RUN[1]}"
exec {RUN[0]}<&- {RUN[1]}>&-
for wanted in 10.77.0.2/24 02:00:00:00:00:07 'default via 10.77.0.1' \
    "net:[$(stat -L -c %i "$dir/inbox/netns/$ns")]" reached; do
    IFS= read -r -t $patience_s -u 3 line || fail "the container did not say '$wanted': $(cat "$dir/run.log")"
    expect "what the container sees" "$line" "$wanted"
done
busybox ping -c 1 -W 20 10.77.0.2 >/dev/null || fail "the guest does not reach the container"
echo "ok: a container is in the namespace, with its address, and both ends reach each other"

status=0
gcsctl netns remove $ns >"$dir/refused.log" 2>&1 || status=$?
expect "the exit status of removing a namespace in use" "$status" 125
grep -q "1 containers are in it" "$dir/refused.log" || fail "it does not say why: $(cat "$dir/refused.log")"
exec 4>&- 3<&-
status=0
wait "$run" || status=$?
expect "the exit status of the run" "$status" 7
gcsctl network remove $ns $adapter >/dev/null
gcsctl netns remove $ns >/dev/null
expect "the guest's adapters in the end" "$(ip -o link | grep -c ' gcs' || true)" 0
expect "the namespaces in the end" "$(ls -A "$dir/inbox/netns")" ''
expect "the sandbox in the end" "$(ls -A "$dir/sandbox")" ''
expect "mounts of namespaces in the end" "$(grep -c "$dir/inbox/netns/" /proc/mounts || true)" 0
echo "ok: a namespace in use stays, and in the end nothing is left"
