//! Validation sets.

use std::collections::BTreeMap;

use katagami::catalog::validation as sets;
use katagami::domain::{Problem, Split, ValidationVersion};
use katagami::wire::v1::validation::ClassCounts;
use rstest::rstest;

use super::world::{World, entry, png, tar, told};
use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::store::Store::{self, Folder, S3};

fn counts(validation: u64, test: u64) -> ClassCounts {
    ClassCounts { validation, test }
}

fn classes(pairs: &[(&str, ClassCounts)]) -> BTreeMap<String, ClassCounts> {
    pairs
        .iter()
        .map(|(class, counts)| ((*class).to_owned(), *counts))
        .collect()
}

#[rstest]
#[tokio::test]
async fn folders_of_classes_become_immutable_versions(
    #[values(Sqlite, Postgres)] backend: Backend,
    #[values(Folder, S3)] store: Store,
) {
    let world = World::new(backend, store).await;
    let files = [
        ("crack/1.png", png(1)),
        ("crack/2.png", png(2)),
        ("good/3.png", png(3)),
        ("good/text.png", b"text".to_vec()),
        ("good/both.png", png(2)),
        ("alone.png", png(9)),
    ];
    let received = world.labels(&tar(&files)).await.unwrap();
    assert_eq!(received.set.version, ValidationVersion(1));
    assert_eq!(
        received.set.classes,
        classes(&[("crack", counts(1, 0)), ("good", counts(1, 0))])
    );
    assert_eq!(
        told(&received.rejected),
        [
            ("good/text.png", "picture_format"),
            ("good/both.png", "two_classes"),
            ("alone.png", "no_class"),
            ("crack/2.png", "two_classes"),
        ]
    );
    let files = [
        ("validation/crack/1.png", png(1)),
        ("validation/good/3.png", png(3)),
        ("test/crack/4.png", png(4)),
        ("test/good/5.png", png(5)),
    ];
    let received = world.labels(&tar(&files)).await.unwrap();
    assert_eq!(received.set.version, ValidationVersion(2));
    assert_eq!(
        received.set.classes,
        classes(&[("crack", counts(1, 1)), ("good", counts(1, 1))])
    );
    let mut tx = world.catalog.read().await.unwrap();
    assert_eq!(
        sets::newest(&mut tx, &world.site).await.unwrap(),
        Some(ValidationVersion(2))
    );
    let first = sets::images(&mut tx, &world.site, ValidationVersion(1))
        .await
        .unwrap();
    assert_eq!(first.len(), 2);
    for image in first {
        assert!(world.store.blobs.exists(&image.digest).await.unwrap());
    }
    assert!(
        world.images().await.is_empty(),
        "a labelled image is never trained on"
    );
}

#[tokio::test]
async fn a_table_of_labels_works_wherever_it_stands() {
    for first in [true, false] {
        let world = World::new(Sqlite, Folder).await;
        let csv =
            b"file,class,split\n1.png,crack,validation\n2.png,good,\n3.png,good,test\nmissing.png,good,\n";
        let table = entry("set/labels.csv", b'0', csv);
        let images: Vec<u8> = (1..=4)
            .flat_map(|seed| entry(&format!("set/{seed}.png"), b'0', &png(seed)))
            .collect();
        let tar = if first { [table, images] } else { [images, table] }.concat();
        let received = world.labels(&tar).await.unwrap();
        assert_eq!(
            received.set.classes,
            classes(&[("crack", counts(1, 0)), ("good", counts(1, 1))])
        );
        assert_eq!(
            told(&received.rejected),
            [("set/4.png", "no_class"), ("missing.png", "no_such_file")]
        );
    }
}

#[tokio::test]
async fn a_file_that_a_table_calls_two_things_is_rejected_as_in_folders() {
    let world = World::new(Sqlite, Folder).await;
    let csv = b"file,class\n1.png,crack\n2.png,good\n3.png,good\n1.png,good\n2.png,good\n";
    let files = [
        ("labels.csv", csv.to_vec()),
        ("1.png", png(1)),
        ("2.png", png(2)),
        ("3.png", png(3)),
    ];
    let refused = world.labels(&tar(&files)).await.unwrap_err();
    assert_eq!(
        refused.code(),
        "validation_classes",
        "nothing is a crack any more"
    );
    assert!(refused.to_string().contains("1.png: "), "{refused}");

    let csv = b"file,class\n1.png,crack\n2.png,good\n3.png,crack\n1.png,good\n2.png,good\n";
    let files = [&[("labels.csv", csv.to_vec())][..], &files[1..]].concat();
    let received = world.labels(&tar(&files)).await.unwrap();
    assert_eq!(
        received.set.classes,
        classes(&[("crack", counts(1, 0)), ("good", counts(1, 0))])
    );
    assert_eq!(told(&received.rejected), [("1.png", "two_classes")]);
}

#[tokio::test]
async fn a_large_set_that_does_not_say_is_split_by_the_images_themselves() {
    let world = World::new(Sqlite, Folder).await;
    let names: Vec<String> = (0..110)
        .map(|seed| format!("{}/{seed}.png", ["crack", "good"][seed % 2]))
        .collect();
    let files: Vec<(&str, Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(seed, name)| (name.as_str(), png(seed as u64)))
        .collect();
    let received = world.labels(&tar(&files)).await.unwrap();
    assert_eq!((received.set.images, received.rejected.len()), (110, 0));
    let mut tx = world.catalog.read().await.unwrap();
    let images = sets::images(&mut tx, &world.site, received.set.version)
        .await
        .unwrap();
    assert!(
        images
            .iter()
            .all(|image| image.split == Split::of_digest(&image.digest))
    );
    assert!(images.iter().any(|image| image.split == Split::Test));
}

#[rstest]
#[tokio::test]
async fn a_set_that_tells_nothing_apart_is_refused_and_makes_no_version(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend, Folder).await;
    let one_class = tar(&[
        ("good/1.png", png(1)),
        ("good/2.png", png(2)),
        ("crack/3.png", b"text".to_vec()),
    ]);
    let only_test = tar(&[("test/good/1.png", png(1)), ("test/crack/2.png", png(2))]);
    let flat = tar(&[("1.png", png(1))]);
    for tar in [one_class, only_test, flat, Vec::new(), b"no tar".repeat(200)] {
        assert_eq!(world.labels(&tar).await.unwrap_err().code(), "validation_classes");
    }
    let no_table = tar(&[("labels.csv", b"a,b\n".to_vec()), ("1.png", png(1))]);
    assert_eq!(
        world.labels(&no_table).await.unwrap_err().code(),
        "labels_invalid"
    );
    let mut tx = world.catalog.read().await.unwrap();
    assert_eq!(sets::newest(&mut tx, &world.site).await.unwrap(), None);
    assert_eq!(
        sets::get(&mut tx, &world.site, ValidationVersion(1))
            .await
            .unwrap(),
        None
    );
}
