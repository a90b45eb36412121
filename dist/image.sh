#!/bin/sh
# Writes an OCI image archive `FROM scratch`: a static cottar, Debian's static busybox as /bin/sh if there is
# one, and nothing else. Needs no container engine. Load it with `podman load -i`, or copy it with `skopeo copy
# oci-archive:FILE`.
# Usage: image.sh BINARY FILE     (`make image` calls it)
#
#   BUSYBOX=FILE         the busybox to take; none if it is empty
set -eu
umask 022
export LC_ALL=C TZ=UTC
. dist/archive.sh

binary=$1
file=$2
fail() {
	echo "image: $*" >&2
	exit 1
}
is_static() { ! readelf -d "$1" | grep -q NEEDED; }
is_static "$binary" || fail "$binary is not static"

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | sed 1q)
commit=$(git rev-parse HEAD 2>/dev/null || sed -n '/^[0-9a-f]\{40,\}$/p' dist/commit)
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y dist/commit)}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

# The architecture as OCI calls it, from the program's header.
header=$(readelf -h "$binary")
machine=$(echo "$header" | sed -n 's/^ *Machine: *//p')
variant=
case $machine in
*X86-64*) arch=amd64 ;;
*80386*) arch=386 ;;
AArch64) arch=arm64 ;;
ARM) arch=arm variant=v7 ;;
*S/390*) arch=s390x ;;
MIPS*) if echo "$header" | grep -q little; then arch=mipsle; else arch=mips; fi ;;
RISC-V) arch=riscv64 ;;
PowerPC64) if echo "$header" | grep -q little; then arch=ppc64le; else arch=ppc64; fi ;;
*) fail "no name for $machine" ;;
esac

# Only of the same architecture.
busybox=${BUSYBOX-$(command -v busybox || true)}
if [ -n "$busybox" ] && { ! is_static "$busybox" || ! readelf -h "$busybox" | grep -qF "$machine"; }; then
	[ -z "${BUSYBOX-}" ] || fail "$busybox is not static, or not for $machine"
	busybox=
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root/bin" "$work/image/blobs/sha256"
install -m 755 "$binary" "$work/root/bin/cottar"
if [ -n "$busybox" ]; then
	install -m 755 "$(realpath "$busybox")" "$work/root/bin/busybox"
	ln -s busybox "$work/root/bin/sh"
else
	echo "image: no static busybox: handlers that need a shell will not run" >&2
fi

digest() { sha256sum "$1" | cut -d ' ' -f 1; }
# blob FILE: takes it into the image, under its digest, which is printed.
blob() {
	digest=$(digest "$1")
	mv "$1" "$work/image/blobs/sha256/$digest"
	echo "$digest"
}
size() { stat -c %s "$work/image/blobs/sha256/$1"; }

archive "$epoch" "$work/root" bin >"$work/layer.tar"
content=$(digest "$work/layer.tar")
gzip -9n "$work/layer.tar"
layer=$(blob "$work/layer.tar.gz")
platform="\"architecture\":\"$arch\",${variant:+\"variant\":\"$variant\",}\"os\":\"linux\""
labels="\"org.opencontainers.image.title\":\"cottar\",\"org.opencontainers.image.version\":\"$version\""
labels="$labels,\"org.opencontainers.image.revision\":\"$commit\",\"org.opencontainers.image.created\":\"$created\""

# INT makes the node leave its cluster. The user is nobody: no port and no file needs root.
printf '{"created":"%s",%s,"config":{%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},%s}' \
	"$created" "$platform" \
	'"User":"65534:65534","Entrypoint":["/bin/cottar"],"Cmd":["agent"],"Env":["PATH=/bin"],"WorkingDir":"/","StopSignal":"SIGINT","ExposedPorts":{"7946/tcp":{},"7946/udp":{}},"Labels":{'"$labels"'}' \
	"$content" \
	"\"history\":[{\"created\":\"$created\",\"created_by\":\"dist/image.sh\"}]" >"$work/config"
config=$(blob "$work/config")
type=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"%s","digest":"sha256:%s","size":%s}]}' \
	"$type.manifest.v1+json" "$type.config.v1+json" "$config" "$(size "$config")" \
	"$type.layer.v1.tar+gzip" "$layer" "$(size "$layer")" >"$work/manifest"
manifest=$(blob "$work/manifest")
printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"platform":{%s},"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
	"$type.index.v1+json" "$type.manifest.v1+json" "$manifest" "$(size "$manifest")" "$platform" "$version" \
	>"$work/image/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$work/image/oci-layout"

mkdir -p "$(dirname "$file")"
archive "$epoch" "$work/image" . >"$file.new"
mv "$file.new" "$file"
ls -l "$file"
