#!/usr/bin/env bash
# crane, of go-containerregistry, on which kaniko, ko and cosign stand as well.
CLIENT=crane
. "$(dirname "$0")/lib.sh"
needs jq
go_tool crane github.com/google/go-containerregistry/cmd/crane@v0.22.1

for who in alice bob nobody; do mkdir "$WORK/$who"; done
as() { DOCKER_CONFIG=$WORK/$1 crane "${@:2}"; }
there=$REGISTRY/alice/crane

shows "alice logs in" 'logged in' as alice auth login "$REGISTRY" --username "$ALICE" --password "$PASSWORD"
shows "bob logs in" 'logged in' as bob auth login "$REGISTRY" --username "$BOB" --password "$PASSWORD"

refused "a push without a login is refused" 'unauthorized|401' as nobody push "$CONTENT/image" "$there:v1"
check "pushes a layout" as alice push "$CONTENT/image" "$there:v1"
check "pushes an index of two platforms" as alice push --index "$CONTENT/multi" "$there:layout"
check "appends a large layer" as alice append --base "$there:v1" --new_layer "$CONTENT/layer-3.tar" --new_tag "$there:v2"
check "pulls what became of it" as alice pull --format oci "$there:v2" "$WORK/pulled"
check "whose blobs are well-formed" as alice validate --remote "$there:v2"
equal "the digest of a tag is that of its manifest" "sha256:$(as alice manifest "$there:v2" | sha256sum | cut -d ' ' -f 1)" "$(as alice digest "$there:v2")"
check "copies it to another repository" as alice copy "$there:v2" "$REGISTRY/alice/crane-copied:v2"
equal "under the same digest" "$(as alice digest "$there:v2")" "$(as alice digest "$REGISTRY/alice/crane-copied:v2")"
check "tags it" as alice tag "$there:v2" latest
equal "lists the tags" "latest layout v1 v2" "$(as alice ls "$there" | xargs)"
check "changes its labels" as alice mutate --label made.by=crane --tag "$there:labelled" "$there:v2"
shows "which are in its configuration" 'made.by' as alice config "$there:labelled"
check "exports its files" as alice export "$there:v2" "$WORK/files.tar"
shows "lists repositories" '^alice/crane-copied$' as alice catalog "$REGISTRY"
check "deletes it by digest" as alice delete "$REGISTRY/alice/crane-copied@$(as alice digest "$there:v2")"
refused "which is gone" 'unknown|not found' as alice manifest "$REGISTRY/alice/crane-copied:v2"

refused "a private repository is refused without a login" 'unauthorized|401' as nobody manifest "$there:v1"
refused "and is not there for bob" 'unknown|not found|404' as bob manifest "$there:v1"
refused "bob may not push there" 'denied|403' as bob push "$CONTENT/image" "$there:v9"
check "alice opens it to all" visibility "$ALICE" alice/crane public
check "now anyone pulls it" as nobody pull "$there:v1" "$WORK/public.tar"
