//! Leases and what they hold.

use async_trait::async_trait;
use gantry_supervisor_core::filter::Filters;
use gantry_supervisor_core::lease::{Lease, Leases, Resource};
use gantry_supervisor_core::{Error, Labels, Result, Time};
use rusqlite::{Transaction, params};

use super::db::{self, sql};
use crate::supervisor::Bound;

fn check(tx: &Transaction<'_>, namespace: &str, id: &str) -> Result<()> {
    let query = "SELECT EXISTS (SELECT 1 FROM leases WHERE namespace = ?1 AND id = ?2)";
    match tx
        .query_row(query, [namespace, id], |row| row.get(0))
        .map_err(sql)?
    {
        true => Ok(()),
        false => Err(Error::not_found(format!("lease {id:?}: not found"))),
    }
}

#[async_trait]
impl Leases for Bound {
    async fn create(&self, id: &str, labels: Labels) -> Result<Lease> {
        if id.is_empty() {
            return Err(Error::invalid("lease id must be provided: invalid argument"));
        }
        let lease = Lease {
            id: id.to_owned(),
            created_at: Time::now(),
            labels,
        };
        let (namespace, row) = (self.namespace.clone(), lease.clone());
        self.shared
            .db
            .call(move |tx| {
                db::touch_namespace(tx, &namespace)?;
                let labels = db::labels_to_text(&row.labels)?;
                let at = db::time_to_integer(row.created_at);
                tx.prepare_cached(
                    "INSERT INTO leases (namespace, id, labels, created_at) VALUES (?1, ?2, ?3, ?4)",
                )
                .and_then(|mut s| s.execute(params![namespace, row.id, labels, at]))
                .map(drop)
                .map_err(|e| match db::taken(&e) {
                    true => Error::already_exists(format!("lease {:?}: already exists", row.id)),
                    false => sql(e),
                })
            })
            .await?;
        Ok(lease)
    }

    async fn delete(&self, id: &str) -> Result<()> {
        let (namespace, id) = (self.namespace.clone(), id.to_owned());
        self.shared
            .db
            .call(move |tx| {
                check(tx, &namespace, &id)?;
                tx.execute(
                    "DELETE FROM leases WHERE namespace = ?1 AND id = ?2",
                    [&namespace, &id],
                )
                .map(drop)
                .map_err(sql)
            })
            .await
    }

    async fn list(&self, filters: &[String]) -> Result<Vec<Lease>> {
        let filters = Filters::parse(filters)?;
        let namespace = self.namespace.clone();
        let all = self
            .shared
            .db
            .call(move |tx| {
                let query = "SELECT id, labels, created_at FROM leases WHERE namespace = ?1 ORDER BY id";
                let mut statement = tx.prepare_cached(query).map_err(sql)?;
                let mut rows = statement.query([&namespace]).map_err(sql)?;
                let mut all = Vec::new();
                while let Some(row) = rows.next().map_err(sql)? {
                    all.push(Lease {
                        id: row.get(0).map_err(sql)?,
                        labels: db::labels_from_text(&row.get::<_, String>(1).map_err(sql)?)?,
                        created_at: db::time_from_integer(row.get(2).map_err(sql)?),
                    });
                }
                Ok(all)
            })
            .await?;
        let matches = |lease: &Lease| {
            filters.matches(&|path: &[String]| match path.first().map(String::as_str) {
                Some("id") => Some(lease.id.clone()),
                Some("labels") => lease.labels.get(&path[1..].join(".")).cloned(),
                _ => None,
            })
        };
        Ok(all.into_iter().filter(matches).collect())
    }

    async fn add_resource(&self, id: &str, resource: Resource) -> Result<()> {
        let kind = resource.kind.split('/').next().unwrap_or_default();
        if !matches!(kind, "content" | "ingests" | "images" | "snapshots") || resource.id.is_empty() {
            let message = format!(
                "lease resource {:?} of type {:?}: invalid argument",
                resource.id, resource.kind
            );
            return Err(Error::invalid(message));
        }
        let (namespace, id) = (self.namespace.clone(), id.to_owned());
        self.shared
            .db
            .call(move |tx| {
                check(tx, &namespace, &id)?;
                let insert = "INSERT OR IGNORE INTO lease_resources (namespace, lease, kind, id) VALUES (?1, ?2, ?3, ?4)";
                tx.execute(insert, [&namespace, &id, &resource.kind, &resource.id]).map(drop).map_err(sql)
            })
            .await
    }

    async fn delete_resource(&self, id: &str, resource: Resource) -> Result<()> {
        let (namespace, id) = (self.namespace.clone(), id.to_owned());
        self.shared
            .db
            .call(move |tx| {
                check(tx, &namespace, &id)?;
                let delete =
                    "DELETE FROM lease_resources WHERE namespace = ?1 AND lease = ?2 AND kind = ?3 AND id = ?4";
                tx.execute(delete, [&namespace, &id, &resource.kind, &resource.id]).map(drop).map_err(sql)
            })
            .await
    }

    async fn resources(&self, id: &str) -> Result<Vec<Resource>> {
        let (namespace, id) = (self.namespace.clone(), id.to_owned());
        self.shared
            .db
            .call(move |tx| {
                check(tx, &namespace, &id)?;
                let query = "SELECT id, kind FROM lease_resources WHERE namespace = ?1 AND lease = ?2 ORDER BY kind, id";
                let mut statement = tx.prepare_cached(query).map_err(sql)?;
                let rows = statement
                    .query_map([&namespace, &id], |row| Ok(Resource { id: row.get(0)?, kind: row.get(1)? }))
                    .map_err(sql)?;
                rows.map(|row| row.map_err(sql)).collect()
            })
            .await
    }
}
