//! The download endpoint: entity tags, 304, ranges

use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use katagami::domain::Digest;

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::Server;

const MASK: &str = "/v1/sites/osaka/channels/stable/mask";
const STABLE: &str = "/v1/sites/osaka/channels/stable";

fn artefact(number: u8) -> Vec<u8> {
    (0..100_000_u32)
        .map(|index| (index % 251) as u8 ^ number)
        .collect()
}

#[rstest]
#[tokio::test]
async fn a_device_asks_for_its_channels_mask(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let engineer = server.engineer("osaka").await;
    let device = server.device("osaka", "line-a").await;
    device.get(MASK).await.refused(404, "no_release");
    let one = server.mask("osaka", &artefact(1), "passed").await;
    let two = server.mask("osaka", &artefact(2), "passed").await;
    engineer.put(STABLE, json!({"mask": one})).await.good();

    let whole = device.get(MASK).await.status(200);
    let tag = format!("\"{}\"", Digest::of(&artefact(1)));
    assert_eq!(whole.body, artefact(1));
    assert_eq!(whole.header("etag"), tag);
    assert_eq!(whole.header("katagami-mask-version"), one.to_string());
    assert_eq!(whole.header("cache-control"), "private, no-cache");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-encoding"), "");

    let same = device
        .get_with(MASK, &[("if-none-match", &tag), ("range", "bytes=0-9")])
        .await;
    let same = same.status(304);
    assert_eq!((same.header("etag"), same.body.len()), (tag.as_str(), 0));

    let head = device.with(Method::HEAD, MASK, &[]).await.status(200);
    assert_eq!(
        (head.header("content-length"), head.header("etag")),
        ("100000", tag.as_str())
    );

    let part = device
        .get_with(MASK, &[("range", "bytes=10-19"), ("if-range", &tag)])
        .await
        .status(206);
    assert_eq!(part.body, artefact(1)[10..20]);
    assert_eq!(part.header("content-range"), "bytes 10-19/100000");
    assert_eq!(part.header("content-length"), "10");
    let end = device.get_with(MASK, &[("range", "bytes=-5")]).await.status(206);
    assert_eq!(end.body, artefact(1)[99_995..]);
    let several = device
        .get_with(MASK, &[("range", "bytes=0-1,5-6")])
        .await
        .status(200);
    assert_eq!(several.body.len(), 100_000);
    let beyond = device.get_with(MASK, &[("range", "bytes=100000-")]).await;
    let beyond = beyond.refused(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), "bytes */100000");

    // The channel moves in the middle of a download: never half of each.
    engineer.put(STABLE, json!({"mask": two})).await.good();
    let resumed = device
        .get_with(MASK, &[("range", "bytes=50000-"), ("if-range", &tag)])
        .await
        .status(200);
    assert_eq!(resumed.body, artefact(2));
    let changed = device
        .get_with(MASK, &[("if-none-match", &tag)])
        .await
        .status(200);
    assert_eq!(changed.header("katagami-mask-version"), two.to_string());

    // A version never changes.
    let version = device
        .get(&format!("/v1/sites/osaka/masks/{one}/bytes"))
        .await
        .status(200);
    assert_eq!(version.body, artefact(1));
    assert!(version.header("cache-control").contains("immutable"));
    let metrics = String::from_utf8(server.person(None).get("/metrics").await.body.to_vec()).unwrap();
    assert!(
        metrics.contains("katagami_mask_not_modified_total 1"),
        "{metrics}"
    );
    server.stop().await;
}

#[tokio::test]
async fn an_unchanged_mask_costs_no_query() {
    let server = Server::with_base(Sqlite).await;
    let device = {
        let engineer = server.engineer("osaka").await;
        let mask = server.mask("osaka", &artefact(1), "passed").await;
        engineer.put(STABLE, json!({"mask": mask})).await.good();
        server.device("osaka", "line-a").await
    };
    let tag = device.get(MASK).await.status(200).header("etag").to_owned();
    // Without a database only memory can answer.
    server.running.app.catalog.close().await;
    device
        .get_with(MASK, &[("if-none-match", &tag)])
        .await
        .status(304);
    let whole = device.get(MASK).await.status(200);
    assert_eq!(whole.body, artefact(1));
    device.get("/readyz").await.refused(503, "not_ready");
    server.stop().await;
}

#[tokio::test]
async fn the_base_comes_whole_or_in_parts() {
    let server = Server::with_base(Sqlite).await;
    server.engineer("osaka").await;
    let device = server.device("osaka", "line-a").await;
    let base = device.get("/v1/base").await.good().json();
    let whole = device.get("/v1/base/bytes").await.status(200);
    let file = base["file"].as_str().unwrap();
    assert_eq!(Digest::of(&whole.body).to_string(), file);
    assert_eq!(whole.header("etag"), format!("\"{file}\""));
    let tag = whole.header("etag").to_owned();
    // More than one piece.
    let headers = [("range", "bytes=1000-"), ("if-range", tag.as_str())];
    let rest = device.get_with("/v1/base/bytes", &headers).await.status(206);
    assert_eq!(rest.body, whole.body.slice(1000..));
    let bases = server.admin().get("/v1/bases").await.good().json();
    assert_eq!(bases["items"][0]["active"], true);
    server.stop().await;
}
