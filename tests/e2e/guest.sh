# A guest of real programs for shell tests: gcs-inbox and gcs-sidecar over ipc:// in a directory of their own, which
# goes when the script ends. Sourced, from the root of the source:
#
#   . tests/e2e/guest.sh && guest_prepare BUILD_DIR     sets bin, dir; makes $dir/layers/base.erofs
#   start_inbox; start_sidecar                          once $dir/policy.rego is there; sets inbox, sidecar
#
# shellcheck shell=bash
# shellcheck disable=SC2034 # its variables are for whoever sources it
patience_s=60
pids=()

needs_real_containers() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "skipped: real containers need root"
        exit 77
    fi
    if ! losetup -f >/dev/null 2>&1; then
        echo "skipped: this machine has no loop devices"
        exit 77
    fi
}

clean_up() {
    local status=$? i
    trap '' INT TERM
    set +e
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill -TERM "${pids[i]}" 2>/dev/null
        timeout 30 tail --pid="${pids[i]}" -f /dev/null || kill -KILL "${pids[i]}" 2>/dev/null
    done
    wait
    if [ "$status" -ne 0 ]; then
        tail -n 20 "$dir"/*.log
    fi
    if awk -v dir="$dir/" 'index($2, dir) == 1 { found = 1 } END { exit !found }' /proc/mounts; then
        echo "FAILED: mounts are left in $dir"
        exit 1
    fi
    rm -rf --one-file-system "$dir"
    exit "$status"
}

guest_prepare() { # guest_prepare BUILD_DIR
    bin=$1/bin
    dir=$(mktemp -d)
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir "$dir"/{layers,sandbox,volumes}
    mkdir -m 0700 "$dir/inbox"
    scripts/layer --ping "$1/tests/layer_ping" "$dir/layers/base.erofs" >/dev/null
}

fail() {
    echo "FAILED: $*"
    exit 1
}

expect() { # expect WHAT GOT WANTED
    [ "$2" = "$3" ] || fail "$1: got '$2', expected '$3'"
}

await() { # await WHAT COMMAND...
    local what=$1 deadline=$((SECONDS + patience_s))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what did not happen within $patience_s s"
        sleep 0.05
    done
}

gcsctl() {
    "$bin/gcsctl" --connect "ipc://$dir/sidecar.sock" --quiet "$@"
}

health() {
    gcsctl --json health 2>/dev/null || true
}

connected() {
    grep -q '"inbox_connected": *true' < <(health)
}

start_inbox() {
    setsid "$bin/gcs-inbox" --run-dir "$dir/inbox" --listen "ipc://$dir/inbox.sock" --sandbox-root "$dir/sandbox" \
        >>"$dir/inbox.log" 2>&1 </dev/null &
    inbox=$! pids+=("$!")
}

start_sidecar() {
    setsid "$bin/gcs-sidecar" --trusted-listen "ipc://$dir/sidecar.sock" --inbox "ipc://$dir/inbox.sock" \
        --sandbox-root "$dir/sandbox" --layer-dir "$dir/layers" --volume-dir "$dir/volumes" \
        --host-data "$(sha256sum <"$dir/policy.rego" | cut -d ' ' -f 1)" >>"$dir/sidecar.log" 2>&1 </dev/null &
    sidecar=$! pids+=("$!")
    await "the connection to the inbox" connected
}
