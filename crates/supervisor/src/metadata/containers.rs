//! Container records.

use async_trait::async_trait;
use gantry_supervisor_core::container::{Container, Containers, Runtime};
use gantry_supervisor_core::event::wire;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::{Any, Error, Result, Time, validate_identifier};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::db::{self, sql};
use super::fields::{self, Field};
use super::images::{from_sql, to_sql};
use crate::supervisor::Bound;

const COLUMNS: &str = "id, labels, image, runtime, options_type, options, spec_type, spec, snapshotter, \
                       snapshot_key, created_at, updated_at, sandbox";

fn read(row: &Row<'_>) -> Result<Container> {
    let text = |i| row.get::<_, String>(i).map_err(sql);
    let any = |i| -> Result<Option<Any>> {
        let type_url: Option<String> = row.get(i).map_err(sql)?;
        let value: Option<Vec<u8>> = row.get(i + 1).map_err(sql)?;
        Ok(type_url.map(|type_url| Any {
            type_url,
            value: value.unwrap_or_default(),
        }))
    };
    Ok(Container {
        id: text(0)?,
        labels: db::labels_from_text(&text(1)?)?,
        image: text(2)?,
        runtime: Runtime {
            name: text(3)?,
            options: any(4)?,
        },
        spec: any(6)?,
        snapshotter: text(8)?,
        snapshot_key: text(9)?,
        created_at: db::time_from_integer(row.get(10).map_err(sql)?),
        updated_at: db::time_from_integer(row.get(11).map_err(sql)?),
        extensions: Default::default(),
        sandbox: text(12)?,
    })
}

fn read_extensions(tx: &Transaction<'_>, namespace: &str, container: &mut Container) -> Result<()> {
    let query = "SELECT name, type, value FROM container_extensions WHERE namespace = ?1 AND id = ?2";
    let mut statement = tx.prepare_cached(query).map_err(sql)?;
    let rows = statement
        .query_map([namespace, &container.id], |row| {
            Ok((
                row.get(0)?,
                Any {
                    type_url: row.get(1)?,
                    value: row.get(2)?,
                },
            ))
        })
        .map_err(sql)?;
    container.extensions = rows.collect::<rusqlite::Result<_>>().map_err(sql)?;
    Ok(())
}

/// One container, for whoever is in a transaction already.
pub(crate) fn get(tx: &Transaction<'_>, namespace: &str, id: &str) -> Result<Container> {
    let query = format!("SELECT {COLUMNS} FROM containers WHERE namespace = ?1 AND id = ?2");
    let mut statement = tx.prepare_cached(&query).map_err(sql)?;
    let found = statement
        .query_row([namespace, id], |row| Ok(read(row)))
        .optional()
        .map_err(sql)?;
    let Some(container) = found else {
        let message = format!("container {id:?} in namespace {namespace:?}: not found");
        return Err(Error::not_found(message));
    };
    let mut container = container?;
    read_extensions(tx, namespace, &mut container)?;
    Ok(container)
}

fn put(tx: &Transaction<'_>, namespace: &str, c: &Container, replace: bool) -> Result<()> {
    if replace {
        // The extensions go with it.
        tx.execute(
            "DELETE FROM containers WHERE namespace = ?1 AND id = ?2",
            [namespace, &c.id],
        )
        .map_err(sql)?;
    }
    let statement = format!(
        "INSERT INTO containers (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    );
    tx.prepare_cached(&statement)
        .and_then(|mut s| {
            s.execute(params![
                namespace,
                c.id,
                db::labels_to_text(&c.labels).map_err(to_sql)?,
                c.image,
                c.runtime.name,
                c.runtime.options.as_ref().map(|any| &any.type_url),
                c.runtime.options.as_ref().map(|any| &any.value),
                c.spec.as_ref().map(|any| &any.type_url),
                c.spec.as_ref().map(|any| &any.value),
                c.snapshotter,
                c.snapshot_key,
                db::time_to_integer(c.created_at),
                db::time_to_integer(c.updated_at),
                c.sandbox,
            ])
        })
        .map(drop)
        .map_err(|e| match db::taken(&e) {
            true => Error::already_exists(format!("container {:?}: already exists", c.id)),
            false => from_sql(e),
        })?;
    for (name, any) in &c.extensions {
        let insert =
            "INSERT INTO container_extensions (namespace, id, name, type, value) VALUES (?1, ?2, ?3, ?4, ?5)";
        tx.execute(insert, params![namespace, c.id, name, any.type_url, any.value])
            .map_err(sql)?;
    }
    Ok(())
}

fn validate(container: &Container) -> Result<()> {
    validate_identifier(&container.id).map_err(|e| e.context("container.ID"))?;
    if container.runtime.name.is_empty() {
        return Err(Error::invalid(
            "container.Runtime.Name must be set: invalid argument",
        ));
    }
    if container.spec.is_none() {
        return Err(Error::invalid("container.Spec must be set: invalid argument"));
    }
    if !container.snapshot_key.is_empty() && container.snapshotter.is_empty() {
        return Err(Error::invalid(
            "container.Snapshotter must be set if container.SnapshotKey is set: invalid argument",
        ));
    }
    Ok(())
}

#[async_trait]
impl Containers for Bound {
    async fn get(&self, id: &str) -> Result<Container> {
        let (namespace, id) = (self.namespace.clone(), id.to_owned());
        self.shared.db.call(move |tx| get(tx, &namespace, &id)).await
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Container>> {
        let filters = Filters::parse(filters)?;
        let namespace = self.namespace.clone();
        let all: Vec<Container> = self
            .shared
            .db
            .call(move |tx| {
                let query = format!("SELECT {COLUMNS} FROM containers WHERE namespace = ?1 ORDER BY id");
                let mut statement = tx.prepare_cached(&query).map_err(sql)?;
                let rows = statement
                    .query_map([&namespace], |row| Ok(read(row)))
                    .map_err(sql)?;
                let mut all = rows.map(|row| row.map_err(sql)?).collect::<Result<Vec<_>>>()?;
                for container in &mut all {
                    read_extensions(tx, &namespace, container)?;
                }
                Ok(all)
            })
            .await?;
        let matches = |c: &Container| {
            filters.matches(
                &|path: &[String]| match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["id"] => Some(c.id.clone()),
                    ["image"] => Some(c.image.clone()),
                    ["runtime", "name"] => Some(c.runtime.name.clone()),
                    ["snapshotter"] => Some(c.snapshotter.clone()),
                    ["snapshotkey"] => Some(c.snapshot_key.clone()),
                    ["labels", ..] => c.labels.get(&path[1..].join(".")).cloned(),
                    _ => None,
                },
            )
        };
        Ok(all.into_iter().filter(matches).collect())
    }

    async fn create(&self, mut container: Container) -> Result<Container> {
        validate(&container)?;
        container.created_at = Time::now();
        container.updated_at = container.created_at;
        let (namespace, row) = (self.namespace.clone(), container.clone());
        self.shared
            .db
            .call(move |tx| {
                db::touch_namespace(tx, &namespace)?;
                put(tx, &namespace, &row, false)
            })
            .await?;
        let event = wire::ContainerCreate {
            id: container.id.clone(),
            image: container.image.clone(),
            runtime: Some(wire::ContainerRuntime {
                name: container.runtime.name.clone(),
            }),
        };
        self.tell("/containers/create", event.to_any());
        Ok(container)
    }

    async fn update(&self, container: Container, mask: &[String]) -> Result<Container> {
        let whole = [
            "spec",
            "image",
            "snapshotkey",
            "snapshotter",
            "runtime",
            "sandbox",
        ];
        let object = format!("container {:?}", container.id);
        let changes = fields::parse(&object, mask, &["labels", "extensions"], &whole)?;
        let namespace = self.namespace.clone();
        let container = self
            .shared
            .db
            .call(move |tx| {
                let stored = get(tx, &namespace, &container.id)?;
                let mut updated = apply(stored, &container, changes)?;
                validate(&updated)?;
                updated.updated_at = Time::now();
                put(tx, &namespace, &updated, true)?;
                Ok(updated)
            })
            .await?;
        let event = wire::ContainerUpdate {
            id: container.id.clone(),
            image: container.image.clone(),
            labels: container.labels.clone(),
            snapshot_key: container.snapshot_key.clone(),
        };
        self.tell("/containers/update", event.to_any());
        Ok(container)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let (namespace, key) = (self.namespace.clone(), id.to_owned());
        let tasks = self.shared.tasks.clone();
        self.shared
            .db
            .call(move |tx| {
                // Here, where who makes a task would read the record: one of both sees the other.
                if tasks.has(&namespace, &key) {
                    let message = format!("cannot delete running task {key}: failed precondition");
                    return Err(Error::failed_precondition(message));
                }
                get(tx, &namespace, &key)?;
                tx.execute(
                    "DELETE FROM containers WHERE namespace = ?1 AND id = ?2",
                    [&namespace, &key],
                )
                .map(drop)
                .map_err(sql)
            })
            .await?;
        self.tell(
            "/containers/delete",
            wire::ContainerDelete { id: id.to_owned() }.to_any(),
        );
        Ok(())
    }
}

/// The stored record with the changes of a mask; without one, with all that may change.
fn apply(mut stored: Container, from: &Container, changes: Vec<Field>) -> Result<Container> {
    if changes.is_empty() {
        if from.runtime.name != stored.runtime.name {
            return Err(Error::invalid(
                "container.Runtime.Name field is immutable: invalid argument",
            ));
        }
        if from.snapshotter != stored.snapshotter {
            return Err(Error::invalid(
                "container.Snapshotter field is immutable: invalid argument",
            ));
        }
        let created_at = stored.created_at;
        stored = from.clone();
        stored.created_at = created_at;
        return Ok(stored);
    }
    for change in changes {
        match change {
            Field::Entry(map, key) if map == "labels" => {
                fields::set_label(&mut stored.labels, &key, &from.labels);
            }
            Field::Entry(_, key) => match from.extensions.get(&key) {
                Some(any) => drop(stored.extensions.insert(key, any.clone())),
                None => drop(stored.extensions.remove(&key)),
            },
            Field::Whole(field) => match field.as_str() {
                "labels" => stored.labels.clone_from(&from.labels),
                "extensions" => stored.extensions.clone_from(&from.extensions),
                "spec" => stored.spec.clone_from(&from.spec),
                "image" => stored.image.clone_from(&from.image),
                "snapshotkey" => stored.snapshot_key.clone_from(&from.snapshot_key),
                "snapshotter" => stored.snapshotter.clone_from(&from.snapshotter),
                "runtime" => stored.runtime.clone_from(&from.runtime),
                _ => stored.sandbox.clone_from(&from.sandbox),
            },
        }
    }
    Ok(stored)
}
