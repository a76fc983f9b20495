#!/bin/sh
# Run by mmdebstrap before it clears the package lists: adds the kernel, and leaves only those services that tests need.
set -eu
root=$1
here=$(dirname "$0")

# The kernel's files without its package, which would bring the tools for an initial ramdisk.
package=$(chroot "$root" apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
chroot "$root" sh -c "cd /tmp && apt-get -qq download '$package' && mkdir kernel && dpkg-deb -x $package*.deb kernel"
mv "$root"/tmp/kernel/boot/* "$root/boot/"
mkdir -p "$root/lib/modules"
mv "$root"/tmp/kernel/lib/modules/* "$root/lib/modules/"
rm -r "$root"/tmp/kernel "$root"/tmp/*.deb
version=$(ls "$root/lib/modules")
chroot "$root" depmod "$version"

units=$root/etc/systemd/system
cp "$here/payload.service" "$units/"
mkdir -p "$units/multi-user.target.wants"
ln -s ../payload.service "$units/multi-user.target.wants/payload.service"
for unit in e2scrub_reap.service e2scrub_all.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer modprobe@.service systemd-update-utmp.service systemd-journal-flush.service \
    sys-kernel-debug.mount sys-kernel-tracing.mount dev-mqueue.mount systemd-random-seed.service \
    systemd-sysusers.service getty.target systemd-tmpfiles-clean.timer systemd-binfmt.service; do
    ln -sf /dev/null "$units/$unit"
done
mkdir "$root/payload"
echo 7c9f1d5c1a0e4b0f9a5e3c2b1d0f8e6a > "$root/etc/machine-id"
echo vm > "$root/etc/hostname"

# An ordinary user, with ids of its own to hand on.
chroot "$root" useradd --create-home --shell /bin/sh tester
