# What systemd.sh and openrc.sh have in common: a root tree of Debian's is made of packages, booted in
# namespaces of its own, and asked. Nothing but a kernel is shared with the host, and of that no settings.
# shellcheck shell=sh
#
# Sourced with the arguments BINARY and DIRECTORY, after `init` has been set to the name of an init. Needs root,
# mmdebstrap and an archive. SUITE is another release than the host's; the tree is kept in DIRECTORY.

: "${init:?}"
binary=$1
out=$(realpath "$2")
boot=$(dirname "$0")

# shellcheck source=dist/check/await.sh
. "$boot/../check/await.sh"

say() { echo "check-boot: $init: $*"; }
fail() {
	echo "check-boot: $init: FAILED: $*" >&2
	if [ -n "$pid" ]; then
		complain >&2 || true
	fi
	echo "--- console" >&2
	tail -n 20 "$work/console" >&2 || true
	exit 1
}

[ "$(id -u)" -eq 0 ] || {
	echo "check-boot: mounts and namespaces need root" >&2
	exit 1
}
# All that is mounted goes with this namespace.
if [ -z "${COTTAR_BOOT-}" ]; then
	COTTAR_BOOT=1 exec unshare --mount sh "$0" "$@"
fi

# shellcheck disable=SC1091
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
tree=$out/tree-$suite-$init
cgroups=
starter=
pid=
work=$(mktemp -d "${TMPDIR:-/tmp}/cottar-boot.XXXXXX")

finish() {
	status=$?
	trap - EXIT
	# All that runs in the machine dies with its init.
	[ -z "$starter" ] || kill -KILL "$starter" 2>/dev/null || true
	wait 2>/dev/null || true
	if [ -n "$cgroups" ]; then
		tries=0
		until find "$cgroups/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || [ $tries -ge 50 ]; do
			tries=$((tries + 1))
			sleep 0.1
		done
	fi
	umount -l "$work" 2>/dev/null || true
	rmdir "$work" 2>/dev/null || true
	exit "$status"
}
trap finish EXIT
trap 'exit 1' HUP INT TERM
mount -t tmpfs -o mode=755 tmpfs "$work"

# make_tree PACKAGES [OPTION...]: once for each release and init.
make_tree() {
	packages=$1
	shift
	if [ -e "$tree" ]; then
		say "the tree of $suite that is there, $tree"
		return
	fi
	say "a tree of $suite from packages, $tree"
	rm -rf --one-file-system "$tree.new"
	mmdebstrap --quiet --variant=minbase --skip=output/dev --include="$packages" "$@" "$suite" "$tree.new"
	mv "$tree.new" "$tree"
}

# power_on INIT...: boots the tree, with what earlier boots have changed.
power_on() {
	if [ -z "$cgroups" ]; then
		mkdir "$work/cgroups" "$work/disk"
		mount -t cgroup2 cgroup2 "$work/cgroups"
		cgroups=$work/cgroups
		cgroup=cottar-boot.$$
	fi
	mkdir -p "$cgroups/$cgroup"
	# The group that the namespace begins in is the root of what the init sees. It ends with this script, however
	# that ends.
	# shellcheck disable=SC2016
	sh -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroups/$cgroup" \
		setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net \
		sh "$boot/enter.sh" "$tree" "$work/disk" "$@" >>"$work/console" 2>&1 </dev/null &
	starter=$!
	await "an init" init_runs "$1"
	pid=$(pgrep -P "$starter")
}
init_runs() { [ "$(cat "/proc/$(pgrep -P "$starter")/comm")" = "${1##*/}" ]; }

# power_off COMMAND...: runs what ends the init, and waits for that.
power_off() {
	inside "$@" >>"$work/console" 2>&1 || true
	await "end of the init" test ! -e "/proc/$starter/root"
	wait "$starter" || true
	starter=
	pid=
}

inside() {
	nsenter --target "$pid" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C \
		DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# await WHAT COMMAND...: until the command succeeds, for a minute at most.
await() { await_within 60 "$@"; }

# write PLACE [MODE]: a file of the machine's, from standard input.
write() {
	# shellcheck disable=SC2016
	nsenter --target "$pid" --all sh -c 'mkdir -p "${0%/*}" && cat >"$0" && chmod "$1" "$0"' "$1" "${2:-644}"
}
# A node of Serf's beside the agent, the agent's configuration for it, and what the probe looks for.
furnish() {
	echo booted | write /etc/hostname
	echo "127.0.0.1 localhost" | write /etc/hosts
	write /etc/serf/node.json <<-END
		{"node_name": "peer", "bind": "127.0.0.2", "rpc_addr": "127.0.0.2:7373", "profile": "local"}
	END
}
configure() {
	write /usr/local/bin/probe 755 <"$boot/probe.sh"
	write /etc/cottar/node.json <<-"END"
		{
		  "node_name": "booted",
		  "profile": "local",
		  "retry_join": ["127.0.0.2"],
		  "retry_interval": "1s",
		  "event_handlers": [
		    "member-join=/usr/share/doc/cottar/examples/members",
		    "user:probe=/usr/local/bin/probe",
		    "user:fail=exit 3",
		    "user:sleep=echo begun >sleep && sleep 300; echo ended >>sleep",
		    "user:child=sleep 300 >/dev/null 2>&1 & echo $! >child",
		    "query:whoami=id -un"
		  ]
		}
	END
	inside install -d -o cottar -g cottar /srv/given /etc/given /usr/given /home/given
	inside cp /usr/bin/id /usr/local/bin/rootid
	inside chmod 4755 /usr/local/bin/rootid
	write /etc/sudoers.d/cottar 440 <<-END
		cottar ALL=(ALL) NOPASSWD: ALL
	END
}

# probed EXPECTATIONS...: has a handler try things, and compares what it could do.
probed() {
	inside rm -f /var/lib/cottar/probe
	inside cottar event probe >/dev/null || fail "cottar event"
	await "report of the handler" inside test -e /var/lib/cottar/probe
	found=$(inside cat /var/lib/cottar/probe)
	for expected; do
		echo "$found" | grep -qx "${expected%=*} ${expected#*=}" ||
			fail "a handler should have $expected; it found: $(echo "$found" | tr '\n' ';')"
	done
}

# RPC is served at the socket and by no port of the agent's.
socket_only() {
	[ "$(inside stat -c '%U %G %a' /run/cottar /run/cottar/rpc.sock | tr '\n' ' ')" = "cottar cottar 755 cottar cottar 660 " ] ||
		fail "modes of the RPC socket"
	# 127.0.0.1:7373, which listens.
	if inside grep -q "0100007F:1CCD 00000000:0000 0A" /proc/net/tcp; then
		fail "RPC by TCP"
	fi
}

# The agent, as the peer sees it.
seen() { inside serf members -rpc-addr=127.0.0.2:7373 -name=booted | grep -q "^booted  *127.0.0.1:7946  *$1"; }
