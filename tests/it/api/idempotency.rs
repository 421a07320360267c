//! `Idempotency-Key`

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Answer, Person, Server, picture};

async fn posts(person: &Person, path: &str, key: &str, body: &Value) -> Answer {
    let request = person.request(Method::POST, path).header("idempotency-key", key);
    Answer::of(request.json(body)).await
}

#[rstest]
#[tokio::test]
async fn a_request_sent_twice_is_done_once(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    engineer.submits("osaka", "one.png", picture(1)).await.good();
    let jobs = "/v1/sites/osaka/jobs";
    let first = posts(&engineer, jobs, "key-1", &json!({"budget": 5}))
        .await
        .status(201);
    let again = posts(&engineer, jobs, "key-1", &json!({"budget": 5}))
        .await
        .status(201);
    assert_eq!(first.body, again.body);
    assert_eq!(again.header("idempotent-replayed"), "true");
    posts(&engineer, jobs, "key-1", &json!({"budget": 6}))
        .await
        .refused(422, "idempotency_key_reused");
    // Refusals are answers, too.
    for _ in 0..2 {
        posts(&engineer, jobs, "key-2", &json!({"budget": 0}))
            .await
            .refused(400, "budget_invalid");
    }
    // A key belongs to who sent it.
    posts(&server.admin(), jobs, "key-1", &json!({"budget": 6}))
        .await
        .status(201);
    let listed = engineer.get(jobs).await.good().json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    posts(&engineer, jobs, &"k".repeat(256), &json!({}))
        .await
        .refused(400, "idempotency_key_invalid");
    server.stop().await;
}

#[tokio::test]
async fn a_secret_is_never_shown_twice() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let token = json!({"name": "ci", "role": "operator"});
    posts(&admin, "/v1/tokens", "once", &token).await.status(201);
    posts(&admin, "/v1/tokens", "once", &token)
        .await
        .refused(409, "secret_shown_once");
    let tokens = admin.get("/v1/tokens").await.good().json();
    assert_eq!(tokens["items"].as_array().unwrap().len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn two_at_once_are_done_once() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let site = json!({"name": "osaka"});
    let answers = futures::future::join_all((0..8).map(|_| posts(&admin, "/v1/sites", "same", &site))).await;
    for answer in answers {
        match answer.status.as_u16() {
            201 => {}
            _ => {
                answer.refused(409, "idempotency_in_progress");
            }
        }
    }
    let sites = admin.get("/v1/sites").await.good().json();
    assert_eq!(sites["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}
