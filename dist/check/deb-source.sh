#!/bin/sh
# Shows that the source package works: builds it in a fresh tree of Debian's, without a network and with the
# packages that it asks for and no others; then lintian, and the package's own tests in another fresh tree.
# Needs root, mmdebstrap, autopkgtest, lintian and an archive.
# Usage: deb-source.sh DIRECTORY     (`make check-deb-source` calls it)
set -eu

out=$(realpath "$1")
version=$(dpkg-parsechangelog -l dist/debian/changelog -S Version)
work=$(mktemp -d "${TMPDIR:-/tmp}/cottar-deb.XXXXXX")
tree=$work/build

# shellcheck source=dist/check/tree.sh
. "$(dirname "$0")/tree.sh"
say() { echo "check-deb-source: $*"; }
fail() {
	echo "check-deb-source: FAILED: $*" >&2
	exit 1
}
finish() {
	remove_tree "$tree"
	remove_tree "$work/test"
	rm -rf --one-file-system "$work"
}
trap finish EXIT
environment="PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive HOME=/nonexistent"
# Whoever is in a hurry has a profile that compiles quickly, or `nocheck`.
environment="$environment $(env | grep -e '^CARGO_PROFILE_' -e '^DEB_BUILD_OPTIONS=' | tr '\n' ' ')"
# shellcheck disable=SC2086
inside() { env -i $environment "$@"; }

make_tree "$tree" --include=build-essential,ca-certificates
mkdir "$tree/build"
cp "$out"/cottar_"${version%-*}".orig*.tar.* "$out/cottar_$version".d* "$tree/build/"
inside chroot "$tree" sh -euc "cd /build && dpkg-source -x cottar_$version.dsc source" >"$work/log" 2>&1 ||
	fail "$(cat "$work/log")"
inside chroot "$tree" sh -euc "cd /build/source && apt-get -qq update && apt-get -qq -y --no-install-recommends build-dep ." \
	>"$work/log" 2>&1 || fail "build-dep: $(cat "$work/log")"
say "a tree of $suite with $(inside chroot "$tree" rustc -V)"
# With loopback, as distributions build.
inside sh dist/check/apart.sh "$tree" sh -euc "cd /build/source && dpkg-buildpackage -us -uc" >"$work/log" 2>&1 ||
	fail "dpkg-buildpackage: $(tail -n 40 "$work/log")"
grep '^test result' "$work/log"
(cd "$tree/build" && ls -l ./*.deb)
say "dpkg-buildpackage built it without a network"
inside chroot "$tree" sh -euc "cd /build/source && dpkg-buildpackage -T clean" >"$work/log" 2>&1 || fail "clean"
inside chroot "$tree" sh -euc "cd /build/source && dpkg-source -b ." >"$work/log" 2>&1 ||
	fail "what is cleaned is not what was unpacked: $(cat "$work/log")"
say "clean leaves what was unpacked"

changes=$(echo "$tree"/build/cottar_*.changes)
lintian --pedantic --fail-on error,warning --allow-root "$changes" || fail "lintian"
say "lintian is content"

make_tree "$work/test" --include=ca-certificates
autopkgtest "$tree/build/cottar_$version.dsc" "$tree"/build/cottar_"$version"_*.deb --apt-upgrade -- chroot "$work/test" \
	>"$work/log" 2>&1 || fail "autopkgtest: $(tail -n 60 "$work/log")"
grep -A 2 -e '@@@.*summary' "$work/log"
say "the package's own tests pass"
