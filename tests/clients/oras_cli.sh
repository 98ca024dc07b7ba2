#!/usr/bin/env bash
# oras, the command: artifacts, what speaks of them, and copies with all of that.
CLIENT=oras-cli
. "$(dirname "$0")/lib.sh"
needs jq
go_tool oras oras.land/oras/cmd/oras@v1.3.6

cd "$WORK" || exit 1
export DOCKER_CONFIG=$WORK
login() { printf '%s' "$3" | oras login --registry-config "$WORK/$1.json" --plain-http --username "$2" --password-stdin "$REGISTRY"; }
as() { oras "${@:2}" --plain-http --registry-config "$WORK/$1.json"; }
echo '{}' >nobody.json
there=$REGISTRY/alice/oras-cli
cp "$CONTENT/small-1.tar" small-1.tar
echo 'what the release brings' >notes.txt
echo '{"signed":true}' >signature.json
echo '{"parts":[]}' >sbom.json

refused "a wrong password does not log in" 'unauthorized|401' login mallory "$ALICE" "not-$PASSWORD"
shows "alice logs in" 'Login Succeeded' login alice "$ALICE" "$PASSWORD"
shows "bob logs in" 'Login Succeeded' login bob "$BOB" "$PASSWORD"

refused "a push without a login is refused" 'unauthorized|401|credential required' as nobody push "$there:v1" notes.txt
check "pushes two files under three tags" as alice push --artifact-type application/vnd.example.release+json "$there:v1,v1.0,latest" notes.txt:text/plain small-1.tar
check "pulls them" as alice pull --output pulled "$there:v1"
check "as they were" diff -r <(sha256sum <notes.txt; sha256sum <small-1.tar) <(sha256sum <pulled/notes.txt; sha256sum <pulled/small-1.tar)
as alice repo tags "$there" >tags 2>&1
equal "lists the tags" "latest v1 v1.0" "$(xargs <tags)"
equal "all three name one manifest" "$(as alice resolve "$there:v1")" "$(as alice resolve "$there:latest")"
check "tags it again" as alice tag "$there:v1" stable

check "attaches a signature" as alice attach --artifact-type application/vnd.example.signature.v1+json --annotation org.example.signer=alice "$there:v1" signature.json
check "attaches a list of parts" as alice attach --artifact-type application/vnd.example.sbom.v1+json "$there:v1" sbom.json
discovered() { as alice discover --format json "${@:2}" "$1" 2>/dev/null | jq -r '.referrers // .manifests | map(.artifactType) | sort | join(" ")'; }
equal "discovers both" "application/vnd.example.sbom.v1+json application/vnd.example.signature.v1+json" "$(discovered "$there:v1")"
equal "and one of them by its type" "application/vnd.example.sbom.v1+json" "$(discovered "$there:v1" --artifact-type application/vnd.example.sbom.v1+json)"
as alice repo tags "$there" >tags 2>&1
equal "no tag was needed for that" "latest stable v1 v1.0" "$(xargs <tags)"

check "copies it with what speaks of it to another repository" oras copy --recursive --from-plain-http --to-plain-http \
  --from-registry-config "$WORK/alice.json" --to-registry-config "$WORK/alice.json" "$there:v1" "$REGISTRY/alice/oras-copied:v1"
equal "where both are discovered" "application/vnd.example.sbom.v1+json application/vnd.example.signature.v1+json" "$(discovered "$REGISTRY/alice/oras-copied:v1")"
check "pushes a blob of its own" as alice blob push "$there" notes.txt
check "fetches it" as alice blob fetch --output fetched.txt "$there@sha256:$(sha256sum <notes.txt | cut -d ' ' -f 1)"
check "deletes a manifest" as alice manifest delete --force "$REGISTRY/alice/oras-copied:v1"
refused "which is gone" 'not found' as alice manifest fetch "$REGISTRY/alice/oras-copied:v1"
shows "lists repositories" 'alice/oras-cli' as alice repo ls "$REGISTRY"

refused "a private artifact is refused without a login" 'unauthorized|401|credential required' as nobody pull --output none "$there:v1"
refused "and is not there for bob" 'not found' as bob pull --output none "$there:v1"
refused "bob may not push there" 'denied|403' as bob push "$there:v9" notes.txt
check "alice opens it to all" visibility "$ALICE" alice/oras-cli public
check "now anyone pulls it" as nobody pull --output public "$there:v1"
