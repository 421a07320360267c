//! Who may what, across all endpoints

use std::time::Duration;

use rstest::rstest;
use serde_json::json;

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Server, picture};

#[tokio::test]
async fn nothing_is_told_without_a_valid_token() {
    let server = Server::start(Sqlite).await;
    let paths = [
        "/v1/sites",
        "/v1/base",
        "/v1/whoami",
        "/v1/events",
        "/v1/sites/osaka/channels/stable/mask",
    ];
    let wrong = format!("ktg_{}", "0".repeat(64));
    for path in paths {
        let answer = server.person(None).get(path).await.refused(401, "token_missing");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        server
            .person(Some(&wrong))
            .get(path)
            .await
            .refused(401, "token_unknown");
        server
            .person(Some("hunter2"))
            .get(path)
            .await
            .refused(401, "token_unknown");
    }
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn another_sites_anything_is_not_there(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let osaka = server.engineer("osaka").await;
    let kyoto = server.engineer("kyoto").await;
    osaka.submits("osaka", "one.png", picture(1)).await.good();
    let job = osaka.post("/v1/sites/osaka/jobs", json!({})).await.good().json();
    let job = job["id"].as_str().unwrap();
    let snapshot = osaka.get("/v1/sites/osaka/snapshots").await.good().json();
    let snapshot = snapshot["items"][0]["id"].as_str().unwrap().to_owned();
    let foreign = [
        String::new(),
        "/images".to_owned(),
        "/validation".to_owned(),
        "/snapshots".to_owned(),
        format!("/snapshots/{snapshot}"),
        "/jobs".to_owned(),
        "/masks".to_owned(),
        "/masks/1".to_owned(),
        "/masks/1/bytes".to_owned(),
        "/masks/1/deltas".to_owned(),
        format!("/masks/1/deltas/{}", "0".repeat(64)),
        "/masks/1/priors".to_owned(),
        format!("/masks/1/priors/{}", "0".repeat(64)),
        "/channels".to_owned(),
        "/channels/stable".to_owned(),
        "/channels/stable/history".to_owned(),
        "/channels/stable/mask".to_owned(),
        "/devices".to_owned(),
    ];
    for path in foreign {
        // A site that is there and one that is not answer alike.
        for site in ["osaka", "nowhere"] {
            kyoto
                .get(&format!("/v1/sites/{site}{path}"))
                .await
                .refused(404, "not_found");
        }
    }
    for path in [
        format!("/v1/jobs/{job}"),
        format!("/v1/jobs/{job}/logs"),
        format!("/v1/jobs/{job}/report"),
    ] {
        kyoto.get(&path).await.refused(404, "not_found");
        let other = path.replace(job, "0190a0a0-0000-7000-8000-000000000000");
        kyoto.get(&other).await.refused(404, "not_found");
    }
    kyoto
        .post(&format!("/v1/jobs/{job}/cancel"), json!({}))
        .await
        .refused(404, "not_found");
    kyoto
        .submits("osaka", "two.png", picture(2))
        .await
        .refused(404, "not_found");
    kyoto
        .put("/v1/sites/osaka/channels/stable", json!({"mask": null}))
        .await
        .refused(404, "not_found");
    kyoto.get("/v1/events?site=osaka").await.refused(404, "not_found");
    // Nothing of it happened.
    let still = osaka.get(&format!("/v1/jobs/{job}")).await.good().json();
    assert_eq!(
        (&still["state"], &still["cancel_requested"]),
        (&json!("queued"), &json!(false))
    );
    let site = osaka.get("/v1/sites/osaka").await.good().json();
    assert_eq!(site["images"], 1);
    // And the list of sites is each one's own.
    let sites = kyoto.get("/v1/sites").await.good().json();
    assert_eq!(sites["items"].as_array().unwrap().len(), 1);
    assert_eq!(sites["items"][0]["name"], "kyoto");
    // A snapshot cannot be smuggled in under one's own site.
    kyoto
        .get(&format!("/v1/sites/kyoto/snapshots/{snapshot}"))
        .await
        .refused(404, "no_such_snapshot");
    server.stop().await;
}

#[tokio::test]
async fn roles_do_what_they_are_for_and_no_more() {
    let server = Server::start(Sqlite).await;
    server.engineer("osaka").await;
    let auditor = server.with_role("auditor").await;
    auditor.get("/v1/audit").await.good();
    auditor
        .post("/v1/sites", json!({"name": "kobe"}))
        .await
        .refused(403, "forbidden");
    let operator = server.with_role("operator").await;
    operator.get("/v1/workers").await.good();
    operator.get("/v1/audit").await.refused(403, "forbidden");
    operator
        .post("/v1/tokens", json!({"name": "me", "role": "admin"}))
        .await
        .refused(403, "forbidden");
    let worker = server.with_role("worker").await;
    worker.get("/v1/sites").await.refused(403, "forbidden");
    let blob = "0".repeat(64);
    let attempt = "0190a0a0-0000-7000-8000-000000000000.1";
    worker
        .get(&format!("/v1/worker/attempts/{attempt}/blobs/{blob}"))
        .await
        .refused(409, "lease_lost");
    server
        .admin()
        .get(&format!("/v1/worker/attempts/{attempt}/blobs/{blob}"))
        .await
        .refused(403, "forbidden");
    let device = server.device("osaka", "line-a").await;
    device
        .get("/v1/sites/osaka/images")
        .await
        .refused(403, "forbidden");
    device
        .get("/v1/sites/osaka/channels/stable/mask")
        .await
        .refused(404, "no_release");
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_token_that_was_revoked_or_has_expired_opens_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let admin = server.admin();
    let issued = admin
        .post("/v1/tokens", json!({"name": "short", "role": "auditor"}))
        .await
        .good();
    assert_eq!(issued.header("cache-control"), "no-store");
    let issued = issued.json();
    let auditor = server.person(issued["secret"].as_str());
    assert_eq!(auditor.get("/v1/whoami").await.good().json()["name"], "short");
    let id = issued["token"]["id"].as_str().unwrap();
    admin.delete(&format!("/v1/tokens/{id}")).await.good();
    auditor.get("/v1/whoami").await.refused(401, "token_unknown");
    // The secret is nowhere but with its owner.
    let listed = String::from_utf8(admin.get("/v1/tokens").await.good().body.to_vec()).unwrap();
    assert!(listed.contains(id) && !listed.contains("ktg_"));
    // One that ends: known by then, and forgotten all the same.
    let catalog = &server.running.app.catalog;
    let until = catalog
        .read()
        .await
        .unwrap()
        .now()
        .await
        .unwrap()
        .after(Duration::from_hours(1));
    let token = json!({"name": "an hour", "role": "auditor", "expires_at": until});
    let issued = admin.post("/v1/tokens", token).await.good().json();
    let hour = server.person(issued["secret"].as_str());
    hour.get("/v1/whoami").await.good();
    let before = catalog.read().await.unwrap().now().await.unwrap();
    catalog.advance(Duration::from_hours(3));
    katagami::api::background::forget_ended(&server.running.app, before)
        .await
        .unwrap();
    hour.get("/v1/whoami").await.refused(401, "token_unknown");
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_asked_for_in_ways_that_make_sense() {
    let server = Server::start(Sqlite).await;
    let admin = server.admin();
    let refusals = [
        (json!({"name": "a", "role": "device"}), "device_token"),
        (json!({"name": "a", "role": "site"}), "site_missing"),
        (
            json!({"name": "a", "role": "admin", "site": "osaka"}),
            "site_not_wanted",
        ),
        (json!({"name": "", "role": "admin"}), "name_invalid"),
        (json!({"name": "a", "role": "king"}), "json_invalid"),
    ];
    for (token, code) in refusals {
        admin.post("/v1/tokens", token).await.refused(400, code);
    }
    admin
        .post(
            "/v1/tokens",
            json!({"name": "a", "role": "site", "site": "nowhere"}),
        )
        .await
        .refused(404, "no_such_site");
    let tokens = admin.get("/v1/tokens").await.good().json();
    assert_eq!(
        tokens["items"].as_array().unwrap().len(),
        1,
        "only the first start's"
    );
    server.stop().await;
}
