//! Who a process is: a name looked up in the container's own files, which are found below its layers and never outside.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use gantry_errdefs::Error;
use gantry_supervisor_core::snapshot::Mount;
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

/// The largest file that is read.
const LARGEST: u64 = 4 << 20;

/// The folders of a root file system, topmost first.
pub(crate) fn layers(mounts: &[Mount]) -> Vec<PathBuf> {
    let Some(mount) = mounts.first() else {
        return Vec::new();
    };
    if mount.kind != "overlay" {
        return vec![PathBuf::from(&mount.source)];
    }
    let option = |name: &str| mount.options.iter().find_map(|option| option.strip_prefix(name));
    let upper = option("upperdir=").map(PathBuf::from);
    let lower = option("lowerdir=")
        .unwrap_or_default()
        .split(':')
        .map(PathBuf::from);
    upper.into_iter().chain(lower).collect()
}

/// Reads a file of the container: from the topmost layer that has it. A link leads nowhere but below its layer.
pub(crate) fn read(layers: &[PathBuf], path: &str) -> String {
    for layer in layers {
        let Ok(root) = File::open(layer) else { continue };
        let opened = rustix::fs::openat2(
            &root,
            Path::new(path.trim_start_matches('/')),
            OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        );
        let Ok(fd) = opened else { continue };
        let file = File::from(fd);
        match file.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            // A whiteout: it was removed.
            _ => return String::new(),
        }
        let mut text = Vec::new();
        let _ = file.take(LARGEST).read_to_end(&mut text);
        return String::from_utf8_lossy(&text).into_owned();
    }
    String::new()
}

/// Looks up `USER[:GROUP]`, each a name or a number, and the groups that `more` adds.
pub(crate) fn look_up(text: &str, more: &[String], passwd: &str, group: &str) -> Result<User, Error> {
    let (user, given_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entry = passwd.lines().map(fields).find(|fields| {
        fields.len() >= 4 && (fields[0] == user || (user.parse::<u32>().is_ok() && fields[2] == user))
    });
    let number = |text: &str| text.parse::<u32>().ok();
    let (name, uid, mut gid) = match &entry {
        Some(fields) => (
            fields[0].clone(),
            number(&fields[2]),
            number(&fields[3]).unwrap_or_default(),
        ),
        None => (String::new(), number(user), 0),
    };
    let uid = uid.ok_or_else(|| {
        Error::invalid(format!(
            "unable to find user {user}: no matching entries in passwd file"
        ))
    })?;
    let group_number = |wanted: &str| -> Result<u32, Error> {
        let found = group
            .lines()
            .map(fields)
            .find(|fields| fields.len() >= 3 && fields[0] == wanted);
        found
            .and_then(|fields| number(&fields[2]))
            .or_else(|| number(wanted))
            .ok_or_else(|| {
                Error::invalid(format!(
                    "unable to find group {wanted}: no matching entries in group file"
                ))
            })
    };
    let mut groups = Vec::new();
    match given_group {
        Some(wanted) => gid = group_number(wanted)?,
        None if !name.is_empty() => {
            let member =
                |fields: &Vec<String>| fields.len() >= 4 && fields[3].split(',').any(|member| member == name);
            groups.extend(
                group
                    .lines()
                    .map(fields)
                    .filter(member)
                    .filter_map(|fields| number(&fields[2])),
            );
        }
        None => {}
    }
    for wanted in more {
        groups.push(group_number(wanted)?);
    }
    groups.retain(|one| *one != gid);
    groups.sort_unstable();
    groups.dedup();
    // Docker's list has the user's own group too.
    groups.insert(0, gid);
    Ok(User { uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:\n";
    const GROUP: &str = "root:x:0:\naudio:x:29:web\nstaff:x:50:\n";

    #[test]
    fn names_and_numbers() {
        let find = |text: &str, more: &[&str]| {
            let more: Vec<String> = more.iter().map(|m| (*m).to_owned()).collect();
            look_up(text, &more, PASSWD, GROUP)
                .map(|u| (u.uid, u.gid, u.groups))
                .map_err(|e| e.to_string())
        };
        assert_eq!(find("", &[]), Ok((0, 0, vec![0])));
        assert_eq!(find("web", &[]), Ok((33, 34, vec![34, 29])));
        assert_eq!(find("33", &["staff"]), Ok((33, 34, vec![34, 29, 50])));
        assert_eq!(find("web:staff", &[]), Ok((33, 50, vec![50])));
        assert_eq!(find("1000:7", &[]), Ok((1000, 7, vec![7])));
        assert_eq!(
            find("no", &[]).unwrap_err(),
            "unable to find user no: no matching entries in passwd file"
        );
        assert_eq!(
            find("web:no", &[]).unwrap_err(),
            "unable to find group no: no matching entries in group file"
        );
    }

    #[test]
    fn a_link_in_an_image_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let (top, bottom) = (dir.path().join("top"), dir.path().join("bottom"));
        std::fs::create_dir_all(top.join("etc")).unwrap();
        std::fs::create_dir_all(bottom.join("etc")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", top.join("etc/passwd")).unwrap();
        std::fs::write(top.join("etc/hostname"), "inside").unwrap();
        std::fs::write(bottom.join("etc/group"), "below").unwrap();
        let layers = [top, bottom];
        assert_eq!(read(&layers, "/etc/passwd"), "inside");
        assert_eq!(read(&layers, "/etc/group"), "below");
        assert_eq!(read(&layers, "/etc/none"), "");
    }
}
