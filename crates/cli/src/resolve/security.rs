//! `--security-opt`: profiles are read here, since an engine may be far away.

use super::{Inputs, os_reason};

/// What the flags say.
#[derive(Debug, Default)]
pub(super) struct Security {
    pub(super) options: Vec<String>,
    pub(super) masked_paths: Option<Vec<String>>,
    pub(super) readonly_paths: Option<Vec<String>>,
}

/// Reads the options.
pub(super) fn options(list: &[String], inputs: &Inputs<'_>) -> Result<Security, String> {
    let mut security = Security::default();
    for option in list {
        if option == "systempaths=unconfined" {
            security.masked_paths = Some(Vec::new());
            security.readonly_paths = Some(Vec::new());
            continue;
        }
        let (name, value) = match option.split_once(['=', ':']) {
            Some((name, value)) => (name, Some(value)),
            None => (option.as_str(), None),
        };
        let Some(value) = value else {
            if name != "no-new-privileges" {
                return Err(format!("Invalid --security-opt: {option:?}"));
            }
            security.options.push(option.clone());
            continue;
        };
        if name == "seccomp" && !matches!(value, "unconfined" | "builtin") {
            security
                .options
                .push(format!("seccomp={}", profile(value, inputs)?));
            continue;
        }
        security.options.push(option.clone());
    }
    Ok(security)
}

fn profile(path: &str, inputs: &Inputs<'_>) -> Result<String, String> {
    let content = (inputs.read)(path).map_err(|error| {
        format!(
            "opening seccomp profile ({path}) failed: open {path}: {}",
            os_reason(&error)
        )
    })?;
    // Validated and without its white space, as one line of JSON. Numbers and order stay as written.
    let raw: Box<serde_json::value::RawValue> = serde_json::from_slice(&content)
        .map_err(|error| format!("compacting json for seccomp profile ({path}) failed: {error}"))?;
    Ok(crate::format::json::compact(raw.get()))
}
