//! `/v1/sites/{site}/images`, validation sets and snapshots

use katagami::domain::Digest;
use katagami::domain::gate::GateSettings;
use katagami::domain::health::{DoubtedLabel, EmbeddingHealth, Finding, FindingCode};
use katagami::domain::report::{ImageCounts, Kpi, Report, TrainingFigures};
use reqwest::{Method, header, multipart};
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::intake::world::tar;
use crate::server::{Answer, Person, Server, picture};

/// Sends a form: captions and files in the order given.
async fn submits_form(person: &Person, site: &str, form: multipart::Form, accept: &str) -> Answer {
    let request = person.request(Method::POST, &format!("/v1/sites/{site}/images"));
    Answer::of(request.header(header::ACCEPT, accept).multipart(form)).await
}

fn file(name: &str, bytes: Vec<u8>) -> multipart::Part {
    multipart::Part::bytes(bytes).file_name(name.to_owned())
}

#[rstest]
#[tokio::test]
async fn a_form_of_images_is_answered_file_by_file(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let engineer = server.engineer("osaka").await;
    let caption = r#"{"captured_at": "2026-01-31T08:00:00Z", "metadata": {"line": "a"}}"#;
    let form = multipart::Form::new()
        .text("caption", caption)
        .part("file", file("one.png", picture(1)))
        .part("file", file("two.png", picture(2)))
        .part("file", file("notes.txt", b"no picture".to_vec()))
        .part("file", file("again.png", picture(1)));
    let answer = submits_form(&engineer, "osaka", form, "application/json")
        .await
        .good()
        .json();
    assert_eq!(
        (&answer["accepted"], &answer["duplicates"], &answer["rejected"]),
        (&json!(2), &json!(1), &json!(1)),
        "{answer}"
    );
    let fates: Vec<_> = answer["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["fate"].clone())
        .collect();
    assert_eq!(fates, ["accepted", "accepted", "rejected", "duplicate"]);
    // The caption belongs to the file after it and to no other.
    let of_line = engineer
        .get("/v1/sites/osaka/images?metadata.line=a")
        .await
        .good()
        .json();
    assert_eq!(of_line["items"].as_array().unwrap().len(), 1, "{of_line}");
    assert_eq!(of_line["items"][0]["name"], "one.png");
    let later = engineer
        .get("/v1/sites/osaka/images?captured_from=2026-02-01T00:00:00Z")
        .await
        .good()
        .json();
    assert!(later["items"].as_array().unwrap().is_empty());
    engineer
        .get("/v1/sites/osaka/images?line=a")
        .await
        .refused(400, "query_invalid");
    server.stop().await;
}

#[tokio::test]
async fn nothing_of_a_form_is_passed_over_in_silence() {
    let server = Server::start(Sqlite).await;
    let engineer = server.engineer("osaka").await;
    let form = multipart::Form::new()
        .text("metadata", r#"{"line": "a"}"#)
        .part("file", file("one.png", picture(1)))
        .text("caption", r#"{"metadata": {"line": "a"}}"#);
    let answer = submits_form(&engineer, "osaka", form, "application/json")
        .await
        .good()
        .json();
    let told: Vec<(&str, &str)> = answer["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let what = file["code"].as_str().or(file["fate"].as_str());
            (file["name"].as_str().unwrap(), what.unwrap())
        })
        .collect();
    let expected = [
        ("metadata", "form_part"),
        ("one.png", "accepted"),
        ("caption", "caption_without_image"),
    ];
    assert_eq!(told, expected, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn large_answers_come_as_lines() {
    let server = Server::start(Sqlite).await;
    let engineer = server.engineer("osaka").await;
    let form = multipart::Form::new()
        .part("file", file("one.png", picture(1)))
        .part("file", file("two.png", picture(2)));
    let answer = submits_form(&engineer, "osaka", form, "application/x-ndjson")
        .await
        .good();
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let names: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].clone())
        .collect();
    assert_eq!(names, ["one.png", "two.png"]);
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn an_image_is_sent_shown_downloaded_and_deleted(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let engineer = server.engineer("osaka").await;
    let request = engineer.request(Method::POST, "/v1/sites/osaka/images?name=one.png");
    let caption = r#"{"metadata": {"line": "b"}}"#;
    let request = request
        .header(header::CONTENT_TYPE, "image/png")
        .header("katagami-caption", caption)
        .body(picture(1));
    let answer = Answer::of(request).await.good().json();
    let digest = answer["files"][0]["digest"]
        .as_str()
        .expect("its digest is told")
        .to_owned();
    let path = format!("/v1/sites/osaka/images/{digest}");
    let image = engineer.get(&path).await.good().json();
    assert_eq!(
        (&image["width"], &image["metadata"]["line"]),
        (&json!(48), &json!("b"))
    );
    let bytes = engineer.get(&format!("{path}/bytes")).await.good();
    assert_eq!(bytes.body, picture(1));
    assert_eq!(bytes.header("content-type"), "image/png");
    assert_eq!(bytes.header("etag"), format!("\"{digest}\""));
    assert_eq!(bytes.header("x-content-type-options"), "nosniff");
    engineer.delete(&path).await.status(204);
    engineer
        .get(&format!("{path}/bytes"))
        .await
        .refused(404, "no_such_image");
    assert!(engineer.get(&path).await.good().json()["deleted_at"].is_string());
    let listed = engineer.get("/v1/sites/osaka/images").await.good().json();
    assert!(listed["items"].as_array().unwrap().is_empty());
    let listed = engineer
        .get("/v1/sites/osaka/images?deleted=true")
        .await
        .good()
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_submission_is_refused_as_a_whole() {
    let server = Server::start(Sqlite).await;
    let engineer = server.engineer("osaka").await;
    let json = engineer.post("/v1/sites/osaka/images", json!({})).await;
    json.refused(415, "media_type");
    let request = engineer.request(Method::POST, "/v1/sites/osaka/images");
    let request = request
        .header(header::CONTENT_TYPE, "image/png")
        .header("katagami-caption", "line a")
        .body(picture(1));
    Answer::of(request).await.refused(400, "caption_invalid");
    let admin = server.admin();
    admin
        .submits("nowhere", "one.png", picture(1))
        .await
        .refused(404, "no_such_site");
    assert_eq!(engineer.get("/v1/sites/osaka").await.good().json()["images"], 0);
    server.stop().await;
}

#[tokio::test]
async fn a_snapshot_freezes_what_matches() {
    let server = Server::start(Sqlite).await;
    let engineer = server.engineer("osaka").await;
    let empty = engineer.post("/v1/sites/osaka/snapshots", json!({})).await;
    empty.refused(409, "snapshot_empty");
    for number in [1, 2, 3] {
        engineer
            .submits("osaka", &format!("{number}.png"), picture(number))
            .await
            .good();
    }
    let images = engineer.get("/v1/sites/osaka/images").await.good().json();
    let without = images["items"][0]["digest"].clone();
    let made = engineer
        .post("/v1/sites/osaka/snapshots", json!({"exclude": [without]}))
        .await
        .status(201)
        .json();
    assert_eq!(made["images"], 2);
    let path = format!("/v1/sites/osaka/snapshots/{}", made["id"].as_str().unwrap());
    let frozen = engineer.get(&format!("{path}/images")).await.good().json();
    let frozen = frozen["images"].as_array().unwrap().clone();
    assert!(frozen.len() == 2 && !frozen.contains(&without));
    let gone = frozen[0].as_str().unwrap();
    engineer
        .delete(&format!("/v1/sites/osaka/images/{gone}"))
        .await
        .good();
    assert_eq!(engineer.get(&path).await.good().json()["incomplete"], true);
    server.stop().await;
}

/// A picture of one grey, which every site can do without.
fn flat(grey: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(48, 48, image::Rgb([grey; 3]))
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[rstest]
#[tokio::test]
async fn health_lists_what_a_snapshot_can_exclude(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let engineer = server.engineer("osaka").await;
    for number in 1..4 {
        let name = format!("{number}.png");
        engineer.submits("osaka", &name, picture(number)).await.good();
    }
    for (name, grey) in [("black.png", 0), ("also-black.png", 5), ("grey.png", 90)] {
        engineer.submits("osaka", name, flat(grey)).await.good();
    }
    engineer
        .submits("osaka", "notes.txt", b"no picture".to_vec())
        .await;
    let health = engineer.get("/v1/sites/osaka/health?limit=1").await.good().json();
    assert_eq!(
        (&health["images"], &health["unmeasured"]),
        (&json!(6), &json!(0)),
        "{health}"
    );
    let findings = health["findings"].as_array().unwrap();
    let dark = findings.iter().find(|finding| finding["code"] == "dark").unwrap();
    assert_eq!(
        (&dark["count"], dark["images"].as_array().unwrap().len()),
        (&json!(2), 1),
        "{health}"
    );
    assert_eq!(dark["explanation"], "nearly black");
    assert_eq!(health["rejected"]["newest"][0]["name"], "notes.txt", "{health}");
    let flat = engineer
        .get("/v1/sites/osaka/health?finding=low-information")
        .await
        .good()
        .json();
    assert_eq!(flat["findings"].as_array().unwrap().len(), 1, "{flat}");

    let grey = flat["findings"][0]["images"][0].clone();
    let path = "/v1/sites/osaka/snapshots";
    let made = engineer
        .post(path, json!({"exclude": ["dark", grey]}))
        .await
        .good()
        .json();
    assert_eq!(
        (&made["images"], &made["excluded"]),
        (&json!(3), &json!(3)),
        "{made}"
    );
    assert_eq!(made["exclude"], json!(["dark", grey]));
    let id = made["id"].as_str().unwrap();
    let images = engineer.get(&format!("{path}/{id}/images")).await.good().json();
    let excluded = images["excluded"].as_array().unwrap();
    let reasons =
        |image: &Value| excluded.iter().find(|out| out["image"] == *image).unwrap()["reasons"].clone();
    assert_eq!(reasons(&grey), json!([grey]));
    assert_eq!(reasons(&dark["images"][0]), json!(["dark"]));
    let again = engineer.get("/v1/sites/osaka/health").await.good().json();
    assert_eq!(again["images"], 6, "nothing was deleted");

    let unknown = engineer.post(path, json!({"exclude": ["ugly"]})).await;
    assert!(unknown.status.is_client_error(), "{unknown:?}");
    let unknown = engineer.get("/v1/sites/osaka/health?finding=ugly").await;
    assert!(unknown.status.is_client_error(), "{unknown:?}");
    server
        .engineer("kyoto")
        .await
        .get("/v1/sites/osaka/health")
        .await
        .status(404);
    server.stop().await;
}

/// A server whose site `osaka` has a base and images 1 to 4.
async fn four_images(backend: Backend) -> (Server, Person) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    for number in 1..5 {
        let name = format!("{number}.png");
        engineer.submits("osaka", &name, picture(number)).await.good();
    }
    (server, engineer)
}

#[rstest]
#[tokio::test]
async fn what_one_report_found_stays_out_of_snapshots_after_the_next(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let (server, engineer) = four_images(backend).await;
    let images = engineer.get("/v1/sites/osaka/images").await.good().json();
    let found: Vec<Digest> = (images["items"].as_array().unwrap().iter())
        .map(|image| image["digest"].as_str().unwrap().parse().unwrap())
        .take(2)
        .collect();
    let snapshot = async |excluded: usize| {
        let made = engineer.post("/v1/sites/osaka/snapshots", json!({"exclude": ["outlier"]}));
        let made = made.await.good().json();
        assert_eq!(made["excluded"], excluded, "{made}");
        made["id"].clone()
    };
    // Each training finds an outlier among those that it saw.
    for (excluded, outlier) in found.iter().enumerate() {
        let job = json!({"snapshot": snapshot(excluded).await});
        engineer.post("/v1/sites/osaka/jobs", job).await.good();
        let health = EmbeddingHealth {
            findings: vec![Finding::of(
                FindingCode::Outlier,
                "alone".to_owned(),
                vec![*outlier],
            )],
            ..EmbeddingHealth::default()
        };
        reports(&server, health).await;
    }
    snapshot(2).await;
    server.stop().await;
}

/// Ends the job that waits with a report that says this of embeddings.
async fn reports(server: &Server, health: EmbeddingHealth) {
    let report = Report {
        health: Some(health),
        ..Report::judged(
            Kpi::Probe,
            None,
            None,
            TrainingFigures::default(),
            ImageCounts::default(),
            GateSettings::default(),
        )
    };
    let attempt = server.leases().await;
    server
        .reports(attempt, report.to_json().unwrap().as_bytes())
        .await;
}

#[rstest]
#[tokio::test]
async fn what_embeddings_found_is_told_until_the_image_or_the_label_is_gone(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let (server, engineer) = four_images(backend).await;
    // Two images whose labels are doubted, between others.
    let labels = async |class: &str| {
        let doubted = [11, 12].map(|number| (format!("{class}/{number}.png"), picture(number)));
        let others = [
            ("crack/13.png".to_owned(), picture(13)),
            ("good/14.png".to_owned(), picture(14)),
        ];
        let files: Vec<_> = (doubted.iter().chain(&others))
            .map(|(name, bytes)| (name.as_str(), bytes.clone()))
            .collect();
        let request = engineer.request(Method::POST, "/v1/sites/osaka/validation");
        let request = request.header(header::CONTENT_TYPE, "application/x-tar");
        let set = Answer::of(request.body(tar(&files))).await.good().json();
        assert_eq!(set["rejected"], json!([]), "{set}");
    };
    labels("good").await;
    engineer.post("/v1/sites/osaka/jobs", json!({})).await.good();
    let of = |numbers: [u8; 2]| numbers.map(|number| Digest::of(&picture(number)));
    let (outliers, doubted) = (of([1, 2]), of([11, 12]));
    let finding = |code, images: [Digest; 2]| Finding::of(code, "why".to_owned(), images.to_vec());
    let health = EmbeddingHealth {
        images: 4,
        labelled: 4,
        findings: vec![
            finding(FindingCode::Outlier, outliers),
            finding(FindingCode::LabelError, doubted),
        ],
        labels: (doubted.into_iter())
            .map(|image| DoubtedLabel {
                image,
                given: "good".to_owned(),
                likely: "crack".to_owned(),
            })
            .collect(),
    };
    reports(&server, health).await;
    // How many images the two findings count, and how many labels are told.
    let told = async || {
        let health = engineer.get("/v1/sites/osaka/health").await.good().json();
        let count = |code: &str| {
            let findings = health["findings"].as_array().unwrap();
            let found = findings.iter().find(|finding| finding["code"] == code);
            found.map_or(0, |finding| finding["count"].as_u64().unwrap())
        };
        let labels = health["labels"].as_array().unwrap().len();
        (count("outlier"), count("label-error"), labels)
    };
    assert_eq!(told().await, (2, 2, 2));
    let gone = format!("/v1/sites/osaka/images/{}", outliers[0]);
    engineer.delete(&gone).await.status(204);
    assert_eq!(told().await, (1, 2, 2));
    labels("crack").await;
    assert_eq!(told().await, (1, 0, 0), "corrected in the newest validation set");
    server.stop().await;
}
