#!/bin/sh
# Prepares what a static binary for another machine is linked with: the start file, the C library and our stand-in
# for an unwinder. A C library that is there is kept. `make static TARGET=...` calls it.
# Usage: cross.sh DEBIAN-ARCHITECTURE DIRECTORY CLANG --target=TARGET [FLAG...]
#
# The C library is that of Debian's package musl-dev. With flags, it is built from Debian's source package.
set -eu

arch=$1
mkdir -p "$2/lib"
directory=$(realpath "$2")
here=$(realpath "$(dirname "$0")")
shift 2
cc=$*

# fetch WHAT COMMAND...: downloads into the present directory.
fetch() {
	what=$1
	shift
	"$@" >fetch.log 2>&1 || {
		cat fetch.log >&2
		echo "cross: cannot fetch $what" >&2
		exit 1
	}
}

packaged() {
	fetch "musl-dev:$arch; \`dpkg --add-architecture $arch && apt-get update\` makes it known" \
		apt-get download "musl-dev:$arch"
	dpkg-deb -x musl-dev_*.deb tree
	cp tree/usr/lib/*-linux-musl*/*.[ao] "$directory/lib"
	mv tree/usr/include/*-linux-musl* "$directory/include"
}

from_source() {
	fetch "the source of musl; apt needs a line \`deb-src\`" apt-get source --download-only musl
	dpkg-source --no-check -x musl_*.dsc source >fetch.log
	cd source
	CC=$cc CROSS_COMPILE=llvm- AR="llvm-ar-${LLVM:-22}" RANLIB="llvm-ranlib-${LLVM:-22}" LIBCC=' ' \
		./configure --target="$machine" --disable-shared --prefix=/ >configure.log
	make -s -j"$(nproc)" DESTDIR="$directory" install-libs install-headers >make.log
}

if [ ! -e "$directory/lib/rcrt1.o" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cd "$work"
	machine=${2#--target=}
	if [ $# -gt 2 ]; then from_source; else packaged; fi
fi

cd "$directory"
$cc -Os -c -o no-unwinder.o "$here/no-unwinder.c"
"llvm-ar-${LLVM:-22}" rcsD lib/libunwind.a no-unwinder.o
