//! After each recovery: what must be true is compared with what is, and what was in doubt is found out as a client would, by
//! asking again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gantry_supervisor_core::event::{TaskEvent, TimedTaskEvent};
use gantry_supervisor_core::task::{CreateTask, Process, Status};
use gantry_supervisor_core::{Kind, Result};
use gantry_testkit::kernel::{alive, cgroups, mounts};

use super::operations::{Client, Context, SNAPSHOTTER};
use super::world::{Doubt, End, ExecStage, Known, Slot, Stage};
use crate::daemon::shim_of;

/// Where a process stands, once that is one of what is wanted; at last what is.
async fn settled(
    context: &Context,
    id: &str,
    exec: &str,
    wanted: impl Fn(Status) -> bool,
) -> Result<Process> {
    let mut last = context.services.tasks.get(id, exec).await;
    for _ in 0..1000 {
        match &last {
            Ok(process) if !wanted(process.status) => {}
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        last = context.services.tasks.get(id, exec).await;
    }
    last
}

fn status(stage: Stage) -> Status {
    match stage {
        Stage::Created => Status::Created,
        Stage::Running => Status::Running,
        Stage::Paused => Status::Paused,
        _ => Status::Stopped,
    }
}

/// Finds out what became of the call that was under way, and compares.
pub(super) async fn reconcile(context: &Context, slot: &mut Slot) {
    let tasks = &context.services.tasks;
    let id = slot.id.clone();
    let record = context.services.containers.get(&id).await;
    let recorded = match record {
        Ok(_) => true,
        Err(error) if error.kind() == Kind::NotFound => false,
        Err(error) => panic!("{}: {slot:#?}", error.chain()),
    };
    let doubt = slot.doubt.take();
    match doubt {
        Some(Doubt::Record | Doubt::Unrecord) => {
            slot.stage = if recorded { Stage::Recorded } else { Stage::Absent };
        }
        _ => assert_eq!(
            recorded,
            slot.stage != Stage::Absent,
            "record: {doubt:?} {slot:#?}"
        ),
    }
    let found = settled(context, &id, "", |status| status != Status::Unknown).await;
    let found = match found {
        Ok(process) => Some(process),
        Err(error) if error.kind() == Kind::NotFound => None,
        Err(error) => panic!("{}: {doubt:?} {slot:#?}", error.chain()),
    };
    let why = format!("{doubt:?} {slot:#?} is {found:?}");
    match doubt {
        Some(Doubt::Create) => {
            if let Some(process) = found {
                assert_eq!(process.status, Status::Created, "{why}");
                slot.created(process.pid);
            }
        }
        Some(Doubt::Start) => {
            assert_eq!(found.map(|process| process.pid), Some(slot.pid), "{why}");
            let again = tasks.start(&id, "").await;
            let process = settled(context, &id, "", |status| status == Status::Running).await;
            assert_eq!(process.unwrap().status, Status::Running, "{why} {again:?}");
            slot.stage = Stage::Running;
        }
        Some(Doubt::Pause | Doubt::Resume) => {
            for _ in 0..1000 {
                // What was under way may pause it later.
                let again = tasks.resume(&id).await;
                let process = tasks.get(&id, "").await.unwrap();
                if process.status == Status::Running && again.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            slot.stage = Stage::Running;
        }
        Some(Doubt::Kill(_) | Doubt::KillShim) => {
            if let Err(error) = tasks.kill(&id, "", 9, false).await {
                assert_eq!(error.kind(), Kind::NotFound, "{}: {why}", error.chain());
            }
            let exit = wait(context, &id, &why).await;
            let meant = match doubt {
                Some(Doubt::Kill(status)) => status,
                _ => 137,
            };
            assert!([meant, 137, 143].contains(&exit.exit_status), "{exit:?}: {why}");
            slot.shimless |= doubt == Some(Doubt::KillShim);
            slot.stopped(exit.exit_status, Some(exit.exited_at), &mut context.known());
        }
        Some(Doubt::Delete) => {
            if found.is_some() {
                match tasks.delete(&id).await {
                    Ok(exit) => context.known().exit(&id, "", slot.pid, exit),
                    Err(error) => assert_eq!(error.kind(), Kind::NotFound, "{}: {why}", error.chain()),
                }
            }
            slot.deleted(&mut context.known());
        }
        Some(Doubt::ExecAdd) => {
            let exec = slot.execs.last().unwrap();
            if let Err(error) = tasks.exec(context.exec(slot, exec)).await {
                assert_eq!(error.kind(), Kind::AlreadyExists, "{}: {why}", error.chain());
            }
        }
        Some(Doubt::ExecStart(at)) => {
            let again = tasks.start(&id, &slot.execs[at].id).await;
            let exec = &mut slot.execs[at];
            let process = settled(context, &id, &exec.id, |status| status != Status::Created).await;
            let process = process.unwrap();
            if process.pid == 0 && context.full.load(Ordering::SeqCst) {
                // It could not be started.
                slot.execs.remove(at);
            } else {
                assert!(process.pid != 0, "{again:?} {process:?} {why}");
                (exec.stage, exec.pid) = (ExecStage::Running, process.pid);
            }
        }
        Some(Doubt::ExecKill(at)) => {
            let exec = &mut slot.execs[at];
            if exec.code.is_none()
                && let Err(error) = tasks.kill(&id, &exec.id, 9, false).await
            {
                assert_eq!(error.kind(), Kind::NotFound, "{}: {why}", error.chain());
            }
            let waited = tokio::time::timeout(Duration::from_secs(30), tasks.wait(&id, &exec.id)).await;
            let exit = waited.unwrap_or_else(|_| panic!("no end: {why}")).unwrap();
            assert_eq!(exit.exit_status, exec.code.unwrap_or(137), "{why}");
            exec.stage = ExecStage::Ended(exit.exit_status);
            context.known().exit(&id, &exec.id, exec.pid, exit);
        }
        Some(Doubt::ExecDelete(at)) => {
            let exec = slot.execs.remove(at);
            if let Err(error) = tasks.delete_process(&id, &exec.id).await {
                assert_eq!(error.kind(), Kind::NotFound, "{}: {why}", error.chain());
            }
        }
        Some(Doubt::Record | Doubt::Unrecord) | None => {}
    }
    compare(context, slot, &why).await;
}

async fn wait(context: &Context, id: &str, why: &str) -> gantry_supervisor_core::task::Exit {
    let waited = tokio::time::timeout(Duration::from_secs(30), context.services.tasks.wait(id, "")).await;
    let exit = waited.unwrap_or_else(|_| panic!("no end: {why}"));
    exit.unwrap_or_else(|error| panic!("{}: {why}", error.chain()))
}

async fn compare(context: &Context, slot: &Slot, why: &str) {
    if !slot.has_task() {
        let found = context.services.tasks.get(&slot.id, "").await;
        let kind = found.as_ref().map_err(|error| error.kind());
        assert_eq!(kind.err(), Some(Kind::NotFound), "a task: {found:?} {why}");
        return;
    }
    let wanted = status(slot.stage);
    let process = settled(context, &slot.id, "", |status| status == wanted).await;
    let process = process.unwrap_or_else(|error| panic!("{}: {why}", error.chain()));
    assert_eq!(
        (process.pid, process.status),
        (slot.pid, wanted),
        "{slot:#?}: {why}"
    );
    assert_eq!(alive(slot.pid.cast_signed()), wanted != Status::Stopped, "{why}");
    if let Stage::Stopped(status) = slot.stage {
        assert_eq!(process.exit_status, status, "{why}");
        let key = &slot.id;
        context
            .known()
            .end(key, "", slot.pid, Some(status), process.exited_at);
        return;
    }
    for exec in &slot.execs {
        let right = |status: Status| match exec.stage {
            ExecStage::Added => status == Status::Created,
            ExecStage::Running if exec.code.is_none() => status == Status::Running,
            ExecStage::Running => matches!(status, Status::Running | Status::Stopped),
            ExecStage::Ended(_) => status == Status::Stopped,
        };
        let process = settled(context, &slot.id, &exec.id, right).await;
        let process = process.unwrap_or_else(|error| panic!("{}: {exec:?} {why}", error.chain()));
        assert!(
            right(process.status) && process.pid == exec.pid,
            "{process:?} {exec:?} {why}"
        );
        if process.status == Status::Stopped {
            let mut known = context.known();
            known.end(
                &slot.id,
                &exec.id,
                exec.pid,
                Some(process.exit_status),
                process.exited_at,
            );
        }
    }
}

/// What was in doubt in the stores is there or not; all else is as it was left.
pub(super) async fn stores(context: &Context, clients: &mut [Client]) {
    let services = &context.services;
    let blobs = services.content.list(&[]).await.unwrap();
    let mut blobs: BTreeSet<String> = blobs.into_iter().map(|info| info.digest).collect();
    let images = services.images.list(&[]).await.unwrap();
    let mut images: BTreeSet<String> = images.into_iter().map(|image| image.name).collect();
    let snapshots = services.snapshots.list(SNAPSHOTTER, &[]).await.unwrap();
    let mut snapshots: BTreeSet<String> = snapshots.into_iter().map(|info| info.name).collect();
    let leases = context.leases.list(&[]).await.unwrap();
    let mut leases: BTreeSet<String> = leases.into_iter().map(|lease| lease.id).collect();
    for client in clients {
        let kept = &mut client.kept;
        for name in std::mem::take(&mut kept.doubts) {
            for (names, there) in [
                (&mut kept.images, &images),
                (&mut kept.snapshots, &snapshots),
                (&mut kept.leases, &leases),
            ] {
                if !there.contains(&name) {
                    names.remove(&name);
                }
            }
            if !blobs.contains(&name) {
                kept.blobs.remove(&name);
            }
        }
        for (digest, data) in &kept.blobs {
            let read = gantry_supervisor_core::content::read_all(&*services.content, digest, 1 << 20).await;
            assert_eq!(read.unwrap().len(), data.len());
            assert!(blobs.remove(digest));
        }
        for (names, there) in [
            (&kept.images, &mut images),
            (&kept.snapshots, &mut snapshots),
            (&kept.leases, &mut leases),
        ] {
            names
                .iter()
                .for_each(|name| assert!(there.remove(name), "{name} is lost"));
        }
    }
    let more = (blobs, images, snapshots, leases);
    assert_eq!(more, Default::default(), "nobody's");
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Nothing is there that belongs to no task.
pub(super) fn leaks(context: &Context, slots: &[&Slot]) {
    let tasks: Vec<&&Slot> = slots.iter().filter(|slot| slot.has_task()).collect();
    let ids: BTreeSet<String> = tasks.iter().map(|slot| slot.id.clone()).collect();
    let bundles = context.place.join("state/shim/test");
    assert_eq!(names(&bundles), ids, "bundles");
    let served: BTreeSet<String> = tasks
        .iter()
        .filter(|slot| !slot.shimless)
        .map(|slot| slot.id.clone())
        .collect();
    let shims: BTreeSet<String> = slots
        .iter()
        .filter(|slot| shim_of(&bundles.join(&slot.id)).is_some())
        .map(|slot| slot.id.clone())
        .collect();
    assert_eq!(shims, served, "shims");
    let ours = tasks.iter().filter(|slot| !slot.shimless);
    let sockets = names(&context.place.join("state/s"));
    let (sockets, ours) = (sockets.len(), ours.count());
    let dead = tasks.iter().filter(|slot| slot.shimless).count();
    assert!(
        sockets >= ours && sockets <= ours + dead,
        "{sockets} sockets of {ours} shims"
    );
    for cgroup in cgroups(&context.cgroup) {
        let name = cgroup.file_name().unwrap().to_string_lossy();
        assert!(
            ids.contains(&*name) || context.cgroup.ends_with(&*name),
            "cgroup {}",
            cgroup.display()
        );
    }
    // Root and state.
    assert_eq!(mounts(&context.place).len(), 2, "{:?}", mounts(&context.place));
    let daemon = context.daemon.load(Ordering::SeqCst);
    let descriptors = names(Path::new(&format!("/proc/{daemon}/fd"))).len();
    assert!(descriptors < 60 + 3 * tasks.len(), "{descriptors} descriptors");
}

/// What lies in the bundles, for whoever looks for the fault.
pub(super) fn show(context: &Context) {
    let bundles = context.place.join("state/shim/test");
    for id in names(&bundles) {
        let bundle = bundles.join(&id);
        println!("{id}: {:?}, shim {:?}", names(&bundle), shim_of(&bundle));
        for name in ["log", "shim.log", ".shim.err", "log.json", "exit.json"] {
            let text = std::fs::read_to_string(bundle.join(name)).unwrap_or_default();
            if !text.is_empty() {
                println!("{name}: {text}");
            }
        }
    }
}

/// Takes away all that a client has.
pub(super) async fn clear(context: &Context, client: &mut Client) {
    let services = &context.services;
    for slot in &mut client.slots {
        if slot.has_task() {
            if !matches!(slot.stage, Stage::Stopped(_)) {
                if slot.stage == Stage::Paused {
                    services.tasks.resume(&slot.id).await.unwrap();
                    slot.tell("resumed");
                }
                services.tasks.kill(&slot.id, "", 9, false).await.unwrap();
                let exit = wait(context, &slot.id, "the end").await;
                slot.stopped(137, Some(exit.exited_at), &mut context.known());
            }
            services.tasks.delete(&slot.id).await.unwrap();
            slot.deleted(&mut context.known());
        }
        if slot.stage == Stage::Absent {
            services.containers.create(context.container(slot)).await.unwrap();
            slot.stage = Stage::Recorded;
        }
        // Each id is of use again.
        let request = CreateTask {
            container_id: slot.id.clone(),
            ..CreateTask::default()
        };
        let pid = services.tasks.create(request).await.unwrap();
        slot.created(pid);
        services.tasks.kill(&slot.id, "", 9, false).await.unwrap();
        let exit = wait(context, &slot.id, "the end").await;
        slot.stopped(137, Some(exit.exited_at), &mut context.known());
        services.tasks.delete(&slot.id).await.unwrap();
        slot.deleted(&mut context.known());
        if slot.stage == Stage::Recorded {
            services.containers.delete(&slot.id).await.unwrap();
            slot.stage = Stage::Absent;
        }
    }
}

/// What of all that must have been told was not, or otherwise.
pub(super) fn told(heard: &[TimedTaskEvent], known: &Known) -> Result<(), String> {
    let mut ends: BTreeMap<(String, String, u32), End> = BTreeMap::new();
    let mut lives: BTreeMap<(String, u32), Vec<String>> = BTreeMap::new();
    let mut current: BTreeMap<String, u32> = BTreeMap::new();
    for told in heard {
        let (id, said) = match &told.event {
            TaskEvent::Create { container_id, pid } => {
                current.insert(container_id.clone(), *pid);
                (container_id, "create".to_owned())
            }
            TaskEvent::Start { container_id, .. } => (container_id, "start".to_owned()),
            TaskEvent::ExecAdded {
                container_id,
                exec_id,
            } => (container_id, format!("exec-added {exec_id}")),
            TaskEvent::ExecStarted {
                container_id,
                exec_id,
                pid,
            } => (container_id, format!("exec-started {exec_id} {pid}")),
            TaskEvent::Exit {
                container_id,
                exec_id,
                pid,
                exit_status,
                exited_at,
            } => {
                let end = End {
                    status: Some(*exit_status),
                    at: Some(*exited_at),
                };
                let key = (container_id.clone(), exec_id.clone(), *pid);
                if let Some(before) = ends.insert(key.clone(), end)
                    && before != end
                {
                    return Err(format!("{key:?} was told as {before:?} and as {end:?}"));
                }
                (container_id, format!("exit {exec_id} {pid}"))
            }
            TaskEvent::Delete { container_id, .. } => (container_id, "delete".to_owned()),
            TaskEvent::Oom { container_id } => (container_id, "oom".to_owned()),
            TaskEvent::Paused { container_id } => (container_id, "paused".to_owned()),
            TaskEvent::Resumed { container_id } => (container_id, "resumed".to_owned()),
        };
        let pid = current.get(id).copied().unwrap_or_default();
        // The beginning of the next one may be among what a killed supervisor had not passed on.
        if matches!(told.event, TaskEvent::Delete { .. }) {
            current.remove(id);
        }
        lives.entry((id.clone(), pid)).or_default().push(said);
    }
    for (key, end) in &known.ends {
        let Some(told) = ends.get(key) else {
            return Err(format!("the end of {key:?} was not told: {end:?}"));
        };
        let same = end.status.is_none_or(|status| told.status == Some(status))
            && end.at.is_none_or(|at| told.at == Some(at));
        if !same {
            return Err(format!("{key:?} ended with {end:?} and was told as {told:?}"));
        }
    }
    for (key, wanted) in &known.lives {
        let told = lives.get(key).cloned().unwrap_or_default();
        if told.first().is_none_or(|first| first != "create")
            || told.last().is_none_or(|last| last != "delete")
        {
            return Err(format!("the life of {key:?} was told as {told:?}"));
        }
        let before = |first: &str, then: &str| {
            let at = |wanted: &str| told.iter().position(|said| said.starts_with(wanted));
            at(first).zip(at(then)).is_none_or(|(first, then)| first < then)
        };
        if !before("start", "exit  ") {
            return Err(format!("the life of {key:?} was told as {told:?}"));
        }
        let mut sorted = told.clone();
        sorted.sort();
        if sorted != *wanted {
            return Err(format!(
                "the life of {key:?} was {wanted:?} and was told as {told:?}"
            ));
        }
    }
    Ok(())
}
