#!/bin/sh
# Shows that `make install INIT_SYSTEM=openrc` gives a service that works: boots a tree of Debian's with OpenRC,
# starts, reloads, restarts, kills, stops and reboots, beside a node of Serf's.
# Usage: openrc.sh BINARY DIRECTORY     (`make check-boot` calls it)
set -eu

init=openrc
# shellcheck source=dist/boot/common.sh
. "$(dirname "$0")/common.sh"

complain() {
	inside ps axf
	inside rc-service cottar status
	inside tail -n 30 /var/log/messages
}

# rc.local is the last of the boot.
booted() { inside sh -c 'rc-status default | grep -q "rc.local .*started" && ! pgrep -x openrc'; }
power_on_openrc() {
	power_on /sbin/init
	await "end of the boot" booted
}
serves() { inside rc-service cottar status >/dev/null && inside cottar info >/dev/null; }
main() { inside pgrep -x -u cottar cottar; }
# From `mark` on, whether the system's log has such a line: logged PATTERN.
marks=0
mark() {
	marks=$((marks + 1))
	inside logger -t mark "$marks"
	await "mark in the log" since_mark
}
# shellcheck disable=SC2016
since_mark() { inside awk -v mark=" mark: $marks\$" \
	'found { print } $0 ~ mark { found = 1 } END { exit !found }' /var/log/messages; }
logged() { since_mark | grep -e "$1"; }

# There are no terminals, and the log is one file.
# shellcheck disable=SC2016
make_tree openrc,sysvinit-core,ifupdown,busybox-syslogd,procps,sudo,serf \
	--customize-hook='sed -i /getty/d "$1/etc/inittab"' \
	--customize-hook='rm -f "$1/etc/syslog.conf"' \
	--customize-hook='echo SYSLOG_OPTS=\"-O /var/log/messages\" >"$1/etc/default/busybox-syslogd"'
power_on_openrc
furnish
inside rc-service serf restart >/dev/null
await "peer" inside serf members -rpc-addr=127.0.0.2:7373
say "booted $(inside openrc --version), with $(inside serf version | sed "s/^[0-9]/Serf &/; q") as peer"

make -s install DESTDIR="$work/root" PREFIX=/usr SYSCONFDIR=/etc STATEDIR=/var/lib INIT_SYSTEM=openrc BINARY="$binary"
tar -C "$work/root" -cf - . | nsenter --target "$pid" --all tar -C / -xf - --no-same-owner
inside useradd --system --user-group --no-create-home --home-dir /var/lib/cottar --shell /usr/sbin/nologin cottar
configure
inside rc-update add cottar default >/dev/null || fail "rc-update"
words=$(inside rc-service cottar start 2>&1) || fail "start: $words"
echo "$words" | grep -e 'needs\|ERROR\|WARNING' && fail "OpenRC complains"
await "service" serves
await "node in the cluster" seen alive
[ "$(inside ps -o user= -p "$(main)")" = cottar ] || fail "another user"
[ "$(inside ps -o comm= -p "$(inside ps -o ppid= -p "$(main)" | tr -d ' ')")" = sh ] || fail "not supervised"
[ "$(inside stat -c '%U %G %a' /etc/cottar /var/lib/cottar | tr '\n' ' ')" = "root cottar 750 cottar cottar 750 " ] ||
	fail "modes of the directories"
socket_only
say "started: it serves as the user cottar, and is in the cluster"

# Nothing hardens it, so handlers may do what the user may. PAM may widen the umask for the user's own group.
# shellcheck disable=SC2086
probed directory=/var/lib/cottar descriptors=0_1_2 user=cottar:cottar umask=00[02]7 state=yes tmp=yes var-tmp=yes given=yes \
	home-list=yes rpc=yes tcp=yes udp=yes names=yes log=yes processes=yes background=yes pipes=yes setuid=yes sudo=yes
mark
inside cottar event fail >/dev/null
await "line of a handler that failed" logged "Error invoking script 'exit 3': exit status 3"
[ "$(inside serf query -rpc-addr=127.0.0.2:7373 -no-ack whoami | sed -n "s/^Response from 'booted': //p")" = cottar ] ||
	fail "no answer to a query of the peer's"
say "handlers do their work; the system's log has the agent's lines"

before=$(main)
mark
echo '{"tags": {"reloaded": "yes"}}' | write /etc/cottar/tags.json
inside rc-service cottar reload >/dev/null || fail "reload"
await "new tags" seen "alive.*reloaded=yes"
[ "$(main)" = "$before" ] || fail "a reload is not a restart"
say "reload takes new tags"

inside rc-service cottar restart >/dev/null || fail "restart"
[ "$(main)" != "$before" ] || fail "not restarted"
await "node in the cluster" seen alive
another() { now=$(main) && [ "$now" != "$before" ]; }
before=$(main)
inside kill -KILL "$before"
await "restart after a failure" another
await "node in the cluster" seen alive
inside cottar leave >/dev/null
await "left node" seen left
gone() { ! inside pgrep -u cottar; }
await "end of all that runs as cottar" gone
# Longer than the pause before a restart.
inside sleep 7
gone || fail "an agent that has left came back"
inside rc-service cottar restart >/dev/null || fail "restart after a leave"
await "node in the cluster" seen alive
await "service" serves
say "a restart leaves and joins; an agent that was killed comes back by itself, one that has left stays away"

inside rc-service cottar stop >/dev/null || fail "stop"
await "left node" seen left
inside ps -u cottar -o pid= && fail "something still runs as cottar"
inside rc-service cottar status >/dev/null && fail "the stopped service has another status"
say "stop leaves the cluster"

inside rc-service cottar start >/dev/null || fail "start"
await "node in the cluster" seen alive
power_off init 0
awk '/^alive/ { left = 0 } /^leave/ { left = 1 } END { exit !left }' "$work/disk/changes/var/lib/cottar/snapshot" || fail "the shutdown did not leave"
power_on_openrc
await "node in the cluster" seen alive
await "service" serves
say "a shutdown leaves the cluster, and the next boot joins it"
power_off init 0
