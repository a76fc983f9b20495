//! Programs run on a machine of our own, beside what the profile says in words.

use gantry_oci::runtime::LinuxSeccomp;
use proptest::prelude::*;

use super::*;

const ALLOW: u32 = 0x7fff_0000;

/// The kernel's machine, as far as filters use it.
fn run(program: &Program, arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend([0; 8]);
    for arg in args {
        data.extend(arg.to_ne_bytes());
    }
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let i = program.code[at];
        at += 1;
        let jump = |holds: bool| usize::from(if holds { i.jump_true } else { i.jump_false });
        match i.code {
            LOAD => {
                let from = i.operand as usize;
                a = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
            }
            AND => a &= i.operand,
            JUMP => at += i.operand as usize,
            EQUAL => at += jump(a == i.operand),
            GREATER => at += jump(a > i.operand),
            GREATER_EQUAL => at += jump(a >= i.operand),
            RETURN => return i.operand,
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn holds(arg: &LinuxSeccompArg, value: u64) -> bool {
    match arg.op {
        LinuxSeccompOperator::NotEqual => value != arg.value,
        LinuxSeccompOperator::LessThan => value < arg.value,
        LinuxSeccompOperator::LessEqual => value <= arg.value,
        LinuxSeccompOperator::EqualTo => value == arg.value,
        LinuxSeccompOperator::GreaterEqual => value >= arg.value,
        LinuxSeccompOperator::GreaterThan => value > arg.value,
        LinuxSeccompOperator::MaskedEqual => value & arg.value == arg.value_two,
    }
}

/// What the words of the profile say for one call on one architecture.
fn meant(profile: &LinuxSeccomp, arch: Arch, number: u32, args: [u64; 6]) -> u32 {
    let default = answer(profile.default_action, profile.default_errno_ret).unwrap();
    let numbers = |rule: &LinuxSyscall| {
        rule.names
            .iter()
            .filter_map(|n| arch.number(n))
            .collect::<Vec<_>>()
    };
    let highest = profile.syscalls.iter().flat_map(numbers).max();
    if highest.is_some_and(|highest| number > highest) && default != ALLOW {
        return ERRNO | ENOSYS;
    }
    for rule in profile
        .syscalls
        .iter()
        .filter(|rule| numbers(rule).contains(&number))
    {
        if rule.args.iter().all(|arg| holds(arg, args[arg.index as usize])) {
            return answer(rule.action, rule.errno_ret).unwrap();
        }
    }
    default
}

const NAMES: &[&str] = &[
    "read",
    "write",
    "open",
    "openat",
    "close",
    "clone",
    "personality",
    "socket",
    "ioctl",
    "mseal",
];

fn profiles() -> impl Strategy<Value = LinuxSeccomp> {
    let actions = prop_oneof![
        Just("SCMP_ACT_ALLOW"),
        Just("SCMP_ACT_ERRNO"),
        Just("SCMP_ACT_KILL"),
        Just("SCMP_ACT_LOG")
    ];
    let ops = prop_oneof![
        Just("SCMP_CMP_NE"),
        Just("SCMP_CMP_LT"),
        Just("SCMP_CMP_LE"),
        Just("SCMP_CMP_EQ"),
        Just("SCMP_CMP_GE"),
        Just("SCMP_CMP_GT"),
        Just("SCMP_CMP_MASKED_EQ"),
    ];
    let value = prop_oneof![
        0..4_u64,
        Just(u64::MAX),
        Just(1 << 32),
        Just((1 << 32) + 1),
        any::<u64>()
    ];
    let arg = (ops, value.clone(), value).prop_map(|(op, value, two)| (op, value, two));
    let rule = (
        proptest::sample::subsequence(NAMES, 1..4),
        actions,
        proptest::collection::vec(arg, 0..3),
    );
    proptest::collection::vec(rule, 0..6).prop_map(|rules| {
        let syscalls: Vec<_> = rules
            .into_iter()
            .map(|(names, action, args)| {
                let args: Vec<_> = args
                    .into_iter()
                    .enumerate()
                    .map(|(index, (op, value, two))| serde_json::json!({"index": index, "op": op, "value": value, "valueTwo": two}))
                    .collect();
                serde_json::json!({"names": names, "action": action, "args": args})
            })
            .collect();
        let json = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
            "syscalls": syscalls,
        });
        serde_json::from_value(json).unwrap()
    })
}

proptest! {
    #[test]
    fn programs_do_what_profiles_say(
        profile in profiles(),
        name in proptest::sample::select(NAMES),
        offset in -1_i64..2,
        args in proptest::array::uniform6(prop_oneof![0..4_u64, Just(1 << 32), any::<u64>()]),
    ) {
        let program = compile(&profile).unwrap();
        for arch in Arch::ALL {
            let Some(number) = arch.number(name) else { continue };
            let Ok(number) = u32::try_from(i64::from(number) + offset) else { continue };
            if *arch == Arch::X32 && number < X32_BIT { continue }
            prop_assert_eq!(run(&program, arch.audit(), number, args), meant(&profile, *arch, number, args), "{:?}", arch);
        }
        prop_assert_eq!(run(&program, 0x1234, 0, args), KILL_THREAD);
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let compiled =
        |json: &str| compile(&serde_json::from_str(json).unwrap()).map_err(|error| error.to_string());
    assert!(
        compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["PDP11"]}"#)
            .unwrap_err()
            .contains("PDP11")
    );
    assert!(
        compiled(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#)
            .unwrap_err()
            .contains("5000")
    );
    assert!(
        compiled(r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#)
            .unwrap_err()
            .contains("\"X\"")
    );
    let arg = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL",
        "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#;
    assert!(compiled(arg).unwrap_err().contains("0 to 5"));
    let unknown: LinuxSeccomp =
        serde_json::from_str(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","nope"],"action":"SCMP_ACT_KILL"}]}"#).unwrap();
    assert_eq!(unknown_names(&unknown), ["nope"]);
    assert!(compile(&unknown).is_ok());
}
