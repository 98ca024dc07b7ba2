# What every client's file uses; run.sh, which starts the registry, exports what it names in capitals:
#   REGISTRY  host:port of the registry          WORK      this client's own directory, empty at first
#   RESULTS   the file that counts the checks    CONTENT   layers and images made of files of this machine
#   ALICE, BOB, PASSWORD   two users that are registered, and the password of both
# shellcheck shell=bash
set -uo pipefail

# ok WHAT / failed WHAT [LOG] / skipped WHAT WHY: one line for people, one word for the count.
ok() { printf 'ok       %s: %s\n' "$CLIENT" "$1"; echo ok >>"$RESULTS"; }
failed() {
  printf 'FAILED   %s: %s\n' "$CLIENT" "$1"
  echo FAILED >>"$RESULTS"
  [ -z "${2:-}" ] || tail -n 25 "$2" | sed 's/^/         | /'
}
skipped() { printf 'skipped  %s: %s (%s)\n' "$CLIENT" "$1" "$2"; echo skipped >>"$RESULTS"; }

# check WHAT COMMAND…: the command must succeed. Its output is in $LOG.
LOG=$WORK/last.log
check() {
  local what=$1
  shift
  if "$@" >"$LOG" 2>&1 </dev/null; then ok "$what"; else failed "$what" "$LOG"; return 1; fi
}

# shows WHAT PATTERN COMMAND…: it must succeed and say what matches.
shows() {
  local what=$1 pattern=$2
  shift 2
  if "$@" >"$LOG" 2>&1 </dev/null && grep -Eiq -- "$pattern" "$LOG"; then ok "$what"; else failed "$what" "$LOG"; return 1; fi
}

# refused WHAT PATTERN COMMAND…: it must fail, and with words that a person understands.
refused() {
  local what=$1 pattern=$2
  shift 2
  if "$@" >"$LOG" 2>&1 </dev/null; then
    failed "$what: it was allowed" "$LOG"
  elif grep -Eiq -- "$pattern" "$LOG"; then
    ok "$what"
  else
    failed "$what: it does not say /$pattern/" "$LOG"
  fi
}

# equal WHAT ONE OTHER: two texts that must be the same, and something.
equal() {
  if [ -n "$2" ] && [ "$2" = "$3" ]; then ok "$1"; else
    printf '"%s"\nis not\n"%s"\n' "$2" "$3" >"$LOG"
    failed "$1" "$LOG"
  fi
}

# needs PROGRAM…: ends this client's part, as skipped, where one is missing.
needs() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || {
      skipped "all of it" "$program is not installed"
      exit 0
    }
  done
}

# go_tool PROGRAM PACKAGE@VERSION: one that Debian does not have: from PATH, or built by go where that is at hand.
go_tool() {
  command -v "$1" >/dev/null && return
  PATH=$PATH:/usr/local/go/bin
  if ! command -v go >/dev/null; then
    skipped "all of it" "$1 is not installed, and there is no go to build it"
    exit 0
  fi
  if ! GOBIN=$WORK/bin timeout 300 go install "$2" >"$LOG" 2>&1; then
    skipped "all of it" "$1 cannot be built: $(tail -n 1 "$LOG")"
    exit 0
  fi
  PATH=$PATH:$WORK/bin
}

# Ends this client's part, as skipped, where the script may not do what the client must.
needs_root() {
  [ "$(id -u)" = 0 ] || {
    skipped "all of it" "it needs root"
    exit 0
  }
  unshare --mount --propagation unchanged true 2>/dev/null || {
    skipped "all of it" "this machine lets nobody mount"
    exit 0
  }
}

# token USER: a Bearer token with all of the user's rights.
token() {
  curl -fsS -u "$1:$PASSWORD" "http://$REGISTRY/auth/token" | jq -r .token
}

# visibility USER REPOSITORY public|internal|private
visibility() {
  curl -fsS -o /dev/null -X PUT -H "Authorization: Bearer $(token "$1")" -H 'Content-Type: application/json' \
    -d "{\"visibility\":\"$3\"}" "http://$REGISTRY/api/v1/$2/visibility"
}

# register USER
register() { curl -fsS -d "{\"username\":\"$1\",\"password\":\"$PASSWORD\"}" "http://$REGISTRY/api/v1/users"; }

# operator ARGUMENTS…: the registry's command line, beside the running one.
operator() { "$BINARY" "$@" --database-url "sqlite:$(dirname "$BINARY")/registry/registry.db"; }

# robot USER NAME: makes a robot that may pull and push in the user's namespace; prints its id and its secret.
robot() {
  curl -fsS -u "$1:$PASSWORD" -X POST -d "{\"name\":\"$2\",\"scopes\":[\"namespace:$1:pull,push\"]}" \
    "http://$REGISTRY/api/v1/namespaces/$1/robots" | jq -r '"\(.id) \(.secret)"'
}

# remove_robot USER ID
remove_robot() { curl -fsS -u "$1:$PASSWORD" -X DELETE "http://$REGISTRY/api/v1/namespaces/$1/robots/$2"; }

# What is started here is ended here, by its own process id.
STARTED=()
stop_started() {
  local pid
  for pid in "${STARTED[@]}"; do kill "$pid" 2>/dev/null; done
  for pid in "${STARTED[@]}"; do
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null
    wait "$pid" 2>/dev/null
  done
  STARTED=()
}
trap stop_started EXIT

# no_faults LOG: the registry whose log this is neither panicked nor answered 5xx.
no_faults() {
  if grep -m 20 -E "panicked at|status=5[0-9][0-9]" "$1" >"$LOG"; then
    failed "answered nobody with a fault of its own" "$LOG"
  else
    ok "answered nobody with a fault of its own"
  fi
}

# until_true SECONDS COMMAND…
until_true() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# A port of the loopback interface at which nobody listens.
spare_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}
