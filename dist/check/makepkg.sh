#!/bin/sh
# Shows that the PKGBUILD works: makepkg builds it from the archive with crates, pacman installs it into a root of
# its own and removes it. Needs root, and of Debian: makepkg, pacman-package-manager, fakeroot, libarchive-tools.
# Usage: dist/check/makepkg.sh DIRECTORY     (`make check-makepkg` calls it)
#
#   COTTAR_BINARY=FILE      packs that program, and builds and tests nothing
set -eu

mkdir -p "$1"
out=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "check-makepkg: $*"; }
fail() {
	echo "check-makepkg: FAILED: $*" >&2
	tail -n 40 "$work/log" >&2 || true
	exit 1
}
unset MAKEFLAGS CARGO_TARGET_DIR

STATIC='' sh dist/dist.sh "$work/dist" >"$work/log" 2>&1 || fail "no archive"
mkdir "$work/build" "$work/home"
cp "$work"/dist/*-vendored.tar.gz dist/arch/* "$work/build/"
# makepkg does not work as root, whose own toolchain nobody else can use. Of Debian's pacman nothing is known that could be depended on.
chmod 755 "$work"
chown -R nobody "$work/build" "$work/home"
(
	cd "$work/build"
	PATH=/usr/bin:$PATH HOME=$work/home CARGO_HOME=$work/home setpriv --reuid nobody --clear-groups makepkg --nodeps --noconfirm
) >"$work/log" 2>&1 || fail "makepkg"
grep '^test result' "$work/log" || say "packs $COTTAR_BINARY, without a build or tests"
package=$(echo "$work"/build/cottar-[0-9]*.pkg.tar*)
bsdtar -xOf "$package" .PKGINFO | grep -e pkgname -e pkgver -e backup -e depend -e license
cp "$package" "$out/"
say "built ${package##*/}"

root=$work/root
mkdir -p "$root/var/lib/pacman" "$root/var/cache"
manage() {
	pacman --root "$root" --dbpath "$root/var/lib/pacman" --cachedir "$root/var/cache" --gpgdir "$work/gpg" \
		--config /dev/null --noconfirm "$@"
}
manage --upgrade --nodeps --nodeps "$package" >"$work/log" 2>&1 || fail "pacman --upgrade"
manage --query --list cottar
manage --query --check cottar || fail "other files than packed"
[ "$("$root/usr/bin/cottar" version | sed 1q)" = "$(sed -n 's/^pkgver=//p' dist/arch/PKGBUILD)" ] || fail "the version"
echo '{}' >"$root/etc/cottar/cottar.json"
manage --remove cottar >"$work/log" 2>&1 || fail "pacman --remove"
left=$(cd "$root" && find . -name '*cottar*' | sort | tr '\n' ' ')
[ "$left" = "./etc/cottar ./etc/cottar/cottar.json.pacsave " ] || fail "left: $left"
say "installed and removed; the changed configuration was saved"
