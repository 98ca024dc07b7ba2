#!/usr/bin/env bash
# oras: files as artifacts, and artifacts that speak of others. The Python client, in an environment of its own.
CLIENT=oras
. "$(dirname "$0")/lib.sh"
needs curl jq python3

if ! python3 -m venv "$WORK/venv" >"$LOG" 2>&1 || ! "$WORK/venv/bin/pip" install --quiet 'oras==0.2.43' >>"$LOG" 2>&1; then
  skipped "all of it" "the Python client cannot be installed: $(tail -n 1 "$LOG")"
  exit 0
fi
here=$(cd "$(dirname "$0")" && pwd)
cp "$CONTENT/small-1.tar" "$WORK/small-1.tar"
cd "$WORK" || exit 1
HOME=$WORK DOCKER_CONFIG=$WORK "$WORK/venv/bin/python" "$here/oras_client.py" >"$LOG" 2>&1
status=$?
while IFS= read -r line; do
  case $line in
    "ok "*) ok "${line#ok }" ;;
    "FAILED "*) failed "${line#FAILED }" ;;
  esac
done <"$LOG"
[ "$status" = 0 ] || failed "the script ends well" "$LOG"
