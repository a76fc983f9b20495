//! `--user name|uid[:group|gid]`. Must not know who is in `/etc/passwd`.

/// A user or a group: by number, or by a name that a container's files explain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A number.
    Id(u32),
    /// A name.
    Name(String),
}

/// As whom a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user; none if nothing was said.
    pub user: Option<Who>,
    /// The group; none if nothing was said.
    pub group: Option<Who>,
}

/// Reads a user with an optional group.
pub fn parse(text: &str) -> User {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    User {
        user: who(user),
        group: who(group),
    }
}

fn who(text: &str) -> Option<Who> {
    if text.is_empty() {
        return None;
    }
    Some(match text.parse() {
        Ok(id) if text.bytes().all(|b| b.is_ascii_digit()) => Who::Id(id),
        _ => Who::Name(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        let name = |text: &str| Some(Who::Name(text.to_owned()));
        for (text, user, group) in [
            ("", None, None),
            ("0", Some(Who::Id(0)), None),
            ("1000:100", Some(Who::Id(1000)), Some(Who::Id(100))),
            ("www-data:+5", name("www-data"), name("+5")),
            (":5", None, Some(Who::Id(5))),
            ("99999999999", name("99999999999"), None),
        ] {
            assert_eq!(parse(text), User { user, group }, "{text}");
        }
    }
}
