//! Figures of pictures whose nature is known, as files of every kind.

use std::io::Cursor;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb, Rgba};

use super::*;
use crate::intake::Picture;

/// A picture of fine structure: squares of all greys, with a ripple on them.
fn textured(edge: u32) -> RgbImage {
    RgbImage::from_fn(edge, edge, |x, y| {
        let (cell_x, cell_y) = (x * 16 / edge, y * 16 / edge);
        let square = (cell_x * 7 + cell_y * 11) * 13 % 160;
        let ripple = ((x * 64 / edge) ^ (y * 64 / edge)) % 2 * 30;
        Rgb([(square + ripple + 30) as u8; 3])
    })
}

fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let picture: DynamicImage = picture.into();
    picture.write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

fn of_file(bytes: &[u8]) -> Quality {
    Picture::of(bytes).unwrap().quality
}

#[test]
fn dark_and_bright_pictures_differ_in_luminance_and_keep_their_sharpness() {
    let plain = textured(200);
    let scaled = |by: f32, up: f32| {
        let mut picture = plain.clone();
        picture
            .iter_mut()
            .for_each(|value| *value = (f32::from(*value) * by + up) as u8);
        quality(&picture)
    };
    let (usual, dark, bright) = (quality(&plain), scaled(0.25, 0.0), scaled(0.25, 190.0));
    assert!(usual.luminance > 90.0 && usual.luminance < 150.0, "{usual:?}");
    assert!((dark.luminance - usual.luminance / 4.0).abs() < 2.0, "{dark:?}");
    assert!(bright.luminance > 210.0 && bright.brightest < 255, "{bright:?}");
    assert!(dark.darkest < 12 && dark.brightest < 60, "{dark:?}");
    assert!(
        (dark.sharpness / usual.sharpness - 1.0).abs() < 0.2,
        "light is no sharpness: {dark:?} {usual:?}"
    );
    assert!(dark.entropy < usual.entropy && bright.entropy < usual.entropy);
}

#[test]
fn a_blurred_picture_loses_its_sharpness_at_any_size() {
    for edge in [96, 200, 800] {
        let sharp = textured(edge);
        let blurred = image::imageops::blur(&sharp, edge as f32 / 60.0);
        let (sharp, blurred) = (quality(&sharp), quality(&blurred));
        assert!(
            blurred.sharpness < sharp.sharpness / 4.0,
            "{edge}: {sharp:?} {blurred:?}"
        );
        assert!((blurred.luminance - sharp.luminance).abs() < 3.0);
    }
}

#[test]
fn a_constant_picture_has_nothing_to_see() {
    let flat = quality(&RgbImage::from_pixel(50, 40, Rgb([90, 120, 60])));
    assert_eq!((flat.entropy, flat.sharpness, flat.clipped), (0.0, 0.0, 0.0));
    assert_eq!(flat.darkest, flat.brightest);
    assert_eq!(f64::from(flat.darkest), flat.luminance);
    let black = quality(&RgbImage::new(50, 40));
    assert_eq!((black.luminance, black.brightest, black.clipped), (0.0, 0, 1.0));
}

#[test]
fn dead_pixels_do_not_brighten_a_black_picture_but_a_small_defect_does() {
    let mut picture = RgbImage::new(200, 200);
    [3, 70, 131]
        .iter()
        .for_each(|at| picture.put_pixel(*at, *at, Rgb([255; 3])));
    assert_eq!(quality(&picture).brightest, 0);
    (0..8).for_each(|at| picture.put_pixel(100 + at, 50, Rgb([200; 3])));
    assert_eq!(quality(&picture).brightest, 200);
}

#[test]
fn twelve_bits_in_sixteen_alpha_and_palettes_are_measured_as_training_sees_them() {
    let plain = textured(64);
    let usual = of_file(&file(plain.clone(), ImageFormat::Png));
    let deep = ImageBuffer::from_fn(64, 64, |x, y| Luma([u16::from(plain.get_pixel(x, y)[0]) << 4]));
    let deep = of_file(&file(DynamicImage::from(deep), ImageFormat::Png));
    assert!(
        (deep.luminance - usual.luminance).abs() < 1.0,
        "{deep:?} {usual:?}"
    );
    assert!((deep.sharpness / usual.sharpness - 1.0).abs() < 0.05);
    let glass = ImageBuffer::from_fn(64, 64, |x, y| {
        let [grey, ..] = plain.get_pixel(x, y).0;
        Rgba([grey, grey, grey, 0])
    });
    assert_eq!(
        of_file(&file(DynamicImage::from(glass), ImageFormat::Png)).brightest,
        0
    );
    let palette = of_file(&file(plain.clone(), ImageFormat::Gif));
    assert!(
        (palette.luminance - usual.luminance).abs() < 6.0,
        "{palette:?} {usual:?}"
    );
}

#[test]
fn the_pixels_have_one_digest_whatever_the_format() {
    let plain = textured(64);
    let png = of_file(&file(plain.clone(), ImageFormat::Png));
    assert_eq!(of_file(&file(plain.clone(), ImageFormat::Bmp)), png);
    let mut other = plain.clone();
    other.put_pixel(63, 63, Rgb([1, 2, 3]));
    assert_ne!(of_file(&file(other, ImageFormat::Png)).pixels, png.pixels);
    // The same bytes in another shape are another picture.
    let wide = RgbImage::from_raw(128, 32, plain.into_raw()).unwrap();
    assert_ne!(quality(&wide).pixels, png.pixels);
}
