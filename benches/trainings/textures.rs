//! Generated surfaces with seeded defects: a check that needs no download.

use std::fs;
use std::path::{Path, PathBuf};

use image::{GrayImage, Luma};

use super::Outcome;

/// Edge length in pixels.
const EDGE: u32 = 128;
/// Pictures of each class.
const EACH: u64 = 150;
/// What each class shows.
const CLASSES: [&str; 4] = ["flawless", "scratch", "spots", "stain"];

/// Numbers from 0 to 1, the same for the same place (SplitMix64's finaliser).
pub fn noise(seed: u64, x: i64, y: i64) -> f64 {
    let mut bits = seed ^ (x as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (y as u64).rotate_left(32);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Noise on a grid of `pitch` pixels, smooth between its points.
fn smooth(seed: u64, x: f64, y: f64) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (u, v) = (ease(x - left), ease(y - top));
    let at = |dx: i64, dy: i64| noise(seed, left as i64 + dx, top as i64 + dy);
    let row = |dy: i64| at(0, dy) * (1.0 - u) + at(1, dy) * u;
    row(0) * (1.0 - v) + row(1) * v
}

/// A brushed surface, from 0 to 1.
fn surface(seed: u64, x: f64, y: f64) -> f64 {
    let turn = noise(seed, -1, 0) * std::f64::consts::PI;
    let (along, across) = (x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin());
    let coarse = smooth(seed + 1, along / 40.0, across / 40.0);
    let brushed = smooth(seed + 2, along / 30.0, across / 2.0);
    let fine = noise(seed + 3, x as i64, y as i64);
    0.35 + 0.25 * coarse + 0.2 * brushed + 0.1 * fine
}

/// How much darker a defect makes a pixel.
fn defect(class: &str, seed: u64, x: f64, y: f64) -> f64 {
    let of = |number: i64| noise(seed, -2, number);
    let edge = f64::from(EDGE);
    match class {
        "scratch" => {
            let turn = of(0) * std::f64::consts::PI;
            let (cx, cy) = ((0.25 + 0.5 * of(1)) * edge, (0.25 + 0.5 * of(2)) * edge);
            let (along, across) = (
                (x - cx) * turn.cos() + (y - cy) * turn.sin(),
                (y - cy) * turn.cos() - (x - cx) * turn.sin(),
            );
            let bent = across - 3.0 * (along / 15.0 + of(3) * 6.0).sin();
            if bent.abs() < 1.2 && along.abs() < edge * (0.15 + 0.2 * of(4)) {
                0.25
            } else {
                0.0
            }
        }
        "spots" => {
            let spots = 5 + (of(0) * 8.0) as i64;
            let inside = (0..spots).any(|spot| {
                let (cx, cy) = (of(10 + spot) * edge, of(40 + spot) * edge);
                (x - cx).hypot(y - cy) < 1.5 + 2.5 * of(70 + spot)
            });
            if inside { 0.25 } else { 0.0 }
        }
        "stain" => {
            let (cx, cy) = ((0.2 + 0.6 * of(0)) * edge, (0.2 + 0.6 * of(1)) * edge);
            let reach = (x - cx).hypot(y - cy) / (edge * (0.12 + 0.15 * of(2)));
            let ragged = reach + 0.5 * smooth(seed + 9, x / 8.0, y / 8.0);
            0.15 * (1.4 - ragged).clamp(0.0, 1.0)
        }
        _ => 0.0,
    }
}

/// The folder of the pictures, which are made if they are not there.
pub fn generated(cache: &Path) -> Outcome<PathBuf> {
    let folder = cache.join("textures-1");
    if folder.join(".complete").exists() {
        return Ok(folder);
    }
    for (number, class) in CLASSES.iter().enumerate() {
        fs::create_dir_all(folder.join(class))?;
        for picture in 0..EACH {
            let seed = picture * CLASSES.len() as u64 + number as u64 + 1;
            let seed = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
            let pixel = |x: u32, y: u32| {
                let (x, y) = (f64::from(x), f64::from(y));
                let grey = surface(seed, x, y) - defect(class, seed, x, y);
                Luma([(grey.clamp(0.0, 1.0) * 255.0).round() as u8])
            };
            GrayImage::from_fn(EDGE, EDGE, pixel)
                .save(folder.join(class).join(format!("{picture:03}.png")))?;
        }
    }
    fs::write(folder.join(".complete"), "")?;
    Ok(folder)
}
