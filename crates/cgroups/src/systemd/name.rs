//! Names of units and where their cgroups are. Pure.

/// What `cgroupsPath` names in systemd's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The unit.
    pub(crate) unit: String,
    /// The slice that it is in.
    pub(crate) slice: String,
    /// Its last part, for people.
    pub(crate) container: String,
}

impl Name {
    /// Reads `SLICE:PREFIX:NAME`; nothing means a scope of the container's id.
    pub(crate) fn parse(path: Option<&str>, id: &str, user: bool) -> Result<Self, String> {
        let (slice, prefix, name) = match path.filter(|path| !path.is_empty()) {
            None => ("", "runc", id),
            Some(path) => match path.split(':').collect::<Vec<_>>()[..] {
                [slice, prefix, name] => (slice, prefix, name),
                _ => {
                    return Err(format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                    ));
                }
            },
        };
        let slice = match (slice, user) {
            ("", true) => "user.slice",
            ("", false) => "system.slice",
            (slice, _) => slice,
        };
        let unit = match name.ends_with(".slice") {
            true => name.to_owned(),
            false => format!("{prefix}-{name}.scope"),
        };
        if unit.contains('/') {
            return Err(format!("invalid unit name {unit:?}"));
        }
        Ok(Self {
            unit,
            slice: slice.to_owned(),
            container: name.to_owned(),
        })
    }
}

/// Where a slice is: `a-b.slice` within `a.slice`.
pub(crate) fn expand(slice: &str) -> Result<String, String> {
    let wrong = || format!("invalid slice name: {slice}");
    let stem = slice
        .strip_suffix(".slice")
        .filter(|stem| !stem.is_empty())
        .ok_or_else(wrong)?;
    if stem == "-" {
        return Ok("/".to_owned());
    }
    if stem.contains('/') || stem.split('-').any(str::is_empty) {
        return Err(wrong());
    }
    let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
    Ok(ends.map(|end| format!("/{}.slice", &stem[..end])).collect())
}

/// The number in `252.39-1~deb12u2`, `v245-1.fc32` and the like.
pub(crate) fn version(text: &str) -> Option<u32> {
    let digits = text.trim_start_matches(['"', 'v']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_systemds_form() {
        let named =
            |path: Option<&str>, user| Name::parse(path, "id", user).map(|name| (name.unit, name.slice));
        let is = |unit: &str, slice: &str| Ok((unit.to_owned(), slice.to_owned()));
        assert_eq!(named(None, false), is("runc-id.scope", "system.slice"));
        assert_eq!(named(Some(""), true), is("runc-id.scope", "user.slice"));
        assert_eq!(
            named(Some(":docker:abc"), false),
            is("docker-abc.scope", "system.slice")
        );
        assert_eq!(named(Some("a-b.slice::c"), false), is("-c.scope", "a-b.slice"));
        assert_eq!(
            named(Some("a.slice:x:a-b.slice"), false),
            is("a-b.slice", "a.slice")
        );
        assert_eq!(
            named(Some("/a/b"), false),
            Err("expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead".into())
        );
        assert!(named(Some("a.slice:x:../y"), false).is_err());
    }

    #[test]
    fn slices_are_within_slices() {
        assert_eq!(expand("a.slice"), Ok("/a.slice".into()));
        assert_eq!(expand("a-b-c.slice"), Ok("/a.slice/a-b.slice/a-b-c.slice".into()));
        assert_eq!(expand("-.slice"), Ok("/".into()));
        for bad in [
            "",
            ".slice",
            "a",
            "a/b.slice",
            "a--b.slice",
            "-a.slice",
            "a-.slice",
        ] {
            assert_eq!(expand(bad), Err(format!("invalid slice name: {bad}")));
        }
    }

    #[test]
    fn versions_are_numbers() {
        for (text, number) in [
            ("252.39-1~deb12u2", Some(252)),
            ("\"v245-1.fc32\"", Some(245)),
            ("x", None),
        ] {
            assert_eq!(version(text), number);
        }
    }
}
