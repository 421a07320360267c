//! What an attempt trains on and is judged by: lists that no message holds.

use katagami::catalog::snapshots::{self, Chosen};
use katagami::domain::snapshot::{ImageFilter, digest as list_digest};
use katagami::domain::{Digest, SiteName};
use rstest::rstest;
use serde_json::json;

use super::persona::{Worker, digest};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::Server;

/// Images of which one message of gRPC's 4 MiB holds only a part.
const MANY: u32 = 100_000;

#[rstest]
#[tokio::test]
async fn a_list_that_no_message_holds_comes_in_pages(#[values(Sqlite, Postgres)] backend: Backend) {
    let server = Server::with_base(backend).await;
    let worker = Worker::of(&server, "one").await;
    let engineer = server.engineer("osaka").await;
    let images = (0..MANY).map(|number| (Digest::of(&number.to_le_bytes()), u64::from(number)));
    let chosen = Chosen {
        filter: ImageFilter::default(),
        exclusions: Vec::new(),
        excluded: Vec::new(),
        images: images.collect(),
        left_out: 0,
        validation: None,
    };
    let site: SiteName = "osaka".parse().unwrap();
    let mut tx = server.running.app.catalog.begin().await.unwrap();
    let snapshot = snapshots::create(&mut tx, &site, &chosen, "the test (admin)")
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let asked = json!({"snapshot": snapshot.id});
    engineer.post("/v1/sites/osaka/jobs", asked).await.good();

    let assignment = worker.leases().await;
    let told = assignment.snapshot.clone().unwrap();
    assert_eq!(told.images, u64::from(MANY));
    let (mut all, mut after) = (Vec::new(), Vec::new());
    loop {
        let page = worker.lists(&assignment.attempt, &after).await.unwrap();
        let Some(last) = page.last() else { break };
        after.clone_from(&last.digest);
        all.extend(page.iter().map(|image| (digest(&image.digest), image.bytes)));
    }
    let mut expected = chosen.images;
    expected.sort_unstable();
    assert!(all == expected, "every image once, in order, with its size");
    let digests: Vec<Digest> = all.into_iter().map(|(digest, _)| digest).collect();
    assert_eq!(list_digest(&digests), digest(&told.digest));
    let none = worker.lists_labelled(&assignment.attempt, b"").await.unwrap();
    assert_eq!(none, [], "no validation set, nothing that judges");
    server.stop().await;
}
