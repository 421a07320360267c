//! Leases: who has a job, how it is told, and what happens to whoever lost it.

use std::time::Duration;

use katagami::domain::Digest;
use katagami::wire::grpc::v1::abandon_request::Reason;
use katagami::wire::grpc::v1::{HeartbeatRequest, LossPoint, Order, Progress};
use rstest::rstest;
use serde_json::json;
use tonic::Code;

use super::persona::{Worker, base, digest, job, refused, report, result};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Server, picture};

/// Longer than any lease of these tests.
const LONG: Duration = Duration::from_secs(61);

fn beat(attempt: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        attempt: attempt.to_owned(),
        ..HeartbeatRequest::default()
    }
}

#[rstest]
#[tokio::test]
async fn an_attempt_goes_from_lease_to_mask(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    assert_eq!(worker.asks(0).await.unwrap(), None, "nothing waits yet");
    let (engineer, job) = job(&server, "osaka").await;

    // It is told everything that it needs, and may fetch it.
    let assignment = worker.leases().await;
    let attempt = assignment.attempt.clone();
    assert_eq!(attempt, format!("{job}.1"));
    assert_eq!((assignment.site.as_str(), assignment.mask_version), ("osaka", 1));
    assert_eq!(
        (assignment.recipe.as_str(), assignment.kpi.as_str()),
        ("factory", "probe")
    );
    let told = assignment.base.clone().unwrap();
    assert_eq!(digest(&told.digest), base().digest());
    let file = told.file.unwrap();
    let fetched = worker.fetches(&attempt, &digest(&file.digest)).await.good();
    assert_eq!(
        (fetched.body.len() as u64, Digest::of(&fetched.body)),
        (file.bytes, digest(&file.digest))
    );
    assert_eq!(assignment.snapshot.clone().unwrap().images, 1);
    let images = worker.lists(&attempt, b"").await.unwrap();
    assert_eq!(images.len(), 1);
    assert_eq!(
        worker
            .fetches(&attempt, &digest(&images[0].digest))
            .await
            .good()
            .body,
        picture(1)
    );

    // Its heartbeats are seen.
    let progress = Progress {
        phase: "train".to_owned(),
        step: 3,
        steps: 9,
        loss: Some(4.5),
        dropped: Some(7),
    };
    let order = worker.beats(HeartbeatRequest {
        attempt: attempt.clone(),
        progress: Some(progress),
        lines: vec!["hello".to_owned()],
        losses: vec![LossPoint { step: 3, loss: 4.5 }],
    });
    assert_eq!(order.await.unwrap(), Order::Continue);
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(shown["state"], "running");
    assert_eq!(
        shown["progress"],
        json!({"phase": "train", "step": 3, "steps": 9, "loss": 4.5, "dropped": 7})
    );
    let logs = engineer.get(&format!("/v1/jobs/{job}/logs")).await.good().json();
    assert_eq!(
        (&logs["lines"][0]["line"], &logs["loss"][0]["loss"]),
        (&json!("hello"), &json!(4.5))
    );

    // A checkpoint is kept, and given to the next attempt.
    worker.uploads(&attempt, b"state after 3 steps").await.good();
    worker.keeps(&attempt, b"state after 3 steps", 3).await.unwrap();
    worker.abandons(&attempt, Reason::Returned, "").await.unwrap();
    let assignment = worker.leases().await;
    assert_eq!(assignment.attempt, format!("{job}.2"));
    let checkpoint = digest(&assignment.checkpoint.clone().unwrap().digest);
    let fetched = worker.fetches(&assignment.attempt, &checkpoint).await.good();
    assert_eq!(fetched.body.as_ref(), b"state after 3 steps");

    // The mask is published once; asked again, the answer is the same.
    let result = result(&assignment, |_| {});
    let reply = worker.publishes(&assignment.attempt, &result).await.unwrap();
    assert_eq!((reply.mask_version, reply.verdict.as_str()), (1, "held"));
    assert_eq!(worker.names(&assignment.attempt, &result).await.unwrap(), reply);
    let masks = engineer.get("/v1/sites/osaka/masks").await.good().json();
    assert_eq!(masks["items"].as_array().unwrap().len(), 1);
    let mask = &masks["items"][0];
    assert_eq!(
        (&mask["version"], &mask["flips"], &mask["verdict"]),
        (&json!(1), &json!(10), &json!("held"))
    );
    assert!(
        mask["reasons"][0].as_str().unwrap().contains("no evidence"),
        "{mask}"
    );
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(
        shown["outcome"],
        json!({"kind": "mask", "version": 1, "verdict": "held"})
    );
    assert_eq!(
        worker.beats(beat(&assignment.attempt)).await.unwrap(),
        Order::LeaseLost
    );
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_worker_that_lost_its_lease_can_change_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let (slow, fast) = (
        Worker::of(&server, "slow").await,
        Worker::of(&server, "fast").await,
    );
    let (engineer, job) = job(&server, "osaka").await;
    let lost = slow.leases().await;
    let late = result(&lost, |_| {});
    slow.uploads(&lost.attempt, &late.artefact).await.good();
    server.running.app.catalog.advance(LONG);
    let held = fast.leases().await;
    assert_eq!(held.attempt, format!("{job}.2"));

    let attempt = lost.attempt.as_str();
    assert_eq!(slow.beats(beat(attempt)).await.unwrap(), Order::LeaseLost);
    let file = digest(&lost.base.clone().unwrap().file.unwrap().digest);
    slow.fetches(attempt, &file).await.refused(409, "lease_lost");
    slow.uploads(attempt, b"late").await.refused(409, "lease_lost");
    refused(
        slow.lists(attempt, b"").await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    refused(
        slow.lists_labelled(attempt, b"").await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    refused(
        slow.keeps(attempt, b"late", 1).await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    refused(
        slow.publishes(attempt, &late).await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    refused(
        slow.finds_nothing(attempt, &report(0)).await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    refused(
        slow.abandons(attempt, Reason::Failed, "late").await,
        Code::FailedPrecondition,
        "lease_lost",
    );
    let masks = engineer.get("/v1/sites/osaka/masks").await.good().json();
    assert_eq!(masks["items"], json!([]), "nothing was published");
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(
        (&shown["state"], &shown["attempt"]),
        (&json!("running"), &json!(2))
    );

    let reply = fast
        .publishes(&held.attempt, &result(&held, |_| {}))
        .await
        .unwrap();
    assert_eq!(reply.mask_version, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_worker_that_waits_is_given_the_job_that_comes() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "patient").await;
    let waiting = tokio::spawn(async move { worker.asks(30).await });
    let (_, job) = job(&server, "osaka").await;
    let assignment = waiting.await.unwrap().unwrap().expect("a job came");
    assert_eq!(assignment.attempt, format!("{job}.1"));
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_those_who_wait() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "patient").await;
    let waiting = tokio::spawn(async move { worker.asks(30).await });
    let workers = server.admin();
    // Seen: its question is open.
    while workers.get("/v1/workers").await.good().json()["items"] == json!([]) {
        tokio::task::yield_now().await;
    }
    server.stop().await;
    // Sent away with nothing, or cut off; never kept.
    assert!(waiting.await.unwrap().ok().flatten().is_none());
}

#[rstest]
#[tokio::test]
async fn a_cancelled_job_is_stopped_and_ends_cancelled(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, job) = job(&server, "osaka").await;
    let attempt = worker.leases().await.attempt;
    engineer
        .post(&format!("/v1/jobs/{job}/cancel"), json!({}))
        .await
        .good();
    assert_eq!(worker.beats(beat(&attempt)).await.unwrap(), Order::Stop);
    worker.abandons(&attempt, Reason::Cancelled, "").await.unwrap();
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(
        (&shown["state"], &shown["outcome"]["kind"]),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(
        worker.asks(0).await.unwrap(),
        None,
        "and it is not given out again"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_failed_attempt_waits_before_the_next_and_a_returned_one_does_not() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, job) = job(&server, "osaka").await;
    let first = worker.leases().await.attempt;
    worker.abandons(&first, Reason::Returned, "").await.unwrap();
    let second = worker.leases().await.attempt;
    worker
        .abandons(&second, Reason::Failed, "the disk is full")
        .await
        .unwrap();
    assert_eq!(worker.asks(0).await.unwrap(), None, "it waits");
    server.running.app.catalog.advance(Duration::from_secs(11));
    assert_eq!(worker.leases().await.attempt, format!("{job}.3"));
    let logs = engineer.get(&format!("/v1/jobs/{job}/logs")).await.good().json();
    let ends: Vec<_> = logs["attempts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| &attempt["end"])
        .collect();
    assert_eq!(
        ends,
        [
            &json!("returned"),
            &json!("failed: the disk is full"),
            &json!(null)
        ]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_worker_reads_what_its_job_needs_and_nothing_else() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    job(&server, "osaka").await;
    let kyoto = server.engineer("kyoto").await;
    kyoto.submits("kyoto", "two.png", picture(2)).await.good();
    let attempt = worker.leases().await.attempt;
    let foreign = Digest::of(&picture(2));
    let refusal = worker.fetches(&attempt, &foreign).await;
    let nowhere = worker.fetches(&attempt, &Digest::of(b"nowhere")).await;
    assert_eq!((refusal.status.as_u16(), nowhere.status.as_u16()), (404, 404));
    // Bytes that are not those of their name are not stored.
    let path = format!("/v1/worker/attempts/{attempt}/blobs/{}", Digest::of(b"named"));
    let request = worker.person.request(reqwest::Method::PUT, &path).body("other");
    let wrong = crate::server::Answer::of(request).await;
    assert_eq!(wrong.status.as_u16(), 400, "{wrong:?}");
    server.stop().await;
}

#[tokio::test]
async fn only_workers_work() {
    let server = Server::with_base(Sqlite).await;
    let (engineer, _) = job(&server, "osaka").await;
    for person in [server.admin(), engineer, server.with_role("operator").await] {
        let pretender = Worker::with("pretender", person);
        refused(pretender.asks(0).await, Code::PermissionDenied, "forbidden");
    }
    let nobody = Worker::with("nobody", server.person(None));
    refused(nobody.asks(0).await, Code::Unauthenticated, "token_missing");
    let worker = Worker::of(&server, "").await;
    refused(worker.asks(0).await, Code::InvalidArgument, "message_invalid");
    let said = refused(
        worker.beats(beat("3")).await,
        Code::InvalidArgument,
        "attempt_invalid",
    );
    assert!(said.contains("JOB.NUMBER"), "{said}");
    let worker = Worker::of(&server, "one").await;
    assert!(worker.asks(0).await.unwrap().is_some(), "the job is still there");
    server.stop().await;
}
