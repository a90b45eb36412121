#!/bin/sh
# Builds twice, in two folders with names of different lengths, and compares:
#
#   dist/reproducible.sh [GOAL...]       goals of the Makefile: all (the default), static
#
# The sources are those of the working tree that git knows. CARGO_TARGET_DIR is not used.
set -eu
. dist/archive.sh

unset CARGO_TARGET_DIR
[ $# -gt 0 ] || set -- all
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one=$work/a
two=$work/another/folder/with/a/longer/name
for folder in "$one" "$two"; do
    copy_sources "$folder"
    for goal; do
        make -C "$folder" "$goal"
    done
done
for goal; do
    case $goal in
        static) file=target/static/cottar ;;
        *) file=target/release/cottar ;;
    esac
    cmp "$one/$file" "$two/$file"
    (cd "$one" && ls -l "$file" && sha256sum "$file")
done
echo "reproducible: two builds in two folders are identical"
