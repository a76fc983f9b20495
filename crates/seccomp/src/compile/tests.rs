//! Programs run on a machine of our own, beside what the profile says in words.

use gantry_oci::runtime::{LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::machine::{self, Call};

fn read(json: Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn run(program: &Program, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    machine::run(&program.code, &Call { arch, number, args }).expect("a program that the kernel takes")
}

/// The answer to a call of x86-64.
fn asked(profile: Value, name: &str, args: &[u64]) -> u32 {
    let program = compile(&read(profile)).unwrap();
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    let number = Arch::X86_64.number(name).unwrap();
    run(&program, Arch::X86_64.audit(), number, all)
}

fn holds(arg: &LinuxSeccompArg, value: u64, narrow: bool) -> bool {
    let cut = |value: u64| if narrow { value & 0xffff_ffff } else { value };
    let (value, wanted) = (cut(value), cut(arg.value));
    match arg.op {
        LinuxSeccompOperator::NotEqual => value != wanted,
        LinuxSeccompOperator::LessThan => value < wanted,
        LinuxSeccompOperator::LessEqual => value <= wanted,
        LinuxSeccompOperator::EqualTo => value == wanted,
        LinuxSeccompOperator::GreaterEqual => value >= wanted,
        LinuxSeccompOperator::GreaterThan => value > wanted,
        LinuxSeccompOperator::MaskedEqual => value & wanted == arg.value_two & wanted,
    }
}

/// What the words of the profile say for one call on one architecture: every answer that one of its rules gives, for which
/// of several holds is asked elsewhere.
fn meant(profile: &LinuxSeccomp, arch: Arch, number: u32, args: [u64; 6]) -> Vec<u32> {
    let default = answer(profile.default_action, profile.default_errno_ret).unwrap();
    let is = |name: &String| arch.number(name) == Some(number);
    let numbers = |rule: &LinuxSyscall| {
        rule.names
            .iter()
            .filter_map(|name| arch.number(name))
            .collect::<Vec<_>>()
    };
    let highest = profile.syscalls.iter().flat_map(numbers).max().unwrap_or(0);
    let lenient = [ALLOW, LOG, TRACE].contains(&(default & ACTION));
    if highest > 0 && number > highest && !lenient {
        return vec![ERRNO | ENOSYS];
    }
    let mut answers = Vec::new();
    for rule in &profile.syscalls {
        let action = answer(rule.action, rule.errno_ret).unwrap();
        let said = |arg: &LinuxSeccompArg| holds(arg, args[arg.index as usize], arch.is_narrow());
        if action == default || !rule.names.iter().any(is) {
            continue;
        }
        if rule.args.is_empty() {
            return vec![action];
        }
        if rule.args.iter().all(said) {
            answers.push(action);
        }
    }
    if answers.is_empty() {
        answers.push(default);
    }
    answers
}

const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "openat",
    "close",
    "clone",
    "personality",
    "ptrace",
    "ioctl",
    "mseal",
];

const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: &[&str] = &[
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..5_u64,
        Just(u64::MAX),
        Just(1 << 32),
        Just((1 << 32) + 1),
        Just(2 << 32),
        any::<u64>()
    ]
}

fn action() -> impl Strategy<Value = (&'static str, Option<u32>)> {
    (
        proptest::sample::select(ACTIONS),
        proptest::option::of(0..4096_u32),
    )
        .prop_map(|(action, errno)| {
            let has = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
            (action, errno.filter(|_| has))
        })
}

fn profiles() -> impl Strategy<Value = LinuxSeccomp> {
    let arg = (proptest::sample::select(OPERATORS), values(), values());
    let rule = (
        proptest::sample::subsequence(NAMES, 1..4),
        action(),
        proptest::collection::vec(arg, 0..4),
        0..3_usize,
    );
    (action(), proptest::collection::vec(rule, 0..7)).prop_map(|((default, errno), rules)| {
        let syscalls: Vec<_> = rules
            .into_iter()
            .map(|(names, (action, errno), args, first)| {
                let args: Vec<_> = args
                    .into_iter()
                    .enumerate()
                    .map(|(index, (op, value, two))| json!({ "index": first + index, "op": op, "value": value, "valueTwo": two }))
                    .collect();
                json!({ "names": names, "action": action, "errnoRet": errno, "args": args })
            })
            .collect();
        read(json!({
            "defaultAction": default,
            "defaultErrnoRet": errno,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
            "syscalls": syscalls,
        }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_do_what_profiles_say(
        profile in profiles(),
        name in proptest::sample::select(NAMES),
        offset in -1_i64..2,
        args in proptest::array::uniform6(values()),
    ) {
        // The same conditions with two answers are refused, and that is tested elsewhere.
        let Ok(program) = compile(&profile) else { return Ok(()) };
        for arch in Arch::ALL {
            let Some(number) = arch.number(name) else { continue };
            let Ok(number) = u32::try_from(i64::from(number) + offset) else { continue };
            if *arch == Arch::X32 && number < X32_BIT { continue }
            let (said, meant) = (run(&program, arch.audit(), number, args), meant(&profile, *arch, number, args));
            prop_assert!(meant.contains(&said), "{:?} {:#x}: {:#x} is not of {:x?}", arch, number, said, meant);
        }
        prop_assert_eq!(run(&program, 0x1234, 0, args), KILL_THREAD);
    }
}

#[test]
fn the_narrower_rule_decides_wherever_it_stands() {
    let rules = [
        json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [{ "index": 0, "value": 5, "op": "SCMP_CMP_LT" }] }),
        json!({ "names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 3, "op": "SCMP_CMP_EQ" }] }),
        json!({ "names": ["read"], "action": "SCMP_ACT_LOG", "args": [{ "index": 0, "value": 2, "op": "SCMP_CMP_LE" }] }),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let profile = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99,
            "syscalls": order.map(|at: usize| rules[at].clone()),
        });
        let answers = [1, 3, 4, 9].map(|value| asked(profile.clone(), "read", &[value]));
        assert_eq!(answers, [LOG, ALLOW, ERRNO | 1, ERRNO | 99], "{order:?}");
    }
}

#[test]
fn a_rule_without_conditions_overrules_those_with() {
    let with = json!({ "names": ["read"], "action": "SCMP_ACT_KILL", "args": [{ "index": 0, "value": 5, "op": "SCMP_CMP_EQ" }] });
    let without = json!({ "names": ["read"], "action": "SCMP_ACT_LOG" });
    for syscalls in [
        json!([with, without]),
        json!([without, with]),
        json!([without, { "names": ["read"], "action": "SCMP_ACT_TRAP" }]),
        // What the default says is no rule.
        json!([{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }, without]),
    ] {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": syscalls });
        assert_eq!(asked(profile, "read", &[5]), LOG);
    }
}

#[test]
fn two_conditions_on_one_argument_are_alternatives() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
            { "index": 0, "value": 0, "op": "SCMP_CMP_EQ" },
            { "index": 0, "value": 8, "op": "SCMP_CMP_EQ" },
        ] },
    ] });
    let answers = [0, 8, 9].map(|value| asked(profile.clone(), "personality", &[value]));
    assert_eq!(answers, [ALLOW, ALLOW, ERRNO | EPERM]);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    for (default, newer) in [
        ("SCMP_ACT_ERRNO", ERRNO | ENOSYS),
        ("SCMP_ACT_KILL", ERRNO | ENOSYS),
        ("SCMP_ACT_TRAP", ERRNO | ENOSYS),
        ("SCMP_ACT_TRACE", TRACE | 1),
        ("SCMP_ACT_LOG", LOG),
        ("SCMP_ACT_ALLOW", ALLOW),
    ] {
        let profile = json!({ "defaultAction": default, "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM"],
            "syscalls": [{ "names": ["read", "clone3", "set_tls"], "action": "SCMP_ACT_ALLOW" }] });
        let program = compile(&read(profile)).unwrap();
        let plain = answer(serde_json::from_value(json!(default)).unwrap(), None).unwrap();
        for (arch, bit) in [
            (Arch::X86_64, 0),
            (Arch::X86, 0),
            (Arch::X32, X32_BIT),
            (Arch::Arm, 0),
        ] {
            let said = |number| run(&program, arch.audit(), number | bit, [0; 6]);
            assert_eq!(
                [said(434), said(435), said(436)],
                [plain, ALLOW, newer],
                "{arch:?}"
            );
            assert_eq!(said(5000), newer, "{arch:?}");
        }
        let private = |number| run(&program, Arch::Arm.audit(), number, [0; 6]);
        assert_eq!([private(0xf_0001), private(0xf_0005)], [plain, ALLOW]);
    }
    // Nothing of an architecture is named: then nothing is said of what is newer.
    let none = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }] });
    assert_eq!(asked(none, "mseal", &[]), ERRNO | EPERM);
}

#[test]
fn other_abis_are_let_in_by_name_only() {
    let profile = |archs: &[&str]| {
        let json = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": archs,
            "syscalls": [{ "names": ["ptrace"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 }] });
        compile(&read(json)).unwrap()
    };
    let alone = profile(&[]);
    let said = |program: &Program, arch: Arch, number| run(program, arch.audit(), number, [0; 6]);
    assert_eq!(said(&alone, Arch::X86_64, 1), ALLOW);
    assert_eq!(said(&alone, Arch::X86_64, X32_BIT | 1), KILL_THREAD);
    assert_eq!(said(&alone, Arch::X86, 1), KILL_THREAD);
    // How a tracer has a call skipped.
    assert_eq!(said(&alone, Arch::X86_64, u32::MAX), ALLOW);
    let all = profile(&[
        "SCMP_ARCH_X86",
        "SCMP_ARCH_X32",
        "SCMP_ARCH_AARCH64",
        "SCMP_ARCH_S390X",
    ]);
    for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64] {
        assert_eq!(
            said(&all, arch, arch.number("ptrace").unwrap()),
            ERRNO | 7,
            "{arch:?}"
        );
        assert_eq!(said(&all, arch, arch.number("read").unwrap()), ALLOW, "{arch:?}");
    }
    assert_eq!(said(&all, Arch::Arm, 26), KILL_THREAD);
}

#[test]
fn a_call_by_way_of_another_is_the_same_call() {
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
        { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 40, "op": "SCMP_CMP_EQ" }] },
        { "names": ["shmget"], "action": "SCMP_ACT_KILL" },
    ] });
    let program = compile(&read(profile)).unwrap();
    let said = |number, first| run(&program, Arch::X86.audit(), number, [first, 0, 0, 0, 0, 0]);
    assert_eq!([said(359, 40), said(359, 2)], [ERRNO | EPERM, ALLOW]);
    // Behind a pointer nobody can tell which family it is.
    assert_eq!([said(102, 1), said(102, 2)], [ERRNO | EPERM, ALLOW]);
    assert_eq!(
        [said(395, 0), said(117, 23), said(117, 24)],
        [KILL_THREAD, KILL_THREAD, ALLOW]
    );
}

#[test]
fn every_action_has_the_kernels_number() {
    for (action, errno, answer) in [
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_KILL_THREAD", None, 0),
        ("SCMP_ACT_KILL_PROCESS", None, 0x8000_0000_u32),
        ("SCMP_ACT_TRAP", None, 0x0003_0000),
        ("SCMP_ACT_ERRNO", None, 0x0005_0001),
        ("SCMP_ACT_ERRNO", Some(4095), 0x0005_0fff),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(0xffff), 0x7ff0_ffff),
        ("SCMP_ACT_NOTIFY", None, 0x7fc0_0000),
        ("SCMP_ACT_LOG", None, 0x7ffc_0000),
    ] {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mkdir"], "action": action, "errnoRet": errno }] });
        assert_eq!(asked(profile, "mkdir", &[]), answer, "{action} {errno:?}");
    }
}

#[test]
fn flags_are_the_kernels() {
    let flags = |flags: Value, action: &str| {
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": flags,
            "syscalls": [{ "names": ["mkdir"], "action": action }] });
        compile(&read(profile)).map(|program| program.flags)
    };
    assert_eq!(flags(Value::Null, "SCMP_ACT_KILL"), Ok(4));
    assert_eq!(flags(json!([]), "SCMP_ACT_KILL"), Ok(0));
    let all = json!([
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"
    ]);
    assert_eq!(flags(all.clone(), "SCMP_ACT_KILL"), Ok(2 | 4));
    assert_eq!(flags(all, "SCMP_ACT_NOTIFY"), Ok(2 | 4 | 32));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let allow = |rest: Value| {
        let mut profile = json!({ "defaultAction": "SCMP_ACT_ALLOW" });
        profile
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        compile(&read(profile)).unwrap_err().to_string()
    };
    let rule = |action: &str, more: Value| {
        let mut rule = json!({ "names": ["write"], "action": action });
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    assert_eq!(
        allow(json!({ "architectures": ["PDP11"] })),
        "string PDP11 is not a valid arch for seccomp"
    );
    assert_eq!(
        allow(json!({ "flags": ["X"] })),
        "seccomp flag X is not known to runc"
    );
    assert_eq!(
        allow(json!({ "defaultAction": "SCMP_ACT_NOTIFY" })),
        "SCMP_ACT_NOTIFY cannot be used as default action"
    );
    assert_eq!(
        allow(json!({ "syscalls": [rule("SCMP_ACT_NOTIFY", json!({}))] })),
        "SCMP_ACT_NOTIFY cannot be used for the write syscall"
    );
    assert!(allow(json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000 })).contains("5000"));
    assert!(allow(json!({ "defaultErrnoRet": 1 })).contains("has none"));
    assert!(
        allow(json!({ "syscalls": [rule("SCMP_ACT_KILL", json!({ "errnoRet": 1 }))] })).contains("has none")
    );
    let arg = json!({ "args": [{ "index": 6, "value": 0, "op": "SCMP_CMP_EQ" }] });
    assert!(allow(json!({ "syscalls": [rule("SCMP_ACT_KILL", arg)] })).contains("0 to 5"));
    let arg = json!({ "args": [{ "index": 1, "value": 0, "op": "SCMP_CMP_EQ" }] });
    let twice = [
        rule("SCMP_ACT_KILL", arg.clone()),
        rule("SCMP_ACT_TRAP", arg.clone()),
    ];
    assert!(allow(json!({ "syscalls": twice })).contains("different actions"));
    let unknown = read(json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["read", "nope"], "action": "SCMP_ACT_KILL" }] }));
    assert_eq!(unknown_names(&unknown), ["nope"]);
    assert!(compile(&unknown).is_ok());
    // More than the kernel takes: every call of three architectures with a condition of its own.
    let names: Vec<String> = (0..470)
        .filter_map(|number| Arch::X86_64.name_of(number))
        .map(str::to_owned)
        .collect();
    let rules: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let args = [0, 1, 2]
                .map(|index| json!({ "index": index, "value": (at << 33) | 1, "op": "SCMP_CMP_EQ" }));
            json!({ "names": [name], "action": "SCMP_ACT_KILL", "args": args })
        })
        .collect();
    assert!(allow(json!({ "syscalls": rules })).contains("more than the kernel's 4096"));
}
