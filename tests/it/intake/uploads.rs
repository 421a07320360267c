//! Submitting images: one, and a tar.

use std::io;

use futures::{StreamExt, TryStreamExt};
use image::ImageFormat;
use katagami::catalog::{audit, events};
use katagami::domain::Digest;
use katagami::domain::image::Caption;
use katagami::intake;
use katagami::wire::v1::events::Happening;
use katagami::wire::v1::page::PageQuery;
use rstest::rstest;

use super::world::{BY, World, encoded, in_pieces, picture, png, tar, told, whole};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::store::Store::{self, Folder, S3};

fn caption(line: &str) -> Caption {
    serde_json::from_str(&format!(
        r#"{{"captured_at": "2026-01-31T08:00:00Z", "metadata": {{"line": "{line}"}}}}"#
    ))
    .unwrap()
}

#[rstest]
#[tokio::test]
async fn an_image_is_accepted_once(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let bytes = encoded(&picture(1, 60), ImageFormat::Jpeg);
    let answer = intake::image(
        &world.intake,
        &world.site,
        BY,
        "a.png",
        Some(caption("a")),
        whole(&bytes),
    );
    assert_eq!(told(&[answer.await.unwrap()]), [("a.png", "accepted")]);
    assert_eq!(
        told(&[world.submits("b.jpg", &bytes).await]),
        [("b.jpg", "duplicate")]
    );
    let images = world.images().await;
    assert_eq!(images.len(), 1);
    let image = &images[0];
    // By its content, not by its name.
    assert_eq!(
        (image.name.as_str(), image.media_type.as_str()),
        ("a.png", "image/jpeg")
    );
    assert_eq!(
        (image.width, image.height, image.bytes),
        (60, 60, bytes.len() as u64)
    );
    assert_eq!(image.metadata.pairs()["line"], "a");
    assert!(image.captured_at.is_some());
    assert_eq!(world.store.blobs.get(&image.digest).await.unwrap(), bytes);
    assert_eq!(world.store.files().len(), 1);
}

#[rstest]
#[tokio::test]
async fn what_is_no_image_is_rejected_and_leaves_nothing(
    #[values(Sqlite)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let whole_png = png(1);
    let jpeg = encoded(&picture(1, 60), ImageFormat::Jpeg);
    let mut corrupt = whole_png.clone();
    let middle = corrupt.len() / 2;
    corrupt[middle..middle + 8].fill(0);
    let files: [(&str, &[u8], &str); 6] = [
        ("empty.png", b"", "file_empty"),
        ("text.png", b"not a picture at all", "picture_format"),
        ("page.html", b"<html></html>", "picture_format"),
        ("corrupt.png", &corrupt, "picture_damaged"),
        (
            "truncated.png",
            &whole_png[..whole_png.len() / 2],
            "picture_damaged",
        ),
        ("truncated.jpg", &jpeg[..jpeg.len() / 2], "picture_damaged"),
    ];
    for (name, bytes, code) in files {
        let answer = world.submits(name, bytes).await;
        assert_eq!(answer.code.as_deref(), Some(code), "{name}: {answer:?}");
        assert!(answer.detail.is_some());
    }
    assert!(world.images().await.is_empty());
    assert!(world.store.files().is_empty());
}

#[tokio::test]
async fn an_upload_that_breaks_off_stores_nothing() {
    let world = World::new(Sqlite, Folder).await;
    let broken = whole(&png(1)).chain(futures::stream::iter([Err(io::Error::other("gone"))]));
    let answer = intake::image(&world.intake, &world.site, BY, "a.png", None, broken).await;
    assert_eq!(
        katagami::domain::Problem::code(&answer.unwrap_err()),
        "transfer_broken_off"
    );
    assert!(world.images().await.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_tar_is_answered_in_the_order_sent_with_captions_before_and_after(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let json = |line: &str| serde_json::to_vec(&caption(line)).unwrap();
    let files = [
        ("1.json", json("before")),
        ("1.png", png(1)),
        ("2.png", png(2)),
        ("2.png.json", json("after")),
        ("text.png", b"text".to_vec()),
        ("sub/3.png", png(3)),
        ("again.png", png(1)),
        ("4.png", png(4)),
        ("5.json", json("nobody")),
        ("sub/3.json", json("late")),
        ("4.json", b"{".to_vec()),
    ];
    let answers = world.submits_tar(&tar(&files)).await;
    assert_eq!(
        told(&answers),
        [
            ("1.png", "accepted"),
            ("2.png", "accepted"),
            ("text.png", "picture_format"),
            ("sub/3.png", "accepted"),
            ("again.png", "duplicate"),
            ("4.png", "accepted"),
            ("4.json", "caption_invalid"),
            ("5.json", "caption_without_image"),
        ]
    );
    let lines: Vec<_> = world
        .images()
        .await
        .into_iter()
        .map(|image| (image.name, image.metadata.pairs().get("line").cloned()))
        .collect();
    let line = |name: &str, line: Option<&str>| (name.to_owned(), line.map(str::to_owned));
    assert_eq!(
        lines,
        [
            line("1.png", Some("before")),
            line("2.png", Some("after")),
            line("4.png", None),
            line("sub/3.png", Some("late"))
        ]
    );
}

#[rstest]
#[tokio::test]
async fn what_was_accepted_before_an_abort_stays_and_is_a_duplicate_when_sent_again(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let names: Vec<String> = (0..12).map(|number| format!("{number:02}.png")).collect();
    let files: Vec<(&str, Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(seed, name)| (name.as_str(), png(seed as u64)))
        .collect();
    let tar = tar(&files);
    // The sender falls silent in the middle; the answers so far are read, then everybody leaves.
    let silent = in_pieces(&tar[..tar.len() / 2]).chain(futures::stream::pending());
    let answers = intake::tar(&world.intake, &world.site, BY, silent);
    let first: Vec<_> = Box::pin(answers).take(3).try_collect().await.unwrap();
    assert_eq!(
        told(&first),
        [
            ("00.png", "accepted"),
            ("01.png", "accepted"),
            ("02.png", "accepted")
        ]
    );
    let again = world.submits_tar(&tar).await;
    let fates: Vec<_> = told(&again).into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(fates[..3], ["duplicate"; 3]);
    assert!(
        fates.iter().all(|fate| ["accepted", "duplicate"].contains(fate)),
        "{fates:?}"
    );
    assert_eq!(fates[11], "accepted", "it never came before");
    assert_eq!(world.images().await.len(), 12);
    assert_eq!(world.store.files().len(), 12);
}

#[rstest]
#[tokio::test]
async fn a_submission_is_told_to_those_who_watch_and_to_auditors(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    world
        .submits_tar(&tar(&[
            ("1.png", png(1)),
            ("2.png", png(2)),
            ("again.png", png(1)),
        ]))
        .await;
    world.submits("1.png", &png(1)).await;
    let mut tx = world.catalog.read().await.unwrap();
    let events = events::after(&mut tx, 0, Some(&world.site), 100).await.unwrap();
    let accepted: u64 = events
        .iter()
        .map(|event| match event.what {
            Happening::ImagesReceived { accepted } => accepted,
            _ => 0,
        })
        .sum();
    assert_eq!(accepted, 2);
    let trail = audit::list(&mut tx, Some(&world.site), &PageQuery::default())
        .await
        .unwrap();
    assert!(
        trail
            .items
            .iter()
            .any(|entry| entry.event == "images_received" && entry.actor == BY)
    );
}

#[tokio::test]
async fn nobody_submits_to_a_site_that_is_not_there() {
    let world = World::new(Sqlite, Folder).await;
    let kyoto = "kyoto".parse().unwrap();
    let answer = intake::image(&world.intake, &kyoto, BY, "a.png", None, whole(&png(1))).await;
    assert_eq!(
        katagami::domain::Problem::code(&answer.unwrap_err()),
        "no_such_site"
    );
    assert!(!world.store.blobs.exists(&Digest::of(&png(1))).await.unwrap());
}
