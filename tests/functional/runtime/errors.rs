//! What cannot be done is said clearly, with a code, and leaves nothing half-made.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use gantry_testkit::cmd::run;
use serde_json::json;

use crate::Runtime;

crate::on_both! {
    what_cannot_be_run
    what_makes_no_sense
    ids_are_checked
    errors_are_logged
}

fn what_cannot_be_run(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    bundle.args(&["nope"]);
    let said = runtime
        .run(&bundle)
        .failure("exec: \"nope\": executable file not found in $PATH");
    assert_eq!(said.code, 1, "{said:?}");
    fs::write(bundle.rootfs().join("bin/plain"), "#!/bin/sh\n").expect("a file");
    fs::set_permissions(
        bundle.rootfs().join("bin/plain"),
        fs::Permissions::from_mode(0o644),
    )
    .expect("its mode");
    bundle.args(&["/bin/plain"]);
    runtime.run(&bundle).failure("permission denied");
    bundle.args(&["/not/there"]);
    runtime
        .run(&bundle)
        .failure("exec: \"/not/there\": stat /not/there: no such file or directory");
    fs::write(bundle.rootfs().join("bin/junk"), "\x7fELFjunk").expect("a file");
    fs::set_permissions(
        bundle.rootfs().join("bin/junk"),
        fs::Permissions::from_mode(0o755),
    )
    .expect("its mode");
    bundle.args(&["/bin/junk"]);
    runtime.run(&bundle).failure("exec format error");
    runtime.call(["state", &runtime.id()]).failure("does not exist");
    bundle.shell("exit 0");
    runtime.run(&bundle).success();
}

fn what_makes_no_sense(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    let good = fs::read(bundle.dir().join("config.json")).expect("the configuration");
    let bad = |name: &str, change: &dyn Fn(&mut serde_json::Value)| {
        fs::write(bundle.dir().join("config.json"), &good).expect("the configuration");
        bundle.change(change);
        let said = runtime.run(&bundle);
        assert!(said.code != 0 && !said.stderr.is_empty(), "{name}: {said:?}");
        runtime.call(["state", &runtime.id()]).failure("does not exist");
    };
    bad("no arguments", &|config| config["process"]["args"] = json!([]));
    bad("a root that is not there", &|config| {
        config["root"]["path"] = json!("nothing")
    });
    bad("a source that is not there", &|config| {
        let mount = json!({ "destination": "/x", "source": "/not/there", "options": ["bind"] });
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    bad("an unknown file system", &|config| {
        let mount = json!({ "destination": "/x", "source": "x", "type": "nosuchfs" });
        config["mounts"].as_array_mut().expect("mounts").push(mount);
    });
    bad("a namespace that is not there", &|config| {
        config["linux"]["namespaces"][1] = json!({ "type": "network", "path": "/not/there" });
    });
    bad("an unknown seccomp action", &|config| {
        config["linux"]["seccomp"] = json!({ "defaultAction": "NO" })
    });
    bad("swap below memory", &|config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": 100 << 20, "swap": 50 << 20 });
    });
    bad("a relative working directory", &|config| {
        config["process"]["cwd"] = json!("tmp")
    });
    fs::write(bundle.dir().join("config.json"), "{ no json").expect("the configuration");
    assert_ne!(runtime.run(&bundle).code, 0);
    fs::remove_file(bundle.dir().join("config.json")).expect("the configuration");
    runtime.run(&bundle).failure("config.json");
}

fn ids_are_checked(runtime: &Runtime) {
    let bundle = runtime.bundle("true");
    for id in ["../x", "a/b", "", ".", "..", "a b"] {
        let said = run(runtime.command(["run", "-b"]).arg(bundle.dir()).arg(id));
        assert!(said.code != 0, "{id:?}: {said:?}");
        assert!(!runtime.place.join("x").exists());
    }
    runtime.call(["state", "nobody"]).failure("does not exist");
    runtime.call(["start", "nobody"]).failure("does not exist");
    runtime.call(["kill", "nobody", "KILL"]).failure("does not exist");
    runtime.call(["exec", "nobody", "true"]).failure("does not exist");
}

fn errors_are_logged(runtime: &Runtime) {
    let log = runtime.place.join("log");
    let mut command = runtime.command(["--log-format", "json", "--log"]);
    let said = run(command.arg(&log).args(["state", "nobody"])).failure("does not exist");
    assert_eq!(said.stderr, "container does not exist\n");
    let said = runtime.call(["state", "nobody"]).failure("does not exist");
    assert!(
        said.stderr
            .contains(" level=error msg=\"container does not exist\""),
        "{said:?}"
    );
    let text = fs::read_to_string(&log).expect("the log");
    let line: serde_json::Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["level"], "error");
    assert!(
        line["msg"]
            .as_str()
            .expect("a message")
            .contains("does not exist"),
        "{line}"
    );
    assert!(line["time"].is_string());
}
