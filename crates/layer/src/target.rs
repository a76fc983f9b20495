//! Where a layer goes, told from the mount of an active snapshot. Opens nothing.

use std::path::PathBuf;

use crate::Error;

/// Where a layer is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A folder that is the whole root file system: whiteouts delete.
    Directory(PathBuf),
    /// The upper folder of an overlay that is not mounted: whiteouts become overlayfs' marks, and what is only in the
    /// lower folders is found there.
    Overlay {
        /// Where is written.
        upper: PathBuf,
        /// The layers below, nearest first.
        lower: Vec<PathBuf>,
        /// Whether the marks are `user.overlay.*` and not `trusted.overlay.*`.
        userxattr: bool,
    },
}

impl Target {
    /// From one mount in containerd's form, as a snapshotter's `prepare` returns it. `bind` and `overlay` are
    /// understood, and what is read-only is refused.
    pub fn from_mount<S: AsRef<str>>(kind: &str, source: &str, options: &[S]) -> Result<Self, Error> {
        let refused = |problem| Error::Target {
            kind: kind.to_owned(),
            problem,
        };
        let mut options = options.iter().map(AsRef::as_ref);
        match kind {
            "bind" if options.any(|o| o == "ro") => Err(refused("it is read-only")),
            "bind" => Ok(Self::Directory(source.into())),
            "overlay" => {
                let (mut upper, mut lower, mut userxattr) = (None, Vec::new(), false);
                for option in options {
                    match option.split_once('=') {
                        Some(("upperdir", path)) => upper = Some(PathBuf::from(path)),
                        Some(("lowerdir", paths)) => lower = split(paths),
                        None if option == "userxattr" => userxattr = true,
                        _ => {}
                    }
                }
                let upper = upper.ok_or_else(|| refused("it has no upper directory"))?;
                Ok(Self::Overlay {
                    upper,
                    lower,
                    userxattr,
                })
            }
            _ => Err(refused("only bind and overlay are supported")),
        }
    }
}

/// The paths of `lowerdir`, where a backslash takes the meaning from what follows it.
fn split(paths: &str) -> Vec<PathBuf> {
    let (mut all, mut path) = (Vec::new(), String::new());
    let mut chars = paths.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => path.extend(chars.next()),
            ':' => all.push(std::mem::take(&mut path).into()),
            _ => path.push(c),
        }
    }
    all.push(path.into());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_of_snapshots_are_understood() {
        let from = |kind, source, options: &[&str]| Target::from_mount(kind, source, options);
        assert_eq!(
            from("bind", "/a/fs", &["rw", "rbind"]).expect("bind"),
            Target::Directory("/a/fs".into())
        );
        assert!(from("bind", "/a/fs", &["ro", "rbind"]).is_err());
        assert!(from("erofs", "/a", &[]).is_err());
        assert!(from("overlay", "overlay", &["lowerdir=/a:/b"]).is_err());
        let options = [
            "index=off",
            "workdir=/c/work",
            "upperdir=/c/fs",
            "lowerdir=/b\\:x/fs:/a/fs",
        ];
        let expected = Target::Overlay {
            upper: "/c/fs".into(),
            lower: vec!["/b:x/fs".into(), "/a/fs".into()],
            userxattr: false,
        };
        assert_eq!(from("overlay", "overlay", &options).expect("overlay"), expected);
    }
}
