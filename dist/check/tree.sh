# shellcheck shell=sh
# For checks of packages in root trees of Debian's; sourced. SUITE is another release than the host's.

# shellcheck disable=SC1091
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}

# make_tree DIRECTORY [OPTION...]: a minimal tree, with what programs expect to find: /proc, /dev/null, a name for
# loopback. Options are those of mmdebstrap.
make_tree() {
	directory=$1
	shift
	mmdebstrap --quiet --variant=minbase --skip=output/dev "$@" "$suite" "$directory"
	mount -t proc proc "$directory/proc"
	mknod -m 666 "$directory/dev/null" c 1 3 2>/dev/null || true
	printf '%s\n' '127.0.0.1 localhost' '::1 localhost' >"$directory/etc/hosts"
}

# remove_tree DIRECTORY: also one that was not made, or only in part.
remove_tree() {
	umount "$1/proc" 2>/dev/null || true
	rm -rf --one-file-system "$1"
}
