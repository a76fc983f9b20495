//! Debian's docker-registry on a free port of the loopback, with a store of its own.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use crate::cmd::{PATIENCE, Said, run};

/// The registry. Dropped, it ends.
pub struct Registry {
    child: Child,
    address: String,
    store: PathBuf,
}

impl Registry {
    /// Starts one whose store is in `dir`, and waits until it listens.
    pub fn start(dir: &Path) -> Self {
        let store = dir.join("registry");
        fs::create_dir_all(&store).expect("the registry's store");
        let config = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\nstorage:\n  delete: {{enabled: true}}\n  \
             filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            store.display()
        );
        fs::write(&config, text).expect("the registry's configuration");
        let mut command = Command::new("docker-registry");
        command
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}"));
        let log = child.stderr.take().expect("the registry's log");
        let (sender, receiver) = channel();
        // Read to the end, so that the registry never blocks on its log.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut registry = Self {
            child,
            address: String::new(),
            store,
        };
        let mut said = Vec::new();
        while registry.address.is_empty() {
            match receiver.recv_timeout(PATIENCE) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once("listening on ") {
                        registry.address = rest.split(['"', ' ', ',']).next().unwrap_or_default().to_owned();
                    }
                    said.push(line);
                }
                Err(_) => panic!("docker-registry did not listen: {said:#?}"),
            }
        }
        registry
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `127.0.0.1:PORT/name`.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// The file that holds a blob, if the registry has it: for tests that harm it.
    pub fn blob(&self, digest: &str) -> Option<PathBuf> {
        let hex = digest.strip_prefix("sha256:")?;
        let folder = self.store.join("docker/registry/v2/blobs/sha256");
        let path = folder.join(hex.get(..2)?).join(hex).join("data");
        path.is_file().then_some(path)
    }

    /// Copies everything under `tag` of an OCI layout to `name` (with its tag), by skopeo; returns what it said.
    #[track_caller]
    pub fn push(&self, layout: &Path, tag: &str, name: &str) -> Said {
        let mut command = Command::new("skopeo");
        command
            .args([
                "copy",
                "--quiet",
                "--all",
                "--dest-tls-verify=false",
                "--insecure-policy",
            ])
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}", self.reference(name)));
        run(&mut command).success()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
