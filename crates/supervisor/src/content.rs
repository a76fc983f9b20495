//! Blobs: the bytes are in the store on disk, whose they are in the database.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use gantry_content::Store;
use gantry_oci::Digest;
use gantry_supervisor_core::content::{Content, Info, Status, Writer};
use gantry_supervisor_core::event::wire;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::{Error, Kind, Labels, Result, Time};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use tokio::sync::mpsc;

use crate::metadata::db::{self, sql};
use crate::metadata::fields;
use crate::supervisor::{Bound, Shared, blocking};

/// How much is read at once.
const CHUNK: usize = 256 << 10;

fn digest(text: &str) -> Result<Digest> {
    text.parse()
        .map_err(|_| Error::invalid(format!("invalid digest {text:?}: invalid argument")))
}

fn not_found(digest: &str) -> Error {
    Error::not_found(format!("content digest {digest}: not found"))
}

fn read(row: &Row<'_>) -> Result<Info> {
    Ok(Info {
        digest: row.get(0).map_err(sql)?,
        size: u64::try_from(row.get::<_, i64>(1).map_err(sql)?).unwrap_or_default(),
        labels: db::labels_from_text(&row.get::<_, String>(2).map_err(sql)?)?,
        created_at: db::time_from_integer(row.get(3).map_err(sql)?),
        updated_at: db::time_from_integer(row.get(4).map_err(sql)?),
    })
}

fn get(tx: &Transaction<'_>, namespace: &str, digest: &str) -> Result<Info> {
    let query =
        "SELECT digest, size, labels, created_at, updated_at FROM blobs WHERE namespace = ?1 AND digest = ?2";
    let mut statement = tx.prepare_cached(query).map_err(sql)?;
    let found = statement
        .query_row([namespace, digest], |row| Ok(read(row)))
        .optional()
        .map_err(sql)?;
    found.unwrap_or_else(|| Err(not_found(digest)))
}

fn put(tx: &Transaction<'_>, namespace: &str, info: &Info) -> Result<()> {
    db::touch_namespace(tx, namespace)?;
    let insert = "INSERT INTO blobs (namespace, digest, size, labels, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                  ON CONFLICT (namespace, digest) DO UPDATE SET labels = excluded.labels, updated_at = excluded.updated_at";
    let labels = db::labels_to_text(&info.labels)?;
    let size = i64::try_from(info.size).unwrap_or(i64::MAX);
    let (created, updated) = (
        db::time_to_integer(info.created_at),
        db::time_to_integer(info.updated_at),
    );
    tx.execute(
        insert,
        params![namespace, info.digest, size, labels, created, updated],
    )
    .map_err(sql)?;
    Ok(())
}

fn field(info: &Info, path: &[String]) -> Option<String> {
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["digest"] => Some(info.digest.clone()),
        ["size"] => Some(info.size.to_string()),
        ["labels", ref key @ ..] => info.labels.get(&key.join(".")).cloned(),
        _ => None,
    }
}

fn status(from: &gantry_content::Status, namespace: &str) -> Status {
    let prefix = format!("{namespace}/");
    Status {
        reference: from
            .reference
            .strip_prefix(&prefix)
            .unwrap_or(&from.reference)
            .to_owned(),
        offset: from.offset,
        total: from.total,
        expected: from
            .expected
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        started_at: from.started_at.into(),
        updated_at: from.updated_at.into(),
    }
}

impl Bound {
    /// The name of an ingest in the store, which all namespaces share.
    fn ingest(&self, reference: &str) -> String {
        format!("{}/{reference}", self.namespace)
    }
}

#[async_trait]
impl Content for Bound {
    async fn info(&self, digest: &str) -> Result<Info> {
        let (namespace, digest) = (self.namespace.clone(), digest.to_owned());
        self.shared.db.call(move |tx| get(tx, &namespace, &digest)).await
    }

    async fn update(&self, info: Info, mask: &[String]) -> Result<Info> {
        let (namespace, mask) = (self.namespace.clone(), mask.to_vec());
        self.shared
            .db
            .call(move |tx| {
                let mut kept = get(tx, &namespace, &info.digest)?;
                fields::update_labels("content", &mut kept.labels, &info.labels, &mask)?;
                kept.updated_at = Time::now();
                put(tx, &namespace, &kept)?;
                Ok(kept)
            })
            .await
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Info>> {
        let filters = Filters::parse(filters)?;
        let namespace = self.namespace.clone();
        let all: Vec<Info> = self
            .shared
            .db
            .call(move |tx| {
                let query = "SELECT digest, size, labels, created_at, updated_at FROM blobs WHERE namespace = ?1 ORDER BY digest";
                let mut statement = tx.prepare_cached(query).map_err(sql)?;
                let rows = statement.query_map([&namespace], |row| Ok(read(row))).map_err(sql)?;
                rows.map(|row| row.map_err(sql)?).collect()
            })
            .await?;
        Ok(all
            .into_iter()
            .filter(|info| filters.matches(&|path: &[String]| field(info, path)))
            .collect())
    }

    async fn delete(&self, text: &str) -> Result<()> {
        let wanted = digest(text)?;
        let (namespace, key) = (self.namespace.clone(), text.to_owned());
        // The row goes first: a blob without one is found by the next start, a row without its blob would be a lie.
        let _alone = self.shared.content_gate.write().await;
        let last: bool = self
            .shared
            .db
            .call(move |tx| {
                get(tx, &namespace, &key)?;
                tx.execute(
                    "DELETE FROM blobs WHERE namespace = ?1 AND digest = ?2",
                    [&namespace, &key],
                )
                .map_err(sql)?;
                let others = "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)";
                tx.query_row(others, [&key], |row| row.get::<_, bool>(0))
                    .map(|more| !more)
                    .map_err(sql)
            })
            .await?;
        if last {
            let store = self.shared.content.clone();
            blocking(move || store.delete(&wanted)).await?;
        }
        let digest = text.to_owned();
        self.tell("/content/delete", wire::ContentDelete { digest }.to_any());
        Ok(())
    }

    async fn read(&self, text: &str, offset: u64, size: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let wanted = digest(text)?;
        let info = self.info(text).await?;
        if offset > info.size {
            let message = format!(
                "read past the end of {text}: offset {offset}, size {}: out of range",
                info.size
            );
            return Err(Error::new(Kind::OutOfRange, message));
        }
        let store = self.shared.content.clone();
        let reader = blocking(move || store.reader(&wanted)).await?;
        let end = if size == 0 {
            info.size
        } else {
            info.size.min(offset.saturating_add(size))
        };
        let (sender, receiver) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let mut at = offset;
            while at < end {
                let mut chunk = vec![0; CHUNK.min(usize::try_from(end - at).unwrap_or(CHUNK))];
                let read = reader.read_at(&mut chunk, at).map_err(Error::from);
                let sent = match read {
                    Ok(0) => break,
                    Ok(count) => {
                        chunk.truncate(count);
                        at += count as u64;
                        sender.blocking_send(Ok(Bytes::from(chunk)))
                    }
                    Err(error) => {
                        let _ = sender.blocking_send(Err(error));
                        break;
                    }
                };
                if sent.is_err() {
                    break;
                }
            }
        });
        Ok(tokio_stream::wrappers::ReceiverStream::new(receiver).boxed())
    }

    async fn writer(&self, reference: &str, total: u64, expected: &str) -> Result<Box<dyn Writer>> {
        if reference.is_empty() {
            return Err(Error::invalid("ref must not be empty: invalid argument"));
        }
        let wanted = if expected.is_empty() {
            None
        } else {
            Some(digest(expected)?)
        };
        if !expected.is_empty() && self.info(expected).await.is_ok() {
            return Err(Error::already_exists(format!(
                "content {expected}: already exists"
            )));
        }
        let (store, name) = (self.shared.content.clone(), self.ingest(reference));
        if let Some(wanted) = wanted.clone().filter(|wanted| store.contains(wanted)) {
            // Another namespace has it: it is this one's too from now on, without being stored twice.
            let _together = self.shared.content_gate.read().await;
            let size = blocking({
                let store = store.clone();
                move || store.info(&wanted)
            })
            .await?
            .size;
            self.own(expected, size, Labels::new()).await?;
            return Err(Error::already_exists(format!(
                "content {expected}: already exists"
            )));
        }
        let opened = blocking(move || store.writer(&name, total, wanted.as_ref())).await?;
        let status = status(opened.status(), &self.namespace);
        Ok(Box::new(Ingest {
            writer: Some(opened),
            status,
            shared: self.shared.clone(),
            namespace: self.namespace.clone(),
        }))
    }

    async fn status(&self, reference: &str) -> Result<Status> {
        let (store, name) = (self.shared.content.clone(), self.ingest(reference));
        let found = blocking(move || store.status(&name)).await?;
        Ok(status(&found, &self.namespace))
    }

    async fn statuses(&self, filters: &[String]) -> Result<Vec<Status>> {
        let filters = Filters::parse(filters)?;
        let store = self.shared.content.clone();
        let prefix = format!("{}/", self.namespace);
        let all = blocking(move || store.statuses()).await?;
        let mine = all
            .iter()
            .filter(|one| one.reference.starts_with(&prefix))
            .map(|one| status(one, &self.namespace));
        Ok(mine
            .filter(|one| {
                filters.matches(&|path: &[String]| (path.first()? == "ref").then(|| one.reference.clone()))
            })
            .collect())
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        let (store, name) = (self.shared.content.clone(), self.ingest(reference));
        blocking(move || store.abort(&name)).await
    }
}

impl Bound {
    /// Makes a blob that is in the store this namespace's.
    async fn own(&self, digest: &str, size: u64, labels: Labels) -> Result<()> {
        own(&self.shared, &self.namespace, digest, size, labels).await
    }
}

async fn own(shared: &Arc<Shared>, namespace: &str, digest: &str, size: u64, labels: Labels) -> Result<()> {
    let now = Time::now();
    let info = Info {
        digest: digest.to_owned(),
        size,
        created_at: now,
        updated_at: now,
        labels,
    };
    let namespace = namespace.to_owned();
    shared.db.call(move |tx| put(tx, &namespace, &info)).await
}

/// Removes blobs that are no namespace's: they were committed, or given up by the last, when the supervisor was killed.
pub(crate) async fn sweep(shared: &Shared) -> Result<()> {
    let owned: HashSet<String> = shared
        .db
        .call(|tx| {
            let mut statement = tx.prepare("SELECT DISTINCT digest FROM blobs").map_err(sql)?;
            let rows = statement.query_map([], |row| row.get(0)).map_err(sql)?;
            rows.map(|row| row.map_err(sql)).collect()
        })
        .await?;
    let store = shared.content.clone();
    blocking(move || {
        for blob in store.list()? {
            if !owned.contains(&blob.digest.to_string()) {
                tracing::info!("removing the blob {}, which is no namespace's", blob.digest);
                store.delete(&blob.digest)?;
            }
        }
        Ok::<_, gantry_content::Error>(())
    })
    .await
}

/// An open ingest.
struct Ingest {
    /// Away while a thread for disks has it.
    writer: Option<gantry_content::Writer>,
    status: Status,
    shared: Arc<Shared>,
    namespace: String,
}

impl Ingest {
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut gantry_content::Writer) -> Result<T, gantry_content::Error> + Send + 'static,
    ) -> Result<T> {
        let mut writer = self
            .writer
            .take()
            .ok_or_else(|| Error::internal("the ingest was cut off"))?;
        let (writer, done) = blocking(move || {
            let done = work(&mut writer);
            Ok::<_, Error>((writer, done))
        })
        .await?;
        self.status = status(writer.status(), &self.namespace);
        self.writer = Some(writer);
        done.map_err(Error::from)
    }
}

#[async_trait]
impl Writer for Ingest {
    fn status(&self) -> &Status {
        &self.status
    }

    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.with(move |writer| writer.write(&data)).await
    }

    async fn truncate(&mut self, size: u64) -> Result<()> {
        self.with(move |writer| writer.truncate(size)).await
    }

    async fn commit(&mut self, size: u64, expected: &str, labels: Labels) -> Result<String> {
        db::labels_to_text(&labels)?;
        let wanted = if expected.is_empty() {
            None
        } else {
            Some(digest(expected)?)
        };
        let written = self.status.offset;
        let shared = self.shared.clone();
        let _together = shared.content_gate.read().await;
        let committed = self
            .with(move |writer| writer.commit(size, wanted.as_ref()))
            .await;
        match committed {
            Ok(digest) => {
                let digest = digest.to_string();
                own(&self.shared, &self.namespace, &digest, written, labels).await?;
                let event = wire::ContentCreate {
                    digest: digest.clone(),
                    size: i64::try_from(written).unwrap_or(i64::MAX),
                };
                shared
                    .events
                    .publish(&self.namespace, "/content/create", event.to_any());
                Ok(digest)
            }
            Err(error) if error.kind() == Kind::AlreadyExists && !expected.is_empty() => {
                // Somebody else was faster, perhaps in another namespace.
                own(&self.shared, &self.namespace, expected, written, labels).await?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

/// Keeps the type that the store hands out shareable between threads.
const _: fn() = || {
    fn assert_shared<T: Send + Sync>() {}
    assert_shared::<Store>();
};
