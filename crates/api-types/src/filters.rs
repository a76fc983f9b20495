//! The `filters` parameter of lists, events and prunes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::go::Map;

/// Filters by key. Written as `{"key":{"value":true}}`, read in that form and as `{"key":["value"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Map<BTreeSet<String>>);

impl Filters {
    /// Reads the parameter; an empty one has no filters.
    pub fn parse(text: &str) -> Result<Filters, serde_json::Error> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        serde_json::from_str(text)
    }

    /// Adds one value.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.entry(key.into()).or_default().insert(value.into());
    }

    /// The values of a key.
    pub fn get(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `value` is one of the key's values, or the key is not there.
    pub fn exact(&self, key: &str, value: &str) -> bool {
        self.0
            .get(key)
            .is_none_or(|values| values.is_empty() || values.contains(value))
    }

    /// Whether `labels` has all of the key's values, each `name` or `name=value`.
    pub fn labels(&self, key: &str, labels: &Map<String>) -> bool {
        self.get(key).all(|wanted| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
            None => labels.contains_key(wanted),
        })
    }

    /// The first key that is not in `known`.
    pub fn unknown_key(&self, known: &[&str]) -> Option<&str> {
        self.keys().find(|key| !known.contains(key))
    }

    /// A key that can only be true or false: absent is `None`, anything else an error with its values.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Vec<String>> {
        if !self.contains(key) {
            return Ok(None);
        }
        let values: Vec<&str> = self.get(key).collect();
        match values.as_slice() {
            ["1" | "true"] => Ok(Some(true)),
            ["0" | "false"] => Ok(Some(false)),
            _ => Err(values.into_iter().map(str::to_owned).collect()),
        }
    }
}

impl Serialize for Filters {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sets: Map<Map<bool>> = self
            .0
            .iter()
            .map(|(key, values)| (key.clone(), values.iter().map(|v| (v.clone(), true)).collect()))
            .collect();
        sets.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            Set(Map<bool>),
            List(Vec<String>),
        }
        let read = Option::<Map<Option<Values>>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Filters(
            read.into_iter()
                .map(|(key, values)| {
                    let values = match values {
                        Some(Values::Set(set)) => set
                            .into_iter()
                            .filter(|(_, on)| *on)
                            .map(|(value, _)| value)
                            .collect(),
                        Some(Values::List(list)) => list.into_iter().collect(),
                        None => BTreeSet::new(),
                    };
                    (key, values)
                })
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for text in [
            r#"{"label":["a=b","c"]}"#,
            r#"{"label":{"a=b":true,"c":true,"d":false}}"#,
        ] {
            let filters = Filters::parse(text).expect(text);
            assert_eq!(filters.get("label").collect::<Vec<_>>(), ["a=b", "c"]);
        }
        assert!(Filters::parse("").expect("empty").is_empty());
        assert!(Filters::parse("[").is_err());
        assert!(Filters::parse(r#"{"a":3}"#).is_err());
    }

    #[test]
    fn sets_are_written() {
        let mut filters = Filters::default();
        filters.add("status", "running");
        filters.add("status", "exited");
        assert_eq!(
            serde_json::to_string(&filters).expect("json"),
            r#"{"status":{"exited":true,"running":true}}"#
        );
    }

    #[test]
    fn labels_match_by_name_or_value() {
        let labels: Map<String> = [("a".to_owned(), "b".to_owned())].into();
        let filters = |text| Filters::parse(text).expect("filters");
        assert!(filters(r#"{"label":["a"]}"#).labels("label", &labels));
        assert!(filters(r#"{"label":["a=b"]}"#).labels("label", &labels));
        assert!(!filters(r#"{"label":["a=c"]}"#).labels("label", &labels));
        assert!(!filters(r#"{"label":["a","x"]}"#).labels("label", &labels));
    }
}
