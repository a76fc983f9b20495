//! What a configuration means for the kernel, worked out before anything is done. Pure.

use gantry_oci::runtime::{Linux, LinuxDeviceCgroup, LinuxNamespace, LinuxNamespaceType, Mount, Spec};

/// A namespace that is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// `CLONE_NEW…`.
    pub flag: i32,
    /// Where it is.
    pub path: String,
}

/// The namespaces of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Made together with the process.
    pub clone: u64,
    /// Made by the parent before it: a process enters a time namespace only by being made.
    pub new_time: bool,
    /// Whether there is one of users, made or joined.
    pub has_user: bool,
    /// Made by the process once it is in its cgroup.
    pub new_cgroup: bool,
    /// Joined before the process is made: what it owns is then owned by them, and those of process ids and time are
    /// entered in no other way.
    pub join_before: Vec<Join>,
    /// Joined by the process.
    pub join: Vec<Join>,
}

/// The flag of a kind of namespace.
pub fn flag(kind: LinuxNamespaceType) -> i32 {
    match kind {
        LinuxNamespaceType::Pid => 0x2000_0000,
        LinuxNamespaceType::Network => 0x4000_0000,
        LinuxNamespaceType::Mount => 0x0002_0000,
        LinuxNamespaceType::Ipc => 0x0800_0000,
        LinuxNamespaceType::Uts => 0x0400_0000,
        LinuxNamespaceType::User => 0x1000_0000,
        LinuxNamespaceType::Cgroup => 0x0200_0000,
        LinuxNamespaceType::Time => 0x80,
    }
}

/// The name of a kind of namespace below `/proc/PID/ns`.
pub fn file(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "net",
        LinuxNamespaceType::Mount => "mnt",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Time => "time",
    }
}

/// The word of the specification for a kind of namespace.
pub fn word(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Mount => "mount",
        other => file(other),
    }
}

/// The host's id of the user to whom a container's cgroup is given: one that has a namespace of cgroups of its own and
/// may write into it.
pub fn cgroup_owner(spec: &Spec) -> Option<u32> {
    let linux = spec.linux.as_ref()?;
    let own = |one: &LinuxNamespace| one.typ == LinuxNamespaceType::Cgroup && one.path.is_empty();
    let writable = |mount: &Mount| {
        mount.source == "cgroup"
            && mount.destination.trim_end_matches('/') == "/sys/fs/cgroup"
            && !mount.options.iter().any(|option| option == "ro")
    };
    if !linux.namespaces.iter().any(own) || !spec.mounts.iter().any(writable) {
        return None;
    }
    let inside = spec.process.as_ref().map_or(0, |process| process.user.uid);
    let range = linux
        .uid_mappings
        .iter()
        .find(|range| (range.container_id..range.container_id.saturating_add(range.size)).contains(&inside));
    range.map(|range| range.host_id + (inside - range.container_id))
}

/// Rules for devices that every container has behind its own: nodes may be made, and those that are always there be used.
pub fn always_allowed() -> Vec<LinuxDeviceCgroup> {
    const ALL: i64 = -1;
    let used = [
        (1, 3),
        (1, 5),
        (1, 7),
        (1, 8),
        (1, 9),
        (5, 0),
        (5, 2),
        (136, ALL),
        (10, 200),
    ];
    let rule = |typ: &str, major, minor, access: &str| LinuxDeviceCgroup {
        allow: true,
        typ: typ.to_owned(),
        major: Some(major),
        minor: Some(minor),
        access: access.to_owned(),
    };
    let mut rules = vec![rule("c", ALL, ALL, "m"), rule("b", ALL, ALL, "m")];
    rules.extend(used.map(|(major, minor)| rule("c", major, minor, "rwm")));
    rules
}

impl Namespaces {
    /// Sorts a configuration's namespaces by how they come about.
    pub fn of(linux: &Linux) -> Self {
        let user = linux
            .namespaces
            .iter()
            .any(|one| one.typ == LinuxNamespaceType::User);
        let mut plan = Self {
            has_user: user,
            ..Self::default()
        };
        for namespace in &linux.namespaces {
            let flag = flag(namespace.typ);
            // The stage looks at its own /proc, which it would not find in another's mount namespace.
            let before = match namespace.typ {
                LinuxNamespaceType::Pid | LinuxNamespaceType::Time => true,
                LinuxNamespaceType::Mount => false,
                _ => user,
            };
            match (namespace.path.is_empty(), namespace.typ) {
                (true, LinuxNamespaceType::Cgroup) => plan.new_cgroup = true,
                (true, LinuxNamespaceType::Time) => plan.new_time = true,
                (true, _) => plan.clone |= flag as u64,
                (false, _) => {
                    let join = Join {
                        flag,
                        path: namespace.path.clone(),
                    };
                    if before {
                        plan.join_before.push(join)
                    } else {
                        plan.join.push(join)
                    }
                }
            }
        }
        plan
    }

    /// Whether the container has a user namespace of its own, made with it.
    pub fn new_user(&self) -> bool {
        self.clone & flag(LinuxNamespaceType::User) as u64 != 0
    }

    /// Whether it is made by way of a process that enters namespaces before.
    pub fn staged(&self) -> bool {
        self.new_time || !self.join_before.is_empty()
    }

    /// Whether it has a network namespace of its own, made with it.
    pub fn new_network(&self) -> bool {
        self.clone & flag(LinuxNamespaceType::Network) as u64 != 0
    }

    /// Whether it has a namespace of process ids, made or joined.
    pub fn has_pid(&self) -> bool {
        let pid = flag(LinuxNamespaceType::Pid);
        self.clone & pid as u64 != 0 || self.join_before.iter().any(|join| join.flag == pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_is_given_to_who_may_write_into_it() {
        let owner = |options: &str, kind: &str| {
            let text = format!(
                r#"{{"ociVersion":"1.0.0","process":{{"cwd":"/","user":{{"uid":7,"gid":0}}}},
                "mounts":[{{"destination":"/sys/fs/cgroup","source":"cgroup","type":"cgroup","options":[{options}]}}],
                "linux":{{"namespaces":[{{"type":"{kind}"}}],
                "uidMappings":[{{"containerID":0,"hostID":1000,"size":1}},{{"containerID":1,"hostID":5000,"size":10}}]}}}}"#
            );
            cgroup_owner(&serde_json::from_str(&text).unwrap())
        };
        assert_eq!(owner("\"rw\"", "cgroup"), Some(5006));
        assert_eq!(owner("\"ro\"", "cgroup"), None);
        assert_eq!(owner("", "pid"), None);
    }

    #[test]
    fn namespaces_come_about_in_their_ways() {
        let linux: Linux = serde_json::from_str(
            r#"{"namespaces":[{"type":"pid","path":"/p"},{"type":"network","path":"/n"},{"type":"user","path":"/u"},
                {"type":"mount"},{"type":"cgroup"},{"type":"time"},{"type":"uts"}]}"#,
        )
        .unwrap();
        let plan = Namespaces::of(&linux);
        assert_eq!(plan.clone, 0x0002_0000 | 0x0400_0000);
        assert!(plan.new_cgroup && plan.new_time && plan.has_pid() && !plan.new_user());
        let paths = |joins: &[Join]| joins.iter().map(|join| join.path.clone()).collect::<Vec<_>>();
        assert_eq!(paths(&plan.join_before), ["/p", "/n", "/u"]);
        assert!(plan.staged() && plan.join.is_empty());
        // Without a user namespace the process joins by itself what it can, which costs no second process.
        let linux: Linux = serde_json::from_str(
            r#"{"namespaces":[{"type":"network","path":"/n"},{"type":"ipc","path":"/i"},{"type":"pid"},{"type":"mount"}]}"#,
        )
        .unwrap();
        let plan = Namespaces::of(&linux);
        assert_eq!(paths(&plan.join), ["/n", "/i"]);
        assert!(!plan.staged());
    }
}
