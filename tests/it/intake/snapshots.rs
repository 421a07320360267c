//! Snapshots are frozen, and never hold what judges.

use image::ImageFormat;
use image::codecs::jpeg::JpegEncoder;
use katagami::catalog::snapshots;
use katagami::domain::health::Exclusion;
use katagami::domain::snapshot::ImageFilter;
use katagami::domain::{Digest, Problem, ValidationVersion};
use katagami::intake;
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::snapshots::{NewSnapshot, Snapshot};
use rstest::rstest;

use super::world::{BY, World, encoded, picture, png, tar};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::store::Store::Folder;

async fn images_of(world: &World, snapshot: &Snapshot) -> Vec<Digest> {
    let mut tx = world.catalog.read().await.unwrap();
    let images = snapshots::images(&mut tx, snapshot.id).await.unwrap();
    images.into_iter().map(|(digest, _)| digest).collect()
}

fn sorted(mut digests: Vec<Digest>) -> Vec<Digest> {
    digests.sort();
    digests
}

#[rstest]
#[tokio::test]
async fn a_snapshot_leaves_out_what_is_or_nearly_is_in_the_validation_set(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    // Image 2 again as JPEG, in the test split: other bytes, the same picture.
    let mut again = Vec::new();
    JpegEncoder::new_with_quality(&mut again, 85)
        .encode_image(&picture(2, 48))
        .unwrap();
    let larger = encoded(&picture(3, 96), ImageFormat::Png);
    let files: Vec<(String, Vec<u8>)> = (1..=6).map(|seed| (format!("{seed}.png"), png(seed))).collect();
    let files: Vec<(&str, Vec<u8>)> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()))
        .collect();
    world.submits_tar(&tar(&files)).await;
    let set = [
        ("validation/crack/1.png", png(1)),
        ("validation/good/20.png", png(20)),
        ("validation/good/3.png", larger),
        ("test/good/2.jpg", again),
    ];
    world.labels(&tar(&set)).await.unwrap();
    let new = NewSnapshot {
        exclude: [png(4), b"unknown".to_vec()]
            .map(|bytes| Exclusion::Image(Digest::of(&bytes)))
            .to_vec(),
        ..Default::default()
    };
    let made = intake::snapshot(&world.intake, &world.site, &new, BY)
        .await
        .unwrap();
    assert_eq!((made.images, made.left_out, made.incomplete), (2, 3, false));
    assert_eq!(made.excluded, 1, "what the site never had is no image left out");
    assert_eq!(made.validation, Some(ValidationVersion(1)));
    assert_eq!(
        images_of(&world, &made).await,
        sorted(vec![Digest::of(&png(5)), Digest::of(&png(6))])
    );
    // Frozen: what comes and goes later changes nothing but its completeness.
    world.submits("7.png", &png(7)).await;
    world.deletes(&Digest::of(&png(5))).await;
    let mut tx = world.catalog.read().await.unwrap();
    let now = snapshots::get(&mut tx, made.id).await.unwrap().unwrap();
    assert_eq!((now.images, now.digest, now.incomplete), (2, made.digest, true));
}

#[rstest]
#[tokio::test]
async fn a_snapshot_takes_what_its_filter_says_and_none_is_empty(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    let nothing = intake::snapshot(&world.intake, &world.site, &NewSnapshot::default(), BY).await;
    assert_eq!(nothing.unwrap_err().code(), "snapshot_empty");
    let line = |line: &str| format!(r#"{{"metadata": {{"line": "{line}"}}}}"#).into_bytes();
    let files = [
        ("1.json", line("a")),
        ("1.png", png(1)),
        ("2.json", line("b")),
        ("2.png", png(2)),
        ("3.png", png(3)),
    ];
    world.submits_tar(&tar(&files)).await;
    let of_line = |line: &str| NewSnapshot {
        filter: ImageFilter {
            metadata: [("line".to_owned(), line.to_owned())].into(),
            ..Default::default()
        },
        ..Default::default()
    };
    let made = intake::snapshot(&world.intake, &world.site, &of_line("a"), BY)
        .await
        .unwrap();
    assert_eq!(images_of(&world, &made).await, [Digest::of(&png(1))]);
    assert_eq!((made.left_out, made.validation), (0, None));
    let none = intake::snapshot(&world.intake, &world.site, &of_line("c"), BY).await;
    assert_eq!(none.unwrap_err().code(), "snapshot_empty");
    let mut tx = world.catalog.read().await.unwrap();
    let all = snapshots::list(&mut tx, &world.site, &PageQuery::default())
        .await
        .unwrap();
    assert_eq!(all.items.len(), 1, "what was refused left nothing");
}
