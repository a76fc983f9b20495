//! A place of a test's own: a directory and the name of a cgroup. When the test is over nothing may be left of either.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::kernel;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The place. Dropping it removes what is there, and fails the test when a process, mount or cgroup was left.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
    cgroup: String,
}

impl Place {
    /// A new one, for root only: the tests that need it look into the kernel.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        assert_eq!(
            gantry_sys::process::euid(),
            0,
            "this test needs root: run it with `cargo xtask test` as root"
        );
        let dir = tempfile::Builder::new()
            .prefix("gt-")
            .tempdir()
            .expect("a temporary directory");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            dir,
            cgroup: format!("/gantry-test-{}-{number}", std::process::id()),
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the directory.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The cgroup, below the root of every hierarchy. Whoever is tested makes it.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// A name that nothing else on the machine has.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.cgroup.trim_start_matches('/'))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut left = Vec::new();
        // What was killed last may still be on its way out.
        for _ in 0..if std::thread::panicking() { 0 } else { 100 } {
            left = kernel::left(self.dir(), &self.cgroup);
            // An empty cgroup above those of the containers is the test's own.
            left.retain(|line| !line.starts_with("cgroup ") || !line.ends_with(&self.cgroup));
            if left.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        kernel::sweep(self.dir(), &self.cgroup);
        assert!(
            left.is_empty() || std::thread::panicking(),
            "left behind: {left:#?}"
        );
    }
}
