#!/bin/sh
# Scenarios that this machine cannot play: notes one, or prints one line that counts them all.
# Usage: skipped.sh note SCENARIO REASON
#        skipped.sh count FILE
# FILE is the one that COTTAR_SKIPPED names, with a line for each: the scenario, a tab, the reason.
set -eu

case $1 in
note)
    if [ "${COTTAR_INTEROP-}" = require ]; then
        echo "$2: COTTAR_INTEROP=require, but $3" >&2
        exit 1
    fi
    echo "SKIPPED $2: $3" >&2
    [ -z "${COTTAR_SKIPPED-}" ] || printf '%s\t%s\n' "$2" "$3" >>"$COTTAR_SKIPPED"
    ;;
count)
    sort -u "$2" | cut -f 2 | sort | uniq -c | sort -k 1,1nr -k 2 | awk '
        {
            total += $1
            count = $1
            sub(/^ *[0-9]+ /, "")
            reasons = reasons (reasons == "" ? ": " : ", ") $0 " (" count ")"
        }
        END { printf "skipped: %d scenario%s%s\n", total, total == 1 ? "" : "s", reasons }'
    ;;
*)
    echo "skipped.sh: note or count?" >&2
    exit 1
    ;;
esac
