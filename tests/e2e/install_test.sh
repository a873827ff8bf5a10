#!/usr/bin/env bash
# Tests `cmake --install` into a prefix that the build did not know of: the programs run and tell their version, and
# a client is built from what is installed and nothing else, by pkg-config.
#
#   tests/e2e/install_test.sh BUILD-DIRECTORY VERSION
set -euo pipefail
build=$1 version=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "FAILED: $*"
    exit 1
}

cmake --install "$build" --prefix "$work/prefix" >"$work/log" 2>&1 || fail "$(cat "$work/log")"

for daemon in gcs-sidecar gcs-inbox; do
    told=$("$work/prefix/sbin/$daemon" --version) || fail "$daemon --version"
    [ "$told" = "$daemon $version" ] || fail "$daemon --version told '$told'"
done
for tool in gcsctl gcs-policy; do
    "$work/prefix/bin/$tool" --help >/dev/null || fail "$tool --help"
done

cat >"$work/client.c" <<'SOURCE'
#include <gcs.h>
#include <stdio.h>

int
main(void)
{
    struct gcs_error err = {0};
    struct gcs_connection *conn = NULL;
    if (gcs_connect("nowhere", NULL, &conn, &err) != GCS_INVALID_ARGUMENT)
        return 1;
    printf("%s\n", gcs_status_name(err.status));
    gcs_error_clear(&err);
    return 0;
}
SOURCE
PKG_CONFIG_PATH=$(dirname "$(find "$work/prefix" -name gcs.pc)")
export PKG_CONFIG_PATH
read -ra flags < <(pkg-config --cflags --libs gcs)
cc -Wall -Werror -o "$work/client" "$work/client.c" "${flags[@]}" || fail "a client does not build"
told=$(LD_LIBRARY_PATH=$(pkg-config --variable=libdir gcs) "$work/client") || fail "the client does not run"
[ "$told" = INVALID_ARGUMENT ] || fail "the client told '$told'"
echo "ok: what is installed is complete"
