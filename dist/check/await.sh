# shellcheck shell=sh
# For scripts that check running programs; sourced by those that have a function fail.

# await_within SECONDS WHAT COMMAND...: until the command succeeds; fails if it has not by then.
await_within() {
	end=$(($(date +%s) + $1))
	limit=$1 what=$2
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $end ] || fail "no $what within $limit s"
		sleep 0.1
	done
}
