#!/usr/bin/env bash
# Everything that is tested, on a machine that has nothing but Debian, bash and a Rust toolchain.
#
#   ./test.sh                  all of it
#   ./test.sh --no-clients     without docker, podman, skopeo and the others
#   ./test.sh --only PART…     format, lint, sqlite, postgres, buck, clients
#   ./test.sh --no-install     with what is installed; what is missing is skipped
#
# Missing Debian packages are installed (as root, or by sudo). What is started here listens on 127.0.0.1, lives in a
# temporary directory, and is ended by its process id. The last line is the count of all tests and checks; a part that
# could not run is said and counted as skipped, and the exit status is 1 if anything failed.
set -uo pipefail
cd "$(dirname "$0")" || exit 1

parts=(format lint sqlite postgres buck clients)
install=yes
while [ $# -gt 0 ]; do
  case $1 in
    --no-clients) parts=(format lint sqlite postgres buck) ;;
    --no-install) install=no ;;
    --only) shift; parts=("$@"); set -- ;;
    *) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"; exit 2 ;;
  esac
  [ $# = 0 ] || shift
done
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

work=$(mktemp -d "${TMPDIR:-/tmp}/distribution-test.XXXXXX")
chmod 711 "$work"
postgres=''
clean_up() {
  if [ -n "$postgres" ]; then
    kill -INT "$postgres" 2>/dev/null
    wait "$postgres" 2>/dev/null
  fi
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

passed=0 failed=0 skipped=0
summary=()
say() { printf '\n=== %s\n' "$*"; }
note() { summary+=("$(printf '%-9s %s' "$1" "$2")"); }

# --- What the machine has -------------------------------------------------------------

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$install" = no ] || ! command -v apt-get >/dev/null; then
    echo "not installed: ${missing[*]}"
    return 0
  fi
  echo "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  [ -e "$work/updated" ] || "${as_root[@]}" apt-get update -qq >"$work/updated" 2>&1 || cat "$work/updated"
  # One at a time where all at once fails, so that one that cannot be had costs one client.
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$work/apt.log" 2>&1 && return 0
  for package in "${missing[@]}"; do
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$package" >"$work/apt.log" 2>&1 || tail -n 2 "$work/apt.log"
  done
}

say "what the machine has"
wanted=(ca-certificates curl jq gcc libc6-dev procps)
! wants postgres || wanted+=(postgresql)
! wants buck || wanted+=(python3-venv)
! wants clients || wanted+=(skopeo buildah podman umoci containerd docker.io nginx-light openssl python3-venv)
packages "${wanted[@]}"

export PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
if ! command -v cargo >/dev/null; then
  echo "There is no cargo on PATH and none in ${CARGO_HOME:-$HOME/.cargo}/bin: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer (https://rustup.rs), then run this again." >&2
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
fi
cargo --version

# --- The parts ------------------------------------------------------------------------

# part NAME COMMAND…: one check that passes or fails as a whole.
part() {
  local name=$1
  shift
  say "$name: $*"
  if "$@"; then
    passed=$((passed + 1))
    note ok "$name"
  else
    failed=$((failed + 1))
    note FAILED "$name"
  fi
}

skip() {
  say "$1: skipped, $2"
  skipped=$((skipped + 1))
  note skipped "$1: $2"
}

# tests NAME COMMAND…: cargo's tests, counted one by one from the closing lines of its runner.
tests() {
  local name=$1 status sums
  shift
  say "$name: $*"
  "$@" 2>&1 | tee "$work/tests.log"
  status=${PIPESTATUS[0]}
  sums=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$work/tests.log")
  read -r p f i <<<"$sums"
  # A run that fails without a failed test did not compile, or died.
  if [ "$status" != 0 ] && [ "$f" = 0 ]; then f=1; fi
  if [ "$status" = 0 ] && [ "$p" = 0 ]; then f=1; echo "no test ran"; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + i))
  note "$([ "$f" = 0 ] && echo ok || echo FAILED)" "$name: $p passed, $f failed, $i ignored"
}

# A PostgreSQL of our own, with Debian's defaults where they matter: fsync stays on.
start_postgres() {
  local bin port password=/dev/null owner=()
  bin=$(find /usr/lib/postgresql/*/bin -maxdepth 0 2>/dev/null | sort -V | tail -n 1)
  [ -n "$bin" ] || return 1
  mkdir "$work/postgres"
  head -c 24 /dev/urandom | od -An -v -t x1 | tr -d ' \n' >"$work/postgres/password"
  password=$(cat "$work/postgres/password")
  if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres "$work/postgres"
    owner=(setpriv --reuid postgres --regid postgres --clear-groups env -C "$work/postgres" HOME="$work/postgres")
  fi
  "${owner[@]}" "$bin/initdb" --pgdata "$work/postgres/data" --username postgres --auth scram-sha-256 \
    --pwfile "$work/postgres/password" --encoding UTF8 --locale C.UTF-8 >"$work/initdb.log" 2>&1 || { cat "$work/initdb.log"; return 1; }
  for _ in 1 2 3; do
    port=$((20000 + RANDOM % 12000))
    "${owner[@]}" "$bin/postgres" -D "$work/postgres/data" -p "$port" -c listen_addresses=127.0.0.1 \
      -c unix_socket_directories='' -c max_connections=300 -c shared_buffers=64MB >"$work/postgres.log" 2>&1 &
    postgres=$!
    for _ in $(seq 100); do
      kill -0 "$postgres" 2>/dev/null || break
      # Its own word, not an answer from the port, which may be somebody else's.
      if sed -n 8p "$work/postgres/data/postmaster.pid" 2>/dev/null | grep -q '^ready'; then
        export TEST_POSTGRES_URL="postgres://postgres:$password@127.0.0.1:$port/postgres"
        return 0
      fi
      sleep 0.2
    done
    kill -INT "$postgres" 2>/dev/null
    wait "$postgres" 2>/dev/null
    postgres=''
  done
  tail -n 20 "$work/postgres.log"
  return 1
}

# A Python environment of our own with the Starlark evaluator.
install_starlark() {
  python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet -r tests/buck/requirements.txt
}

unset TEST_POSTGRES_URL
! wants format || part "format" cargo fmt --check
! wants lint || part "lint" cargo clippy --locked --all-targets --quiet -- -D warnings
! wants sqlite || tests "tests on SQLite" cargo test --locked --no-fail-fast
if wants postgres; then
  if start_postgres; then
    tests "units on PostgreSQL" cargo test --locked --no-fail-fast --lib
    tests "crashes on PostgreSQL" cargo test --locked --no-fail-fast --test crash -- --include-ignored
    # Those of several replicas are ignored elsewhere; what only prints figures is for a person.
    tests "the registry on PostgreSQL" cargo test --locked --no-fail-fast --test registry -- --include-ignored \
      --skip what_a_login_costs
    unset TEST_POSTGRES_URL
  elif [ -d /usr/lib/postgresql ]; then
    part "PostgreSQL starts" false
  else
    skip "tests on PostgreSQL" "it is not installed"
  fi
fi
if wants buck; then
  if install_starlark >"$work/starlark.log" 2>&1; then
    part "BUCK" "$work/venv/bin/python" tests/buck/check.py
  else
    skip "BUCK" "the Starlark evaluator cannot be installed: $(tail -n 1 "$work/starlark.log")"
  fi
fi
if wants clients; then
  say "real clients"
  if cargo build --locked && [ -x target/debug/distribution ]; then
    clients=(tests/clients/run.sh)
    # docker, podman and containerd need root.
    [ "$(id -u)" = 0 ] || ! sudo -n true 2>/dev/null || clients=(sudo -n tests/clients/run.sh)
    "${clients[@]}" 2>&1 | tee "$work/clients.log"
    if line=$(grep -E '^clients: [0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$work/clients.log"); then
      read -r _ p _ f _ s _ <<<"$line"
      passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
      note "$([ "$f" = 0 ] && echo ok || echo FAILED)" "real clients: $p passed, $f failed, $s skipped"
      while IFS= read -r line; do note '' "$line"; done < <(grep -E '^(FAILED|skipped) ' "$work/clients.log")
    else
      part "real clients" false
    fi
  else
    part "the binary builds" false
  fi
fi

say "summary, after $((SECONDS / 60)) min $((SECONDS % 60)) s"
printf '%s\n' "${summary[@]}"
printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
