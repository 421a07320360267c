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
const WAVES: usize = 12;
/// Bits of a hash.
const BITS: usize = 64;

/// Cosines of the lowest frequencies: `[wave][pixel]`.
static COSINES: LazyLock<[[f32; EDGE]; WAVES]> = LazyLock::new(|| {
    std::array::from_fn(|wave| {
        std::array::from_fn(|pixel| (PI * wave as f32 * (2 * pixel + 1) as f32 / (2 * EDGE) as f32).cos())
    })
});

/// The frequencies that are hashed, as (x, y): the lowest by x + y of which x or
/// y is odd.
///
/// Those with two even numbers are the same from left and right, above and
/// below. What a line photographs is mostly so, and in every picture the same: a
/// cell in its frame, with its busbars. They would tell parts of one kind from
/// other kinds, which nobody needs, instead of from each other: of elpv-dataset's
/// 2,624 solar cells, 580 have another one within 4 bits by the lowest
/// frequencies of all, 303 by these, and pictures saved again or resized
/// are found by both (more than 99 of 100).
static FREQUENCIES: LazyLock<[(usize, usize); BITS]> = LazyLock::new(|| {
    let all = (0..WAVES * WAVES).map(|index| (index % WAVES, index / WAVES));
    let mut odd: Vec<_> = all.filter(|(x, y)| x % 2 == 1 || y % 2 == 1).collect();
    odd.sort_by_key(|&(x, y)| (x + y, x.abs_diff(y), x));
    std::array::from_fn(|bit| odd[bit])
});

/// The hash of an upright picture: a bit tells whether one of [`FREQUENCIES`] of
/// its greys (discrete cosine transform) is above their median. Brightness is
/// the frequency 0 0, which is none of them, and contrast scales all alike:
/// neither matters.
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
    let waves: [f32; BITS] = FREQUENCIES.map(|(x, y)| {
        rows[x]
            .iter()
            .zip(&COSINES[y])
            .map(|(row, cosine)| row * cosine)
            .sum()
    });
    let mut sorted = waves;
    sorted.sort_unstable_by(f32::total_cmp);
    let median = sorted[BITS / 2];
    let bits = waves.iter().enumerate();
    PerceptualHash(bits.fold(0, |bits, (bit, wave)| bits | (u64::from(*wave > median) << bit)))
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
