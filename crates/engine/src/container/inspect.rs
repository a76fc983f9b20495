//! Everything that is known of one container.

use gantry_api_types::ZERO_TIME;
use gantry_api_types::container::{DriverData, Inspect, NetworkSettings, State};
use gantry_supervisor_core::Time;

use super::state::Status;
use crate::{Engine, Result, clock, user};

impl Engine {
    /// About a container.
    pub async fn container_inspect(&self, reference: &str, size: bool) -> Result<Inspect> {
        let container = self.find(reference)?;
        let record = container.record();
        let state = &record.state;
        let time = |at: i64| match at {
            0 => ZERO_TIME.to_owned(),
            at => clock::rfc3339(Time(i128::from(at))),
        };
        let folder = self.folder(&record.id);
        let path = |name: &str| folder.join(name).display().to_string();
        let mut graph = DriverData {
            name: "overlayfs".to_owned(),
            ..DriverData::default()
        };
        if let Ok(mounts) = self.services.snapshots.mounts("", &record.id).await {
            let layers = user::layers(&mounts);
            let mut layers = layers.iter().map(|layer| layer.display().to_string());
            if let Some(upper) = layers.next() {
                graph.data.insert("UpperDir".to_owned(), upper);
            }
            graph
                .data
                .insert("LowerDir".to_owned(), layers.collect::<Vec<_>>().join(":"));
        }
        let execs = self.all.execs_of(&record.id);
        let running = execs
            .iter()
            .map(|exec| exec.record())
            .filter(|exec| exec.running)
            .map(|exec| exec.id);
        let written = if size {
            Some(self.size(&record.id).await)
        } else {
            None
        };
        Ok(Inspect {
            id: record.id.clone(),
            created: clock::rfc3339(Time(i128::from(record.created))),
            path: record.command.first().cloned().unwrap_or_default(),
            args: record.command.get(1..).unwrap_or_default().to_vec(),
            state: State {
                status: super::list::word(state).to_owned(),
                running: state.status.is_up(),
                paused: state.status == Status::Paused,
                restarting: state.status == Status::Restarting,
                oom_killed: state.oom_killed,
                dead: false,
                pid: i64::from(state.pid),
                exit_code: state.exit_code,
                error: state.error.clone(),
                started_at: time(state.started_at),
                finished_at: time(state.finished_at),
                health: None,
            },
            image: record.image_id.clone(),
            resolv_conf_path: path("resolv.conf"),
            hostname_path: path("hostname"),
            hosts_path: path("hosts"),
            log_path: self.log_path(&record.id).display().to_string(),
            name: format!("/{}", record.name),
            restart_count: state.restarts,
            driver: "overlayfs".to_owned(),
            platform: record.platform.clone(),
            exec_ids: running.collect(),
            host_config: record.host.clone(),
            graph_driver: graph,
            size_rw: written,
            mounts: record.mounts.clone(),
            config: record.config.clone(),
            network_settings: NetworkSettings::default(),
            ..Inspect::default()
        })
    }
}
