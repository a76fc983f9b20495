//! Lists of rows with named fields: as a table, as JSON, or by a template.

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use crate::failure::{Failure, Outcome};
use crate::format::{table, template};

/// A row: what each placeholder stands for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    fields: BTreeMap<&'static str, String>,
    labels: Option<BTreeMap<String, String>>,
    unknown: Vec<&'static str>,
}

impl Row {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Row {
        self.fields.insert(name, value.into());
        self
    }

    /// Adds a field that the engine said nothing of.
    pub(crate) fn without(mut self, name: &'static str) -> Row {
        self.unknown.push(name);
        self.with(name, "")
    }

    /// Adds what `.Label "name"` finds.
    pub(crate) fn with_labels(mut self, labels: &BTreeMap<String, String>) -> Row {
        self.labels = Some(labels.clone());
        self
    }

    fn value(&self) -> Value {
        let mut map: BTreeMap<Arc<str>, Value> = self
            .fields
            .iter()
            .map(|(name, value)| (Arc::from(*name), Value::String(value.as_str().into())))
            .collect();
        if let Some(labels) = self.labels.clone() {
            let label = move |args: &[Value]| {
                let name = args.first().map(Value::to_string).unwrap_or_default();
                Ok(Value::String(
                    labels.get(&name).cloned().unwrap_or_default().into(),
                ))
            };
            map.insert(Arc::from("Label"), Value::Function(Arc::new(label)));
        }
        Value::Map(Arc::new(map))
    }

    fn json(&self) -> String {
        let fields: BTreeMap<&str, Option<&String>> = self
            .fields
            .iter()
            .map(|(name, value)| (*name, Some(value).filter(|_| !self.unknown.contains(name))))
            .collect();
        let text = serde_json::to_string(&fields).unwrap_or_default();
        // As Go writes JSON that may stand in a page.
        text.replace('<', "\\u003c")
            .replace('>', "\\u003e")
            .replace('&', "\\u0026")
    }
}

/// A kind of list: its table, its headers, and what is said of a field that it does not have.
pub(crate) struct Kind {
    /// The template of the table.
    pub(crate) table: String,
    /// Placeholders with their headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// What has no such field.
    pub(crate) context: &'static str,
    /// What is said of a template that cannot be read, and of one that cannot be filled in.
    pub(crate) wrong: [&'static str; 2],
}

/// What most lists say of a wrong template.
pub(crate) const WRONG: [&str; 2] = ["template parsing error", "template parsing error"];

/// Shows rows. `format` is `table`, `table TEMPLATE`, `json`, a template, or empty for the table.
pub(crate) fn render(kind: &Kind, format: &str, rows: &[Row]) -> Outcome<String> {
    let wrong = |error: String| Failure::new(format!("{}: {error}", kind.wrong[1]));
    if format == "json" {
        return Ok(rows.iter().map(|row| row.json() + "\n").collect());
    }
    let (text, is_table) = match format.strip_prefix("table") {
        _ if format.is_empty() => (kind.table.as_str(), true),
        Some("") => (kind.table.as_str(), true),
        Some(rest) if rest.starts_with(' ') || rest.starts_with('\\') || rest.starts_with('\t') => {
            (rest.trim_start(), true)
        }
        _ => (format, false),
    };
    let text = text.replace("\\t", "\t").replace("\\n", "\n");
    let compiled = template::compile(&text, template::Missing::Error)
        .map_err(|error| Failure::new(format!("{}: {error}", kind.wrong[0])))?;
    let mut lines = Vec::new();
    if is_table {
        let mut header = Row::default();
        for (name, title) in kind.headers {
            header = header.with(name, *title);
        }
        let header = header.with_labels(&BTreeMap::new());
        lines.push(
            compiled
                .render(&header.value())
                .map_err(|e| wrong(fields_of(kind, &e)))?,
        );
    }
    for row in rows {
        lines.push(
            compiled
                .render(&row.value())
                .map_err(|e| wrong(fields_of(kind, &e)))?,
        );
    }
    if is_table {
        return Ok(table::align(&lines));
    }
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

fn fields_of(kind: &Kind, error: &str) -> String {
    match error.split_once(": map has no entry for key \"") {
        Some((at, key)) => format!(
            "{at}: can't evaluate field {} in type *formatter.{}",
            key.trim_end_matches('"'),
            kind.context
        ),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind() -> Kind {
        Kind {
            table: "{{.ID}}\t{{.Name}}".to_owned(),
            headers: &[("ID", "IMAGE ID"), ("Name", "NAME")],
            context: "thing",
            wrong: WRONG,
        }
    }

    fn rows() -> Vec<Row> {
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        vec![
            Row::default()
                .with("ID", "1")
                .with("Name", "<none>")
                .with_labels(&labels),
        ]
    }

    #[test]
    fn every_form() {
        let shown = |format: &str| render(&kind(), format, &rows()).map_err(|f| f.message);
        assert_eq!(shown("").as_deref(), Ok("IMAGE ID   NAME\n1          <none>\n"));
        assert_eq!(shown("table {{.Name}}").as_deref(), Ok("NAME\n<none>\n"));
        assert_eq!(shown("{{.ID}}\\t{{.Label \"a\"}}").as_deref(), Ok("1\tb\n"));
        assert_eq!(
            shown("json").as_deref(),
            Ok("{\"ID\":\"1\",\"Name\":\"\\u003cnone\\u003e\"}\n")
        );
        assert_eq!(
            shown("{{.Foo}}"),
            Err("template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.thing".to_owned())
        );
        assert_eq!(
            shown("{{.Foo"),
            Err("template parsing error: template: :1: unclosed action".to_owned())
        );
    }
}
