//! What is nearly the same picture has nearly the same hash, what is not has not.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageReader, Rgb};
use proptest::prelude::*;

use super::*;

/// A picture of a few soft blobs that a seed places.
fn picture(seed: u64, width: u32, height: u32) -> RgbImage {
    let draw = |number: u64| {
        let mixed = (seed * 1009 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
    };
    RgbImage::from_fn(width, height, |x, y| {
        let at = |value: u32, edge: u32| (value as f32 + 0.5) / edge as f32;
        let (x, y) = (at(x, width), at(y, height));
        let light = (0..8).map(|blob| {
            let across = x - draw(blob * 4);
            let down = y - draw(blob * 4 + 1);
            let size = 0.05 + 0.2 * draw(blob * 4 + 2);
            160.0 * draw(blob * 4 + 3) * (-(across * across + down * down) / (size * size)).exp()
        });
        Rgb([light.sum::<f32>().min(200.0) as u8 + 20; 3])
    })
}

fn reencoded(picture: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality)
        .encode_image(picture)
        .unwrap();
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .unwrap();
    reader.decode().unwrap().to_rgb8()
}

#[track_caller]
fn near(one: &RgbImage, other: &RgbImage) {
    let distance = perceptual_hash(one).distance(perceptual_hash(other));
    assert!(distance <= PerceptualHash::NEAR, "{distance} bits differ");
}

#[test]
fn a_picture_saved_again_as_jpeg_is_near() {
    for seed in 0..20 {
        let one = picture(seed, 240, 180);
        near(&one, &reencoded(&one, 90));
        near(&one, &reencoded(&one, 60));
    }
}

#[test]
fn a_picture_of_another_size_is_near() {
    for seed in 0..20 {
        let one = picture(seed, 240, 180);
        let other =
            DynamicImage::from(one.clone()).resize_exact(120, 90, image::imageops::FilterType::Lanczos3);
        near(&one, &other.to_rgb8());
    }
}

#[test]
fn a_brighter_or_paler_picture_is_near() {
    for seed in 0..20 {
        let one = picture(seed, 200, 200);
        let mut brighter = one.clone();
        brighter
            .pixels_mut()
            .for_each(|pixel| pixel.0 = pixel.0.map(|grey| grey + 30));
        near(&one, &brighter);
        let mut paler = one.clone();
        paler
            .pixels_mut()
            .for_each(|pixel| pixel.0 = pixel.0.map(|grey| grey / 2 + 60));
        near(&one, &paler);
    }
}

#[test]
fn other_pictures_are_far() {
    let hashes: Vec<_> = (0..60)
        .map(|seed| perceptual_hash(&picture(seed, 96, 96)))
        .collect();
    for (index, one) in hashes.iter().enumerate() {
        for other in &hashes[index + 1..] {
            assert!(!one.is_near(*other), "{one} {other}");
        }
    }
    let turned = image::imageops::rotate90(&picture(3, 96, 96));
    assert!(!perceptual_hash(&turned).is_near(hashes[3]));
}

proptest! {
    #[test]
    fn every_size_has_a_hash(width in 1_u32..90, height in 1_u32..90, grey: u8) {
        let flat = RgbImage::from_pixel(width, height, Rgb([grey; 3]));
        let _ = perceptual_hash(&flat);
    }
}

fn variant(picture: &RgbImage, waves: &[(usize, usize)], sign: bool) -> PerceptualHash {
    let greys = greys(picture);
    let cos =
        |wave: usize, pixel: usize| (PI * wave as f32 * (2 * pixel + 1) as f32 / (2 * EDGE) as f32).cos();
    let most = 16;
    let rows: Vec<Vec<f32>> = (0..most)
        .map(|wave| {
            (0..EDGE)
                .map(|y| (0..EDGE).map(|x| greys[y * EDGE + x] * cos(wave, x)).sum())
                .collect()
        })
        .collect();
    let values: Vec<f32> = waves
        .iter()
        .map(|&(x, y)| (0..EDGE).map(|at| rows[x][at] * cos(y, at)).sum())
        .collect();
    let mut sorted = values.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let median = if sign {
        0.0
    } else {
        (sorted[31] + sorted[32]) / 2.0
    };
    PerceptualHash(values.iter().enumerate().fold(0, |bits, (index, wave)| {
        bits | (u64::from(*wave > median) << index)
    }))
}

#[test]
#[ignore = "experiment"]
fn elpv() {
    let square = |from: usize| -> Vec<(usize, usize)> {
        (from..from + 8)
            .flat_map(|y| (from..from + 8).map(move |x| (x, y)))
            .collect()
    };
    let band: Vec<(usize, usize)> = (0..12)
        .flat_map(|y| (0..12).map(move |x| (x, y)))
        .filter(|(x, y)| x + y >= 2 && x + y <= 11)
        .take(64)
        .collect();
    let odd: Vec<(usize, usize)> = (0..16)
        .flat_map(|y| (0..16).map(move |x| (x, y)))
        .filter(|(x, y)| x + y >= 1 && x + y <= 14 && (x % 2 == 1 || y % 2 == 1))
        .collect();
    let mut odd = odd;
    odd.sort_by_key(|(x, y)| x + y);
    odd.truncate(64);
    let sets = [
        ("0..8", square(0), false),
        ("1..9", square(1), false),
        ("1..9 sign", square(1), true),
        ("2..10", square(2), false),
        ("band", band, false),
        ("odd", odd.clone(), false),
        ("odd sign", odd, true),
    ];
    let home = std::path::Path::new("/root/.cache/katagami/demo-data/elpv/images");
    let mut hashes = vec![Vec::new(); sets.len()];
    let mut again = vec![[0; 65]; sets.len()];
    let mut small = vec![[0; 65]; sets.len()];
    for (number, entry) in std::fs::read_dir(home).unwrap().enumerate() {
        let one = image::open(entry.unwrap().path()).unwrap().to_rgb8();
        let mut turns = Vec::new();
        if number % 4 == 0 {
            turns.push(reencoded(&one, 75));
            turns.push(
                DynamicImage::from(one.clone())
                    .resize_exact(150, 150, image::imageops::FilterType::Triangle)
                    .to_rgb8(),
            );
        }
        for (index, (_, waves, sign)) in sets.iter().enumerate() {
            let hash = variant(&one, waves, *sign);
            if number % 4 == 0 {
                again[index][hash.distance(variant(&turns[0], waves, *sign)) as usize] += 1;
                small[index][hash.distance(variant(&turns[1], waves, *sign)) as usize] += 1;
            }
            hashes[index].push(hash);
        }
    }
    for (index, (name, ..)) in sets.iter().enumerate() {
        let hashes = &hashes[index];
        let mut pairs = [0; 65];
        let mut has = 0;
        for (i, one) in hashes.iter().enumerate() {
            let mut least = 64;
            for (j, other) in hashes.iter().enumerate() {
                if i != j {
                    pairs[one.distance(*other) as usize] += 1;
                    least = least.min(one.distance(*other));
                }
            }
            has += u32::from(least <= 4);
        }
        println!(
            "{name}: again {:?} small {:?}\n  pairs {:?} with a near one {has}",
            &again[index][..9],
            &small[index][..9],
            &pairs[..12]
        );
    }
}
