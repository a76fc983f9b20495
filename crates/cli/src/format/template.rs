//! Go's templates with Docker's functions. The engine behind them is an implementation detail of this
//! room.

use std::sync::Arc;

use gotmpl::{MissingKey, Template, TemplateError, Value};
use serde_json::Value as Json;

/// A template that was read.
pub(crate) struct Compiled {
    template: Template,
    text: String,
}

/// What a missing field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An error.
    Error,
    /// `<no value>`.
    NoValue,
}

/// Reads a template; the error is worded as Go words it.
pub(crate) fn compile(text: &str, missing: Missing) -> Result<Compiled, String> {
    let template = Template::new("")
        .missing_key(match missing {
            Missing::Error => MissingKey::Error,
            Missing::NoValue => MissingKey::Invalid,
        })
        .func("json", |args| {
            let value = args.first().map(to_json).unwrap_or(Json::Null);
            Ok(Value::String(value.to_string().into()))
        })
        .func("split", |args| {
            let (text, by) = (string(args, 0), string(args, 1));
            let parts: Vec<Value> = text
                .split(by.as_str())
                .map(|part| Value::String(part.into()))
                .collect();
            Ok(Value::List(parts.into()))
        })
        .func("join", |args| {
            let Some(Value::List(list)) = args.first() else {
                return Ok(Value::String("".into()));
            };
            let parts: Vec<String> = list.iter().map(Value::to_string).collect();
            Ok(Value::String(parts.join(&string(args, 1)).into()))
        })
        .func("lower", |args| {
            Ok(Value::String(string(args, 0).to_lowercase().into()))
        })
        .func("upper", |args| {
            Ok(Value::String(string(args, 0).to_uppercase().into()))
        })
        .func("title", |args| {
            let text = string(args, 0);
            let mut out = String::new();
            let mut start = true;
            for c in text.chars() {
                if start {
                    out.extend(c.to_uppercase());
                } else {
                    out.push(c);
                }
                start = !c.is_alphanumeric() && c != '\'' && c != '_';
            }
            Ok(Value::String(out.into()))
        })
        .func("pad", |args| {
            let text = string(args, 0);
            let spaces = |at: usize| {
                let n = args.get(at).and_then(Value::as_int).unwrap_or(0);
                " ".repeat(usize::try_from(n).unwrap_or(0))
            };
            if text.is_empty() {
                return Ok(Value::String(text.into()));
            }
            Ok(Value::String(format!("{}{text}{}", spaces(1), spaces(2)).into()))
        })
        .func("truncate", |args| {
            let length = args.get(1).and_then(Value::as_int).unwrap_or(0);
            let length = usize::try_from(length).unwrap_or(0);
            Ok(Value::String(
                string(args, 0).chars().take(length).collect::<String>().into(),
            ))
        });
    template
        .parse(&call_methods(text))
        .map(|template| Compiled {
            template,
            text: text.to_owned(),
        })
        .map_err(|error| format!("template: :1: {}", reason(&error)))
}

impl Compiled {
    /// Fills it in.
    pub(crate) fn render(&self, data: &Value) -> Result<String, String> {
        self.template
            .execute_to_string(data)
            .map_err(|error| match &error {
                TemplateError::MissingKey { key } => {
                    // Go counts the column from the beginning of the template to the field.
                    let column = self.text.find(&format!(".{key}")).unwrap_or(2);
                    format!(
                        "template: :1:{column}: executing \"\" at <.{key}>: map has no entry for key {key:?}"
                    )
                }
                // Go finds this out before it fills anything in.
                TemplateError::UndefinedFunction(_) => format!("template: :1: {}", reason(&error)),
                other => format!("template: :1:2: executing \"\": {}", reason(other)),
            })
    }
}

/// A missing field, if that is what an error is about.
fn reason(error: &TemplateError) -> String {
    match error {
        TemplateError::Parse { message, .. } | TemplateError::Lex { message, .. } => message.clone(),
        TemplateError::UndefinedFunction(name) => format!("function {name:?} not defined"),
        other => other.to_string(),
    }
}

/// `.Label "x"` is a method in Go; here it is a function that is a field, which has to be called.
fn call_methods(text: &str) -> String {
    if !text.contains(".Label \"") {
        return text.to_owned();
    }
    text.replace(".Label \"", "call .Label \"")
}

fn string(args: &[Value], at: usize) -> String {
    args.get(at).map(Value::to_string).unwrap_or_default()
}

/// JSON as data of a template.
pub(crate) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::Int(i),
            (None, Some(u)) => Value::Uint(u),
            _ => Value::Float(n.as_f64().unwrap_or(0.0)),
        },
        Json::String(s) => Value::String(s.as_str().into()),
        Json::Array(list) => Value::List(list.iter().map(from_json).collect::<Vec<_>>().into()),
        Json::Object(map) => Value::Map(Arc::new(
            map.iter()
                .map(|(k, v)| (Arc::from(k.as_str()), from_json(v)))
                .collect(),
        )),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::Null,
        Value::Bool(b) => Json::Bool(*b),
        Value::Int(i) => Json::from(*i),
        Value::Uint(u) => Json::from(*u),
        Value::Float(f) => Json::from(*f),
        Value::String(s) => Json::String(s.to_string()),
        Value::List(list) => Json::Array(list.iter().map(to_json).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(k, v)| (k.to_string(), to_json(v))).collect()),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, String> {
        let json: Json =
            serde_json::from_str(r#"{"A":{"B":[1,"x"]},"S":"two words","N":null}"#).expect("json");
        compile(text, Missing::Error)?.render(&from_json(&json))
    }

    #[test]
    fn good() {
        for (text, out) in [
            ("{{.A.B}}", "[1 x]"),
            ("{{json .A}}", "{\"B\":[1,\"x\"]}"),
            ("{{index .A.B 1}}", "x"),
            ("{{upper .S}}", "TWO WORDS"),
            ("{{title .S}}", "Two Words"),
            ("{{join (split .S \" \") \"-\"}}", "two-words"),
            ("{{range .A.B}}<{{.}}>{{end}}", "<1><x>"),
            ("{{.N}}", "<no value>"),
            ("{{pad .S 1 2}}|", " two words  |"),
            ("{{truncate .S 3}}", "two"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(out), "{text}");
        }
    }

    #[test]
    fn bad() {
        assert_eq!(
            render("{{.Foo}}"),
            Err("template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\"".to_owned())
        );
        assert_eq!(render("{{.Foo"), Err("template: :1: unclosed action".to_owned()));
        assert_eq!(
            render("{{foo .}}"),
            Err("template: :1: function \"foo\" not defined".to_owned())
        );
    }
}
