#!/usr/bin/env bash
# openapi: the served document of the management API, judged by a public validator and read by a client generator's eyes.
CLIENT=openapi
. "$(dirname "$0")/lib.sh"
needs curl jq python3

check "is served" curl -fsS -o "$WORK/openapi.json" "http://$REGISTRY/api/v1/openapi.json"
shows "is OpenAPI 3.1" '^3\.1\.' jq -r .openapi "$WORK/openapi.json"

if ! python3 -m venv "$WORK/venv" >"$LOG" 2>&1 \
  || ! "$WORK/venv/bin/pip" install --quiet 'openapi-spec-validator==0.9.0' 'jsonschema==4.26.0' >>"$LOG" 2>&1; then
  skipped "is valid" "the validator cannot be installed: $(tail -n 1 "$LOG")"
  exit 0
fi
check "is valid" "$WORK/venv/bin/openapi-spec-validator" --schema 3.1 "$WORK/openapi.json"
# A validator that accepts anything would accept ours.
jq 'del(.paths["/api/v1/users/{username}"].parameters)' "$WORK/openapi.json" >"$WORK/broken.json"
jq '.components.schemas.User.type = "objekt"' "$WORK/openapi.json" >"$WORK/wrong.json"
for bent in broken wrong; do
  if "$WORK/venv/bin/openapi-spec-validator" --schema 3.1 "$WORK/$bent.json" >"$LOG" 2>&1; then
    failed "the validator sees a $bent document" "$LOG"
  else
    ok "the validator sees a $bent document"
  fi
done

# A real reply, held against the schema that the document has for it.
cat >"$WORK/judge.py" <<'PYTHON'
import json, sys
from jsonschema import Draft202012Validator
document, reply = (json.load(open(path)) for path in sys.argv[1:3])
schema = {"$ref": "#/components/schemas/" + sys.argv[3], "components": document["components"]}
problems = [error.message for error in Draft202012Validator(schema).iter_errors(reply)]
print("\n".join(problems))
sys.exit(bool(problems))
PYTHON
check "a user is shown" curl -fsS -u "$ALICE:$PASSWORD" -o "$WORK/user.json" "http://$REGISTRY/api/v1/user"
check "a user is as documented" "$WORK/venv/bin/python" "$WORK/judge.py" "$WORK/openapi.json" "$WORK/user.json" User
curl -sS -o "$WORK/error.json" "http://$REGISTRY/api/v1/users"
check "an error is as documented" "$WORK/venv/bin/python" "$WORK/judge.py" "$WORK/openapi.json" "$WORK/error.json" Error
