#!/bin/sh
# Turns fresh namespaces into a machine and becomes its init: enter.sh TREE UPPER INIT...
#
# TREE stays as it is, what is written goes to UPPER. What is the host's is out of reach: clock, modules,
# kernel settings, /sys. An init that is told that this is a container leaves them alone.
set -eu

lower=$1
upper=$2
shift 2
tree=$upper/root

mount --make-rprivate /
mkdir -p "$upper/changes" "$upper/work" "$tree"
mount -t overlay -o "lowerdir=$lower,upperdir=$upper/changes,workdir=$upper/work" overlay "$tree"
cd "$tree"

mkdir -p dev proc run sys tmp
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp

mount -t tmpfs -o mode=755 tmpfs dev
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
	number=${device#*:}
	mknod -m 666 "dev/${device%%:*}" c "${number%:*}" "${number#*:}"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# A device that the host need not have: handlers see it or they do not.
mknod -m 666 dev/probe c 1 3

mkdir -p .host
pivot_root . .host
umount -l .host
rmdir .host
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=lxc \
	setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio "$@"
