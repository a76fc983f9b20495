//! A model of what clients may rely on. Some clients do what they like, by a seed, while the supervisor is killed: at random moments, at
//! the places that are compiled in for it, while it recovers, and with a full disk; shims and containers are killed beside it, also
//! while nobody looks. After each recovery the model and what is are compared, and at the end what was told.
//!
//! `GANTRY_MODEL_SEED` and `GANTRY_MODEL_OPS` say which, and how many calls. The calls of each client come from the seed; what meets
//! what does not.
//!
//! All of it with our shim: Debian's does not stand it when an exec is started twice, which a client does that was cut off.

mod check;
mod operations;
mod world;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use gantry_supervisor_core::Time;
use gantry_supervisor_core::event::{Events, TimedTaskEvent};
use gantry_testkit::bundle::Bundle;
use gantry_testkit::place::Place;

use crate::daemon::{Daemon, shim_of};
use operations::{Client, Context};
use world::{Kept, Known, Random, Slot, Stage};

/// Where the supervisor can be made to die.
const FAULTS: [&str; 23] = [
    "bundle half made",
    "bundle made",
    "shim answered",
    "address written",
    "shim started",
    "task created",
    "task to be deleted",
    "task deleted",
    "shim ended",
    "bundle to be removed",
    "bundle half removed",
    "bundle removed",
    "exec kept",
    "process started",
    "exec deleted",
    "exit heard",
    "event heard",
    "shim buried",
    "processes ended",
    "remains deleted",
    "shim found",
    "to be committed",
    "committed",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

/// Roots of their own, which can be filled.
fn mount(path: &Path) {
    std::fs::create_dir_all(path).unwrap();
    let options = ["size=24m".to_owned(), "mode=711".to_owned()];
    gantry_sys::mount::mount_described("tmpfs", "tmpfs", path, &options).unwrap();
}

/// Takes the two away, when nothing uses them any more.
struct Roots(Vec<std::path::PathBuf>);

impl Drop for Roots {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = gantry_sys::mount::detach(path);
        }
    }
}

/// Has the supervisor die at one of the places.
fn fault(context: &Context, random: &mut Random) {
    let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
    let times = 1 + random.below(6);
    std::fs::write(context.place.join("fault"), format!("{fault}:{times}")).unwrap();
}

fn no_fault(context: &Context) {
    let _ = std::fs::remove_file(context.place.join("fault"));
}

/// Kills the init of a container, or its shim, while there is no supervisor.
fn hurt(context: &Context, slot: &mut Slot, shim: bool) {
    if matches!(slot.stage, Stage::Absent | Stage::Recorded) || slot.shimless {
        return;
    }
    let ends = !matches!(slot.stage, Stage::Stopped(_));
    if shim {
        let bundle = context.place.join("state/shim/test").join(&slot.id);
        gantry_sys::process::kill(shim_of(&bundle).expect("a shim"), 9).unwrap();
        slot.shimless = true;
    } else if matches!(slot.stage, Stage::Running | Stage::Created) {
        gantry_sys::process::kill(slot.pid.cast_signed(), 9).unwrap();
    } else {
        return;
    }
    if ends {
        slot.stopped(137, None, &mut context.known());
    }
}

/// Hears all events, over as many connections as it takes.
async fn listen(events: Arc<dyn Events>, heard: Arc<Mutex<Vec<TimedTaskEvent>>>) {
    loop {
        if let Ok(mut stream) = events.subscribe_tasks().await {
            while let Some(Ok(event)) = stream.next().await {
                heard.lock().unwrap().push(event);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn model_and_reality_agree_whatever_is_killed() {
    let seed = number("GANTRY_MODEL_SEED").unwrap_or(Time::now().0 as u64 >> 10);
    let ops = number("GANTRY_MODEL_OPS").unwrap_or(1000);
    // Shown when it fails, and with --nocapture.
    println!("GANTRY_MODEL_SEED={seed} GANTRY_MODEL_OPS={ops}");
    let mut random = Random::new(seed);
    let place = Place::new();
    let roots = ["root", "state"].map(|name| place.join(name));
    roots.iter().for_each(|path| mount(path));
    let bundle = Bundle::new(&place.join("image"), place.cgroup(), &["true"]);
    bundle.change(|config| operations::change(config, &bundle.rootfs()));
    let mut daemon = Daemon::start_in(place).await;
    let _roots = Roots(roots.to_vec());
    let context = Arc::new(Context {
        services: daemon.services(),
        leases: daemon.leases(),
        place: daemon.place.dir().to_owned(),
        cgroup: daemon.place.cgroup().to_owned(),
        config: bundle.config(),
        daemon: AtomicI32::new(0),
        stop: AtomicBool::new(false),
        full: AtomicBool::new(false),
        left: AtomicI64::new(ops as i64),
        known: Mutex::new(Known::default()),
    });
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::spawn(listen(daemon.other_events(), heard.clone()));
    let mut clients: Vec<Client> = (0..4)
        .map(|at| Client {
            name: format!("client{at}"),
            random: Random::new(seed + 1 + at),
            slots: (0..3)
                .map(|slot| Slot::new(daemon.name(&format!("m{at}{slot}"))))
                .collect(),
            kept: Kept::default(),
        })
        .collect();

    let begun = Instant::now();
    let (mut epochs, mut faults, mut fulls) = (0, 0, 0);
    while context.left.load(Ordering::SeqCst) > 0 {
        epochs += 1;
        context.daemon.store(daemon.pid(), Ordering::SeqCst);
        context.stop.store(false, Ordering::SeqCst);
        let pause = Duration::from_millis(30 + random.below(600));
        let fills = random.one_in(8);
        context.full.store(fills, Ordering::SeqCst);
        if random.one_in(2) {
            fault(&context, &mut random);
        }
        let work: Vec<_> = clients
            .drain(..)
            .map(|client| tokio::spawn(client.work(context.clone())))
            .collect();
        let filler = roots[random.below(2) as usize].join("filler");
        if fills {
            fulls += 1;
            tokio::time::sleep(pause / 2).await;
            let _ = std::fs::write(&filler, vec![0; 32 << 20]);
        }
        let until = Instant::now() + pause;
        while Instant::now() < until
            && daemon.lives()
            && !work.iter().all(tokio::task::JoinHandle::is_finished)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        faults += u32::from(!daemon.lives());
        daemon.kill();
        no_fault(&context);
        context.stop.store(true, Ordering::SeqCst);
        for done in join_all(work).await {
            clients.push(done.unwrap_or_else(|error| {
                check::show(&context);
                panic!("{error}\n{}", daemon.log())
            }));
        }
        let _ = std::fs::remove_file(&filler);

        for slot in clients.iter_mut().flat_map(|client| &mut client.slots) {
            slot.clean = false;
            if slot.doubt.is_none() && !fills && random.one_in(6) {
                hurt(&context, slot, random.one_in(2));
            }
        }
        // It may die again while it recovers.
        if random.one_in(3) {
            fault(&context, &mut random);
        }
        while !daemon.start_or_die().await {
            faults += 1;
            no_fault(&context);
        }
        no_fault(&context);
        context.daemon.store(daemon.pid(), Ordering::SeqCst);
        let before: Vec<Slot> = clients.iter().flat_map(|client| client.slots.clone()).collect();
        let agreed = async {
            join_all(clients.iter_mut().map(|client| async {
                for slot in &mut client.slots {
                    check::reconcile(&context, slot).await;
                }
            }))
            .await;
            check::stores(&context, &mut clients).await;
            let slots: Vec<&Slot> = clients.iter().flat_map(|client| &client.slots).collect();
            check::leaks(&context, &slots);
        };
        if let Err(panic) = std::panic::AssertUnwindSafe(agreed).catch_unwind().await {
            println!("recovery {epochs}, of {before:#?}\n{}", daemon.log());
            check::show(&context);
            std::panic::resume_unwind(panic);
        }
    }
    for client in &mut clients {
        check::clear(&context, client).await;
    }
    let slots: Vec<&Slot> = clients.iter().flat_map(|client| &client.slots).collect();
    check::leaks(&context, &slots);
    let mut last = Ok(());
    for _ in 0..1000 {
        last = check::told(&heard.lock().unwrap(), &context.known());
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    listener.abort();
    daemon.kill();
    let known = context.known();
    println!(
        "{epochs} recoveries, {faults} at a chosen place, {fulls} with a full disk; {} ends, {} whole lives, {} events; {:?}",
        known.ends.len(),
        known.lives.len(),
        heard.lock().unwrap().len(),
        begun.elapsed()
    );
    last.unwrap_or_else(|error| panic!("{error}\n{}", daemon.log()));
}
