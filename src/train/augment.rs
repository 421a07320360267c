//! Multi-crop: several random views of each image (SwAV §3.3).

use std::f32::consts::TAU;

use image::{RgbImage, imageops};
use rayon::prelude::*;

use super::random::{Purpose, Stream};
use super::recipe::{AugmentRule, CropRule, Flips};
use crate::base::Preprocessing;

/// The crops of one size of a batch: crop by crop, within a crop image by image.
pub struct Crops {
    /// `[count * batch, 3, size, size]`, normalised.
    pub values: Vec<f32>,
    /// Edge length in pixels.
    pub size: u32,
    /// How many of each image.
    pub count: usize,
}

/// Draws the large and the small crops of the images `batch` for `step`.
pub fn multi_crop(
    images: &[RgbImage],
    batch: &[usize],
    rule: &AugmentRule,
    preprocessing: &Preprocessing,
    seed: u64,
    step: u32,
) -> [Crops; 2] {
    let draw = |crops: &CropRule, first: usize| {
        let views: Vec<(usize, usize)> = (0..crops.count)
            .flat_map(|crop| batch.iter().map(move |image| (first + crop, *image)))
            .collect();
        let values = views
            .into_par_iter()
            .flat_map_iter(|(crop, image)| {
                let place = [u64::from(step), image as u64, crop as u64];
                let mut random = Stream::new(seed, Purpose::Crop, place);
                let picture = view(&images[image], crops, rule, preprocessing, &mut random);
                preprocessing.normalise(&picture)
            })
            .collect();
        Crops {
            values,
            size: crops.size,
            count: crops.count,
        }
    };
    [draw(&rule.large, 0), draw(&rule.small, rule.large.count)]
}

/// One random view of each image at `size` pixels, the same for the same seed:
/// what a comparison without labels shows two models beside the images themselves.
pub fn views(
    images: &[&RgbImage],
    rule: &AugmentRule,
    preprocessing: &Preprocessing,
    seed: u64,
) -> Vec<RgbImage> {
    let crop = CropRule {
        count: 1,
        size: preprocessing.size,
        scale: rule.large.scale,
    };
    (images.par_iter().enumerate())
        .map(|(at, image)| {
            let mut random = Stream::new(seed, Purpose::View, [at as u64, 0, 0]);
            view(image, &crop, rule, preprocessing, &mut random)
        })
        .collect()
}

/// One random view of an image.
fn view(
    image: &RgbImage,
    crop: &CropRule,
    rule: &AugmentRule,
    preprocessing: &Preprocessing,
    random: &mut Stream,
) -> RgbImage {
    let region = region(image.dimensions(), crop.scale, random);
    let mut picture = preprocessing.resize_region(image, region, crop.size);
    if random.next_coin() {
        imageops::flip_horizontal_in_place(&mut picture);
    }
    if rule.flips == Flips::Both && random.next_coin() {
        imageops::flip_vertical_in_place(&mut picture);
    }
    // Chance is drawn for what a recipe uses, and for nothing else.
    let mut happens = |share: f64| share > 0.0 && random.next_unit() < share;
    let (unjittered, grey, blurred) = (happens(rule.unjittered), happens(rule.grey), happens(rule.blur));
    if !unjittered {
        jitter(&mut picture, rule, random);
        turn_colours(&mut picture, rule, random);
    }
    if grey {
        mix_colours(&mut picture, &[LUMA; 3]);
    }
    if blurred {
        picture = imageops::blur(&picture, random.next_in(0.1, 2.0) as f32);
    }
    picture
}

/// A random part `[left, top, width, height]` of an image: a share of its
/// area and an aspect ratio of 3:4 to 4:3, as in Inception-style cropping.
fn region((width, height): (u32, u32), scale: [f64; 2], random: &mut Stream) -> [f64; 4] {
    let (width, height) = (f64::from(width), f64::from(height));
    for _ in 0..10 {
        let area = width * height * random.next_in(scale[0], scale[1]);
        let ratio = random.next_in((3.0_f64 / 4.0).ln(), (4.0_f64 / 3.0).ln()).exp();
        let (w, h) = (
            (area * ratio).sqrt().round().max(1.0),
            (area / ratio).sqrt().round().max(1.0),
        );
        if w <= width && h <= height {
            let left = random.next_in(0.0, width - w + 1.0).floor().min(width - w);
            let top = random.next_in(0.0, height - h + 1.0).floor().min(height - h);
            return [left, top, w, h];
        }
    }
    let edge = width.min(height);
    [
        ((width - edge) / 2.0).floor(),
        ((height - edge) / 2.0).floor(),
        edge,
        edge,
    ]
}

/// Multiplies brightness, then contrast around the mean grey of the picture.
fn jitter(picture: &mut RgbImage, rule: &AugmentRule, random: &mut Stream) {
    let brightness = random.next_in(1.0 - rule.brightness, 1.0 + rule.brightness) as f32;
    let contrast = random.next_in(1.0 - rule.contrast, 1.0 + rule.contrast) as f32;
    let sum: u64 = picture.as_raw().iter().map(|value| u64::from(*value)).sum();
    let mean = sum as f32 / picture.as_raw().len() as f32 * brightness;
    let table: Vec<u8> = (0..=255_u8)
        .map(|value| {
            let bright = (f32::from(value) * brightness).min(255.0);
            ((bright - mean) * contrast + mean).round().clamp(0.0, 255.0) as u8
        })
        .collect();
    for value in picture.iter_mut() {
        *value = table[usize::from(*value)];
    }
}

/// How bright each colour is to the eye (ITU-R BT.709).
const LUMA: [f32; 3] = [0.213, 0.715, 0.072];

/// Multiplies saturation, then turns the hue around the grey axis.
fn turn_colours(picture: &mut RgbImage, rule: &AugmentRule, random: &mut Stream) {
    if rule.saturation > 0.0 {
        let factor = random.next_in(1.0 - rule.saturation, 1.0 + rule.saturation) as f32;
        let row = |colour: usize| {
            let own = |other: usize| if other == colour { factor } else { 0.0 };
            [0, 1, 2].map(|other| LUMA[other] * (1.0 - factor) + own(other))
        };
        mix_colours(picture, &[row(0), row(1), row(2)]);
    }
    if rule.hue > 0.0 {
        let (sin, cos) = (TAU * random.next_in(-rule.hue, rule.hue) as f32).sin_cos();
        // The matrix of SVG's hueRotate: grey stays grey, brightness nearly stays.
        let [r, g, b] = LUMA;
        let matrix = [
            [
                r + cos * (1.0 - r) - sin * r,
                g - cos * g - sin * g,
                b - cos * b + sin * (1.0 - b),
            ],
            [
                r - cos * r + sin * 0.143,
                g + cos * (1.0 - g) + sin * 0.140,
                b - cos * b - sin * 0.283,
            ],
            [
                r - cos * r - sin * (1.0 - r),
                g - cos * g + sin * g,
                b + cos * (1.0 - b) + sin * b,
            ],
        ];
        mix_colours(picture, &matrix);
    }
}

/// Makes each colour of a pixel a sum of all three.
fn mix_colours(picture: &mut RgbImage, matrix: &[[f32; 3]; 3]) {
    for pixel in picture.pixels_mut() {
        let colours = pixel.0.map(f32::from);
        pixel.0 = matrix.map(|row| {
            let sum: f32 = row
                .iter()
                .zip(colours)
                .map(|(share, colour)| share * colour)
                .sum();
            sum.round().clamp(0.0, 255.0) as u8
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::Recipe;

    fn images() -> Vec<RgbImage> {
        let pixel = |x: u32, y: u32| image::Rgb([(x * 5) as u8, (y * 7) as u8, (x ^ y) as u8]);
        (0..4)
            .map(|n| RgbImage::from_fn(50 + n, 40, |x, y| pixel(x + n * 9, y)))
            .collect()
    }

    #[test]
    fn the_same_place_gives_the_same_crops_and_another_step_others() {
        let (images, rule) = (images(), Recipe::factory().augment);
        let preprocessing = Preprocessing::of_architecture("efficientnet_lite0");
        let draw = |step| multi_crop(&images, &[2, 0], &rule, &preprocessing, 5, step);
        let [large, small] = draw(1);
        assert_eq!(large.values.len(), 2 * 2 * 3 * 96 * 96);
        assert_eq!(small.values.len(), 2 * 2 * 3 * 64 * 64);
        assert_eq!(large.values, draw(1)[0].values);
        assert_ne!(large.values, draw(2)[0].values);
    }

    #[test]
    fn grey_stays_grey_whatever_turns_its_colours() {
        let paper = Recipe::named("paper-resnet50").unwrap().augment;
        let mut picture = RgbImage::from_fn(16, 16, |x, y| image::Rgb([(x * 16 + y) as u8; 3]));
        let before = picture.clone();
        for seed in 0..20 {
            turn_colours(
                &mut picture,
                &paper,
                &mut Stream::new(seed, Purpose::Crop, [0; 3]),
            );
        }
        let apart = |(a, b): (&u8, &u8)| a.abs_diff(*b);
        assert!(
            picture
                .iter()
                .zip(before.iter())
                .map(apart)
                .all(|apart| apart <= 1)
        );
        let mut red = RgbImage::from_pixel(1, 1, image::Rgb([200, 0, 0]));
        mix_colours(&mut red, &[LUMA; 3]);
        assert_eq!(red.get_pixel(0, 0).0, [43; 3]);
    }

    #[test]
    fn every_augmentation_of_the_paper_is_drawn_the_same_again() {
        let images = images();
        let rule = Recipe::named("paper-resnet50").unwrap().augment;
        let preprocessing = Preprocessing::of_architecture("resnet50");
        let images: Vec<&RgbImage> = images.iter().collect();
        let drawn = views(&images, &rule, &preprocessing, 3);
        assert_eq!(drawn, views(&images, &rule, &preprocessing, 3));
        assert_ne!(drawn, views(&images, &rule, &preprocessing, 4));
        assert!(drawn.iter().all(|view| view.dimensions() == (224, 224)));
    }

    proptest! {
        #[test]
        fn a_region_lies_in_its_image(width in 1_u32..200, height in 1_u32..200, seed in any::<u64>()) {
            let mut random = Stream::new(seed, Purpose::Crop, [0; 3]);
            let [left, top, w, h] = region((width, height), [0.1, 1.0], &mut random);
            prop_assert!(left >= 0.0 && top >= 0.0 && w >= 1.0 && h >= 1.0);
            prop_assert!(left + w <= f64::from(width) && top + h <= f64::from(height));
        }
    }
}
