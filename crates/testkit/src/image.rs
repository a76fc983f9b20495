//! Images built from scratch: layers with any entry a tar may have, in any compression, for any platform; as an OCI layout,
//! or as the archive that `docker load` takes.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use sha2::Digest as _;
use tar::EntryType;

/// The applets that the suites call.
pub(crate) const APPLETS: &[&str] = &[
    "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname", "echo", "env",
    "expr", "false", "find", "grep", "head", "hostname", "id", "ifconfig", "ip", "kill", "ln", "ls",
    "md5sum", "mkdir", "mkfifo", "mknod", "mount", "mv", "nc", "nslookup", "ping", "printf", "ps", "pwd",
    "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sh", "sleep", "sort", "stat", "stty", "sync", "tail",
    "tar", "tee", "test", "timeout", "touch", "tr", "true", "tty", "umount", "uname", "usleep", "wc", "wget",
    "xargs", "yes",
];

pub(crate) const PASSWD: &[u8] =
    b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n";
pub(crate) const GROUP: &[u8] = b"root:x:0:\ndaemon:x:1:\naudio:x:29:daemon\nnogroup:x:65534:\n";

/// How a layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A layer that is being written: a tar whose entries appear in the order of the calls.
pub struct Layer {
    tar: tar::Builder<Vec<u8>>,
    /// The time of every entry from now on, in seconds since the epoch.
    pub mtime: u64,
    /// The owner and group of every entry from now on.
    pub owner: (u64, u64),
    /// The modes of the files there are, for links to them.
    modes: HashMap<String, u32>,
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            mtime: 1_700_000_000,
            owner: (0, 0),
            modes: HashMap::new(),
        }
    }

    /// A root file system of Debian's static busybox.
    pub fn busybox() -> Self {
        let program = fs::read("/bin/busybox").expect("/bin/busybox: install busybox-static");
        let mut layer = Self::new();
        for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"] {
            layer.dir(dir, if dir == "tmp" { 0o1777 } else { 0o755 });
        }
        layer.file("bin/busybox", 0o755, &program);
        for applet in APPLETS {
            layer.hard_link(&format!("bin/{applet}"), "bin/busybox");
        }
        layer
            .file("etc/passwd", 0o644, PASSWD)
            .file("etc/group", 0o644, GROUP);
        layer
    }

    /// A folder.
    pub fn dir(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(
            &format!("{}/", path.trim_end_matches('/')),
            EntryType::Directory,
            mode,
            b"",
        )
    }

    /// A file.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) -> &mut Self {
        self.modes.insert(path.to_owned(), mode);
        self.entry(path, EntryType::Regular, mode, data)
    }

    /// A file with extended attributes.
    pub fn file_with_xattrs(
        &mut self,
        path: &str,
        mode: u32,
        data: &[u8],
        xattrs: &[(&str, &[u8])],
    ) -> &mut Self {
        let names: Vec<String> = xattrs
            .iter()
            .map(|(name, _)| format!("SCHILY.xattr.{name}"))
            .collect();
        let pairs = names
            .iter()
            .map(String::as_str)
            .zip(xattrs.iter().map(|(_, value)| *value));
        self.tar
            .append_pax_extensions(pairs)
            .expect("extended attributes in the layer");
        self.file(path, mode, data)
    }

    /// A symbolic link. The target may be anything.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.link(path, target, EntryType::Symlink, 0o777)
    }

    /// A hard link to an entry. It has that one's mode, as tar writes it: Docker sets it once more, umoci does not.
    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Self {
        let mode = self.modes.get(target).copied().unwrap_or(0o644);
        self.link(path, target, EntryType::Link, mode)
    }

    /// A character device, a block device or (0, 0 and `EntryType::Fifo`) a FIFO.
    pub fn node(&mut self, path: &str, kind: EntryType, mode: u32, major: u32, minor: u32) -> &mut Self {
        let mut header = self.header(kind, mode, 0);
        header.set_device_major(major).expect("the device's number");
        header.set_device_minor(minor).expect("the device's number");
        self.append(header, path, b"")
    }

    /// The mark that `path` of the layers below is gone.
    pub fn whiteout(&mut self, path: &str) -> &mut Self {
        let (dir, name) = path
            .rsplit_once('/')
            .map_or(("", path), |(dir, name)| (dir, name));
        let mark = format!("{dir}{}.wh.{name}", if dir.is_empty() { "" } else { "/" });
        self.file(&mark, 0, b"")
    }

    /// The mark that of the folder `path` nothing of the layers below is left.
    pub fn opaque(&mut self, path: &str) -> &mut Self {
        self.file(&format!("{path}/.wh..wh..opq"), 0, b"")
    }

    /// Any entry.
    pub fn entry(&mut self, path: &str, kind: EntryType, mode: u32, data: &[u8]) -> &mut Self {
        let header = self.header(kind, mode, data.len());
        self.append(header, path, data)
    }

    fn link(&mut self, path: &str, target: &str, kind: EntryType, mode: u32) -> &mut Self {
        let mut header = self.header(kind, mode, 0);
        match header.as_gnu_mut() {
            Some(gnu) if target.len() < gnu.linkname.len() => {
                gnu.linkname[..target.len()].copy_from_slice(target.as_bytes())
            }
            _ => panic!("{target}: too long for these tests"),
        }
        self.append(header, path, b"")
    }

    fn header(&self, kind: EntryType, mode: u32, size: usize) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size as u64);
        header.set_mtime(self.mtime);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header
    }

    /// The path is written as it is, also one that no honest tool would write.
    fn append(&mut self, mut header: tar::Header, path: &str, data: &[u8]) -> &mut Self {
        match header.as_gnu_mut() {
            Some(gnu) if path.len() < gnu.name.len() => {
                gnu.name[..path.len()].copy_from_slice(path.as_bytes())
            }
            _ => {
                self.tar
                    .append_data(&mut header, path, data)
                    .expect("an entry of the layer");
                return self;
            }
        }
        header.set_cksum();
        self.tar.append(&header, data).expect("an entry of the layer");
        self
    }

    /// The finished tar.
    pub fn finish(self) -> Vec<u8> {
        self.tar.into_inner().expect("the layer")
    }
}

struct Stored {
    media_type: &'static str,
    diff_id: String,
    tar: Vec<u8>,
    data: Vec<u8>,
}

/// An image for one platform.
pub struct Image {
    layers: Vec<Stored>,
    architecture: String,
    /// `config` of the configuration: `Cmd`, `Env`, `User` …
    config: Value,
}

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

/// A blob: its digest, and its bytes.
pub type Blob = (String, Vec<u8>);

impl Image {
    /// One without layers, for this machine, that runs a shell.
    pub fn new() -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Self {
            layers: Vec::new(),
            architecture: own_architecture().to_owned(),
            config: json!({ "Cmd": ["sh"], "Env": [path] }),
        }
    }

    /// One layer of busybox.
    pub fn busybox() -> Self {
        Self::new().layer(Layer::busybox(), Compression::Gzip)
    }

    /// Adds a layer on top.
    pub fn layer(self, layer: Layer, compression: Compression) -> Self {
        self.tar_layer(layer.finish(), compression)
    }

    /// Adds a layer whose tar was made elsewhere.
    pub fn tar_layer(mut self, tar: Vec<u8>, compression: Compression) -> Self {
        let (media_type, data) = match compression {
            Compression::None => ("application/vnd.oci.image.layer.v1.tar", tar.clone()),
            Compression::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(&tar).expect("gzip");
                (
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                    encoder.finish().expect("gzip"),
                )
            }
            Compression::Zstd => (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                zstd::encode_all(&tar[..], 1).expect("zstd"),
            ),
        };
        self.layers.push(Stored {
            media_type,
            diff_id: digest(&tar),
            tar,
            data,
        });
        self
    }

    /// Says which architecture it is for, in Go's word.
    pub fn architecture(mut self, name: &str) -> Self {
        self.architecture = name.to_owned();
        self
    }

    /// Sets a field of `config`: `Cmd`, `Entrypoint`, `User`, `Labels` …
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.config[field] = value;
        self
    }

    fn configuration(&self) -> Vec<u8> {
        let diff_ids: Vec<&str> = self.layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let history: Vec<Value> = diff_ids
            .iter()
            .map(|_| json!({ "created": "2024-01-01T00:00:00Z", "created_by": "test" }))
            .collect();
        let config = json!({
            "architecture": self.architecture,
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
            "history": history,
        });
        serde_json::to_vec(&config).expect("JSON")
    }

    /// Everything the image is made of: the layers, the configuration, and last the manifest.
    pub fn blobs(&self) -> Vec<Blob> {
        let blob = |data: Vec<u8>| (digest(&data), data);
        let mut blobs: Vec<Blob> = self.layers.iter().map(|layer| blob(layer.data.clone())).collect();
        let layers: Vec<Value> = blobs
            .iter()
            .zip(&self.layers)
            .map(|((digest, data), layer)| descriptor(layer.media_type, digest, data))
            .collect();
        let (config_digest, config) = blob(self.configuration());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config_digest, &config),
            "layers": layers,
        });
        blobs.push((config_digest, config));
        blobs.push(blob(serde_json::to_vec(&manifest).expect("JSON")));
        blobs
    }

    /// An archive of the image under `name` (with its tag), as `docker save` makes one.
    pub fn archive(&self, name: &str) -> Vec<u8> {
        let config = self.configuration();
        let config_name = format!("{}.json", hex(&config));
        let mut archive = Layer::new();
        let mut names = Vec::new();
        for (at, layer) in self.layers.iter().enumerate() {
            names.push(format!("{at}.tar"));
            archive.file(&names[at], 0o644, &layer.tar);
        }
        archive.file(&config_name, 0o644, &config);
        let manifest = json!([{ "Config": config_name, "RepoTags": [name], "Layers": names }]);
        archive.file(
            "manifest.json",
            0o644,
            &serde_json::to_vec(&manifest).expect("JSON"),
        );
        archive.finish()
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Writes images as an OCI layout into `dir` and gives them the tag: one by itself, several as an index of platforms.
/// Returns the digest that the tag has.
pub fn write_layout(dir: &Path, tag: &str, images: &[&Image]) -> String {
    let store = dir.join("blobs/sha256");
    fs::create_dir_all(&store).expect("the layout's folder");
    let keep = |digest: &str, data: &[u8]| {
        let name = digest.trim_start_matches("sha256:");
        fs::write(store.join(name), data).expect("a blob of the layout");
    };
    let mut manifests = Vec::new();
    for image in images {
        let blobs = image.blobs();
        for (digest, data) in &blobs {
            keep(digest, data);
        }
        let (digest, data) = blobs.last().expect("a manifest");
        let mut entry = descriptor(MANIFEST, digest, data);
        entry["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
        manifests.push(entry);
    }
    let mut top = match &manifests[..] {
        [one] => one.clone(),
        several => {
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": several });
            let data = serde_json::to_vec(&index).expect("JSON");
            let digest = digest(&data);
            keep(&digest, &data);
            descriptor(INDEX, &digest, &data)
        }
    };
    top["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
    let index = dir.join("index.json");
    let mut entries = match fs::read(&index) {
        Ok(text) => serde_json::from_slice::<Value>(&text).expect("index.json")["manifests"].clone(),
        Err(_) => json!([]),
    };
    let digest = top["digest"].as_str().unwrap_or_default().to_owned();
    entries.as_array_mut().expect("manifests").push(top);
    let text = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    fs::write(index, serde_json::to_vec(&text).expect("JSON")).expect("index.json");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
    digest
}

fn descriptor(media_type: &str, digest: &str, data: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest, "size": data.len() })
}

/// `sha256:…` of something.
pub fn digest(data: &[u8]) -> String {
    format!("sha256:{}", hex(data))
}

fn hex(data: &[u8]) -> String {
    sha2::Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// This machine's architecture in Go's word.
pub fn own_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
