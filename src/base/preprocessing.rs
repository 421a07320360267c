//! How a picture becomes network input: part of the base, the same function
//! in training, gate, server and edge.
//!
//! Decoders and resizers differ by whole grey levels, so what a mask was
//! trained on and what a device feeds it must come from here alone.

use std::io::Cursor;

use fast_image_resize::images::Image;
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::error::UnsupportedErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use serde::{Deserialize, Serialize};

use super::architecture::Colours;
use super::{architecture, jpeg};
use crate::domain::view::{BitDepth, Tile};
use crate::domain::{Digest, ErrorKind, Problem, View};

/// How pictures become network input. In the base's manifest; its digest is in every mask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Preprocessing {
    /// Edge length of the square network input in pixels.
    pub size: u32,
    /// How a picture that is not square is made so.
    pub fit: Fit,
    /// The filter that resizes.
    pub filter: Filter,
    /// Mean of each colour, on the scale 0 to 1; subtracted.
    pub mean: [f32; 3],
    /// Standard deviation of each colour; divided by.
    pub std: [f32; 3],
    /// How more than 8 bits a colour become 8.
    pub bit_depth: BitDepth,
}

/// How a picture that is not square is made so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// Both edges become `size`; the aspect ratio is lost.
    Squash,
    /// The longer edge becomes `size`; black bars fill the rest.
    Letterbox,
    /// The shorter edge becomes `size`; the middle is kept.
    Crop,
}

/// The filter that resizes. All are area-aware: shrinking averages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// Triangle filter.
    Bilinear,
    /// Catmull-Rom filter.
    Bicubic,
    /// Three-lobed Lanczos filter.
    Lanczos3,
}

/// What a picture may cost to decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest edge in pixels.
    pub edge: u32,
    /// Most bytes that decoding may allocate.
    pub bytes: u64,
}

impl Default for DecodeLimits {
    /// 16,384 pixels an edge and 512 MiB.
    fn default() -> Self {
        Self {
            edge: 16_384,
            bytes: 512 << 20,
        }
    }
}

/// Why a picture was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Its content is of no known format.
    #[error("this is no picture of a known format (JPEG, PNG, TIFF, BMP, GIF, WebP, PNM)")]
    UnknownFormat,
    /// Its format is known, but not all kinds of it are read.
    #[error("this kind of picture is not read ({0}); save it as PNG or TIFF of 8 or 16 bits a colour")]
    Unsupported(String),
    /// It is damaged.
    #[error("the picture is damaged ({0})")]
    Damaged(String),
    /// It is larger than the limits allow.
    #[error("the picture is larger than the limit of {} pixels an edge and {} MiB", .0.edge, .0.bytes >> 20)]
    TooLarge(DecodeLimits),
}

impl Problem for PictureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooLarge(_) => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownFormat | Self::Unsupported(_) => "picture_format",
            Self::Damaged(_) => "picture_damaged",
            Self::TooLarge(_) => "picture_too_large",
        }
    }
}

impl Preprocessing {
    /// ImageNet's usual preparation at `size` pixels with the given statistics.
    pub fn squashed(size: u32, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self {
            size,
            fit: Fit::Squash,
            filter: Filter::Bicubic,
            mean,
            std,
            bit_depth: BitDepth::UsedBits,
        }
    }

    /// What the reference implementation of an architecture uses.
    pub fn of_architecture(name: &str) -> Self {
        let known = architecture(name);
        let size = known.map_or(224, |architecture| architecture.nominal_size);
        let colours = known.map_or(Colours::ImageNet, |architecture| architecture.colours);
        let (mean, std) = colours.statistics();
        Self::squashed(size, mean, std)
    }

    /// The SHA-256 of the JSON form.
    pub fn digest(&self) -> Digest {
        let json = serde_json::to_vec(self).expect("plain numbers and words are JSON");
        Digest::of(&json)
    }

    /// What `view` makes of it: its size and bit depth, where it has any.
    #[must_use]
    pub fn seen(&self, view: &View) -> Self {
        Self {
            size: view.size.unwrap_or(self.size),
            bit_depth: view.bit_depth.unwrap_or(self.bit_depth),
            ..self.clone()
        }
    }

    /// The one way from a picture's bytes to what a network sees of it: decoded, turned
    /// upright, and each tile of `view` resized to `size` × `size`, row by row.
    pub fn inputs(
        &self,
        bytes: &[u8],
        view: &View,
        limits: &DecodeLimits,
    ) -> Result<Vec<RgbImage>, PictureError> {
        let seen = self.seen(view);
        let picture = decode(bytes, seen.bit_depth, limits)?;
        let (width, height) = picture.dimensions();
        let input = |tile: Tile| {
            if (tile.width, tile.height) == (width, height) {
                return seen.resize(&picture, seen.size);
            }
            let cut = image::imageops::crop_imm(&picture, tile.left, tile.top, tile.width, tile.height);
            seen.resize(&cut.to_image(), seen.size)
        };
        Ok(view.tiles(width, height).into_iter().map(input).collect())
    }

    /// A decoded picture as `size` × `size` pixels.
    pub fn resize(&self, picture: &RgbImage, size: u32) -> RgbImage {
        let (width, height) = picture.dimensions();
        let (long, short) = (width.max(height), width.min(height));
        let side =
            |edge: u32, by: u32| ((u64::from(edge) * u64::from(size)).div_ceil(u64::from(by)) as u32).max(1);
        let options = self.options();
        match self.fit {
            Fit::Squash => resample(picture, size, size, &options),
            Fit::Crop => {
                let at = |edge: u32| f64::from(edge - short) / 2.0;
                let middle = options.crop(at(width), at(height), f64::from(short), f64::from(short));
                resample(picture, size, size, &middle)
            }
            Fit::Letterbox => {
                let (inner_width, inner_height) = (side(width, long).min(size), side(height, long).min(size));
                let inner = resample(picture, inner_width, inner_height, &options);
                let mut boxed = RgbImage::new(size, size);
                let at = |inner: u32| i64::from((size - inner) / 2);
                image::imageops::replace(&mut boxed, &inner, at(inner_width), at(inner_height));
                boxed
            }
        }
    }

    /// The part `[left, top, width, height]` of a picture as `size` × `size` pixels.
    pub fn resize_region(&self, picture: &RgbImage, region: [f64; 4], size: u32) -> RgbImage {
        let [left, top, width, height] = region;
        resample(
            picture,
            size,
            size,
            &self.options().crop(left, top, width, height),
        )
    }

    fn options(&self) -> ResizeOptions {
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(match self.filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos3 => FilterType::Lanczos3,
        }))
    }

    /// Network input `[3, height, width]` of a picture: scaled to 0 to 1, less the mean, by the deviation.
    pub fn normalise(&self, picture: &RgbImage) -> Vec<f32> {
        let pixels = picture.as_raw();
        (0..3)
            .flat_map(|colour| {
                let (mean, std) = (self.mean[colour], self.std[colour]);
                pixels
                    .iter()
                    .skip(colour)
                    .step_by(3)
                    .map(move |value| (f32::from(*value) / 255.0 - mean) / std)
            })
            .collect()
    }
}

fn resample(picture: &RgbImage, width: u32, height: u32, options: &ResizeOptions) -> RgbImage {
    let mut resized = Image::new(width, height, PixelType::U8x3);
    let source =
        fast_image_resize::images::ImageRef::new(picture.width(), picture.height(), picture, PixelType::U8x3)
            .expect("an RGB image has three bytes a pixel");
    Resizer::new()
        .resize(&source, &mut resized, options)
        .expect("both images have the same pixel type");
    RgbImage::from_raw(width, height, resized.into_vec()).expect("the buffer was made for this size")
}

/// What a picture says of itself before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Its media type, by its content.
    pub media_type: &'static str,
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// About how many bytes [`decode`] takes up at most.
    pub working_bytes: u64,
}

/// Measures a picture without decoding it.
pub fn measure(bytes: &[u8], limits: &DecodeLimits) -> Result<Measured, PictureError> {
    let (format, decoder) = opened(bytes, limits)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let colour = decoder.color_type();
    let flattened = if is_plain(colour) { 3 } else { 8 + 3 };
    // A decoder keeps a copy of a JPEG's file, and its coefficients if it is progressive.
    let native = decoder.total_bytes();
    Ok(Measured {
        media_type: format.to_mime_type(),
        width,
        height,
        working_bytes: 2 * bytes.len() as u64 + 2 * native + pixels * flattened,
    })
}

fn opened<'a>(
    bytes: &'a [u8],
    limits: &DecodeLimits,
) -> Result<(ImageFormat, impl ImageDecoder + use<'a>), PictureError> {
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|_| PictureError::UnknownFormat)?;
    let format = reader.format().ok_or(PictureError::UnknownFormat)?;
    let mut allowed = image::Limits::default();
    allowed.max_image_width = Some(limits.edge);
    allowed.max_image_height = Some(limits.edge);
    allowed.max_alloc = Some(limits.bytes);
    reader.limits(allowed);
    let decoder = reader.into_decoder().map_err(|error| failed(error, limits))?;
    if decoder.total_bytes() > limits.bytes {
        return Err(PictureError::TooLarge(*limits));
    }
    Ok((format, decoder))
}

fn failed(error: ImageError, limits: &DecodeLimits) -> PictureError {
    let shortened = |text: String| text.chars().take(120).collect();
    match error {
        ImageError::Limits(_) => PictureError::TooLarge(*limits),
        ImageError::Unsupported(error) => match error.kind() {
            UnsupportedErrorKind::Format(_) => PictureError::UnknownFormat,
            _ => PictureError::Unsupported(shortened(error.to_string())),
        },
        other => PictureError::Damaged(shortened(other.to_string())),
    }
}

/// Decodes a picture to upright RGB: EXIF orientation applied, alpha over
/// black, palette and CMYK converted, more than 8 bits scaled by `depth`.
pub fn decode(bytes: &[u8], depth: BitDepth, limits: &DecodeLimits) -> Result<RgbImage, PictureError> {
    let (format, mut decoder) = opened(bytes, limits)?;
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err(PictureError::Damaged(
            "the file ends before the picture does".to_owned(),
        ));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| failed(error, limits))?;
    let mut picture = flatten(picture, depth);
    // Flat pixels are the fewest bytes to turn.
    if orientation != Orientation::NoTransforms {
        let mut turned = DynamicImage::from(picture);
        turned.apply_orientation(orientation);
        picture = turned.into_rgb8();
    }
    Ok(picture)
}

/// Whether a decoder's pixels are 8 bits a colour without transparency.
fn is_plain(colour: image::ColorType) -> bool {
    colour.bytes_per_pixel() / colour.channel_count() == 1 && !colour.has_alpha()
}

/// 8-bit RGB of whatever a decoder gave.
fn flatten(picture: DynamicImage, depth: BitDepth) -> RgbImage {
    if is_plain(picture.color()) {
        return picture.into_rgb8();
    }
    let deep = picture.color().bytes_per_pixel() / picture.color().channel_count() > 1;
    let wide = picture.into_rgba16();
    let brightest = wide
        .pixels()
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
        .max()
        .unwrap_or(0);
    let used = match depth {
        BitDepth::UsedBits if deep => {
            (16 - u32::from(brightest).leading_zeros().saturating_sub(16)).clamp(8, 16)
        }
        _ => 16,
    };
    let full = f32::from(u16::MAX >> (16 - used));
    let mut flat = RgbImage::new(wide.width(), wide.height());
    for (to, from) in flat.pixels_mut().zip(wide.pixels()) {
        let alpha = f32::from(from[3]) / f32::from(u16::MAX);
        to.0 = [0, 1, 2].map(|colour| (f32::from(from[colour]) / full * alpha * 255.0 + 0.5) as u8);
    }
    flat
}

#[cfg(test)]
#[path = "tests/preprocessing.rs"]
mod tests;
