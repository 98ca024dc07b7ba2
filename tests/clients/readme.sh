#!/usr/bin/env bash
# README.md, as a new user reads it: a registry without any configuration, and the commands of the page, one after the
# other, with nothing changed but the port.
CLIENT=readme
. "$(dirname "$0")/lib.sh"
needs curl jq
readme=$(cd "$(dirname "$0")/../.." && pwd)/README.md

# As somebody who may write nowhere but here: the default directory cannot be had, so the registry lives in ./data.
home=$WORK/home
mkdir "$home"
somebody=()
if [ "$(id -u)" = 0 ]; then
  chown 65533:65533 "$home"
  somebody=(setpriv --reuid 65533 --regid 65533 --clear-groups)
fi
port=$(spare_port)
(cd "$home" && exec env -i PATH="$PATH" HOME="$home" "${somebody[@]}" "$BINARY" --port "$port") >"$WORK/registry.log" 2>&1 &
STARTED+=($!)
if ! until_true 30 curl -fsS "http://127.0.0.1:$port/readyz"; then
  failed "it starts without configuration, as any user" "$WORK/registry.log"
  exit 0
fi
ok "it starts without configuration, as any user"
if [ "$(id -u)" = 0 ]; then
  check "and lives in ./data" test -d "$home/data"
  shows "which it says" 'data' cat "$WORK/registry.log"
fi

# walk: the blocks that are marked for it, as one script; any request that is refused ends it.
walk() {
  {
    echo 'set -euo pipefail; curl() { command curl --silent --show-error --fail-with-body "$@"; }'
    awk '/^<!-- walk -->$/ { marked = 1; next } marked && /^```sh$/ { printing = 1; next } /^```$/ { marked = printing = 0 } printing' "$readme"
  } | sed "s/127\.0\.0\.1:8968/127.0.0.1:$port/g" >"$WORK/walk.sh"
  (cd "$WORK" && bash "$WORK/walk.sh")
}
check "the page's commands work, one after the other" walk
cp "$LOG" "$WORK/walked"
shows "the image that they pushed has its tag" '\{"name":"alice/greeting","tags":\["v1"\]\}' cat "$WORK/walked"
manifest() { curl -fsS "http://127.0.0.1:$port/v2/alice/greeting/manifests/v1"; }
check "and is public" manifest
equal "byte for byte what was pushed" "$(sha256sum <"$WORK/manifest.json")" "$(manifest | sha256sum)"
layer=$(jq -r '.layers[0].digest' "$WORK/manifest.json")
equal "with its file" "hello, world" "$(curl -fsS "http://127.0.0.1:$port/v2/alice/greeting/blobs/$layer")"
no_faults "$WORK/registry.log"
