//! `state`, `list`, `ps`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use gantry_runtime_core::state::{Container, Status};
use serde::Serialize;
use serde_json::json;

use super::{Outcome, sentence};
use crate::args::{Args, Global, unknown};

/// A container in the order in which readers know its properties.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described<'a> {
    oci_version: &'a str,
    id: &'a str,
    pid: i32,
    status: &'static str,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a BTreeMap<String, String>>,
    owner: String,
}

fn described(container: &Container) -> Result<Described<'_>, String> {
    let status = container.status().map_err(sentence)?;
    Ok(Described {
        oci_version: &container.spec().oci_version,
        id: container.id(),
        pid: if status == Status::Stopped {
            0
        } else {
            container.pid()
        },
        status: status.word(),
        bundle: container.bundle(),
        rootfs: container.rootfs(),
        created: container.created(),
        annotations: Some(container.annotations()).filter(|all| !all.is_empty()),
        owner: String::new(),
    })
}

fn text(value: Result<String, serde_json::Error>) -> Result<String, String> {
    value.map_err(|error| error.to_string())
}

pub(super) fn state(global: &Global, mut args: Args) -> Outcome {
    if let Some(flag) = args.flag() {
        return Err(unknown(&flag));
    }
    let id = args.id("state")?;
    args.end("state")?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    println!("{}", text(serde_json::to_string_pretty(&described(&container)?))?);
    Ok(0)
}

pub(super) fn list(global: &Global, mut args: Args) -> Outcome {
    let (mut quiet, mut json) = (false, false);
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "quiet" | "q" => quiet = flag.on()?,
            "format" | "f" => json = format(&args.value(flag)?)?,
            _ => return Err(unknown(&flag)),
        }
    }
    args.end("list")?;
    if global.root_given && !global.root.exists() {
        let root = global.root.display();
        return Err(format!("open {root}: no such file or directory"));
    }
    let all = Container::all(&global.root).map_err(sentence)?;
    if quiet {
        all.iter().for_each(|container| println!("{}", container.id()));
        return Ok(0);
    }
    if json {
        fn listed(container: &Container) -> Result<Described<'_>, String> {
            let mut value = described(container)?;
            value.owner = owner(container);
            Ok(value)
        }
        let values = all.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        match values.is_empty() {
            true => println!("null"),
            false => println!("{}", text(serde_json::to_string(&values))?),
        }
        return Ok(0);
    }
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    for container in &all {
        let status = container.status().map_err(sentence)?;
        let pid = if status == Status::Stopped {
            0
        } else {
            container.pid()
        };
        let bundle = container.bundle().display().to_string();
        let created = container.created().to_owned();
        rows.push([
            container.id().to_owned(),
            pid.to_string(),
            status.word().to_owned(),
            bundle,
            created,
            owner(container),
        ]);
    }
    print!("{}", table(&rows));
    Ok(0)
}

/// Who made a container.
fn owner(container: &Container) -> String {
    match container.uid() {
        0 => "root".to_owned(),
        uid => name_of(uid).unwrap_or_else(|| format!("#{uid}")),
    }
}

/// The name of a user of the host.
fn name_of(uid: u32) -> Option<String> {
    let table = std::fs::read_to_string("/etc/passwd").ok()?;
    let uid = uid.to_string();
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    })
}

/// Whether JSON is wanted.
fn format(name: &str) -> Result<bool, String> {
    match name {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(format!("invalid format option {other:?}: table or json")),
    }
}

/// Columns as wide as what is in them, at least eleven and one, as Go's tabwriter lays runc's out.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count() + 3)
            .max()
            .unwrap_or(0)
            .max(12)
    };
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            match column + 1 == N {
                true => text.push_str(cell),
                false => text.push_str(&format!("{cell:<width$}", width = width(column))),
            }
        }
        text.push('\n');
    }
    text
}

pub(super) fn ps(global: &Global, mut args: Args) -> Outcome {
    let mut json = false;
    while let Some(flag) = args.flag() {
        match flag.name.as_str() {
            "format" | "f" => json = format(&args.value(flag)?)?,
            _ => return Err(unknown(&flag)),
        }
    }
    let id = args.id("ps")?;
    let container = Container::load(&global.root, &id).map_err(sentence)?;
    let pids = container
        .cgroup()
        .map_err(sentence)?
        .pids()
        .map_err(|error| error.to_string())?;
    if json {
        println!("{}", json!(pids));
        return Ok(0);
    }
    let mut options = args.rest();
    if options.is_empty() {
        options.push("-ef".to_owned());
    }
    let output = Command::new("ps")
        .args(&options)
        .output()
        .map_err(|error| format!("failed to run ps: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "ps failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title.split_whitespace().position(|name| name == "PID");
    let column = column.ok_or_else(|| "couldn't find PID field in ps output".to_owned())?;
    println!("{title}");
    for line in lines {
        let pid = line
            .split_whitespace()
            .nth(column)
            .and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            println!("{line}");
        }
    }
    Ok(0)
}
