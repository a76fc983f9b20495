//! The engine as a value: opened on its roots, with everything that was recorded brought to what is.

use std::sync::{Arc, Weak};

use gantry_errdefs::Error;
use gantry_supervisor_core::Services;

use crate::container::watch::watch;
use crate::container::{All, Container, Exec};
use crate::db::Db;
use crate::event::Bus;
use crate::{Config, Result, fail, record};

/// The engine: one per pair of roots.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) services: Services,
    pub(crate) db: Db,
    pub(crate) events: Bus,
    pub(crate) all: All,
    /// Names this engine, for `info`.
    pub(crate) id: String,
    /// Itself, for what goes on after a call.
    pub(crate) me: Weak<Engine>,
    /// Held while images are changed in ways that others must not see half of.
    pub(crate) images: tokio::sync::Mutex<()>,
    /// Pulls under way, by image.
    pub(crate) pulls: crate::image::Pulls,
}

impl Engine {
    /// Opens it: returns once what was recorded agrees with what is. Must be called within tokio.
    pub async fn open(config: Config, services: Services) -> Result<Arc<Engine>> {
        let make = |path: &std::path::Path| {
            std::fs::create_dir_all(path).map_err(|error| fail::on_path("make", path, error))
        };
        make(&config.data_root.join("containers"))?;
        make(&config.exec_root)?;
        let db = Db::open(&config.data_root.join("engine.db"))?;
        let all = All::default();
        for text in db.containers().await? {
            all.insert(Container::new(record::Container::decode(&text)?));
        }
        for text in db.execs().await? {
            let exec = record::Exec::decode(&text)?;
            match all.get(&exec.container) {
                Some(_) => all.insert_exec(Exec::new(exec)),
                None => db.delete_execs(&exec.container).await?,
            }
        }
        let id = identity(&config.data_root)?;
        let engine = Arc::new_cyclic(|me| Engine {
            config,
            services,
            db,
            events: Bus::new(),
            all,
            id,
            me: me.clone(),
            images: tokio::sync::Mutex::new(()),
            pulls: crate::image::Pulls::default(),
        });
        let (ready, done) = tokio::sync::oneshot::channel();
        tokio::spawn(watch(Arc::downgrade(&engine), ready));
        done.await
            .map_err(|_| Error::internal("the engine's ear was cut off"))?;
        engine.sweep().await?;
        engine.sweep_unpacking().await?;
        Ok(engine)
    }
}

/// The engine's name, made once for a data root.
fn identity(root: &std::path::Path) -> Result<String> {
    let path = root.join("engine-id");
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(text.trim().to_owned());
    }
    let id = crate::names::new_id()?;
    std::fs::write(&path, &id).map_err(|error| fail::on_path("write", &path, error))?;
    Ok(id)
}
