#!/usr/bin/env bash
# podman and buildah: an image built without a container, pushed by one and pulled by the other.
CLIENT=podman
. "$(dirname "$0")/lib.sh"
needs podman buildah jq
needs_root

storage=(--root "$WORK/storage" --runroot "$WORK/run" --storage-driver vfs)
export TMPDIR=$WORK
podman() { command podman "${storage[@]}" --cgroup-manager cgroupfs --events-backend file "$@"; }
buildah() { command buildah "${storage[@]}" "$@"; }
login() { printf '%s' "$3" | podman login --authfile "$WORK/$1.json" --tls-verify=false --username "$2" --password-stdin "$REGISTRY"; }
push() { podman push --authfile "$WORK/$1.json" --tls-verify=false "${@:2}"; }
pull() { podman pull --authfile "$WORK/$1.json" --tls-verify=false "${@:2}"; }
id_of() { podman image inspect --format '{{.Id}}' "$1" 2>/dev/null; }
for who in alice bob nobody robot; do echo '{}' >"$WORK/$who.json"; done

app=$REGISTRY/alice/podman

refused "a wrong password does not log in" 'unauthorized|invalid username/password' login nobody "$ALICE" "not-$PASSWORD"
shows "alice logs in" 'Login Succeeded' login alice "$ALICE" "$PASSWORD"
shows "bob logs in" 'Login Succeeded' login bob "$BOB" "$PASSWORD"

# build: two layers of files, each a commit of buildah's.
build() {
  local base
  base=$(buildah from scratch) && buildah add "$base" "$CONTENT/layer-3.tar" / && buildah commit "$base" "$REGISTRY/alice/base:v1" &&
    base=$(buildah from --pull-never "$REGISTRY/alice/base:v1") && buildah add "$base" "$CONTENT/small-1.tar" / &&
    buildah config --cmd /bin/true "$base" && buildah commit "$base" "$app:v1"
}
check "buildah builds an image of two layers" build
before=$(id_of "$app:v1")

refused "a push without a login is refused" 'unauthorized|authentication required|denied' push nobody "$app:v1"
check "buildah pushes it" buildah push --authfile "$WORK/alice.json" --tls-verify=false "$app:v1"
check "podman pushes it again" push alice --digestfile "$WORK/digest" "$app:v1"
check "podman removes it" podman rmi --force "$app:v1"
check "podman pulls it" pull alice "$app:v1"
equal "the same image came back" "$before" "$(id_of "$app:v1")"
check "podman pulls it by digest" pull alice "$app@$(cat "$WORK/digest")"
check "buildah pulls it" buildah pull --authfile "$WORK/alice.json" --tls-verify=false "$app:v1"

check "podman pushes it in docker's format" push alice --format v2s2 "$app:v1" "docker://$app:docker"
check "podman pushes it compressed by zstd" push alice --compression-format zstd "$app:v1" "docker://$app:zstd"
check "podman removes all of it" podman rmi --all --force
check "and pulls the one in docker's format" pull alice "$app:docker"
check "and the one compressed by zstd" pull alice "$app:zstd"

both() {
  podman manifest create both &&
    podman manifest add --arch amd64 --authfile "$WORK/alice.json" --tls-verify=false both "docker://$app:docker" &&
    podman manifest add --arch arm64 --authfile "$WORK/alice.json" --tls-verify=false both "docker://$app:v1"
}
check "podman makes an index of two platforms" both
check "podman pushes it with all its images" podman manifest push --all --authfile "$WORK/alice.json" --tls-verify=false both "docker://$REGISTRY/alice/multi-podman:v1"
shows "which the registry has" '"arm64"' curl -fsS -u "$ALICE:$PASSWORD" "http://$REGISTRY/v2/alice/multi-podman/manifests/v1"

shows "podman finds it by searching" 'alice/podman' podman search --authfile "$WORK/alice.json" --tls-verify=false "$REGISTRY/alice"
shows "podman lists its tags" 'zstd' podman search --list-tags --authfile "$WORK/alice.json" --tls-verify=false "$app"

refused "a private repository is refused without a login" 'unauthorized|authentication required' pull nobody "$app:v1"
refused "and is not there for bob" 'not found|name unknown|unknown' pull bob "$app:v1"
refused "bob may not push into alice's namespace" 'denied' push bob "$app:docker" "docker://$app:mine"
check "alice opens it to all" visibility "$ALICE" alice/podman public
check "now anyone pulls it" pull nobody "$app:v1"

read -r robot secret <<<"$(robot "$ALICE" podman)"
shows "a robot logs in" 'Login Succeeded' login robot "$ALICE+podman" "$secret"
check "it pushes for its namespace" push robot "$app:docker" "docker://$app:robot"
check "alice removes the robot" remove_robot "$ALICE" "$robot"
refused "which then pushes no more" 'unauthorized|invalid username/password' push robot "$app:docker" "docker://$app:robot"

echo '{}' >"$WORK/paula.json"
check "paula registers" register paula
shows "paula logs in" 'Login Succeeded' login paula paula "$PASSWORD"
check "an operator disables her" operator user disable paula
sleep 1
refused "she logs in no more" 'unauthorized|invalid username/password' login paula paula "$PASSWORD"
refused "and what she had is good for nothing" 'unauthorized|invalid username/password' pull paula "$app:v1"
