//! `/v1/sites/{site}/jobs`, `/v1/jobs/{id}`

use rstest::rstest;
use serde_json::json;

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Server, picture};

#[rstest]
#[tokio::test]
async fn what_a_job_leaves_open_is_decided_and_written_down(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    let jobs = "/v1/sites/osaka/jobs";
    engineer
        .post(jobs, json!({}))
        .await
        .refused(409, "snapshot_empty");
    engineer.submits("osaka", "one.png", picture(1)).await.good();
    engineer
        .post(jobs, json!({"recipe": "magic"}))
        .await
        .refused(400, "no_such_recipe");
    engineer
        .post(jobs, json!({"budget": 0}))
        .await
        .refused(400, "budget_invalid");
    engineer
        .post(jobs, json!({"start": {"mask": 9}}))
        .await
        .refused(404, "no_such_mask");
    let job = engineer
        .post(jobs, json!({"budget": 12}))
        .await
        .status(201)
        .json();
    let base = engineer.get("/v1/base").await.good().json();
    assert_eq!(job["base"], base["manifest"]["digest"]);
    assert_eq!(
        (
            &job["recipe"],
            &job["start"],
            &job["seed"],
            &job["budget"],
            &job["kpi"],
            &job["max_attempts"]
        ),
        (
            &json!("factory"),
            &json!("base"),
            &json!(0),
            &json!(12),
            &json!("probe"),
            &json!(3)
        )
    );
    let id = job["id"].as_str().unwrap();
    engineer
        .get(&format!("/v1/jobs/{id}/report"))
        .await
        .refused(404, "no_report");
    let cancelled = engineer
        .post(&format!("/v1/jobs/{id}/cancel"), json!({}))
        .await
        .good()
        .json();
    assert_eq!(cancelled["state"], "cancelled");
    let listed = engineer
        .get(&format!("{jobs}?state=cancelled&limit=5"))
        .await
        .good()
        .json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn the_next_job_starts_from_the_stable_mask(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    let version = server.mask("osaka", b"an artefact", "passed").await;
    engineer
        .put("/v1/sites/osaka/channels/stable", json!({"mask": version}))
        .await
        .good();
    let job = engineer
        .post("/v1/sites/osaka/jobs", json!({}))
        .await
        .good()
        .json();
    assert_eq!(job["start"], json!({"mask": version}));
    let mask = engineer
        .get(&format!("/v1/sites/osaka/masks/{version}"))
        .await
        .good()
        .json();
    let first = mask["job"].as_str().unwrap();
    let report = engineer.get(&format!("/v1/jobs/{first}/report")).await.good();
    assert_eq!(report.json()["report"], true);
    let again = engineer
        .get(&format!("/v1/sites/osaka/masks/{version}/report"))
        .await
        .good();
    assert_eq!(report.body, again.body);
    let logs = engineer
        .get(&format!("/v1/jobs/{first}/logs"))
        .await
        .good()
        .json();
    assert_eq!(logs["attempts"][0]["end"], "published");
    server.stop().await;
}

#[rstest]
#[tokio::test]
async fn a_training_starts_from_no_mask_of_another_view(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let (admin, engineer) = (server.admin(), server.engineer("osaka").await);
    let version = server.mask("osaka", b"an artefact", "passed").await;
    engineer
        .put("/v1/sites/osaka/channels/stable", json!({"mask": version}))
        .await
        .good();
    let sees = async |view: serde_json::Value| {
        admin.patch("/v1/sites/osaka", json!({"view": view})).await.good();
    };
    let jobs = "/v1/sites/osaka/jobs";
    sees(json!({"tiles": {"columns": 2}})).await;
    let refused = engineer
        .post(jobs, json!({"start": {"mask": version}}))
        .await
        .refused(409, "mask_of_other_view");
    let said = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        said.contains("(whole picture)")
            && said.contains("2 × 1 tiles")
            && said.contains("start from `base`"),
        "{said}"
    );
    let anew = engineer.post(jobs, json!({})).await.good().json();
    assert_eq!(anew["start"], "base");
    assert_eq!(anew["view"]["tiles"]["columns"], 2);
    sees(json!({})).await;
    let on = engineer.post(jobs, json!({})).await.good().json();
    assert_eq!(on["start"], json!({"mask": version}));
    let listed = engineer.get(jobs).await.good().json();
    assert_eq!(
        listed["items"].as_array().unwrap().len(),
        3,
        "nothing of what was refused was placed"
    );
    server.stop().await;
}
