//! What runs in the machine: the binaries, the compiled tests and one script, on a disk of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{disk, quietly};
use crate::binaries::{self, Profile};

/// Binaries that are of use to tests in the machine.
const BINARIES: &[&str] = &["gantry-runtime", "gantry-shim"];

/// Tests of one package, perhaps one target's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suite {
    package: String,
    target: Option<String>,
}

impl Suite {
    /// Those that are worth a machine with version 2 and systemd.
    pub(crate) fn all() -> Vec<Self> {
        ["gantry-cgroups", "gantry-tests/runtime", "gantry-tests/criu"]
            .map(Self::named)
            .into()
    }

    /// `PACKAGE` or `PACKAGE/TARGET`.
    pub(crate) fn named(name: &str) -> Self {
        let (package, target) = match name.split_once('/') {
            Some((package, target)) => (package, Some(target.to_owned())),
            None => (name, None),
        };
        Self {
            package: package.to_owned(),
            target,
        }
    }
}

/// A compiled test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// For people.
    name: String,
    path: PathBuf,
    /// Where its package is: where it runs, as cargo does it.
    folder: PathBuf,
}

/// Compiles the tests of the suites.
pub(crate) fn compile(suites: &[Suite]) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for suite in suites {
        let mut cargo = binaries::cargo("test", Profile::Dev);
        cargo.args([
            "--no-run",
            "--message-format=json-render-diagnostics",
            "--package",
        ]);
        cargo.arg(&suite.package);
        if let Some(target) = &suite.target {
            cargo.args(["--test", target]);
        }
        let output = cargo.stderr(Stdio::inherit()).output().context("run cargo")?;
        if !output.status.success() {
            bail!("the tests of {} do not compile", suite.package);
        }
        programs.extend(found(&String::from_utf8_lossy(&output.stdout)));
    }
    Ok(programs)
}

/// The tests among cargo's messages.
fn found(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["profile"]["test"] != Value::Bool(true) {
            return None;
        }
        let manifest = Path::new(message["manifest_path"].as_str()?);
        Some(Program {
            name: message["target"]["name"].as_str()?.to_owned(),
            path: message["executable"].as_str()?.into(),
            folder: manifest.parent()?.to_owned(),
        })
    };
    messages.lines().filter_map(program).collect()
}

/// The script that runs every test with `args`, and ends with the worst of their codes.
pub(crate) fn script(args: &[String]) -> String {
    let quoted: Vec<String> = args.iter().map(|arg| quote(arg)).collect();
    format!(
        "worst=0\n\
         while read -r name folder; do\n\
         echo \"== $name\"\n\
         mkdir -p \"$folder\" && cd \"$folder\"\n\
         \"/payload/tests/$name\" {} </dev/null || worst=$?\n\
         done < /payload/tests.list\n\
         exit $worst\n",
        quoted.join(" ")
    )
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What the machine's one service runs: the script with its output on the second serial port, its exit code on the third.
const START: &str = "stty -F /dev/ttyS1 raw -echo\n\
    stty -F /dev/ttyS2 raw -echo\n\
    export GANTRY_BIN_DIR=/payload/bin PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root\n\
    read -r up rest < /proc/uptime\n\
    echo \"booted in $up s\" > /dev/ttyS1\n\
    /bin/bash /payload/script > /dev/ttyS1 2>&1 < /dev/null\n\
    echo $? > /dev/ttyS2\n\
    systemctl poweroff -ff\n";

/// Puts it all on a disk in `cache`.
pub(crate) fn pack(
    cache: &Path,
    binaries: &Path,
    programs: &[Program],
    script: &str,
    with: Option<&Path>,
) -> Result<PathBuf> {
    let folder = cache.join(format!("payload-{}", std::process::id()));
    let packed = fill(&folder, binaries, programs, script).and_then(|mut bytes| {
        if let Some(with) = with {
            quietly(Command::new("cp").arg("-a").arg(with).arg(folder.join("with")))?;
            bytes += size(with)?;
        }
        let image = folder.with_extension("ext4");
        // Room for the file system's own tables.
        disk(&folder, &image, (bytes >> 20) * 5 / 4 + 16)?;
        Ok(image)
    });
    let _ = fs::remove_dir_all(&folder);
    packed
}

/// How many bytes a folder takes, in whole blocks.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => 4096 + size(&entry.path())?,
            false => entry.metadata()?.len().next_multiple_of(4096),
        };
    }
    Ok(bytes)
}

/// Fills `folder`, and says how many bytes there are.
fn fill(folder: &Path, binaries: &Path, programs: &[Program], script: &str) -> Result<u64> {
    fs::create_dir_all(folder.join("bin"))?;
    fs::create_dir_all(folder.join("tests"))?;
    fs::write(folder.join("start"), START)?;
    fs::write(folder.join("script"), script)?;
    let copy = |from: &Path, to: PathBuf| {
        fs::copy(from, &to).with_context(|| format!("copy {} to {}", from.display(), to.display()))
    };
    let mut bytes = 0;
    for name in BINARIES {
        bytes += copy(&binaries.join(name), folder.join("bin").join(name))?;
    }
    let mut list = String::new();
    for program in programs {
        bytes += copy(&program.path, folder.join("tests").join(&program.name))?;
        list += &format!("{} {}\n", program.name, program.folder.display());
    }
    fs::write(folder.join("tests.list"), list)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_found_among_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":false},"executable":null}"#,
            "\n",
            r#"{"reason":"compiler-artifact","manifest_path":"/w/a/Cargo.toml","target":{"name":"a"},"profile":{"test":true},"executable":"/t/a-1"}"#,
            "\nnot json\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        let expected = Program {
            name: "a".into(),
            path: "/t/a-1".into(),
            folder: "/w/a".into(),
        };
        assert_eq!(found(messages), [expected]);
    }

    #[test]
    fn suites_have_names() {
        let one = Suite::named("p/t");
        assert_eq!((one.package.as_str(), one.target.as_deref()), ("p", Some("t")));
        assert_eq!(Suite::named("p").target, None);
    }

    #[test]
    fn arguments_reach_the_tests_as_they_are() {
        assert!(script(&["it's".into(), "--nocapture".into()]).contains("'it'\\''s' '--nocapture' <"));
    }
}
