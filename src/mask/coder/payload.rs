//! The bytes of a mask's bits: a head, the counts, and segments that are coded independently.
//!
//! What is coded are *flips*: where a mask differs from its parent, or without
//! one from the mask that keeps everything.

use rayon::prelude::*;

use super::counts::Numbers;
use super::frozen::Frozen;
use super::mixing::Mixing;
use super::range::{BitCoder, Reader, Writer};
use super::table::Table;
use super::walk::{RowFlags, walk};
use super::{Damaged, Level, Plane};
use crate::mask::Bits;

/// A segment is closed once it holds so many weights and so many flips: enough
/// to learn from, and few enough for every core to have one.
const SEGMENT_WEIGHTS: usize = 1 << 20;
const SEGMENT_FLIPS: usize = 1 << 12;
/// Level `fast` takes the model of `best` for tensors with fewer flips; it skips most of their rows.
const SPARSE: usize = 1 << 10;
/// The largest tilt that a head can name, in quarter nats an octave.
const TILT_MAX: u8 = 31;
/// The tilt where many are flipped: the contexts learn the rest.
const TILT_DENSE: u8 = 8;
/// The tilts that a writer tries where fewer than [`FEW`] are.
const TILTS: [u8; 5] = [8, 12, 16, 20, 24];
const FEW: usize = 1 << 14;
/// The bit of the head that says `best`.
const BEST: u8 = 1 << 5;

/// How many weights of a tensor are flipped: of those that the parent keeps, and of those that it drops.
type Flips = [u32; 2];

/// A payload, as far as it can be read without the base.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::mask) struct Payload {
    tilt: u8,
    best: bool,
    flipped: Vec<Flips>,
    segments: Vec<Segment>,
}

/// Tensors that are coded together.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    /// Indices of the tensors, among those in which anything is flipped.
    tensors: Vec<usize>,
    /// Whether its bits are stored as they are.
    stored: bool,
    bytes: Vec<u8>,
}

/// Encodes `masks[i]`, the bits over `planes[i]`.
pub(in crate::mask) fn encode(planes: &[Plane], masks: &[&Bits], level: Level) -> Vec<u8> {
    let same: Vec<_> = (planes.iter().zip(masks))
        .map(|(plane, bits)| flipped_over(plane, bits))
        .collect();
    let shortest = |best: bool| {
        let flipped: usize = same.iter().map(Bits::count_zeros).sum();
        let tilts: &[u8] = if flipped < FEW { &TILTS } else { &[TILT_DENSE] };
        let written = tilts.iter().map(|tilt| write(planes, &same, *tilt, best));
        written.min_by_key(Vec::len).unwrap_or_default()
    };
    match level {
        Level::Fast => shortest(false),
        Level::Best => shortest(true),
        Level::Auto => {
            let (fast, best) = (shortest(false), shortest(true));
            if fast.len() * 100 <= best.len() * 115 {
                fast
            } else {
                best
            }
        }
    }
}

/// Writes a payload; `same[i]` is 0 where a weight of `planes[i]` is flipped.
fn write(planes: &[Plane], same: &[Bits], tilt: u8, best: bool) -> Vec<u8> {
    let flipped: Vec<_> = planes
        .iter()
        .zip(same)
        .map(|(plane, bits)| flipped(plane, bits))
        .collect();
    let sizes: Vec<_> = planes.iter().map(|plane| plane.weights.len()).collect();
    let delta = planes.iter().any(|plane| plane.parent.is_some());
    let mut counts = Writer::new();
    code_counts(&mut counts, &sizes, delta, |tensor| flipped[tensor])
        .expect("no more are flipped than there are");
    let counts = counts.finish();

    let mut payload = vec![tilt | if best { BEST } else { 0 }];
    push_length(&mut payload, counts.len());
    payload.extend(counts);
    let segments: Vec<_> = segments(&sizes, &flipped)
        .into_par_iter()
        .map(|tensors| {
            let mut writer = Writer::new();
            let mut models = Models::new(best);
            for tensor in &tensors {
                let mut bits = same[*tensor].clone();
                models
                    .code(&mut writer, planes[*tensor], tilt, flipped[*tensor], &mut bits)
                    .expect("the counts are those of the bits");
            }
            let coded = writer.finish();
            let stored: usize = tensors.iter().map(|tensor| same[*tensor].as_bytes().len()).sum();
            if coded.len() < stored {
                (false, coded)
            } else {
                (
                    true,
                    tensors
                        .iter()
                        .flat_map(|tensor| same[*tensor].as_bytes())
                        .copied()
                        .collect(),
                )
            }
        })
        .collect();
    for (stored, bytes) in segments {
        push_length(&mut payload, bytes.len() << 1 | usize::from(stored));
        payload.extend(bytes);
    }
    payload
}

impl Payload {
    /// Reads the payload of a mask over tensors of `sizes` weights; one that was coded against a parent if `delta`.
    pub(in crate::mask) fn read(bytes: &[u8], sizes: &[usize], delta: bool) -> Result<Self, Damaged> {
        let (head, mut rest) = bytes.split_first().ok_or(Damaged)?;
        let (tilt, best) = (head & TILT_MAX, head & BEST != 0);
        if head & !(TILT_MAX | BEST) != 0 {
            return Err(Damaged);
        }
        let length = take_length(&mut rest)?;
        let mut counts = Reader::new(take(&mut rest, length)?);
        let flipped = code_counts(&mut counts, sizes, delta, |_| [0; 2])?;
        let mut read = |tensors| {
            let length = take_length(&mut rest)?;
            let bytes = take(&mut rest, length >> 1)?.to_vec();
            Ok(Segment {
                tensors,
                stored: length & 1 == 1,
                bytes,
            })
        };
        let segments = segments(sizes, &flipped)
            .into_iter()
            .map(&mut read)
            .collect::<Result<_, _>>()?;
        if rest.is_empty() {
            Ok(Self {
                tilt,
                best,
                flipped,
                segments,
            })
        } else {
            Err(Damaged)
        }
    }

    /// How many weights of each tensor are flipped.
    pub(in crate::mask) fn flipped(&self) -> impl Iterator<Item = usize> + '_ {
        self.flipped
            .iter()
            .map(|[kept_before, dropped_before]| (kept_before + dropped_before) as usize)
    }

    /// Whether level `best` wrote it, rather than `fast`.
    pub(in crate::mask) fn is_best(&self) -> bool {
        self.best
    }

    /// How steeply the odds of a flip rise with a weight's lift, in nats an octave.
    pub(in crate::mask) fn tilt(&self) -> f32 {
        f32::from(self.tilt) / 4.0
    }

    /// The bits over `planes`, which must be those that it was encoded with.
    pub(in crate::mask) fn decode(&self, planes: &[Plane]) -> Result<Vec<Bits>, Damaged> {
        let decoded: Vec<_> = self
            .segments
            .par_iter()
            .map(|segment| self.decode_segment(planes, segment))
            .collect::<Result<_, _>>()?;
        let mut masks: Vec<_> = planes
            .iter()
            .map(|plane| flipped_over(plane, &Bits::ones(plane.weights.len())))
            .collect();
        for (tensor, bits) in decoded.into_iter().flatten() {
            masks[tensor] = bits;
        }
        Ok(masks)
    }

    fn decode_segment(&self, planes: &[Plane], segment: &Segment) -> Result<Vec<(usize, Bits)>, Damaged> {
        let mut reader = Reader::new(&segment.bytes);
        let mut stored = segment.bytes.as_slice();
        let mut models = Models::new(self.best);
        let tensors = segment.tensors.iter().map(|tensor| {
            let plane = planes[*tensor];
            let size = plane.weights.len();
            let bits = if segment.stored {
                Bits::from_bytes(take(&mut stored, size.div_ceil(8))?.to_vec(), size).ok_or(Damaged)?
            } else {
                let mut bits = Bits::ones(size);
                models.code(&mut reader, plane, self.tilt, self.flipped[*tensor], &mut bits)?;
                bits
            };
            // The walk has counted already; stored bits have not been counted, and asking is cheap.
            if flipped(&plane, &bits) == self.flipped[*tensor] {
                Ok((*tensor, flipped_over(&plane, &bits)))
            } else {
                Err(Damaged)
            }
        });
        let tensors = tensors.collect();
        if segment.stored && !stored.is_empty() {
            Err(Damaged)
        } else {
            tensors
        }
    }
}

/// What a segment learns with.
struct Models {
    best: bool,
    flags: RowFlags,
    mixing: Option<Mixing>,
    table: Option<Table>,
}

impl Models {
    fn new(best: bool) -> Self {
        Self {
            best,
            flags: RowFlags::new(),
            mixing: None,
            table: None,
        }
    }

    fn code(
        &mut self,
        coder: &mut impl BitCoder,
        plane: Plane,
        tilt: u8,
        flipped: Flips,
        bits: &mut Bits,
    ) -> Result<(), Damaged> {
        let frozen = Frozen::new(plane, tilt);
        let flipped = flipped.map(|flipped| flipped as usize);
        if self.best || flipped[0] + flipped[1] < SPARSE {
            let model = self.mixing.get_or_insert_with(Mixing::new);
            walk(coder, &mut self.flags, model, &frozen, flipped, bits)
        } else {
            let model = self.table.get_or_insert_with(Table::new);
            walk(coder, &mut self.flags, model, &frozen, flipped, bits)
        }
    }
}

/// `bits` as what is 0 where they differ from the parent's; and back.
fn flipped_over(plane: &Plane, bits: &Bits) -> Bits {
    match plane.parent {
        Some(parent) => bits.agreement(parent),
        None => bits.clone(),
    }
}

/// How many of `bits` are 0 in each stratum.
fn flipped(plane: &Plane, bits: &Bits) -> Flips {
    let both = plane
        .parent
        .map_or(0, |parent| bits.zeros().filter(|at| !parent.get(*at)).count());
    [bits.count_zeros() - both, both].map(|count| count as u32)
}

/// Codes how many weights of each tensor are flipped.
fn code_counts(
    coder: &mut impl BitCoder,
    sizes: &[usize],
    delta: bool,
    flipped: impl Fn(usize) -> Flips,
) -> Result<Vec<Flips>, Damaged> {
    let (mut kept_before, mut dropped_before) = (Numbers::new(), Numbers::new());
    let mut counts = Vec::with_capacity(sizes.len());
    for (tensor, size) in sizes.iter().enumerate() {
        let [first, second] = flipped(tensor);
        let first = kept_before.code(coder, first, *size as u32)?;
        let second = if delta {
            dropped_before.code(coder, second, *size as u32 - first)?
        } else {
            0
        };
        counts.push([first, second]);
    }
    Ok(counts)
}

/// Which tensors share a segment: in order, those in which nothing is flipped left out.
fn segments(sizes: &[usize], flipped: &[Flips]) -> Vec<Vec<usize>> {
    let mut segments = Vec::new();
    let (mut open, mut weights, mut flips) = (Vec::new(), 0, 0);
    for (tensor, (size, flipped)) in sizes.iter().zip(flipped).enumerate() {
        if *flipped == [0, 0] {
            continue;
        }
        open.push(tensor);
        weights += size;
        flips += (flipped[0] + flipped[1]) as usize;
        if weights >= SEGMENT_WEIGHTS && flips >= SEGMENT_FLIPS {
            segments.push(std::mem::take(&mut open));
            (weights, flips) = (0, 0);
        }
    }
    if !open.is_empty() {
        segments.push(open);
    }
    segments
}

/// A length in base 128, least significant digits first, as in protobuf.
fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 128 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
}

fn take_length(rest: &mut &[u8]) -> Result<usize, Damaged> {
    let mut length = 0;
    for place in 0..5 {
        let byte = take(rest, 1)?[0];
        length |= usize::from(byte & 127) << (7 * place);
        if byte < 128 {
            return Ok(length);
        }
    }
    Err(Damaged)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damaged> {
    let (taken, left) = rest.split_at_checked(length).ok_or(Damaged)?;
    *rest = left;
    Ok(taken)
}
