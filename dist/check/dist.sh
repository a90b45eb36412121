#!/bin/sh
# Shows that a release can be made again: writes its files twice, the second time from a clone elsewhere,
# with another umask, time zone and language, and compares; then builds and tries what the archives hold.
# Usage: dist/check/dist.sh DIRECTORY     (`make check-dist` calls it)
set -eu

out=$1

fail() {
	echo "check-dist: FAILED: $*" >&2
	exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset MAKEFLAGS CARGO_TARGET_DIR

sh dist/dist.sh "$out"
git clone --quiet . "$work/a clone elsewhere"
(
	cd "$work/a clone elsewhere"
	umask 077
	TZ=Asia/Tokyo LANG=de_DE.UTF-8 sh dist/dist.sh "$work/again" >/dev/null
)
for file in "$out"/*; do
	cmp "$file" "$work/again/${file##*/}" || fail "the second ${file##*/} is another one"
done
[ "$(ls "$out")" = "$(ls "$work/again")" ] || fail "other files the second time"
echo "check-dist: the same files twice"

(cd "$out" && sha256sum --quiet -c SHA256SUMS) || fail "the sums"
commit=$(git rev-parse HEAD)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | sed 1q)
for binary in "$out/cottar-$version"-*-linux-*; do
	said=$("$binary" version)
	case $said in
	"$version"*"Build: ${binary#"$out/cottar-$version-"}, commit $(printf %.12s "$commit")") ;;
	*) fail "$binary says: $said" ;;
	esac
done
echo "check-dist: the static binary names version, target and commit"

tar -C "$work" -xzf "$out/cottar-$version-vendored.tar.gz"
for crate in "$work/cottar-$version/vendor"/*; do
	[ -n "$(find "$crate" -maxdepth 1 -iname '*licen[sc]e*' -o -maxdepth 1 -iname 'copying*')" ] ||
		grep -q '^license = ' "$crate/Cargo.toml" || fail "no licence: ${crate##*/}"
done
mkdir "$work/home"
(cd "$work/cottar-$version" && CARGO_HOME=$work/home make OFFLINE=--offline all >"$work/log" 2>&1) ||
	fail "the archive with crates does not build: $(cat "$work/log")"
"$work/cottar-$version/target/release/cottar" version | grep -q "commit $(printf %.12s "$commit")\$" ||
	fail "the build of the archive does not name its commit"
echo "check-dist: the archive with crates builds without a network and names its commit"

cargo package --quiet --locked --allow-dirty --target-dir "$work/target" || fail "cargo package"
echo "check-dist: cargo package is content"
