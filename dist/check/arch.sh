#!/bin/sh
# Shows that a binary for another machine does what one for this machine does, beside one and beside Serf: it
# joins them, runs handlers for all seven events, asks and answers queries, and each of the two binaries goes on
# with the snapshot and the journal of the other.
# Usage: arch.sh BINARY NATIVE     (`make check-arch TARGET=...` calls it, through qemu.sh)
#
# Handlers are native: /bin/sh is this machine's.
set -eu

far=$(realpath "$1")
near=$(realpath "$2")
work=$(mktemp -d)
finish() {
	status=$?
	trap - EXIT
	cat "$work"/*.pid 2>/dev/null | while read -r pid; do kill -KILL "$pid" 2>/dev/null || :; done
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM

# shellcheck source=dist/check/await.sh
. "$(dirname "$0")/await.sh"
fail() {
	echo "check-arch: FAILED: $*" >&2
	tail -n 30 "$work"/*.log "$work"/seen >&2
	exit 1
}

# until_true WHAT COMMAND...: waits until the command succeeds, three minutes at most.
until_true() {
	await_within 180 "$@"
	echo "check-arch: $1"
}

"$far" version
echo "check-arch: $(stat -L -c %s "$far") bytes"

# The handler notes each run; that of the event `block` ends when the file `go` is there, as no other is.
cat >"$work/handler" <<'HANDLER'
what=$SERF_EVENT:${SERF_USER_EVENT-}${SERF_QUERY_NAME-}
printf '%s %s %s\n' "$1" "$what" "$(tr '\t\n' '  ')" >>"$2/seen"
case $what in
query:*) echo "$SERF_SELF_NAME answers" ;;
user:block) until [ -e "$2/go" ]; do sleep 0.1; done ;;
esac
HANDLER
: >"$work/seen"

# start NAME PORT BINARY [FLAG...]: starts an agent and waits until it serves.
start() {
	name=$1 port=$2 binary=$3
	shift 3
	"$binary" agent -node "$name" -bind "127.0.0.1:$port" -rpc-addr "127.0.0.1:$((port + 100))" \
		-profile local "$@" >"$work/$name.log" 2>&1 &
	echo $! >"$work/$name.pid"
	until_true "start of $name" grep -q 'data will now stream in' "$work/$name.log"
}

# start_far BINARY [FLAG...]: the node of the two binaries that take turns. Whose handlers they are goes first.
start_far() {
	binary=$1
	shift
	start far 7003 "$binary" -snapshot "$work/snapshot" -journal "$work/journal" \
		-event-handler "sh $work/handler ${binary##*/} $work" "$@"
}

# end NAME: kills it as a power cut would.
end() {
	kill -KILL "$(cat "$work/$1.pid")"
	until_true "end of $1" sh -c "! kill -0 $(cat "$work/$1.pid")"
}

# ask PORT COMMAND...: a command for the agent there.
ask() {
	port=$((100 + $1)) command=$2
	shift 2
	"$near" "$command" -rpc-addr "127.0.0.1:$port" "$@"
}
sees() { ask "$1" members | grep -Eq "^$2 .* $3( |$)"; }
seen() { grep -Eq "^$1" "$work/seen"; }

# written PID BINARY: the KiB of its memory that it has written to. Under qemu-user, only what is within 4 GiB of the
# binary is the program's; the rest is the emulator's.
written() {
	awk -v binary="$2" -v whole="$([ "$(realpath "/proc/$1/exe")" = "$2" ] && echo yes)" '
		function number(hex,  i, n) {
			for (i = 1; i <= length(hex); i++) n = 16 * n + index("0123456789abcdef", substr(hex, i, 1)) - 1
			return n
		}
		/^[0-9a-f]+-/ { split($1, range, "-"); at[++count] = number(range[1]) }
		/^[0-9a-f]+-/ && $6 == binary && !base { base = at[count] }
		/^Private_Dirty:/ { dirty[count] = $2 }
		END {
			for (i in at) if (whole || (at[i] - base) ^ 2 < 4294967296 ^ 2) sum += dirty[i]
			print sum
		}' "/proc/$1/smaps"
}

start alone 7005 "$far"
echo "check-arch: $(written "$(cat "$work/alone.pid")" "$far") KiB of memory written to when idle"
end alone

ln -s "$far" "$work/foreign"
ln -s "$near" "$work/native"
far=$work/foreign near=$work/native

start near 7001 "$near"
start serf 7002 serf -join 127.0.0.1:7001
start_far "$far" -join 127.0.0.1:7001 -join 127.0.0.1:7002
start gone 7004 "$near" -join 127.0.0.1:7003
for port in 7001 7002 7003; do
	for name in near serf far gone; do until_true "$name in the list at $port" sees $port $name alive; done
done
until_true "handler of member-join" seen 'foreign member-join: .*serf'

serf event -rpc-addr 127.0.0.1:7102 deploy 'release 7' >/dev/null
until_true "handler of user" seen 'foreign user:deploy release 7'
until_true "answer to a query from the binary for this machine" \
	sh -c "'$near' query -rpc-addr 127.0.0.1:7101 load now | grep 'far answers'"
until_true "answer to a query of Serf's" \
	sh -c "serf query -rpc-addr 127.0.0.1:7102 load now | grep 'far answers'"
seen 'foreign query:load now' || fail "no handler of query"
"$far" query -rpc-addr 127.0.0.1:7103 load now | grep -q 'far answers' || fail "its command line got no answer"
"$far" members -rpc-addr 127.0.0.1:7102 | grep -q '^serf ' || fail "its command line does not talk to Serf"

ask 7001 tags -set role=web >/dev/null
until_true "handler of member-update" seen 'foreign member-update: .*role=web'
end gone
until_true "handler of member-failed" seen 'foreign member-failed: .*gone'
ask 7003 force-leave -prune gone >/dev/null
until_true "handler of member-reap" seen 'foreign member-reap: .*gone'
serf leave -rpc-addr 127.0.0.1:7102 >/dev/null
until_true "handler of member-leave" seen 'foreign member-leave: .*serf'

# hand_over FROM TO BINARY: an event is being handled when FROM is killed, one waits, and one comes afterwards.
hand_over() {
	rm -f "$work/go"
	ask 7001 event -coalesce=false block "$1" >/dev/null
	until_true "handler of an event that is not finished" seen "$1 user:block $1"
	ask 7001 event -coalesce=false waits "$1" >/dev/null
	until_true "record of the events in the journal" grep -aq "waits" -r "$work/journal"
	end far
	until_true "failure of far" sees 7001 far failed
	ask 7001 event -coalesce=false missed "$1" >/dev/null
	: >"$work/go"
	start_far "$3"
	until_true "return of far by the snapshot" sees 7001 far alive
	for event in block waits missed; do
		until_true "$2 handles $event of $1" seen "$2 user:$event $1"
	done
	[ "$(grep -c "user:deploy" "$work/seen")" -eq 1 ] || fail "an event is handled twice"
}
hand_over foreign native "$near"
hand_over native foreign "$far"
ask 7003 leave >/dev/null
until_true "end of far after leave" sh -c "! kill -0 $(cat "$work/far.pid")"
! grep -E "damaged|panicked" "$work/far.log" || fail "a fault in the log of far"
echo "check-arch: everything works"
