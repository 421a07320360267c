//! A set with seeded defects: each is found as what it is, one call leaves it
//! out of a snapshot, and nothing is deleted.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use katagami::catalog::{audit, images, snapshots};
use katagami::domain::health::{Exclusion, FindingCode, Look};
use katagami::domain::{Digest, Problem};
use katagami::intake::{self, SiteHealth};
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::snapshots::NewSnapshot;
use rstest::rstest;

use super::world::{BY, World, encoded, picture, tar};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::store::Store::Folder;

/// Images that nothing is wrong with.
const GOOD: u64 = 40;

/// A part with blobs that tell it from others, and a texture that all parts have.
fn part(seed: u64, edge: u32) -> RgbImage {
    let mut part = picture(seed, edge);
    for (x, y, pixel) in part.enumerate_pixels_mut() {
        let ripple = (x * 12 / edge + y * 12 / edge) % 2 * 24;
        pixel.0 = pixel.0.map(|grey| grey.saturating_add(ripple as u8));
    }
    part
}

/// The same picture in other bytes: slightly compressed.
fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 90)
        .encode_image(picture)
        .unwrap();
    bytes
}

/// What is wrong with the files of [`seeded`], by the finding's code.
fn defects() -> Vec<(FindingCode, Vec<u8>)> {
    let png = |picture: &RgbImage| encoded(picture, ImageFormat::Png);
    // 8 of 40: the fifth of the set.
    let mut defects: Vec<_> = (0..8)
        .map(|seed| (FindingCode::NearDuplicate, jpeg(&part(seed, 96))))
        .collect();
    defects.extend([
        (
            FindingCode::ExactDuplicate,
            encoded(&part(30, 96), ImageFormat::Bmp),
        ),
        (FindingCode::Dark, png(&RgbImage::new(96, 96))),
        (
            FindingCode::Blurred,
            png(&image::imageops::blur(&part(902, 96), 6.0)),
        ),
        (FindingCode::OddSize, png(&part(903, 480))),
    ]);
    defects
}

/// Submits the good images, then the bad ones, and a file that is none.
async fn seeded(world: &World) {
    let good = (0..GOOD).map(|seed| {
        (
            format!("good/{seed}.png"),
            encoded(&part(seed, 96), ImageFormat::Png),
        )
    });
    let bad = defects().into_iter().enumerate();
    let bad = bad.map(|(number, (code, bytes))| (format!("bad/{code}-{number}"), bytes));
    let none = [("notes.txt".to_owned(), b"no picture".to_vec())];
    for files in [good.collect::<Vec<_>>(), bad.chain(none).collect()] {
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.clone()))
            .collect();
        world.submits_tar(&tar(&files)).await;
    }
}

async fn health(world: &World) -> SiteHealth {
    world.intake.health(&world.site, 10).await.unwrap()
}

fn found(health: &SiteHealth) -> Vec<(FindingCode, Digest)> {
    let images = health
        .findings
        .iter()
        .flat_map(|finding| finding.images.iter().map(|image| (finding.code, *image)));
    let mut found: Vec<_> = images.collect();
    found.sort();
    found
}

fn expected() -> Vec<(FindingCode, Digest)> {
    let mut expected: Vec<_> = defects()
        .into_iter()
        .map(|(code, bytes)| (code, Digest::of(&bytes)))
        .collect();
    expected.sort();
    expected
}

fn all_but(codes: &[FindingCode]) -> NewSnapshot {
    NewSnapshot {
        exclude: codes.iter().copied().map(Exclusion::Finding).collect(),
        ..NewSnapshot::default()
    }
}

#[rstest]
#[tokio::test]
async fn seeded_defects_are_found_and_one_call_leaves_them_out(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend, Folder).await;
    seeded(&world).await;
    let before = health(&world).await;
    assert_eq!((before.images, before.unmeasured), (GOOD + 12, 0));
    assert_eq!(found(&before), expected());
    assert_eq!(before.rejected.count, 1);
    assert_eq!(before.rejected.newest[0].name, "notes.txt");
    assert_eq!(before.rejected.newest[0].code, "picture_format");

    let codes: Vec<FindingCode> = before.findings.iter().map(|finding| finding.code).collect();
    let new = all_but(&codes);
    let made = intake::snapshot(&world.intake, &world.site, &new, BY)
        .await
        .unwrap();
    assert_eq!(
        (made.images, made.excluded, &made.exclude),
        (GOOD, 12, &new.exclude)
    );
    let mut tx = world.catalog.read().await.unwrap();
    let excluded = snapshots::excluded(&mut tx, made.id).await.unwrap();
    let mut reasons: Vec<_> = excluded
        .iter()
        .flat_map(|image| image.reasons.iter().map(|reason| (*reason, image.image)))
        .collect();
    reasons.sort();
    let as_found: Vec<_> = expected()
        .into_iter()
        .map(|(code, image)| (Exclusion::Finding(code), image))
        .collect();
    assert_eq!(reasons, as_found);
    let kept = snapshots::images(&mut tx, made.id).await.unwrap();
    assert!(
        kept.iter()
            .all(|(image, _)| !excluded.iter().any(|out| out.image == *image))
    );
    let page = PageQuery::default();
    let trail = audit::list(&mut tx, Some(&world.site), &page).await.unwrap();
    let entry = trail
        .items
        .iter()
        .find(|entry| entry.event == "snapshot_made")
        .unwrap();
    assert_eq!(entry.details["excluded"], 12);
    assert_eq!(entry.details["exclude"].as_array().unwrap().len(), codes.len());
    drop(tx);

    // Nothing was deleted, and what is not excluded is trained on.
    assert_eq!(health(&world).await, before);
    let dark = intake::snapshot(&world.intake, &world.site, &all_but(&[FindingCode::Dark]), BY).await;
    assert_eq!(dark.unwrap().images, GOOD + 11);
    let all = intake::snapshot(&world.intake, &world.site, &NewSnapshot::default(), BY).await;
    assert_eq!(all.unwrap().images, GOOD + 12);
}

#[rstest]
#[tokio::test]
async fn images_of_before_are_looked_at_when_health_is_asked_for(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    seeded(&world).await;
    let measured = health(&world).await;
    // As a database of before has them; and one whose bytes are lost.
    let mut tx = world.catalog.begin().await.unwrap();
    let seen = images::seen(&mut tx, &world.site).await.unwrap();
    tx.commit().await.unwrap();
    world.forgets_looks().await;
    let unseen = health(&world).await;
    assert_eq!(unseen.unmeasured, GOOD + 12);
    let refused = intake::snapshot(&world.intake, &world.site, &all_but(&[FindingCode::Dark]), BY).await;
    assert_eq!(refused.unwrap_err().code(), "images_unmeasured");
    let named = NewSnapshot {
        exclude: vec![Exclusion::Image(seen[0].digest)],
        ..NewSnapshot::default()
    };
    let made = intake::snapshot(&world.intake, &world.site, &named, BY)
        .await
        .unwrap();
    assert_eq!(
        (made.images, made.excluded),
        (GOOD + 11, 1),
        "a digest needs no measuring"
    );

    world.intake.look_at_unseen(&world.site, 20).await.unwrap();
    assert_eq!(health(&world).await.unmeasured, GOOD + 12 - 20);
    world.intake.look_at_unseen(&world.site, 100).await.unwrap();
    assert_eq!(health(&world).await, measured);

    world.forgets_looks().await;
    world.store.blobs.delete(&seen[5].digest).await.unwrap();
    world.intake.look_at_unseen(&world.site, 100).await.unwrap();
    let lost = health(&world).await;
    assert_eq!(lost.unmeasured, 0, "what cannot be read is not tried for ever");
    assert!(found(&lost).contains(&(FindingCode::Unreadable, seen[5].digest)));
    let mut tx = world.catalog.read().await.unwrap();
    let seen = images::seen(&mut tx, &world.site).await.unwrap();
    assert!(matches!(seen[5].look, Some(Look::Unreadable(_))));
}

#[rstest]
#[tokio::test]
async fn rejections_are_kept_once_a_file_and_never_more_than_a_thousand(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    let none = |from: u32, until: u32| {
        let files: Vec<_> = (from..until)
            .map(|number| (format!("{number}.txt"), b"none".to_vec()))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.clone()))
            .collect();
        tar(&files)
    };
    world.submits_tar(&none(0, 30)).await;
    world.submits_tar(&none(10, 40)).await;
    let kept = health(&world).await.rejected;
    assert_eq!((kept.count, kept.newest.len()), (40, 10));
    assert_eq!(kept.newest[0].name, "39.txt");
    world.submits_tar(&none(100, 1_090)).await;
    let kept = health(&world).await.rejected;
    assert_eq!(kept.count, 1_000);
    assert_eq!(kept.newest[0].name, "1089.txt");
}
