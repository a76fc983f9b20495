//! The overlay driver: one folder per snapshot, stacked by the kernel's overlayfs. It mounts nothing itself.
//!
//! ```text
//! ROOT/metadata.db           which there are (see `metadata`)
//! ROOT/snapshots/<n>/fs      what the snapshot changed: upper or lower folder
//! ROOT/snapshots/<n>/work    overlayfs' own, for active ones
//! ROOT/trash/<n>             on its way out
//! ```

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::metadata::{Metadata, Stack};
use crate::{Error, Info, Kind, Labels, Mount, Snapshotter, Usage, disk};

/// The overlay driver at one root.
#[derive(Debug)]
pub struct Overlay {
    snapshots: PathBuf,
    trash: PathBuf,
    metadata: Metadata,
    options: Vec<String>,
}

impl Overlay {
    /// Opens or makes the driver's root, and removes what a crash left.
    ///
    /// The mounts get `index=off` where the kernel knows that (two mounts may share lower folders), and `userxattr`
    /// in a user namespace, where overlayfs cannot keep its marks in `trusted.*`.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, Error> {
        let root = root.as_ref();
        let (snapshots, trash) = (root.join("snapshots"), root.join("trash"));
        for folder in [root, &snapshots, &trash] {
            make_folders(folder)?;
        }
        let overlay = Self {
            metadata: Metadata::open(&root.join("metadata.db"))?,
            snapshots,
            trash,
            options: options(),
        };
        overlay.cleanup()?;
        Ok(overlay)
    }

    fn folder(&self, id: i64) -> PathBuf {
        self.snapshots.join(id.to_string())
    }

    fn fs(&self, id: i64) -> PathBuf {
        self.folder(id).join("fs")
    }

    fn create(&self, key: &str, parent: &str, kind: Kind, labels: &Labels) -> Result<Vec<Mount>, Error> {
        let mut made = None;
        let created = self.metadata.create(key, parent, kind, labels, |stack| {
            made = Some(stack.id);
            self.make(stack)
        });
        match created {
            Ok(stack) => Ok(self.mounts_of(&stack)),
            Err(error) => {
                // No row was committed: what was made is nobody's.
                if let Some(id) = made {
                    let _ = self.throw_away(id);
                }
                Err(error)
            }
        }
    }

    fn make(&self, stack: &Stack) -> Result<(), Error> {
        let folder = self.folder(stack.id);
        if folder.exists() {
            // Left by a crash before the commit that would have made the number taken.
            self.throw_away(stack.id)?;
        }
        make_folder(&folder, 0o700)?;
        let upper = self.fs(stack.id);
        make_folder(&upper, 0o755)?;
        if stack.kind != Kind::Active {
            return Ok(());
        }
        make_folder(&folder.join("work"), 0o711)?;
        match stack.parents.first() {
            Some(parent) => resemble(&upper, &self.fs(*parent)),
            None => Ok(()),
        }
    }

    /// What is mounted, as containerd's driver has it.
    fn mounts_of(&self, stack: &Stack) -> Vec<Mount> {
        let bind = |id, access: &str| {
            let source = self.fs(id).to_string_lossy().into_owned();
            vec![Mount {
                kind: "bind".into(),
                source,
                options: vec![access.into(), "rbind".into()],
            }]
        };
        let mut options = self.options.clone();
        match (stack.kind, stack.parents.as_slice()) {
            (Kind::Active, []) => return bind(stack.id, "rw"),
            (_, []) => return bind(stack.id, "ro"),
            (Kind::Active, _) => {
                options.push(format!(
                    "workdir={}",
                    self.folder(stack.id).join("work").display()
                ));
                options.push(format!("upperdir={}", self.fs(stack.id).display()));
            }
            (_, [parent]) => return bind(*parent, "ro"),
            _ => {}
        }
        let lower: Vec<_> = stack
            .parents
            .iter()
            .map(|id| self.fs(*id).display().to_string())
            .collect();
        options.push(format!("lowerdir={}", lower.join(":")));
        vec![Mount {
            kind: "overlay".into(),
            source: "overlay".into(),
            options,
        }]
    }

    fn throw_away(&self, id: i64) -> Result<(), Error> {
        let name = id.to_string();
        disk::discard(&self.folder(id), &self.trash, &name)?;
        disk::empty(&self.trash, Some(&name))
    }

    fn numbers(&self) -> Result<Vec<i64>, Error> {
        let failed = |e| Error::io("list", &self.snapshots, e);
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.snapshots).map_err(failed)? {
            if let Ok(id) = entry.map_err(failed)?.file_name().to_string_lossy().parse() {
                all.push(id);
            }
        }
        Ok(all)
    }
}

impl Snapshotter for Overlay {
    fn stat(&self, key: &str) -> Result<Info, Error> {
        Ok(self.metadata.info(key)?.1)
    }

    fn update(&self, info: &Info, fields: &[String]) -> Result<Info, Error> {
        self.metadata.update(info, fields)
    }

    fn usage(&self, key: &str) -> Result<Usage, Error> {
        let (id, info) = self.metadata.info(key)?;
        match info.kind {
            Kind::View => Ok(Usage::default()),
            Kind::Active => disk::usage(&self.fs(id)),
            Kind::Committed => {
                // It never changes, so it is measured when somebody first asks and not while they wait for the commit.
                if let Some(usage) = self.metadata.usage(id)? {
                    return Ok(usage);
                }
                let usage = disk::usage(&self.fs(id))?;
                self.metadata.set_usage(id, usage)?;
                Ok(usage)
            }
        }
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>, Error> {
        let stack = self.metadata.stack(key)?;
        if stack.kind == Kind::Committed {
            return Err(Error::NotMountable(key.to_owned()));
        }
        Ok(self.mounts_of(&stack))
    }

    fn prepare(&self, key: &str, parent: &str, labels: &Labels) -> Result<Vec<Mount>, Error> {
        self.create(key, parent, Kind::Active, labels)
    }

    fn view(&self, key: &str, parent: &str, labels: &Labels) -> Result<Vec<Mount>, Error> {
        self.create(key, parent, Kind::View, labels)
    }

    fn commit(&self, name: &str, key: &str, labels: &Labels) -> Result<(), Error> {
        self.metadata.commit(name, key, labels)
    }

    fn remove(&self, key: &str) -> Result<(), Error> {
        let removed = match self.metadata.remove(key) {
            Err(error) if error.kind() == gantry_errdefs::Kind::ResourceExhausted => {
                let (id, info) = self.metadata.info(key)?;
                if info.kind != Kind::Active {
                    return Err(error);
                }
                // Its files may be what fills the disk: without them there is room to write that it is gone.
                self.throw_away(id)?;
                self.metadata.remove(key)
            }
            other => other,
        };
        self.throw_away(removed?)
    }

    fn list(&self) -> Result<Vec<Info>, Error> {
        self.metadata.list()
    }

    fn cleanup(&self) -> Result<(), Error> {
        let mut errors = Vec::new();
        let discard = |id: i64| {
            errors.extend(disk::discard(&self.folder(id), &self.trash, &id.to_string()).err());
        };
        self.metadata.orphans(|| self.numbers(), discard)?;
        errors.extend(disk::empty(&self.trash, None).err());
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::Several(errors))
        }
    }
}

/// The folder that a container sees as its root looks as its image left it, unless a layer says otherwise.
fn resemble(folder: &Path, parent: &Path) -> Result<(), Error> {
    let like = fs::metadata(parent).map_err(|e| Error::io("stat", parent, e))?;
    let made = std::os::unix::fs::chown(folder, Some(like.uid()), Some(like.gid()))
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(like.mode() & 0o7777)))
        .and_then(|()| {
            let times = fs::FileTimes::new()
                .set_modified(like.modified()?)
                .set_accessed(like.accessed()?);
            fs::File::open(folder)?.set_times(times)
        });
    made.map_err(|e| Error::io("set up", folder, e))
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    // The permissions are set, and not only asked for, because the process may have a tighter umask.
    fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|e| Error::io("create", path, e))
}

fn make_folders(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .mode(0o711)
        .recursive(true)
        .create(path)
        .map_err(|e| Error::io("create", path, e))
}

fn options() -> Vec<String> {
    let mut options = Vec::new();
    if Path::new("/sys/module/overlay/parameters/index").exists() {
        options.push("index=off".to_owned());
    }
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let whole: Vec<_> = map.split_whitespace().collect();
    if !map.is_empty() && whole != ["0", "0", "4294967295"] {
        options.push("userxattr".to_owned());
    }
    options
}
