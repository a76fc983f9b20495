//! Profiles in Docker's form: with rules that hold only for some capabilities, architectures or kernels. The default one is
//! written here; a user's is read from JSON. Both become what the runtime specification knows.

use gantry_oci::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use serde::Deserialize;

use crate::arch::Arch;

mod default;

/// What a container is to have, as far as rules ask for it.
#[derive(Clone, Debug, Default)]
pub struct Facts<'a> {
    /// Names of its bounding capabilities.
    pub capabilities: Vec<&'a str>,
    /// The kernel's version: major, minor.
    pub kernel: (u32, u32),
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is no JSON of the form.
    #[error("decoding seccomp profile failed")]
    Json(#[source] serde_json::Error),
    /// It says two things at once.
    #[error("{0}")]
    Form(&'static str),
}

/// Docker's default profile for a container.
pub fn default(facts: &Facts<'_>) -> LinuxSeccomp {
    let mut syscalls = Vec::new();
    for rule in default::RULES {
        let has = |name: &&str| facts.capabilities.contains(name);
        let wanted = rule.with.iter().all(&has) && !rule.without.iter().any(has);
        let for_us =
            rule.archs.is_empty() || Arch::native().is_some_and(|arch| rule.archs.contains(&arch.name()));
        if wanted && for_us && facts.kernel >= rule.kernel {
            syscalls.push(LinuxSyscall {
                names: rule.names.iter().map(|name| (*name).to_owned()).collect(),
                action: if rule.errno == 0 {
                    LinuxSeccompAction::Allow
                } else {
                    LinuxSeccompAction::Errno
                },
                errno_ret: (rule.errno != 0).then_some(rule.errno),
                args: rule
                    .args
                    .iter()
                    .map(|&(index, value, value_two, op)| LinuxSeccompArg {
                        index,
                        value,
                        value_two,
                        op,
                    })
                    .collect(),
            });
        }
    }
    LinuxSeccomp {
        default_action: LinuxSeccompAction::Errno,
        default_errno_ret: Some(1),
        architectures: architectures(),
        flags: None,
        listener_path: String::new(),
        listener_metadata: String::new(),
        syscalls,
    }
}

/// This machine's architecture and those whose programs it runs too.
fn architectures() -> Vec<String> {
    let names: &[&str] = match Arch::native() {
        Some(Arch::X86_64) => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        Some(Arch::Aarch64) => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        Some(Arch::Arm) => &["SCMP_ARCH_ARM"],
        Some(Arch::X86) => &["SCMP_ARCH_X86"],
        _ => &[],
    };
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    flags: Option<Vec<String>>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    listener_metadata: String,
    #[serde(default)]
    syscalls: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct ArchMap {
    architecture: String,
    #[serde(rename = "subArchitectures", default)]
    sub: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: LinuxSeccompOperator,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: String,
}

/// Reads a user's profile and picks what holds for a container.
pub fn parse(text: &[u8], facts: &Facts<'_>) -> Result<LinuxSeccomp, ProfileError> {
    let read: Document = serde_json::from_slice(text).map_err(ProfileError::Json)?;
    if !read.architectures.is_empty() && !read.arch_map.is_empty() {
        return Err(ProfileError::Form(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, use either",
        ));
    }
    let mut architectures = read.architectures;
    let own = Arch::native().map(Arch::name).unwrap_or_default();
    for entry in read
        .arch_map
        .into_iter()
        .filter(|entry| entry.architecture == own)
    {
        architectures.push(entry.architecture);
        architectures.extend(entry.sub.unwrap_or_default());
    }
    let mut syscalls = Vec::new();
    for rule in read.syscalls.unwrap_or_default() {
        let mut names = rule.names;
        match (rule.name.is_empty(), names.is_empty()) {
            (false, false) => {
                return Err(ProfileError::Form(
                    "both 'name' and 'names' are specified in the seccomp profile, use either",
                ));
            }
            (false, true) => names.push(rule.name),
            _ => {}
        }
        let has = |cap: &String| facts.capabilities.contains(&cap.as_str());
        let here = |filter: &Filter| filter.arches.iter().any(|arch| arch == go_arch());
        let new_enough = |text: &str| version(text).is_none_or(|wanted| facts.kernel >= wanted);
        let included = rule.includes.caps.iter().all(has)
            && (rule.includes.arches.is_empty() || here(&rule.includes))
            && new_enough(&rule.includes.min_kernel);
        let excluded = rule.excludes.caps.iter().any(has)
            || here(&rule.excludes)
            || (!rule.excludes.min_kernel.is_empty() && new_enough(&rule.excludes.min_kernel));
        if included && !excluded {
            let argument = |a: Argument| LinuxSeccompArg {
                index: a.index,
                value: a.value,
                value_two: a.value_two,
                op: a.op,
            };
            syscalls.push(LinuxSyscall {
                names,
                action: rule.action,
                errno_ret: rule.errno_ret,
                args: rule.args.unwrap_or_default().into_iter().map(argument).collect(),
            });
        }
    }
    Ok(LinuxSeccomp {
        default_action: read.default_action,
        default_errno_ret: read.default_errno_ret,
        architectures,
        flags: read.flags,
        listener_path: read.listener_path,
        listener_metadata: read.listener_metadata,
        syscalls,
    })
}

/// This machine's architecture in Go's word.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `4.8` as numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(profile: &LinuxSeccomp, name: &str) -> bool {
        profile.syscalls.iter().any(|rule| {
            rule.action == LinuxSeccompAction::Allow
                && rule.args.is_empty()
                && rule.names.iter().any(|n| n == name)
        })
    }

    #[test]
    fn capabilities_open_what_belongs_to_them() {
        let none = default(&Facts {
            capabilities: vec![],
            kernel: (6, 1),
        });
        let admin = default(&Facts {
            capabilities: vec!["CAP_SYS_ADMIN"],
            kernel: (6, 1),
        });
        for name in ["mount", "clone", "setns", "bpf"] {
            assert!(!allowed(&none, name), "{name}");
            assert!(allowed(&admin, name), "{name}");
        }
        assert!(allowed(&none, "read") && allowed(&none, "openat2") && allowed(&none, "ptrace"));
        assert!(!allowed(
            &default(&Facts {
                capabilities: vec![],
                kernel: (4, 4)
            }),
            "ptrace"
        ));
        for profile in [&none, &admin] {
            assert!(
                crate::unknown_names(profile).is_empty(),
                "{:?}",
                crate::unknown_names(profile)
            );
            let program = crate::compile(profile).unwrap();
            assert!(program.code.len() < 1500, "{}", program.code.len());
        }
    }

    #[test]
    fn a_users_profile_is_filtered() {
        let text = br#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
            {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]}],
            "syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","args":null},
            {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}},
            {"names":["write"],"action":"SCMP_ACT_ALLOW","excludes":{"minKernel":"99.0"}},
            {"names":["open"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}}]}"#;
        let profile = parse(
            text,
            &Facts {
                capabilities: vec![],
                kernel: (6, 1),
            },
        )
        .unwrap();
        assert_eq!(profile.architectures.len(), 2);
        assert!(allowed(&profile, "read") && allowed(&profile, "write"));
        assert!(!allowed(&profile, "bpf") && !allowed(&profile, "open"));
        assert!(parse(b"[]", &Facts::default()).is_err());
        let both = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}]}"#;
        assert!(matches!(
            parse(both, &Facts::default()),
            Err(ProfileError::Form(_))
        ));
    }
}
