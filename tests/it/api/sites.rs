//! `/v1/sites`, devices, the audit trail

use rstest::rstest;
use serde_json::json;

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::Server;

#[rstest]
#[tokio::test]
async fn a_site_is_made_changed_and_listed(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let admin = server.admin();
    let made = admin
        .post("/v1/sites", json!({"name": "osaka", "title": "Osaka"}))
        .await
        .status(201);
    assert_eq!(made.json()["title"], "Osaka");
    admin
        .post("/v1/sites", json!({"name": "osaka"}))
        .await
        .refused(409, "site_exists");
    let changed = admin
        .patch("/v1/sites/osaka", json!({"kpi": "knn"}))
        .await
        .good()
        .json();
    assert_eq!(
        (&changed["title"], &changed["kpi"]),
        (&json!("Osaka"), &json!("knn"))
    );
    admin.post("/v1/sites", json!({"name": "kyoto"})).await.good();
    let first = admin.get("/v1/sites?limit=1").await.good().json();
    assert_eq!(first["items"][0]["name"], "kyoto");
    let next = first["next"].as_str().expect("another page follows");
    let second = admin
        .get(&format!("/v1/sites?limit=1&cursor={next}"))
        .await
        .good()
        .json();
    assert_eq!(second["items"][0]["name"], "osaka");
    assert!(second.get("next").is_none());
    let trail = admin.get("/v1/audit?site=osaka").await.good().json();
    let events: Vec<_> = trail["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["event"].clone())
        .collect();
    assert_eq!(events, ["site_changed", "site_created"], "{trail}");
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_device_learns_who_it_is_and_reports(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let engineer = server.engineer("osaka").await;
    let device = server.device("osaka", "line-a").await;
    let myself = device.get("/v1/device").await.good().json();
    assert_eq!(myself["device"]["channel"], "stable");
    let status =
        json!({"mask": null, "digest": null, "weights": null, "channel": "stable", "agent": "0.1.0"});
    device.put("/v1/device/status", status.clone()).await.status(204);
    let listed = engineer.get("/v1/sites/osaka/devices").await.good().json();
    assert_eq!(listed["items"][0]["status"]["agent"], "0.1.0");
    engineer
        .put("/v1/device/status", status)
        .await
        .refused(403, "forbidden");
    engineer
        .post("/v1/sites/osaka/devices", json!({"name": "line-a"}))
        .await
        .refused(409, "device_exists");
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn the_lists_of_a_site_that_was_never_made_are_not_there(#[values(Sqlite, Postgres)] backend: Backend) {
    const LISTS: [&str; 8] = [
        "images",
        "jobs",
        "masks",
        "channels",
        "channels/stable/history",
        "devices",
        "snapshots",
        "validation",
    ];
    let server = Server::start(backend).await;
    let engineer = server.engineer("osaka").await;
    let of_all_sites = [
        server.admin(),
        server.with_role("operator").await,
        server.with_role("auditor").await,
    ];
    for list in LISTS {
        for person in &of_all_sites {
            let nowhere = person.get(&format!("/v1/sites/nowhere/{list}")).await;
            nowhere.refused(404, "no_such_site");
            let osaka = person.get(&format!("/v1/sites/osaka/{list}")).await.good().json();
            assert_eq!(osaka["items"], json!([]), "{list}");
        }
        // The engineer of a site learns no more than before.
        let nowhere = engineer.get(&format!("/v1/sites/nowhere/{list}")).await;
        nowhere.refused(404, "not_found");
    }
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_site_has_a_view_that_is_set_checked_and_taken_back(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::start(backend).await;
    let admin = server.admin();
    let whole = json!({
        "region": {"left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0},
        "tiles": {"columns": 1, "rows": 1, "overlap": 0.0},
    });
    let made = admin
        .post("/v1/sites", json!({"name": "osaka"}))
        .await
        .status(201);
    assert_eq!(made.json()["view"], whole);
    let engineer = server.engineer("osaka").await;
    let view =
        json!({"region": {"left": 0.25, "width": 0.5}, "tiles": {"rows": 2, "overlap": 0.1}, "size": 64});
    engineer
        .patch("/v1/sites/osaka", json!({"view": view}))
        .await
        .refused(403, "forbidden");
    let changed = admin
        .patch("/v1/sites/osaka", json!({"view": view}))
        .await
        .good()
        .json();
    let expected = json!({
        "region": {"left": 0.25, "top": 0.0, "width": 0.5, "height": 1.0},
        "tiles": {"columns": 1, "rows": 2, "overlap": 0.1},
        "size": 64,
    });
    assert_eq!(changed["view"], expected);
    for (wrong, said) in [
        (json!({"tiles": {"columns": 9}}), "9 × 1 tiles cannot be cut"),
        (
            json!({"region": {"left": 0.9, "width": 0.5}}),
            "reaches from 0.9 to 1.4",
        ),
        (json!({"size": 7}), "7 pixels"),
        (json!({"zoom": 2}), "unknown field `zoom`"),
    ] {
        let patch = admin.patch("/v1/sites/osaka", json!({"view": wrong})).await;
        let post = admin
            .post("/v1/sites", json!({"name": "kyoto", "view": wrong}))
            .await;
        for answer in [patch, post] {
            let detail = answer.refused(400, "json_invalid").json()["detail"].to_string();
            assert!(detail.contains(said), "{detail}");
        }
    }
    let shown = engineer.get("/v1/sites/osaka").await.good().json();
    assert_eq!(shown["view"], expected, "what was refused changed nothing");
    let trail = admin.get("/v1/audit?site=osaka").await.good().json();
    assert_eq!(trail["items"][0]["event"], "site_changed");
    assert_eq!(trail["items"][0]["details"]["view"], expected, "{trail}");
    let back = admin.patch("/v1/sites/osaka", json!({"view": {}})).await.good();
    assert_eq!(back.json()["view"], whole);
    server.stop().await;
}
