//! Leases, heartbeats, and how attempts end.

use std::time::Duration;

use katagami::catalog::jobs::{Abandoned, Published};
use katagami::catalog::{attempts, audit, jobs, masks};
use katagami::domain::job::{JobState, Order, Phase, Progress};
use katagami::domain::report::LossPoint;
use katagami::domain::{AttemptId, Digest, MaskVersion};
use katagami::scheduler;
use katagami::wire::v1::jobs::{Outcome, Start};
use katagami::wire::v1::page::PageQuery;
use rstest::rstest;
use tokio_util::sync::CancellationToken;

use super::world::{BY, LEASE, SECOND, WEEK, World, published, refused, worker_card};
use crate::backend::Backend::{self, Postgres, Sqlite};

async fn beats(world: &World, attempt: AttemptId, lines: &[&str], losses: &[(u64, f64)]) -> Order {
    let progress = Progress {
        phase: Phase::Train,
        step: losses.last().map_or(0, |(step, _)| *step),
        steps: 1000,
        loss: losses.last().map(|(_, loss)| *loss),
        dropped: Some(3),
    };
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let losses: Vec<LossPoint> = losses
        .iter()
        .map(|&(step, loss)| LossPoint { step, loss })
        .collect();
    let mut tx = world.begin().await;
    let order = jobs::heartbeat(&mut tx, attempt, LEASE, &progress, &lines, &losses)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    order
}

async fn abandons(world: &World, attempt: AttemptId, why: Abandoned) -> JobState {
    let mut tx = world.begin().await;
    let state = jobs::abandon(&mut tx, attempt, &why).await.unwrap();
    tx.commit().await.unwrap();
    state
}

async fn cancels(world: &World, job: &katagami::wire::v1::jobs::Job) -> katagami::wire::v1::jobs::Job {
    let mut tx = world.begin().await;
    let job = jobs::cancel(&mut tx, job.id, BY).await.unwrap();
    tx.commit().await.unwrap();
    job
}

async fn count_masks(world: &World, site: &str) -> usize {
    let site = site.parse().unwrap();
    masks::list(&mut world.read().await, &site, &PageQuery::default())
        .await
        .unwrap()
        .items
        .len()
}

#[rstest]
#[tokio::test]
async fn a_job_ends_with_its_mask(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let (image, _) = world.image(&site, "cell", &[]).await;
    let labelled = world.validation(&site).await;
    let asked = world.job(&site).await;
    assert_eq!(
        (asked.state, asked.start, asked.seed),
        (JobState::Queued, Start::Base, u64::MAX)
    );

    let leased = world.leases("one").await.expect("a job is queued");
    assert_eq!(
        leased.attempt,
        AttemptId {
            job: asked.id,
            number: 1
        }
    );
    assert_eq!(
        (leased.mask_version, leased.seed, leased.budget),
        (MaskVersion(1), u64::MAX, Some(12))
    );
    assert_eq!(leased.images, 1);
    let mut tx = world.read().await;
    let images = attempts::images(&mut tx, leased.attempt, b"", 9).await.unwrap();
    let sizes: Vec<_> = images.iter().map(|image| (image.digest, image.bytes)).collect();
    assert_eq!(sizes, [(image, 4)]);
    let judges = attempts::labelled(&mut tx, leased.attempt, b"", 9).await.unwrap();
    let judge = &judges[0];
    assert_eq!(
        (judges.len(), judge.digest, judge.class.as_str()),
        (1, labelled, "ok")
    );
    for after in [
        attempts::images(&mut tx, leased.attempt, image.as_bytes(), 9)
            .await
            .unwrap()
            .len(),
        attempts::labelled(&mut tx, leased.attempt, labelled.as_bytes(), 9)
            .await
            .unwrap()
            .len(),
    ] {
        assert_eq!(after, 0, "after the last one comes nothing");
    }
    drop(tx);
    assert_eq!(leased.base.manifest.digest, world.base);
    assert!(world.leases("two").await.is_none(), "there is one job");

    assert_eq!(
        beats(&world, leased.attempt, &["step 5"], &[(5, 2.5)]).await,
        Order::Continue
    );
    let running = world.look(&asked).await;
    assert_eq!(running.state, JobState::Running);
    assert_eq!(running.progress.unwrap().step, 5);

    world.publishes(leased.attempt).await.unwrap();
    let ended = world.look(&asked).await;
    let verdict = "held".to_owned();
    assert_eq!(
        ended.outcome,
        Some(Outcome::Mask {
            version: MaskVersion(1),
            verdict
        })
    );
    let mut tx = world.read().await;
    let mask = masks::needed(&mut tx, &site, MaskVersion(1)).await.unwrap();
    assert_eq!(mask.kpi_difference, Some([0.125, -0.25, 0.5]));
    assert_eq!((mask.job, mask.base, mask.flips), (asked.id, world.base, 123));
    assert_eq!(mask.bytes, format!("artefact of {}", leased.attempt).len() as u64);
    let logs = jobs::logs(&mut tx, asked.id).await.unwrap();
    assert_eq!(logs.attempts[0].end.as_deref(), Some("published"));
    assert_eq!(logs.lines[0].line, "step 5");
    assert_eq!(logs.loss, [LossPoint { step: 5, loss: 2.5 }]);
    let trail = audit::list(&mut tx, Some(&site), &PageQuery::default())
        .await
        .unwrap();
    assert_eq!(
        (trail.items[0].event.as_str(), trail.items[0].actor.as_str()),
        ("mask_published", "one (worker)")
    );
    drop(tx);
    refused(world.publishes(leased.attempt).await, "lease_lost");
    assert_eq!(count_masks(&world, "osaka").await, 1);
}

#[rstest]
#[tokio::test]
async fn the_second_job_gets_the_next_version_even_if_the_first_made_none(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let first = world.job(&site).await;
    world.job(&site).await;
    let leased = world.leases("one").await.unwrap();
    let report = world.uploads(leased.attempt, "report").await.unwrap();
    let mut tx = world.begin().await;
    let published = Published { report, mask: None };
    assert_eq!(
        jobs::publish(&mut tx, leased.attempt, &published).await.unwrap(),
        None
    );
    tx.commit().await.unwrap();
    assert_eq!(
        world.look(&first).await.outcome,
        Some(Outcome::NoImprovement { report })
    );
    assert_eq!(count_masks(&world, "osaka").await, 0);
    assert_eq!(world.leases("one").await.unwrap().mask_version, MaskVersion(2));
}

#[rstest]
#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let lost = world.leases("slow").await.expect("a job is queued").attempt;
    let digest = world.uploads(lost, "checkpoint").await.unwrap();
    world.catalog.advance(LEASE + SECOND);
    let held = world.leases("fast").await.expect("the lease ran out").attempt;
    assert_eq!((held.job, held.number), (lost.job, 2));

    refused(world.publishes(lost).await, "lease_lost");
    refused(world.uploads(lost, "more").await, "lease_lost");
    let mut tx = world.begin().await;
    refused(jobs::publish(&mut tx, lost, &published(lost)).await, "lease_lost");
    refused(jobs::checkpoint(&mut tx, lost, 5, &digest).await, "lease_lost");
    refused(
        jobs::abandon(&mut tx, lost, &Abandoned::Returned).await,
        "lease_lost",
    );
    refused(attempts::may_read(&mut tx, lost, &digest).await, "lease_lost");
    drop(tx);
    assert_eq!(beats(&world, lost, &["still here"], &[]).await, Order::LeaseLost);
    assert_eq!(count_masks(&world, "osaka").await, 0);
    let logs = jobs::logs(&mut world.read().await, job.id).await.unwrap();
    assert_eq!(logs.attempts[0].end.as_deref(), Some("lost"));
    assert!(logs.lines.is_empty() && logs.attempts[1].end.is_none());

    world.publishes(held).await.unwrap();
    assert_eq!(count_masks(&world, "osaka").await, 1);
}

#[rstest]
#[tokio::test]
async fn a_heartbeat_keeps_the_lease(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    world.job(&site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    for _ in 0..3 {
        world.catalog.advance(LEASE.checked_sub(SECOND).unwrap());
        assert_eq!(beats(&world, attempt, &[], &[]).await, Order::Continue);
        assert_eq!(scheduler::reap_once(&world.catalog).await.unwrap(), 0);
    }
    assert!(world.leases("two").await.is_none());
}

#[rstest]
#[tokio::test]
async fn a_job_whose_attempts_are_lost_needs_a_person_at_last(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    for number in 1..=3 {
        assert_eq!(world.leases("mortal").await.unwrap().attempt.number, number);
        world.catalog.advance(LEASE + SECOND);
        assert_eq!(scheduler::reap_once(&world.catalog).await.unwrap(), 1);
    }
    assert!(world.leases("mortal").await.is_none());
    let failed = world.look(&job).await;
    assert_eq!(failed.state, JobState::Failed);
    assert!(matches!(failed.outcome, Some(Outcome::Failed { error }) if error.contains("`mortal`")));
}

#[rstest]
#[tokio::test]
async fn a_failed_attempt_is_tried_again_later(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let failed = |retry| Abandoned::Failed {
        error: "the disk\0 is full".to_owned(),
        retry,
    };
    let first = world.leases("one").await.unwrap().attempt;
    assert_eq!(abandons(&world, first, failed(true)).await, JobState::Queued);
    assert!(world.leases("one").await.is_none(), "it waits ten seconds");
    world.catalog.advance(Duration::from_secs(11));
    let second = world.leases("one").await.unwrap().attempt;
    assert_eq!(abandons(&world, second, failed(false)).await, JobState::Failed);
    assert!(
        matches!(world.look(&job).await.outcome, Some(Outcome::Failed { error }) if error.contains("disk"))
    );
}

#[rstest]
#[tokio::test]
async fn what_a_worker_returns_is_free_at_once_and_no_failure(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    world.job(&site).await;
    for number in 1..=5 {
        let attempt = world.leases("leaving").await.expect("it is free").attempt;
        assert_eq!(attempt.number, number);
        assert_eq!(
            abandons(&world, attempt, Abandoned::Returned).await,
            JobState::Queued
        );
    }
}

#[rstest]
#[tokio::test]
async fn a_cancelled_job_ends_at_once_or_at_the_next_heartbeat(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let (first, second, third) = (
        world.job(&site).await,
        world.job(&site).await,
        world.job(&site).await,
    );
    assert_eq!(cancels(&world, &second).await.outcome, Some(Outcome::Cancelled));
    let attempt = world.leases("one").await.unwrap().attempt;
    let asked = cancels(&world, &first).await;
    assert_eq!((asked.state, asked.cancel_requested), (JobState::Running, true));
    assert_eq!(beats(&world, attempt, &[], &[]).await, Order::Stop);
    assert_eq!(
        abandons(&world, attempt, Abandoned::Cancelled).await,
        JobState::Cancelled
    );
    // A worker that dies before it obeys.
    let attempt = world.leases("one").await.unwrap().attempt;
    assert_eq!(attempt.job, third.id);
    cancels(&world, &third).await;
    world.catalog.advance(LEASE + SECOND);
    assert!(world.leases("two").await.is_none());
    assert_eq!(world.look(&third).await.state, JobState::Cancelled);
    assert_eq!(cancels(&world, &third).await.state, JobState::Cancelled);
}

#[rstest]
#[tokio::test]
async fn an_ended_job_cannot_be_cancelled(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    world.publishes(attempt).await.unwrap();
    let before = world.look(&job).await;
    refused(
        jobs::cancel(&mut world.begin().await, job.id, BY).await,
        "job_ended",
    );
    assert_eq!(world.look(&job).await, before);
}

#[rstest]
#[tokio::test]
async fn a_site_without_running_jobs_comes_first(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let (osaka, kyoto) = (world.site("osaka").await, world.site("kyoto").await);
    for _ in 0..3 {
        world.job(&osaka).await;
    }
    for _ in 0..2 {
        world.job(&kyoto).await;
    }
    let mut sites = Vec::new();
    while let Some(leased) = world.leases(&format!("worker {}", sites.len())).await {
        sites.push(leased.site.to_string());
    }
    assert_eq!(sites, ["osaka", "kyoto", "osaka", "kyoto", "osaka"]);
}

#[rstest]
#[tokio::test]
async fn the_last_two_checkpoints_are_kept_and_given_to_the_next_attempt(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    for step in [10, 20, 30] {
        let digest = world
            .uploads(attempt, &format!("checkpoint {step}"))
            .await
            .unwrap();
        let mut tx = world.begin().await;
        jobs::checkpoint(&mut tx, attempt, step, &digest).await.unwrap();
        tx.commit().await.unwrap();
        // The answer was lost, so it is said again.
        let mut tx = world.begin().await;
        jobs::checkpoint(&mut tx, attempt, step, &digest).await.unwrap();
        tx.commit().await.unwrap();
    }
    let _ = beats(
        &world,
        attempt,
        &[],
        &[(10, 3.0), (30, 2.0), (35, f64::NAN), (40, 1.0)],
    )
    .await;
    world.catalog.advance(LEASE + SECOND);
    let next = world.leases("two").await.unwrap();
    let kept: Vec<_> = next
        .checkpoints
        .iter()
        .map(|kept| (kept.step, kept.digest))
        .collect();
    let of = |step: u64| (step, Digest::of(format!("checkpoint {step}").as_bytes()));
    assert_eq!(kept, [of(30), of(20)]);
    let mut tx = world.read().await;
    assert!(
        attempts::may_read(&mut tx, next.attempt, &of(30).1)
            .await
            .unwrap()
    );
    assert!(
        !attempts::may_read(&mut tx, next.attempt, &of(10).1)
            .await
            .unwrap()
    );
    let curve: Vec<u64> = jobs::logs(&mut tx, job.id)
        .await
        .unwrap()
        .loss
        .iter()
        .map(|p| p.step)
        .collect();
    assert_eq!(curve, [10, 30], "the curve goes on at the checkpoint");
    drop(tx);
    world.publishes(next.attempt).await.unwrap();
    let left = attempts::checkpoints(&mut world.read().await, job.id)
        .await
        .unwrap();
    assert!(left.is_empty(), "they go with the job");
}

#[rstest]
#[tokio::test]
async fn a_result_names_only_what_its_attempt_uploaded(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    for content in ["artefact", "scores", "report"] {
        world.blob(&format!("{content} of {attempt}")).await;
    }
    let mut tx = world.begin().await;
    refused(
        jobs::publish(&mut tx, attempt, &published(attempt)).await,
        "not_uploaded",
    );
    refused(
        jobs::checkpoint(&mut tx, attempt, 1, &Digest::of(b"else")).await,
        "not_uploaded",
    );
    drop(tx);
    assert_eq!(world.look(&job).await.state, JobState::Running);
    assert_eq!(count_masks(&world, "osaka").await, 0);
}

#[rstest]
#[tokio::test]
async fn an_attempt_reads_what_its_job_needs_and_nothing_else(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let (osaka, kyoto) = (world.site("osaka").await, world.site("kyoto").await);
    let (ours, _) = world.image(&osaka, "ours", &[]).await;
    let (theirs, _) = world.image(&kyoto, "theirs", &[]).await;
    let labelled = world.validation(&osaka).await;
    world.job(&osaka).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    let mut tx = world.read().await;
    for digest in [ours, labelled, Digest::of(b"base.safetensors")] {
        assert!(
            attempts::may_read(&mut tx, attempt, &digest).await.unwrap(),
            "{digest}"
        );
    }
    for digest in [theirs, Digest::of(b"nothing")] {
        assert!(
            !attempts::may_read(&mut tx, attempt, &digest).await.unwrap(),
            "{digest}"
        );
    }
}

#[rstest]
#[tokio::test]
async fn a_long_curve_is_thinned_and_keeps_its_end(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let job = world.job(&site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    for beat in 0..12 {
        let losses: Vec<(u64, f64)> = (beat * 100..beat * 100 + 100).map(|step| (step, 1.0)).collect();
        let _ = beats(&world, attempt, &[], &losses).await;
    }
    let loss = jobs::logs(&mut world.read().await, job.id).await.unwrap().loss;
    assert!((200..=500).contains(&loss.len()), "{}", loss.len());
    assert!(loss.is_sorted_by_key(|point| point.step));
    assert_eq!((loss[0].step, loss.last().unwrap().step), (0, 1199));
}

#[rstest]
#[tokio::test]
async fn a_waiting_worker_gets_the_job_that_comes(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let stop = CancellationToken::new();
    let card = worker_card("patient");
    let waiting = scheduler::lease(&world.catalog, &card, LEASE, Duration::from_mins(1), &stop);
    let (leased, job) = tokio::join!(waiting, world.job(&site));
    assert_eq!(leased.unwrap().expect("it came").attempt.job, job.id);
}

#[rstest]
#[tokio::test]
async fn a_waiting_worker_is_let_go_when_the_server_stops(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let stop = CancellationToken::new();
    let card = worker_card("patient");
    let waiting = scheduler::lease(&world.catalog, &card, LEASE, Duration::from_mins(10), &stop);
    let reaping = scheduler::run(&world.catalog, Duration::from_mins(10), &WEEK, &stop);
    let (leased, (), ()) = tokio::join!(waiting, reaping, async { stop.cancel() });
    assert!(leased.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_at_once_get_each_job_once_in_fair_order() {
    for backend in [Sqlite, Postgres] {
        let world = World::new(backend).await;
        let (osaka, kyoto) = (world.site("osaka").await, world.site("kyoto").await);
        for _ in 0..4 {
            world.job(&osaka).await;
            world.job(&kyoto).await;
        }
        let leasing = (0..8).map(|number| {
            let catalog = world.catalog.clone();
            tokio::spawn(async move {
                let mut tx = catalog.begin().await.unwrap();
                let card = worker_card(&format!("worker {number}"));
                let leased = jobs::lease(&mut tx, &card, LEASE).await.unwrap();
                tx.commit().await.unwrap();
                leased.expect("there is a job for each").attempt
            })
        });
        let leasing: Vec<_> = leasing.collect();
        let mut attempts = Vec::new();
        for leased in leasing {
            attempts.push(leased.await.unwrap());
        }
        attempts.sort_unstable();
        attempts.dedup();
        assert_eq!(attempts.len(), 8);
        assert!(attempts.iter().all(|attempt| attempt.number == 1));
    }
}

#[rstest]
#[tokio::test]
async fn a_job_that_never_stops_talking_is_told_once_that_its_log_is_full(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    world.image(&site, "cell", &[]).await;
    let job = world.job(&site).await;
    let leased = world.leases("one").await.expect("a job is queued");
    let long = "é".repeat(3000);
    let lines: Vec<String> = (0..6000).map(|number| format!("line {number}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(
        beats(&world, leased.attempt, &[&long], &[]).await,
        Order::Continue
    );
    let first = logged(&world, &job).await;
    assert_eq!(first, ["é".repeat(2000)], "a line is cut between characters");
    assert_eq!(beats(&world, leased.attempt, &lines, &[]).await, Order::Continue);
    let last = logged(&world, &job).await.pop();
    assert_eq!(
        last.as_deref(),
        Some("line 5999"),
        "what comes at once is kept whole, in order"
    );
    assert_eq!(beats(&world, leased.attempt, &lines, &[]).await, Order::Continue);
    let shown = logged(&world, &job).await;
    let [.., last, full] = shown.as_slice() else {
        panic!("a log has lines")
    };
    assert_eq!(last, "line 3998", "ten thousand, with the first one");
    assert!(full.contains("10000") && full.contains("dropped"), "{full}");
    assert_eq!(
        beats(&world, leased.attempt, &["more"], &[]).await,
        Order::Continue
    );
    assert_eq!(
        logged(&world, &job).await,
        shown,
        "said once, and nothing after it"
    );
}

/// The lines of a job that people are shown.
async fn logged(world: &World, job: &katagami::wire::v1::jobs::Job) -> Vec<String> {
    let logs = jobs::logs(&mut world.read().await, job.id).await.unwrap();
    logs.lines.into_iter().map(|line| line.line).collect()
}
