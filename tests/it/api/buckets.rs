//! `katagami serve --blobs s3://…`: the executable, over a store that speaks S3.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::server::picture;
use crate::store::Store;

#[tokio::test]
async fn images_lie_in_the_bucket_that_serve_was_given() {
    let store = Store::S3.open().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Command::new(env!("CARGO_BIN_EXE_katagami"))
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "0", "--data"])
        .arg(&data)
        .args(["--blobs", &store.location.to_string()])
        .envs(
            store
                .variables
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        )
        .env("AWS_ALLOW_HTTP", "true")
        .env("KATAGAMI_BASES", folder.path().join("bases"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let url = loop {
        let line = said
            .next_line()
            .await
            .unwrap()
            .expect("the server says its address");
        if let Some(url) = line.split_whitespace().find(|word| word.starts_with("http://")) {
            break url.to_owned();
        }
    };
    let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |request: reqwest::RequestBuilder| async {
        let answer = request.bearer_auth(token.trim()).send().await.unwrap();
        answer.error_for_status().unwrap()
    };
    ask(http
        .post(format!("{url}/v1/sites"))
        .json(&json!({"name": "osaka"})))
    .await;
    let images = format!("{url}/v1/sites/osaka/images");
    let sent = ask(http
        .post(&images)
        .header("content-type", "image/png")
        .body(picture(1)))
    .await;
    let received: serde_json::Value = sent.json().await.unwrap();
    assert_eq!(received["accepted"], 1, "{received}");
    let digest = received["files"][0]["digest"].as_str().unwrap();
    let bytes = ask(http.get(format!("{images}/{digest}/bytes")))
        .await
        .bytes()
        .await
        .unwrap();
    assert_eq!(bytes, picture(1));
    assert_eq!(store.files().len(), 1, "{:?}", store.files());
    assert!(!data.join("blobs").exists(), "nothing lies in the data folder");
}
