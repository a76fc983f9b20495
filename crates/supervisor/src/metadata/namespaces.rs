//! Namespaces and their labels.

use gantry_snapshots::Snapshotter;
use gantry_supervisor_core::event::wire;
use gantry_supervisor_core::{Error, Labels, Result, validate_identifier};
use rusqlite::{OptionalExtension, Transaction};

use super::db::{self, sql};
use crate::supervisor::{Shared, blocking};

/// All of them by name.
pub(crate) async fn list(shared: &Shared) -> Result<Vec<(String, Labels)>> {
    shared
        .db
        .call(|tx| {
            let mut statement = tx
                .prepare_cached("SELECT name, labels FROM namespaces ORDER BY name")
                .map_err(sql)?;
            let rows = statement
                .query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))
                .map_err(sql)?;
            rows.map(|row| {
                let (name, labels) = row.map_err(sql)?;
                Ok((name, db::labels_from_text(&labels)?))
            })
            .collect()
        })
        .await
}

/// Makes one.
pub(crate) async fn create(shared: &Shared, name: &str, labels: Labels) -> Result<()> {
    validate_identifier(name)?;
    let key = name.to_owned();
    let text = db::labels_to_text(&labels)?;
    shared
        .db
        .call(move |tx| {
            tx.execute(
                "INSERT INTO namespaces (name, labels) VALUES (?1, ?2)",
                [&key, &text],
            )
            .map(drop)
            .map_err(|e| match db::taken(&e) {
                true => Error::already_exists(format!("namespace {key:?}: already exists")),
                false => sql(e),
            })
        })
        .await?;
    let event = wire::NamespaceCreate {
        name: name.to_owned(),
        labels,
    }
    .to_any();
    shared.events.publish(name, "/namespaces/create", event);
    Ok(())
}

/// Sets labels.
pub(crate) async fn update(shared: &Shared, name: &str, labels: Labels, replace: bool) -> Result<Labels> {
    let key = name.to_owned();
    let labels = shared
        .db
        .call(move |tx| {
            let mut stored = if replace {
                check(tx, &key).map(|_| Labels::new())?
            } else {
                check(tx, &key)?
            };
            for (name, value) in labels {
                match value.is_empty() {
                    true => stored.remove(&name),
                    false => stored.insert(name, value),
                };
            }
            let text = db::labels_to_text(&stored)?;
            tx.execute("UPDATE namespaces SET labels = ?2 WHERE name = ?1", [&key, &text])
                .map_err(sql)?;
            Ok(stored)
        })
        .await?;
    let event = wire::NamespaceUpdate {
        name: name.to_owned(),
        labels: labels.clone(),
    }
    .to_any();
    shared.events.publish(name, "/namespaces/update", event);
    Ok(labels)
}

fn check(tx: &Transaction<'_>, name: &str) -> Result<Labels> {
    let text: Option<String> = tx
        .query_row("SELECT labels FROM namespaces WHERE name = ?1", [name], |row| {
            row.get(0)
        })
        .optional()
        .map_err(sql)?;
    match text {
        Some(text) => db::labels_from_text(&text),
        None => Err(Error::not_found(format!("namespace {name:?}: not found"))),
    }
}

/// Deletes an empty one.
pub(crate) async fn delete(shared: &Shared, name: &str) -> Result<()> {
    const HOLDS: [(&str, &str); 4] = [
        ("images", "images"),
        ("blobs", "blobs"),
        ("containers", "containers"),
        ("leases", "leases"),
    ];
    validate_identifier(name)?;
    let key = name.to_owned();
    let (overlay, prefix) = (shared.overlay.clone(), format!("{name}/"));
    let snapshots = blocking(move || {
        let all = overlay.list()?;
        Ok::<_, gantry_snapshots::Error>(all.iter().any(|info| info.name.starts_with(&prefix)))
    })
    .await?;
    shared
        .db
        .call(move |tx| {
            check(tx, &key)?;
            let mut holds = Vec::new();
            if snapshots {
                holds.push("snapshots on \"overlayfs\" snapshotter");
            }
            for (table, what) in HOLDS {
                let query = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE namespace = ?1)");
                if tx
                    .query_row(&query, [&key], |row| row.get::<_, bool>(0))
                    .map_err(sql)?
                {
                    holds.push(what);
                }
            }
            if !holds.is_empty() {
                let holds = holds.join(", ");
                let message =
                    format!("namespace {key:?} must be empty, but it still has {holds}: failed precondition");
                return Err(Error::failed_precondition(message));
            }
            tx.execute("DELETE FROM namespaces WHERE name = ?1", [&key])
                .map(drop)
                .map_err(sql)
        })
        .await?;
    shared.events.publish(
        name,
        "/namespaces/delete",
        wire::NamespaceDelete {
            name: name.to_owned(),
        }
        .to_any(),
    );
    Ok(())
}
