//! The names of the kernel's parameters: how they are written, and which file each is. Must not know which of them a container
//! may set.

use std::path::{Path, PathBuf};

/// A name with dots between its parts: written with slashes, dots belong to the parts.
pub(crate) fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => swapped(name),
        _ => name.to_owned(),
    }
}

/// The parameter's file below `/proc/sys`; none when a part of the name is no name: it would lead to another parameter than
/// the one whose beginning was looked at.
pub(crate) fn file(name: &str) -> Option<PathBuf> {
    let path = swapped(&dotted(name));
    let named = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(named).then(|| Path::new("sys").join(path))
}

/// Each of the two separators in the place of the other.
fn swapped(name: &str) -> String {
    let other = |c| match c {
        '.' => '/',
        '/' => '.',
        c => c,
    };
    name.chars().map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_may_be_named_with_either_separator() {
        assert_eq!(
            dotted("net/ipv4/conf/eno2.100/rp_filter"),
            "net.ipv4.conf.eno2/100.rp_filter"
        );
        assert_eq!(
            dotted("net.ipv4.conf.eno2/100.rp_filter"),
            "net.ipv4.conf.eno2/100.rp_filter"
        );
        assert_eq!(dotted("kernel"), "kernel");
        let file = |name| file(name).map(|path| path.display().to_string());
        for name in [
            "net/ipv4/conf/eno2.100/rp_filter",
            "net.ipv4.conf.eno2/100.rp_filter",
        ] {
            assert_eq!(
                file(name).as_deref(),
                Some("sys/net/ipv4/conf/eno2.100/rp_filter")
            );
        }
    }

    #[test]
    fn no_name_leads_to_another_parameter() {
        for name in [
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "fs.mqueue.//.//.kernel.core_pattern",
            "fs/mqueue/../../kernel/core_pattern",
            "user..x",
            "user./.x",
            "net/./x",
            "net.",
            "/net",
            ".net",
            "",
        ] {
            assert_eq!(file(name), None, "{name}");
        }
    }
}
