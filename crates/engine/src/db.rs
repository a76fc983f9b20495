//! `engine.db`: records of containers and execs as JSON, each with its version, in SQLite (WAL, synchronous=FULL).
//! One thread owns the connection. Knows nothing of what a record means.

use std::path::Path;
use std::sync::mpsc;

use gantry_errdefs::{Error, Kind};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// A handle on the database; the thread ends when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Db {
    jobs: mpsc::Sender<Job>,
}

/// Why a container was not stored.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Another has the name.
    NameTaken {
        /// Whose it is.
        by: String,
    },
    /// The database failed.
    Failed(Error),
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS containers (
        id     TEXT PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE,
        record TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS execs (
        id           TEXT PRIMARY KEY,
        container_id TEXT NOT NULL,
        record       TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS execs_by_container ON execs (container_id);
";

/// The layout of the tables; a database from a newer engine is not touched.
const LAYOUT: i64 = 1;

fn failed(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => Kind::ResourceExhausted,
        _ => Kind::Internal,
    };
    Error::new(kind, format!("engine database: {error}"))
}

impl Db {
    /// Opens it, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let mut connection = Connection::open(path).map_err(failed)?;
        prepare(&mut connection).map_err(failed)??;
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("engine-db".to_owned())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    job(&mut connection);
                }
            })
            .map_err(|e| Error::internal(format!("start the thread of the engine database: {e}")))?;
        Ok(Self { jobs })
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, wait) = oneshot::channel();
        let job: Job = Box::new(move |connection| drop(answer.send(job(connection))));
        let dead = || Error::internal("the engine database is closed");
        self.jobs.send(job).map_err(|_| dead())?;
        wait.await.map_err(|_| dead())
    }

    /// A new container with its name, both or neither.
    pub(crate) async fn insert_container(&self, id: &str, name: &str, record: String) -> Result<(), Refused> {
        self.put_container(
            "INSERT INTO containers (id, name, record) VALUES (?1, ?2, ?3)",
            id,
            name,
            record,
        )
        .await
    }

    /// Replaces a container's record and name.
    pub(crate) async fn update_container(&self, id: &str, name: &str, record: String) -> Result<(), Refused> {
        self.put_container(
            "UPDATE containers SET name = ?2, record = ?3 WHERE id = ?1",
            id,
            name,
            record,
        )
        .await
    }

    /// Runs a statement of an id, a name and a record, unless another container has the name.
    async fn put_container(
        &self,
        statement: &'static str,
        id: &str,
        name: &str,
        record: String,
    ) -> Result<(), Refused> {
        let (id, name) = (id.to_owned(), name.to_owned());
        self.run(move |connection| {
            let transaction = connection
                .transaction()
                .map_err(failed)
                .map_err(Refused::Failed)?;
            holder(&transaction, &name, &id)?;
            transaction
                .execute(statement, params![id, name, record])
                .and_then(|_| transaction.commit())
                .map_err(|e| Refused::Failed(failed(e)))
        })
        .await
        .map_err(Refused::Failed)?
    }

    /// Forgets a container and its execs; one that is not there is no error.
    pub(crate) async fn delete_container(&self, id: &str) -> Result<(), Error> {
        let id = id.to_owned();
        self.run(move |connection| {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM execs WHERE container_id = ?1", params![id])?;
            transaction.execute("DELETE FROM containers WHERE id = ?1", params![id])?;
            transaction.commit()
        })
        .await?
        .map_err(failed)
    }

    /// All records of containers.
    pub(crate) async fn containers(&self) -> Result<Vec<String>, Error> {
        self.run(|connection| all(connection, "SELECT record FROM containers"))
            .await?
            .map_err(failed)
    }

    /// Stores an exec, new or known.
    pub(crate) async fn put_exec(&self, id: &str, container: &str, record: String) -> Result<(), Error> {
        let (id, container) = (id.to_owned(), container.to_owned());
        self.run(move |connection| {
            connection.execute(
                "INSERT INTO execs (id, container_id, record) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (id) DO UPDATE SET record = ?3",
                params![id, container, record],
            )
        })
        .await?
        .map_err(failed)
        .map(drop)
    }

    /// Forgets the execs of a container.
    pub(crate) async fn delete_execs(&self, container: &str) -> Result<(), Error> {
        let container = container.to_owned();
        self.run(move |connection| {
            connection.execute("DELETE FROM execs WHERE container_id = ?1", params![container])
        })
        .await?
        .map_err(failed)
        .map(drop)
    }

    /// All records of execs.
    pub(crate) async fn execs(&self) -> Result<Vec<String>, Error> {
        self.run(|connection| all(connection, "SELECT record FROM execs"))
            .await?
            .map_err(failed)
    }
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<Result<(), Error>> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let layout: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if layout > LAYOUT {
        let message = format!("engine database has layout {layout}, this engine knows up to {LAYOUT}");
        return Ok(Err(Error::failed_precondition(message)));
    }
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    Ok(Ok(()))
}

fn holder(connection: &Connection, name: &str, id: &str) -> Result<(), Refused> {
    let by = connection
        .query_row(
            "SELECT id FROM containers WHERE name = ?1 AND id != ?2",
            params![name, id],
            |row| row.get(0),
        )
        .optional()
        .map_err(|e| Refused::Failed(failed(e)))?;
    by.map_or(Ok(()), |by| Err(Refused::NameTaken { by }))
}

fn all(connection: &Connection, query: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(query)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_unique_and_records_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("engine.db");
        {
            let db = Db::open(&path).unwrap();
            db.insert_container("1", "a", "one".to_owned()).await.unwrap();
            let taken = db.insert_container("2", "a", "two".to_owned()).await;
            assert!(matches!(taken, Err(Refused::NameTaken { by }) if by == "1"));
            db.insert_container("2", "b", "two".to_owned()).await.unwrap();
            let taken = db.update_container("2", "a", "two".to_owned()).await;
            assert!(matches!(taken, Err(Refused::NameTaken { .. })));
            db.update_container("1", "c", "uno".to_owned()).await.unwrap();
            db.put_exec("e", "1", "exec".to_owned()).await.unwrap();
            db.delete_container("2").await.unwrap();
        }
        let db = Db::open(&path).unwrap();
        assert_eq!(db.containers().await.unwrap(), ["uno"]);
        assert_eq!(db.execs().await.unwrap(), ["exec"]);
        db.delete_execs("1").await.unwrap();
        assert!(db.execs().await.unwrap().is_empty());
    }
}
