# shellcheck shell=sh
# For scripts that copy the sources or write archives of them; sourced.

# copy_sources DIRECTORY: those in the present directory, as they are now: the files that git knows; in an archive of
# the sources, all but what was built or vendored.
copy_sources() {
	mkdir -p "$1"
	if [ -e .git ]; then
		git ls-files -z | tar --null -T - -cf -
	else
		tar --exclude=./target --exclude=./vendor --exclude=./.cargo --exclude=./debian -cf - .
	fi | tar -C "$1" -xf -
}

# vendor_crates DIRECTORY FILE: all crates of the sources in the directory, into its directory vendor. The file, a
# path in the directory, gets the configuration by which cargo uses them.
vendor_crates() (
	cd "$1" || exit
	mkdir -p "$(dirname "$2")"
	# With --quiet, cargo would not print the configuration either.
	said=$(cargo vendor --locked --versioned-dirs vendor 2>&1 >"$2") || {
		echo "$said" >&2
		exit 1
	}
	grep -q '^replace-with' "$2"
)

# archive EPOCH DIRECTORY NAME [OPTION...]: a tar archive of what is called so in the directory, on standard output.
# It is the same for the same content, whoever makes it. Options are tar's.
archive() (
	epoch=$1 directory=$2 name=$3
	shift 3
	tar -C "$directory" --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner "$@" \
		-cf - "$name"
)
