//! What judges: the site's KPI, slices, and how many masks a validation set has judged.

use katagami::domain::gate::GateSettings;
use katagami::domain::report::{
    Estimate, Figure, ImageCounts, Kpi, LabelledFigures, Report, TrainingFigures, Widened,
};
use katagami::wire::grpc::v1 as proto;
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};
use tonic::Code;

use super::persona::{JobResult, Worker, refused, result_with};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::intake::world::tar;
use crate::server::{Answer, Person, Server, picture};

/// A validation set of these files.
async fn set(engineer: &Person, files: &[(&str, Vec<u8>)]) -> Value {
    let request = engineer.request(Method::POST, "/v1/sites/osaka/validation");
    let request = request
        .header("content-type", "application/x-tar")
        .body(tar(files));
    Answer::of(request).await.status(201).json()
}

fn files<'a>() -> Vec<(&'a str, Vec<u8>)> {
    let caption = br#"{"metadata": {"line": "3"}}"#.to_vec();
    vec![
        ("validation/ok/1.png", picture(101)),
        ("validation/crack/2.png", picture(102)),
        ("validation/crack/2.json", caption),
    ]
}

/// A report by labels whose interval allows for so many masks before.
fn report(judged_before: u32) -> Vec<u8> {
    let difference = Estimate {
        value: 0.03,
        lower: 0.01,
        upper: 0.05,
    };
    let figure = Figure {
        base: Estimate::exact(0.8),
        mask: Estimate::exact(0.83),
        difference,
    };
    let figures = LabelledFigures {
        images: 300,
        classes: 2,
        smallest_class: 100,
        knn: figure,
        probe: figure,
        few_shot: None,
        defined: None,
        widened: (judged_before > 0).then(|| Widened {
            judged_before,
            confidence: Widened::confidence(judged_before),
            difference: Estimate {
                lower: -0.02,
                ..difference
            },
        }),
        groups: Vec::new(),
        confusion: None,
    };
    let training = TrainingFigures {
        flips: 10,
        ..TrainingFigures::default()
    };
    let images = ImageCounts { used: 1, left_out: 0 };
    let settings = GateSettings::default();
    let report = Report::judged(Kpi::Probe, Some(figures), None, training, images, settings);
    report.to_json().unwrap().into_bytes()
}

#[rstest]
#[tokio::test]
async fn a_validation_set_remembers_how_many_masks_it_has_judged(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    let engineer = server.engineer("osaka").await;
    engineer.submits("osaka", "one.png", picture(1)).await.good();
    set(&engineer, &files()).await;
    let trains = async || {
        engineer.post("/v1/sites/osaka/jobs", json!({})).await.good();
        worker.leases().await
    };
    let brings = |assignment: &proto::Assignment, judged_before: u32| -> JobResult {
        result_with(assignment, report(judged_before), |_| {})
    };
    let judged = async |version: u32| {
        let path = format!("/v1/sites/osaka/validation/{version}");
        engineer.get(&path).await.good().json()["judged_masks"].clone()
    };

    let first = trains().await;
    assert_eq!(first.judged_before, 0);
    let labelled = worker.lists_labelled(&first.attempt, b"").await.unwrap();
    let lines: Vec<_> = labelled
        .iter()
        .filter_map(|image| image.metadata.get("line"))
        .collect();
    assert_eq!(lines, ["3"], "the caption travels");
    worker
        .publishes(&first.attempt, &brings(&first, 0))
        .await
        .unwrap();
    assert_eq!(judged(1).await, json!(1));

    // The next one is judged at a wider interval, and a report that does not say so is refused.
    let second = trains().await;
    assert_eq!(second.judged_before, 1);
    let refusal = worker.publishes(&second.attempt, &brings(&second, 0)).await;
    let said = refused(refusal, Code::InvalidArgument, "result_wrong");
    assert!(said.contains("number of masks judged before"), "{said}");
    server
        .running
        .app
        .catalog
        .advance(std::time::Duration::from_mins(1));
    let again = worker.leases().await;
    worker
        .publishes(&again.attempt, &brings(&again, 1))
        .await
        .unwrap();
    let mask = engineer.get("/v1/sites/osaka/masks/2").await.good().json();
    assert_eq!(mask["verdict"], "held");
    let reasons = mask["reasons"].to_string();
    assert!(
        reasons.contains("interval widened: this validation set has judged 1 mask before"),
        "{reasons}"
    );

    // The same images that judge are the same judge; others are a new one.
    let mut same = files();
    same.push(("test/crack/3.png", picture(103)));
    set(&engineer, &same).await;
    assert_eq!(judged(2).await, json!(2));
    let mut other = files();
    other.push(("validation/crack/3.png", picture(103)));
    set(&engineer, &other).await;
    assert_eq!(judged(3).await, json!(0));
    assert_eq!(trains().await.judged_before, 0);
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_kpi_that_does_not_fit_is_said_before_the_training(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    let (admin, engineer) = (server.admin(), server.engineer("osaka").await);
    engineer.submits("osaka", "one.png", picture(1)).await.good();
    set(&engineer, &files()).await;
    let jobs = "/v1/sites/osaka/jobs";
    let cost = |costs: Value| json!({"name": "cost", "costs": costs});
    let whole = cost(json!({"crack": {"ok": 20}, "ok": {"crack": 1}}));

    for (kpi, said) in [
        (json!("magic"), "there is no figure `magic`"),
        (cost(json!([[0, 1], [1, 0]])), "the KPI is not as expected"),
        (
            cost(json!({"crack": {"ok": -20}, "ok": {"crack": 1}})),
            "cannot cost -20",
        ),
        (
            json!({"name": "recall-at-false-alarm", "normal": "ok", "rate": 5}),
            "is no rate of false alarms",
        ),
    ] {
        for answer in [
            admin.patch("/v1/sites/osaka", json!({"kpi": &kpi})).await,
            engineer.post(jobs, json!({"kpi": &kpi})).await,
        ] {
            let answer = answer.refused(400, "json_invalid").json();
            let detail = answer["detail"].as_str().unwrap();
            assert!(detail.contains(said), "{detail}");
        }
    }
    for (kpi, said) in [
        (
            json!({"name": "recall-at-false-alarm", "normal": "good", "rate": 0.05}),
            "the KPI names class `good`, but the validation split has `crack`, `ok`",
        ),
        (
            json!({"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.05}),
            "needs 20 images of class `ok`",
        ),
        (
            cost(json!({"crack": {"crack": 1}, "ok": {"crack": 1}})),
            "does not say what it costs to take `crack` for `ok`",
        ),
    ] {
        let answer = engineer
            .post(jobs, json!({"kpi": kpi}))
            .await
            .refused(400, "kpi_invalid");
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(said), "{detail}");
    }
    let listed = engineer.get(jobs).await.good().json();
    assert_eq!(listed["items"], json!([]), "nothing of that was placed");

    let changed = admin
        .patch("/v1/sites/osaka", json!({"kpi": &whole}))
        .await
        .good()
        .json();
    assert_eq!(changed["kpi"]["costs"]["crack"]["ok"].as_f64(), Some(20.0));
    let job = engineer.post(jobs, json!({})).await.status(201).json();
    assert_eq!(job["kpi"], changed["kpi"], "a site's own figure is its jobs'");
    let told: Kpi = worker.leases().await.kpi.parse().unwrap();
    assert_eq!(told, serde_json::from_value(whole).unwrap());
    server.stop().await;
}
