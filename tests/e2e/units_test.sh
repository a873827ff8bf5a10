#!/usr/bin/env bash
# The systemd units as they are installed: systemd takes them, they name the programs beside them, and nothing in them
# gives a service a mount namespace of its own.
#
#   tests/e2e/units_test.sh BUILD_DIR
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
failures=0

fail() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

command -v systemd-analyze >/dev/null || {
    echo "systemd-analyze is missing: install the package systemd"
    exit 77
}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cmake --install "$build" --prefix "$place/usr" >"$place/log" || fail "cmake --install: $(tail -3 "$place/log")"
units=$place/usr/lib/systemd/system

# Options that make systemd unshare the mount namespace (systemd.exec(5)).
unsharing='PrivateTmp|PrivateDevices|PrivateMounts|PrivateIPC|PrivateUsers|ProtectSystem|ProtectHome|ProtectProc|ProcSubset'
unsharing+='|ProtectKernelTunables|ProtectKernelModules|ProtectKernelLogs|ProtectControlGroups|ProtectClock|ProtectHostname'
unsharing+='|ReadWritePaths|ReadOnlyPaths|InaccessiblePaths|ExecPaths|NoExecPaths|BindPaths|BindReadOnlyPaths'
unsharing+='|TemporaryFileSystem|RootDirectory|RootImage|MountImages|ExtensionImages|MountFlags|DynamicUser|PrivateNetwork'
unsharing+='|LogNamespace|LoadCredential|SetCredential|StateDirectory|NetworkNamespacePath|IPCNamespacePath'

for name in gcs-inbox gcs-sidecar; do
    unit=$units/$name.service
    [ -f "$unit" ] || {
        fail "$unit was not installed"
        continue
    }
    grep -q "^ExecStart=$place/usr/sbin/$name " "$unit" || fail "$name.service starts something else"
    [ -x "$place/usr/sbin/$name" ] || fail "there is no $place/usr/sbin/$name"
    for setting in Type=notify WatchdogSec= Restart=on-failure RestartPreventExitStatus=64 RuntimeDirectory=gcs \
        RuntimeDirectoryMode=0700 RuntimeDirectoryPreserve=yes; do
        grep -q "^$setting" "$unit" || fail "$name.service has no $setting"
    done
    ! grep -E "^($unsharing)=" "$unit" || fail "$name.service would get a mount namespace of its own"
    # It knows of the manual pages and of the other unit only where they are installed.
    said=$(SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no --recursive-errors=no "$unit" 2>&1) ||
        fail "systemd-analyze verify $name.service: $said"
    [ -z "$said" ] || fail "systemd-analyze verify $name.service: $said"
done

# The test can fail.
sed 's/^Restart=.*/Restart=perhaps/' "$units/gcs-inbox.service" >"$place/broken.service"
said=$(systemd-analyze verify --man=no --recursive-errors=no "$place/broken.service" 2>&1 || true)
[ -n "$said" ] || fail "systemd-analyze verify takes what is no unit"

[ "$failures" -eq 0 ] && echo "ok: both units are as they should be"
