#!/bin/sh
# Two agents on loopback, a handler on each, an event and a query; ends by itself.
# Usage: demo.sh [path of cottar [first of four free ports]]
set -eu

cottar=$(realpath "${1:-cottar}")
port=${2:-17946}
folder=$(mktemp -d)
agents=
trap 'kill $agents 2>/dev/null || :; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

# The handler: it says what happened, on which node, with its input in the margin.
cat >"$folder/handler.sh" <<'HANDLER'
{
    echo "  $SERF_SELF_NAME runs its handler: $SERF_EVENT ${SERF_USER_EVENT-}${SERF_QUERY_NAME-}"
    sed 's/^/    | /'
} >>"$1/seen.$SERF_SELF_NAME"
[ "$SERF_EVENT" != query ] || echo "$SERF_SELF_NAME says hello"
HANDLER

# start NAME GOSSIP_PORT RPC_PORT [FLAGS]
start() {
    name=$1 gossip=$2 rpc=$3
    shift 3
    "$cottar" agent -node "$name" -bind "127.0.0.1:$gossip" -rpc-addr "127.0.0.1:$rpc" \
        -event-handler "sh $folder/handler.sh $folder" "$@" >"$folder/$name.log" 2>&1 &
    agents="$agents $!"
    wait_for "$name to start" grep -q 'agent running' "$folder/$name.log"
}

# wait_for WHAT COMMAND...: until the command succeeds, thirty seconds at most.
wait_for() {
    what=$1 left=300
    shift
    until "$@" 2>/dev/null; do
        left=$((left - 1))
        if [ "$left" -eq 0 ]; then
            echo "demo: gave up waiting for $what" >&2
            cat "$folder"/*.log >&2
            exit 1
        fi
        sleep 0.1
    done
}

# seen TEXT: both handlers have told of it.
seen() {
    grep -q "$1" "$folder/seen.alpha" && grep -q "$1" "$folder/seen.beta"
}

echo "Two agents start, alpha and beta; beta joins alpha."
start alpha "$port" "$((port + 1))"
start beta "$((port + 2))" "$((port + 3))" -join "127.0.0.1:$port"
export SERF_RPC_ADDR="127.0.0.1:$((port + 1))"
wait_for "both handlers to hear of the join" seen 'member-join'

echo
echo "\$ cottar members"
"$cottar" members
echo
echo "\$ cottar event -coalesce=false deploy v1.2"
"$cottar" event -coalesce=false deploy v1.2
wait_for "both handlers to hear of the event" seen 'user deploy'
echo
echo "\$ cottar query -timeout 3s greet"
"$cottar" query -timeout 3s greet
echo
echo "What the handlers wrote meanwhile:"
cat "$folder"/seen.*
