//! Releases: `/v1/sites/{site}/channels`

use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Answer, Server};

const STABLE: &str = "/v1/sites/osaka/channels/stable";

#[rstest]
#[tokio::test]
async fn a_channel_moves_back_and_forth_and_remembers(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    let (one, two) = (
        server.mask("osaka", b"first", "passed").await,
        server.mask("osaka", b"second", "passed").await,
    );
    engineer.get(STABLE).await.refused(404, "no_such_channel");
    for mask in [json!(one), json!(two), json!(one), json!(null)] {
        engineer.put(STABLE, json!({"mask": mask})).await.good();
    }
    let now = engineer.get(STABLE).await.good();
    assert_eq!(now.header("etag"), "\"4\"");
    assert_eq!(now.json()["mask"], json!(null));
    engineer
        .get(&format!("{STABLE}/mask"))
        .await
        .refused(404, "no_release");
    let history = engineer.get(&format!("{STABLE}/history")).await.good().json();
    let moves: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["to"].clone())
        .collect();
    assert_eq!(moves, [json!(null), json!(one), json!(two), json!(one)]);
    assert!(
        history["items"][0]["actor"]
            .as_str()
            .unwrap()
            .contains("engineer of osaka")
    );
    engineer
        .put(STABLE, json!({"mask": 99}))
        .await
        .refused(404, "no_such_mask");
    let channels = engineer.get("/v1/sites/osaka/channels").await.good().json();
    assert_eq!(channels["items"][0]["revision"], 4);
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn nobodys_move_is_lost(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    let mask = server.mask("osaka", b"first", "passed").await;
    let put = async |tag: &str, mask| {
        let request = engineer.request(Method::PUT, STABLE).header("if-match", tag);
        Answer::of(request.json(&json!({"mask": mask}))).await
    };
    put("\"0\"", json!(mask)).await.good();
    put("\"0\"", json!(null)).await.refused(412, "channel_moved");
    put("seven", json!(null)).await.refused(400, "if_match_invalid");
    assert_eq!(engineer.get(STABLE).await.good().json()["mask"], json!(mask));
    put("\"1\"", json!(null)).await.good();
    server.stop().await;
}

#[tokio::test]
async fn a_mask_that_did_not_pass_needs_a_reason_or_an_admin() {
    let server = Server::with_base(Sqlite).await;
    let engineer = server.engineer("osaka").await;
    let held = server.mask("osaka", b"held", "held").await;
    let refused = server.mask("osaka", b"refused", "refused").await;
    engineer
        .put(STABLE, json!({"mask": held}))
        .await
        .refused(409, "mask_held");
    engineer
        .put(STABLE, json!({"mask": refused, "reason": "now", "force": true}))
        .await
        .refused(403, "forbidden");
    engineer.get(STABLE).await.refused(404, "no_such_channel");
    engineer
        .put(STABLE, json!({"mask": held, "reason": "line is down"}))
        .await
        .good();
    let admin = server.admin();
    admin
        .put(STABLE, json!({"mask": refused, "reason": "now"}))
        .await
        .refused(409, "mask_refused");
    admin
        .put(STABLE, json!({"mask": refused, "reason": "now", "force": true}))
        .await
        .good();
    let history = admin.get(&format!("{STABLE}/history")).await.good().json();
    assert_eq!(history["items"][0]["override"], true);
    assert_eq!(history["items"][1]["reason"], "line is down");
    server.stop().await;
}

#[tokio::test]
async fn a_mask_for_another_view_needs_a_reason() {
    let server = Server::with_base(Sqlite).await;
    let (admin, engineer) = (server.admin(), server.engineer("osaka").await);
    let mask = server.mask("osaka", b"first", "passed").await;
    let sees = async |view| admin.patch("/v1/sites/osaka", json!({"view": view})).await.good();
    sees(json!({"size": 64})).await;
    let refused = engineer
        .put(STABLE, json!({"mask": mask}))
        .await
        .refused(409, "mask_of_other_view");
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        said.contains("(whole picture)")
            && said.contains("(whole picture, 64 pixels)")
            && said.contains("reason"),
        "{said}"
    );
    engineer.get(STABLE).await.refused(404, "no_such_channel");
    engineer
        .put(
            STABLE,
            json!({"mask": mask, "reason": "until the next one is trained"}),
        )
        .await
        .good();
    // No mask at all fits every view.
    engineer.put(STABLE, json!({"mask": null})).await.good();
    sees(json!({})).await;
    engineer.put(STABLE, json!({"mask": mask})).await.good();
    let history = engineer.get(&format!("{STABLE}/history")).await.good().json();
    let overrides: Vec<_> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|moved| &moved["override"])
        .collect();
    assert_eq!(overrides, [false, false, true]);
    server.stop().await;
}
