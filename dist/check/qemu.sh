#!/bin/sh
# Runs a command in a network of its own, where the kernel hands programs for another machine to qemu-user. Nothing
# is registered outside: binfmt_misc belongs to the user namespace, since Linux 6.7. Programs that the kernel
# can run itself, those of i386 on x86-64, it runs.
# Usage: qemu.sh QEMU-NAME COMMAND...
set -eu

if [ -z "${COTTAR_IN_NAMESPACE-}" ]; then
	COTTAR_IN_NAMESPACE=1 exec unshare --user --map-root-user --mount --net sh "$0" "$@"
fi
unset COTTAR_IN_NAMESPACE

format=/usr/lib/binfmt.d/qemu-$1.conf
shift
ip link set lo up
if [ -e "$format" ]; then
	mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
	cat "$format" >/proc/sys/fs/binfmt_misc/register
fi
exec "$@"
