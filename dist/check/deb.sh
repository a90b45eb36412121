#!/bin/sh
# Shows that the package works: lintian, then in a fresh tree of Debian's install, start, upgrade,
# remove and purge, after which nothing of it is left. Needs root, mmdebstrap, iproute2 and an archive.
# Usage: deb.sh BINARY DIRECTORY     (`make check-deb` calls it)
set -eu

binary=$1
out=$2
arch=$(dpkg --print-architecture)
old=$(dpkg-parsechangelog -l dist/debian/changelog -S Version)
new=${old%-*}-$((${old##*-} + 1))
first=$out/cottar_${old}_$arch.deb
second=$out/cottar_${new}_$arch.deb

# shellcheck source=dist/check/await.sh
. "$(dirname "$0")/await.sh"
# shellcheck source=dist/check/tree.sh
. "$(dirname "$0")/tree.sh"
say() { echo "check-deb: $*"; }
fail() {
	echo "check-deb: FAILED: $*" >&2
	cat "${tree-}/tmp/log" >&2 2>/dev/null || true
	exit 1
}

sh dist/deb.sh binary "$out" "$binary" "$new" >/dev/null
if command -v lintian >/dev/null; then
	lintian --fail-on error,warning --allow-root "$first" || fail "lintian"
	say "lintian is content"
fi

tree=$(mktemp -d "${TMPDIR:-/tmp}/cottar-tree.XXXXXX")
agent=
finish() {
	[ -z "$agent" ] || kill "$agent" 2>/dev/null || true
	remove_tree "$tree"
}
trap finish EXIT
say "a tree of $suite"
make_tree "$tree" --include=systemd-standalone-sysusers,systemd-standalone-tmpfiles
cp "$first" "$second" "$tree/tmp/"

environment="PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive"
# shellcheck disable=SC2086
inside() { env -i $environment chroot "$tree" "$@"; }
files() {
	(cd "$tree" && find . -xdev ! -path './var/lib/dpkg/*' ! -path './var/log/*' \
		! -path './var/cache/*' ! -path './tmp/*' ! -path './proc/*' -printf '%y %m %p\n' | LC_ALL=C sort)
}

# The agent has a network of its own, where the usual ports are free.
# shellcheck disable=SC2086
start() {
	env -i $environment sh dist/check/apart.sh "$tree" \
		setpriv --reuid cottar --regid cottar --clear-groups \
		cottar agent -config-dir /etc/cottar -node "$1" >"$tree/tmp/log" 2>&1 &
	agent=$!
	await_within 30 "answer of the agent" answers "$1"
}
answers() { beside cottar members | grep -q "^$1 .*alive"; }
# shellcheck disable=SC2086
beside() { env -i $environment nsenter --net="/proc/$agent/ns/net" chroot "$tree" "$@"; }
stop() {
	kill -INT "$agent"
	wait "$agent" || fail "the agent ended with status $?"
	agent=
}

# What systemd does for the service.
runtime() { inside install -d -o cottar -g cottar /run/cottar; }

files >"$out/before"
cp "$tree/etc/passwd" "$out/passwd"

inside dpkg --install "/tmp/cottar_${old}_$arch.deb" >/dev/null || fail "install"
[ "$(inside stat -c '%U %G %a' /etc/cottar)" = "root cottar 750" ] || fail "mode of /etc/cottar"
[ "$(inside stat -c '%U %G %a' /etc/cottar/handlers.d)" = "root root 755" ] || fail "mode of handlers.d"
[ "$(inside stat -c '%U %G %a' /var/lib/cottar)" = "cottar cottar 750" ] || fail "mode of /var/lib/cottar"
inside test -L /etc/systemd/system/multi-user.target.wants/cottar.service || fail "not enabled"
inside dpkg --verify cottar || fail "other files than packed"
say "installed $old"
runtime

start one
inside test -s /var/lib/cottar/snapshot || fail "no snapshot"
[ "$(inside stat -c '%U %G %a' /run/cottar/rpc.sock)" = "cottar cottar 660" ] || fail "mode of the socket"
# 7373 is 1CCD; the state of a socket that listens is 0A.
! beside grep -q ":1CCD 00000000:0000 0A" /proc/net/tcp || fail "RPC by TCP"
stop
inside test ! -e /run/cottar/rpc.sock || fail "the socket is left"
say "the agent started, answered and left"

inside sed -i 's/"bind": "127.0.0.1"/"bind": "127.0.0.1", "tags": {"kept": "yes"}/' /etc/cottar/cottar.json
# As "systemctl disable" does.
inside rm /etc/systemd/system/multi-user.target.wants/cottar.service
inside dpkg --install "/tmp/cottar_${new}_$arch.deb" >/dev/null || fail "upgrade"
inside dpkg --status cottar | grep -qx "Version: $new" || fail "not upgraded"
inside grep -q kept /etc/cottar/cottar.json || fail "the upgrade lost the configuration"
inside test -s /var/lib/cottar/snapshot || fail "the upgrade lost the snapshot"
inside test ! -L /etc/systemd/system/multi-user.target.wants/cottar.service || fail "the upgrade enabled a disabled service"
start two
beside cottar members | grep -q kept=yes || fail "the configuration is not read"
stop
say "upgraded to $new: configuration, state and a disabled service stay as they were"

inside dpkg --remove cottar >/dev/null || fail "remove"
inside test ! -e /usr/bin/cottar || fail "the program is still there"
inside test -s /etc/cottar/cottar.json || fail "the removal took the configuration"
inside test -s /var/lib/cottar/snapshot || fail "the removal took the state"
say "removed: configuration and state stay"

inside dpkg --purge cottar >/dev/null || fail "purge"
inside rm -r /run/cottar
files >"$out/after"
# The user stays, and tools keep a copy of the files that they changed.
diff "$out/before" "$out/after" | grep '^[<>]' | grep -v ' \./etc/\(passwd\|group\|shadow\|gshadow\)-\?$' |
	grep -v ' \./etc/\.pwd\.lock$' && fail "the purge left something"
[ "$(diff "$out/passwd" "$tree/etc/passwd" | grep -c '^[<>]')" = 1 ] || fail "more than one user"
say "purged: nothing is left but the user"
