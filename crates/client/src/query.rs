//! Paths and queries of requests. Pure.

use url::form_urlencoded::Serializer;

/// The query of a request, empty values left out as Docker's client leaves them.
#[derive(Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// A parameter that is always there.
    pub(crate) fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.0.push((key, value.to_string()));
        self
    }

    /// A parameter that is there unless it is empty.
    pub(crate) fn text(self, key: &'static str, value: &str) -> Self {
        if value.is_empty() {
            self
        } else {
            self.with(key, value)
        }
    }

    /// `key=1`, or nothing.
    pub(crate) fn flag(self, key: &'static str, on: bool) -> Self {
        if on { self.with(key, 1) } else { self }
    }

    /// Filters as JSON, or nothing.
    pub(crate) fn filters(self, filters: &gantry_api_types::filters::Filters) -> Self {
        if filters.is_empty() {
            return self;
        }
        let json = serde_json::to_string(filters).unwrap_or_default();
        self.with("filters", json)
    }

    /// `path?query`, or the path alone.
    pub(crate) fn on(mut self, path: String) -> String {
        if self.0.is_empty() {
            return path;
        }
        self.0.sort_by_key(|(key, _)| *key);
        let start = path.len() + 1;
        let mut out = Serializer::for_suffix(path + "?", start);
        for (key, value) in &self.0 {
            out.append_pair(key, value);
        }
        out.finish()
    }
}

/// A name as part of a path: what has a meaning in an address is escaped, but for the `/` of image names.
pub(crate) fn escape(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'/'
            | b':'
            | b'@'
            | b'+' => {
                out.push(byte as char);
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_sorted_and_escaped() {
        let query = Query::default()
            .with("b", "x y&z")
            .flag("a", true)
            .flag("n", false)
            .text("t", "");
        assert_eq!(query.on("/p".into()), "/p?a=1&b=x+y%26z");
        assert_eq!(Query::default().on("/p".into()), "/p");
    }

    #[test]
    fn names_do_not_leave_their_place() {
        assert_eq!(
            escape("library/busybox:1@sha256:ab"),
            "library/busybox:1@sha256:ab"
        );
        assert_eq!(escape("a b?c#d%\u{e9}"), "a%20b%3Fc%23d%25%C3%A9");
    }
}
