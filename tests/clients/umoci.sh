#!/usr/bin/env bash
# umoci: images made by it, carried by skopeo; what comes back unpacks to the same files.
CLIENT=umoci
. "$(dirname "$0")/lib.sh"
needs umoci skopeo jq

cat >"$WORK/policy.json" <<<'{"default":[{"type":"insecureAcceptAnything"}]}'
copy() { skopeo --policy "$WORK/policy.json" --tmpdir "$WORK" copy --src-tls-verify=false --dest-tls-verify=false "$@"; }
credentials=$ALICE:$PASSWORD
there=docker://$REGISTRY/alice/umoci
made=$WORK/made

check "makes a layout" umoci init --layout "$made"
check "makes an empty image" umoci new --image "$made:v1"
refused "an image without layers is known by nobody yet" 'unknown|not found' copy --src-creds "$credentials" "$there:v1" "dir:$WORK/none"
check "pushes the image without layers" copy --dest-creds "$credentials" "oci:$made:v1" "$there:empty"
check "adds a layer" umoci raw add-layer --image "$made:v1" "$CONTENT/small-1.tar"
mkdir "$WORK/files"
tar --extract --file "$CONTENT/small-2.tar" --directory "$WORK/files"
check "inserts a directory as another" umoci insert --rootless --image "$made:v1" "$WORK/files" /inserted
check "configures it" umoci config --image "$made:v1" --config.label made.by=umoci --config.cmd /bin/true
check "pushes it" copy --dest-creds "$credentials" "oci:$made:v1" "$there:v1"
check "pulls it" copy --src-creds "$credentials" "$there:v1" "oci:$WORK/pulled:v1"
check "unpacks what it made" umoci unpack --rootless --image "$made:v1" "$WORK/bundle-made"
check "unpacks what was pulled" umoci unpack --rootless --image "$WORK/pulled:v1" "$WORK/bundle-pulled"
check "both hold the same files" diff -r --no-dereference "$WORK/bundle-made/rootfs" "$WORK/bundle-pulled/rootfs"
check "and one of them came through the insert" test -n "$(find "$WORK/bundle-pulled/rootfs/inserted" -type f -print -quit)"
equal "the manifest is the one that was made" \
  "$(jq -r '.manifests[0].digest' "$made/index.json")" \
  "sha256:$(skopeo --policy "$WORK/policy.json" inspect --raw --tls-verify=false --creds "$credentials" "$there:v1" 2>/dev/null | sha256sum | cut -d ' ' -f 1)"
