//! Every refusal is a problem document

use reqwest::Method;
use serde_json::json;

use crate::backend::Backend::Sqlite;
use crate::server::{Answer, Server};

#[tokio::test]
async fn every_refusal_is_a_problem_document() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    admin.get("/nowhere").await.refused(404, "no_such_route");
    admin.delete("/v1/sites").await.refused(405, "method_not_allowed");
    admin.get("/v1/sites/UPPER").await.refused(400, "path_invalid");
    admin
        .get("/v1/sites?limit=many")
        .await
        .refused(400, "query_invalid");
    admin.get("/v1/sites/nowhere").await.refused(404, "no_such_site");
    admin.get("/v1/base").await.refused(404, "no_base");
    admin.get("/v1/base/bytes").await.refused(404, "no_base");
    admin
        .post("/v1/sites", json!({"name": "a b"}))
        .await
        .refused(400, "json_invalid");
    admin
        .post("/v1/sites", json!({"nome": "a"}))
        .await
        .refused(400, "json_invalid");
    let plain = admin.request(Method::POST, "/v1/sites").body("name=osaka");
    Answer::of(plain).await.refused(415, "not_json");
    let endless = json!({"name": "a".repeat(2 << 20)});
    admin
        .post("/v1/sites", endless)
        .await
        .refused(413, "body_too_large");
    let sites = admin.get("/v1/sites").await.good().json();
    assert!(sites["items"].as_array().unwrap().is_empty(), "nothing was made");
    server.stop().await;
}

#[tokio::test]
async fn a_request_keeps_the_identifier_that_it_came_with() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let named = admin
        .get_with("/v1/sites/nowhere", &[("x-request-id", "my-request-7")])
        .await;
    assert_eq!(
        named.refused(404, "no_such_site").json()["request"],
        "my-request-7"
    );
    let odd = admin
        .get_with("/v1/sites", &[("x-request-id", "a b;c")])
        .await
        .good();
    assert_ne!(odd.header("x-request-id"), "a b;c");
    server.stop().await;
}

#[tokio::test]
async fn health_and_metrics_answer_without_a_token_on_loopback() {
    let server = Server::start(Sqlite).await;
    let nobody = server.person(None);
    nobody.get("/healthz").await.good();
    nobody.get("/readyz").await.good();
    server.admin().get("/v1/sites/nowhere").await.status(404);
    let metrics = String::from_utf8(nobody.get("/metrics").await.good().body.to_vec()).unwrap();
    let counted = r#"katagami_requests_total{method="GET",route="/v1/sites/{site}",status="404"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("katagami_queued_jobs 0"), "{metrics}");
    server.stop().await;
}
