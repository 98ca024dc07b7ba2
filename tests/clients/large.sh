#!/usr/bin/env bash
# curl, with a blob of more than 4 GiB: lengths that need more than 32 bits.
CLIENT=large
. "$(dirname "$0")/lib.sh"
needs curl jq

size=$((4 * 1024 * 1024 * 1024 + 12345))
# The file is sparse; what the registry keeps of it is not.
free=$(df --output=avail -B 1 "$WORK" | tail -n 1)
if [ "$free" -lt $((2 * size)) ]; then
  skipped "all of it" "it needs $((2 * size / 1024 / 1024 / 1024)) GiB of free disk, there are $((free / 1024 / 1024 / 1024))"
  exit 0
fi
truncate --size "$size" "$WORK/blob"
printf 'the end' | dd of="$WORK/blob" bs=1 seek=$((size - 7)) conv=notrunc status=none
digest=sha256:$(sha256sum "$WORK/blob" | cut -d ' ' -f 1)
here=http://$REGISTRY
as_alice=(curl -fsS -u "$ALICE:$PASSWORD")

location=$("${as_alice[@]}" -o /dev/null -w '%header{location}' -X POST "$here/v2/alice/large/blobs/uploads/")
check "pushes it in one request" "${as_alice[@]}" -T "$WORK/blob" "$here$location?digest=$digest"
head() { "${as_alice[@]}" --head "$here/v2/alice/large/blobs/$digest"; }
shows "its length is told" "^content-length: $size" head
part() { "${as_alice[@]}" --range "$1" -D "$WORK/headers" "$here/v2/alice/large/blobs/$digest"; }
equal "its last bytes are read" "the end" "$(part -7)"
equal "by their place, too" "the end" "$(part $((size - 7))-)"
shows "which is told" "^content-range: bytes $((size - 7))-$((size - 1))/$size" cat "$WORK/headers"
equal "all of it comes back" "${digest#sha256:}" "$("${as_alice[@]}" "$here/v2/alice/large/blobs/$digest" | sha256sum | cut -d ' ' -f 1)"

location=$("${as_alice[@]}" -o /dev/null -w '%header{location}' -X POST "$here/v2/alice/large/blobs/uploads/")
check "pushes it as a stream of unknown length" bash -c 'curl -fsS -u "$1" -X PATCH -H "Transfer-Encoding: chunked" -T - "$2" <"$3"' - "$ALICE:$PASSWORD" "$here$location" "$WORK/blob"
status() { "${as_alice[@]}" -D - "$here$location"; }
shows "the session says how far it is" "^range: 0-$((size - 1))" status
check "makes it a blob, which was there already" "${as_alice[@]}" -X PUT "$here$location?digest=$digest"
check "deletes it" "${as_alice[@]}" -X DELETE "$here/v2/alice/large/blobs/$digest"
