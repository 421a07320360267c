//! `make bench NAME=health`: how many images a second are looked at, as intake
//! does it: digest, decoding, perceptual hash, measures; then judged together.
//! On two threads, whatever the machine has. Embeddings are not part of it.
//!
//! The pictures are generated: JPEGs and PNGs of a camera's size, with structure
//! and noise, so that decoding costs what it costs in a factory.

use std::io::Cursor;
use std::process::ExitCode;
use std::time::Instant;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use katagami::domain::Digest;
use katagami::domain::health::{Look, Seen, findings};
use katagami::intake::Picture;
use rayon::prelude::*;

/// Different pictures of each kind; each is looked at [`ROUNDS`] times.
const PICTURES: u64 = 12;
const ROUNDS: usize = 10;
/// Images that are judged together.
const JUDGED: usize = 10_000;
/// Sizes and formats: a camera of two megapixels, and what is cut from it.
const KINDS: [(&str, u32, u32, ImageFormat); 3] = [
    ("jpeg_1600x1200", 1_600, 1_200, ImageFormat::Jpeg),
    ("png_1600x1200", 1_600, 1_200, ImageFormat::Png),
    ("png_300x300", 300, 300, ImageFormat::Png),
];

fn main() -> ExitCode {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build();
    match pool {
        Ok(pool) => pool.install(run),
        Err(error) => {
            eprintln!("error: no thread can be started ({error})");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run() {
    let mut slowest = f64::INFINITY;
    let mut seen = Vec::new();
    for (name, width, height, format) in KINDS {
        let files: Vec<Vec<u8>> = (0..PICTURES)
            .into_par_iter()
            .map(|seed| encoded(&picture(seed, width, height), format))
            .collect();
        let all: Vec<&Vec<u8>> = std::iter::repeat_n(&files, ROUNDS).flatten().collect();
        let begun = Instant::now();
        let looked: Vec<Seen> = all.par_iter().map(|bytes| look(bytes)).collect();
        let speed = all.len() as f64 / begun.elapsed().as_secs_f64();
        println!("figure: health/{name}/images_per_second = {speed:.0} images/s");
        slowest = slowest.min(speed);
        seen.extend(looked);
    }
    // The target: what holds for the slowest kind.
    println!("figure: health/images_per_second = {slowest:.0} images/s");
    let many: Vec<Seen> = seen.iter().cycle().take(JUDGED).cloned().collect();
    let begun = Instant::now();
    let found = findings(&many);
    let milliseconds = 1e3 * begun.elapsed().as_secs_f64();
    assert!(
        !found.is_empty(),
        "the same pictures again and again are duplicates"
    );
    println!("figure: health/judge_10000_images = {milliseconds:.0} ms");
}

fn look(bytes: &[u8]) -> Seen {
    let picture = Picture::of(bytes).expect("what was encoded can be decoded");
    Seen {
        digest: Digest::of(bytes),
        width: picture.width,
        height: picture.height,
        phash: picture.phash,
        look: Some(Look::Measured(picture.quality)),
    }
}

/// A machined surface: stripes, a shading, holes, and a camera's noise.
fn picture(seed: u64, width: u32, height: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    RgbImage::from_fn(width, height, |x, y| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let noise = (state >> 60) as u32;
        let stripes = (x * 3 + y * (seed as u32 % 5)) / 7 % 24;
        let hole = u32::from((x % 257).pow(2) + (y % 311).pow(2) < 1_600) * 60;
        let grey = (70 + stripes * 3 + x * 60 / width + noise).saturating_sub(hole);
        Rgb([grey as u8, (grey + 4) as u8, (grey.saturating_sub(6)) as u8])
    })
}

fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::from(picture.clone())
        .write_to(&mut Cursor::new(&mut bytes), format)
        .expect("memory can be written to");
    bytes
}
