//! Loading archives: OCI layouts and what `docker save` writes. The archive is kept in a file while it is read, as what names
//! its parts may come last.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use gantry_api_types::progress::Message;
use gantry_errdefs::{Error, Kind};
use gantry_oci::image::{Document, Index};
use gantry_oci::media_type;
use gantry_supervisor_core::Labels;
use gantry_supervisor_core::image::{Descriptor as CoreDescriptor, Image};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncRead;

use super::resolve::LARGEST;
use super::unpack::references;
use crate::{Engine, Result, fail};

/// How much is handed to the store at once.
const CHUNK: usize = 1 << 20;

/// An archive on disk, and where its files are in it.
struct Archive {
    file: Mutex<File>,
    parts: HashMap<String, (u64, u64)>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::invalid(format!("invalid archive: {what}"))
}

impl Archive {
    /// Reads the table of a file's entries.
    fn open(file: File) -> Result<Self> {
        let mut parts: HashMap<String, (u64, u64)> = HashMap::new();
        let mut links: Vec<(String, String)> = Vec::new();
        let mut tar = tar::Archive::new(&file);
        let clean = |path: &std::path::Path| path.to_string_lossy().trim_start_matches("./").to_owned();
        for entry in tar.entries().map_err(broken)? {
            let entry = entry.map_err(broken)?;
            let name = clean(&entry.path().map_err(broken)?);
            match entry.header().entry_type() {
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    if let Ok(Some(target)) = entry.link_name() {
                        // `docker save` links a layer that two images share.
                        let folder = std::path::Path::new(&name)
                            .parent()
                            .unwrap_or(std::path::Path::new(""));
                        let mut joined = std::path::PathBuf::new();
                        let base = if entry.header().entry_type() == tar::EntryType::Link {
                            std::path::Path::new("")
                        } else {
                            folder
                        };
                        for part in base.join(&*target).components() {
                            match part {
                                std::path::Component::ParentDir => drop(joined.pop()),
                                std::path::Component::Normal(name) => joined.push(name),
                                _ => {}
                            }
                        }
                        links.push((name, joined.to_string_lossy().into_owned()));
                    }
                }
                kind if kind.is_file() => drop(parts.insert(name, (entry.raw_file_position(), entry.size()))),
                _ => {}
            }
        }
        for (name, target) in links {
            if let Some(part) = parts.get(&target).copied() {
                parts.insert(name, part);
            }
        }
        Ok(Self {
            file: Mutex::new(file),
            parts,
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        let mut file = crate::container::lock(&self.file);
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(buffer)
    }

    /// A small part, whole.
    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let (offset, size) = *self
            .parts
            .get(name)
            .ok_or_else(|| broken(format!("{name} is missing")))?;
        if size > LARGEST {
            return Err(broken(format!("{name} is larger than {LARGEST} bytes")));
        }
        let mut buffer = vec![0; size as usize];
        self.read_at(offset, &mut buffer).map_err(broken)?;
        Ok(buffer)
    }

    /// The digest of a part, and how it begins.
    fn digest(&self, name: &str) -> Result<(String, u64, [u8; 4])> {
        let (offset, size) = *self
            .parts
            .get(name)
            .ok_or_else(|| broken(format!("{name} is missing")))?;
        let (mut hash, mut at, mut begin) = (Sha256::new(), 0, [0; 4]);
        while at < size {
            let mut chunk = vec![0; CHUNK.min((size - at) as usize)];
            self.read_at(offset + at, &mut chunk).map_err(broken)?;
            if at == 0 {
                let known = chunk.len().min(4);
                begin[..known].copy_from_slice(&chunk[..known]);
            }
            hash.update(&chunk);
            at += chunk.len() as u64;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((format!("sha256:{hex}"), size, begin))
    }
}

impl Engine {
    /// Loads every image of an archive. Errors before the first message are returned.
    pub async fn image_load<R: AsyncRead + Send + Unpin + 'static>(
        &self,
        mut tar: R,
        _quiet: bool,
    ) -> Result<BoxStream<'static, Message>> {
        let folder = self.config.data_root.join("tmp");
        std::fs::create_dir_all(&folder).map_err(|error| fail::on_path("make", &folder, error))?;
        // Without a name: gone with us, however we end.
        let file = rustix::fs::open(
            &folder,
            rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        );
        let file = File::from(file.map_err(|error| fail::on_path("make a file in", &folder, error.into()))?);
        let copy = file
            .try_clone()
            .map_err(|error| fail::on_path("use a file in", &folder, error))?;
        let mut writer = tokio::fs::File::from_std(copy);
        tokio::io::copy(&mut tar, &mut writer)
            .await
            .map_err(|error| fail::during("failed to read the archive", error.into()))?;
        tokio::io::AsyncWriteExt::flush(&mut writer)
            .await
            .map_err(|error| fail::during("failed to keep the archive", error.into()))?;
        drop(writer);
        let opened = tokio::task::spawn_blocking(move || {
            let mut file = file;
            file.seek(SeekFrom::Start(0)).map_err(broken)?;
            Archive::open(file)
        });
        let archive = Arc::new(
            opened
                .await
                .map_err(|_| Error::internal("reading the archive was cut off"))??,
        );
        let mut messages = Vec::new();
        let names = if archive.parts.contains_key("oci-layout") && archive.parts.contains_key("index.json") {
            self.load_layout(&archive).await?
        } else if archive.parts.contains_key("manifest.json") {
            self.load_saved(&archive).await?
        } else {
            return Err(broken(
                "it is neither an OCI layout (oci-layout, index.json) nor of docker save (manifest.json)",
            ));
        };
        for (name, target) in names {
            let said = match name {
                Some(name) => {
                    self.name_image(&name, &target).await?;
                    self.tell_image("load", &target.digest, &name);
                    format!("Loaded image: {}\n", super::resolve::familiar(&name))
                }
                None => {
                    let name = format!("dangling@{}", target.digest);
                    self.name_image(&name, &target).await?;
                    format!("Loaded image ID: {}\n", target.digest)
                }
            };
            messages.push(Message {
                stream: said,
                ..Message::default()
            });
        }
        Ok(futures_util::stream::iter(messages).boxed())
    }

    /// Tells of something that happened to an image.
    pub(super) fn tell_image(&self, action: &str, id: &str, name: &str) {
        let attributes = [("name".to_owned(), super::resolve::familiar(name))].into();
        self.events.send("image", action, id, attributes);
    }

    /// Gives a target a name, taking it from another one, which stays without a name if it was its last.
    pub(super) async fn name_image(&self, name: &str, target: &CoreDescriptor) -> Result<()> {
        let image = Image {
            name: name.to_owned(),
            target: target.clone(),
            ..Image::default()
        };
        let images = &self.services.images;
        match images.create(image.clone()).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            other => return other.map(drop).map_err(fail::flat),
        }
        let all = images.list(&[]).await.map_err(fail::flat)?;
        if let Some(old) = all.iter().find(|other| other.name == name)
            && old.target.digest != target.digest
            && !all
                .iter()
                .any(|other| other.name != name && other.target.digest == old.target.digest)
        {
            let unnamed = Image {
                name: format!("dangling@{}", old.target.digest),
                target: old.target.clone(),
                ..Image::default()
            };
            match images.create(unnamed).await {
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                other => drop(other.map_err(fail::flat)?),
            }
        }
        images
            .update(image, &["target".to_owned()])
            .await
            .map(drop)
            .map_err(fail::flat)
    }

    /// Puts a blob into the store, if it is not there.
    pub(super) async fn put_blob(&self, digest: &str, data: Vec<u8>, labels: Labels) -> Result<()> {
        let data = Bytes::from(data);
        let size = data.len() as u64;
        let read = |at: u64, length: usize| Ok(data.slice(at as usize..at as usize + length));
        self.put(digest, size, read, labels, fail::flat).await
    }

    /// Puts a part of an archive into the store, if it is not there.
    async fn put_part(&self, archive: &Arc<Archive>, name: &str, digest: &str) -> Result<()> {
        let (offset, size) = *archive
            .parts
            .get(name)
            .ok_or_else(|| broken(format!("{name} is missing")))?;
        let read = |at: u64, length: usize| {
            let mut chunk = vec![0; length];
            archive.read_at(offset + at, &mut chunk).map_err(broken)?;
            Ok(Bytes::from(chunk))
        };
        let refused = |error| fail::during(&format!("invalid archive: {name}"), error);
        self.put(digest, size, read, Labels::new(), refused).await
    }

    /// Puts what `read` gives for an offset and a length into the store, if it is not there. `refused` words what the
    /// store says of the whole.
    async fn put(
        &self,
        digest: &str,
        size: u64,
        read: impl Fn(u64, usize) -> Result<Bytes>,
        labels: Labels,
        refused: impl FnOnce(Error) -> Error,
    ) -> Result<()> {
        let work = self.pulls.work(digest);
        let _turn = work.turn().await;
        let opened = self
            .services
            .content
            .writer(&format!("blob-{digest}"), size, digest)
            .await;
        let mut writer = match opened {
            Err(error) if error.kind() == Kind::AlreadyExists => return Ok(()),
            other => other.map_err(fail::flat)?,
        };
        writer.truncate(0).await.map_err(fail::flat)?;
        let mut at = 0;
        while at < size {
            let length = CHUNK.min((size - at) as usize);
            writer.write(read(at, length)?).await.map_err(fail::flat)?;
            at += length as u64;
        }
        match writer.commit(size, digest, labels).await {
            Err(error) if error.kind() == Kind::AlreadyExists => Ok(()),
            other => other.map(drop).map_err(refused),
        }
    }

    async fn load_layout(&self, archive: &Arc<Archive>) -> Result<Vec<(Option<String>, CoreDescriptor)>> {
        let index: Index = serde_json::from_slice(&archive.read("index.json")?).map_err(broken)?;
        let mut loaded = Vec::new();
        for entry in &index.manifests {
            let mut next = vec![entry.clone()];
            while let Some(descriptor) = next.pop() {
                let name = format!(
                    "blobs/{}/{}",
                    descriptor.digest.algorithm().as_str(),
                    descriptor.digest.hex()
                );
                if !archive.parts.contains_key(&name) {
                    // Of another platform, and left out.
                    continue;
                }
                self.put_part(archive, &name, descriptor.digest.as_str()).await?;
                let kind = &descriptor.media_type;
                if media_type::is_index(kind) || media_type::is_manifest(kind) {
                    let document = Document::parse(kind, &archive.read(&name)?).map_err(broken)?;
                    let labels = references(&document);
                    self.label_blob(descriptor.digest.as_str(), &labels).await?;
                    match document {
                        Document::Index(index) => next.extend(index.manifests),
                        Document::Manifest(manifest) => {
                            next.push(manifest.config);
                            next.extend(manifest.layers);
                        }
                    }
                }
            }
            let annotation = |key: &str| entry.annotations.get(key).cloned();
            let name = annotation("io.containerd.image.name").or_else(|| {
                annotation("org.opencontainers.image.ref.name").filter(|name| name.contains(['/', ':']))
            });
            let name = name
                .map(|name| super::resolve::parse(&name).map(|n| n.with_default_tag().to_string()))
                .transpose()?;
            loaded.push((name, super::unpack::core(entry)));
        }
        Ok(loaded)
    }

    async fn load_saved(&self, archive: &Arc<Archive>) -> Result<Vec<(Option<String>, CoreDescriptor)>> {
        let all: Vec<Saved> = serde_json::from_slice(&archive.read("manifest.json")?).map_err(broken)?;
        let mut loaded = Vec::new();
        for saved in all {
            let mut layers = Vec::new();
            for name in &saved.layers {
                let of = archive.clone();
                let part = name.clone();
                let hashed = tokio::task::spawn_blocking(move || of.digest(&part)).await;
                let (digest, size, begin) =
                    hashed.map_err(|_| Error::internal("reading the archive was cut off"))??;
                self.put_part(archive, name, &digest).await?;
                let kind = match begin {
                    [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
                    [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
                    _ => media_type::OCI_LAYER,
                };
                layers.push(serde_json::json!({ "mediaType": kind, "digest": digest, "size": size }));
            }
            let config = archive.read(&saved.config)?;
            let config_digest = super::unpack::sha256(&config);
            let size = config.len();
            gantry_oci::image::ImageConfig::parse(&config).map_err(broken)?;
            self.put_blob(&config_digest, config, Labels::new()).await?;
            let manifest = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": media_type::OCI_MANIFEST,
                "config": { "mediaType": media_type::OCI_CONFIG, "digest": config_digest, "size": size },
                "layers": layers,
            });
            let manifest = serde_json::to_vec(&manifest).map_err(broken)?;
            let target = CoreDescriptor {
                media_type: media_type::OCI_MANIFEST.to_owned(),
                digest: super::unpack::sha256(&manifest),
                size: manifest.len() as u64,
                annotations: Labels::new(),
            };
            let document = Document::parse(media_type::OCI_MANIFEST, &manifest).map_err(broken)?;
            self.put_blob(&target.digest, manifest, Labels::new()).await?;
            self.label_blob(&target.digest, &references(&document)).await?;
            let tags = saved.repo_tags.unwrap_or_default();
            if tags.is_empty() {
                loaded.push((None, target.clone()));
            }
            for tag in tags {
                let name = super::resolve::parse(&tag)?.with_default_tag().to_string();
                loaded.push((Some(name), target.clone()));
            }
        }
        Ok(loaded)
    }
}
