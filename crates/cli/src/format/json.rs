//! JSON as text: made shorter or longer without reading it, so that numbers, order and unknown keys stay
//! as an engine wrote them.

/// Without white space between its parts.
pub(crate) fn compact(json: &str) -> String {
    walk(json, None)
}

/// With each part on a line of its own, four spaces deeper than what it is in, as Docker prints it.
pub(crate) fn indent(json: &str) -> String {
    walk(json, Some("    "))
}

fn walk(json: &str, step: Option<&str>) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped, mut fresh) = (0usize, false, false, false);
    let newline = |out: &mut String, depth: usize| {
        if let Some(step) = step {
            out.push('\n');
            for _ in 0..depth {
                out.push_str(step);
            }
        }
    };
    for c in json.chars() {
        if in_text {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        if c.is_ascii_whitespace() {
            continue;
        }
        // An empty object or list stays on its line.
        if fresh && !matches!(c, '}' | ']') {
            newline(&mut out, depth);
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                fresh = true;
                continue;
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !fresh {
                    newline(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(if step.is_some() { ": " } else { ":" }),
            _ => {
                in_text = c == '"';
                out.push(c);
            }
        }
        fresh = false;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        let json = "{\"a\": [1, 2.50,\"x:{\\\"\"], \"b\":{}, \"c\": [ ] }";
        assert_eq!(compact(json), "{\"a\":[1,2.50,\"x:{\\\"\"],\"b\":{},\"c\":[]}");
        assert_eq!(
            indent(json),
            "{\n    \"a\": [\n        1,\n        2.50,\n        \"x:{\\\"\"\n    ],\n    \"b\": {},\n    \"c\": []\n}"
        );
    }
}
