#!/bin/sh
# A handler that tries what handlers do and what they had better not be able to do. In the working
# directory, the file `probe` gets a line for each: its name, and yes or no, or what was found.

can() {
	name=$1
	shift
	if ("$@") >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi
}
# The last one is that of the directory, which ls itself opened.
# shellcheck disable=SC2012
descriptors=$(ls /proc/self/fd | sed '$d' | tr '\n' ' ' | sed 's/ $//; s/ /_/g')
# shellcheck disable=SC2016
{
	echo "directory $PWD"
	echo "user $(id -un):$(id -gn)"
	echo "umask $(umask)"
	echo "descriptors $descriptors"
	sed -n 's/^\(NoNewPrivs\|Seccomp\|CapEff\|CapBnd\):\t*/\1 /p' /proc/self/status

	can state sh -c 'echo content >file && mv file moved && rm moved'
	can tmp touch /tmp/probe
	can var-tmp touch /var/tmp/probe
	can given touch /srv/given/probe
	can etc-given touch /etc/given/probe
	can usr-given touch /usr/given/probe
	can home touch /home/given/probe
	can home-list ls /home/given
	can kernel-settings sh -c 'awk "\$2 == \"/proc/sys\" { print \$4 }" /proc/self/mounts | tail -n 1 | grep -qv "^ro"'

	can rpc cottar members
	can tcp bash -c 'exec 3<>/dev/tcp/127.0.0.2/7946'
	can udp bash -c 'echo >/dev/udp/127.0.0.2/9'
	can names getent hosts localhost
	can log logger -t probe "words of a handler"
	can processes sh -c 'ps -p 1 -o comm= | grep -q .'
	can background sh -c 'sleep 60 & kill $!'
	can pipes sh -c 'echo 1 | awk "{ exit 1 - \$1 }"'

	can device test -e /dev/probe
	can setuid sh -c 'test "$(rootid -u)" = 0'
	can sudo sudo -n true
	can namespaces unshare --user true
	can make-setuid sh -c 'cp /usr/bin/id id && chmod u+s id && test -u id'
	rm -f id
} >probe.new 2>&1
mv probe.new probe
