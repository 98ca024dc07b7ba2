#!/usr/bin/env bash
# docker: a daemon of our own, with the classic image store; two people, and one who never logged in.
CLIENT=docker
. "$(dirname "$0")/lib.sh"
needs docker dockerd jq
needs_root

# Where the root directory's mounts are private, dockerd mounts its data on itself, and leaves it so.
trap 'stop_started; umount "$WORK/data" 2>/dev/null' EXIT
socket=$WORK/docker.sock
dockerd --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" -H "unix://$socket" \
  --storage-driver=vfs --iptables=false --ip6tables=false --bridge=none >"$WORK/dockerd.log" 2>&1 &
STARTED+=($!)
if ! until_true 60 docker -H "unix://$socket" version; then
  failed "the daemon starts" "$WORK/dockerd.log"
  exit 0
fi

# Each person has a configuration, and so a login, of their own.
as() {
  local who=$1
  shift
  DOCKER_BUILDKIT=0 docker --config "$WORK/$who" -H "unix://$socket" "$@"
}
login() { printf '%s' "$3" | as "$1" login --username "$2" --password-stdin "$REGISTRY"; }
id_of() { as alice image inspect --format '{{.Id}}' "$1"; }
digest_of() { as alice image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$1" | sed -n "s,^$REGISTRY/$2@,,p"; }
pushed() { sed -n 's/.*digest: \(sha256:[0-9a-f]*\) size: .*/\1/p' "$LOG"; }

app=$REGISTRY/alice/app

refused "a wrong password does not log in" 'unauthorized|incorrect username or password' login mallory "$ALICE" "not-$PASSWORD"
shows "alice logs in" 'Login Succeeded' login alice "$ALICE" "$PASSWORD"
shows "bob logs in" 'Login Succeeded' login bob "$BOB" "$PASSWORD"

mkdir "$WORK/context"
ln "$CONTENT"/layer-[123].tar "$WORK/context/" 2>/dev/null || cp "$CONTENT"/layer-[123].tar "$WORK/context/"
printf 'FROM scratch\nADD layer-1.tar /\nADD layer-2.tar /\nADD layer-3.tar /\nLABEL made.of="files of this machine"\n' >"$WORK/context/Dockerfile"
check "builds an image of some hundred MB in three layers" as alice build --tag "$app:v1" "$WORK/context"
rm -r "$WORK/context"
before=$(id_of "$app:v1")

refused "a push without a login is refused" 'unauthorized|authentication required|no basic auth|denied' as nobody push "$app:v1"
check "pushes it" as alice push "$app:v1"
digest=$(pushed)
shows "pushes it again, which sends no layer" 'layer already exists' as alice push "$app:v1"
equal "which gives the same digest" "$digest" "$(pushed)"

check "removes it" as alice rmi "$app:v1"
check "pulls it" as alice pull "$app:v1"
equal "the same image came back" "$before" "$(id_of "$app:v1")"
equal "under the same digest" "$digest" "$(digest_of "$app:v1" alice/app)"
check "removes it once more" as alice rmi --force "$before"
check "pulls it by digest" as alice pull "$app@$digest"
equal "the same image came back by digest" "$before" "$(id_of "$app@$digest")"
check "names it again" as alice tag "$app@$digest" "$app:v1"

check "imports a tar" as alice import "$CONTENT/small-1.tar" "$REGISTRY/alice/imported:v1"
check "pushes what it imported" as alice push "$REGISTRY/alice/imported:v1"
imported=$(id_of "$REGISTRY/alice/imported:v1")
check "removes what it imported" as alice rmi "$REGISTRY/alice/imported:v1"
check "pulls what it imported" as alice pull "$REGISTRY/alice/imported:v1"
equal "the imported image came back" "$imported" "$(id_of "$REGISTRY/alice/imported:v1")"

check "names it in another repository" as alice tag "$app:v1" "$REGISTRY/alice/other:v1"
shows "pushes there by mounting, not by sending" 'mounted from alice/app' as alice push "$REGISTRY/alice/other:v1"

check "makes a list of two platforms" as alice manifest create --insecure "$REGISTRY/alice/multi:v1" "$app:v1" "$REGISTRY/alice/imported:v1"
check "gives one the other architecture" as alice manifest annotate --arch arm64 "$REGISTRY/alice/multi:v1" "$REGISTRY/alice/imported:v1"
check "pushes the list" as alice manifest push --insecure "$REGISTRY/alice/multi:v1"
shows "reads the list back" '"arm64"' as alice manifest inspect --insecure "$REGISTRY/alice/multi:v1"

unseen='not found|name unknown|denied|does not exist'
refused "a private repository is refused without a login" 'unauthorized|authentication required|denied' as nobody pull "$REGISTRY/alice/imported:v1"
refused "and is not there for bob" "$unseen" as bob pull "$REGISTRY/alice/imported:v1"
refused "bob may not push into alice's namespace" 'denied' as bob push "$REGISTRY/alice/imported:v1"
check "bob names it as his" as bob tag "$REGISTRY/alice/imported:v1" "$REGISTRY/bob/imported:v1"
check "bob pushes into his own" as bob push "$REGISTRY/bob/imported:v1"
refused "alice does not see what is bob's" "$unseen" as alice pull "$REGISTRY/bob/imported:v1"

check "alice opens it to those who are logged in" visibility "$ALICE" alice/imported internal
check "now bob pulls it" as bob pull "$REGISTRY/alice/imported:v1"
refused "still not without a login" 'unauthorized|authentication required|denied' as nobody pull "$REGISTRY/alice/imported:v1"
check "alice opens it to all" visibility "$ALICE" alice/imported public
check "now anyone pulls it" as nobody pull "$REGISTRY/alice/imported:v1"
refused "bob still may not push there" 'denied' as bob push "$REGISTRY/alice/imported:v1"
read -r robot secret <<<"$(robot "$ALICE" docker)"
shows "a robot logs in" 'Login Succeeded' login robot "$ALICE+docker" "$secret"
check "it pushes for its namespace" as robot push "$app:v1"
refused "and for no other" 'denied' as robot push "$REGISTRY/bob/imported:v1"
check "alice removes the robot" remove_robot "$ALICE" "$robot"
refused "which then pushes no more" 'unauthorized|incorrect username or password' as robot push "$app:v1"

check "carol registers" register carol
shows "carol logs in" 'Login Succeeded' login carol carol "$PASSWORD"
check "an operator disables her" operator user disable carol
sleep 1
refused "she logs in no more" 'unauthorized|incorrect username or password' login carol carol "$PASSWORD"
refused "and what she had is good for nothing" 'unauthorized|incorrect username or password|denied' as carol push "$app:v1"

shows "alice logs out" 'Removing login credentials' as alice logout "$REGISTRY"
refused "and then pulls no more of her own" 'unauthorized|authentication required|denied' as alice pull "$app:v1"
