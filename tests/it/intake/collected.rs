//! Deleted images: a tombstone stays, the bytes go once nothing names them.

use std::time::Duration;

use katagami::blobs::collect;
use katagami::catalog::blobs;
use katagami::domain::Digest;
use rstest::rstest;

use super::world::{World, png, tar, told};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::store::Store::{self, Folder, S3};

const GRACE: Duration = Duration::from_hours(1);

#[rstest]
#[tokio::test]
async fn the_bytes_of_a_deleted_image_go_after_the_grace_period(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    world
        .submits_tar(&tar(&[("1.png", png(1)), ("2.png", png(2)), ("3.png", png(3))]))
        .await;
    // Image 2 is in a validation set, too: that still needs its bytes.
    world
        .labels(&tar(&[("crack/2.png", png(2)), ("good/4.png", png(4))]))
        .await
        .unwrap();
    for seed in [1, 2] {
        world.deletes(&Digest::of(&png(seed))).await;
    }
    let collect = || collect::once(&world.catalog, &world.store.blobs, GRACE);
    assert_eq!(collect().await.unwrap(), 0);
    world.catalog.advance(GRACE + Duration::from_secs(1));
    assert_eq!(collect().await.unwrap(), 1);
    assert_eq!(world.store.files().len(), 3);
    assert!(!world.store.blobs.exists(&Digest::of(&png(1))).await.unwrap());
    assert!(world.store.blobs.exists(&Digest::of(&png(2))).await.unwrap());
    // Sent again, it lives again.
    assert_eq!(
        told(&[world.submits("1.png", &png(1)).await]),
        [("1.png", "accepted")]
    );
    assert_eq!(world.store.blobs.get(&Digest::of(&png(1))).await.unwrap(), png(1));
    assert_eq!(collect().await.unwrap(), 0);
}

#[rstest]
#[tokio::test]
async fn what_was_put_and_never_named_goes_and_what_is_touched_stays(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let put = async |bytes: &'static [u8]| {
        let mut tx = world.catalog.begin().await.unwrap();
        blobs::touch(&mut tx, &Digest::of(bytes), bytes.len() as u64)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        world.store.blobs.put(bytes.into()).await.unwrap()
    };
    let lost = put(b"lost").await;
    world.catalog.advance(GRACE * 2);
    let wanted = put(b"wanted").await;
    assert_eq!(
        collect::once(&world.catalog, &world.store.blobs, GRACE)
            .await
            .unwrap(),
        1
    );
    assert!(!world.store.blobs.exists(&lost).await.unwrap());
    assert!(world.store.blobs.exists(&wanted).await.unwrap());
}
