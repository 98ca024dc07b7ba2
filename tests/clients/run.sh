#!/usr/bin/env bash
# The registry, used by the clients that people have: each file beside this one is a client.
#
#   tests/clients/run.sh [--binary FILE] [CLIENT…]
#
# Starts the binary (target/debug/distribution, unless another is named) on a spare port with SQLite in a directory of
# its own, registers two users, makes content of this machine's files, and lets each client loose on it. A client that
# is not installed is skipped, and counted as skipped. The last line is the count; the exit status is 1 if a check failed.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
binary=$here/../../target/debug/distribution
[ "${1:-}" != --binary ] || { binary=$2; shift 2; }
clients=("$@")
[ ${#clients[@]} -gt 0 ] || clients=(readme skopeo umoci oras oras_cli crane regctl helm podman containerd docker nginx large)
[ -x "$binary" ] || { echo "$binary is not there: run \`cargo build\`" >&2; exit 1; }

root=$(mktemp -d "${TMPDIR:-/tmp}/distribution-clients.XXXXXX")
chmod 711 "$root"
WORK=$root
CLIENT=registry
RESULTS=$root/results
: >"$RESULTS"
. "$here/lib.sh"
. "$here/content.sh"
trap 'stop_started; rm -rf "$root"' EXIT
trap 'exit 130' INT TERM

# The registry runs as somebody without rights where it can, from a copy that everybody can read.
cp "$binary" "$root/distribution"
chmod 755 "$root/distribution"
mkdir "$root/registry"
as_nobody=()
if [ "$(id -u)" = 0 ]; then
  chown 65534:65534 "$root/registry"
  as_nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
fi

port=$(spare_port)
export REGISTRY=127.0.0.1:$port ALICE=alice BOB=bob PASSWORD='correct horse, battery' CONTENT=$root/content RESULTS
export BINARY=$root/distribution
(
  cd "$root/registry" &&
    exec env -i PATH="$PATH" RUST_LOG=info "${as_nobody[@]}" "$BINARY" --port "$port" --root "$root/registry/blobs" \
      --database-url "sqlite:$root/registry/registry.db"
) >"$root/registry.log" 2>&1 &
registry=$!
STARTED+=("$registry")

if ! until_true 30 curl -fsS "http://$REGISTRY/readyz" || ! kill -0 "$registry"; then
  failed "it starts" "$root/registry.log"
  exit 1
fi
for user in "$ALICE" "$BOB"; do
  check "registers $user" curl -fsS -X POST -H 'Content-Type: application/json' \
    -d "{\"username\":\"$user\",\"password\":\"$PASSWORD\"}" "http://$REGISTRY/api/v1/users"
done

mkdir "$CONTENT"
make_content "$CONTENT" >"$root/content.log" 2>&1 || { failed "makes content" "$root/content.log"; exit 1; }

for client in "${clients[@]}"; do
  mkdir "$root/$client"
  begun=$SECONDS
  WORK=$root/$client bash "$here/$client.sh"
  printf '         %s took %s s\n' "$client" $((SECONDS - begun))
  rm -rf "${root:?}/$client"
done

if kill -0 "$registry" 2>/dev/null; then ok "still runs"; else failed "still runs" "$root/registry.log"; fi
no_faults "$root/registry.log"
kill -TERM "$registry"
wait "$registry"
equal "ends well when it is told to" 0 $?
[ -z "${KEEP_LOG:-}" ] || cp "$root/registry.log" "$KEEP_LOG"

count() { grep -cx "$1" "$RESULTS"; }
printf 'clients: %s passed, %s failed, %s skipped\n' "$(count ok)" "$(count FAILED)" "$(count skipped)"
[ "$(count FAILED)" = 0 ]
