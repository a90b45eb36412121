#!/bin/sh
# Runs a command in a root tree, with a network of its own in which there is nothing but loopback.
# Usage: apart.sh TREE COMMAND...
set -eu

# shellcheck disable=SC2016
exec unshare --net sh -euc 'ip link set lo up && exec chroot "$@"' - "$@"
