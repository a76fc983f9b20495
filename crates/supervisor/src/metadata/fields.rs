//! Field masks: which fields of an object an update replaces. Pure.

use gantry_supervisor_core::{Error, Labels, Result};

/// One field of a mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// A whole field.
    Whole(String),
    /// One entry of a map: `labels.KEY`.
    Entry(String, String),
}

/// Reads a mask. `maps` are the fields that may be named with a key, `whole` the others that may change. The key is all
/// that follows the first dot, as keys hold dots themselves. An empty mask stays empty.
pub(crate) fn parse(object: &str, mask: &[String], maps: &[&str], whole: &[&str]) -> Result<Vec<Field>> {
    mask.iter()
        .map(|field| {
            if let Some((map, key)) = field.split_once('.') {
                if maps.contains(&map) && !key.is_empty() {
                    return Ok(Field::Entry(map.to_owned(), key.to_owned()));
                }
            } else if maps.contains(&field.as_str()) || whole.contains(&field.as_str()) {
                return Ok(Field::Whole(field.clone()));
            }
            Err(Error::invalid(format!(
                "cannot update {field:?} field on {object}: invalid argument"
            )))
        })
        .collect()
}

/// Sets or removes one entry of a map to what `from` has. An empty label is a removed one.
pub(crate) fn set_label(labels: &mut Labels, key: &str, from: &Labels) {
    match from.get(key) {
        Some(value) if !value.is_empty() => {
            labels.insert(key.to_owned(), value.clone());
        }
        _ => {
            labels.remove(key);
        }
    }
}

/// Applies a mask that may only name labels; an empty one replaces all of them.
pub(crate) fn update_labels(object: &str, labels: &mut Labels, from: &Labels, mask: &[String]) -> Result<()> {
    let fields = parse(object, mask, &["labels"], &[])?;
    if fields.is_empty() {
        labels.clone_from(from);
    }
    for field in fields {
        match field {
            Field::Whole(_) => labels.clone_from(from),
            Field::Entry(_, key) => set_label(labels, &key, from),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn masks() {
        let mask = |fields: &[&str]| fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>();
        let from = labels(&[("a", "1"), ("x.y/z", "2"), ("empty", "")]);
        let mut got = labels(&[("b", "0"), ("empty", "no")]);
        update_labels("x", &mut got, &from, &mask(&["labels.x.y/z", "labels.empty"])).unwrap();
        assert_eq!(got, labels(&[("b", "0"), ("x.y/z", "2")]));
        update_labels("x", &mut got, &from, &[]).unwrap();
        assert_eq!(got, from);
        for bad in ["size", "labels.", "", ".", "labelsx", "spec.x"] {
            assert!(
                update_labels("x", &mut got, &from, &mask(&[bad])).is_err(),
                "{bad}"
            );
        }
    }
}
