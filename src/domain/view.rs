//! The view: how a site's pictures become network input.
//!
//! A view says which part of a picture matters, into how many tiles it is cut,
//! and where the base's size and bit depth are not the right ones. The tiles
//! of a picture are integers of whole numbers, so that every machine cuts the
//! same ones. The default view is the whole picture as one tile.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Digest;

/// Most columns, and most rows, of tiles.
const MOST_TILES: u32 = 8;
/// Network input in pixels.
pub const SIZES: std::ops::RangeInclusive<u32> = 32..=1024;
/// Least edge of a region.
const LEAST_EDGE: Share = Share(100);
/// Most of a tile's edge that it shares with a neighbour.
const MOST_OVERLAP: Share = Share(5_000);

/// How a site's pictures become network input, where that is not the base's usual way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "Fields", rename_all = "kebab-case")]
pub struct View {
    /// The part of a picture that matters. Default: all of it.
    #[schema(required = false)]
    pub region: Region,
    /// How the region is cut. Default: one tile.
    #[schema(required = false)]
    pub tiles: Tiles,
    /// Edge length of the network's input in pixels, 32 to 1024. Default: the base's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// How more than 8 bits a colour become 8. Default: the base's way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bit_depth: Option<BitDepth>,
}

/// [`View`] before it is checked.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Fields {
    region: Region,
    tiles: Tiles,
    size: Option<u32>,
    bit_depth: Option<BitDepth>,
}

/// A part of an upright picture, in shares of its width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
// The schema goes by the first two, reading by the last, whose fields have them as well.
#[serde(default, deny_unknown_fields, try_from = "RegionFields")]
pub struct Region {
    /// Its left edge.
    pub left: Share,
    /// Its upper edge.
    pub top: Share,
    /// How wide it is.
    pub width: Share,
    /// How high it is.
    pub height: Share,
}

impl Default for Region {
    /// The whole picture.
    fn default() -> Self {
        Self {
            left: Share(0),
            top: Share(0),
            width: Share::WHOLE,
            height: Share::WHOLE,
        }
    }
}

/// [`Region`] as it is written.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RegionFields {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Default for RegionFields {
    /// The whole picture.
    fn default() -> Self {
        Self {
            left: 0.0,
            top: 0.0,
            width: 1.0,
            height: 1.0,
        }
    }
}

impl TryFrom<RegionFields> for Region {
    type Error = ViewError;

    fn try_from(fields: RegionFields) -> Result<Self, ViewError> {
        let (left, width) = rounded(fields.left, fields.width)?;
        let (top, height) = rounded(fields.top, fields.height)?;
        Ok(Self {
            left,
            top,
            width,
            height,
        })
    }
}

/// Where a region begins along an edge, and how long it is. What lies within the picture stays
/// there, although both may be rounded up.
fn rounded(from: f64, length: f64) -> Result<(Share, Share), ViewError> {
    /// Decimals that make 1 together may make a little more as binary numbers.
    const NOISE: f64 = 1e-9;
    let (begin, part) = (Share::try_from(from)?, Share::try_from(length)?);
    let room = Share(Share::PARTS - begin.0);
    let within = from + length <= 1.0 + NOISE;
    Ok((begin, if within { part.min(room) } else { part }))
}

/// How a region is cut: into `columns` × `rows` tiles of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tiles {
    /// Tiles side by side, 1 to 8.
    pub columns: u32,
    /// Tiles one below the other, 1 to 8.
    pub rows: u32,
    /// How much of its edge a tile shares with each neighbour, 0 to 0.5.
    pub overlap: Share,
}

impl Default for Tiles {
    /// One tile.
    fn default() -> Self {
        Self {
            columns: 1,
            rows: 1,
            overlap: Share(0),
        }
    }
}

/// How more than 8 bits a colour become 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BitDepth {
    /// By the fewest bits (8 to 16) that hold the picture's brightest value, so
    /// that a 12-bit camera's pictures in 16-bit files are not black.
    UsedBits,
    /// By all 16 bits.
    FullRange,
}

/// A share from 0 to 1 in ten-thousandths; more decimals are rounded. In JSON a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "f64", into = "f64")]
#[schema(value_type = f64)]
pub struct Share(u16);

impl Share {
    /// Ten-thousandths of the whole.
    const PARTS: u16 = 10_000;
    /// All of it.
    pub const WHOLE: Self = Self(Self::PARTS);

    /// A share of so many ten-thousandths; none if that is more than all.
    pub fn of_parts(parts: u32) -> Option<Self> {
        (parts <= u32::from(Self::PARTS)).then_some(Self(parts as u16))
    }

    /// In ten-thousandths.
    pub fn parts(self) -> u32 {
        u32::from(self.0)
    }
}

impl TryFrom<f64> for Share {
    type Error = ViewError;

    fn try_from(share: f64) -> Result<Self, ViewError> {
        if (0.0..=1.0).contains(&share) {
            Ok(Self((share * f64::from(Self::PARTS)).round() as u16))
        } else {
            Err(ViewError::Share(share.to_string()))
        }
    }
}

impl From<Share> for f64 {
    fn from(share: Share) -> Self {
        f64::from(share.0) / f64::from(Share::PARTS)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(&f64::from(*self), to)
    }
}

/// A part of a picture in whole pixels; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Its left edge.
    pub left: u32,
    /// Its upper edge.
    pub top: u32,
    /// How wide it is.
    pub width: u32,
    /// How high it is.
    pub height: u32,
}

/// Why a view cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// It is not written as a view is.
    #[error("the view is not as expected ({0})")]
    Shape(String),
    /// A number is no share.
    #[error("{0} is no share of a picture; use a number from 0 to 1")]
    Share(String),
    /// The region is not within the picture.
    #[error(
        "the view's region reaches from {from} to {to} of the picture's {edge}; \
         both must lie within 0 and 1, and at least {LEAST_EDGE} apart"
    )]
    Region {
        /// Width or height.
        edge: &'static str,
        /// Where it begins.
        from: Share,
        /// Where it ends; may be above 1.
        to: String,
    },
    /// There are no or too many tiles.
    #[error("{columns} × {rows} tiles cannot be cut; use 1 to {MOST_TILES} columns and rows")]
    Tiles {
        /// Columns asked for.
        columns: u32,
        /// Rows asked for.
        rows: u32,
    },
    /// Neighbours share too much.
    #[error(
        "tiles that overlap by {0} show most of a picture twice; use an overlap from 0 to {MOST_OVERLAP}"
    )]
    Overlap(Share),
    /// The network cannot have that size.
    #[error("{0} pixels are no size of a network's input; use {low} to {high}", low = SIZES.start(), high = SIZES.end())]
    Size(u32),
}

impl TryFrom<Fields> for View {
    type Error = ViewError;

    fn try_from(fields: Fields) -> Result<Self, ViewError> {
        let Fields {
            region,
            tiles,
            size,
            bit_depth,
        } = fields;
        Self {
            region,
            tiles,
            size,
            bit_depth,
        }
        .checked()
    }
}

impl View {
    /// Reads a view written as JSON (which begins with a brace) or as TOML.
    pub fn parse(text: &str) -> Result<Self, ViewError> {
        let shape = |error: String| ViewError::Shape(error.trim_end().to_owned());
        if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| shape(error.to_string()))
        } else {
            toml::from_str(text).map_err(|error| shape(error.message().to_owned()))
        }
    }

    /// The view, if it can be used. What changes nothing becomes its default:
    /// a single tile overlaps with none.
    pub fn checked(mut self) -> Result<Self, ViewError> {
        let Region {
            left,
            top,
            width,
            height,
        } = self.region;
        for (edge, from, length) in [("width", left, width), ("height", top, height)] {
            let to = from.parts() + length.parts();
            if length < LEAST_EDGE || to > Share::WHOLE.parts() {
                return Err(ViewError::Region {
                    edge,
                    from,
                    to: (f64::from(to) / f64::from(Share::PARTS)).to_string(),
                });
            }
        }
        let Tiles {
            columns,
            rows,
            overlap,
        } = self.tiles;
        let some = 1..=MOST_TILES;
        if !some.contains(&columns) || !some.contains(&rows) {
            return Err(ViewError::Tiles { columns, rows });
        }
        if overlap > MOST_OVERLAP {
            return Err(ViewError::Overlap(overlap));
        }
        if self.tiles.count() == 1 {
            self.tiles = Tiles::default();
        }
        match self.size {
            Some(size) if !SIZES.contains(&size) => Err(ViewError::Size(size)),
            _ => Ok(self),
        }
    }

    /// Whether it changes nothing: the whole picture, one tile, all else as the base has it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The canonical JSON: all fields in their order, without spaces, shares with
    /// at least one decimal, `size` and `bit-depth` only where they are given.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers and words are JSON")
    }

    /// The SHA-256 of the canonical JSON.
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_json().as_bytes())
    }

    /// The tiles of an upright picture of `width` × `height` pixels, row by row.
    /// Together they cover the region; edges are rounded outwards.
    pub fn tiles(&self, width: u32, height: u32) -> Vec<Tile> {
        let Region { left, top, .. } = self.region;
        let overlap = self.tiles.overlap;
        let columns = cuts(width, left, self.region.width, self.tiles.columns, overlap);
        let rows = cuts(height, top, self.region.height, self.tiles.rows, overlap);
        let tile = |(top, bottom): (u32, u32), (left, right): (u32, u32)| Tile {
            left,
            top,
            width: right - left,
            height: bottom - top,
        };
        (rows.into_iter())
            .flat_map(|row| columns.iter().map(move |column| tile(row, *column)))
            .collect()
    }
}

impl Tiles {
    /// How many tiles a picture has.
    pub fn count(&self) -> usize {
        (self.columns * self.rows) as usize
    }
}

/// Where `count` tiles begin and end along an edge of `pixels`, of which the part
/// `[from, from + length]` is cut.
fn cuts(pixels: u32, from: Share, length: Share, count: u32, overlap: Share) -> Vec<(u32, u32)> {
    let whole = u64::from(Share::PARTS);
    let [from, length, overlap] = [from, length, overlap].map(|share| u64::from(share.parts()));
    let (pixels, count) = (u64::from(pixels), u64::from(count));
    let begin = pixels * from / whole;
    let edge = (pixels * (from + length)).div_ceil(whole) - begin;
    // In ten-thousandths of a tile: how far the next one is, and how long all are together.
    let step = whole - overlap;
    let all = (count - 1) * step + whole;
    (0..count)
        .map(|at| {
            let (first, last) = (at * step, at * step + whole);
            let cut = |pixel: u64| (begin + pixel) as u32;
            (cut(edge * first / all), cut((edge * last).div_ceil(all)))
        })
        .collect()
}

impl fmt::Display for View {
    /// In words for people.
    fn fmt(&self, to: &mut fmt::Formatter) -> fmt::Result {
        let Self {
            region,
            tiles,
            size,
            bit_depth,
        } = self;
        if *region == Region::default() {
            write!(to, "whole picture")?;
        } else {
            let Region {
                left,
                top,
                width,
                height,
            } = region;
            write!(to, "region {width} × {height} at {left}, {top}")?;
        }
        if tiles.count() > 1 {
            let Tiles {
                columns,
                rows,
                overlap,
            } = tiles;
            write!(to, ", {columns} × {rows} tiles overlapping by {overlap}")?;
        }
        if let Some(size) = size {
            write!(to, ", {size} pixels")?;
        }
        match bit_depth {
            Some(BitDepth::UsedBits) => write!(to, ", scaled by the bits used"),
            Some(BitDepth::FullRange) => write!(to, ", scaled by all 16 bits"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
