//! How single flags are read: Docker's grammars (see `opts`) as clap's value parsers.

use gantry_opts as opts;

macro_rules! parsers {
    ($( $(#[$doc:meta])* $name:ident: $out:ty = $parse:expr; )*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(text: &str) -> Result<$out, String> {
            #[allow(clippy::redundant_closure_call)]
            ($parse)(text).map_err(|error| error.to_string())
        }
    )*};
}

parsers! {
    /// A truth value.
    truth: bool = opts::boolean::parse;
    /// Bytes.
    bytes: i64 = opts::size::ram_in_bytes;
    /// Bytes, or -1.
    memory_swap: i64 = opts::size::memory_swap;
    /// Billionths of a processor.
    cpus: i64 = opts::cpus::parse;
    /// Nanoseconds.
    duration: i64 = opts::duration::parse;
    /// A variable.
    env: String = opts::env::variable;
    /// A label.
    label: String = opts::env::label;
    /// A mount.
    mount: opts::mount::Mount = opts::mount::parse;
    /// A limit of resources.
    ulimit: opts::ulimit::Ulimit = opts::ulimit::parse;
    /// A host's address.
    add_host: String = opts::host::add_host;
    /// A name server.
    dns: String = opts::host::dns;
    /// A link.
    link: String = opts::host::link;
    /// A kernel parameter.
    sysctl: (String, String) = opts::host::sysctl;
    /// A rule of the devices cgroup.
    device_rule: String = opts::device::cgroup_rule;
}

/// A filter; an empty one counts for nothing.
pub(crate) fn filter(text: &str) -> Result<(String, String), String> {
    match opts::filter::parse(text) {
        Ok(filter) => Ok(filter.unwrap_or_default()),
        Err(_) => Err("bad format of filter (expected name=value)".to_owned()),
    }
}

/// A whole number, in Go's words.
pub(crate) fn int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let parsed = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

/// A whole number from 0 to 65535, in Go's words.
pub(crate) fn uint16(text: &str) -> Result<u16, String> {
    let bad = |why| format!("strconv.ParseUint: parsing {text:?}: {why}");
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("invalid syntax"));
    }
    text.parse().map_err(|_| bad("value out of range"))
}

/// A stream to attach to.
pub(crate) fn attach(text: &str) -> Result<String, String> {
    let stream = text.to_lowercase();
    match stream.as_str() {
        "stdin" | "stdout" | "stderr" => Ok(stream),
        _ => Err("valid streams are STDIN, STDOUT and STDERR".to_owned()),
    }
}

/// A rate of a device: its path and bytes a second.
pub(crate) fn device_bps(text: &str) -> Result<(String, u64), String> {
    rate(text, |rate| {
        opts::size::ram_in_bytes(rate)
            .ok()
            .and_then(|n| u64::try_from(n).ok())
    })
}

/// A rate of a device: its path and operations a second.
pub(crate) fn device_iops(text: &str) -> Result<(String, u64), String> {
    rate(text, |rate| rate.parse().ok())
}

fn rate(text: &str, read: impl Fn(&str) -> Option<u64>) -> Result<(String, u64), String> {
    let (path, rate) = text
        .split_once(':')
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    let rate = read(rate).ok_or_else(|| {
        format!("invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb")
    })?;
    Ok((path.to_owned(), rate))
}

/// A weight of a device.
pub(crate) fn device_weight(text: &str) -> Result<(String, u16), String> {
    let (path, weight) = text
        .split_once(':')
        .ok_or_else(|| format!("bad format: {text}"))?;
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    let weight: u16 = weight
        .parse()
        .map_err(|_| format!("invalid weight for device: {text}"))?;
    if weight != 0 && !(10..=1000).contains(&weight) {
        return Err(format!("invalid weight for device: {text}"));
    }
    Ok((path.to_owned(), weight))
}
