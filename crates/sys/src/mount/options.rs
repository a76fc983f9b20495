//! fstab's options as flags, attributes and data. Pure.

/// What a list of options means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `MS_…` of mount(2), without those of propagation.
    pub flags: u64,
    /// `MS_…` that an option cleared: a remount of a bind mount must not keep them.
    pub cleared: u64,
    /// `MS_SHARED`, `MS_SLAVE | MS_REC` …, each for a call of its own.
    pub propagation: Vec<u64>,
    /// Attributes for the whole tree (`rro`, `rnosuid` …).
    pub recursive: RecursiveFlags,
    /// What only the file system understands, joined by commas.
    pub data: String,
    /// `tmpcopyup`: a tmpfs begins with what it covers.
    pub copy_up: bool,
    /// `idmap` or `ridmap`: the mount is mapped for the container's user namespace; true: recursively.
    pub id_map: Option<bool>,
}

/// `MOUNT_ATTR_…` to set and to clear on a whole tree of mounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecursiveFlags {
    /// To set.
    pub set: u64,
    /// To clear.
    pub clear: u64,
}

/// Option, flags, and whether it clears them.
const FLAGS: &[(&str, u64, bool)] = &[
    ("async", libc::MS_SYNCHRONOUS, true),
    ("atime", libc::MS_NOATIME, true),
    ("bind", libc::MS_BIND, false),
    ("dev", libc::MS_NODEV, true),
    ("diratime", libc::MS_NODIRATIME, true),
    ("dirsync", libc::MS_DIRSYNC, false),
    ("exec", libc::MS_NOEXEC, true),
    ("iversion", libc::MS_I_VERSION, false),
    ("lazytime", libc::MS_LAZYTIME, false),
    ("loud", libc::MS_SILENT, true),
    ("mand", libc::MS_MANDLOCK, false),
    ("noatime", libc::MS_NOATIME, false),
    ("nodev", libc::MS_NODEV, false),
    ("nodiratime", libc::MS_NODIRATIME, false),
    ("noexec", libc::MS_NOEXEC, false),
    ("noiversion", libc::MS_I_VERSION, true),
    ("nolazytime", libc::MS_LAZYTIME, true),
    ("nomand", libc::MS_MANDLOCK, true),
    ("norelatime", libc::MS_RELATIME, true),
    ("nostrictatime", libc::MS_STRICTATIME, true),
    ("nosuid", libc::MS_NOSUID, false),
    ("nosymfollow", MS_NOSYMFOLLOW, false),
    ("rbind", libc::MS_BIND | libc::MS_REC, false),
    ("relatime", libc::MS_RELATIME, false),
    ("remount", libc::MS_REMOUNT, false),
    ("ro", libc::MS_RDONLY, false),
    ("rw", libc::MS_RDONLY, true),
    ("silent", libc::MS_SILENT, false),
    ("strictatime", libc::MS_STRICTATIME, false),
    ("suid", libc::MS_NOSUID, true),
    ("symfollow", MS_NOSYMFOLLOW, true),
    ("sync", libc::MS_SYNCHRONOUS, false),
];

const MS_NOSYMFOLLOW: u64 = 256;

const PROPAGATION: &[(&str, u64)] = &[
    ("private", libc::MS_PRIVATE),
    ("shared", libc::MS_SHARED),
    ("slave", libc::MS_SLAVE),
    ("unbindable", libc::MS_UNBINDABLE),
    ("rprivate", libc::MS_PRIVATE | libc::MS_REC),
    ("rshared", libc::MS_SHARED | libc::MS_REC),
    ("rslave", libc::MS_SLAVE | libc::MS_REC),
    ("runbindable", libc::MS_UNBINDABLE | libc::MS_REC),
];

const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// Option, attributes to set, attributes to clear. The kernel wants the field of access times cleared whenever it is set.
const RECURSIVE: &[(&str, u64, u64)] = &[
    ("rro", RDONLY, 0),
    ("rrw", 0, RDONLY),
    ("rnosuid", NOSUID, 0),
    ("rsuid", 0, NOSUID),
    ("rnodev", NODEV, 0),
    ("rdev", 0, NODEV),
    ("rnoexec", NOEXEC, 0),
    ("rexec", 0, NOEXEC),
    ("rnodiratime", NODIRATIME, 0),
    ("rdiratime", 0, NODIRATIME),
    ("rrelatime", 0, ATIME),
    ("rnorelatime", 0, ATIME),
    ("rnoatime", NOATIME, ATIME),
    ("ratime", 0, ATIME),
    ("rstrictatime", STRICTATIME, ATIME),
    ("rnostrictatime", 0, ATIME),
    ("rnosymfollow", NOSYMFOLLOW, 0),
    ("rsymfollow", 0, NOSYMFOLLOW),
];

impl Options {
    /// Reads options in their order: a later one undoes an earlier. What is unknown is the file system's.
    pub fn parse<'a>(options: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parsed = Self::default();
        for option in options {
            if let Some((_, flags, clears)) = FLAGS.iter().find(|(name, ..)| *name == option) {
                if *clears {
                    parsed.flags &= !flags;
                    parsed.cleared |= flags;
                } else {
                    parsed.flags |= flags;
                    parsed.cleared &= !flags;
                }
            } else if let Some((_, flags)) = PROPAGATION.iter().find(|(name, _)| *name == option) {
                parsed.propagation.push(*flags);
            } else if let Some((_, set, clear)) = RECURSIVE.iter().find(|(name, ..)| *name == option) {
                let recursive = &mut parsed.recursive;
                recursive.set = (recursive.set & !clear) | set;
                recursive.clear = (recursive.clear & !(set & !ATIME)) | clear;
            } else {
                match option {
                    "defaults" | "" => {}
                    "tmpcopyup" => parsed.copy_up = true,
                    "idmap" => parsed.id_map = Some(false),
                    "ridmap" => parsed.id_map = Some(true),
                    data => {
                        if !parsed.data.is_empty() {
                            parsed.data.push(',');
                        }
                        parsed.data.push_str(data);
                    }
                }
            }
        }
        parsed
    }

    /// The flags that are properties of a mount, as `MOUNT_ATTR_…`.
    pub fn attributes(&self) -> u64 {
        let pairs = [
            (libc::MS_RDONLY, RDONLY),
            (libc::MS_NOSUID, NOSUID),
            (libc::MS_NODEV, NODEV),
            (libc::MS_NOEXEC, NOEXEC),
            (libc::MS_NOATIME, NOATIME),
            (libc::MS_STRICTATIME, STRICTATIME),
            (libc::MS_NODIRATIME, NODIRATIME),
            (MS_NOSYMFOLLOW, NOSYMFOLLOW),
        ];
        pairs
            .iter()
            .filter(|(flag, _)| self.flags & flag != 0)
            .fold(0, |all, (_, attribute)| all | attribute)
    }

    /// Every option that means a flag, for `features`.
    pub fn known() -> impl Iterator<Item = &'static str> {
        let own = ["defaults", "idmap", "ridmap", "tmpcopyup"];
        FLAGS
            .iter()
            .map(|(name, ..)| *name)
            .chain(PROPAGATION.iter().map(|(name, _)| *name))
            .chain(RECURSIVE.iter().map(|(name, ..)| *name))
            .chain(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_undo_earlier_ones() {
        let parsed = Options::parse(["ro", "nosuid", "rw", "size=64k", "mode=755", "rslave", "defaults"]);
        assert_eq!(parsed.flags, libc::MS_NOSUID);
        assert_eq!(parsed.cleared, libc::MS_RDONLY);
        assert_eq!(parsed.data, "size=64k,mode=755");
        assert_eq!(parsed.propagation, [libc::MS_SLAVE | libc::MS_REC]);
        let bind = Options::parse(["rbind", "rro", "rnoatime", "idmap"]);
        assert_eq!(bind.flags, libc::MS_BIND | libc::MS_REC);
        assert_eq!(
            bind.recursive,
            RecursiveFlags {
                set: RDONLY | NOATIME,
                clear: ATIME
            }
        );
        assert_eq!(bind.id_map, Some(false));
        assert_eq!(Options::parse(["ro", "noexec"]).attributes(), RDONLY | NOEXEC);
    }
}
