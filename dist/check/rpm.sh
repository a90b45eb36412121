#!/bin/sh
# Shows that the RPM package works: built by rpmbuild from the archive with crates, installed, upgraded and erased
# in a root of its own, with its scriptlets. Needs root, rpm, mmdebstrap and an archive.
# Usage: dist/check/rpm.sh DIRECTORY     (`make check-rpm` calls it)
#
#   COTTAR_BINARY=FILE      packs that program, and builds and tests nothing
set -eu

mkdir -p "$1"
out=$(realpath "$1")
work=$(mktemp -d)
tree=$work/tree
agent=
# shellcheck source=dist/check/await.sh
. "$(dirname "$0")/await.sh"
# shellcheck source=dist/check/tree.sh
. "$(dirname "$0")/tree.sh"
say() { echo "check-rpm: $*"; }
fail() {
	echo "check-rpm: FAILED: $*" >&2
	tail -n 40 "$work/log" >&2 || true
	exit 1
}
finish() {
	[ -z "$agent" ] || kill "$agent" 2>/dev/null || true
	remove_tree "$tree"
	rm -rf --one-file-system "$work"
}
trap finish EXIT
unset MAKEFLAGS CARGO_TARGET_DIR

STATIC='' sh dist/dist.sh "$work/dist" >"$work/log" 2>&1 || fail "no archive"
mkdir -p "$work/SOURCES"
mv "$work"/dist/*-vendored.tar.gz "$work/SOURCES/"
# Debian's rpm knows none of the packages that are asked for, and the crates are in the archive.
build() { rpmbuild --nodeps --define "_topdir $work" --define "debug_package %{nil}" "$@" >"$work/log" 2>&1; }
mkdir "$work/home"
cp dist/rpm/cottar.spec "$work/"
CARGO_HOME=$work/home build -ba --noclean ${COTTAR_BINARY:+--define "cottar_binary $COTTAR_BINARY"} "$work/cottar.spec" ||
	fail "rpmbuild"
grep '^test result' "$work/log" || say "packs $COTTAR_BINARY, without a build or tests"
first=$(echo "$work"/RPMS/*/cottar-*.rpm)
sed -i 's/^Release: .*/Release: 2/' "$work/cottar.spec"
built=${COTTAR_BINARY:-$(echo "$work"/BUILD/cottar-*/target/release/cottar)}
cp "$built" "$work/cottar"
mkdir "$work/first"
mv "$first" "$work/first/"
first=$(echo "$work"/first/*.rpm)
build -bb --define "cottar_binary $work/cottar" "$work/cottar.spec" || fail "rpmbuild with a program"
second=$(echo "$work"/RPMS/*/cottar-*.rpm)
cp "$work"/SRPMS/*.rpm "$first" "$out/"
say "built $(cd "$out" && echo ./*.rpm)"

# A root with a shell and the tools of scriptlets, and a systemctl that writes down how it is called.
make_tree "$tree"
mkdir -p "$tree/run/systemd/system"
printf '%s\n' '#!/bin/sh' 'echo "$*" >>/systemctl.log' >"$tree/usr/bin/systemctl"
chmod 755 "$tree/usr/bin/systemctl"
called() {
	[ "$(cat "$tree/systemctl.log")" = "$(printf '%s\n' "$@")" ] || fail "systemctl was called: $(cat "$tree/systemctl.log")"
	rm "$tree/systemctl.log"
}
package() { rpm --root "$tree" --nodeps "$@" >"$work/log" 2>&1 || fail "rpm $*"; }
inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C chroot "$tree" "$@"; }

package --install "$first"
called "--no-reload preset cottar.service" "daemon-reload"
inside getent passwd cottar
[ "$(inside stat -c '%U %G %a' /etc/cottar /etc/cottar/handlers.d /var/lib/cottar | tr '\n' ' ')" = \
	"root cottar 750 root root 755 cottar cottar 750 " ] || fail "owners and modes"
package --verify cottar
rpm --root "$tree" -ql cottar
inside cottar version
inside setpriv --reuid cottar --regid cottar --clear-groups \
	cottar agent -node rpm -bind 127.0.0.1:0 -rpc-addr unix:/var/lib/cottar/rpc.sock >"$work/log" 2>&1 &
agent=$!
answers() { inside cottar members -rpc-addr unix:/var/lib/cottar/rpc.sock | grep -q "^rpm .*alive"; }
await_within 30 "answer of the agent" answers
inside cottar leave -rpc-addr unix:/var/lib/cottar/rpc.sock
wait "$agent" || fail "the agent's status"
agent=
say "installed: user, owners, modes, preset; the agent runs"

sed -i 's/"bind": "127.0.0.1"/"bind": "127.0.0.1", "tags": {"kept": "yes"}/' "$tree/etc/cottar/cottar.json"
echo state >"$tree/var/lib/cottar/own"
package --upgrade "$second"
called daemon-reload daemon-reload "try-restart cottar.service"
grep -q kept "$tree/etc/cottar/cottar.json" || fail "the upgrade lost the configuration"
[ "$(rpm --root "$tree" -q --qf '%{RELEASE}' cottar)" = 2 ] || fail "not upgraded"
say "upgraded: restarted, configuration kept"

package --erase cottar
called "--no-reload disable --now cottar.service" daemon-reload
[ ! -e "$tree/usr/bin/cottar" ] || fail "the program is left"
grep -q kept "$tree/etc/cottar/cottar.json.rpmsave" || fail "the changed configuration was not saved"
[ "$(cat "$tree/var/lib/cottar/own")" = state ] || fail "the state was taken"
left=$(cd "$tree" && find . -xdev -path ./proc -prune -o -path ./var/lib/rpm -prune -o -name '*cottar*' -print | sort | tr '\n' ' ')
[ "$left" = "./etc/cottar ./etc/cottar/cottar.json.rpmsave ./var/lib/cottar " ] || fail "left: $left"
say "erased: stopped and disabled first; the changed configuration, the state and the user are left"
