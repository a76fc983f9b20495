//! Who may import whom: the table of `docs/architecture.md`, read from there and held against the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::root;

/// Compares the arrows of the manifests with those of the document.
pub(crate) fn check() -> Result<()> {
    let document = fs::read_to_string(root().join("docs/architecture.md"))?;
    let allowed = allowed(&document)?;
    let actual = actual()?;
    let mut wrong = Vec::new();
    for (package, imports) in &actual {
        let Some(may) = allowed.get(package) else {
            wrong.push(format!("{package} is not in the table of docs/architecture.md"));
            continue;
        };
        for import in imports.difference(may) {
            wrong.push(format!(
                "{package} imports {import}: no such arrow in docs/architecture.md"
            ));
        }
    }
    if wrong.is_empty() {
        println!("deps: {} crates keep to the arrows", actual.len());
        return Ok(());
    }
    bail!("deps:\n  {}", wrong.join("\n  "))
}

/// The block of lines `a, b -> c d` that follows "Who may import whom".
fn allowed(document: &str) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let (_, rest) = document
        .split_once("Who may import whom")
        .context("docs/architecture.md has no such section")?;
    let block = rest.split("```").nth(1).context("the section has no block")?;
    let mut table = BTreeMap::new();
    for line in block.lines().filter(|line| line.contains("->")) {
        let (from, to) = line.split_once("->").unwrap_or_default();
        let to: BTreeSet<String> = to
            .split_whitespace()
            .filter(|t| *t != "–")
            .map(str::to_owned)
            .collect();
        for name in from.split(',') {
            table.insert(name.trim().to_owned(), to.clone());
        }
    }
    Ok(table)
}

/// The normal dependencies among the crates of the workspace; those for tests are free.
fn actual() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    let short = |value: &Value| {
        value
            .as_str()
            .and_then(|name| name.strip_prefix("gantry-"))
            .map(str::to_owned)
    };
    let mut table = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let Some(name) = short(&package["name"]) else {
            continue;
        };
        let imports = package["dependencies"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| short(&dependency["name"]))
            .collect();
        table.insert(name, imports);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_arrows_of_the_document() {
        let text = "Who may import whom (x):\n\n```\na, b -> –\nc -> a b\n```\n";
        let table = allowed(text).unwrap();
        assert!(table["a"].is_empty() && table["b"].is_empty());
        assert_eq!(table["c"].iter().cloned().collect::<Vec<_>>(), ["a", "b"]);
    }
}
