//! `/v1/sites/{site}/images`, validation sets and snapshots

use reqwest::{Method, header, multipart};
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
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
