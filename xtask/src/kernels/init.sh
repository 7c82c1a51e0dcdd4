#!/bin/busybox sh
# The first process of a guest: runs each program of tests in /orders, and powers off. Lines that
# begin with @ are for the host.
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
chmod 1777 /tmp
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
exec </dev/null >/dev/ttyS0 2>&1
export PATH=/usr/bin:/bin HOME=/root CI=true CARGO_TARGET_DIR=/target RUST_BACKTRACE=0
for module in /modules/*.ko; do
    insmod "$module"
done
ip link set lo up
ulimit -n 65536 # the catcher holds connections
echo "@begin Linux $(uname -r)"
while read -r program arguments; do
    echo "@run $program $arguments"
    # shellcheck disable=SC2086 # several arguments
    timeout -s KILL 1800 "/tests/$program" --test-threads=1 $arguments
    echo "@ended $? $program"
done </orders
poweroff -f
