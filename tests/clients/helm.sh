#!/usr/bin/env bash
# helm: charts as artifacts, with a `+` in the version that becomes a `_` in the tag.
CLIENT=helm
. "$(dirname "$0")/lib.sh"
go_tool helm helm.sh/helm/v3/cmd/helm@v3.22.0

export HELM_CACHE_HOME=$WORK/cache HELM_DATA_HOME=$WORK/data
as() { HELM_CONFIG_HOME=$WORK/$1 HELM_REGISTRY_CONFIG=$WORK/$1.json helm "${@:2}"; }
login() { printf '%s' "$3" | as "$1" registry login --plain-http --username "$2" --password-stdin "$REGISTRY"; }
there=oci://$REGISTRY/alice/charts

refused "a wrong password does not log in" 'unauthorized|401' login mallory "$ALICE" "not-$PASSWORD"
shows "alice logs in" 'Login Succeeded' login alice "$ALICE" "$PASSWORD"
shows "bob logs in" 'Login Succeeded' login bob "$BOB" "$PASSWORD"
cd "$WORK" || exit 1
mkdir pulled none public
check "makes a chart" as alice create greeting
check "packages it" as alice package greeting --version 1.0.0+build.7 --destination packages
check "packages a later one" as alice package greeting --version 1.2.3 --destination packages

refused "a push without a login is refused" 'unauthorized|401|credential required' as nobody push --plain-http packages/greeting-1.2.3.tgz "$there"
check "pushes it" as alice push --plain-http packages/greeting-1.0.0+build.7.tgz "$there"
check "pushes the later one" as alice push --plain-http packages/greeting-1.2.3.tgz "$there"
shows "shows the newest of a range" 'version: 1\.2\.3' as alice show chart --plain-http "$there/greeting" --version '^1.0.0'
check "pulls the one with a plus" as alice pull --plain-http "$there/greeting" --version 1.0.0+build.7 --destination pulled
check "as it was" cmp packages/greeting-1.0.0+build.7.tgz pulled/greeting-1.0.0+build.7.tgz
check "renders it" as alice template --plain-http greeting "$there/greeting" --version 1.2.3
refused "a private chart is refused without a login" 'unauthorized|401|credential required' as nobody pull --plain-http "$there/greeting" --version 1.2.3 --destination none
refused "and is not there for bob" 'not found|404' as bob pull --plain-http "$there/greeting" --version 1.2.3 --destination none
refused "bob may not push there" 'denied|403' as bob push --plain-http packages/greeting-1.2.3.tgz "$there"
check "alice opens it to all" visibility "$ALICE" alice/charts/greeting public
check "now anyone pulls it" as nobody pull --plain-http "$there/greeting" --version 1.2.3 --destination public
