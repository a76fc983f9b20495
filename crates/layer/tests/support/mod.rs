//! What the tests of layers share: writing any tar, however wrong, reading trees back, and mounting overlays.
#![allow(dead_code)] // each test program uses another part

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use gantry_layer::{Applied, Error, Options, Target};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

/// A tar in the making; nothing is checked.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub(crate) Vec<u8>);

/// One entry to be written.
#[derive(Clone)]
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) kind: u8,
    pub(crate) link: &'a [u8],
    pub(crate) mode: u64,
    pub(crate) owner: (u64, u64),
    pub(crate) mtime: u64,
    pub(crate) data: &'a [u8],
    pub(crate) device: (u64, u64),
}

impl Default for Spec<'_> {
    fn default() -> Self {
        Self {
            name: b"",
            kind: b'0',
            link: b"",
            mode: 0o644,
            owner: (0, 0),
            mtime: 1_000_000_000,
            data: b"",
            device: (0, 0),
        }
    }
}

impl Tar {
    pub(crate) fn add(&mut self, spec: &Spec<'_>) -> &mut Self {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(spec.name.len() <= 100 && spec.link.len() <= 100);
        put(0, spec.name);
        for (at, width, value) in [
            (100, 8, spec.mode),
            (108, 8, spec.owner.0),
            (116, 8, spec.owner.1),
            (124, 12, spec.data.len() as u64),
            (136, 12, spec.mtime),
            (329, 8, spec.device.0),
            (337, 8, spec.device.1),
        ] {
            put(at, format!("{value:0w$o}\0", w = width - 1).as_bytes());
        }
        put(156, &[spec.kind]);
        put(157, spec.link);
        put(257, b"ustar\x0000");
        seal(&mut block);
        self.0.extend_from_slice(&block);
        self.body(spec.data)
    }

    pub(crate) fn body(&mut self, data: &[u8]) -> &mut Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn pax(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.add(&Spec {
            name: b"pax",
            kind: b'x',
            data: &content,
            ..Spec::default()
        })
    }

    pub(crate) fn file(&mut self, name: &str, data: &str) -> &mut Self {
        self.add(&Spec {
            name: name.as_bytes(),
            data: data.as_bytes(),
            ..Spec::default()
        })
    }

    pub(crate) fn dir(&mut self, name: &str) -> &mut Self {
        self.add(&Spec {
            name: name.as_bytes(),
            kind: b'5',
            mode: 0o755,
            ..Spec::default()
        })
    }

    pub(crate) fn symlink(&mut self, name: &str, to: &str) -> &mut Self {
        let (name, link) = (name.as_bytes(), to.as_bytes());
        self.add(&Spec {
            name,
            link,
            kind: b'2',
            mode: 0o777,
            ..Spec::default()
        })
    }

    pub(crate) fn link(&mut self, name: &str, to: &str) -> &mut Self {
        self.add(&Spec {
            name: name.as_bytes(),
            link: to.as_bytes(),
            kind: b'1',
            ..Spec::default()
        })
    }

    /// The finished tar.
    pub(crate) fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// Sets the checksum of a header.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// Everything about a file that a layer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: (i64, i64),
    pub(crate) links: u64,
    pub(crate) device: u64,
    /// Content of a file, target of a link.
    pub(crate) content: Vec<u8>,
    pub(crate) xattrs: BTreeMap<OsString, Vec<u8>>,
}

/// A whole tree by path, the root as the empty one.
pub(crate) fn look(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut all = BTreeMap::new();
    let mut queue = vec![PathBuf::new()];
    while let Some(relative) = queue.pop() {
        let path = if relative.as_os_str().is_empty() {
            root.to_owned()
        } else {
            root.join(&relative)
        };
        let stat = fs::symlink_metadata(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
        let kind = stat.file_type();
        let content = if kind.is_symlink() {
            fs::read_link(&path).expect("link").into_os_string().into_vec()
        } else if kind.is_file() {
            fs::read(&path).expect("read")
        } else {
            Vec::new()
        };
        let is_node = kind.is_char_device() || kind.is_block_device();
        let seen = Seen {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            mtime: (stat.mtime(), stat.mtime_nsec()),
            links: if kind.is_dir() { 0 } else { stat.nlink() },
            device: if is_node { stat.rdev() } else { 0 },
            content,
            xattrs: xattrs(&path),
        };
        all.insert(relative.clone(), seen);
        if kind.is_dir() {
            for entry in fs::read_dir(&path).expect("ls") {
                queue.push(relative.join(entry.expect("entry").file_name()));
            }
        }
    }
    all
}

pub(crate) fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap_or(0);
    names[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"trusted.overlay."))
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).expect("xattr");
            value.truncate(length);
            (OsStr::from_bytes(name).to_owned(), value)
        })
        .collect()
}

/// What differs, in a form to be read.
pub(crate) fn differences(a: &BTreeMap<PathBuf, Seen>, b: &BTreeMap<PathBuf, Seen>) -> Vec<String> {
    let mut all = Vec::new();
    for path in a.keys().chain(b.keys().filter(|p| !a.contains_key(*p))) {
        match (a.get(path), b.get(path)) {
            (Some(x), Some(y)) if x == y => {}
            (x, y) => {
                let short = |s: Option<&Seen>| {
                    s.map(|s| {
                        let content =
                            String::from_utf8_lossy(&s.content[..s.content.len().min(40)]).into_owned();
                        format!(
                            "{:o} {:?} {:?} n{} d{} {content:?} {:?}",
                            s.mode, s.owner, s.mtime, s.links, s.device, s.xattrs
                        )
                    })
                };
                all.push(format!("{path:?}\n  {:?}\n  {:?}", short(x), short(y)));
            }
        }
    }
    all
}

/// Layers as the overlay driver has them: one upper folder each.
pub(crate) struct Stack {
    pub(crate) root: TempDir,
    pub(crate) layers: Vec<PathBuf>,
}

impl Stack {
    pub(crate) fn new() -> Self {
        Self {
            root: TempDir::new().expect("tempdir"),
            layers: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, layer: &[u8]) -> Result<Applied, Error> {
        let upper = self.root.path().join(self.layers.len().to_string());
        fs::create_dir(&upper).expect("mkdir");
        let lower: Vec<_> = self.layers.iter().rev().cloned().collect();
        self.layers.push(upper.clone());
        let target = if lower.is_empty() {
            Target::Directory(upper)
        } else {
            Target::Overlay {
                upper,
                lower,
                userxattr: false,
            }
        };
        gantry_layer::apply(layer, &target, &Options::default())
    }

    /// Mounts the layers over each other, read-only, and looks.
    pub(crate) fn look(&self) -> BTreeMap<PathBuf, Seen> {
        struct Mounted(TempDir);
        impl Drop for Mounted {
            fn drop(&mut self) {
                let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
            }
        }
        if let [only] = self.layers.as_slice() {
            return look(only);
        }
        let at = Mounted(TempDir::new().expect("tempdir"));
        let lower: Vec<_> = self
            .layers
            .iter()
            .rev()
            .map(|l| l.display().to_string())
            .collect();
        let data = format!("lowerdir={}", lower.join(":"));
        mount(
            Some("overlay"),
            at.0.path(),
            Some("overlay"),
            MsFlags::MS_RDONLY,
            Some(data.as_str()),
        )
        .expect("mount overlay");
        look(at.0.path())
    }
}
