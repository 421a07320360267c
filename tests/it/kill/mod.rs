//! Worker and server die at the worst moments, as if their machine lost power,
//! and are started again. Whatever happens: the job ends once, with one mask,
//! whose weights are those of a training that nobody disturbed, and no blob is
//! left that nothing names.
//!
//! The moments are points in the code of the executables
//! ([`katagami::killpoint`]); how often a point is passed before it kills is
//! drawn from a seed.

pub mod world;

use world::World;

/// What a point's number is drawn from; `KATAGAMI_KILL_SEED` of a failed run repeats it.
const SEED: u64 = 20_261_124;

/// The points of a worker, and how often each is surely passed.
const OF_A_WORKER: &[(&str, u64)] = &[
    ("lease", 1),
    ("fetch", world::IMAGES + 1),
    ("fetch", world::IMAGES + 1),
    ("fetch", world::IMAGES + 1),
    ("step", 1),
    ("step", 4),
    ("step", 4),
    ("step", 4),
    ("checkpoint", 1),
    ("checkpoint-uploaded", 1),
    ("checkpoint-named", 1),
    ("judge", 1),
    ("upload", 3),
    ("upload", 3),
    ("upload", 3),
    ("publish", 1),
    ("published", 1),
];

/// The points of a server, and how often each is surely passed.
const OF_A_SERVER: &[(&str, u64)] = &[
    ("server-leased", 1),
    ("server-fetch", world::IMAGES + 1),
    ("server-fetch", world::IMAGES + 1),
    ("server-heartbeat", 1),
    ("server-touched", 4),
    ("server-touched", 4),
    ("server-put", 4),
    ("server-put", 4),
    ("server-put", 4),
    ("server-uploaded", 4),
    ("server-uploaded", 4),
    ("server-uploaded", 4),
    ("server-checkpoint", 1),
    ("server-checkpointed", 1),
    ("server-publish", 1),
    ("server-published", 1),
];

/// The points with their numbers.
fn drawn(points: &'static [(&'static str, u64)]) -> impl Iterator<Item = (&'static str, u64)> {
    let mut state = SEED;
    points.iter().map(move |(point, most)| {
        // SplitMix64's step: enough to choose among a few.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (*point, 1 + (mixed ^ (mixed >> 27)) % most)
    })
}

#[tokio::test]
async fn a_worker_may_die_anywhere() {
    let world = World::new().await;
    world.undisturbed().await;
    for (point, number) in drawn(OF_A_WORKER) {
        let aim = format!("{point}:{number}");
        println!("a worker dies at {aim}");
        // What lies in its cache would not be fetched.
        if point == "fetch" {
            world.forget_cache();
        }
        let mut doomed = world.worker(Some(&aim));
        let job = world.job().await;
        world.dies(&mut doomed, job, &aim).await;
        let worker = world.worker(None);
        world.ends_well(job, &aim).await;
        worker.leaves().await;
    }
    world.is_clean().await;
}

#[tokio::test]
async fn a_server_may_die_anywhere() {
    let mut world = World::new().await;
    world.undisturbed().await;
    for (point, number) in drawn(OF_A_SERVER) {
        let aim = format!("{point}:{number}");
        println!("the server dies at {aim}");
        if point == "server-fetch" {
            world.forget_cache();
        }
        world.restarts_server(Some(&aim)).await;
        let job = world.job().await;
        let worker = world.worker(None);
        world.server_dies(job, &aim).await;
        world.restarts_server(None).await;
        world.ends_well(job, &aim).await;
        worker.leaves().await;
    }
    world.is_clean().await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_end_gives_its_job_back_with_a_checkpoint() {
    let world = World::new().await;
    let worker = world.endless_worker();
    let job = world.long_job().await;
    world.reaches_step(job, 2).await;
    worker.leaves().await;
    let logs = world.client().job_logs(job).await.unwrap();
    assert_eq!(logs.attempts[0].end.as_deref(), Some("returned"), "{logs:?}");
    assert!(logs.attempts[0].checkpoint_step.is_some(), "{logs:?}");

    // Cancelled while it runs, it ends cancelled.
    let worker = world.endless_worker();
    world.reaches_step(job, 3).await;
    world.client().cancel_job(job).await.unwrap();
    world.is_cancelled(job).await;
    worker.leaves().await;
}

#[tokio::test]
async fn the_servers_own_worker_comes_and_goes_with_it() {
    let mut world = World::with_workers(1).await;
    let job = world.job().await;
    world.ends_well(job, "supervised").await;
    let name = world.worker_names().await;
    assert_eq!(name.len(), 1, "{name:?}");
    // Killed, it takes its worker along: the pipe closes.
    world.kill_server().await;
    world.has_no_worker().await;
}
