//! The command line of containerd's shim contract: Go's flags, then an action.

use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make a serving shim and tell where it listens.
    Start,
    /// Undo what a shim that is gone has left.
    Delete,
    /// Say who we are.
    Version,
    /// Say what the runtime can.
    Info,
}

/// The arguments.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) action: Action,
    pub(crate) namespace: String,
    pub(crate) id: String,
    /// The supervisor's.
    pub(crate) address: String,
    pub(crate) bundle: PathBuf,
}

/// Reads them.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        action: Action::Start,
        namespace: String::new(),
        id: String::new(),
        address: String::new(),
        bundle: PathBuf::new(),
    };
    let mut words = words;
    let mut action = None;
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else {
            action = Some(word);
            break;
        };
        let (name, given) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        match name {
            "debug" => continue,
            "v" | "version" => {
                args.action = Action::Version;
                return Ok(args);
            }
            "info" => {
                args.action = Action::Info;
                return Ok(args);
            }
            _ => {}
        }
        let value = given
            .or_else(|| words.next())
            .ok_or_else(|| format!("flag needs an argument: -{name}"))?;
        match name {
            "namespace" => args.namespace = value,
            "id" => args.id = value,
            "address" => args.address = value,
            "bundle" => args.bundle = value.into(),
            "publish-binary" | "socket" => {}
            _ => return Err(format!("flag provided but not defined: -{name}")),
        }
    }
    args.action = match action.as_deref() {
        Some("start") => Action::Start,
        Some("delete") => Action::Delete,
        Some(other) => return Err(format!("unknown action {other:?}: start or delete")),
        None => return Err("an action is needed: start or delete".to_owned()),
    };
    if args.namespace.is_empty() {
        return Err("shim namespace cannot be empty: give -namespace".to_owned());
    }
    if args.id.is_empty() || args.id.contains('/') {
        return Err("shim id cannot be empty: give -id".to_owned());
    }
    if args.bundle.as_os_str().is_empty() {
        // Every call is made in the bundle.
        args.bundle =
            std::env::current_dir().map_err(|error| format!("failed to find the bundle: {error}"))?;
    }
    Ok(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, String> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn the_contracts_lines_are_understood() {
        let line =
            "-namespace moby -address /run/c.sock -publish-binary /usr/bin/containerd -id c1 -debug start";
        let args = read(line).unwrap();
        assert_eq!(
            (args.action, args.id.as_str(), args.address.as_str()),
            (Action::Start, "c1", "/run/c.sock")
        );
        let args = read("-namespace a -id b -bundle /x delete").unwrap();
        assert_eq!((args.action, args.bundle), (Action::Delete, "/x".into()));
        for bad in [
            "start",
            "-namespace a start",
            "-namespace a -id b",
            "-nope x start",
            "-namespace a -id b stop",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
