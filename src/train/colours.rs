//! Colours of crops as torchvision's `ColorJitter` and `Grayscale` make them, which the paper used:
//! brightness, contrast, saturation and hue, in an order that is drawn for each picture.

use image::RgbImage;

use super::random::Stream;
use super::recipe::AugmentRule;

/// How bright each colour is to the eye (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

fn luma(pixel: [u8; 3]) -> f32 {
    pixel
        .iter()
        .zip(LUMA)
        .map(|(value, share)| f32::from(*value) * share)
        .sum()
}

fn rounded(value: f32) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

/// A pixel less, or more, like a grey of that brightness.
fn apart_from(grey: f32, factor: f32, pixel: [u8; 3]) -> [u8; 3] {
    pixel.map(|value| rounded(grey + (f32::from(value) - grey) * factor))
}

/// Multiplies brightness, contrast and saturation and turns the hue, each by a factor of its own.
pub(super) fn jitter(picture: &mut RgbImage, rule: &AugmentRule, random: &mut Stream) {
    let mut around_one = |range: f64| random.next_in((1.0 - range).max(0.0), 1.0 + range) as f32;
    let [brightness, contrast, saturation] =
        [rule.brightness, rule.contrast, rule.saturation].map(&mut around_one);
    let hue = random.next_in(-rule.hue, rule.hue) as f32;
    let mut order = [0, 1, 2, 3].map(|change| (random.next_bits(), change));
    order.sort_unstable();
    for (_, change) in order {
        match change {
            0 => changed(picture, |pixel| apart_from(0.0, brightness, pixel)),
            1 => {
                let sum: f64 = picture.pixels().map(|pixel| f64::from(luma(pixel.0))).sum();
                let mean = (sum / f64::from(picture.width() * picture.height())) as f32;
                changed(picture, |pixel| apart_from(mean, contrast, pixel));
            }
            2 => changed(picture, |pixel| apart_from(luma(pixel), saturation, pixel)),
            _ => changed(picture, |pixel| turned(pixel, hue)),
        }
    }
}

/// Takes all colour away.
pub(super) fn grey(picture: &mut RgbImage) {
    changed(picture, |pixel| [rounded(luma(pixel)); 3]);
}

fn changed(picture: &mut RgbImage, change: impl Fn([u8; 3]) -> [u8; 3]) {
    picture.pixels_mut().for_each(|pixel| pixel.0 = change(pixel.0));
}

/// A pixel whose hue is `turn` of the circle further; value and saturation (HSV) stay.
fn turned(pixel: [u8; 3], turn: f32) -> [u8; 3] {
    let [r, g, b] = pixel.map(f32::from);
    let (least, most) = (r.min(g).min(b), r.max(g).max(b));
    let chroma = most - least;
    if chroma == 0.0 {
        return pixel;
    }
    // In sixths of the circle: red, yellow, green, cyan, blue, magenta.
    let hue = if most == r {
        (g - b) / chroma
    } else if most == g {
        2.0 + (b - r) / chroma
    } else {
        4.0 + (r - g) / chroma
    };
    let hue = (hue + 6.0 * turn).rem_euclid(6.0);
    let between = chroma * (1.0 - (hue.rem_euclid(2.0) - 1.0).abs());
    let colour = match hue as u8 {
        0 => [chroma, between, 0.0],
        1 => [between, chroma, 0.0],
        2 => [0.0, chroma, between],
        3 => [0.0, between, chroma],
        4 => [between, 0.0, chroma],
        _ => [chroma, 0.0, between],
    };
    colour.map(|value| rounded(value + least))
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;
    use crate::train::Recipe;

    fn stream(seed: u64) -> Stream {
        Stream::new(seed, Purpose::Crop, [0; 3])
    }

    #[test]
    fn a_hue_goes_round_and_leaves_grey_alone() {
        let third = 1.0 / 3.0;
        assert_eq!(turned([200, 10, 10], third), [10, 200, 10]);
        assert_eq!(turned([10, 200, 10], third), [10, 10, 200]);
        assert_eq!(turned([10, 200, 10], -third), [200, 10, 10]);
        assert_eq!(turned([200, 10, 10], 0.5), [10, 200, 200]);
        assert_eq!(turned([90, 90, 90], 0.2), [90; 3]);
        for pixel in [[1, 2, 3], [250, 40, 90], [7, 7, 9], [0, 255, 128]] {
            assert_eq!(turned(pixel, 0.0), pixel);
            assert_eq!(turned(pixel, 1.0), pixel);
        }
    }

    #[test]
    fn a_grey_picture_stays_grey_and_colours_become_what_they_weigh() {
        let paper = Recipe::named("paper-resnet50").unwrap().augment;
        for seed in 0..20 {
            let mut picture = RgbImage::from_fn(16, 16, |x, y| image::Rgb([(x * 16 + y) as u8; 3]));
            jitter(&mut picture, &paper, &mut stream(seed));
            assert!(picture.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]));
        }
        let mut red = RgbImage::from_pixel(1, 1, image::Rgb([200, 0, 0]));
        grey(&mut red);
        assert_eq!(red.get_pixel(0, 0).0, [60; 3]);
    }

    #[test]
    fn the_order_of_changes_is_drawn() {
        // White is clipped by brightness, which contrast shows only where it comes after.
        let rule = AugmentRule {
            hue: 0.0,
            saturation: 0.0,
            ..Recipe::named("paper-resnet50").unwrap().augment
        };
        let begun = RgbImage::from_fn(2, 1, |x, _| image::Rgb([if x == 0 { 40 } else { 230 }; 3]));
        let orders: std::collections::HashSet<bool> = (0..40)
            .map(|seed| {
                let mut picture = begun.clone();
                jitter(&mut picture, &rule, &mut stream(seed));
                let mut random = stream(seed);
                let factor = |random: &mut Stream| random.next_in(0.2, 1.8) as f32;
                let (brightness, contrast) = (factor(&mut random), factor(&mut random));
                let mut first = begun.clone();
                changed(&mut first, |pixel| apart_from(0.0, brightness, pixel));
                let mean = first.pixels().map(|pixel| luma(pixel.0)).sum::<f32>() / 2.0;
                changed(&mut first, |pixel| apart_from(mean, contrast, pixel));
                picture == first
            })
            .collect();
        assert_eq!(orders.len(), 2, "both orders occur");
    }
}
