# shellcheck shell=sh
# For scripts that write archives; sourced.

# archive EPOCH DIRECTORY NAME [OPTION...]: a tar archive of what is called so in the directory, on standard output.
# It is the same for the same content, whoever makes it. Options are tar's.
archive() (
	epoch=$1 directory=$2 name=$3
	shift 3
	tar -C "$directory" --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner "$@" \
		-cf - "$name"
)
