//! Which snapshots there are and how they stand on each other: one SQLite file. Knows no folder.
//!
//! What has to happen between the change and its commit (a folder made) is handed in as a closure.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::{Error, Info, Kind, Labels, Usage};

const VERSION: i64 = 1;

const SCHEMA: &str = "
    CREATE TABLE snapshots (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        parent INTEGER REFERENCES snapshots (id),
        kind INTEGER NOT NULL,
        created_at INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        labels TEXT NOT NULL,
        size INTEGER,
        inodes INTEGER
    );
    CREATE INDEX snapshots_by_parent ON snapshots (parent);
    PRAGMA user_version = 1;
";

const INFO: &str = "SELECT s.name, coalesce(p.name, ''), s.kind, s.created_at, s.updated_at, s.labels, s.id
    FROM snapshots s LEFT JOIN snapshots p ON p.id = s.parent";

/// The folder numbers of a snapshot and of its parents, nearest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stack {
    pub(crate) id: i64,
    pub(crate) kind: Kind,
    pub(crate) parents: Vec<i64>,
}

/// The database.
#[derive(Debug)]
pub(crate) struct Metadata {
    connection: Mutex<Connection>,
}

fn failed(operation: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |source| Error::Database { operation, source }
}

impl Metadata {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(failed("open"))?;
        connection
            .busy_timeout(Duration::from_secs(10))
            .map_err(failed("configure"))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
                 PRAGMA temp_store = MEMORY;",
            )
            .map_err(failed("configure"))?;
        let metadata = Self {
            connection: Mutex::new(connection),
        };
        metadata.change("create tables", |tx| {
            match tx
                .query_row("PRAGMA user_version", [], |row| row.get(0))
                .map_err(failed("read version"))?
            {
                0 => tx.execute_batch(SCHEMA).map_err(failed("create tables")),
                VERSION => Ok(()),
                other => Err(Error::Version(other)),
            }
        })?;
        Ok(metadata)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut connection = self.connection();
        let tx = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed(operation))?;
        let value = body(&tx)?;
        tx.commit().map_err(failed(operation))?;
        Ok(value)
    }

    /// About one, and its number.
    pub(crate) fn info(&self, key: &str) -> Result<(i64, Info), Error> {
        find(&self.connection(), key)?.ok_or_else(|| Error::NotFound(key.to_owned()))
    }

    pub(crate) fn list(&self) -> Result<Vec<Info>, Error> {
        let connection = self.connection();
        let list = || {
            connection
                .prepare_cached(&format!("{INFO} ORDER BY s.id"))?
                .query_map([], |row| Ok(read(row)?.1))?
                .collect::<rusqlite::Result<_>>()
        };
        list().map_err(failed("list snapshots"))
    }

    pub(crate) fn stack(&self, key: &str) -> Result<Stack, Error> {
        let connection = self.connection();
        let (id, info) = find(&connection, key)?.ok_or_else(|| Error::NotFound(key.to_owned()))?;
        Ok(Stack {
            id,
            kind: info.kind,
            parents: parents(&connection, id)?,
        })
    }

    /// Adds a snapshot; `make` makes what belongs to it, and is called again by nobody if the commit then fails.
    pub(crate) fn create(
        &self,
        key: &str,
        parent: &str,
        kind: Kind,
        labels: &Labels,
        make: impl FnOnce(&Stack) -> Result<(), Error>,
    ) -> Result<Stack, Error> {
        if key.is_empty() {
            return Err(Error::EmptyKey);
        }
        self.change("create snapshot", |tx| {
            if find(tx, key)?.is_some() {
                return Err(Error::AlreadyExists(key.to_owned()));
            }
            let parent = match parent {
                "" => None,
                name => match find(tx, name)? {
                    None => return Err(Error::NoParent(name.to_owned())),
                    Some((_, info)) if info.kind != Kind::Committed => {
                        return Err(Error::ParentNotCommitted(name.to_owned()));
                    }
                    Some((id, _)) => Some(id),
                },
            };
            let now = nanos(SystemTime::now());
            tx.prepare_cached(
                "INSERT INTO snapshots (name, parent, kind, created_at, updated_at, labels)
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5)",
            )
            .and_then(|mut s| s.execute(params![key, parent, number(kind), now, text(labels)]))
            .map_err(failed("create snapshot"))?;
            let id = tx.last_insert_rowid();
            let stack = Stack {
                id,
                kind,
                parents: parents(tx, id)?,
            };
            make(&stack)?;
            Ok(stack)
        })
    }

    pub(crate) fn commit(&self, name: &str, key: &str, labels: &Labels) -> Result<(), Error> {
        if name.is_empty() {
            return Err(Error::EmptyKey);
        }
        self.change("commit snapshot", |tx| {
            if find(tx, name)?.is_some() {
                return Err(Error::AlreadyExists(name.to_owned()));
            }
            let (id, info) = find(tx, key)?.ok_or_else(|| Error::NotFound(key.to_owned()))?;
            if info.kind != Kind::Active {
                return Err(Error::NotActive(key.to_owned()));
            }
            tx.prepare_cached(
                "UPDATE snapshots SET name = ?2, kind = ?3, created_at = ?4, updated_at = ?4, labels = ?5
                 WHERE id = ?1",
            )
            .and_then(|mut s| {
                s.execute(params![
                    id,
                    name,
                    number(Kind::Committed),
                    nanos(SystemTime::now()),
                    text(labels)
                ])
            })
            .map_err(failed("commit snapshot"))?;
            Ok(())
        })
    }

    /// Deletes the row; returns the number of the folder that nobody owns now.
    pub(crate) fn remove(&self, key: &str) -> Result<i64, Error> {
        self.change("remove snapshot", |tx| {
            let (id, _) = find(tx, key)?.ok_or_else(|| Error::NotFound(key.to_owned()))?;
            match tx
                .prepare_cached("DELETE FROM snapshots WHERE id = ?1")
                .and_then(|mut s| s.execute([id]))
            {
                Ok(_) => Ok(id),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    Err(Error::HasChild)
                }
                Err(error) => Err(failed("remove snapshot")(error)),
            }
        })
    }

    pub(crate) fn update(&self, wanted: &Info, fields: &[String]) -> Result<Info, Error> {
        self.change("update snapshot", |tx| {
            let name = &wanted.name;
            let (id, mut info) = find(tx, name)?.ok_or_else(|| Error::NotFound(name.clone()))?;
            if fields.is_empty() {
                info.labels = wanted.labels.clone();
            }
            for field in fields {
                if field == "labels" {
                    info.labels = wanted.labels.clone();
                } else if let Some(key) = field.strip_prefix("labels.") {
                    let value = wanted.labels.get(key).cloned().unwrap_or_default();
                    info.labels.insert(key.to_owned(), value);
                } else {
                    return Err(Error::Field {
                        field: field.clone(),
                        name: name.clone(),
                    });
                }
            }
            info.labels.retain(|_, value| !value.is_empty());
            let now = nanos(SystemTime::now());
            info.updated_at = time(now);
            tx.prepare_cached("UPDATE snapshots SET labels = ?2, updated_at = ?3 WHERE id = ?1")
                .and_then(|mut s| s.execute(params![id, text(&info.labels), now]))
                .map_err(failed("update snapshot"))?;
            Ok(info)
        })
    }

    /// The usage that was stored for a committed snapshot.
    pub(crate) fn usage(&self, id: i64) -> Result<Option<Usage>, Error> {
        let usage: (Option<i64>, Option<i64>) = self
            .connection()
            .query_row("SELECT size, inodes FROM snapshots WHERE id = ?1", [id], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()
            .map_err(failed("read usage"))?
            .unwrap_or_default();
        let unsigned = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(usage.0.zip(usage.1).map(|(size, inodes)| Usage {
            size: unsigned(size),
            inodes: unsigned(inodes),
        }))
    }

    pub(crate) fn set_usage(&self, id: i64, usage: Usage) -> Result<(), Error> {
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.connection()
            .execute(
                "UPDATE snapshots SET size = ?2, inodes = ?3 WHERE id = ?1",
                params![id, signed(usage.size), signed(usage.inodes)],
            )
            .map_err(failed("store usage"))?;
        Ok(())
    }

    /// Calls `each` with those of `numbers` that no row has, while no row can be added.
    pub(crate) fn orphans(
        &self,
        numbers: impl FnOnce() -> Result<Vec<i64>, Error>,
        mut each: impl FnMut(i64),
    ) -> Result<(), Error> {
        self.change("find orphans", |tx| {
            for id in numbers()? {
                let owned = tx
                    .prepare_cached("SELECT 1 FROM snapshots WHERE id = ?1")
                    .and_then(|mut s| s.exists([id]))
                    .map_err(failed("find orphans"))?;
                if !owned {
                    each(id);
                }
            }
            Ok(())
        })
    }
}

fn find(connection: &Connection, key: &str) -> Result<Option<(i64, Info)>, Error> {
    connection
        .prepare_cached(&format!("{INFO} WHERE s.name = ?1"))
        .and_then(|mut s| s.query_row([key], read).optional())
        .map_err(failed("find snapshot"))
}

fn parents(connection: &Connection, id: i64) -> Result<Vec<i64>, Error> {
    let query = || {
        connection
            .prepare_cached(
                "WITH RECURSIVE chain (id, depth) AS (
                     SELECT parent, 1 FROM snapshots WHERE id = ?1
                     UNION ALL
                     SELECT s.parent, depth + 1 FROM chain JOIN snapshots s ON s.id = chain.id
                 )
                 SELECT id FROM chain WHERE id IS NOT NULL ORDER BY depth",
            )?
            .query_map([id], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()
    };
    query().map_err(failed("find parents"))
}

fn read(row: &Row<'_>) -> rusqlite::Result<(i64, Info)> {
    let labels: String = row.get(5)?;
    let kind = match row.get(2)? {
        1_i64 => Kind::View,
        2 => Kind::Active,
        _ => Kind::Committed,
    };
    let info = Info {
        name: row.get(0)?,
        parent: row.get(1)?,
        kind,
        created_at: time(row.get(3)?),
        updated_at: time(row.get(4)?),
        labels: serde_json::from_str(&labels).unwrap_or_default(),
    };
    Ok((row.get(6)?, info))
}

fn number(kind: Kind) -> i64 {
    match kind {
        Kind::View => 1,
        Kind::Active => 2,
        Kind::Committed => 3,
    }
}

fn text(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_else(|_| "{}".to_owned())
}

fn nanos(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn time(nanos: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
