//! Names of images.

use async_trait::async_trait;
use gantry_supervisor_core::event::wire;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::image::{Descriptor, Image, Images};
use gantry_supervisor_core::{Error, Result, Time};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::db::{self, sql};
use super::fields::{self, Field};
use crate::supervisor::Bound;

const COLUMNS: &str = "name, labels, media_type, digest, size, annotations, created_at, updated_at";

fn read(row: &Row<'_>) -> Result<Image> {
    let text = |i| row.get::<_, String>(i).map_err(sql);
    Ok(Image {
        name: text(0)?,
        labels: db::labels_from_text(&text(1)?)?,
        target: Descriptor {
            media_type: text(2)?,
            digest: text(3)?,
            size: row.get::<_, i64>(4).map_err(sql)?.unsigned_abs(),
            annotations: db::labels_from_text(&text(5)?)?,
        },
        created_at: db::time_from_integer(row.get(6).map_err(sql)?),
        updated_at: db::time_from_integer(row.get(7).map_err(sql)?),
    })
}

fn get(tx: &Transaction<'_>, namespace: &str, name: &str) -> Result<Image> {
    let query = format!("SELECT {COLUMNS} FROM images WHERE namespace = ?1 AND name = ?2");
    let mut statement = tx.prepare_cached(&query).map_err(sql)?;
    let found = statement
        .query_row([namespace, name], |row| Ok(read(row)))
        .optional()
        .map_err(sql)?;
    found.unwrap_or_else(|| Err(Error::not_found(format!("image {name:?}: not found"))))
}

fn put(tx: &Transaction<'_>, namespace: &str, image: &Image, replace: bool) -> Result<()> {
    let verb = if replace { "INSERT OR REPLACE" } else { "INSERT" };
    let statement =
        format!("{verb} INTO images (namespace, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)");
    let size = i64::try_from(image.target.size).unwrap_or(i64::MAX);
    tx.prepare_cached(&statement)
        .and_then(|mut s| {
            s.execute(params![
                namespace,
                image.name,
                db::labels_to_text(&image.labels).map_err(to_sql)?,
                image.target.media_type,
                image.target.digest,
                size,
                db::labels_to_text(&image.target.annotations).map_err(to_sql)?,
                db::time_to_integer(image.created_at),
                db::time_to_integer(image.updated_at),
            ])
        })
        .map(drop)
        .map_err(|e| match db::taken(&e) {
            true => Error::already_exists(format!("image {:?}: already exists", image.name)),
            false => from_sql(e),
        })
}

/// Carries an error of ours through the database's.
pub(super) fn to_sql(error: Error) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

/// Takes it out again.
pub(super) fn from_sql(error: rusqlite::Error) -> Error {
    match error {
        rusqlite::Error::ToSqlConversionFailure(inner) => match inner.downcast::<Error>() {
            Ok(error) => *error,
            Err(inner) => sql(rusqlite::Error::ToSqlConversionFailure(inner)),
        },
        error => sql(error),
    }
}

fn validate(image: &Image) -> Result<()> {
    if image.name.is_empty() {
        return Err(Error::invalid("image name must not be empty: invalid argument"));
    }
    if image.target.digest.is_empty() {
        return Err(Error::invalid(
            "image target digest must not be empty: invalid argument",
        ));
    }
    if malformed(&image.target.digest) {
        let message = format!(
            "invalid digest {:?} of image {:?}: invalid argument",
            image.target.digest, image.name
        );
        return Err(Error::invalid(message));
    }
    if image.target.media_type.is_empty() {
        return Err(Error::invalid("Target.MediaType must be set: invalid argument"));
    }
    Ok(())
}

/// Whether it is not `algorithm:hex`.
fn malformed(digest: &str) -> bool {
    !digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty()
            && hex.len() >= 32
            && hex
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

#[async_trait]
impl Images for Bound {
    async fn get(&self, name: &str) -> Result<Image> {
        let (namespace, name) = (self.namespace.clone(), name.to_owned());
        self.shared.db.call(move |tx| get(tx, &namespace, &name)).await
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Image>> {
        let filters = Filters::parse(filters)?;
        let namespace = self.namespace.clone();
        let all: Vec<Image> = self
            .shared
            .db
            .call(move |tx| {
                let query = format!("SELECT {COLUMNS} FROM images WHERE namespace = ?1 ORDER BY name");
                let mut statement = tx.prepare_cached(&query).map_err(sql)?;
                let rows = statement
                    .query_map([&namespace], |row| Ok(read(row)))
                    .map_err(sql)?;
                rows.map(|row| row.map_err(sql)?).collect()
            })
            .await?;
        let matches = |image: &Image| {
            filters.matches(
                &|path: &[String]| match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                    ["name"] => Some(image.name.clone()),
                    ["target", "digest"] => Some(image.target.digest.clone()),
                    ["target", "mediatype"] => Some(image.target.media_type.clone()),
                    ["labels", ..] => image.labels.get(&path[1..].join(".")).cloned(),
                    ["annotations", ..] => image.target.annotations.get(&path[1..].join(".")).cloned(),
                    _ => None,
                },
            )
        };
        Ok(all.into_iter().filter(matches).collect())
    }

    async fn create(&self, mut image: Image) -> Result<Image> {
        validate(&image)?;
        image.created_at = Time::now();
        image.updated_at = image.created_at;
        let (namespace, row) = (self.namespace.clone(), image.clone());
        self.shared
            .db
            .call(move |tx| {
                db::touch_namespace(tx, &namespace)?;
                put(tx, &namespace, &row, false)
            })
            .await?;
        let event = wire::ImageCreate {
            name: image.name.clone(),
            labels: image.labels.clone(),
        }
        .to_any();
        self.tell("/images/create", event);
        Ok(image)
    }

    async fn update(&self, image: Image, mask: &[String]) -> Result<Image> {
        let maps = ["labels", "annotations"];
        let changes = fields::parse(&format!("image {:?}", image.name), mask, &maps, &["target"])?;
        let namespace = self.namespace.clone();
        let image = self
            .shared
            .db
            .call(move |tx| {
                let mut stored = get(tx, &namespace, &image.name)?;
                if changes.is_empty() {
                    stored.labels.clone_from(&image.labels);
                    stored.target = image.target.clone();
                }
                for change in changes {
                    match change {
                        Field::Entry(map, key) if map == "labels" => {
                            fields::set_label(&mut stored.labels, &key, &image.labels);
                        }
                        Field::Entry(_, key) => {
                            fields::set_label(
                                &mut stored.target.annotations,
                                &key,
                                &image.target.annotations,
                            );
                        }
                        Field::Whole(field) if field == "labels" => stored.labels.clone_from(&image.labels),
                        Field::Whole(field) if field == "annotations" => {
                            stored.target.annotations.clone_from(&image.target.annotations);
                        }
                        Field::Whole(_) => stored.target = image.target.clone(),
                    }
                }
                validate(&stored)?;
                stored.updated_at = Time::now();
                put(tx, &namespace, &stored, true)?;
                Ok(stored)
            })
            .await?;
        let event = wire::ImageUpdate {
            name: image.name.clone(),
            labels: image.labels.clone(),
        }
        .to_any();
        self.tell("/images/update", event);
        Ok(image)
    }

    async fn delete(&self, name: &str, _sync: bool) -> Result<()> {
        let (namespace, key) = (self.namespace.clone(), name.to_owned());
        self.shared
            .db
            .call(move |tx| {
                get(tx, &namespace, &key)?;
                tx.execute(
                    "DELETE FROM images WHERE namespace = ?1 AND name = ?2",
                    [&namespace, &key],
                )
                .map(drop)
                .map_err(sql)
            })
            .await?;
        self.tell(
            "/images/delete",
            wire::ImageDelete {
                name: name.to_owned(),
            }
            .to_any(),
        );
        Ok(())
    }
}
