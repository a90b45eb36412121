#!/bin/sh
# Writes the files of a release; see dist/README.md. Needs git, and cargo with the crates or a network.
# Usage: dist.sh DIRECTORY [COMMIT]     (`make dist` calls it)
#
#   STATIC=BINARY...       static binaries that are there already, each as TARGET=FILE; if it is unset,
#                          one is built for this machine, from the archive of the sources
set -eu
umask 022
export LC_ALL=C TZ=UTC
. dist/archive.sh

mkdir -p "$1"
out=$(realpath "$1")
commit=$(git rev-parse --verify --quiet "${2:-HEAD}^{commit}") || {
	echo "dist: there is no commit ${2:-HEAD}" >&2
	exit 1
}
version=$(git show "$commit:Cargo.toml" | sed -n 's/^version = "\(.*\)"$/\1/p' | sed 1q)
epoch=$(git log -1 --format=%ct "$commit")
name=cottar-$version
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git diff --quiet HEAD || echo "dist: changes that are not committed are left out" >&2

# pack DIRECTORY FILE: archives a directory of the work into a file of the release.
pack() {
	archive "$epoch" "$work" "$1" --mode=u+rwX,go+rX,go-w | gzip -9n >"$out/$2"
}

rm -f "$out"/cottar-* "$out/SHA256SUMS"
git archive --format=tar --prefix="$name/" "$commit" | tar -C "$work" -xf -
pack "$name" "$name.tar.gz"

# A build of the archive by whoever has no git must be able to name its commit.
grep -qx "$commit" "$work/$name/dist/commit"

if [ -z "${STATIC+set}" ]; then
	cp -R "$work/$name" "$work/build"
	(unset MAKEFLAGS CARGO_TARGET_DIR && make -C "$work/build" static) >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
	target=$("$work/build/target/static/cottar" version | sed -n 's/^Build: \(.*\), commit .*/\1/p')
	STATIC=$target=$work/build/target/static/cottar
fi
for binary in $STATIC; do
	install -m 755 "${binary#*=}" "$out/$name-${binary%%=*}"
	touch -d "@$epoch" "$out/$name-${binary%%=*}"
done

vendor_crates "$work/$name" .cargo/config.toml
pack "$name" "$name-vendored.tar.gz"

# The licences of what is linked into the binaries, and cottar's own.
cat "$work/$name/LICENSE" "$work/$name/dist/licences/third-party.txt" >"$out/$name-licences.txt"

cd "$out"
sha256sum cottar-* >SHA256SUMS
touch -d "@$epoch" cottar-* SHA256SUMS
ls -l
