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
fn what_is_the_same_from_both_sides_does_not_count() {
    // Bars and a frame, as every solar cell has them.
    let frame = |at: u32| if (12..116).contains(&at) { 0 } else { 40 };
    let bar = |at: u32| u8::from((40..48).contains(&at) || (80..88).contains(&at)) * 40;
    for seed in 0..20 {
        let mut one = picture(seed, 128, 128);
        one.pixels_mut()
            .for_each(|pixel| pixel.0 = pixel.0.map(|grey| grey / 2));
        let mut barred = one.clone();
        for (x, y, pixel) in barred.enumerate_pixels_mut() {
            pixel.0 = pixel.0.map(|grey| grey + frame(x) + frame(y) / 2 + bar(y));
        }
        near(&one, &barred);
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
