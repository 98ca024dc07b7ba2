# Content to push: layers made of this machine's own files, and OCI image layouts made of those by hand, so that what is
# pushed was not made by the client under test.
# shellcheck shell=bash

# gather DIRECTORY MEGABYTES FILE: a tar of the first files below a directory, in order of name, up to so many bytes.
gather() {
  find "$1" -xdev -type f -size -24M -readable ! -name '*[[:cntrl:]]*' -printf '%s %p\n' | LC_ALL=C sort -k 2 |
    awk -v left="$(($2 * 1024 * 1024))" '{ size = $1; sub(/^[0-9]+ /, ""); if (size <= left) { left -= size; print } }' |
    tar --create --file "$3" --files-from - --owner 0 --group 0 --sort name --absolute-names --transform 's,^/,,'
}

# blob LAYOUT FILE: moves a file into a layout's blobs; prints its descriptor's digest and size.
blob() {
  local digest size
  digest=$(sha256sum "$2" | cut -d ' ' -f 1)
  size=$(stat -c %s "$2")
  mkdir -p "$1/blobs/sha256"
  mv "$2" "$1/blobs/sha256/$digest"
  printf '"digest":"sha256:%s","size":%s' "$digest" "$size"
}

# image LAYOUT ARCHITECTURE TAR…: an image of these layers in a layout; prints its manifest's digest and size.
image() {
  local layout=$1 architecture=$2 tar layers='' diffs='' config
  shift 2
  mkdir -p "$layout"
  for tar in "$@"; do
    diffs="$diffs${diffs:+,}\"sha256:$(sha256sum "$tar" | cut -d ' ' -f 1)\""
    gzip -1 -n -c "$tar" >"$layout/part"
    layers="$layers${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",$(blob "$layout" "$layout/part")}"
  done
  printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[%s]}}' "$architecture" "$diffs" >"$layout/part"
  config=$(blob "$layout" "$layout/part")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[%s]}' \
    "$config" "$layers" >"$layout/part"
  blob "$layout" "$layout/part"
}

# layout DIRECTORY TAG TYPE DIGEST-AND-SIZE: gives what was made a name in the layout's index.
layout() {
  printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
  printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.%s.v1+json",%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
    "$3" "$4" "$2" >"$1/index.json"
}

# make_content DIRECTORY: some hundred MB in three layers, an image of two small ones, and an index of two platforms.
make_content() {
  local root=$1 amd64 arm64
  gather /usr/lib 160 "$root/layer-1.tar"
  gather /usr/bin 90 "$root/layer-2.tar"
  gather /usr/share 50 "$root/layer-3.tar"
  gather /usr/share 2 "$root/small-1.tar"
  gather /usr/sbin 1 "$root/small-2.tar"
  layout "$root/image" v1 manifest "$(image "$root/image" amd64 "$root/small-1.tar" "$root/small-2.tar")"
  amd64=$(image "$root/multi" amd64 "$root/small-1.tar")
  arm64=$(image "$root/multi" arm64 "$root/small-1.tar" "$root/small-2.tar")
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"platform":{"architecture":"amd64","os":"linux"}},{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"platform":{"architecture":"arm64","os":"linux"}}]}' \
    "$amd64" "$arm64" >"$root/multi/part"
  layout "$root/multi" v1 index "$(blob "$root/multi" "$root/multi/part")"
}
