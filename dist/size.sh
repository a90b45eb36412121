#!/bin/sh
# Says what the bytes of a binary are: `dist/size.sh BINARY`, with the symbols still in it.
#
# Each symbol is counted for the crate whose name comes first in it, which is where its code was
# written. What mentions cottar is cottar's: a container with its types in it would not be there without.
# What has no symbol (texts, tables of addresses, headers) is the difference to the stripped size.
set -eu

stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$1"
total=$(wc -c <"$stripped")

nm --demangle --print-size --defined-only "$1" | awk -v total="$total" '
    function value(hex,    n, i) {
        n = 0
        for (i = 1; i <= length(hex); i++)
            n = n * 16 + index("0123456789abcdef", substr(hex, i, 1)) - 1
        return n
    }
    NF >= 4 && tolower($3) ~ /[trdv]/ && !seen[$1]++ {
        name = $0
        sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", name)
        crate = "(C library, start files)"
        if (name ~ /(^|[^a-z_])cottar::/)
            crate = "cottar"
        else if (name ~ /^<(str|\[|&|\*|u[0-9]|i[0-9]|char|bool)/)
            crate = "core"
        else if (match(name, /[a-z_][a-z0-9_]*(\[[0-9a-f]+\])?::/)) {
            crate = substr(name, RSTART, RLENGTH)
            sub(/(\[[0-9a-f]+\])?::$/, "", crate)
        }
        bytes[crate] += value($2)
        sum += value($2)
    }
    END {
        for (crate in bytes)
            if (bytes[crate] >= 100)
                printf "%9d  %s\n", bytes[crate], crate | "sort -rn"
        close("sort -rn")
        printf "%9d  without a symbol\n%9d  stripped\n", total - sum, total
    }'
