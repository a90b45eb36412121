#!/bin/sh
# Shows that a binary needs nothing but itself and a shell:
#
#   dist/anywhere.sh BINARY          in an empty root directory with /bin/sh alone beside it
#   dist/anywhere.sh BINARY TREE     in that root directory
#
# An agent is started there, a handler runs, and `cottar members` asks the agent. What a dynamic binary
# or shell is linked with is put beside it. Needs root, or a kernel that lets users have namespaces.
set -eu

binary=$1
tree=${2-}
made=
agent=

finish() {
    status=$?
    trap - EXIT
    [ -z "$agent" ] || kill -KILL "$agent" 2>/dev/null || :
    [ -z "$tree" ] || rm -f "$tree/cottar" "$tree/cottar.fired"
    [ -z "$made" ] || rm -rf "$made"
    rm -f "$log"
    exit "$status"
}
log=$(mktemp)
trap finish EXIT
trap 'exit 1' HUP INT TERM

# put FILE PLACE: copies a program and what it is linked with, by the names that it is looked for under.
put() {
    mkdir -p "$tree/$(dirname "$2")"
    cp "$1" "$tree/$2"
    { ldd "$1" 2>/dev/null || :; } | sed -n 's|^[^/]*\(/[^ ]*\) (0x.*|\1|p' | while read -r library; do
        mkdir -p "$tree/$(dirname "$library")"
        cp "$library" "$tree/$library"
    done
}

if [ -z "$tree" ]; then
    made=$(mktemp -d)
    tree=$made
    # A static shell if there is one.
    shell=$(command -v busybox || command -v dash || command -v sh)
    ldd "$shell" >/dev/null 2>&1 && shell=$(command -v dash || command -v sh)
    put "$shell" bin/sh
fi
put "$binary" cottar

enter() {
    if [ "$(id -u)" -eq 0 ]; then
        chroot "$tree" "$@"
    else
        unshare --map-root-user chroot "$tree" "$@"
    fi
}

# shellcheck source=dist/check/await.sh
. "$(dirname "$0")/check/await.sh"
fail() {
    echo "anywhere: $*; the agent said:" >&2
    cat "$log" >&2
    exit 1
}

echo "anywhere: what is in the tree:"
(cd "$tree" && find . -type f -o -type l) | sort | sed 10q
enter /cottar version
# shellcheck disable=SC2016
enter /cottar agent -node anywhere -bind 127.0.0.1:0 -rpc-addr 127.0.0.1:0 \
    -event-handler 'read -r line; echo "$SERF_EVENT: $line" >/cottar.fired' >"$log" 2>&1 &
agent=$!

await_within 60 "RPC address" grep -q "RPC addr: '" "$log"
rpc=$(sed -n "s/^ *RPC addr: '\(.*\)'$/\1/p" "$log")
await_within 60 "handler's file" test -s "$tree/cottar.fired"
echo "anywhere: the handler wrote: $(cat "$tree/cottar.fired")"
grep -q '^member-join: anywhere' "$tree/cottar.fired"
members=$(enter /cottar members -rpc-addr "$rpc")
echo "anywhere: members: $members"
case $members in
    anywhere*alive*) ;;
    *) exit 1 ;;
esac
enter /cottar leave -rpc-addr "$rpc"
wait "$agent"
agent=
echo "anywhere: it works"
