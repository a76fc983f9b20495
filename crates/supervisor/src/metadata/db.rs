//! The one connection to the metadata database, on a thread of its own: every call is a transaction, one after the
//! other. Knows the schema and nothing of what stands in it.

use std::path::Path;
use std::sync::mpsc;

use gantry_supervisor_core::{Error, Labels, Result, Time};
use gantry_sys::fault::point;
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// The database. Dropping it ends the thread once what was asked is done.
pub(crate) struct Db {
    jobs: mpsc::Sender<Job>,
}

/// What can be wrong with the database itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    #[error("failed to open the metadata database {path:?}")]
    Open {
        path: std::path::PathBuf,
        source: rusqlite::Error,
    },
    #[error("the metadata database {path:?} is in use by another supervisor")]
    InUse { path: std::path::PathBuf },
    #[error("the metadata database {path:?} has version {found}, and this supervisor knows {known}")]
    Version {
        path: std::path::PathBuf,
        found: i64,
        known: i64,
    },
    #[error("failed to start the metadata thread")]
    Thread(#[source] std::io::Error),
}

/// The version of the schema below. A change adds a step to [`migrate`].
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    labels TEXT NOT NULL
);
CREATE TABLE containers (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    labels TEXT NOT NULL,
    image TEXT NOT NULL,
    runtime TEXT NOT NULL,
    options_type TEXT,
    options BLOB,
    spec_type TEXT,
    spec BLOB,
    snapshotter TEXT NOT NULL,
    snapshot_key TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    sandbox TEXT NOT NULL,
    PRIMARY KEY (namespace, id)
);
CREATE TABLE container_extensions (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (namespace, id, name),
    FOREIGN KEY (namespace, id) REFERENCES containers (namespace, id) ON DELETE CASCADE
);
CREATE TABLE images (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    annotations TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
);
CREATE TABLE blobs (
    namespace TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, digest)
);
CREATE INDEX blobs_by_digest ON blobs (digest);
CREATE TABLE leases (
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, id)
);
CREATE TABLE lease_resources (
    namespace TEXT NOT NULL,
    lease TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (namespace, lease, kind, id),
    FOREIGN KEY (namespace, lease) REFERENCES leases (namespace, id) ON DELETE CASCADE
);
";

impl Db {
    /// Opens or makes the database. It is locked for as long as this process lives.
    pub(crate) fn open(path: &Path) -> Result<Self, DbError> {
        let connection = open(path).map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => DbError::InUse {
                path: path.to_owned(),
            },
            _ => DbError::Open {
                path: path.to_owned(),
                source,
            },
        })?;
        migrate(&connection, path)?;
        let (jobs, receiver) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("metadata".into())
            .stack_size(512 << 10)
            .spawn(move || {
                let mut connection = connection;
                while let Ok(job) = receiver.recv() {
                    job(&mut connection);
                }
            })
            .map_err(DbError::Thread)?;
        Ok(Self { jobs })
    }

    /// Runs `work` in a transaction that is durable when this returns `Ok`, and undone when `work` fails. It runs to its
    /// end even when the caller goes away.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = sender.send(transact(connection, work));
        });
        self.jobs
            .send(job)
            .map_err(|_| Error::internal("the metadata thread has ended"))?;
        receiver
            .await
            .map_err(|_| Error::internal("the metadata thread has ended"))?
    }
}

fn transact<T>(connection: &mut Connection, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let transaction = connection.transaction().map_err(sql)?;
    // Without a commit it is rolled back when it is dropped.
    let value = work(&transaction)?;
    point("to be committed");
    transaction.commit().map_err(sql)?;
    point("committed");
    Ok(value)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_millis(200))?;
    // Exclusive before WAL: no shared memory file, and nobody else can open it.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.pragma_update(None, "cache_size", -512)?;
    connection.set_prepared_statement_cache_capacity(32);
    // The lock is taken with the first write.
    connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
    Ok(connection)
}

/// Brings the schema to [`VERSION`].
fn migrate(connection: &Connection, path: &Path) -> Result<(), DbError> {
    let fail = |source| DbError::Open {
        path: path.to_owned(),
        source,
    };
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(fail)?;
    match found {
        0 => connection
            .execute_batch(&format!(
                "BEGIN; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT"
            ))
            .map_err(fail),
        VERSION => Ok(()),
        found => Err(DbError::Version {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
    }
}

/// What the database says, as an error of ours.
pub(crate) fn sql(source: rusqlite::Error) -> Error {
    use gantry_supervisor_core::Kind;
    let kind = match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Kind::ResourceExhausted,
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Kind::DataLoss,
        _ => Kind::Internal,
    };
    Error::new(kind, "failed to use the metadata database").with_source(source)
}

/// Whether an insertion failed because the key is taken.
pub(crate) fn taken(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqliteFailure(e, _)
        if e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY
            || e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
}

/// Labels as they are stored.
pub(crate) fn labels_to_text(labels: &Labels) -> Result<String> {
    for (key, value) in labels {
        if key.len() + value.len() > 4096 {
            let short: String = key.chars().take(64).collect();
            let length = key.len() + value.len();
            return Err(Error::invalid(format!(
                "label key and value length ({length} bytes) greater than maximum size (4096 bytes), key: {short}: invalid argument"
            )));
        }
    }
    serde_json::to_string(labels).map_err(|e| Error::internal("failed to encode labels").with_source(e))
}

/// Labels as they were stored.
pub(crate) fn labels_from_text(text: &str) -> Result<Labels> {
    serde_json::from_str(text).map_err(|e| Error::internal("failed to decode labels").with_source(e))
}

/// A time as it is stored.
pub(crate) fn time_to_integer(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// A time as it was stored.
pub(crate) fn time_from_integer(nanoseconds: i64) -> Time {
    Time(i128::from(nanoseconds))
}

/// Makes a namespace that is written into for the first time.
pub(crate) fn touch_namespace(tx: &Transaction<'_>, namespace: &str) -> Result<()> {
    tx.prepare_cached("INSERT OR IGNORE INTO namespaces (name, labels) VALUES (?1, '{}')")
        .and_then(|mut statement| statement.execute([namespace]))
        .map_err(sql)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_transaction_leaves_nothing_and_a_second_owner_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        let db = Db::open(&path).unwrap();
        let failed: Result<()> = db
            .call(|tx| {
                touch_namespace(tx, "a")?;
                Err(Error::internal("no"))
            })
            .await;
        assert!(failed.is_err());
        let count = |tx: &Transaction<'_>| {
            tx.query_row("SELECT count(*) FROM namespaces", [], |row| row.get::<_, i64>(0))
                .map_err(sql)
        };
        assert_eq!(db.call(count).await.unwrap(), 0);
        assert!(matches!(Db::open(&path), Err(DbError::InUse { .. })));
        db.call(|tx| touch_namespace(tx, "b")).await.unwrap();
        assert_eq!(db.call(count).await.unwrap(), 1);
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.db");
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        assert!(matches!(Db::open(&path), Err(DbError::Version { found: 99, .. })));
    }
}
