//! Filters really loaded: each by a thread of its own, which the kernel filters alone.

use std::fs;
use std::io::ErrorKind;

use gantry_oci::runtime::LinuxSeccomp;
use gantry_seccomp::profile::{self, Facts};
use gantry_seccomp::{compile, load};

/// Runs `what` in a thread that has loaded `filter`.
fn filtered<T: Send + 'static>(filter: LinuxSeccomp, what: impl FnOnce() -> T + Send + 'static) -> T {
    let program = compile(&filter).unwrap();
    let thread = std::thread::spawn(move || {
        gantry_sys::prctl::set_no_new_privs().unwrap();
        assert!(load::install(&program).unwrap().is_none());
        what()
    });
    thread.join().unwrap()
}

fn read(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_call_is_refused_with_its_number() {
    let filter = read(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
        "syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":99}]}"#,
    );
    let path = std::env::temp_dir().join(format!("gantry-filtered-{}", std::process::id()));
    let inner = path.clone();
    let error = filtered(filter, move || fs::create_dir(inner).unwrap_err());
    assert_eq!(error.raw_os_error(), Some(99));
    fs::create_dir(&path).unwrap();
    fs::remove_dir(&path).unwrap();
}

#[test]
fn arguments_decide() {
    // fchmod(2) and fchmodat(2) with mode 0600 only.
    let filter = read(
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["fchmod"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":384,"op":"SCMP_CMP_NE"}]}]}"#,
    );
    let file = tempfile().unwrap();
    let results = filtered(filter, move || {
        let set = |mode| file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
        (set(0o600).is_ok(), set(0o644).map_err(|error| error.kind()))
    });
    assert_eq!(results, (true, Err(ErrorKind::PermissionDenied)));
}

fn tempfile() -> std::io::Result<fs::File> {
    let path = std::env::temp_dir().join(format!("gantry-filtered-file-{}", std::process::id()));
    let file = fs::File::create(&path);
    fs::remove_file(path)?;
    file
}

#[test]
fn dockers_profile_lets_ordinary_work_be_done_and_no_namespace_be_made() {
    let facts = Facts {
        capabilities: vec!["CAP_CHOWN"],
        kernel: (6, 1),
    };
    let (listed, left) = filtered(profile::default(&facts), || {
        (
            fs::read_dir("/").unwrap().count(),
            gantry_sys::ns::unshare(0x0002_0000),
        )
    });
    assert!(listed > 0);
    assert_eq!(left.unwrap_err().errno(), 1, "EPERM");
}
