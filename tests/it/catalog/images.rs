//! Images, validation sets, snapshots.

use std::collections::BTreeMap;

use katagami::catalog::images::{self, Inserted};
use katagami::catalog::snapshots::{self, Chosen};
use katagami::catalog::validation;
use katagami::domain::health::Exclusion;
use katagami::domain::image::PerceptualHash;
use katagami::domain::snapshot::ImageFilter;
use katagami::domain::{Digest, SiteName, Timestamp, ValidationVersion, snapshot};
use katagami::wire::v1::page::PageQuery;
use rstest::rstest;

use super::world::{BY, SECOND, World, refused};
use crate::backend::Backend::{self, Postgres, Sqlite};

fn with(pairs: &[(&str, &str)]) -> ImageFilter {
    let pairs = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    ImageFilter {
        metadata: pairs.collect::<BTreeMap<_, _>>(),
        ..ImageFilter::default()
    }
}

async fn deletes(world: &World, site: &SiteName, image: &Digest) {
    let mut tx = world.begin().await;
    images::mark_deleted(&mut tx, site, image, BY).await.unwrap();
    tx.commit().await.unwrap();
}

#[rstest]
#[tokio::test]
async fn an_image_is_new_a_duplicate_or_revived(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let (osaka, kyoto) = (world.site("osaka").await, world.site("kyoto").await);
    let (cell, new) = world.image(&osaka, "cell", &[("line", "a")]).await;
    assert_eq!(new, Inserted::New);
    assert_eq!(
        world.image(&osaka, "cell", &[("line", "b")]).await.1,
        Inserted::Duplicate
    );
    assert_eq!(world.image(&kyoto, "cell", &[]).await.1, Inserted::New);
    deletes(&world, &osaka, &cell).await;
    refused(
        images::mark_deleted(&mut world.begin().await, &osaka, &cell, BY).await,
        "no_such_image",
    );
    let mut tx = world.read().await;
    assert!(
        images::get(&mut tx, &osaka, &cell)
            .await
            .unwrap()
            .unwrap()
            .deleted_at
            .is_some()
    );
    assert!(
        images::get(&mut tx, &kyoto, &cell)
            .await
            .unwrap()
            .unwrap()
            .deleted_at
            .is_none()
    );
    drop(tx);
    assert_eq!(
        world.image(&osaka, "cell", &[("line", "c")]).await.1,
        Inserted::Revived
    );
    let mut tx = world.read().await;
    assert!(
        images::get(&mut tx, &osaka, &cell)
            .await
            .unwrap()
            .unwrap()
            .deleted_at
            .is_none()
    );
    let found = images::matching(&mut tx, &osaka, &with(&[("line", "c")]))
        .await
        .unwrap();
    assert_eq!(
        found[0].phash,
        PerceptualHash(u64::MAX - 5),
        "all 64 bits survive"
    );
    assert!(
        images::matching(&mut tx, &osaka, &with(&[("line", "a")]))
            .await
            .unwrap()
            .is_empty()
    );
}

#[rstest]
#[tokio::test]
async fn an_image_needs_a_site_and_its_bytes(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let digest = world.blob("cell").await;
    let mut image = images::NewImage {
        digest,
        name: "cell.png".to_owned(),
        media_type: "image/png".to_owned(),
        width: 1,
        height: 1,
        bytes: 4,
        phash: PerceptualHash(0),
        look: None,
        metadata: katagami::domain::image::Metadata::default(),
        captured_at: None,
    };
    let nowhere = "kyoto".parse().unwrap();
    refused(
        images::insert(&mut world.begin().await, &nowhere, &image).await,
        "no_such_site",
    );
    image.digest = Digest::of(b"never sent");
    refused(
        images::insert(&mut world.begin().await, &osaka, &image).await,
        "blob_gone",
    );
    let left = images::matching(&mut world.read().await, &osaka, &ImageFilter::default())
        .await
        .unwrap();
    assert!(left.is_empty());
}

#[rstest]
#[tokio::test]
async fn a_filter_finds_what_carries_all_of_it(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let (one, _) = world
        .image(&osaka, "one", &[("line", "a"), ("shift", "night")])
        .await;
    world
        .image(&osaka, "two", &[("line", "a"), ("shift", "day")])
        .await;
    world
        .image(&osaka, "three", &[("line", "'; DROP TABLE image; --")])
        .await;
    let mut tx = world.read().await;
    for (filter, count) in [
        (with(&[]), 3),
        (with(&[("line", "a")]), 2),
        (with(&[("line", "a"), ("shift", "night")]), 1),
        (with(&[("line", "a"), ("camera", "1")]), 0),
        (with(&[("line", "'; DROP TABLE image; --")]), 1),
    ] {
        assert_eq!(
            images::matching(&mut tx, &osaka, &filter).await.unwrap().len(),
            count,
            "{filter:?}"
        );
        let page = images::list(&mut tx, &osaka, &filter, false, &PageQuery::default())
            .await
            .unwrap();
        assert_eq!(page.items.len(), count, "{filter:?}");
    }
    let both = with(&[("shift", "night"), ("line", "a")]);
    assert_eq!(
        images::matching(&mut tx, &osaka, &both).await.unwrap()[0].digest,
        one
    );
    let captured = |micros| Some(Timestamp::from_micros(micros));
    for (from, until, count) in [
        (None, None, 3),
        (captured(1_000_000), None, 3),
        (None, captured(1_000_000), 0),
    ] {
        let filter = ImageFilter {
            captured_from: from,
            captured_until: until,
            ..ImageFilter::default()
        };
        assert_eq!(
            images::matching(&mut tx, &osaka, &filter).await.unwrap().len(),
            count
        );
    }
}

#[rstest]
#[tokio::test]
async fn images_come_in_pages_newest_first_with_tombstones_if_asked(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let mut sent = Vec::new();
    for number in 0..5 {
        world.catalog.advance(SECOND);
        sent.push(world.image(&osaka, &format!("cell {number}"), &[]).await.0);
    }
    sent.reverse();
    deletes(&world, &osaka, &sent[3]).await;
    for deleted in [false, true] {
        let mut query = PageQuery {
            cursor: None,
            limit: Some(2),
        };
        let mut seen = Vec::new();
        loop {
            let mut tx = world.read().await;
            let page = images::list(&mut tx, &osaka, &ImageFilter::default(), deleted, &query)
                .await
                .unwrap();
            seen.extend(page.items.iter().map(|image| image.digest));
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        let expected: Vec<_> = sent
            .iter()
            .copied()
            .filter(|image| deleted || *image != sent[3])
            .collect();
        assert_eq!(seen, expected);
    }
}

#[rstest]
#[tokio::test]
async fn a_snapshot_is_frozen_and_incomplete_once_an_image_is_deleted(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let (one, _) = world.image(&osaka, "one", &[]).await;
    let (two, _) = world.image(&osaka, "two", &[]).await;
    let frozen = world.snapshot(&osaka).await;
    world.image(&osaka, "three", &[]).await;
    assert_eq!((frozen.images, frozen.left_out, frozen.incomplete), (2, 2, false));
    assert_eq!(frozen.digest, snapshot::digest(&[two, one]));
    let mut digests = [one, two];
    digests.sort_unstable();
    let listed = snapshots::images(&mut world.read().await, frozen.id)
        .await
        .unwrap();
    assert_eq!(
        listed.iter().map(|(digest, _)| *digest).collect::<Vec<_>>(),
        digests
    );

    let chosen = Chosen {
        filter: ImageFilter::default(),
        exclusions: Vec::new(),
        excluded: Vec::new(),
        images: vec![(one, 3)],
        left_out: 0,
        validation: None,
    };
    deletes(&world, &osaka, &one).await;
    let now = snapshots::get(&mut world.read().await, frozen.id)
        .await
        .unwrap()
        .unwrap();
    assert!(now.incomplete);
    refused(world.job_on(&now).await, "snapshot_incomplete");
    let mut tx = world.begin().await;
    let late = snapshots::create(&mut tx, &osaka, &chosen, BY).await.unwrap();
    assert!(late.incomplete, "deleted between choosing and freezing");
    drop(tx);

    // The same bytes again are the same image: nothing is missing any more.
    let (again, became) = world.image(&osaka, "one", &[]).await;
    assert_eq!((again, became), (one, Inserted::Revived));
    let whole = snapshots::list(&mut world.read().await, &osaka, &PageQuery::default())
        .await
        .unwrap();
    assert!(!whole.items[0].incomplete);
    deletes(&world, &osaka, &two).await;
    let now = snapshots::needed(&mut world.read().await, frozen.id)
        .await
        .unwrap();
    assert!(now.incomplete, "the other one is missing now");
    world.image(&osaka, "two", &[]).await;
    world.job_on(&frozen).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_tombstone_of_another_site_leaves_a_snapshot_whole(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let (osaka, kyoto) = (world.site("osaka").await, world.site("kyoto").await);
    let (shared, _) = world.image(&osaka, "shared", &[]).await;
    world.image(&kyoto, "shared", &[]).await;
    let frozen = world.snapshot(&osaka).await;
    deletes(&world, &kyoto, &shared).await;
    let now = snapshots::needed(&mut world.read().await, frozen.id)
        .await
        .unwrap();
    assert!(!now.incomplete);
}

#[rstest]
#[tokio::test]
async fn a_large_snapshot_is_stored_whole(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let images: Vec<_> = (0..2500_u32)
        .map(|number| (Digest::of(&number.to_le_bytes()), 7))
        .collect();
    let chosen = Chosen {
        filter: with(&[("line", "a")]),
        exclusions: vec![Exclusion::Image(Digest::of(b"excluded"))],
        excluded: vec![(Digest::of(b"excluded"), Exclusion::Image(Digest::of(b"excluded")))],
        images: [images.clone(), images].concat(),
        left_out: 0,
        validation: Some(ValidationVersion(4)),
    };
    let mut tx = world.begin().await;
    let stored = snapshots::create(&mut tx, &osaka, &chosen, BY).await.unwrap();
    assert_eq!((&stored.exclude, stored.excluded), (&chosen.exclusions, 1));
    let excluded = snapshots::excluded(&mut tx, stored.id).await.unwrap();
    assert_eq!(excluded[0].reasons, chosen.exclusions);
    assert_eq!(
        (stored.images, stored.validation),
        (2500, Some(ValidationVersion(4)))
    );
    assert_eq!(stored.filter, chosen.filter);
    assert_eq!(snapshots::images(&mut tx, stored.id).await.unwrap().len(), 2500);
}

#[rstest]
#[tokio::test]
async fn a_validation_set_has_versions(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    assert_eq!(
        validation::newest(&mut world.read().await, &osaka).await.unwrap(),
        None
    );
    world.validation(&osaka).await;
    world.validation(&osaka).await;
    let mut tx = world.read().await;
    assert_eq!(
        validation::newest(&mut tx, &osaka).await.unwrap(),
        Some(ValidationVersion(2))
    );
    let sets = validation::list(&mut tx, &osaka, &PageQuery::default())
        .await
        .unwrap()
        .items;
    assert_eq!(sets.iter().map(|set| set.version.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        (
            sets[0].images,
            sets[0].classes["ok"].test,
            sets[0].classes["ok"].validation
        ),
        (1, 1, 0)
    );
    let images = validation::images(&mut tx, &osaka, ValidationVersion(1))
        .await
        .unwrap();
    assert_eq!(images[0].class, "ok");
}
