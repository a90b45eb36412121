#!/bin/sh
# Makes Debian packages from dist/debian, which stands for the folder debian of a source package. No root.
#
#   deb.sh source DIRECTORY                       the source package, with all crates
#   deb.sh binary DIRECTORY BINARY [VERSION]      a package around a program that is there already
set -eu
umask 022
export LC_ALL=C
. dist/archive.sh

what=$1
mkdir -p "$2"
out=$(realpath "$2")
binary=${3:+$(realpath "$3")}
field() { dpkg-parsechangelog -l dist/debian/changelog -S "$1"; }
packed=$(field Version)
version=${4:-$packed}
upstream=${packed%-*}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(field Timestamp)}
export SOURCE_DATE_EPOCH
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/cottar-$upstream
unset MAKEFLAGS MFLAGS

copy_sources "$tree"
# The archive that comes of it names the commit that it is from.
if [ -e .git ] && git diff --quiet HEAD; then git rev-parse HEAD >"$tree/dist/commit"; fi

# pack DIRECTORY NAME ARCHIVE: what is called so in the directory.
pack() {
	archive "$SOURCE_DATE_EPOCH" "$1" "$2" --mode=u+rwX,go+rX,go-w | xz >"$work/cottar_$upstream.$3.tar.xz"
}
if [ "$what" = source ]; then pack "$work" "cottar-$upstream" orig; fi
cp -R dist/debian "$tree/debian"
if [ "$what" = source ]; then
	vendor_crates "$tree" debian/cargo.toml
	pack "$tree" vendor orig-vendor
fi

# All licences are in this one file, with its lines indented as the format wants it. Where documentation is
# left out of an installation, it is what stays.
paragraphs() { sed -e 's/^$/./' -e 's/^/ /' "$@"; }
paragraphs dist/licences/third-party.txt >"$work/third-party"
# The first two lines are the name of the licence.
sed -e '1,2d' LICENSE | paragraphs >"$work/license"
sed -e "/^@THIRD_PARTY@\$/{r $work/third-party" -e 'd}' -e "/^@LICENSE@\$/{r $work/license" -e 'd}' \
	dist/debian/copyright >"$tree/debian/copyright"
if [ "$version" != "$packed" ]; then
	{
		echo "cottar ($version) unstable; urgency=medium

  * Built as version $version.

 -- $(field Maintainer)  $(date -uRd "@$((SOURCE_DATE_EPOCH + 60))")
"
		cat dist/debian/changelog
	} >"$tree/debian/changelog"
fi

cd "$tree"
case $what in
source)
	dpkg-source --build . >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
	;;
binary)
	COTTAR_BINARY=$binary dpkg-buildpackage --build=binary --no-sign --no-check-builddeps >"$work/log" 2>&1 || {
		cat "$work/log" >&2
		exit 1
	}
	;;
esac
cd "$work"
for file in cottar_*; do
	mv "$file" "$out/"
	echo "$2/$file"
done
