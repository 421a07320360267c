//! Multi-crop: several random views of each image (SwAV §3.3).

use image::{RgbImage, imageops};
use rayon::prelude::*;

use super::colours;
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
    // Chance is drawn for what a recipe uses: a new field changes no crop of an old recipe.
    let mut happens = |share: f64| share > 0.0 && random.next_unit() < share;
    let (unjittered, grey, blurred) = (happens(rule.unjittered), happens(rule.grey), happens(rule.blur));
    if !unjittered {
        if rule.saturation > 0.0 || rule.hue > 0.0 {
            colours::jitter(&mut picture, rule, random);
        } else {
            jitter(&mut picture, rule, random);
        }
    }
    if grey {
        colours::grey(&mut picture);
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

/// Multiplies brightness, then contrast around the mean grey of the picture: for recipes that leave hue and
/// saturation alone, and so by one table.
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
