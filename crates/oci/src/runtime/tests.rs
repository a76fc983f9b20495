//! The runtime specification types against real documents and against oci-spec.

use super::*;

fn round_trip(text: &str) {
    let ours: Spec = serde_json::from_str(text).unwrap();
    let written = serde_json::to_value(&ours).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
}

#[test]
fn a_full_configuration_survives() {
    round_trip(include_str!("testdata/full.json"));
}

/// oci-spec names one scheduler flag otherwise than the specification (`config.md`, scheduler): its name is put in.
fn for_the_other_crate(spec: &Spec) -> String {
    let text = serde_json::to_string(spec).unwrap();
    text.replace("SCHED_FLAG_RESET_ON_FORK", "SCHED_RESET_ON_FORK")
}

#[test]
fn the_other_crate_reads_the_same() {
    let text = include_str!("testdata/full.json");
    let ours: Spec = serde_json::from_str(text).unwrap();
    let theirs: oci_spec::runtime::Spec = serde_json::from_str(&for_the_other_crate(&ours)).unwrap();
    let linux = ours.linux.unwrap();
    let their_linux = theirs.linux().as_ref().unwrap();
    assert_eq!(
        their_linux.namespaces().as_ref().unwrap().len(),
        linux.namespaces.len()
    );
    assert_eq!(theirs.mounts().as_ref().unwrap().len(), ours.mounts.len());
    let memory = linux.resources.unwrap().memory.unwrap();
    let their_memory = their_linux.resources().as_ref().unwrap().memory().unwrap();
    assert_eq!(their_memory.limit(), memory.limit);
    assert_eq!(their_memory.swap(), memory.swap);
    let seccomp = linux.seccomp.unwrap();
    let their_seccomp = their_linux.seccomp().as_ref().unwrap();
    assert_eq!(
        their_seccomp.syscalls().as_ref().unwrap()[1]
            .args()
            .as_ref()
            .unwrap()[0]
            .value(),
        seccomp.syscalls[1].args[0].value
    );
}

#[test]
fn their_default_is_read_and_written_back() {
    let theirs = serde_json::to_value(oci_spec::runtime::Spec::default()).unwrap();
    let ours: Spec = serde_json::from_value(theirs.clone()).unwrap();
    let again: oci_spec::runtime::Spec =
        serde_json::from_value(serde_json::to_value(&ours).unwrap()).unwrap();
    let mut process = again.process().clone().unwrap();
    // We leave `terminal` out when it is false, which the specification reads as the same.
    process.set_terminal(process.terminal().or(Some(false)));
    assert_eq!(Some(process), *oci_spec::runtime::Spec::default().process());
    assert_eq!(again.mounts(), oci_spec::runtime::Spec::default().mounts());
}

#[test]
fn null_and_unknown_properties_are_nothing() {
    let spec: Spec = serde_json::from_str(
        r#"{"ociVersion":"1.9.0","mounts":null,"future":{"a":1},"annotations":null,
            "process":{"user":{"uid":1,"gid":2},"cwd":"/","args":["x"],"env":null,
            "capabilities":{"bounding":["CAP_NOT_YET"],"effective":null}},"linux":{"namespaces":null}}"#,
    )
    .unwrap();
    let process = spec.process.unwrap();
    assert_eq!(process.capabilities.unwrap().bounding, ["CAP_NOT_YET"]);
    assert!(spec.mounts.is_empty() && process.env.is_empty());
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    assert!(serde_json::from_str::<Spec>(r#"{"ociVersion":1}"#).is_err());
    assert!(
        serde_json::from_str::<Spec>(r#"{"ociVersion":"1","linux":{"namespaces":[{"type":"x"}]}}"#).is_err()
    );
}
