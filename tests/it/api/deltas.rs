//! Deltas: made beside the requests, served under addresses and entity tags of their own

use std::time::{Duration, Instant};

use katagami::api::deltas;
use katagami::base::Weights;
use katagami::blobs::collect;
use katagami::domain::{Digest, MaskVersion};
use katagami::mask::{Header, delta, encode};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Person, Server};
use crate::support::{artefact_over, dense_mask, generated_base, header_of};

const MASKS: &str = "/v1/sites/osaka/masks";
const STABLE: &str = "/v1/sites/osaka/channels/stable";
/// Waiting ends as soon as the condition holds.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mask of osaka that deltas are worth it for.
fn dense(base: &Weights, version: u32) -> Vec<u8> {
    let mask = dense_mask(base, version);
    let header = Header {
        version: MaskVersion(version),
        ..header_of(&mask, base)
    };
    encode(&header, &mask, base).unwrap()
}

async fn listed(person: &Person, version: MaskVersion) -> Vec<Value> {
    let list = person
        .get(&format!("{MASKS}/{version}/deltas"))
        .await
        .good()
        .json();
    list["items"].as_array().unwrap().clone()
}

/// Waits for the delta that the server makes by itself.
async fn made(person: &Person, version: MaskVersion) -> Value {
    let began = Instant::now();
    loop {
        if let Some(delta) = listed(person, version).await.pop() {
            return delta;
        }
        assert!(began.elapsed() < PATIENCE, "no delta to mask {version} was made");
        tokio::task::yield_now().await;
    }
}

fn address(version: MaskVersion, parent: &[u8]) -> String {
    format!("{MASKS}/{version}/deltas/{}", Digest::of(parent))
}

#[rstest]
#[tokio::test]
async fn a_delta_is_made_when_a_channel_moves_and_goes_when_no_channel_is_near(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let server = Server::with_base(backend).await;
    let app = &server.running.app;
    let engineer = server.engineer("osaka").await;
    let device = server.device("osaka", "line-a").await;
    let base = generated_base(7);
    let (first, second) = (dense(&base, 1), dense(&base, 2));
    let one = server.mask("osaka", &first, "passed").await;
    let two = server.mask("osaka", &second, "passed").await;
    assert_eq!(deltas::once(app).await.unwrap(), 0, "no device holds anything");
    engineer.put(STABLE, json!({"mask": one})).await.good();
    let shown = made(&engineer, two).await;
    assert_eq!(
        (&shown["parent"], &shown["parent_digest"]),
        (&json!(one), &json!(Digest::of(&first)))
    );

    let url = address(two, &first);
    let whole = device.get(&url).await.status(200);
    let tag = whole.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", Digest::of(&whole.body)));
    assert_eq!(shown["digest"], json!(Digest::of(&whole.body)));
    assert_ne!(Digest::of(&whole.body), Digest::of(&second));
    assert_eq!(whole.header("katagami-mask-version"), two.to_string());
    assert!(whole.body.len() * 2 < second.len());
    assert!(delta::restore(&first, &whole.body, &base).unwrap() == second);
    device
        .get_with(&url, &[("if-none-match", &tag)])
        .await
        .status(304);
    let head = device.with(Method::HEAD, &url, &[]).await.status(200);
    assert_eq!(head.header("content-length"), whole.body.len().to_string());
    let rest = [("range", "bytes=100-"), ("if-range", tag.as_str())];
    assert_eq!(
        device.get_with(&url, &rest).await.status(206).body,
        whole.body.slice(100..)
    );
    // What resumes a download of the whole one by the delta's address is not given a part.
    let other = format!("\"{}\"", Digest::of(&second));
    let mixed = device
        .get_with(&url, &[("range", "bytes=100-"), ("if-range", &other)])
        .await;
    assert_eq!(mixed.status(200).body, whole.body);

    device.get(&address(two, &second)).await.refused(404, "no_delta");
    device.get(&address(one, &second)).await.refused(404, "no_delta");
    device
        .get(&address(MaskVersion(9), &first))
        .await
        .refused(404, "no_such_mask");
    device
        .get(&format!("{MASKS}/{two}/deltas/first"))
        .await
        .status(400);
    engineer
        .get("/v1/sites/osaka/masks/9/deltas")
        .await
        .refused(404, "no_such_mask");
    server.engineer("kyoto").await;
    let stranger = server.device("kyoto", "line-b").await;
    stranger.get(&url).await.refused(404, "not_found");

    // Kept while devices come from one end to the other, and not a minute longer.
    let collect = async || {
        app.catalog.advance(Duration::from_hours(2));
        deltas::once(app).await.unwrap();
        collect::once(&app.catalog, &app.blobs, Duration::from_hours(1))
            .await
            .unwrap()
    };
    engineer.put(STABLE, json!({"mask": two})).await.good();
    assert_eq!(collect().await, 0);
    device.get(&url).await.status(200);
    engineer.put(STABLE, json!({"mask": null})).await.good();
    assert_eq!(collect().await, 1);
    assert_eq!(listed(&engineer, two).await, Vec::<Value>::new());
    device.get(&url).await.refused(404, "no_delta");
    device.get(&format!("{MASKS}/{two}/bytes")).await.status(200);
    // Wanted again, it is made again, in the same bytes.
    engineer.put(STABLE, json!({"mask": one})).await.good();
    made(&engineer, two).await;
    assert_eq!(device.get(&url).await.status(200).body, whole.body);
    server.stop().await;
}

#[tokio::test]
async fn masks_that_are_small_or_no_artefacts_have_no_deltas_and_keep_no_others_from_being_made() {
    let server = Server::with_base(Sqlite).await;
    let app = &server.running.app;
    let engineer = server.engineer("osaka").await;
    let base = generated_base(7);
    let small = artefact_over(&base).1;
    let nonsense = vec![7; 10_000];
    let dense = [dense(&base, 1), dense(&base, 2)];
    for artefact in [&small, &nonsense, &dense[0], &dense[1]] {
        let mask = server.mask("osaka", artefact, "passed").await;
        engineer.put(STABLE, json!({"mask": mask})).await.good();
    }
    deltas::once(app).await.unwrap();
    for (version, parent) in [(2, &small), (3, &nonsense)] {
        let url = address(MaskVersion(version), parent);
        engineer.get(&url).await.refused(404, "no_delta");
    }
    engineer
        .get(&address(MaskVersion(4), &dense[0]))
        .await
        .status(200);
    server.stop().await;
}
