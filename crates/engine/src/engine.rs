//! The engine itself: what all rooms share, and its opening.

use std::sync::Arc;

use gantry_supervisor_core::Services;

use crate::container::All;
use crate::db::Db;
use crate::event::Bus;
use crate::{Config, Result, fail};

/// The engine: one per pair of roots.
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) services: Services,
    pub(crate) events: Bus,
    pub(crate) db: Db,
    pub(crate) all: All,
    /// Itself, for what goes on behind a call.
    pub(crate) this: std::sync::Weak<Engine>,
}

impl Engine {
    /// Opens the engine on its roots: reads what there is, compares it with what runs, and finishes what was begun.
    pub async fn open(config: Config, services: Services) -> Result<Arc<Engine>> {
        let folder = config.data_root.join("containers");
        std::fs::create_dir_all(&folder).map_err(|e| fail::on_path("create", &folder, e))?;
        let db = Db::open(&config.data_root.join("engine.db"))?;
        let engine = Arc::new_cyclic(|this| Engine {
            config,
            services,
            events: Bus::new(),
            db,
            all: All::default(),
            this: this.clone(),
        });
        Ok(engine)
    }
}
