#!/usr/bin/env bash
# containerd, by ctr: what docker's newer image store and Kubernetes use. A daemon of our own; nothing is unpacked.
CLIENT=containerd
. "$(dirname "$0")/lib.sh"
needs containerd ctr jq
needs_root

cat >"$WORK/config.toml" <<TOML
version = 2
root = "$WORK/root"
state = "$WORK/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.restart"]
[grpc]
  address = "$WORK/containerd.sock"
TOML
containerd --config "$WORK/config.toml" >"$WORK/containerd.log" 2>&1 &
STARTED+=($!)
ctr() { command ctr --address "$WORK/containerd.sock" --namespace test "$@"; }
if ! until_true 60 ctr version; then
  failed "the daemon starts" "$WORK/containerd.log"
  exit 0
fi

login=(--plain-http --user "$ALICE:$PASSWORD")
app=$REGISTRY/alice/containerd

tar --create --file "$WORK/image.tar" --directory "$CONTENT/image" .
tar --create --file "$WORK/multi.tar" --directory "$CONTENT/multi" .
check "imports an image" ctr images import --no-unpack --index-name "$app:v1" "$WORK/image.tar"
refused "a push without a login is refused" 'unauthorized|authorization failed|401|insufficient|denied' ctr images push --plain-http "$app:v1"
check "pushes it" ctr images push "${login[@]}" "$app:v1"
check "pushes it again" ctr images push "${login[@]}" "$app:v1"
check "imports an index of two platforms" ctr images import --all-platforms --no-unpack --index-name "$app:multi" "$WORK/multi.tar"
check "pushes the index" ctr images push "${login[@]}" "$app:multi"
check "removes both" ctr images remove --sync "$app:v1" "$app:multi"
forget() {
  local digest
  for digest in $(ctr content ls -q); do ctr content rm "$digest" || return 1; done
  [ -z "$(ctr content ls -q)" ]
}
check "forgets their content" forget
check "fetches the image" ctr content fetch "${login[@]}" "$app:v1"
check "fetches every platform of the index" ctr content fetch --all-platforms "${login[@]}" "$app:multi"
shows "has the blobs that were pushed" "$(find "$CONTENT/image/blobs" -type f -printf '%f\n' | LC_ALL=C sort | head -n 1)" ctr content ls
refused "a private repository is refused without a login" 'unauthorized|authorization failed|401|insufficient|denied' ctr content fetch --plain-http "$app:v1"
refused "and is not there for bob" 'not found|404|denied' ctr content fetch --plain-http --user "$BOB:$PASSWORD" "$app:v1"
refused "bob may not push into alice's namespace" '403|denied|forbidden' ctr images push --plain-http --user "$BOB:$PASSWORD" "$app:v1"
refused "a wrong password is refused" 'unauthorized|authorization failed|401|incorrect|denied' ctr content fetch --plain-http --user "$ALICE:not-$PASSWORD" "$app:v1"
check "alice opens it to all" visibility "$ALICE" alice/containerd public
check "now anyone fetches it" ctr content fetch --plain-http "$app:v1"
