#!/usr/bin/env bash
# regctl, of regclient: mounts without a source, chunks, sha512, referrers, tags that are deleted as such.
CLIENT=regctl
. "$(dirname "$0")/lib.sh"
needs jq
go_tool regctl github.com/regclient/regclient/cmd/regctl@v0.11.7

for who in alice bob nobody; do
  mkdir "$WORK/$who"
  HOME=$WORK/$who REGCTL_CONFIG=$WORK/$who/config.json regctl registry set --skip-check --tls disabled --blob-max 1000000 --blob-chunk 700000 "$REGISTRY" >"$LOG" 2>&1
done
# docker's own configuration, if the machine has one, stays out of it.
as() { HOME=$WORK/$1 DOCKER_CONFIG=$WORK/$1 REGCTL_CONFIG=$WORK/$1/config.json regctl "${@:2}"; }
login() { as "$1" registry login --user "$2" --pass "$3" "$REGISTRY"; }
there=$REGISTRY/alice/regctl

refused "a wrong password does not log in" 'unauthorized|401' login nobody "$ALICE" "not-$PASSWORD"
as nobody registry logout "$REGISTRY" >"$LOG" 2>&1
check "alice logs in" login alice "$ALICE" "$PASSWORD"
check "bob logs in" login bob "$BOB" "$PASSWORD"

refused "a push without a login is refused" 'unauthorized|401' as nobody image copy "ocidir://$CONTENT/multi:v1" "$there:v1"
check "copies an index, its large layers in chunks" as alice image copy "ocidir://$CONTENT/multi:v1" "$there:v1"
equal "which arrived byte for byte" "$(jq -r '.manifests[0].digest' "$CONTENT/multi/index.json")" "$(as alice image digest "$there:v1")"
check "copies it to another repository" as alice image copy "$there:v1" "$REGISTRY/alice/regctl-copied:v1"
check "copies it back" as alice image copy "$REGISTRY/alice/regctl-copied:v1" "ocidir://$WORK/back:v1"
check "with every blob as it was" diff -r "$CONTENT/multi/blobs" "$WORK/back/blobs"
check "makes a sha512 image of it" as alice image mod --digest-algo sha512 --create sha512 "$there:v1"
shows "which is named by its sha512" '^sha512:[0-9a-f]{128}$' as alice image digest "$there:sha512"
check "and comes back" as alice image copy "$there:sha512" "ocidir://$WORK/sha512:v1"

printf '{"signed":true}' >"$WORK/signature.json"
check "attaches an artifact" as alice artifact put --artifact-type application/vnd.example.signature.v1+json --file "$WORK/signature.json" --subject "$there:v1"
listed() { as alice artifact list --format '{{range .Descriptors}}{{.ArtifactType}}{{end}}' "$@"; }
equal "lists it" application/vnd.example.signature.v1+json "$(listed "$there:v1")"
equal "by its type" application/vnd.example.signature.v1+json "$(listed --filter-artifact-type application/vnd.example.signature.v1+json "$there:v1")"
check "copies with what refers to it" as alice image copy --referrers "$there:v1" "$REGISTRY/alice/regctl-referred:v1"
equal "which is listed there" application/vnd.example.signature.v1+json "$(listed "$REGISTRY/alice/regctl-referred:v1")"

equal "lists the tags, without one for the artifact" "sha512 v1" "$(as alice tag ls "$there" | xargs)"
check "deletes a tag" as alice tag rm "$there:sha512"
equal "and nothing but the tag" "v1" "$(as alice tag ls "$there" | xargs)"
check "deletes a manifest" as alice manifest rm --force-tag-dereference "$REGISTRY/alice/regctl-copied:v1"
refused "so that its tag is gone" 'not found|404' as alice image digest "$REGISTRY/alice/regctl-copied:v1"
shows "lists repositories" '^alice/regctl$' as alice repo ls "$REGISTRY"

refused "a private repository is refused without a login" 'unauthorized|401' as nobody image digest "$there:v1"
refused "and is not there for bob" 'not found|404' as bob image digest "$there:v1"
refused "bob may not push there" 'denied|403|unauthorized' as bob image copy "ocidir://$CONTENT/image:v1" "$there:v9"
check "alice opens it to all" visibility "$ALICE" alice/regctl public
check "now anyone reads it" as nobody image digest "$there:v1"
