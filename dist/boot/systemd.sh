#!/bin/sh
# Shows that the package works where systemd is the init: boots a tree of Debian's, installs, starts, reloads,
# restarts, kills, stops, upgrades, reboots and purges, beside a node of Serf's.
# Usage: systemd.sh BINARY DIRECTORY     (`make check-boot` calls it)
set -eu

init=systemd
# shellcheck source=dist/boot/common.sh
. "$(dirname "$0")/common.sh"
arch=$(dpkg --print-architecture)
old=$(dpkg-parsechangelog -l "$boot/../debian/changelog" -S Version)
new=${old%-*}-$((${old##*-} + 1))
(cd "$boot/../.." && sh dist/deb.sh binary "$out" "$binary" "$new") >/dev/null

complain() {
	echo "--- cottar"
	inside systemctl --no-pager status cottar
	inside journalctl --no-pager -u cottar -n 30
}

# What systemd knows of the service.
is() { [ "$(inside systemctl show -P "$1" cottar.service)" = "$2" ]; }
main() { inside systemctl show -P MainPID cottar.service; }
# From `mark` on, the journal's lines of TAG that fit: logged PATTERN [TAG].
marks=0
mark() {
	marks=$((marks + 1))
	inside logger -t mark "$marks"
	await "mark in the journal" since_mark
}
since_mark() { inside journalctl --no-pager -o short | awk -v mark=" mark\\[[0-9]*\\]: $marks\$" \
	'found { print } $0 ~ mark { found = 1 } END { exit !found }'; }
logged() { since_mark | sed -n "s/^[A-Z][a-z]* *[0-9]* [0-9:]* [^ ]* ${2:-cottar}\\[[0-9]*\\]: //p" | grep -e "$1"; }
serves() { is ActiveState active && is StatusText Serving; }
booted() { inside systemctl is-system-running | grep -q -e running -e degraded; }
power_on_systemd() {
	power_on /lib/systemd/systemd --log-target=journal
	await "end of the boot" booted
}
# drop_in [LINE...]: settings of the administrator's, alone.
drop_in() {
	printf '%s\n' "[Service]" "$@" | write /etc/systemd/system/cottar.service.d/handlers.conf
	inside systemctl daemon-reload
	inside systemctl restart cottar || fail "restart with: $*"
	await "node in the cluster" seen alive
}
# The lines that loosen.conf has for a case.
loosened() {
	inside sed -n "/^# $1\\. /,/^# [^$1]\\. /s/^#\\([A-Z].*=\\)/\\1/p" /usr/share/doc/cottar/examples/loosen.conf
}

make_tree systemd,systemd-sysv,dbus,procps,sudo,serf
power_on_systemd
furnish
inside systemctl restart serf
await "peer" inside serf members -rpc-addr=127.0.0.2:7373
nsenter --target "$pid" --all mkdir /run/packages
for version in "$old" "$new"; do
	write "/run/packages/$version.deb" <"$out/cottar_${version}_$arch.deb"
done
say "booted $(inside systemctl --version | sed 1q), with $(inside serf version | sed "s/^[0-9]/Serf &/; q") as peer"

# --- Installation

inside dpkg --install "/run/packages/$old.deb" >"$work/log" 2>&1 || fail "install: $(cat "$work/log")"
serves || fail "the installed service does not run"
[ "$(inside ps -o user= -p "$(main)")" = cottar ] || fail "another user"
[ "$(inside stat -c '%U %G %a' /etc/cottar /var/lib/cottar | tr '\n' ' ')" = "root cottar 750 cottar cottar 750 " ] ||
	fail "modes of the directories"
socket_only
inside getent passwd cottar | grep -q ':/var/lib/cottar:/usr/sbin/nologin$' || fail "the user's entry"
{ problems=$(inside systemd-analyze verify --man=no cottar.service 2>&1) && [ -z "$problems" ]; } || fail "systemd-analyze: $problems"
say "installed $old: it serves as the user cottar; $(inside systemd-analyze --no-pager security cottar.service |
	sed -n 's/.*\(Overall exposure[^:]*: [0-9.]* [A-Z]*\).*/\1/p')"

# --- Readiness

configure
inside systemctl kill --signal=STOP serf
echo '{"start_join": ["127.0.0.2"]}' | write /etc/cottar/start.json
mark
inside systemctl stop cottar
inside systemctl start --no-block cottar
await "start that joins" is StatusText "Joining the cluster"
is ActiveState activating || fail "active before it has joined"
inside systemctl kill --signal=CONT serf
await "service" serves
await "node in the cluster" seen alive
logged '^Started cottar.service' systemd >/dev/null || fail "the journal does not say when it was ready"
await "line of the example's handler" logged "^member-join: peer at 127.0.0.2 (role: none, tags: none)$" cottar
inside rm /etc/cottar/start.json
say "it is active once it has joined, not before; a handler told the journal who joined"

# --- Handlers

always="directory=/var/lib/cottar descriptors=0_1_2 state=yes tmp=yes var-tmp=yes given=yes home-list=yes rpc=yes
	tcp=yes udp=yes names=yes log=yes processes=yes background=yes pipes=yes"
hardened="user=cottar:cottar umask=0027 NoNewPrivs=1 Seccomp=2 CapEff=0000000000000000 CapBnd=0000000000000000
	etc-given=no usr-given=no home=no kernel-settings=no device=no setuid=no sudo=no namespaces=no make-setuid=no"
# shellcheck disable=SC2086
probed $always $hardened
inside test ! -e /tmp/probe || fail "the handlers' /tmp is everybody's"
await "words of a handler" logged "^words of a handler$" probe
[ "$(inside serf query -rpc-addr=127.0.0.2:7373 -no-ack whoami | sed -n "s/^Response from 'booted': //p")" = cottar ] ||
	fail "no answer to a query of the peer's"
say "handlers do their work: files in their places, programs, network, log, answers; and nothing beyond"

inside cottar event fail >/dev/null
await "line of a handler that failed" logged "Error invoking script 'exit 3': exit status 3"
{ serves && is NRestarts 0; } || fail "a handler that fails is no failure of the service"
say "a handler that failed is in the journal, and the service goes on"

# --- Loosened

drop_in "$(loosened 1 | sed 's|=.*|=/etc/given /usr/given|')"
# shellcheck disable=SC2086
probed $always etc-given=yes usr-given=yes home=no setuid=no
drop_in "$(loosened 2)"
# shellcheck disable=SC2086
probed $always home=yes device=yes etc-given=no setuid=no NoNewPrivs=1
inside test -e /tmp/probe || fail "the handlers' /tmp is not the machine's"
drop_in "$(loosened 3)"
# shellcheck disable=SC2086
probed $always setuid=yes sudo=yes NoNewPrivs=0 etc-given=no home=no user=cottar:cottar
drop_in "$(loosened 3)" "$(loosened 4)"
# shellcheck disable=SC2086
probed $always user=root:root etc-given=yes usr-given=yes sudo=yes
drop_in "$(loosened 5)"
inside cottar event child >/dev/null
await "background program" inside test -s /var/lib/cottar/child
inside systemctl restart cottar
inside kill "$(inside cat /var/lib/cottar/child)" || fail "a background program did not outlive the agent"
inside rm -r /etc/systemd/system/cottar.service.d
inside systemctl daemon-reload
inside systemctl restart cottar
await "node in the cluster" seen alive
# shellcheck disable=SC2086
probed $always $hardened
say "each case of loosen.conf gives what it says"

# --- Reload

before=$(main)
mark
echo '{"tags": {"reloaded": "yes"}}' | write /etc/cottar/tags.json
inside systemctl reload cottar || fail "reload"
await "line of the reload" logged "==> Reloading configuration"
await "new tags" seen "alive.*reloaded=yes"
echo '{"no_such_key": 1}' | write /etc/cottar/tags.json
inside systemctl reload cottar || fail "reload"
wrong() { inside systemctl show -P StatusText cottar | grep -q "^Serving; the last reload failed: .*no_such_key"; }
await "word about a bad configuration" wrong
inside rm /etc/cottar/tags.json
inside systemctl reload cottar || fail "reload"
await "service" serves
[ "$(main)" = "$before" ] || fail "a reload is not a restart"
say "reload takes new tags; a bad file leaves all as it was, and the status says so"
if [ "$(inside systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')" -ge 253 ]; then
	drop_in Type=notify-reload ExecReload=
	mark
	inside systemctl reload cottar || fail "reload with Type=notify-reload"
	{ logged "==> Reloading configuration" >/dev/null && serves; } || fail "the reload was not waited for"
	inside rm -r /etc/systemd/system/cottar.service.d
	inside systemctl daemon-reload
	say "with Type=notify-reload the end of the reload is waited for"
fi

# --- Restart, failure, stop

mark
before=$(main)
inside systemctl restart cottar || fail "restart"
{ [ "$(main)" != "$before" ] && serves; } || fail "not restarted"
await "node in the cluster" seen alive
logged "EventMemberLeave: booted" serf >/dev/null || fail "the restart did not leave the cluster"
mark
inside systemctl kill --signal=KILL cottar
await "restart after a failure" is NRestarts 1
await "service" serves
await "node in the cluster" seen alive
logged "EventMemberLeave: booted" serf && fail "it left, although it was killed"
say "a restart leaves and joins; a killed agent comes back by itself"

inside cottar event sleep >/dev/null
await "handler that sleeps" inside test -e /var/lib/cottar/sleep
inside systemctl stop cottar || fail "stop"
{ is ActiveState inactive && is Result success && is ExecMainStatus 0; } || fail "stopped otherwise than well"
await "left node" seen left
inside ps -u cottar -o pid= && fail "something still runs as cottar"
[ "$(inside cat /var/lib/cottar/sleep)" = begun ] || fail "the handler was not killed"
inside systemctl start cottar || fail "start"
await "node in the cluster" seen alive
inside cottar leave >/dev/null
await "end after cottar leave" is ActiveState inactive
is Result success || fail "a leave is no failure"
inside sleep 6
is ActiveState inactive || fail "restarted after it has left on purpose"
await "left node" seen left
say "stop and cottar leave end it gracefully, and it stays away"

# --- Upgrade, reboot, removal

inside systemctl disable --quiet cottar
inside dpkg --install "/run/packages/$new.deb" >"$work/log" 2>&1 || fail "upgrade: $(cat "$work/log")"
is ActiveState inactive || fail "the upgrade started a disabled service"
inside systemctl is-enabled --quiet cottar && fail "the upgrade enabled it"
inside systemctl enable --quiet --now cottar
await "node in the cluster" seen alive
before=$(main)
mark
inside dpkg --install "/run/packages/$old.deb" >"$work/log" 2>&1 || fail "another version: $(cat "$work/log")"
await "service" serves
[ "$(main)" != "$before" ] || fail "not restarted by another version"
logged "cottar.service: .*\(Failed\|deprecated\|Unknown\)" systemd && fail "systemd complains"
await "node in the cluster" seen alive
{ inside test -s /etc/cottar/node.json && inside test -s /var/lib/cottar/snapshot; } || fail "the upgrade lost something"
say "upgrades restart what runs, and start nothing that was disabled"

mark
power_off systemctl poweroff
power_on_systemd
await "service" serves
await "node in the cluster" seen alive
logged "EventMemberLeave: booted" >/dev/null || fail "the shutdown did not leave"
[ -z "$(inside systemctl --failed --no-legend)" ] || fail "failed units: $(inside systemctl --failed)"
say "a shutdown leaves the cluster, and the next boot joins it"

mark
inside dpkg --remove cottar >"$work/log" 2>&1 || fail "remove: $(cat "$work/log")"
await "left node" seen left
{ is LoadState not-found && is ActiveState inactive; } || fail "systemd still knows the service"
{ inside test -s /etc/cottar/cottar.json && inside test -s /var/lib/cottar/snapshot; } || fail "the removal took too much"
inside rm -r /etc/cottar/node.json
inside dpkg --purge cottar >"$work/log" 2>&1 || fail "purge: $(cat "$work/log")"
for left in /etc/cottar /var/lib/cottar /etc/systemd/system/multi-user.target.wants/cottar.service /usr/lib/sysusers.d/cottar.conf; do
	inside test ! -e $left -a ! -L $left || fail "the purge left $left"
done
inside ps -u cottar -o pid= && fail "something still runs as cottar"
inside getent passwd cottar >/dev/null || fail "the user should stay"
[ -z "$(inside systemctl --failed --no-legend)" ] || fail "failed units: $(inside systemctl --failed)"
say "a removal leaves the cluster, a purge leaves nothing but the user"
power_off systemctl poweroff
