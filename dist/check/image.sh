#!/bin/sh
# Shows that the image works: it is the same when made again, its digests are right, it holds what it should and
# nothing else; then its agent is process 1 of a container's namespaces: handlers, orphans, signals, status.
# Needs root, jq and iproute2.
# Usage: dist/check/image.sh BINARY FILE     (`make check-image` calls it)
set -eu

binary=$1
file=$2
work=$(mktemp -d)
outside=
# shellcheck source=dist/check/await.sh
. "$(dirname "$0")/await.sh"
say() { echo "check-image: $*"; }
fail() {
	echo "check-image: FAILED: $*" >&2
	cat "$work/log" >&2 || true
	exit 1
}
finish() {
	[ -z "$outside" ] || kill -KILL "$outside" 2>/dev/null || true
	rm -rf --one-file-system "$work"
}
trap finish EXIT
await() { await_within 30 "$@"; }

(umask 077 && TZ=Asia/Tokyo sh dist/image.sh "$binary" "$work/again" >/dev/null)
cmp "$file" "$work/again" || fail "the second image is another one"
say "the same image twice: $(sha256sum <"$file" | cut -d ' ' -f 1)"

# --- The archive

image=$work/image
tree=$work/tree
mkdir "$image" "$tree"
tar -C "$image" -xf "$file"
for blob in "$image"/blobs/sha256/*; do
	[ "$(sha256sum <"$blob" | cut -d ' ' -f 1)" = "${blob##*/}" ] || fail "the digest of $blob"
done
# blob DESCRIPTOR: the file that it describes, whose size must be the one that it gives.
blob() {
	blob=$image/blobs/sha256/$(echo "$1" | jq -er '.digest | ltrimstr("sha256:")')
	[ "$(stat -c %s "$blob")" = "$(echo "$1" | jq -er .size)" ] || fail "the size of $1"
	echo "$blob"
}
[ "$(jq -er .imageLayoutVersion "$image/oci-layout")" = 1.0.0 ] || fail "the layout"
manifest=$(blob "$(jq -ec '.manifests[0]' "$image/index.json")")
config=$(blob "$(jq -ec .config "$manifest")")
layer=$(blob "$(jq -ec '.layers[0]' "$manifest")")
[ "$(zcat "$layer" | sha256sum | cut -d ' ' -f 1)" = "$(jq -er '.rootfs.diff_ids[0] | ltrimstr("sha256:")' "$config")" ] ||
	fail "the digest of the layer's content"
[ "$(find "$image" -type f | wc -l)" -eq 5 ] || fail "other files"
zcat "$layer" | tar -tvf -
entries=$(zcat "$layer" | tar -tf - | tr '\n' ' ')
case $entries in
"bin/ bin/busybox bin/cottar bin/sh ") ;;
*) fail "the image holds: $entries" ;;
esac
zcat "$layer" | tar -C "$tree" -xf -
say "digests and sizes are right; it holds cottar and a shell, and nothing else"

# --- The agent as process 1

entry=$(jq -er '.config | .Entrypoint + .Cmd | join(" ")' "$config")
user=$(jq -er '.config.User | split(":")[0]' "$config")
stop=$(jq -er .config.StopSignal "$config")
# What an engine mounts, and a volume that belongs to the image's user.
mkdir "$tree/proc" "$tree/dev" "$tree/data"
chown "$user" "$tree/data"
chmod 755 "$work" "$tree"
# start ARG...: the image's command, with these arguments. There is no interface but loopback.
start() {
	# shellcheck disable=SC2016,SC2086
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin unshare --pid --mount --net --uts --ipc --fork sh -euc '
		ip link set lo up
		mount -t proc proc "$1/proc"
		mount --bind /dev "$1/dev"
		tree=$1 user=$2
		shift 2
		exec env -i PATH=/bin /usr/sbin/chroot --userspec "$user:$user" "$tree" "$@"
	' - "$tree" "$user" $entry -node contained -bind 127.0.0.1 -event-handler "$handler" "$@" >"$work/log" 2>&1 &
	outside=$!
	await "process 1" pid
	await "agent" inside /bin/cottar wait -timeout 1s contained
}
children() { tr -d ' ' <"/proc/$1/task/$1/children"; }
pid() {
	pid=$(children "$outside")
	[ -n "$pid" ] && [ "$(readlink "/proc/$pid/exe")" = "$tree/bin/cottar" ]
}
inside() {
	nsenter --target "$pid" --pid --mount --net env -i PATH=/bin /usr/sbin/chroot --userspec "$user:$user" "$tree" "$@" >"$work/said" 2>&1
}
# ends STATUS: the container ends with it.
ends() {
	status=0
	wait "$outside" || status=$?
	outside=
	[ $status -eq "$1" ] || fail "it ended with status $status, not $1"
}
said() { [ "$(cat "$work/said")" = "$1" ]; }
# shellcheck disable=SC2016
handler='echo "$SERF_EVENT $SERF_USER_EVENT $(busybox id -u)" >>/data/events
[ "$SERF_USER_EVENT" != orphan ] || { busybox sleep 0.2 </dev/null >/dev/null 2>&1 & }'
handled() { grep -qx "$1" "$tree/data/events"; }

start
await "handler" handled "member-join  $user"
[ "$(sed -n 's/^NSpid:.*\t//p' "/proc/$pid/status")" = 1 ] || fail "it is not process 1"
inside /bin/cottar event deploy || fail "no event"
await "handler of an event" handled "user deploy $user"
say "it is process 1, runs as $user, and its handlers run"

# The sleeping child outlives its handler and becomes a child of process 1, which must reap it.
inside /bin/cottar event -coalesce=false orphan || fail "no event"
await "handler of an orphan" handled "user orphan $user"
alone() { [ -z "$(children "$pid")" ]; }
await "end of the orphan" alone
say "an orphan was reaped"

kill -s HUP "$pid"
inside /bin/cottar members || fail "HUP ended it"
kill -s "${stop#SIG}" "$pid"
ends 0
grep -q "requesting graceful leave" "$work/log" || fail "$stop makes it leave"
say "$stop, the image's signal to stop: it left, status 0"

start
kill -s TERM "$pid"
ends 1
! grep -q "requesting graceful leave" "$work/log" || fail "TERM made it leave"
say "TERM: it ended without leaving, status 1"

echo '{"leave_on_terminate": true}' >"$tree/data/leave.json"
start -config-file /data/leave.json
kill -s TERM "$pid"
ends 0
say "TERM with leave_on_terminate: it left, status 0"

start
# The end of process 1 ends the command, too.
inside /bin/cottar leave || true
ends 0
grep -q "requesting graceful leave" "$work/log" || fail "cottar leave ended it without leaving"
say "cottar leave: it left, status 0"
