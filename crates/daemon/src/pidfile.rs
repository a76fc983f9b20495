//! The daemon's pid file: refuses a second daemon on the same file, replaces that of a dead one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Why the file could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// Somebody has it.
    #[error("process with PID {pid} is still running: {path:?} names it; stop it, or give another --pidfile")]
    Running {
        /// Who.
        pid: u32,
        /// The file.
        path: PathBuf,
    },
    /// It could not be written.
    #[error("failed to write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Removed when dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes our process id into `path`.
    pub fn take(path: &Path) -> Result<Self, PidFileError> {
        let held = fs::read_to_string(path)
            .ok()
            .and_then(|text| text.trim().parse::<u32>().ok());
        if let Some(pid) = held.filter(|pid| *pid != std::process::id() && is_daemon(*pid)) {
            return Err(PidFileError::Running {
                pid,
                path: path.to_owned(),
            });
        }
        let write = || {
            let temporary = path.with_extension("pid.new");
            let mut file = fs::File::create(&temporary)?;
            write!(file, "{}", std::process::id())?;
            fs::rename(&temporary, path)
        };
        write().map_err(|source| PidFileError::Write {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether a process is a daemon of ours: after a reboot the number may be anybody's.
fn is_daemon(pid: u32) -> bool {
    let own = fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let named = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == own);
    // A process that nobody has reaped has a name, and no program any more.
    named && fs::read_link(format!("/proc/{pid}/exe")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_or_foreign_holder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.pid");
        fs::write(&path, "1").unwrap();
        let held = PidFile::take(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
        drop(held);
        assert!(!path.exists());
        assert!(matches!(
            PidFile::take(&dir.path().join("none/d.pid")),
            Err(PidFileError::Write { .. })
        ));
    }
}
