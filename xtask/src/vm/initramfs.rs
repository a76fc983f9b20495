//! The initial ramdisk: Debian's busybox, the modules of a virtual disk, and a script that hands over to systemd. Packed
//! here, as it is a dozen files and a simple format (`newc` of cpio), and as the usual tools would take longer than the boot.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Below the kernel's `kernel/drivers`, in the order in which they are inserted.
pub(crate) const MODULES: &[&str] = &[
    "virtio/virtio_ring",
    "virtio/virtio",
    "virtio/virtio_pci_modern_dev",
    "virtio/virtio_pci_legacy_dev",
    "virtio/virtio_pci",
    "block/virtio_blk",
];

/// The first program.
pub(crate) const INIT: &str = "#!/bin/busybox sh\n\
    /bin/busybox mount -t devtmpfs dev /dev\n\
    for module in /modules/*; do /bin/busybox insmod $module; done\n\
    /bin/busybox mount -t ext4 -o noatime /dev/vda /root\n\
    /bin/busybox mount --move /dev /root/dev\n\
    exec /bin/busybox switch_root /root /lib/systemd/systemd\n";

/// The ramdisk for the kernel whose modules are in `modules`.
pub(crate) fn pack(modules: &Path) -> Result<Vec<u8>> {
    let busybox = super::find("busybox").context("busybox: install busybox-static")?;
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "modules", "root"] {
        archive.add(folder, 0o040_755, b"");
    }
    archive.add("bin/busybox", 0o100_755, &read(&busybox)?);
    archive.add("init", 0o100_755, INIT.as_bytes());
    for (at, name) in MODULES.iter().enumerate() {
        let module = read(&modules.join("kernel/drivers").join(format!("{name}.ko")))?;
        archive.add(&format!("modules/{at}"), 0o100_644, &module);
    }
    Ok(archive.end())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read {}", path.display()))
}

/// An archive in the making.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a file or folder: `mode` with the bits of its type.
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let header: [u32; 13] = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            content.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for number in header {
            self.bytes.extend(format!("{number:08x}").bytes());
        }
        self.bytes.extend(name.bytes().chain([0]));
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entries = 0;
        self.add("TRAILER!!!", 0, b"");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_of_one_file() {
        let mut archive = Archive::default();
        archive.add("a", 0o100_644, b"hello");
        let bytes = archive.end();
        let header = b"070701\
            00000001000081a400000000000000000000000100000000\
            00000005000000000000000000000000000000000000000200000000a\0";
        assert_eq!(&bytes[..header.len()], header);
        // The header and the name end at a multiple of four already.
        assert_eq!(&bytes[header.len()..header.len() + 8], b"hello\0\0\0");
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
