//! Documents of others, damaged: `config.json`, a container's record, a profile of system calls. Whatever is in them there is
//! an answer and never a panic, and what is taken makes sense.
//!
//! Runs on the stable compiler. By itself it tries the same few thousand documents every time; with `GANTRY_FUZZ_SECONDS=600`
//! others for that long, and a failure prints the smallest document that it finds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gantry_runtime_core::check::check;
use gantry_runtime_core::config::Config;
use gantry_runtime_core::oci::{LinuxSeccomp, Spec};
use gantry_runtime_core::plan::Namespaces;
use gantry_runtime_core::state::{Container, Status};
use gantry_seccomp::machine::{self, Call};
use gantry_seccomp::profile::{self, Facts};
use gantry_seccomp::{Program, compile};
use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use serde_json::{Value, json};

/// Every field of the specification.
const FULL: &str = include_str!("../../oci/src/runtime/testdata/full.json");

/// One damage.
#[derive(Clone, Debug)]
enum Damage {
    /// The value at the nth place becomes another.
    Replace(u16, Value),
    /// What is at the nth place goes away.
    Remove(u16),
    /// What is at the one place stands at the other too.
    Copy(u16, u16),
    /// A byte of the text becomes another.
    Byte(u16, u8),
    /// Some bytes of the text go away.
    Cut(u16, u8),
}

fn values() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        Just(String::new()),
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just("/../..".to_owned()),
        Just("/proc/self/fd/3".to_owned()),
        Just("a\u{0}b".to_owned()),
        Just("-1".to_owned()),
        Just("1-".to_owned()),
        Just("0-99999999999".to_owned()),
        Just("a:b:c".to_owned()),
        Just("x".repeat(5000)),
        "[ -~]{0,12}",
        "[a-zäß€\u{7f}\n]{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{0,4}", inner, 0..3)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let one = prop_oneof![
        6 => (any::<u16>(), values()).prop_map(|(at, value)| Damage::Replace(at, value)),
        2 => any::<u16>().prop_map(Damage::Remove),
        3 => (any::<u16>(), any::<u16>()).prop_map(|(from, to)| Damage::Copy(from, to)),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(at, count)| Damage::Cut(at, count)),
    ];
    proptest::collection::vec(one, 1..6)
}

/// The places of a document.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value| {
        let place = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        all.push(place.clone());
        places(value, &place, all);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        Value::Array(items) => {
            for (at, value) in items.iter().enumerate() {
                below(&at.to_string(), value);
            }
        }
        _ => {}
    }
}

fn damaged(document: &Value, damages: &[Damage]) -> String {
    let mut document = document.clone();
    for damage in damages {
        let mut all = Vec::new();
        places(&document, "", &mut all);
        let place = |number: &u16| all.get(usize::from(*number) % all.len().max(1));
        match damage {
            Damage::Replace(at, value) => {
                if let Some(field) = place(at).and_then(|at| document.pointer_mut(at)) {
                    *field = value.clone();
                }
            }
            Damage::Remove(at) => {
                let parts = place(at).and_then(|at| at.rsplit_once('/'));
                match parts.and_then(|(folder, name)| Some((document.pointer_mut(folder)?, name))) {
                    Some((Value::Object(fields), name)) => drop(fields.remove(name)),
                    Some((Value::Array(items), name)) => {
                        drop(name.parse().map(|at: usize| items.remove(at)));
                    }
                    _ => {}
                }
            }
            Damage::Copy(from, to) => {
                let value = place(from).and_then(|from| document.pointer(from)).cloned();
                let field = place(to).and_then(|to| document.pointer_mut(to));
                if let (Some(value), Some(field)) = (value, field)
                    && value.to_string().len() < 4000
                {
                    *field = value;
                }
            }
            Damage::Byte(..) | Damage::Cut(..) => {}
        }
    }
    let mut text = document.to_string().into_bytes();
    for damage in damages {
        let length = text.len();
        if length == 0 {
            break;
        }
        match damage {
            Damage::Byte(at, byte) => text[usize::from(*at) % length] = *byte,
            Damage::Cut(at, count) => {
                let from = usize::from(*at) % length;
                drop(text.drain(from..(from + usize::from(*count)).min(length)));
            }
            _ => {}
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Tries damaged documents until the time is over.
fn fuzz(document: &Value, test: impl Fn(&str) -> TestCaseResult) {
    let seconds = std::env::var("GANTRY_FUZZ_SECONDS").ok();
    let settings = Settings {
        cases: 2000,
        failure_persistence: None,
        ..Settings::default()
    };
    let strategy = damages();
    let once = |runner: &mut TestRunner| {
        let tried = runner.run(&strategy, |damages| {
            let text = damaged(document, &damages);
            test(&text).map_err(|error| TestCaseError::fail(format!("{error}\nof {text}")))
        });
        if let Err(error) = tried {
            panic!("{error}");
        }
    };
    let Some(seconds) = seconds.and_then(|text| text.parse().ok()) else {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        return once(&mut TestRunner::new_with_rng(settings, rng));
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        once(&mut TestRunner::new(settings.clone()));
    }
}

fn document() -> Value {
    let mut document: Value = serde_json::from_str(FULL).expect("a document");
    document["root"]["path"] = json!("rootfs");
    for namespace in document["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
    {
        // Those of the document are nowhere.
        namespace["path"] = json!("");
    }
    // Only machines that have them take these.
    document["linux"]
        .as_object_mut()
        .expect("its part for Linux")
        .remove("intelRdt");
    for (part, label) in [
        ("process", "selinuxLabel"),
        ("process", "apparmorProfile"),
        ("linux", "mountLabel"),
    ] {
        document[part][label] = json!("");
    }
    document
}

/// A program that the kernel takes: no jump leads out of it, none has no end, and every call gets an answer.
fn is_sound(program: &Program) -> TestCaseResult {
    let length = program.code.len();
    prop_assert!((1..=4096).contains(&length));
    for (at, one) in program.code.iter().enumerate() {
        let furthest = match one.code {
            0x06 => continue,
            0x05 => at + 1 + one.operand as usize,
            _ => at + 1 + usize::from(one.jump_true.max(one.jump_false)),
        };
        prop_assert!(
            furthest < length,
            "instruction {at} of {length} leads to {furthest}"
        );
    }
    for arch in [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 7] {
        for number in [0, 1, 59, 200, 435, 0x4000_0001, 0x4000_0203, u32::MAX] {
            let args = [0, 1, u64::MAX, 1 << 32, 40, 8];
            let call = Call { arch, number, args };
            prop_assert!(machine::run(&program.code, &call).is_some(), "{call:?}");
        }
    }
    Ok(())
}

fn compiles(profile: &LinuxSeccomp) -> TestCaseResult {
    match compile(profile) {
        Ok(program) => is_sound(&program),
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            Ok(())
        }
    }
}

#[test]
fn configurations() {
    let bundle = tempfile::tempdir().expect("a folder");
    fs::create_dir(bundle.path().join("rootfs")).expect("a folder");
    let load = |text: &str| {
        fs::write(bundle.path().join("config.json"), text).expect("a file");
        Config::load(bundle.path())
    };
    load(&document().to_string()).expect("the document as it is");
    fuzz(&document(), |text| {
        let config = match load(text) {
            Ok(config) => config,
            Err(error) => {
                prop_assert!(!error.chain().is_empty());
                // What is refused for another part has parts all the same.
                let spec = serde_json::from_str::<Spec>(text).ok();
                let profile = spec.and_then(|spec| spec.linux?.seccomp);
                return profile.map_or(Ok(()), |profile| compiles(&profile));
            }
        };
        prop_assert!(config.rootfs.is_absolute() && config.rootfs.exists());
        let process = config.spec.process.as_ref();
        prop_assert!(process.is_none_or(|process| Path::new(&process.cwd).is_absolute()));
        let linux = config.linux();
        let namespaces = Namespaces::of(&linux);
        prop_assert!(
            !namespaces.new_user() || !linux.uid_mappings.is_empty() && !linux.gid_mappings.is_empty()
        );
        // What is kept of it in the record means the same.
        let kept = serde_json::to_string(&config.spec).expect("its text");
        let again: Spec =
            serde_json::from_str(&kept).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(again == config.spec, "{kept}");
        prop_assert!(check(&again).is_ok());
        linux.seccomp.map_or(Ok(()), |profile| compiles(&profile))
    });
}

#[test]
fn records() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().join("one");
    fs::create_dir(&folder).expect("a folder");
    let record = json!({
        "version": 1, "id": "one", "pid": std::process::id(), "start_time": 5, "bundle": "/b", "rootfs": "/b/rootfs",
        "created": "2024-01-01T00:00:00Z", "uid": 0,
        "cgroup_paths": [["memory", "/sys/fs/cgroup/memory/nobodys"], ["", "/sys/fs/cgroup/unified/nobodys"]],
        "config": document(),
    });
    fs::write(folder.join("state.json"), record.to_string()).expect("a file");
    let whole = Container::load(root.path(), "one").expect("the record as it is written");
    // Our number, but not our beginning.
    assert_eq!(whole.status().expect("its status"), Status::Stopped);
    fuzz(&record, |text| {
        fs::write(folder.join("state.json"), text).expect("a file");
        prop_assert!(Container::all(root.path()).is_ok_and(|all| all.len() <= 1));
        match Container::load(root.path(), "one") {
            Ok(container) => {
                let status = container.status().unwrap_or(Status::Stopped);
                let state = serde_json::to_string(&container.oci_state(status)).expect("its state");
                prop_assert!(state.contains("ociVersion"));
                let _ = container.cgroup();
            }
            Err(error) => prop_assert!(!error.chain().is_empty()),
        }
        Ok(())
    });
}

#[test]
fn profiles() {
    let facts = Facts {
        capabilities: vec!["CAP_CHOWN", "CAP_SYS_ADMIN"],
        kernel: (6, 1),
    };
    let mut rules = serde_json::to_value(profile::default(&facts)).expect("a profile")["syscalls"].take();
    for (at, rule) in rules.as_array_mut().expect("rules").iter_mut().enumerate() {
        // Enough of each to be compiled quickly.
        if let Some(names) = rule["names"].as_array_mut() {
            names.truncate(12);
        }
        rule["includes"] = json!({ "caps": ["CAP_CHOWN"], "arches": ["amd64"], "minKernel": "4.8" });
        if at % 2 == 0 {
            rule["excludes"] = json!({ "caps": ["CAP_BPF"] });
        }
    }
    let document = json!({
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "", "listenerMetadata": "", "syscalls": rules,
        "archMap": [{ "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] }],
    });
    profile::parse(document.to_string().as_bytes(), &facts).expect("the document as it is");
    fuzz(&document, |text| match profile::parse(text.as_bytes(), &facts) {
        Ok(profile) => compiles(&profile),
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            Ok(())
        }
    });
}
