//! The folder of one task, `STATE/shim/<namespace>/<id>`: made, read and removed. Knows no database and no shim.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gantry_shim_api::messages::BootstrapResult;
use gantry_supervisor_core::task::Exit;
use gantry_supervisor_core::{Error, Result};
use gantry_sys::fault::point;
use gantry_sys::procfs::mounts_below;
use prost::Message;

use super::record;

/// One bundle.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
}

/// Where and how a shim serves.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Bootstrap {
    /// Of the task service: 2 or 3.
    pub(crate) version: u32,
    /// `unix:///…`
    pub(crate) address: String,
    /// `ttrpc`
    pub(crate) protocol: String,
}

impl Bootstrap {
    /// What a shim's `start` printed: a message, JSON, or an address alone.
    pub(crate) fn parse(output: &[u8]) -> Result<Self> {
        if let Ok(said) = BootstrapResult::decode(output)
            && said.address.starts_with("unix://")
        {
            return Self {
                version: u32::try_from(said.version).unwrap_or_default(),
                address: said.address,
                protocol: said.protocol,
            }
            .checked();
        }
        let text = String::from_utf8_lossy(output);
        let text = text.trim();
        match text.starts_with('{') {
            true => serde_json::from_str(text).map_err(|e| {
                Error::internal(format!("failed to read the shim's answer {text:?}")).with_source(e)
            })?,
            false => Self {
                version: 2,
                address: text.to_owned(),
                protocol: "ttrpc".into(),
            },
        }
        .checked()
    }

    /// Whether we can speak to it.
    fn checked(self) -> Result<Self> {
        let version = self.version;
        if !(2..=3).contains(&version) {
            return Err(Error::not_implemented(format!(
                "unsupported shim version ({version}): not implemented"
            )));
        }
        if self.protocol != "ttrpc" {
            let protocol = self.protocol;
            return Err(Error::not_implemented(format!(
                "unsupported shim protocol {protocol:?}: not implemented"
            )));
        }
        if self.socket().as_os_str().is_empty() {
            return Err(Error::internal("the shim answered without an address"));
        }
        Ok(self)
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &Path {
        Path::new(self.address.strip_prefix("unix://").unwrap_or(&self.address))
    }
}

/// A removal that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    /// Of a task that has ended.
    Delete,
    /// Of one that was not made, or that nobody asks for.
    Undo,
}

/// The file of each.
const INTENTS: [(Intent, &str); 2] = [(Intent::Undo, "undone"), (Intent::Delete, "deleted")];

impl Bundle {
    /// The bundle of a task below a state folder.
    pub(crate) fn new(state: &Path, namespace: &str, id: &str) -> Self {
        Self {
            path: state.join("shim").join(namespace).join(id),
        }
    }

    /// Makes the folder with the specification, an empty `rootfs` and the name of its shim. There must be none.
    pub(crate) fn create(&self, spec: &[u8], shim: &Path) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
        }
        fs::DirBuilder::new().mode(0o711).create(&self.path)?;
        fs::DirBuilder::new()
            .mode(0o711)
            .create(self.path.join("rootfs"))?;
        point("bundle half made");
        self.write("config.json", spec)?;
        self.write("shim-binary-path", shim.as_os_str().as_bytes())?;
        // Shims of containerd open it for their own log. A plain file never makes them wait for a reader.
        self.write("log", b"")
    }

    fn write(&self, name: &str, data: &[u8]) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        file.write_all(data)
    }

    /// Keeps where the shim serves for whoever comes after us.
    pub(crate) fn save_bootstrap(&self, bootstrap: &Bootstrap) -> io::Result<()> {
        let (temporary, path) = (
            self.path.join(".bootstrap.json"),
            self.path.join("bootstrap.json"),
        );
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec(bootstrap)?)?;
        file.sync_all()?;
        point("address written");
        fs::rename(temporary, path)
    }

    /// Where the shim serves; `None` when its start was cut off, so that it was never asked for a container.
    pub(crate) fn bootstrap(&self) -> Option<Bootstrap> {
        let saved = fs::read(self.path.join("bootstrap.json"));
        saved.ok().and_then(|text| Bootstrap::parse(&text).ok())
    }

    /// Kills what was started for this bundle and works in its folder: the shim's `start`, and what that has left behind.
    /// Only for a bundle that has no container, or none any more.
    pub(crate) fn end_processes(&self) {
        use std::os::unix::fs::MetadataExt;
        let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
        let Some(bundle) = place(&self.path) else { return };
        let id = self.path.file_name().unwrap_or_default().as_bytes();
        // Again while there are some: one may start another before it is killed.
        for _ in 0..50 {
            let mut killed = false;
            for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
                let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                // Not somebody who looks around here: shims and runtimes are given the id.
                let works_here = || {
                    let args = fs::read(process.path().join("cmdline")).unwrap_or_default();
                    args.split(|&byte| byte == 0).any(|arg| arg == id)
                        && place(&process.path().join("cwd")) == Some(bundle)
                };
                if !works_here() {
                    continue;
                }
                // Held, the number stays that process's: it is looked at once more.
                let Ok(held) = gantry_sys::process::pidfd_open(pid) else {
                    continue;
                };
                if works_here() && gantry_sys::process::pidfd_signal(held.as_fd(), 9).is_ok() {
                    killed = true;
                    let _ =
                        gantry_sys::process::pidfd_wait(held.as_fd(), std::time::Duration::from_millis(200));
                }
            }
            if !killed {
                return;
            }
        }
    }

    /// Keeps that it is to be removed.
    pub(crate) fn intend(&self, intent: Intent) -> io::Result<()> {
        for (_, name) in INTENTS.iter().filter(|(one, _)| *one == intent) {
            match fs::File::create(self.path.join(name)) {
                // There is nothing to remove.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Takes that back.
    pub(crate) fn intend_no_more(&self) {
        for (_, name) in INTENTS {
            let _ = fs::remove_file(self.path.join(name));
        }
    }

    /// Whether it is to be removed.
    pub(crate) fn intent(&self) -> Option<Intent> {
        let found = INTENTS.iter().find(|(_, name)| self.path.join(name).exists());
        found.map(|(intent, _)| *intent)
    }

    /// Whether there ever was a container.
    pub(crate) fn was_made(&self) -> bool {
        self.path.join("init.pid").exists() || self.path.join("exit.json").exists()
    }

    /// The shim's binary.
    pub(crate) fn shim_binary(&self) -> Option<PathBuf> {
        let path = fs::read(self.path.join("shim-binary-path")).ok()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(path)))
    }

    /// How the init ended, as its shim recorded it, or we did.
    pub(crate) fn exit_record(&self) -> Option<Exit> {
        record::read(&self.path)
    }

    /// Records how the init ended, if nobody has: before it is told, so that it is told the same after a restart.
    pub(crate) fn keep_exit(&self, exit: &Exit) -> io::Result<()> {
        record::keep(&self.path, exit)
    }

    /// The init's process id, as the runtime wrote it.
    pub(crate) fn init_pid(&self) -> Option<u32> {
        fs::read_to_string(self.path.join("init.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Where its streams are connected to.
    pub(crate) fn attach_socket(&self) -> PathBuf {
        self.path.join("attach.sock")
    }

    /// Removes all of it: mounts below it first, then the files. What is gone already is no error; an error does not keep
    /// the rest from being removed. A folder with a mount that stays is not touched, as it is not ours. The socket of a shim
    /// that serves other tasks too stays.
    pub(crate) fn remove(&self, shared: bool) -> Result<()> {
        if let Some(bootstrap) = self.bootstrap().filter(|_| !shared) {
            // Not what a program that is no shim may have named.
            let is_socket = |found: fs::Metadata| found.file_type().is_socket();
            if fs::symlink_metadata(bootstrap.socket()).is_ok_and(is_socket) {
                let _ = fs::remove_file(bootstrap.socket());
            }
        }
        let path = match fs::canonicalize(&self.path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Error::from(error).context(format!("failed to remove {}", self.path.display())));
            }
        };
        let failed =
            |source: io::Error| Error::from(source).context(format!("failed to remove {}", path.display()));
        for mount in mounts_below(&path).map_err(failed)?.iter().rev() {
            if let Err(error) = gantry_sys::mount::detach(mount) {
                tracing::warn!(mount = %mount.display(), "failed to unmount: {}", gantry_errdefs::chain(&error));
            }
        }
        if let Some(mount) = mounts_below(&path).map_err(failed)?.first() {
            return Err(Error::internal(format!(
                "failed to remove {}: {} is mounted",
                path.display(),
                mount.display()
            )));
        }
        point("bundle to be removed");
        // All at once: what is left of a bundle in which files are missing could be taken for something else.
        let removed = removed(&path);
        let path = match fs::rename(&path, &removed) {
            Ok(()) => removed,
            Err(_) => path.clone(),
        };
        point("bundle half removed");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// The name of a bundle that is being removed. No task has one like it.
fn removed(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(REMOVED);
    name.push(path.file_name().unwrap_or_default());
    path.with_file_name(name)
}

/// How such a name begins.
const REMOVED: &str = ".removed-";

/// Removes what is left of bundles whose removal was cut off. Returns whether it was one.
pub(crate) fn sweep(folder: &Path, name: &str) -> bool {
    let is_one = name.starts_with(REMOVED);
    if is_one && let Err(error) = fs::remove_dir_all(folder.join(name)) {
        tracing::warn!("failed to remove {}: {error}", folder.join(name).display());
    }
    is_one
}

#[cfg(test)]
mod tests {
    use gantry_supervisor_core::Time;

    use super::*;

    #[test]
    fn answers_of_shims() {
        let json = br#"{"version":3,"address":"unix:///run/s/a","protocol":"ttrpc"}"#;
        let bootstrap = Bootstrap::parse(json).unwrap();
        assert_eq!(
            (bootstrap.version, bootstrap.socket()),
            (3, Path::new("/run/s/a"))
        );
        assert_eq!(Bootstrap::parse(b"unix:///run/s/b\n").unwrap().version, 2);
        let message = BootstrapResult {
            version: 3,
            address: "unix:///run/s/a".into(),
            protocol: "ttrpc".into(),
        };
        assert_eq!(Bootstrap::parse(&message.encode_to_vec()).unwrap(), bootstrap);
        for bad in [
            &b""[..],
            b"{",
            br#"{"version":9,"address":"unix:///a","protocol":"ttrpc"}"#,
        ] {
            assert!(Bootstrap::parse(bad).is_err());
        }
    }

    #[test]
    fn a_bundle_is_made_and_removed_with_what_is_mounted_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = Bundle::new(dir.path(), "ns", "c 1");
        bundle.create(b"{}", Path::new("/x/shim")).unwrap();
        assert_eq!(bundle.shim_binary(), Some(PathBuf::from("/x/shim")));
        assert!(bundle.create(b"{}", Path::new("/x")).is_err());
        let saved = Bootstrap {
            version: 3,
            address: "unix:///s".into(),
            protocol: "ttrpc".into(),
        };
        bundle.save_bootstrap(&saved).unwrap();
        assert_eq!(bundle.bootstrap(), Some(saved));
        fs::write(
            bundle.path.join("exit.json"),
            r#"{"version":1,"pid":5,"exit_status":42,"exited_at":"1970-01-01T00:00:01Z"}"#,
        )
        .unwrap();
        assert_eq!(
            bundle.exit_record(),
            Some(Exit {
                pid: 5,
                exit_status: 42,
                exited_at: Time(1_000_000_000)
            })
        );
        let start = |id: &str| {
            let mut command = std::process::Command::new("sh");
            command.args(["-c", "read line", id]).current_dir(&bundle.path);
            command.stdin(std::process::Stdio::piped()).spawn().unwrap()
        };
        let (mut shim, mut other) = (start("c 1"), start("x"));
        bundle.end_processes();
        assert!(!shim.wait().unwrap().success());
        assert_eq!(other.try_wait().unwrap(), None);
        other.kill().unwrap();
        other.wait().unwrap();
        let kept = dir.path().join("kept");
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        if gantry_sys::process::euid() == 0 {
            let target = bundle.path.join("rootfs");
            gantry_sys::mount::mount_described(
                "bind",
                &kept.to_string_lossy(),
                &target,
                &["bind".to_owned()],
            )
            .unwrap();
        }
        let left = dir.path().join("shim/ns");
        fs::create_dir(left.join(".removed-c 2")).unwrap();
        assert!(sweep(&left, ".removed-c 2") && !sweep(&left, "c 1"));
        bundle.remove(false).unwrap();
        assert_eq!(fs::read_dir(&left).unwrap().count(), 0);
        assert!(!bundle.path.exists() && kept.join("file").exists());
        bundle.remove(false).unwrap();
    }
}
