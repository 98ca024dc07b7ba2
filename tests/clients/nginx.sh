#!/usr/bin/env bash
# nginx, configured as README.md says: a registry of our own behind it, reached by TLS.
CLIENT=nginx
. "$(dirname "$0")/lib.sh"
needs nginx openssl skopeo curl jq
readme=$(cd "$(dirname "$0")/../.." && pwd)/README.md

port=$(spare_port)
behind=$(spare_port)
mkdir "$WORK/certificates"
check "makes a certificate" openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=registry.example.com \
  -addext subjectAltName=IP:127.0.0.1 -keyout "$WORK/key.pem" -out "$WORK/certificates/ca.crt"

{
  echo "daemon off; worker_processes 1; pid $WORK/nginx.pid; error_log stderr; events {}"
  echo "http { access_log off; client_body_temp_path $WORK/body; proxy_temp_path $WORK/proxy; fastcgi_temp_path $WORK/f; uwsgi_temp_path $WORK/u; scgi_temp_path $WORK/s;"
  awk '/^```nginx$/ { printing = 1; next } /^```$/ { printing = 0 } printing' "$readme" |
    sed -e "s,listen 443 ssl,listen 127.0.0.1:$port ssl," -e "s,/etc/ssl/registry.pem,$WORK/certificates/ca.crt," \
      -e "s,/etc/ssl/registry.key,$WORK/key.pem," -e "s,http://127.0.0.1:8968,http://127.0.0.1:$behind,"
  echo '}'
} >"$WORK/nginx.conf"

(
  cd "$WORK" &&
    exec env -i PATH="$PATH" OCI_REGISTRY_PUBLIC_URL="https://127.0.0.1:$port" "$BINARY" --port "$behind" --root "$WORK/blobs" \
      --database-url "sqlite:$WORK/registry.db"
) >"$WORK/registry.log" 2>&1 &
STARTED+=($!)
nginx -c "$WORK/nginx.conf" -p "$WORK" >"$WORK/nginx.log" 2>&1 &
STARTED+=($!)
if ! until_true 30 curl -fsS --cacert "$WORK/certificates/ca.crt" "https://127.0.0.1:$port/readyz"; then
  failed "both start" "$WORK/nginx.log"
  exit 0
fi
check "registers through the proxy" curl -fsS --cacert "$WORK/certificates/ca.crt" -X POST -H 'Content-Type: application/json' \
  -d "{\"username\":\"$ALICE\",\"password\":\"$PASSWORD\"}" "https://127.0.0.1:$port/api/v1/users"
realm() { curl -sS -o /dev/null --cacert "$WORK/certificates/ca.crt" -w '%header{www-authenticate}' "https://127.0.0.1:$port/v2/"; }
shows "the realm is where the clients are" "realm=\"https://127\.0\.0\.1:$port/auth/token\"" realm

cat >"$WORK/policy.json" <<<'{"default":[{"type":"insecureAcceptAnything"}]}'
copy() { skopeo --policy "$WORK/policy.json" --tmpdir "$WORK" copy "$@"; }
there=docker://127.0.0.1:$port/alice/proxied
check "pushes a large layer through it" copy --dest-cert-dir "$WORK/certificates" --dest-creds "$ALICE:$PASSWORD" "tarball:$CONTENT/layer-2.tar" "$there:large"
check "copies an index through it" copy --all --dest-cert-dir "$WORK/certificates" --dest-creds "$ALICE:$PASSWORD" "oci:$CONTENT/multi:v1" "$there:multi"
check "and back" copy --all --src-cert-dir "$WORK/certificates" --src-creds "$ALICE:$PASSWORD" "$there:multi" "dir:$WORK/back"
check "mounts between repositories through it" copy --all --src-cert-dir "$WORK/certificates" --src-creds "$ALICE:$PASSWORD" \
  --dest-cert-dir "$WORK/certificates" --dest-creds "$ALICE:$PASSWORD" "$there:multi" "docker://127.0.0.1:$port/alice/mounted:multi"
equal "the index came back" "$(skopeo inspect --raw "oci:$CONTENT/multi:v1" | sha256sum)" "$(sha256sum <"$WORK/back/manifest.json")"
check "nginx wrote no body to its disk" test -z "$(find "$WORK/body" "$WORK/proxy" -type f 2>/dev/null)"
refused "without a login it is refused" 'unauthorized|authentication required' copy --src-cert-dir "$WORK/certificates" "$there:multi" "dir:$WORK/none"
no_faults "$WORK/registry.log"
