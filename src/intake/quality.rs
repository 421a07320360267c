//! What a decoded picture is like, in figures. What follows from them is
//! `domain::health`'s to say.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::domain::Digester;
use crate::domain::health::Quality;

/// Edge of the small picture whose sharpness is measured. About what a network
/// sees: a blur that is gone at this size does no harm, pictures of all sizes can
/// be compared, and the noise of a camera is averaged away.
const EDGE: usize = 128;
/// What rounding to whole greys, of variance 1/12, leaves of a flat picture: the sum of
/// the squares of the kernel that [`sharpness`] applies, by 12.
const ROUNDING: f64 = 0.406_25 / 12.0;
/// One pixel of so many may be darker than the darkest, or brighter than the
/// brightest: dead pixels of a camera. No more, since a defect before a dark
/// field is small.
const OUTLIERS: u64 = 10_000;

/// Measures an upright 8-bit picture: what training will see of 16 bits, alpha and palettes.
pub fn quality(picture: &RgbImage) -> Quality {
    let histogram = luminances(picture);
    let pixels: u64 = histogram.iter().sum();
    let share = |count: u64| count as f64 / pixels.max(1) as f64;
    let mean = (0_u64..)
        .zip(&histogram)
        .map(|(level, count)| level * count)
        .sum();
    let bits = |count: &u64| match share(*count) {
        0.0 => 0.0,
        share => -share * share.log2(),
    };
    let mut digester = Digester::default();
    digester.update(&picture.width().to_le_bytes());
    digester.update(picture.as_raw());
    Quality {
        luminance: share(mean),
        darkest: beyond(histogram.iter(), pixels),
        brightest: 255 - beyond(histogram.iter().rev(), pixels),
        clipped: share(histogram[0] + histogram[255]),
        entropy: histogram.iter().map(bits).sum(),
        sharpness: sharpness(picture),
        pixels: digester.finish(),
    }
}

/// Luminance of a pixel by ITU-R BT.601, as JPEG's.
fn luminance(pixel: &[u8]) -> u32 {
    (77 * u32::from(pixel[0]) + 150 * u32::from(pixel[1]) + 29 * u32::from(pixel[2])) >> 8
}

/// How many pixels have each luminance.
fn luminances(picture: &RgbImage) -> [u64; 256] {
    // Four at a time, so that equal neighbours do not wait for each other's count.
    let mut lanes = [[0_u32; 256]; 4];
    let mut groups = picture.as_raw().chunks_exact(12);
    for group in &mut groups {
        for (lane, pixel) in lanes.iter_mut().zip(group.chunks_exact(3)) {
            lane[luminance(pixel) as usize] += 1;
        }
    }
    for pixel in groups.remainder().chunks_exact(3) {
        lanes[0][luminance(pixel) as usize] += 1;
    }
    std::array::from_fn(|level| lanes.iter().map(|lane| u64::from(lane[level])).sum())
}

/// The first level, counted from one end, before which at most one pixel of [`OUTLIERS`] lies.
fn beyond<'a>(counts: impl Iterator<Item = &'a u64>, pixels: u64) -> u8 {
    let mut before = 0;
    let first = counts.take_while(|count| {
        before += **count;
        before <= pixels / OUTLIERS
    });
    first.count().min(255) as u8
}

/// Variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in
/// brightfield microscopy", 2000) of the slightly smoothed picture, since noise
/// is as fine as anything; by the square of the mean luminance, so that the same
/// part in half the light is as sharp. Not by the variance of luminance, which
/// falls with the blur that is looked for.
fn sharpness(picture: &RgbImage) -> f64 {
    let greys = small(picture);
    let mean = greys.iter().map(|grey| f64::from(*grey)).sum::<f64>() / greys.len() as f64;
    let smooth = smoothed(&greys);
    let at = |x: usize, y: usize| smooth[y * EDGE + x];
    let inner = 1..EDGE - 1;
    let laplacian = inner.clone().flat_map(|y| {
        inner
            .clone()
            .map(move |x| at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y))
    });
    (variance(laplacian) - ROUNDING).max(0.0) / (mean * mean + 1.0)
}

/// The picture smoothed by 1 2 1 in both directions; its border stays as it is.
fn smoothed(greys: &[f32]) -> Vec<f32> {
    let pass = |from: &[f32], step: usize| -> Vec<f32> {
        let mut to = from.to_vec();
        for y in 1..EDGE - 1 {
            for x in 1..EDGE - 1 {
                let at = y * EDGE + x;
                to[at] = (from[at - step] + 2.0 * from[at] + from[at + step]) / 4.0;
            }
        }
        to
    };
    pass(&pass(greys, 1), EDGE)
}

fn variance(values: impl Iterator<Item = f32>) -> f64 {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values.map(f64::from) {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    (squares / count - (sum / count).powi(2)).max(0.0)
}

/// The luminances of the picture at [`EDGE`] × [`EDGE`] pixels.
fn small(picture: &RgbImage) -> Vec<f32> {
    let source = ImageRef::new(picture.width(), picture.height(), picture, PixelType::U8x3)
        .expect("an RGB image has three bytes a pixel");
    let mut small = Image::new(EDGE as u32, EDGE as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut small, &options)
        .expect("both images have the same pixel type");
    small
        .buffer()
        .chunks_exact(3)
        .map(|pixel| 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]))
        .collect()
}

#[cfg(test)]
#[path = "tests/quality.rs"]
mod tests;
