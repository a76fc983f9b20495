//! Hands the program of version 2's device rules to the kernel (bpf(2)). Knows nothing of rules.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::translate::devices::Instruction;

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;

const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Several programs at one cgroup: each must allow.
const ALLOW_MULTI: u32 = 2;

/// The first part of `union bpf_attr` for loading; what follows is zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    code: u64,
    license: u64,
    rest: [u64; 12],
}

/// That for attaching and detaching.
#[repr(C)]
struct Attach {
    cgroup: u32,
    program: u32,
    kind: u32,
    flags: u32,
    rest: [u64; 12],
}

/// That for asking what is attached.
#[repr(C)]
struct Query {
    cgroup: u32,
    kind: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    rest_word: u32,
    rest: [u64; 8],
}

/// That for getting at a program.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
    rest_word: u32,
    rest: [u64; 12],
}

fn bpf<T>(command: libc::c_long, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the attributes are a live structure of the size that is told, and each pointer in it is that of a value that
    // the caller keeps until this returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<T>(),
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value as i32),
    }
}

fn bpf_fd<T>(command: libc::c_long, attributes: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the command returned a new descriptor of ours; the kernel sets its close-on-exec flag.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `program` the one filter of devices of the cgroup; none takes away what was there.
///
/// The new one is there before the old one goes, so that no device is free in between.
pub(crate) fn attach(folder: &Path, program: Option<&[Instruction]>) -> io::Result<()> {
    let cgroup = fs::File::open(folder)?;
    let cgroup = cgroup.as_raw_fd() as u32;
    let old = attached(cgroup)?;
    if let Some(code) = program {
        let license = c"Apache-2.0";
        let program = bpf_fd(
            PROG_LOAD,
            &mut Load {
                kind: TYPE_CGROUP_DEVICE,
                count: code.len() as u32,
                code: code.as_ptr() as u64,
                license: license.as_ptr() as u64,
                rest: [0; 12],
            },
        )?;
        let program = program.as_raw_fd() as u32;
        bpf(
            PROG_ATTACH,
            &mut Attach {
                cgroup,
                program,
                kind: ATTACH_CGROUP_DEVICE,
                flags: ALLOW_MULTI,
                rest: [0; 12],
            },
        )?;
    }
    for id in old {
        let program = bpf_fd(
            PROG_GET_FD_BY_ID,
            &mut ById {
                id,
                next: 0,
                flags: 0,
                rest_word: 0,
                rest: [0; 12],
            },
        )?;
        let program = program.as_raw_fd() as u32;
        bpf(
            PROG_DETACH,
            &mut Attach {
                cgroup,
                program,
                kind: ATTACH_CGROUP_DEVICE,
                flags: 0,
                rest: [0; 12],
            },
        )?;
    }
    Ok(())
}

/// The numbers of the programs that are there.
fn attached(cgroup: u32) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; 64];
    let mut query = Query {
        cgroup,
        kind: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: ids.len() as u32,
        rest_word: 0,
        rest: [0; 8],
    };
    bpf(PROG_QUERY, &mut query)?;
    Ok(ids[..(query.count as usize).min(ids.len())].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::devices::program;

    /// Where a hierarchy of version 2 is mounted, even one without controllers.
    fn unified() -> Option<&'static Path> {
        ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
            .map(Path::new)
            .into_iter()
            .find(|path| path.join("cgroup.controllers").exists())
    }

    #[test]
    fn the_kernel_obeys_the_rules() {
        let Some(mount) = unified() else { return };
        let folder = mount.join(format!("gantry-devices-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let reads = |device: &str| {
            let script = format!("echo $$ > {}/cgroup.procs && : < {device}", folder.display());
            std::process::Command::new("sh")
                .args(["-c", &script])
                .stderr(std::process::Stdio::null())
                .status()
                .unwrap()
                .success()
        };
        let set = |json: &str| {
            let rules: Vec<_> = serde_json::from_str(json).unwrap();
            attach(&folder, program(&rules).unwrap().as_deref()).unwrap();
        };
        let result = std::panic::catch_unwind(|| {
            assert!(reads("/dev/zero"));
            set(r#"[{"allow":false},{"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"}]"#);
            assert!(reads("/dev/null") && !reads("/dev/zero"));
            set(r#"[{"allow":false},{"allow":true,"type":"c","major":1,"access":"r"}]"#);
            assert!(reads("/dev/zero"), "the old program is gone");
            set(r#"[{"allow":true}]"#);
            assert!(reads("/dev/zero"));
        });
        fs::remove_dir(&folder).unwrap();
        result.unwrap();
    }
}
