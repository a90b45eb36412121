#!/bin/sh
# Runs a command again, some seconds after each failure, until it ends with status 0: an agent that has left its
# cluster stays away, and for any other end it never gives up. For inits that restart always or never.
# Usage: keep SECONDS COMMAND [ARG...]
#
# HUP, INT and TERM are passed on; after INT or TERM nothing is started any more.

pause=$1
shift
child=
ending=
pending=
pass() {
	if [ -n "$child" ]; then kill -s "$1" "$child" 2>/dev/null; else pending=$1; fi
}
trap 'pass HUP' HUP
trap 'ending=1; pass INT' INT
trap 'ending=1; pass TERM' TERM

# await: waits for the child's end, since each signal ends a `wait`, and leaves its status.
await() {
	while :; do
		wait "$child"
		status=$?
		kill -0 "$child" 2>/dev/null || break
	done
	child=
}

while [ -z "$ending" ]; do
	"$@" &
	child=$!
	# A signal that came before the child was known.
	[ -z "$pending" ] || pass "$pending"
	pending=
	await
	[ "$status" -ne 0 ] || exit 0
	[ -z "$ending" ] || break
	sleep "$pause" &
	child=$!
	wait "$child"
	# A signal cuts the pause short; what sleeps ignores INT.
	pass TERM
	child=
	pending=
done
exit "${status:-1}"
