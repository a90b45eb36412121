# shellcheck shell=sh
# For scripts that check running programs; sourced by those that have a function fail.

# await_within SECONDS WHAT COMMAND...: until the command succeeds; fails if it has not by then, or if meanwhile
# the process $agent ends, where a script has one.
await_within() {
	end=$(($(date +%s) + $1))
	limit=$1 what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ -z "${agent-}" ] || kill -0 "$agent" 2>/dev/null || fail "no $what: the agent has ended"
		[ "$(date +%s)" -lt $end ] || fail "no $what within $limit s"
		sleep 0.1
	done
}
