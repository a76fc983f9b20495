//! Links of the image where folders are expected: lying there, and put there while the container is being made. Whoever shares
//! a volume with a container that is being made can do that. The host must not be touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gantry_testkit::cmd::Said;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

use crate::container::Container;

/// What is below a folder of the host, to see that it stays so.
fn listing(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .expect("the host's folder")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// A folder of the host with something in it.
fn host(container: &Container) -> std::path::PathBuf {
    let host = container.place.join("host");
    fs::create_dir(&host).expect("a folder");
    for name in ["null", "ptmx", "fd", "secret"] {
        fs::write(host.join(name), name).expect("a file");
    }
    host
}

/// CVE-2023-27561, CVE-2019-19921: `/proc` of the image is a link, so that what is masked there is not there.
#[test]
fn the_kernels_file_systems_are_mounted_on_folders() {
    for name in ["proc", "sys"] {
        for target in ["/tmp", "../../host", "tmp"] {
            let container = Container::new("true");
            host(&container);
            let place = container.bundle.rootfs().join(name);
            fs::remove_dir(&place).expect("the image's folder");
            symlink(target, &place).expect("a link");
            container.run().failure(&format!("rootfs at \"/{name}\""));
            container.is_gone();
        }
    }
}

/// CVE-2026-41579: `/dev` of the image leads to a folder of the host, where devices and links would be made.
#[test]
fn devices_are_made_in_the_container() {
    for relative in [false, true] {
        let container = Container::new("ls -l /dev/");
        let host = host(&container);
        container.with_the_images_dev();
        let dev = container.bundle.rootfs().join("dev");
        fs::remove_dir_all(&dev).expect("the image's folder");
        let target = if relative { Path::new("../../host") } else { &host };
        symlink(target, &dev).expect("a link");
        let said = container.run();
        assert_eq!(listing(&host), ["fd", "null", "ptmx", "secret"], "{said:?}");
        for name in listing(&host) {
            assert_eq!(fs::read_to_string(host.join(&name)).ok().as_deref(), Some(&*name));
        }
        container.is_gone();
    }
}

/// CVE-2024-45310, CVE-2021-30465: places of mounts and the working directory are made in the container, wherever links lead.
#[test]
fn places_are_made_in_the_container() {
    let container = Container::new("cat /proc/self/mountinfo; pwd");
    let host = host(&container);
    let rootfs = container.bundle.rootfs();
    symlink(&host, rootfs.join("absolute")).expect("a link");
    symlink("../../../../../../../../", rootfs.join("up")).expect("a link");
    for place in ["/absolute/new", "/absolute", "/up/new", "/up/tmp/../new2"] {
        for source in ["tmpfs", "folder", "file"] {
            container.bundle.change(|config| {
                let mounts = config["mounts"].as_array_mut().expect("mounts");
                mounts.truncate(7);
                let from = container.place.join(source);
                mounts.push(match source {
                    "tmpfs" => json!({ "destination": place, "type": "tmpfs", "source": "tmpfs" }),
                    _ => json!({ "destination": place, "type": "bind", "source": from, "options": ["bind"] }),
                });
                config["process"]["cwd"] = json!(format!("{place}-work"));
            });
            let _ = fs::create_dir(container.place.join("folder"));
            let _ = fs::write(container.place.join("file"), "");
            let said = container.run();
            assert_eq!(listing(&host), ["fd", "null", "ptmx", "secret"], "{said:?}");
            assert!(
                !Path::new("/new").exists() && !Path::new("/new2").exists(),
                "{said:?}"
            );
            container.is_gone();
        }
    }
}

/// How long is swapped in each of the cases.
const TIME: Duration = Duration::from_millis(1500);

/// Swaps a folder of the image with a link to the host while containers are made, and checks what comes of each.
fn swap(folder: &str, prepare: impl Fn(&Container), check: impl Fn(&Said)) {
    let container =
        Container::new("cat /proc/self/mountinfo || cat /the-link/self/mountinfo; test ! -e /host-is-here");
    let host = host(&container);
    fs::write(host.join("host-is-here"), "").expect("a file");
    let before = listing(&host);
    let rootfs = container.bundle.rootfs();
    fs::create_dir_all(rootfs.join(folder)).expect("a folder");
    prepare(&container);
    let link = container.bundle.rootfs().join("the-link");
    symlink(&host, &link).expect("a link");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // When a check fails, too.
        let ending = Ending(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, rootfs.join(folder), CWD, &link, RenameFlags::EXCHANGE);
            }
        });
        let begun = Instant::now();
        let (mut made, mut refused) = (0, 0);
        while begun.elapsed() < TIME || made + refused < 10 {
            let said = container.run();
            let after = listing(&host);
            if said.code == 0 {
                made += 1;
                check(&said);
            } else {
                refused += 1;
                assert_eq!(said.stderr.lines().count(), 1, "{said:?}");
            }
            assert_eq!(after, before, "{said:?}");
        }
        drop(ending);
    });
    container.is_gone();
}

/// Ends the swapping.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether something is mounted at the end of a path.
fn mounted(said: &Said, kind: &str) -> usize {
    let lines = said.stdout.lines();
    lines.filter(|line| line.contains(&format!(" - {kind} "))).count()
}

/// CVE-2021-30465.
#[test]
fn a_mounts_place_may_be_swapped() {
    swap(
        "a/b",
        |container| {
            container.mount(json!({ "destination": "/a/b/tmpfs", "type": "tmpfs", "source": "tmpfs" }));
            container.mount(json!({ "destination": "/a/b/secret", "type": "bind", "source": "/bin/busybox", "options": ["bind", "ro"] }));
            container.mount(json!({ "destination": "/a/b", "type": "tmpfs", "source": "tmpfs" }));
            container
                .bundle
                .change(|config| config["process"]["cwd"] = json!("/a/b/new/work"));
        },
        // Those of `/dev`, `/dev/shm`, masks, and these two: none went elsewhere.
        |said| assert!(mounted(said, "tmpfs") >= 4, "{said:?}"),
    );
}

/// CVE-2023-27561, as a race.
#[test]
fn proc_may_be_swapped() {
    swap(
        "proc",
        |_| {},
        |said| {
            // It may have been moved, but not without what hides and protects parts of it.
            for name in ["kcore", "keys", "timer_list", "sysrq-trigger", "sys"] {
                if !Path::new("/proc").join(name).exists() {
                    continue;
                }
                let there = said.stdout.is_empty()
                    || ["proc", "the-link"]
                        .iter()
                        .any(|at| said.stdout.contains(&format!(" /{at}/{name} ")));
                assert!(there, "{name}: {said:?}");
            }
        },
    );
}

/// CVE-2026-41579, as a race; CVE-2025-31133 and CVE-2025-52565 too: the null device and the console are found in there.
#[test]
fn dev_may_be_swapped() {
    swap(
        "dev",
        |container| {
            container.with_the_images_dev();
            container.mount(
                json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }),
            );
            container.bundle.change(|config| {
                config["process"]["terminal"] = json!(true);
                config["mounts"].as_array_mut().expect("mounts").retain(|one| {
                    !one["destination"]
                        .as_str()
                        .is_some_and(|place| ["/dev/shm", "/dev/mqueue"].contains(&place))
                });
            });
        },
        |_| {},
    );
}
