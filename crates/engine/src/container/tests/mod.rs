//! Lives of containers whose processes end when the test wants it: what is recorded, what is told, and what a second engine
//! on the same roots makes of what the first one left.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use gantry_api_types::container::{Config as ContainerConfig, HostConfig};
use gantry_errdefs::{Error, Kind};
use gantry_supervisor_core::Services;

use super::Container;
use super::state::Status;
use crate::image::ResolvedImage;
use crate::{Config, Engine, EventOptions, WaitCondition, names, record};
use fake::Fake;

struct Place {
    dir: tempfile::TempDir,
    fake: Arc<Fake>,
    services: Services,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (fake, services) = Fake::services(dir.path()).await;
        Self { dir, fake, services }
    }

    async fn open(&self) -> Arc<Engine> {
        let config = Config::new(self.dir.path().join("d"), self.dir.path().join("e"));
        Engine::open(config, self.services.clone()).await.unwrap()
    }
}

fn record(name: &str, host: &str) -> record::Container {
    let mut host: HostConfig = serde_json::from_str(host).unwrap();
    host.network_mode = "none".to_owned();
    let id = names::new_id().unwrap();
    let image = ResolvedImage::default();
    record::Container::new(
        id,
        name.to_owned(),
        vec!["sh".to_owned()],
        ContainerConfig::default(),
        host,
        vec![],
        &image,
    )
}

/// A container that was created, by its name and host configuration.
async fn created(engine: &Engine, name: &str, host: &str) -> Arc<Container> {
    let mut record = record(name, host);
    engine.insert(&mut record, Some(name.to_owned())).await.unwrap();
    engine.furnish(&record).await.unwrap();
    let container = Container::new(record);
    engine.all.insert(container.clone());
    container
}

fn id(container: &Container) -> String {
    container.read(|record| record.id.clone())
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waited)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

async fn actions(engine: &Engine) -> Vec<String> {
    use futures_util::StreamExt;
    let until = crate::clock::rfc3339(gantry_supervisor_core::Time::now());
    let options = EventOptions {
        since: "1".to_owned(),
        until,
        ..EventOptions::default()
    };
    let events: Vec<_> = engine.events(options).await.unwrap().collect().await;
    events.into_iter().map(|event| event.action).collect()
}

#[tokio::test]
async fn an_end_is_recorded_and_told_once() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    let wait = engine
        .container_wait("aa", WaitCondition::NextExit)
        .await
        .unwrap();
    engine.container_start("aa", "").await.unwrap();
    assert_eq!(
        engine.container_start("aa", "").await.unwrap_err().kind(),
        Kind::NotModified
    );
    let event = place.fake.end(&id(&container), 42);
    assert_eq!(wait.await.status_code, 42);
    place.fake.tell(event.clone());
    until("the task is cleared", || !place.fake.has(&id(&container))).await;
    assert_eq!(actions(&engine).await, ["start", "die"]);
    // Told of the first process while the second one runs, it means nothing.
    engine.container_start("aa", "").await.unwrap();
    place.fake.tell(event);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(container.read(|record| record.state.status), Status::Running);
    assert_eq!(container.read(|record| record.state.exits), 1);
}

#[tokio::test]
async fn an_end_during_an_outage_is_found() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    engine.container_start("aa", "").await.unwrap();
    let wait = engine
        .container_wait("aa", WaitCondition::NotRunning)
        .await
        .unwrap();
    place.fake.end_silently(&id(&container), 7);
    place.fake.cut();
    assert_eq!(wait.await.status_code, 7);
}

#[tokio::test]
async fn what_ended_without_an_engine_is_found_by_the_next_one() {
    let place = Place::new().await;
    let engine = place.open().await;
    let stays = created(&engine, "stays", "{}").await;
    let goes = created(&engine, "goes", r#"{"AutoRemove":true}"#).await;
    let runs = created(&engine, "runs", "{}").await;
    for name in ["stays", "goes", "runs"] {
        engine.container_start(name, "").await.unwrap();
    }
    drop(engine);
    place.fake.end_silently(&id(&stays), 3);
    place.fake.end_silently(&id(&goes), 4);
    let engine = place.open().await;
    let found = engine.find("stays").unwrap().record();
    assert_eq!((found.state.status, found.state.exit_code), (Status::Exited, 3));
    until("the other is removed", || engine.find("goes").is_err()).await;
    assert!(!engine.folder(&id(&goes)).exists());
    assert!(place.services.snapshots.stat("", &id(&goes)).await.is_err());
    let found = engine.find("runs").unwrap().record();
    assert_eq!(
        (found.state.status, found.state.pid),
        (Status::Running, runs.read(|record| record.state.pid))
    );
}

#[tokio::test]
async fn what_was_half_made_or_half_removed_is_gone_at_the_next_start() {
    let place = Place::new().await;
    let engine = place.open().await;
    let mut cut = record("cut", "{}");
    engine.insert(&mut cut, Some("cut".to_owned())).await.unwrap();
    let removing = created(&engine, "removing", "{}").await;
    engine.container_start("removing", "").await.unwrap();
    engine
        .change(&removing, |record| record.state.removing = true)
        .await
        .unwrap();
    // A folder and a task that no record knows.
    let stranger = "f".repeat(64);
    std::fs::create_dir_all(engine.folder(&stranger)).unwrap();
    drop(engine);
    let engine = place.open().await;
    assert!(engine.all.list().is_empty());
    assert!(!place.fake.has(&id(&removing)) && !engine.folder(&stranger).exists());
    assert!(engine.db.containers().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_start_that_was_cut_off_is_undone() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    engine.container_start("aa", "").await.unwrap();
    // As it was recorded before the start.
    engine
        .change(&container, |record| record.state = record::State::default())
        .await
        .unwrap();
    drop(engine);
    let engine = place.open().await;
    assert!(!place.fake.has(&id(&container)));
    engine.container_start("aa", "").await.unwrap();
}

#[tokio::test]
async fn policies_start_again_until_they_or_a_user_give_up() {
    let place = Place::new().await;
    let engine = place.open().await;
    let twice = created(
        &engine,
        "twice",
        r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":1}}"#,
    )
    .await;
    engine.container_start("twice", "").await.unwrap();
    place.fake.end(&id(&twice), 1);
    until("it waits", || {
        twice.read(|record| record.state.status) != Status::Running
    })
    .await;
    assert_eq!(twice.read(|record| record.state.status), Status::Restarting);
    let refused = engine.container_remove("twice", false, false).await.unwrap_err();
    assert!(
        refused.to_string().contains("container is restarting"),
        "{refused}"
    );
    until("it runs again", || {
        twice.read(|record| record.state.status) == Status::Running
    })
    .await;
    place.fake.end(&id(&twice), 1);
    until("it gives up", || {
        twice.read(|record| record.state.status) == Status::Exited
    })
    .await;
    assert_eq!(
        twice.read(|record| (record.state.restarts, record.state.exits)),
        (1, 2)
    );

    let always = created(&engine, "always", r#"{"RestartPolicy":{"Name":"always"}}"#).await;
    engine.container_start("always", "").await.unwrap();
    place.fake.end(&id(&always), 0);
    until("it waits", || {
        always.read(|record| record.state.status) == Status::Restarting
    })
    .await;
    let wait = engine
        .container_wait("always", WaitCondition::NotRunning)
        .await
        .unwrap();
    engine.container_stop("always", None, "").await.unwrap();
    wait.await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(always.read(|record| record.state.status), Status::Exited);
}

#[tokio::test]
async fn frozen_containers_can_be_ended_and_removed() {
    let place = Place::new().await;
    let engine = place.open().await;
    for (name, code) in [("stopped", 143), ("killed", 137), ("removed", 137)] {
        created(&engine, name, "{}").await;
        engine.container_start(name, "").await.unwrap();
        engine.container_pause(name).await.unwrap();
        let twice = engine.container_pause(name).await.unwrap_err();
        assert!(twice.to_string().ends_with("is already paused"));
        let wait = engine
            .container_wait(name, WaitCondition::NextExit)
            .await
            .unwrap();
        match name {
            "stopped" => engine.container_stop(name, Some(5), "").await.unwrap(),
            "killed" => engine.container_kill(name, "").await.unwrap(),
            _ => {
                let refused = engine.container_remove(name, false, false).await.unwrap_err();
                assert!(
                    refused
                        .to_string()
                        .ends_with("container is paused and must be unpaused first")
                );
                engine.container_remove(name, true, false).await.unwrap();
            }
        }
        assert_eq!(wait.await.status_code, code, "{name}");
    }
    assert!(engine.find("removed").is_err());
}

#[tokio::test]
async fn a_failed_start_has_dockers_code_and_kind() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    for (said, code, kind) in [
        (
            "exec: \"nope\": executable file not found in $PATH",
            127,
            Kind::InvalidArgument,
        ),
        ("exec: \"/etc\": permission denied", 126, Kind::InvalidArgument),
        ("mounting \"/x\": not a directory", 126, Kind::InvalidArgument),
        ("something else", 128, Kind::Internal),
    ] {
        *super::lock(&place.fake.refusal) = Some(Error::internal(said));
        let error = engine.container_start("aa", "").await.unwrap_err();
        let (status, kept, message) = container.read(|record| {
            (
                record.state.status,
                record.state.exit_code,
                record.state.error.clone(),
            )
        });
        assert_eq!(
            (status, kept, error.kind()),
            (Status::Created, code, kind),
            "{said}"
        );
        assert!(
            message.starts_with(&format!("failed to create task for container: {said}: unknown")),
            "{message}"
        );
        assert_eq!(error.message(), message);
    }
    engine.container_start("aa", "").await.unwrap();
    assert!(container.read(|record| record.state.error.is_empty()));
}

#[tokio::test]
async fn no_change_is_lost_and_names_stay_unique() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    created(&engine, "bb", "{}").await;
    let changes = (0..40).map(|_| engine.change(&container, |record| record.state.restarts += 1));
    futures_util::future::join_all(changes).await;
    assert_eq!(container.read(|record| record.state.restarts), 40);
    let taken = engine.container_rename("aa", "bb").await.unwrap_err();
    assert!(
        taken
            .to_string()
            .starts_with("Conflict. The container name \"/bb\" is already in use"),
        "{taken}"
    );
    engine.container_rename("aa", "cc").await.unwrap();
    assert!(engine.find("aa").is_err() && engine.find("cc").is_ok());
    engine.container_remove("cc", false, false).await.unwrap();
    assert_eq!(
        engine
            .container_remove("cc", false, false)
            .await
            .unwrap_err()
            .kind(),
        Kind::NotFound
    );
}

#[tokio::test]
async fn an_operation_outlives_who_asked_for_it() {
    let place = Place::new().await;
    let engine = place.open().await;
    let container = created(&engine, "aa", "{}").await;
    // Whenever the caller goes away: either nothing happened or all of it.
    for after in [0, 1, 2, 5, 20] {
        let start = engine.container_start("aa", "");
        let _ = tokio::time::timeout(Duration::from_millis(after), start).await;
        until("all of it", || {
            container.read(|record| record.state.status == Status::Running) == place.fake.has(&id(&container))
        })
        .await;
        let _operation = container.operation.lock().await;
        drop(_operation);
        let _ = engine.container_kill("aa", "").await;
        until("it is over", || !place.fake.has(&id(&container))).await;
    }
}
