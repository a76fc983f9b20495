//! Places where a test has a process die: named, and only there when the feature `fault-points` is compiled in. Knows nothing of what
//! is done at them.

/// Dies by SIGKILL if the file that `GANTRY_FAULT` names says `NAME:N` and this is the N-th time that this place is reached
/// since it says so.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    use std::sync::{Mutex, OnceLock, PoisonError};
    static FILE: OnceLock<Option<std::ffi::OsString>> = OnceLock::new();
    static REACHED: Mutex<(String, u32)> = Mutex::new((String::new(), 0));
    let Some(file) = FILE.get_or_init(|| std::env::var_os("GANTRY_FAULT")) else {
        return;
    };
    let said = std::fs::read_to_string(file).unwrap_or_default();
    let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
    if reached.0 != said {
        *reached = (said.clone(), 0);
    }
    let Some((wanted, times)) = said.rsplit_once(':') else {
        return;
    };
    if wanted != name {
        return;
    }
    reached.1 += 1;
    if times.parse() == Ok(reached.1) {
        let _ = crate::process::kill(crate::process::pid(), 9);
        // It is on its way: nothing more is done here.
        loop {
            std::thread::park();
        }
    }
}

/// Nothing: no place to die at is compiled in.
#[cfg(not(feature = "fault-points"))]
pub fn point(_name: &str) {}
