//! Our filters beside those that libseccomp makes of the same profiles in Debian's runc: what runc loads is read from strace,
//! and both are asked about every call of every architecture.

use std::fs;
use std::process::Command;

use gantry_seccomp::machine::{self, Call};
use gantry_seccomp::profile::{self, Facts};
use gantry_seccomp::{Instruction, compile};
use gantry_testkit::cmd::run;
use serde_json::{Value, json};

use crate::container::Container;

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;

/// The filter that runc loads for a profile.
fn of_runc(profile: &Value) -> Vec<Instruction> {
    let container = Container::new("true");
    container
        .bundle
        .change(|config| config["linux"]["seccomp"] = profile.clone());
    let trace = container.place.join("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-v", "-e", "trace=seccomp,prctl", "-o"])
        .arg(&trace)
        .args(["runc", "--root"])
        .arg(container.place.join("runc"))
        .args(["run", "--bundle"])
        .arg(container.bundle.dir())
        .arg(container.id());
    run(&mut command);
    let text = fs::read_to_string(trace).expect("the trace");
    let line = text
        .lines()
        .find(|line| line.contains("{len=") && line.ends_with("= 0"))
        .unwrap_or_else(|| panic!("runc loaded no filter: {text}"));
    parse(line)
}

/// The instructions in a line of strace.
fn parse(line: &str) -> Vec<Instruction> {
    let (_, list) = line.split_once("filter=[").expect("a filter");
    let mut code = Vec::new();
    let list = list.replace("BPF_STMT(", "BPF_JUMP(");
    let (list, _) = list.split_once("]}").expect("its end");
    for part in list.split("BPF_JUMP(").skip(1) {
        let one = part.trim_end_matches([' ', ',', ')']).replace("BPF_", "");
        let fields: Vec<&str> = one.split(", ").collect();
        let number = |at: usize| fields.get(at).map_or(0, |field| value(field));
        code.push(Instruction {
            code: value(fields[0]) as u16,
            operand: number(1),
            jump_true: number(2) as u8,
            jump_false: number(3) as u8,
        });
    }
    code
}

/// A value of strace: words and numbers, joined by `|`.
fn value(field: &str) -> u32 {
    field.split('|').fold(0, |all, word| {
        all | match word {
            "LD" | "W" | "K" | "JA" | "SECCOMP_RET_KILL_THREAD" => 0,
            "ABS" => 0x20,
            "ALU" => 0x04,
            "AND" => 0x50,
            "JMP" => 0x05,
            "JEQ" => 0x10,
            "JGT" => 0x20,
            "JGE" => 0x30,
            "JSET" => 0x40,
            "RET" => 0x06,
            "SECCOMP_RET_KILL_PROCESS" => 0x8000_0000,
            "SECCOMP_RET_TRAP" => 0x0003_0000,
            "SECCOMP_RET_ERRNO" => 0x0005_0000,
            "SECCOMP_RET_TRACE" => 0x7ff0_0000,
            "SECCOMP_RET_USER_NOTIF" => 0x7fc0_0000,
            "SECCOMP_RET_LOG" => 0x7ffc_0000,
            "SECCOMP_RET_ALLOW" => 0x7fff_0000,
            number => match number.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            }
            .unwrap_or_else(|_| panic!("strace's word {number:?} is not known")),
        }
    })
}

/// Asks both filters about everything. `values` are what first arguments may be. Returns how many instructions both have.
#[track_caller]
fn same(name: &str, profile: &Value, values: &[u64]) -> (usize, usize) {
    let theirs = of_runc(profile);
    let ours = compile(&serde_json::from_value(profile.clone()).expect("a profile")).expect("a filter");
    let mut args = vec![[0; 6]];
    for first in values {
        for second in values {
            args.push([*first, *second, *first, *second, 0, 0]);
        }
    }
    let mut different = Vec::new();
    let numbers = || (0..520).chain([1000, 5000, 0xffff]);
    let calls = numbers()
        .map(|number| (X86_64, number))
        .chain(numbers().map(|number| (X86_64, number | X32_BIT)))
        .chain(numbers().map(|number| (X86, number)))
        .chain([(X86_64, u32::MAX), (0xc000_00b7, 1), (0, 0)]);
    for (arch, number) in calls {
        for args in &args {
            let call = Call {
                arch,
                number,
                args: *args,
            };
            let (ours, theirs) = (machine::run(&ours.code, &call), machine::run(&theirs, &call));
            if ours != theirs {
                different.push(format!("{call:x?}: ours {ours:x?}, libseccomp's {theirs:x?}"));
                break;
            }
        }
    }
    assert!(
        different.is_empty(),
        "{name}: {} calls differ: {:#?}",
        different.len(),
        &different[..different.len().min(8)]
    );
    (ours.code.len(), theirs.len())
}

const BOTH: [&str; 2] = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"];

fn rule(names: &[&str], action: &str, args: &[(u32, &str, u64, u64)]) -> Value {
    let args: Vec<Value> = args
        .iter()
        .map(|(index, op, value, two)| {
            json!({ "index": index, "op": format!("SCMP_CMP_{op}"), "value": value, "valueTwo": two })
        })
        .collect();
    json!({ "names": names, "action": format!("SCMP_ACT_{action}"), "args": args })
}

fn filter(default: &str, archs: &[&str], rules: Vec<Value>) -> Value {
    json!({ "defaultAction": format!("SCMP_ACT_{default}"), "architectures": archs, "syscalls": rules })
}

/// What every profile lets through, so that runc gets to the end.
fn needed() -> Value {
    let calls = "accept4 access arch_prctl brk capget capset chdir clone clone3 close close_range dup dup2 dup3 epoll_create1
        epoll_ctl epoll_pwait epoll_wait eventfd2 execve exit exit_group faccessat2 fchdir fcntl fgetxattr fstat fstatfs futex
        getcwd getdents64 getegid geteuid getgid getpid getppid getrandom getrlimit gettid getuid ioctl kill lseek lstat madvise
        mmap mprotect mremap munmap nanosleep newfstatat openat pidfd_open pipe2 poll prctl pread64 prlimit64 readlink readlinkat
        rseq rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield set_robust_list set_tid_address setgid
        setgroups setresgid setresuid setsid setuid sigaltstack stat statx tgkill timer_create timer_delete timer_settime umask
        uname wait4 write";
    rule(&calls.split_whitespace().collect::<Vec<_>>(), "ALLOW", &[])
}

#[test]
fn names_of_several_architectures() {
    let rules = vec![
        rule(&["mkdir", "socket", "bind", "ptrace", "nonsense"], "ERRNO", &[]),
        rule(&["shmget", "socketcall", "_llseek", "ioctl"], "KILL_PROCESS", &[]),
        rule(&["rt_sigpending", "ppoll"], "TRAP", &[]),
        rule(&["getrusage"], "TRACE", &[]),
        rule(&["sysinfo"], "LOG", &[]),
    ];
    same("own only", &filter("ALLOW", &[], rules.clone()), &[]);
    same(
        "x86",
        &filter("ALLOW", &["SCMP_ARCH_X86"], rules.clone()),
        &[1, 23],
    );
    same("x32", &filter("ALLOW", &["SCMP_ARCH_X32"], rules.clone()), &[]);
    same("all", &filter("LOG", &BOTH, rules), &[1, 2, 23]);
}

#[test]
fn calls_newer_than_the_profile() {
    for default in ["ERRNO", "KILL", "TRAP"] {
        let archs = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
        same(
            default,
            &filter(default, archs, vec![needed(), rule(&["read"], "ALLOW", &[])]),
            &[],
        );
    }
    // Debian's runc does not think of the own architecture here unless it is named; later ones do, as we do.
    let own = &["SCMP_ARCH_X86_64"];
    let mut own = filter("ERRNO", own, vec![needed(), rule(&["read"], "ALLOW", &[])]);
    same("own only", &own, &[]);
    own["defaultErrnoRet"] = json!(38);
    same("ENOSYS anyway", &own, &[]);
}

/// Calls of which none is another one's sibling on some architecture, for rules that are compared in one go.
const CALLS: &[&str] = &[
    "acct",
    "chroot",
    "getrusage",
    "iopl",
    "ioperm",
    "mincore",
    "mlock",
    "munlock",
    "personality",
    "reboot",
    "sethostname",
    "setdomainname",
    "settimeofday",
    "swapoff",
    "swapon",
    "sysinfo",
    "syslog",
    "vhangup",
];

#[test]
fn conditions() {
    let values = [
        0,
        1,
        2,
        3,
        5,
        8,
        9,
        0xffff_ffff,
        1 << 32,
        (1 << 32) | 3,
        3 << 32,
        u64::MAX,
    ];
    let mut rules = Vec::new();
    let mut calls = CALLS.iter();
    for op in ["NE", "LT", "LE", "EQ", "GE", "GT"] {
        for value in [3, (1 << 32) | 3] {
            let call = calls.next().expect("a call");
            rules.push(rule(&[call], "ERRNO", &[(0, op, value, 0), (1, "EQ", 5, 0)]));
        }
    }
    for (mask, wanted) in [(6, 2), (6, 3), (0xff_0000_0003, 0x1_0000_0003), (u64::MAX, 5)] {
        let call = calls.next().expect("a call");
        rules.push(rule(&[call], "ERRNO", &[(1, "MASKED_EQ", mask, wanted)]));
    }
    same("conditions", &filter("ALLOW", &BOTH, rules), &values);
}

#[test]
fn rules_that_contradict_each_other() {
    type One<'a> = (&'a str, &'a [(u32, &'a str, u64, u64)]);
    let cases: &[&[One<'_>]] = &[
        // The wide before the narrow, and behind it.
        &[("ERRNO", &[(0, "LT", 5, 0)]), ("TRAP", &[(0, "EQ", 3, 0)])],
        &[("TRAP", &[(0, "EQ", 3, 0)]), ("ERRNO", &[(0, "LT", 5, 0)])],
        // Bounds, from both sides.
        &[
            ("TRAP", &[(0, "LE", 3, 0)]),
            ("ERRNO", &[(0, "LE", 5, 0)]),
            ("LOG", &[(0, "LE", 1, 0)]),
        ],
        &[("TRAP", &[(0, "GE", 3, 0)]), ("ERRNO", &[(0, "GE", 5, 0)])],
        &[("TRAP", &[(0, "NE", 3, 0)]), ("ERRNO", &[(0, "NE", 5, 0)])],
        // Of different arguments, and of more and fewer.
        &[("TRAP", &[(0, "EQ", 3, 0)]), ("ERRNO", &[(1, "EQ", 5, 0)])],
        &[
            ("TRAP", &[(0, "EQ", 3, 0), (1, "EQ", 2, 0)]),
            ("ERRNO", &[(1, "EQ", 2, 0)]),
        ],
        // One without conditions first, last, and twice.
        &[("TRAP", &[]), ("ERRNO", &[(1, "EQ", 2, 0)])],
        &[("TRAP", &[(0, "EQ", 3, 0)]), ("ERRNO", &[])],
        &[("TRAP", &[]), ("ERRNO", &[])],
        // What the default says anyway.
        &[("ALLOW", &[]), ("ERRNO", &[(0, "EQ", 3, 0)])],
        // Several conditions on one argument.
        &[("TRAP", &[(0, "EQ", 3, 0), (0, "EQ", 5, 0), (1, "GT", 6, 0)])],
    ];
    let rules = cases
        .iter()
        .zip(CALLS)
        .flat_map(|(case, call)| case.iter().map(move |(action, args)| rule(&[call], action, args)));
    same(
        "contradictions",
        &filter("ALLOW", &BOTH, rules.collect()),
        &[0, 1, 2, 3, 4, 5, 6, 8],
    );
}

#[test]
fn dockers_profile() {
    for capabilities in [vec!["CAP_CHOWN"], vec!["CAP_SYS_ADMIN", "CAP_BPF"]] {
        // What Debian's libseccomp knows.
        let facts = Facts {
            capabilities,
            kernel: (5, 17),
        };
        let mut profile = serde_json::to_value(profile::default(&facts)).expect("a profile");
        for rule in profile["syscalls"].as_array_mut().expect("rules") {
            let names = rule["names"].as_array_mut().expect("names");
            names.retain(|name| name.as_str().is_some_and(|name| !NEWER.contains(&name)));
        }
        // Families, clone's flags and personalities are what its conditions are about.
        same(
            "docker",
            &profile,
            &[
                0,
                1,
                8,
                40,
                0x20000,
                0x20008,
                0x7e02_0000,
                0x0001_1000,
                0xffff_ffff,
            ],
        );
    }
}

/// Calls of which Debian's libseccomp has not heard.
const NEWER: &[&str] = &[
    "cachestat",
    "fchmodat2",
    "futex_requeue",
    "futex_wait",
    "futex_wake",
    "getxattrat",
    "listmount",
    "listxattrat",
    "lsm_get_self_attr",
    "lsm_list_modules",
    "lsm_set_self_attr",
    "map_shadow_stack",
    "mseal",
    "removexattrat",
    "setxattrat",
    "statmount",
    "uretprobe",
];
