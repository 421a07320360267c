//! Results: what a worker brings is that of its job, or nothing is stored.

use std::time::Duration;

use katagami::domain::report::{ExpertFigures, Report};
use katagami::domain::{Digest, JobId, MaskVersion, View};
use katagami::mask::cascade::{Group, Joint, NewExpert, Projection, Router, encode_cascade};
use katagami::mask::{Header, Limits, apply, decode};
use katagami::wire::grpc::v1 as proto;
use rstest::rstest;
use serde_json::json;
use tonic::Code;

use super::persona::{JobResult, Worker, base, job, refused, report, report_seen, result, result_with};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::Server;

#[rstest]
#[case("base", |header: &mut Header| header.base = Digest::of(b"other"))]
#[case("preprocessing", |header: &mut Header| header.preprocessing = Digest::of(b"other"))]
#[case("view", |header: &mut Header| header.view = View::parse(r#"{"size": 64}"#).unwrap())]
#[case("site", |header: &mut Header| header.site = "kyoto".parse().unwrap())]
#[case("version", |header: &mut Header| header.version = MaskVersion(2))]
#[case("snapshot", |header: &mut Header| header.snapshot = Digest::of(b"other"))]
#[case("job", |header: &mut Header| header.job = Some(JobId::generate()))]
#[case("job", |header: &mut Header| header.job = None)]
#[case("report", |header: &mut Header| header.report = Some(Digest::of(b"other")))]
#[tokio::test]
async fn an_artefact_of_something_else_ends_the_attempt_and_is_not_stored(
    #[case] what: &str,
    #[case] spoil: fn(&mut Header),
) {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, job) = job(&server, "osaka").await;
    let assignment = worker.leases().await;
    let wrong = worker
        .publishes(&assignment.attempt, &result(&assignment, spoil))
        .await;
    let said = refused(wrong, Code::InvalidArgument, "result_wrong");
    assert!(said.contains(&format!("another {what}")), "{said}");
    let masks = engineer.get("/v1/sites/osaka/masks").await.good().json();
    assert_eq!(masks["items"], json!([]));
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(
        (&shown["state"], &shown["outcome"]),
        (&json!("queued"), &json!(null))
    );
    let logs = engineer.get(&format!("/v1/jobs/{job}/logs")).await.good().json();
    let end = logs["attempts"][0]["end"].as_str().unwrap();
    assert!(end.contains(&said), "{end}");
    server.stop().await;
}

/// Devices check the weights that a mask yields; a server that published one they refuse would be of no use.
#[tokio::test]
async fn a_mask_that_yields_other_weights_than_its_header_says_is_refused() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, _) = job(&server, "osaka").await;
    let assignment = worker.leases().await;
    let other = result(&assignment, |header| header.weights = Digest::of(b"other"));
    let said = refused(
        worker.publishes(&assignment.attempt, &other).await,
        Code::InvalidArgument,
        "result_wrong",
    );
    assert!(said.contains("the artefact says"), "{said}");
    let masks = engineer.get("/v1/sites/osaka/masks").await.good().json();
    assert_eq!(masks["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_is_damaged_or_contradicts_its_report_is_refused() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, _) = job(&server, "osaka").await;

    // Named, but never uploaded by this attempt: the attempt goes on.
    let assignment = worker.leases().await;
    let attempt = assignment.attempt.as_str();
    let whole = result(&assignment, |_| {});
    refused(
        worker.names(attempt, &whole).await,
        Code::FailedPrecondition,
        "not_uploaded",
    );

    let mut damaged = result(&assignment, |_| {});
    let middle = damaged.artefact.len() / 2;
    damaged.artefact[middle] ^= 1;
    refused(
        worker.publishes(attempt, &damaged).await,
        Code::InvalidArgument,
        "result_wrong",
    );

    // A mask whose report says that there is none to be had, and the other way round.
    server
        .running
        .app
        .catalog
        .advance(std::time::Duration::from_secs(700));
    let assignment = worker.leases().await;
    let mut contradiction = result(&assignment, |header| header.report = Some(Digest::of(&report(0))));
    contradiction.report = report(0);
    let said = refused(
        worker.publishes(&assignment.attempt, &contradiction).await,
        Code::InvalidArgument,
        "result_wrong",
    );
    assert!(said.contains("outcome"), "{said}");
    server
        .running
        .app
        .catalog
        .advance(std::time::Duration::from_secs(700));
    let assignment = worker.leases().await;
    let none = worker.finds_nothing(&assignment.attempt, &report(10)).await;
    refused(none, Code::InvalidArgument, "result_wrong");
    let masks = engineer.get("/v1/sites/osaka/masks").await.good().json();
    assert_eq!(masks["items"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_job_without_improvement_ends_with_its_report_and_no_mask() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, job) = job(&server, "osaka").await;
    let attempt = worker.leases().await.attempt;
    let reply = worker.finds_nothing(&attempt, &report(0)).await.unwrap();
    assert_eq!(
        (reply.mask_version, reply.verdict.as_str()),
        (0, "no improvement")
    );
    assert_eq!(
        worker.finds_nothing(&attempt, &report(0)).await.unwrap(),
        reply,
        "asked again"
    );
    let shown = engineer.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(shown["outcome"]["kind"], "no-improvement");
    let told = engineer.get(&format!("/v1/jobs/{job}/report")).await.good();
    assert_eq!(told.body.as_ref(), report(0));
    server.stop().await;
}

/// A worker that knows no views would bring the mask of whole pictures for that of tiles.
#[rstest]
#[tokio::test]
async fn a_site_with_a_view_gets_no_mask_of_another(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    let view = View::parse(r#"{"tiles": {"columns": 2, "rows": 2}}"#).unwrap();
    let site = json!({"name": "osaka", "view": view});
    server.admin().post("/v1/sites", site).await.good();
    let (engineer, _) = job(&server, "osaka").await;
    for (part, report) in [("artefact", report_seen(10, view)), ("report", report(10))] {
        let assignment = worker.leases().await;
        assert_eq!(View::parse(&assignment.view), Ok(view));
        let wrong = worker
            .publishes(&assignment.attempt, &result_with(&assignment, report, |_| {}))
            .await;
        let said = refused(wrong, Code::InvalidArgument, "result_wrong");
        assert!(
            said.contains(&format!("the {part} names another view")) && said.contains("2 × 2 tiles"),
            "{said}"
        );
        let catalog = &server.running.app.catalog;
        catalog.advance(std::time::Duration::from_secs(700));
    }
    let assignment = worker.leases().await;
    let right = result_with(&assignment, report_seen(10, view), |header| header.view = view);
    worker.publishes(&assignment.attempt, &right).await.unwrap();
    let mask = engineer.get("/v1/sites/osaka/masks/1").await.good().json();
    assert_eq!(mask["view"], json!(view));
    let told = engineer.get("/v1/sites/osaka/masks/1/report").await.good().json();
    assert_eq!(told["view"], json!(view));
    server.stop().await;
}

/// A report that tells of so many experts.
fn report_with(experts: usize) -> Vec<u8> {
    let mut read = Report::from_json(&String::from_utf8(report(10)).unwrap()).unwrap();
    let expert = ExpertFigures {
        images: 1,
        share: 0.5,
        dropped: 11,
        flips: 1,
    };
    read.training.experts = vec![expert; experts];
    read.to_json().unwrap().into_bytes()
}

/// A result whose mask has two experts, the second of which promises the weights `second`, or else its own.
fn cascade(assignment: &proto::Assignment, report: Vec<u8>, second: Option<Digest>) -> JobResult {
    let single = result_with(assignment, report, |_| {});
    let base = base();
    let artefact = decode(&single.artefact, Limits::default()).unwrap();
    let dispatcher = artefact.mask(&base).unwrap();
    let expert = |at: usize| {
        let mut mask = dispatcher.clone();
        mask.tensors.values_mut().for_each(|bits| bits.set(at, false));
        NewExpert {
            weights: apply(&mask, base.clone()).unwrap().digest(),
            mask,
        }
    };
    let mut experts = [expert(1), expert(2)];
    experts[1].weights = second.unwrap_or(experts[1].weights);
    let projection = Projection::rounded(&[vec![1.0; base.architecture.embedding_dim]]);
    let group = Group {
        weight: 0.5,
        mean: vec![0.0],
        factor: vec![1.0],
    };
    let router = Router {
        projection: projection.clone(),
        groups: vec![group; 2],
    };
    let joint = Joint {
        parts: vec![projection; 3],
    };
    JobResult {
        artefact: encode_cascade(&artefact.header, &dispatcher, &base, &router, &joint, &experts).unwrap(),
        ..single
    }
}

#[tokio::test]
async fn a_cascade_is_published_once_each_expert_yields_its_weights_and_the_report_tells_of_all() {
    let server = Server::with_base(Sqlite).await;
    let worker = Worker::of(&server, "one").await;
    let (engineer, _) = job(&server, "osaka").await;
    let wrong: [(_, _, &str); 2] = [
        (report_with(1), None, "number of experts"),
        (report_with(2), Some(Digest::of(b"other")), "the artefact says"),
    ];
    for (report, second, why) in wrong {
        let assignment = worker.leases().await;
        let result = cascade(&assignment, report, second);
        let refusal = worker.publishes(&assignment.attempt, &result).await;
        let said = refused(refusal, Code::InvalidArgument, "result_wrong");
        assert!(said.contains(why), "{said}");
        server.running.app.catalog.advance(Duration::from_secs(700));
    }
    let assignment = worker.leases().await;
    let whole = cascade(&assignment, report_with(2), None);
    let reply = worker.publishes(&assignment.attempt, &whole).await.unwrap();
    assert_eq!(reply.mask_version, 1);
    let stored = engineer.get("/v1/sites/osaka/masks/1/bytes").await.good();
    assert!(stored.body.as_ref() == whole.artefact);
    server.stop().await;
}
