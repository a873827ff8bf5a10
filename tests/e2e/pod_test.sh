#!/usr/bin/env bash
# A pod on real runc, driven as a host drives it: two containers that share a volume and a sandbox directory see each
# other's files, a third one with a directory of its own does not; the shared directory goes with the last of the two; a
# sidecar that is killed is followed by one that goes on with what runs; and an inbox that is killed is noticed, reported and
# replaced without a restart of the sidecar.
#
#   tests/e2e/pod_test.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
export LC_ALL=C.UTF-8

. tests/e2e/guest.sh
needs_real_containers
guest_prepare "$1"

# config NAME SOURCE [LATER]: a container that sleeps and has SOURCE at /data; what the policy is made from has LATER at
# /later, too.
config() {
    local file=$1.json more=
    for _ in 1 2; do
        cat >"$dir/$file" <<JSON
{"metadata": {"name": "$1"}, "image": {"image": "pod"}, "command": ["sleep", "1000"], "envs": [{"key": "NAME", "value": "$1"}],
 "mounts": [{"container_path": "/data", "host_path": "$2", "propagation": 0}$more]}
JSON
        file=$1-all.json
        [ $# -lt 3 ] || more=", {\"container_path\": \"/later\", \"host_path\": \"$3\", \"propagation\": 0}"
    done
}

# bring_up NAME DIGIT: root, create, start; the id is 64 times the digit.
bring_up() {
    local id
    id=$(printf "$2%.0s" {1..64})
    gcsctl scratch add "scratch-$1" >/dev/null
    gcsctl combine "$id" "scratch-$1" pod >/dev/null
    gcsctl create "$dir/$1.json" --id "$id" >/dev/null
    gcsctl start "$id" >/dev/null
}

take_down() {
    local id
    id=$(printf "$2%.0s" {1..64})
    gcsctl shutdown --force "$id" >/dev/null
    gcsctl wait "$id" >/dev/null 2>&1 || true
    gcsctl delete "$id" >/dev/null
    gcsctl uncombine "$id" "scratch-$1" pod >/dev/null
    gcsctl scratch remove "scratch-$1" >/dev/null
}

run_in() { # run_in NAME DIGIT ARGS...
    local id name=$1
    id=$(printf "$2%.0s" {1..64})
    shift 2
    gcsctl exec --config "$dir/$name.json" "$id" -- "$@"
}

config a sandbox:///pod/shared
config b sandbox:///pod/shared
config c sandbox:///pod/own sandbox:///pod/later
options=(--layer "$dir/layers/base.erofs" --exec "touch /data/from-a" --exec "ls /data" --exec "cat /proc/1/environ"
    --exec "ls /security-context" --exec "cat /proc/self/environ"
    --exec "cat /security-context/security-policy-base64" --exec "rm /security-context/security-policy-base64"
    --exec "touch /security-context/forged" --exec "touch /later/file" --exec "ls /later")
"$bin/gcs-policy" generate "${options[@]}" --container "$dir/a-all.json" --container "$dir/b-all.json" \
    --container "$dir/c-all.json" >"$dir/policy.rego"
start_inbox
start_sidecar
gcsctl policy set "$dir/policy.rego" >/dev/null
gcsctl layers add --id "$(printf '1%.0s' {1..64})" pod base.erofs >/dev/null

bring_up a 1
bring_up b 2
bring_up c 3
run_in a 1 touch /data/from-a
expect "what b sees in the shared directory" "$(run_in b 2 ls /data)" from-a
expect "what c sees in its own" "$(run_in c 3 ls /data)" ''
echo "ok: containers that name the same source share it, others do not"

for process in 1 self; do # init, and one that is run beside it
    expect "what process $process is told" "$(run_in a 1 cat /proc/$process/environ | tr '\0' '\n' | grep ^UVM_)" \
        UVM_SECURITY_CONTEXT_DIR=/security-context
done
expect "what is in it" "$(run_in a 1 ls /security-context)" security-policy-base64
expect "the policy that a finds" "$(run_in a 1 cat /security-context/security-policy-base64)" \
    "$(base64 -w 0 "$dir/policy.rego")"
run_in a 1 touch /security-context/forged 2>/dev/null && fail "a can add to its security context"
run_in a 1 rm /security-context/security-policy-base64 2>/dev/null && fail "a can remove its policy"
expect "the policy that b finds" "$(run_in b 2 cat /security-context/security-policy-base64)" \
    "$(base64 -w 0 "$dir/policy.rego")"
echo "ok: a container finds the policy it runs under, and cannot change it"

take_down a 1
expect "the shared directory after its first holder" "$(ls "$dir/sandbox/pod/shared")" from-a
expect "what b still sees" "$(run_in b 2 ls /data)" from-a
take_down b 2
expect "the sandbox after the last holder of the shared directory" "$(ls "$dir/sandbox/pod")" own
echo "ok: the shared directory goes with its last holder, contents and all"

# The host hears nothing of c from before: what it is told after the restart is all there is.
gcsctl events >/dev/null
before=$(run_in c 3 cat /proc/1/environ | sha256sum)
kill -KILL "$sidecar"
wait "$sidecar" 2>/dev/null || true
start_sidecar
gcsctl policy set "$dir/policy.rego" >/dev/null
expect "what is told of c" "$(gcsctl events | grep 3333 | grep -v PROCESS | cut -d ' ' -f 2 | paste -sd ' ')" 'CREATED STARTED'
expect "c's init" "$(run_in c 3 cat /proc/1/environ | sha256sum)" "$before"
c=$(printf '3%.0s' {1..64})
gcsctl mount "$c" sandbox:///pod/elsewhere /elsewhere >/dev/null 2>&1 && fail "a mount beyond the policy"
gcsctl mount "$c" sandbox:///pod/later /later >/dev/null
run_in c 3 touch /later/file
expect "the directory of c's new mount" "$(ls "$dir/sandbox/pod/later")" file
take_down c 3
expect "the sandbox after the last container" "$(ls -A "$dir/sandbox")" ''
expect "c's end" "$(gcsctl events | grep -c 'FORCED_EXIT 3333')" 1
echo "ok: after a killed sidecar a new one goes on with the container that runs, by the same policy"

bring_up c 4
kill -KILL "$inbox"
wait "$inbox" 2>/dev/null || true
await "the notice of the inbox's death" sh -c '! "$@" | grep -q "\"inbox_connected\": *true"' - \
    "$bin/gcsctl" --connect "ipc://$dir/sidecar.sock" --json health
start_inbox
await "the connection to the new inbox" connected
events=$(gcsctl --json events)
expect "unexpected exits of c" "$(grep -c 'UNEXPECTED_EXIT.*4444' <<<"$events" || grep -c '4444.*UNEXPECTED_EXIT' <<<"$events")" 1
kill -0 "$sidecar" || fail "the sidecar ended with the inbox"
gcsctl delete "$(printf '4%.0s' {1..64})" >/dev/null
gcsctl uncombine "$(printf '4%.0s' {1..64})" scratch-c pod >/dev/null
gcsctl scratch remove scratch-c >/dev/null
gcsctl layers remove pod >/dev/null
expect "the sandbox in the end" "$(ls -A "$dir/sandbox")" ''
expect "health" "$(grep -o '"inconsistent": *[a-z]*' <<<"$(health)" | tr -d ' ')" '"inconsistent":false'
echo "ok: a killed inbox is noticed, its container reported and taken apart, the sidecar goes on"
