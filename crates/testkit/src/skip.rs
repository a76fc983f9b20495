//! What a test could not try on this machine, said where whoever runs the suite reads it: libtest knows `ok` and `FAILED` only.

use std::fs::OpenOptions;
use std::io::Write;

/// Says that the running test leaves out `what`, and `why`.
///
/// The line goes past libtest, which shows the output of failed tests alone; and into the file that `GANTRY_SKIPPED` names, from
/// which `cargo xtask test` repeats it at the end.
pub fn skip(what: &str, why: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {what}: {why}\n", thread.name().unwrap_or("a test"));
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("GANTRY_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("write down what is skipped");
    }
}

/// Why nothing can be given all capabilities here: this process, the tests' own, has not got them itself.
pub fn not_all_capabilities() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let last: u32 = read("/proc/sys/kernel/cap_last_cap").trim().parse().unwrap_or(63);
    let status = read("/proc/self/status");
    let own = status.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    let own = u64::from_str_radix(own.unwrap_or_default(), 16).unwrap_or(0);
    let missing = (0..=last).find(|number| own >> number & 1 == 0)?;
    Some(format!("capability {missing} is missing on this machine"))
}

/// Why nothing can be checkpointed here: what criu says of this machine, if it is not well or not there.
pub fn no_criu() -> Option<String> {
    match std::process::Command::new("criu")
        .args(["check", "-o", "-", "-v1"])
        .output()
    {
        Ok(said) if said.status.success() => None,
        Ok(said) => {
            let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
            let why = text
                .lines()
                .find(|line| line.contains("Error"))
                .unwrap_or("it says nothing");
            Some(format!("criu does not run on this machine: {}", why.trim()))
        }
        Err(error) => Some(format!("criu: {error}")),
    }
}
