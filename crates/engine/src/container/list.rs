//! Lists of containers, with the words of `ps`.

use gantry_api_types::container::{Port, Summary, SummaryHostConfig, SummaryNetworkSettings};
use gantry_api_types::network::EndpointSettings;
use gantry_errdefs::Error;
use gantry_supervisor_core::Time;

use super::state::Status;
use crate::{Engine, ListOptions, Result, record};

const KEYS: &[&str] = &[
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

impl Engine {
    /// The containers that are wanted, newest first.
    pub async fn container_list(&self, options: ListOptions) -> Result<Vec<Summary>> {
        let filters = &options.filters;
        if let Some(key) = filters.unknown_key(KEYS) {
            return Err(Error::invalid(format!("invalid filter '{key}'")));
        }
        for status in filters.get("status") {
            if ![
                "created",
                "restarting",
                "running",
                "removing",
                "paused",
                "exited",
                "dead",
            ]
            .contains(&status)
            {
                return Err(Error::invalid(format!("invalid filter 'status={status}'")));
            }
        }
        let mut exited = Vec::new();
        for code in filters.get("exited") {
            exited.push(
                code.parse::<i64>()
                    .map_err(|_| Error::invalid(format!("invalid filter 'exited={code}'")))?,
            );
        }
        let bound = |key: &str| -> Result<Option<i64>> {
            let named = filters.get(key).next();
            named
                .map(|name| Ok(self.find(name)?.read(|record| record.created)))
                .transpose()
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let mut ancestors = Vec::new();
        for name in filters.get("ancestor") {
            // One that is not there has no descendants.
            ancestors.push((
                name.to_owned(),
                self.image_resolve(name, None)
                    .await
                    .map(|image| image.id)
                    .unwrap_or_default(),
            ));
        }
        let mut records: Vec<record::Container> = self
            .all
            .list()
            .iter()
            .map(|container| container.record())
            .collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.created));
        let all =
            options.all || options.limit > 0 || filters.contains("status") || filters.contains("exited");
        records.retain(|record| {
            let state = &record.state;
            (all || state.status.is_up())
                && filters.labels("label", &record.config.labels)
                && (!filters.contains("id") || filters.get("id").any(|id| record.id.contains(id)))
                && (!filters.contains("name")
                    || filters.get("name").any(|name| name_matches(&record.name, name)))
                && (!filters.contains("network")
                    || filters
                        .get("network")
                        .any(|name| name == record.host.network_mode))
                && (!filters.contains("volume") || filters.get("volume").any(|name| has_volume(record, name)))
                && (!filters.contains("health") || filters.get("health").any(|health| health == "none"))
                && !filters.contains("publish")
                && (!filters.contains("expose") || filters.get("expose").any(|port| exposes(record, port)))
                && (!filters.contains("is-task")
                    || filters.get("is-task").any(|task| matches!(task, "false" | "0")))
                && filters.exact("status", word(state))
                && (exited.is_empty()
                    || (state.status == Status::Exited && exited.contains(&state.exit_code)))
                && before.is_none_or(|bound| record.created < bound)
                && since.is_none_or(|bound| record.created > bound)
                && (ancestors.is_empty()
                    || ancestors
                        .iter()
                        .any(|(name, id)| record.image_id == *id || record.config.image == *name))
        });
        if options.limit > 0 {
            records.truncate(usize::try_from(options.limit).unwrap_or(usize::MAX));
        }
        let mut summaries = Vec::new();
        for record in records {
            let size = if options.size {
                self.size(&record.id).await
            } else {
                0
            };
            summaries.push(summary(&record, size));
        }
        Ok(summaries)
    }

    /// What a container has written.
    pub(crate) async fn size(&self, id: &str) -> i64 {
        let usage = self.services.snapshots.usage("", id).await;
        usage.map_or(0, |usage| i64::try_from(usage.size).unwrap_or(i64::MAX))
    }
}

fn has_volume(record: &record::Container, name: &str) -> bool {
    record
        .mounts
        .iter()
        .any(|point| point.name == name || point.source == name || point.destination == name)
}

fn exposes(record: &record::Container, port: &str) -> bool {
    let wanted = if port.contains('/') {
        port.to_owned()
    } else {
        format!("{port}/tcp")
    };
    record.config.exposed_ports.contains_key(&wanted)
}

/// Docker takes the filter for a regular expression; the forms that people use are a part, and anchors at either end.
fn name_matches(name: &str, filter: &str) -> bool {
    let (filter, from_start) = filter
        .strip_prefix('^')
        .map_or((filter, false), |rest| (rest, true));
    let (filter, to_end) = filter
        .strip_suffix('$')
        .map_or((filter, false), |rest| (rest, true));
    let slashed = format!("/{name}");
    [name, slashed.as_str()]
        .into_iter()
        .any(|name| match (from_start, to_end) {
            (true, true) => name == filter,
            (true, false) => name.starts_with(filter),
            (false, true) => name.ends_with(filter),
            (false, false) => name.contains(filter),
        })
}

fn summary(record: &record::Container, size: i64) -> Summary {
    let quoted = |word: &String| {
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    let command: Vec<String> = record
        .command
        .iter()
        .take(1)
        .cloned()
        .chain(record.command.iter().skip(1).map(quoted))
        .collect();
    let networks = [(
        record.host.network_mode.clone(),
        Some(EndpointSettings::default()),
    )]
    .into();
    Summary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: record.config.image.clone(),
        image_id: record.image_id.clone(),
        command: command.join(" "),
        created: record.created / 1_000_000_000,
        ports: Vec::<Port>::new(),
        size_rw: size,
        labels: record.config.labels.clone(),
        state: word(&record.state).to_owned(),
        status: words(&record.state),
        host_config: SummaryHostConfig {
            network_mode: record.host.network_mode.clone(),
            ..Default::default()
        },
        network_settings: SummaryNetworkSettings { networks },
        mounts: record.mounts.clone(),
        ..Summary::default()
    }
}

/// Docker's word for where it stands.
pub(crate) fn word(state: &record::State) -> &'static str {
    if state.removing {
        "removing"
    } else {
        state.status.word()
    }
}

/// `Up 3 seconds`, `Exited (0) 2 minutes ago` …
pub(crate) fn words(state: &record::State) -> String {
    let now = record::nanoseconds(Time::now());
    let ago = |since: i64| {
        gantry_opts::duration::human(now.saturating_sub(since).max(0).unsigned_abs() / 1_000_000_000)
    };
    if state.removing {
        return "Removal In Progress".to_owned();
    }
    match state.status {
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, ago(state.finished_at)),
        Status::Created => "Created".to_owned(),
        Status::Running => format!("Up {}", ago(state.started_at)),
        Status::Paused => format!("Up {} (Paused)", ago(state.started_at)),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, ago(state.finished_at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_by_part_or_anchor() {
        assert!(
            name_matches("web-1", "web")
                && name_matches("web-1", "^/web-1$")
                && name_matches("web-1", "^web")
        );
        assert!(!name_matches("web-1", "^eb") && !name_matches("web-1", "web$"));
    }
}
