//! Archives that want to do harm are answered entry by entry.

use image::{ImageFormat, Luma};
use katagami::config::IntakeConfig;

use super::world::{World, encoded, entry, header, picture, png, told};
use crate::backend::Backend::Sqlite;
use crate::store::Store::Folder;

/// A PNG of a few kilobytes that says it has `edge` × `edge` pixels, and has.
fn bomb(edge: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let flat = image::ImageBuffer::from_pixel(edge, edge, Luma([0_u8]));
    image::DynamicImage::from(flat)
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A PNG whose header was changed to claim a size that it does not have.
fn liar(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = png(3);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = !0_u32;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        (0..8).for_each(|_| crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()));
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[tokio::test]
async fn a_hostile_tar_harms_nothing_and_its_good_images_are_accepted() {
    let limits = IntakeConfig {
        image_bytes: 1 << 20,
        image_pixels: 1_000_000,
        ..Default::default()
    };
    let world = World::with_limits(Sqlite, Folder, limits).await;
    let tar = [
        entry("1.png", b'0', &png(1)),
        entry("../../etc/passwd.png", b'0', &png(11)),
        entry("/tmp/absolute.png", b'0', &png(12)),
        entry("link.png", b'2', b""),
        entry("hard.png", b'1', b""),
        entry("device", b'3', b""),
        entry("bomb.png", b'0', &bomb(3000)),
        entry("liar.png", b'0', &liar(16_000, 16_000)),
        entry("monster.png", b'0', &liar(2_000_000_000, 2_000_000_000)),
        entry("large.png", b'0', &vec![7; (1 << 20) + 1]),
        entry("2.png", b'0', &png(2)),
        header("huge.png", b'0', 8_000_000_000),
        vec![1; 4096],
    ]
    .concat();
    let answers = world.submits_tar(&tar).await;
    assert_eq!(
        told(&answers),
        [
            ("1.png", "accepted"),
            ("../../etc/passwd.png", "entry_path"),
            ("/tmp/absolute.png", "entry_path"),
            ("link.png", "entry_type"),
            ("hard.png", "entry_type"),
            ("device", "entry_type"),
            ("bomb.png", "picture_too_large"),
            ("liar.png", "picture_too_large"),
            ("monster.png", "picture_too_large"),
            ("large.png", "file_too_large"),
            ("2.png", "accepted"),
            ("huge.png", "file_too_large"),
            ("(archive)", "archive_damaged"),
        ]
    );
    assert!(
        answers
            .iter()
            .all(|answer| answer.detail.is_some() == answer.code.is_some())
    );
    assert_eq!(world.images().await.len(), 2);
    assert_eq!(world.store.files().len(), 2);
}

#[tokio::test]
async fn more_entries_than_allowed_end_the_upload_and_keep_what_came() {
    let limits = IntakeConfig {
        entries: 2,
        ..Default::default()
    };
    let world = World::with_limits(Sqlite, Folder, limits).await;
    let tar: Vec<u8> = (1..=4)
        .flat_map(|seed| entry(&format!("{seed}.png"), b'0', &png(seed)))
        .collect();
    let answers = world.submits_tar(&tar).await;
    assert_eq!(
        told(&answers),
        [
            ("1.png", "accepted"),
            ("2.png", "accepted"),
            ("(archive)", "too_many_entries")
        ]
    );
}

#[tokio::test]
async fn one_file_over_the_limit_is_rejected_and_a_name_is_no_path() {
    let limits = IntakeConfig {
        image_bytes: 100,
        ..Default::default()
    };
    let world = World::with_limits(Sqlite, Folder, limits).await;
    let bytes = encoded(&picture(1, 64), ImageFormat::Png);
    assert_eq!(
        world.submits("a.png", &bytes).await.code.as_deref(),
        Some("file_too_large")
    );
    assert!(world.images().await.is_empty());
}
