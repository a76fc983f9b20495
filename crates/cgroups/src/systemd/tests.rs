//! What is asked of systemd. That it does so is tried where there is one: see `manager`'s tests.

use super::*;

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_scope_with_all_that_it_needs() {
    let wanted = Wanted::new(
        Some("a-b.slice:p:c"),
        "id",
        &annotations(&[
            ("org.systemd.property.TimeoutStopSec", "uint64 7"),
            ("other", "x"),
        ]),
        false,
    )
    .unwrap();
    assert_eq!(
        wanted.cgroup().unwrap(),
        PathBuf::from("/a.slice/a-b.slice/p-c.scope")
    );
    let resources =
        serde_json::from_str(r#"{"memory":{"limit":5},"unified":{"memory.oom.group":"1"}}"#).unwrap();
    let names: Vec<(String, String)> = wanted
        .properties(7, &resources, Version::V2, 253)
        .unwrap()
        .into_iter()
        .map(|(name, value)| (name, format!("{value:?}")))
        .collect();
    let of = |wanted: &str| {
        names
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(of("Slice"), Some("Text(\"a-b.slice\")"));
    assert_eq!(of("PIDs"), Some("Array(\"u\", [Uint32(7)])"));
    assert_eq!(of("Delegate"), Some("Bool(true)"));
    assert_eq!(of("TimeoutStopUSec"), Some("Uint64(7000000)"));
    assert_eq!(of("MemoryMax"), Some("Uint64(5)"));
    assert_eq!(of("OOMPolicy"), Some("Text(\"kill\")"));
    assert_eq!(of("DefaultDependencies"), Some("Bool(false)"));
    assert_eq!(of("DevicePolicy"), None);
}

#[test]
fn a_slice_has_no_processes() {
    let wanted = Wanted::new(Some("a.slice::a-b.slice"), "id", &BTreeMap::new(), false).unwrap();
    let properties = wanted
        .properties(7, &LinuxResources::default(), Version::V1, 252)
        .unwrap();
    let has = |wanted: &str| properties.iter().any(|(name, _)| name == wanted);
    assert!(has("Wants") && has("BlockIOAccounting") && !has("PIDs") && !has("Slice") && !has("Delegate"));
}

#[test]
fn annotations_are_checked() {
    for (key, value, error) in [
        (
            "org.systemd.property.ab",
            "'x'",
            "annotation org.systemd.property.ab name incorrect: too short",
        ),
        (
            "org.systemd.property.A.b",
            "'x'",
            "annotation org.systemd.property.A.b name incorrect: contains non-alphabetic character",
        ),
        (
            "org.systemd.property.CollectMode",
            "inactive",
            "annotation org.systemd.property.CollectMode=inactive value parse error: ",
        ),
        (
            "org.systemd.property.TimeoutStopSec",
            "'x'",
            "annotation org.systemd.property.TimeoutStopSec='x' value parse error: not a number",
        ),
    ] {
        let said = Wanted::new(None, "id", &annotations(&[(key, value)]), false)
            .unwrap_err()
            .to_string();
        assert!(said.starts_with(error), "{said}");
    }
}
