#!/bin/sh
# crun refuses a machine whose unified hierarchy beside those of version 1 has controllers: there it is run where that
# hierarchy is not mounted.
if [ -d /sys/fs/cgroup/memory ] && [ -n "$(cat /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null)" ]; then
    exec unshare --mount --propagation slave sh -c 'umount -l /sys/fs/cgroup/unified && exec crun "$@"' crun "$@"
fi
exec crun "$@"
