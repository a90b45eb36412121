#!/bin/sh
# Builds from a vendored tree without a network or Cargo's caches, as a distribution does:
#
#   dist/vendored.sh [GOAL...]           goals of the Makefile: all (the default), static
set -eu
. dist/archive.sh

unset CARGO_TARGET_DIR
[ $# -gt 0 ] || set -- all
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/home"
copy_sources "$work/source"
cd "$work/source"
vendor_crates . .cargo/config.toml
# A standard library from source has dependencies of its own, which its package has vendored.
std=/usr/lib/rustlib/src/rust/library/vendor
for package in "$std"/*; do
    [ ! -d "$package" ] || [ -e "vendor/${package##*/}" ] || cp -R "$package" vendor/
done
# An empty home has no registry to fall back on, and the flag forbids to ask for one.
CARGO_HOME=$work/home
export CARGO_HOME
for goal; do
    make "$goal" OFFLINE=--offline
done
set -- vendor/*
echo "vendored: built from $# vendored packages alone"
