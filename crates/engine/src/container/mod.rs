//! The containers there are: each with its record, the lock of who changes it, and word of every change.

mod attach;
mod create;
mod exec;
mod inspect;
mod judge;
mod list;
mod logs;
mod options;
mod remove;
mod start;
pub(crate) mod state;
mod stats;
mod stop;
#[cfg(test)]
mod tests;
mod top;
mod update;
mod wait;
pub(crate) mod watch;

use std::collections::HashMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_api_types::Map;
use gantry_errdefs::Error;
use gantry_supervisor_core::task::Attachment;
use tokio::sync::{oneshot, watch as channel};

use crate::db::Refused;
use crate::{Engine, fail, names, record};

pub use attach::Attach;
pub use exec::ExecAttach;
pub use logs::Logs;
pub use wait::Wait;

/// Somebody who wants to be attached once the container is made.
pub(crate) struct Waiting {
    pub(crate) streams: gantry_supervisor_core::task::AttachStreams,
    pub(crate) to: oneshot::Sender<Attachment>,
}

/// One container.
pub(crate) struct Container {
    /// Held by who starts, stops, removes or renames it.
    pub(crate) operation: tokio::sync::Mutex<()>,
    record: Mutex<record::Container>,
    /// Held from the reading of the record to the writing of the changed one.
    writing: tokio::sync::Mutex<()>,
    /// Starts in a row after which it soon ended: the longer, the slower it is started again.
    pub(crate) failures: AtomicU32,
    /// Counts changes; the value is whether it is gone.
    pub(crate) changes: channel::Sender<bool>,
    pub(crate) waiting: Mutex<Vec<Waiting>>,
}

/// One exec.
pub(crate) struct Exec {
    record: Mutex<record::Exec>,
    writing: tokio::sync::Mutex<()>,
    pub(crate) changes: channel::Sender<()>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct All {
    containers: Mutex<HashMap<String, Arc<Container>>>,
    execs: Mutex<HashMap<String, Arc<Exec>>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Container {
    pub(crate) fn new(record: record::Container) -> Arc<Self> {
        Arc::new(Self {
            operation: tokio::sync::Mutex::new(()),
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::new(()),
            failures: AtomicU32::new(0),
            changes: channel::Sender::new(false),
            waiting: Mutex::new(Vec::new()),
        })
    }

    /// A copy of the record as it is now.
    pub(crate) fn record(&self) -> record::Container {
        lock(&self.record).clone()
    }

    /// Whether it was removed while somebody waited for it.
    pub(crate) fn is_gone(&self) -> bool {
        *self.changes.borrow()
    }

    /// The turn of who does something with the container, which is still there. `reference`: what the user called it.
    pub(crate) async fn hold(&self, reference: &str) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        let turn = self.operation.lock().await;
        match self.is_gone() {
            true => Err(fail::no_such_container(reference)),
            false => Ok(turn),
        }
    }

    /// Reads something of the record.
    pub(crate) fn read<T>(&self, with: impl FnOnce(&record::Container) -> T) -> T {
        with(&lock(&self.record))
    }
}

impl Exec {
    pub(crate) fn new(record: record::Exec) -> Arc<Self> {
        Arc::new(Self {
            record: Mutex::new(record),
            writing: tokio::sync::Mutex::new(()),
            changes: channel::Sender::new(()),
        })
    }

    pub(crate) fn record(&self) -> record::Exec {
        lock(&self.record).clone()
    }
}

impl All {
    pub(crate) fn insert(&self, container: Arc<Container>) {
        let id = container.read(|record| record.id.clone());
        lock(&self.containers).insert(id, container);
    }

    pub(crate) fn remove(&self, id: &str) {
        lock(&self.containers).remove(id);
        lock(&self.execs).retain(|_, exec| exec.record().container != id);
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Container>> {
        lock(&self.containers).get(id).cloned()
    }

    pub(crate) fn list(&self) -> Vec<Arc<Container>> {
        lock(&self.containers).values().cloned().collect()
    }

    pub(crate) fn insert_exec(&self, exec: Arc<Exec>) {
        let id = exec.record().id;
        lock(&self.execs).insert(id, exec);
    }

    pub(crate) fn exec(&self, id: &str) -> Option<Arc<Exec>> {
        lock(&self.execs).get(id).cloned()
    }

    pub(crate) fn execs_of(&self, container: &str) -> Vec<Arc<Exec>> {
        lock(&self.execs)
            .values()
            .filter(|exec| exec.record().container == container)
            .cloned()
            .collect()
    }
}

/// A container that uses an image.
pub(crate) struct ImageUser {
    pub(crate) container_id: String,
    pub(crate) running: bool,
}

impl Engine {
    /// The container that a user named: by id, name or the beginning of an id.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Container>, Error> {
        let all = self.all.list();
        let pairs: Vec<(String, String)> = all
            .iter()
            .map(|c| c.read(|r| (r.id.clone(), r.name.clone())))
            .collect();
        let id = names::resolve(
            reference,
            pairs.iter().map(|(id, name)| (id.as_str(), name.as_str())),
        )?;
        self.all.get(id).ok_or_else(|| fail::no_such_container(reference))
    }

    /// Carries an operation to its end even when who asked for it goes away meanwhile.
    pub(crate) async fn whole<T, F>(&self, operation: impl FnOnce(Arc<Engine>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let engine = self
            .me
            .upgrade()
            .ok_or_else(|| Error::unavailable("the engine is closing"))?;
        let done = tokio::spawn(operation(engine)).await;
        done.map_err(|error| Error::internal(format!("the operation was cut off: {error}")))?
    }

    /// Changes a record: on disk first, then for everybody to see.
    pub(crate) async fn change(
        &self,
        container: &Container,
        change: impl FnOnce(&mut record::Container),
    ) -> Result<record::Container, Error> {
        let changed = self.change_if(container, |record| {
            change(record);
            true
        });
        Ok(changed.await?.unwrap_or_else(|| container.record()))
    }

    /// Changes a record if `change` still finds it as it should be; none when it says no.
    pub(crate) async fn change_if(
        &self,
        container: &Container,
        change: impl FnOnce(&mut record::Container) -> bool,
    ) -> Result<Option<record::Container>, Error> {
        let _writing = container.writing.lock().await;
        let mut record = container.record();
        if !change(&mut record) {
            return Ok(None);
        }
        let text = record.encode()?;
        self.db
            .update_container(&record.id, &record.name, text)
            .await
            .map_err(|refused| match refused {
                Refused::NameTaken { by } => fail::name_in_use(&record.name, &by),
                Refused::Failed(error) => error,
            })?;
        *lock(&container.record) = record.clone();
        container.changes.send_modify(|_| {});
        Ok(Some(record))
    }

    /// Changes the record of an exec if `change` still finds it as it should be.
    pub(crate) async fn change_exec(
        &self,
        exec: &Exec,
        change: impl FnOnce(&mut record::Exec) -> bool,
    ) -> Result<bool, Error> {
        let _writing = exec.writing.lock().await;
        let mut record = exec.record();
        if !change(&mut record) {
            return Ok(false);
        }
        self.db
            .put_exec(&record.id, &record.container, record.encode()?)
            .await?;
        *lock(&exec.record) = record;
        exec.changes.send_modify(|()| {});
        Ok(true)
    }

    /// Tells of something that happened to a container.
    pub(crate) fn tell(&self, record: &record::Container, action: &str, more: &[(&str, String)]) {
        let mut attributes: Map<String> = record.config.labels.clone();
        attributes.insert("image".to_owned(), record.config.image.clone());
        attributes.insert("name".to_owned(), record.name.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.send("container", action, &record.id, attributes);
    }

    /// The containers that use an image.
    pub(crate) fn image_users(&self, image_id: &str) -> Vec<ImageUser> {
        let all = self.all.list();
        let records = all
            .iter()
            .map(|container| container.record())
            .filter(|record| record.image_id == image_id);
        records
            .map(|record| ImageUser {
                container_id: record.id,
                running: record.state.status.is_up(),
            })
            .collect()
    }
}
