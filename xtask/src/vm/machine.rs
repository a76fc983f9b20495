//! Boots the machine and stays with it until it is off: what it says goes to our output, its exit code comes back.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::image::Image;
use super::{Cgroups, tool};

/// For the kernel. No service waits for a terminal, and nobody reads systemd's own log.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 mitigations=off panic=-1 \
    systemd.show_status=0 systemd.getty_auto=0 systemd.log_target=null";

/// What makes the kernel and systemd have these cgroups.
fn hierarchies(cgroups: Cgroups) -> &'static str {
    match cgroups {
        Cgroups::V2 => "cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1",
        Cgroups::Hybrid => "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=0",
        Cgroups::V1 => "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1",
    }
}

/// Boots `image` with the disk `payload`, and returns the code that the payload's script ended with.
pub(crate) fn boot(image: &Image, payload: &Path, cgroups: Cgroups, deadline: Duration) -> Result<i32> {
    let console = payload.with_extension("console");
    let code = payload.with_extension("code");
    let mut command = command(image, payload, &console, &code, accelerator());
    command.args(["-append", &format!("{COMMAND_LINE} {}", hierarchies(cgroups))]);
    let child = command
        .stdin(Stdio::null())
        .spawn()
        .context("run qemu-system-x86_64")?;
    let ended = wait(child, deadline);
    let said = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
    let answer = fs::read_to_string(&code).unwrap_or_default();
    let _ = fs::remove_file(&console);
    let _ = fs::remove_file(&code);
    let tail = |said: &str| {
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    };
    match (ended, answer.trim().parse()) {
        (Ok(()), Ok(code)) => Ok(code),
        (Ok(()), Err(_)) => bail!(
            "the machine went off before the tests had ended; its console:\n{}",
            tail(&said)
        ),
        (Err(error), _) => Err(error.context(format!("the machine's console:\n{}", tail(&said)))),
    }
}

/// Waits for the machine to go off, and takes its power away at the deadline.
fn wait(mut child: Child, deadline: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.success() {
                true => Ok(()),
                false => bail!("qemu-system-x86_64 failed: {status}"),
            };
        }
        if begun.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("the machine was not done after {} s", deadline.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The kernel's help if the processor can give it. That the device is there does not say so: in a virtual machine it may
/// be an empty promise.
fn accelerator() -> &'static str {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = processor
        .split_whitespace()
        .any(|flag| flag == "svm" || flag == "vmx");
    let open = || fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    match able && open().is_ok() {
        true => "kvm",
        false => "tcg,thread=multi,tb-size=256",
    }
}

fn command(image: &Image, payload: &Path, console: &Path, code: &Path, accelerator: &str) -> Command {
    let mut command = tool("qemu-system-x86_64");
    command.args(["-accel", accelerator, "-cpu", "max", "-smp", "2", "-m", "1536"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    for serial in [
        format!("file:{}", console.display()),
        "stdio".to_owned(),
        format!("file:{}", code.display()),
    ] {
        command.args(["-serial", &serial]);
    }
    command.arg("-kernel").arg(&image.kernel);
    command.arg("-initrd").arg(&image.initramfs);
    // What is written to a disk is forgotten: every run begins with the same machine, and two may share it.
    for (name, disk) in [("root", image.root.as_path()), ("payload", payload)] {
        let drive = format!("if=none,id={name},file={},format=raw,snapshot=on", disk.display());
        command.args(["-drive", &drive]);
        command.args(["-device", &format!("virtio-blk-pci,drive={name}")]);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_hangs_is_ended() {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let error = wait(child, Duration::from_millis(60)).unwrap_err();
        assert!(error.to_string().contains("was not done"), "{error}");
    }

    #[test]
    fn both_disks_are_forgotten() {
        let image = Image {
            kernel: "/k".into(),
            initramfs: "/i".into(),
            root: "/r".into(),
        };
        let command = command(&image, Path::new("/p"), Path::new("/c"), Path::new("/e"), "tcg");
        let drives = command
            .get_args()
            .filter(|arg| arg.to_string_lossy().ends_with("snapshot=on"));
        assert_eq!(drives.count(), 2);
    }
}
