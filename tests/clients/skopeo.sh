#!/usr/bin/env bash
# skopeo: from a layout to the registry, from repository to repository, and back; OCI and docker formats.
CLIENT=skopeo
. "$(dirname "$0")/lib.sh"
needs skopeo jq

cat >"$WORK/policy.json" <<<'{"default":[{"type":"insecureAcceptAnything"}]}'
skopeo() { command skopeo --policy "$WORK/policy.json" --tmpdir "$WORK" "$@"; }
copy() { skopeo copy --authfile "$WORK/$1.json" --src-tls-verify=false --dest-tls-verify=false "${@:2}"; }
look() { skopeo inspect --authfile "$WORK/$1.json" --tls-verify=false "${@:2}"; }
tags() { skopeo list-tags --authfile "$WORK/$1.json" --tls-verify=false "docker://$REGISTRY/$2"; }
login() { printf '%s' "$3" | skopeo login --authfile "$WORK/$1.json" --tls-verify=false --username "$2" --password-stdin "$REGISTRY"; }
digest_of() { look alice --raw "$1" 2>/dev/null | sha256sum | cut -d ' ' -f 1; }
type_of() { look alice --raw "$1" 2>/dev/null | jq -r .mediaType; }
for who in alice bob nobody robot; do echo '{}' >"$WORK/$who.json"; done

there=docker://$REGISTRY/alice

refused "a wrong password does not log in" 'unauthorized|invalid username/password' login nobody "$ALICE" "not-$PASSWORD"
shows "alice logs in" 'Login Succeeded' login alice "$ALICE" "$PASSWORD"
shows "bob logs in" 'Login Succeeded' login bob "$BOB" "$PASSWORD"

check "copies a layout to the registry" copy alice "oci:$CONTENT/image:v1" "$there/skopeo:v1"
equal "the manifest arrived byte for byte" "$(digest_of "oci:$CONTENT/image:v1")" "$(digest_of "$there/skopeo:v1")"
check "copies it again" copy alice "oci:$CONTENT/image:v1" "$there/skopeo:v2"
check "copies it in docker's format" copy alice --format v2s2 "oci:$CONTENT/image:v1" "$there/skopeo:docker"
equal "which is docker's" application/vnd.docker.distribution.manifest.v2+json "$(type_of "$there/skopeo:docker")"
check "converts it back while it copies" copy alice --format oci "$there/skopeo:docker" "$there/converted:v1"
equal "which is OCI's" application/vnd.oci.image.manifest.v1+json "$(type_of "$there/converted:v1")"

check "copies from one repository to another" copy alice "$there/skopeo:v1" "$there/copied:v1"
equal "the same manifest is there" "$(digest_of "$there/skopeo:v1")" "$(digest_of "$there/copied:v1")"
check "copies by digest" copy alice "$there/skopeo@sha256:$(digest_of "$there/skopeo:v1")" "$there/copied:by-digest"

check "copies an index with all its platforms" copy alice --all "oci:$CONTENT/multi:v1" "$there/multi:v1"
equal "the index arrived byte for byte" "$(digest_of "oci:$CONTENT/multi:v1")" "$(digest_of "$there/multi:v1")"
check "copies the index to another repository" copy alice --all "$there/multi:v1" "$there/multi-copied:v1"
equal "and there too" "$(digest_of "oci:$CONTENT/multi:v1")" "$(digest_of "$there/multi-copied:v1")"
check "copies it as a docker manifest list" copy alice --all --format v2s2 "oci:$CONTENT/multi:v1" "$there/multi:docker"
equal "which is docker's list" application/vnd.docker.distribution.manifest.list.v2+json "$(type_of "$there/multi:docker")"
shows "picks a platform of it" '"arm64"' skopeo --override-arch arm64 inspect --authfile "$WORK/alice.json" --tls-verify=false "$there/multi:v1"

check "copies all of it back" copy alice --all "$there/multi-copied:v1" "dir:$WORK/back"
equal "the index came back" "$(digest_of "oci:$CONTENT/multi:v1")" "$(sha256sum "$WORK/back/manifest.json" | cut -d ' ' -f 1)"
check "copies an image back" copy alice "$there/copied:v1" "oci:$WORK/layout:v1"
check "every blob of it is the one that went" diff -r "$CONTENT/image/blobs" "$WORK/layout/blobs"

shows "inspects" '"Layers"' look alice "$there/skopeo:v1"
shows "inspects the configuration" '"diff_ids"' look alice --config --raw "$there/skopeo:v1"
tags alice alice/skopeo >"$WORK/tags" 2>&1
equal "lists tags" '["docker","v1","v2"]' "$(jq -c .Tags "$WORK/tags")"

check "deletes a tag's image" skopeo delete --authfile "$WORK/alice.json" --tls-verify=false "$there/skopeo:docker"
tags alice alice/skopeo >"$WORK/tags" 2>&1
equal "which is listed no more" '["v1","v2"]' "$(jq -c .Tags "$WORK/tags")"
refused "nor found" 'manifest unknown|not found' look alice "$there/skopeo:docker"
check "deletes what two tags name" skopeo delete --authfile "$WORK/alice.json" --tls-verify=false "$there/skopeo:v1"
tags alice alice/skopeo >"$WORK/tags" 2>&1
equal "so that both are gone" '[]' "$(jq -c '.Tags // []' "$WORK/tags")"
check "the copy in the other repository stays" look alice "$there/copied:v1"
check "and the deleted one can be pushed again" copy alice "oci:$CONTENT/image:v1" "$there/skopeo:v1"

refused "a private repository is refused without a login" 'unauthorized|authentication required' look nobody "$there/skopeo:v1"
refused "and is not there for bob" 'not found|name unknown|unknown' look bob "$there/skopeo:v1"
refused "bob may not push into alice's namespace" 'denied' copy bob "oci:$CONTENT/image:v1" "$there/skopeo:v9"
refused "nor delete there" 'denied|not found|unknown|may not exist' skopeo delete --authfile "$WORK/bob.json" --tls-verify=false "$there/skopeo:v1"
check "alice opens it to all" visibility "$ALICE" alice/skopeo public
check "now anyone inspects it" look nobody "$there/skopeo:v1"
check "bob copies it from her repository into his" copy bob "$there/skopeo:v1" "docker://$REGISTRY/bob/skopeo:v1"
refused "bob still may not delete there" 'denied' skopeo delete --authfile "$WORK/bob.json" --tls-verify=false "$there/skopeo:v1"

read -r robot secret <<<"$(robot "$ALICE" skopeo)"
shows "a robot logs in" 'Login Succeeded' login robot "$ALICE+skopeo" "$secret"
check "it pushes for its namespace" copy robot "oci:$CONTENT/image:v1" "$there/skopeo:robot"
refused "and deletes nothing" 'denied' skopeo delete --authfile "$WORK/robot.json" --tls-verify=false "$there/skopeo:robot"
check "alice removes the robot" remove_robot "$ALICE" "$robot"
refused "which then pushes no more" 'unauthorized|invalid username/password' copy robot "oci:$CONTENT/image:v1" "$there/skopeo:robot"

echo '{}' >"$WORK/dora.json"
check "dora registers" register dora
shows "dora logs in" 'Login Succeeded' login dora dora "$PASSWORD"
check "an operator disables her" operator user disable dora
sleep 1
refused "she logs in no more" 'unauthorized|invalid username/password' login dora dora "$PASSWORD"
refused "and what she had is good for nothing" 'unauthorized|invalid username/password' look dora "$there/skopeo:v1"
