#!/bin/sh
# Builds the Debian package. Needs dpkg-dev, no root and no debhelper.
# Usage: build.sh BINARY DIRECTORY [VERSION]     (`make deb` calls it)
set -eu
umask 022

binary=$1
out=$2
here=$(dirname "$0")
version=${3:-$(dpkg-parsechangelog -l "$here/changelog" -S Version)}
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(dpkg-parsechangelog -l "$here/changelog" -S Timestamp)}
export SOURCE_DATE_EPOCH

mkdir -p "$out"
work=$(mktemp -d "$out/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
doc=$root/usr/share/doc/cottar

make -s install DESTDIR="$(realpath "$work")/root" PREFIX=/usr SYSCONFDIR=/etc STATEDIR=/var/lib \
	INIT_SYSTEM=systemd ZSHCOMPDIR=/usr/share/zsh/vendor-completions SERF_LINK= BINARY="$binary"

gzip -9n "$root"/usr/share/man/man?/*
gzip -9n "$doc/README.md"
gzip -9nc "$doc/CHANGELOG.md" >"$doc/changelog.gz"
rm "$doc/CHANGELOG.md"
if [ "$version" = "$(dpkg-parsechangelog -l "$here/changelog" -S Version)" ]; then
	cat "$here/changelog"
else
	echo "cottar ($version) unstable; urgency=medium

  * Built as version $version.

 -- The cottar authors <cottar@packages.example.org>  $(date -uRd "@$((SOURCE_DATE_EPOCH + 60))")
"
	cat "$here/changelog"
fi | gzip -9nc >"$doc/changelog.Debian.gz"
gzip -9nc "$here/NEWS" >"$doc/NEWS.Debian.gz"

# All licences are in this one file, with its lines indented as the format wants it. Where documentation is
# left out of an installation, it is what stays.
paragraphs() { sed -e 's/^$/./' -e 's/^/ /' "$@"; }
paragraphs "$doc/third-party.txt" >"$work/third-party"
# The first two lines are the name of the licence.
sed -e '1,2d' LICENSE | paragraphs >"$work/license"
sed -e "/^@THIRD_PARTY@\$/{r $work/third-party" -e 'd}' -e "/^@LICENSE@\$/{r $work/license" -e 'd}' \
	"$here/copyright" >"$doc/copyright"
rm "$doc/LICENSE" "$doc/third-party.txt"

overrides=$root/usr/share/lintian/overrides/cottar
mkdir -p "${overrides%/*}"
echo "# This package is not made for Debian's own archive.
cottar: initial-upload-closes-no-bugs *" >"$overrides"

# What the binary needs of the system, if it is not a static one.
libraries=
if readelf -d "$binary" | grep -q NEEDED; then
	mkdir -p "$work/source/debian"
	printf 'Source: cottar\n\nPackage: cottar\nArchitecture: any\n' >"$work/source/debian/control"
	bin=$(realpath "$root/usr/bin/cottar")
	# It warns that the binary is not where an installed package has it.
	libraries=$(cd "$work/source" && dpkg-shlibdeps -O "$bin" 2>../warnings) || {
		cat "$work/warnings" >&2
		exit 1
	}
	libraries=${libraries#shlibs:Depends=}
else
	# Nor is a static binary a mistake here.
	echo "cottar: statically-linked-binary *
cottar: shared-library-lacks-prerequisites *" >>"$overrides"
fi
depends="${libraries:+$libraries, }systemd | systemd-standalone-sysusers | systemd-sysusers"
depends="$depends, systemd | systemd-standalone-tmpfiles | systemd-tmpfiles"

mkdir "$root/DEBIAN"
size=$(du -k -s --apparent-size "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" -e "s/@DEPENDS@/$depends/" \
	"$here/control" >"$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\n' |
	LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
echo /etc/cottar/cottar.json >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	install -m 755 "$here/$script" "$root/DEBIAN/$script"
done
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +

dpkg-deb --root-owner-group --build "$root" "$out/cottar_${version}_${arch}.deb"
