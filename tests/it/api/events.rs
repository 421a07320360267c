//! `/v1/events`

use std::time::Duration;

use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Person, Server, picture};

/// A stream of events that somebody reads.
struct Reading {
    response: reqwest::Response,
    text: String,
}

impl Reading {
    async fn begin(person: &Person, path: &str, last: Option<i64>) -> Self {
        let request = person.request(Method::GET, path);
        let request = match last {
            Some(id) => request.header("last-event-id", id.to_string()),
            None => request,
        };
        let response = request.send().await.expect("the server answers");
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; `None` when the stream has ended. A test that waits for
    /// ever is cut off.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    message
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .map(|value| value.trim().to_owned())
                };
                let Some(data) = field("data:") else { continue };
                let event: Value = serde_json::from_str(&data).expect("an event is JSON");
                assert_eq!(field("id:"), Some(event["id"].to_string()));
                assert_eq!(field("event:").as_deref(), event["kind"].as_str());
                return Some(event);
            }
            let piece = tokio::time::timeout(Duration::from_mins(1), self.response.chunk()).await;
            match piece.expect("something happens within a minute") {
                Ok(Some(piece)) => self
                    .text
                    .push_str(std::str::from_utf8(&piece).expect("events are text")),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

#[rstest]
#[tokio::test]
async fn who_watches_a_site_sees_what_happens_there_and_only_there(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let server = Server::start(backend).await;
    let osaka = server.engineer("osaka").await;
    server.engineer("kyoto").await;
    let mut reading = Reading::begin(&osaka, "/v1/events", None).await;
    server
        .admin()
        .submits("kyoto", "one.png", picture(1))
        .await
        .good();
    osaka.submits("osaka", "one.png", picture(1)).await.good();
    let event = reading.next().await.expect("an event comes");
    assert_eq!(
        (&event["kind"], &event["site"], &event["accepted"]),
        (&json!("images-received"), &json!("osaka"), &json!(1))
    );
    // Who comes back with the last id misses nothing.
    osaka.submits("osaka", "two.png", picture(2)).await.good();
    drop(reading);
    let mut again = Reading::begin(&osaka, "/v1/events?site=osaka", event["id"].as_i64()).await;
    let next = again.next().await.expect("an event comes");
    assert_eq!(next["kind"], "images-received");
    assert!(next["id"].as_i64() > event["id"].as_i64());
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_ends_open_streams() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let mut reading = Reading::begin(&admin, "/v1/events", None).await;
    admin.post("/v1/sites", json!({"name": "osaka"})).await.good();
    assert_eq!(
        reading.next().await.expect("an event comes")["kind"],
        "site-changed"
    );
    // Would wait for the grace period and more if the stream stayed open.
    tokio::time::timeout(Duration::from_mins(1), server.stop())
        .await
        .expect("the server ends");
    assert!(reading.next().await.is_none());
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let issued = admin
        .post("/v1/tokens", json!({"name": "watcher", "role": "auditor"}))
        .await
        .good()
        .json();
    let watcher = server.person(issued["secret"].as_str());
    let mut reading = Reading::begin(&watcher, "/v1/events", None).await;
    let id = issued["token"]["id"].as_str().unwrap();
    admin.delete(&format!("/v1/tokens/{id}")).await.good();
    // Something happens; who lost the token does not see it.
    admin.post("/v1/sites", json!({"name": "osaka"})).await.good();
    assert!(reading.next().await.is_none());
    server.stop().await;
}
