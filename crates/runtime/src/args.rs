//! Flags as Go's command lines have them: `--name value`, `--name=value`, one dash or two; before the first word that is none,
//! or for most commands anywhere. Reads no file.

use std::collections::VecDeque;
use std::path::PathBuf;

use gantry_runtime_core::log::Log;

/// The words that are left.
#[derive(Debug)]
pub(crate) struct Args {
    words: VecDeque<String>,
    /// Words that stood before a flag.
    passed: Vec<String>,
    /// Whether flags may stand behind them.
    anywhere: bool,
}

/// One flag that was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    /// Without dashes.
    pub(crate) name: String,
    value: Option<String>,
}

impl Args {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self {
            words: words.collect(),
            passed: Vec::new(),
            anywhere: false,
        }
    }

    /// From now on flags may stand behind other words.
    pub(crate) fn anywhere(&mut self) {
        self.anywhere = true;
    }

    /// The next flag, if the next word is one. `--` ends the flags.
    pub(crate) fn flag(&mut self) -> Option<Flag> {
        while self.anywhere && self.words.front().is_some_and(|word| !is_flag(word)) {
            self.passed.extend(self.words.pop_front());
        }
        let ends = self.words.front().is_some_and(|word| word == "--");
        if ends {
            self.words.pop_front();
        }
        let Some(word) = self.words.front().filter(|word| !ends && is_flag(word)) else {
            // There are no more: the words are in their order again.
            for word in self.passed.drain(..).rev() {
                self.words.push_front(word);
            }
            return None;
        };
        let name = word.trim_start_matches('-');
        let flag = match name.split_once('=') {
            Some((name, value)) => Flag {
                name: name.to_owned(),
                value: Some(value.to_owned()),
            },
            None => Flag {
                name: name.to_owned(),
                value: None,
            },
        };
        self.words.pop_front();
        Some(flag)
    }

    /// The value of a flag: what stood behind its `=`, or the next word.
    pub(crate) fn value(&mut self, flag: Flag) -> Result<String, String> {
        match flag.value {
            Some(value) => Ok(value),
            None => self
                .words
                .pop_front()
                .ok_or_else(|| format!("flag needs an argument: -{}", flag.name)),
        }
    }

    /// Whether help is asked for, by the next word or one of the flags that come first.
    pub(crate) fn wants_help(&self) -> bool {
        self.words
            .iter()
            .take_while(|word| word.starts_with('-') && *word != "--")
            .any(|word| matches!(word.as_str(), "-h" | "--help" | "-help" | "--h"))
    }

    /// The next word.
    pub(crate) fn word(&mut self) -> Option<String> {
        self.words.pop_front()
    }

    /// Whether no word is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether the next word is this one.
    pub(crate) fn next_is(&self, word: &str) -> bool {
        self.words.front().is_some_and(|next| next == word)
    }

    /// All that is left, for people.
    pub(crate) fn joined(&self) -> String {
        self.words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// All that is left.
    pub(crate) fn rest(self) -> Vec<String> {
        self.words.into()
    }

    /// The container's id, which must be there.
    pub(crate) fn id(&mut self, command: &str) -> Result<String, String> {
        self.word().ok_or_else(|| {
            format!(
                "\"{}\" requires a minimum of 1 argument: the container's id",
                command
            )
        })
    }

    /// Refuses words that nobody asked for.
    pub(crate) fn end(&self, command: &str) -> Result<(), String> {
        match self.words.front() {
            None => Ok(()),
            Some(word) => Err(format!("{command:?} takes no argument {word:?}")),
        }
    }
}

/// Whether a word is one: `-` alone is none.
fn is_flag(word: &str) -> bool {
    word.len() > 1 && word.starts_with('-')
}

impl Flag {
    /// Whether a flag without a value, or with one that means yes, was given.
    pub(crate) fn on(&self) -> Result<bool, String> {
        match self.value.as_deref() {
            None | Some("true" | "1" | "t") => Ok(true),
            Some("false" | "0" | "f") => Ok(false),
            Some(other) => Err(format!("invalid boolean value {other:?} for -{}", self.name)),
        }
    }
}

/// What a flag that is not one of a command's is answered with.
pub(crate) fn unknown(flag: &Flag) -> String {
    format!("flag provided but not defined: -{}", flag.name)
}

/// Flags of every command.
#[derive(Debug, Default)]
pub(crate) struct Global {
    /// Where containers' records are.
    pub(crate) root: PathBuf,
    /// Whether it was named.
    pub(crate) root_given: bool,
    /// Where failures and warnings are written.
    pub(crate) log: Option<PathBuf>,
    /// As JSON rather than text.
    pub(crate) json: bool,
    /// Whether to tell what is done.
    pub(crate) debug: bool,
    /// `--rootless`, if it was given as a word of its own.
    pub(crate) rootless: Option<bool>,
    /// Whether systemd is to manage cgroups.
    pub(crate) systemd_cgroup: bool,
    /// What is asked for instead of a command.
    pub(crate) show: Option<Show>,
}

/// What is shown instead of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Help,
    Version,
}

impl Global {
    /// The log as it is asked for.
    pub(crate) fn open_log(&self) -> Result<Log, String> {
        Log::open(self.log.as_deref(), self.json, self.debug).map_err(|error| error.chain())
    }

    /// Takes the flags before the command.
    pub(crate) fn take(args: &mut Args) -> Result<Self, String> {
        let mut global = Self {
            root: default_root(),
            ..Self::default()
        };
        while let Some(flag) = args.flag() {
            match flag.name.as_str() {
                "root" => {
                    global.root = args.value(flag)?.into();
                    global.root_given = true;
                }
                "log" => global.log = Some(args.value(flag)?.into()),
                "log-format" => {
                    global.json = match args.value(flag)?.as_str() {
                        "json" => true,
                        "text" => false,
                        other => return Err(format!("invalid log-format: {other}")),
                    }
                }
                "systemd-cgroup" => global.systemd_cgroup = flag.on()?,
                "rootless" => {
                    global.rootless = match args.value(flag)?.as_str() {
                        "auto" => None,
                        "true" => Some(true),
                        "false" => Some(false),
                        other => return Err(format!("invalid boolean value {other:?} for -rootless")),
                    }
                }
                "debug" => global.debug = flag.on()?,
                "help" | "h" => global.show = Some(Show::Help),
                "version" | "v" => global.show = Some(Show::Version),
                _ => return Err(unknown(&flag)),
            }
        }
        Ok(global)
    }
}

/// `/run/gantry-runtime`, or the user's own.
fn default_root() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !gantry_runtime_core::host::is_root() => PathBuf::from(dir).join("gantry-runtime"),
        _ => PathBuf::from("/run/gantry-runtime"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::new(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn flags_come_in_gos_forms() {
        let mut words = args(&[
            "--root",
            "/r",
            "-log=/l",
            "--log-format",
            "json",
            "--debug=false",
            "run",
            "--root",
            "x",
        ]);
        let global = Global::take(&mut words).unwrap();
        assert_eq!(
            (global.root, global.log, global.json),
            ("/r".into(), Some("/l".into()), true)
        );
        assert_eq!(words.rest(), ["run", "--root", "x"]);
        assert!(
            Global::take(&mut args(&["--nope"]))
                .unwrap_err()
                .contains("-nope")
        );
        assert!(Global::take(&mut args(&["--root"])).is_err());
        assert!(Global::take(&mut args(&["--debug=maybe"])).is_err());
        let mut behind = args(&["id", "--force", "word", "--root", "x", "--", "-y"]);
        behind.anywhere();
        assert_eq!(behind.flag().unwrap().name, "force");
        let root = behind.flag().unwrap();
        assert_eq!(behind.value(root).unwrap(), "x");
        assert_eq!(behind.flag(), None);
        assert_eq!(behind.rest(), ["id", "word", "-y"]);
        let mut dashes = args(&["--", "-x"]);
        assert_eq!(dashes.flag(), None);
        assert_eq!(dashes.rest(), ["-x"]);
    }
}
