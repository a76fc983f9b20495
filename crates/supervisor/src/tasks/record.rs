//! `exit.json`, as in `docs/protocols.md`: how a container's first process ended. Knows nothing else of bundles.

use std::fs;
use std::io;
use std::path::Path;

use gantry_supervisor_core::task::Exit;
use gantry_sys::clock;

#[derive(serde::Deserialize, serde::Serialize)]
struct ExitRecord {
    version: u32,
    pid: u32,
    exit_status: u32,
    exited_at: String,
}

/// What is recorded.
pub(super) fn read(bundle: &Path) -> Option<Exit> {
    let text = fs::read(bundle.join("exit.json")).ok()?;
    let record: ExitRecord = serde_json::from_slice(&text).ok()?;
    if record.version != 1 {
        return None;
    }
    let exited_at = clock::parse_rfc3339(&record.exited_at)?.into();
    Some(Exit {
        pid: record.pid,
        exit_status: record.exit_status,
        exited_at,
    })
}

/// Records an end, if there is no record: shims of others write none. Not for a crash of the machine, after which there is
/// no container.
pub(super) fn keep(bundle: &Path, exit: &Exit) -> io::Result<()> {
    let (temporary, path) = (bundle.join(".exit.json"), bundle.join("exit.json"));
    if path.exists() {
        return Ok(());
    }
    let record = ExitRecord {
        version: 1,
        pid: exit.pid,
        exit_status: exit.exit_status,
        exited_at: clock::rfc3339(exit.exited_at.into()),
    };
    fs::write(&temporary, serde_json::to_vec(&record)?)?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_supervisor_core::Time;

    #[test]
    fn the_first_record_holds() {
        let dir = tempfile::tempdir().unwrap();
        let exit = |exit_status| Exit {
            pid: 5,
            exit_status,
            exited_at: Time(1_700_000_000_123_456_789),
        };
        assert_eq!(read(dir.path()), None);
        keep(dir.path(), &exit(42)).unwrap();
        keep(dir.path(), &exit(137)).unwrap();
        assert_eq!(read(dir.path()), Some(exit(42)));
    }
}
