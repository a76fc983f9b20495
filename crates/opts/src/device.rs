//! `--device host[:container][:permissions]`. Must not know whether a device is there.

use thiserror::Error;

/// A device of the host in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// On the host.
    pub host: String,
    /// In the container.
    pub container: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// Why a device cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// Too few or too many parts.
    #[error("bad format for path: {0}")]
    Format(String),
    /// Permissions other than `r`, `w`, `m`.
    #[error("bad mode specified: {0}")]
    Mode(String),
    /// A path in the container that is not absolute.
    #[error("{0} is not an absolute path")]
    Relative(String),
    /// A rule of the devices cgroup.
    #[error("invalid device cgroup format '{0}'")]
    Rule(String),
}

/// Whether a text is some of `rwm`, each once at most.
pub fn is_permissions(text: &str) -> bool {
    let mut left = vec!['r', 'w', 'm'];
    !text.is_empty()
        && text.chars().all(|c| {
            let at = left.iter().position(|have| *have == c);
            at.map(|at| left.remove(at)).is_some()
        })
}

/// Whether a text names a device of the Container Device Interface (`vendor.com/class=name`).
pub fn is_cdi(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| {
        let class = kind.split_once('/');
        !kind.starts_with('/')
            && !name.is_empty()
            && class.is_some_and(|(v, c)| !v.is_empty() && !c.is_empty())
    })
}

/// Reads a device.
pub fn parse(text: &str) -> Result<Device, DeviceError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts[..] {
        [""] | ["", ..] => return Err(DeviceError::Format(text.to_owned())),
        [host] => (host, host, "rwm"),
        [host, permissions] if is_permissions(permissions) => (host, host, permissions),
        [host, container] => (host, container, "rwm"),
        [host, container, permissions] if is_permissions(permissions) => (host, container, permissions),
        [_, _, permissions] => return Err(DeviceError::Mode(permissions.to_owned())),
        _ => return Err(DeviceError::Format(text.to_owned())),
    };
    if !container.starts_with('/') {
        return Err(DeviceError::Relative(container.to_owned()));
    }
    Ok(Device {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// Checks a rule of the devices cgroup: `c 1:3 rwm`, with `*` for any number and `a` for all kinds.
pub fn cgroup_rule(text: &str) -> Result<String, DeviceError> {
    let bad = || DeviceError::Rule(text.to_owned());
    let parts: Vec<&str> = text.split(' ').collect();
    let [kind, numbers, permissions] = parts[..] else {
        return Err(bad());
    };
    let number = |n: &str| n == "*" || (!n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let numbers_good = numbers
        .split_once(':')
        .is_some_and(|(major, minor)| number(major) && number(minor));
    let permissions_good =
        (1..=3).contains(&permissions.len()) && permissions.bytes().all(|b| b"rwm".contains(&b));
    if !matches!(kind, "a" | "b" | "c") || !numbers_good || !permissions_good {
        return Err(bad());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good() {
        for (text, host, container, permissions) in [
            ("/dev/null", "/dev/null", "/dev/null", "rwm"),
            ("/dev/null:r", "/dev/null", "/dev/null", "r"),
            ("/dev/null:/dev/x", "/dev/null", "/dev/x", "rwm"),
            ("/dev/null:/dev/x:mr", "/dev/null", "/dev/x", "mr"),
        ] {
            let device = parse(text).expect(text);
            assert_eq!(device.host, host);
            assert_eq!(device.container, container);
            assert_eq!(device.permissions, permissions);
        }
        assert!(is_cdi("vendor.com/class=all") && !is_cdi("/dev/x=y"));
        assert!(cgroup_rule("c 1:* rwm").is_ok() && cgroup_rule("a *:* r").is_ok());
    }

    #[test]
    fn bad() {
        for (text, message) in [
            ("", "bad format for path: "),
            ("a:b:c:d", "bad format for path: a:b:c:d"),
            ("/dev/null:/dev/x:zz", "bad mode specified: zz"),
            ("/dev/null:/dev/x:rr", "bad mode specified: rr"),
            ("/dev/null:x", "x is not an absolute path"),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Err(message.to_owned()));
        }
        for rule in [
            "foo",
            "c 1:3",
            "d 1:3 r",
            "c 1 r",
            "c x:1 r",
            "c 1:3 q",
            "c 1:3 rwmr",
        ] {
            assert!(cgroup_rule(rule).is_err(), "{rule}");
        }
    }
}
