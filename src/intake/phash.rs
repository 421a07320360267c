//! Perceptual hashes: pictures that look alike have few differing bits,
//! whatever their format, size or brightness.

use std::f32::consts::PI;
use std::sync::LazyLock;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use crate::domain::image::PerceptualHash;

/// Edge of the small picture that is hashed.
const EDGE: usize = 64;
/// How many of the lowest frequencies of each direction are looked at.
const WAVES: usize = 8;

/// Cosines of the lowest frequencies: `[wave][pixel]`.
static COSINES: LazyLock<[[f32; EDGE]; WAVES]> = LazyLock::new(|| {
    std::array::from_fn(|wave| {
        std::array::from_fn(|pixel| (PI * wave as f32 * (2 * pixel + 1) as f32 / (2 * EDGE) as f32).cos())
    })
});

/// The hash of an upright picture: a bit tells whether one of the lowest 64
/// frequencies of its greys (discrete cosine transform) is above their median.
/// Brightness is the frequency 0 0, which is replaced by a constant bit, and
/// contrast scales all others alike: neither matters.
pub fn perceptual_hash(picture: &RgbImage) -> PerceptualHash {
    let greys = greys(picture);
    // rows: [wave of x][y]
    let rows: [[f32; EDGE]; WAVES] = std::array::from_fn(|wave| {
        std::array::from_fn(|y| {
            let row = &greys[y * EDGE..(y + 1) * EDGE];
            row.iter()
                .zip(&COSINES[wave])
                .map(|(grey, cosine)| grey * cosine)
                .sum()
        })
    });
    let mut waves = [0.0_f32; WAVES * WAVES];
    for (index, value) in waves.iter_mut().enumerate().skip(1) {
        let (x, y) = (index % WAVES, index / WAVES);
        *value = rows[x]
            .iter()
            .zip(&COSINES[y])
            .map(|(row, cosine)| row * cosine)
            .sum();
    }
    let mut sorted = waves;
    sorted[1..].sort_unstable_by(f32::total_cmp);
    let median = sorted[WAVES * WAVES / 2];
    let bits = waves.iter().enumerate().skip(1);
    PerceptualHash(bits.fold(0, |bits, (index, wave)| {
        bits | (u64::from(*wave > median) << index)
    }))
}

/// The greys of a picture shrunk to `EDGE` × `EDGE`.
fn greys(picture: &RgbImage) -> Vec<f32> {
    let edge = EDGE as u32;
    let source = ImageRef::new(picture.width(), picture.height(), picture, PixelType::U8x3)
        .expect("an RGB image has three bytes a pixel");
    let mut small = Image::new(edge, edge, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut small, &options)
        .expect("both images have the same pixel type");
    let grey = |pixel: &[u8]| {
        0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2])
    };
    small.buffer().chunks_exact(3).map(grey).collect()
}

#[cfg(test)]
#[path = "tests/phash.rs"]
mod tests;
