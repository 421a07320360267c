//! Which blobs may be collected.

use std::time::Duration;

use katagami::catalog::{blobs, images, jobs};
use katagami::domain::Digest;
use rstest::rstest;

use super::world::{BY, LEASE, SECOND, World, refused};
use crate::backend::Backend::{self, Postgres, Sqlite};

const GRACE: Duration = Duration::from_hours(1);

async fn collectable(world: &World) -> Vec<Digest> {
    let mut tx = world.begin().await;
    let mut found = blobs::collectable(&mut tx, GRACE, 100).await.unwrap();
    // Dropped, it would keep its locks until its connection is back in the pool.
    tx.commit().await.unwrap();
    found.sort_unstable();
    found
}

fn sorted(contents: &[&str]) -> Vec<Digest> {
    let mut digests: Vec<_> = contents
        .iter()
        .map(|content| Digest::of(content.as_bytes()))
        .collect();
    digests.sort_unstable();
    digests
}

#[rstest]
#[tokio::test]
async fn what_nothing_names_is_collected_after_the_grace_period(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let orphan = world.blob("orphan").await;
    let (image, _) = world.image(&osaka, "image", &[]).await;
    world.validation(&osaka).await;
    assert!(collectable(&world).await.is_empty(), "nothing is old");
    world.catalog.advance(GRACE + SECOND);
    assert_eq!(
        collectable(&world).await,
        [orphan],
        "base, image and labelled image are named"
    );

    let mut tx = world.begin().await;
    images::mark_deleted(&mut tx, &osaka, &image, BY).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(collectable(&world).await, sorted(&["orphan", "image"]));
    world.blob("orphan").await;
    assert_eq!(
        collectable(&world).await,
        [image],
        "somebody wants the other stored again"
    );

    let mut tx = world.begin().await;
    for digest in blobs::collectable(&mut tx, GRACE, 100).await.unwrap() {
        blobs::forget(&mut tx, &digest).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = world.begin().await;
    assert_eq!(blobs::exists(&mut tx, &image).await.unwrap(), None);
    assert_eq!(blobs::exists(&mut tx, &orphan).await.unwrap(), Some(6));
    refused(blobs::hold(&mut tx, &image).await, "blob_gone");
    refused(blobs::hold(&mut tx, &Digest::of(b"never")).await, "blob_gone");
}

#[rstest]
#[tokio::test]
async fn what_a_job_needs_is_kept_while_it_may_run(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    world.job(&osaka).await;
    let lost = world.leases("one").await.unwrap().attempt;
    world.uploads(lost, "half an artefact").await.unwrap();
    for step in 1..=3 {
        let digest = world.uploads(lost, &format!("checkpoint {step}")).await.unwrap();
        let mut tx = world.begin().await;
        jobs::checkpoint(&mut tx, lost, step, &digest).await.unwrap();
        tx.commit().await.unwrap();
    }
    world.catalog.advance(GRACE + SECOND);
    assert_eq!(collectable(&world).await, sorted(&["checkpoint 1"]));
    world.catalog.advance(LEASE);
    let held = world.leases("two").await.unwrap().attempt;
    world.catalog.advance(GRACE + SECOND);
    assert_eq!(
        collectable(&world).await,
        sorted(&["checkpoint 1", "half an artefact"])
    );
    world.publishes(held).await.unwrap();
    world.catalog.advance(GRACE + SECOND);
    let left = sorted(&["checkpoint 1", "checkpoint 2", "checkpoint 3", "half an artefact"]);
    assert_eq!(
        collectable(&world).await,
        left,
        "artefact, scores and report are the mask's"
    );
}

/// SQLite has one writer: there this cannot happen at once.
#[tokio::test]
async fn the_collector_passes_over_what_an_upload_holds() {
    let world = World::new(Postgres).await;
    let wanted = world.blob("wanted").await;
    let other = world.blob("other").await;
    world.catalog.advance(GRACE + SECOND);
    let mut upload = world.begin().await;
    blobs::hold(&mut upload, &wanted).await.unwrap();
    assert_eq!(collectable(&world).await, [other]);
    upload.commit().await.unwrap();
    assert_eq!(collectable(&world).await, [other]);
}
