//! The bytes of a mask's bits: a head, the counts, and segments that are coded independently.

use rayon::prelude::*;

use super::counts::Numbers;
use super::frozen::Frozen;
use super::mixing::Mixing;
use super::range::{BitCoder, Reader, Writer};
use super::table::Table;
use super::walk::{RowFlags, walk};
use super::{Damaged, Level, Plane};
use crate::mask::Bits;

/// A segment is closed once it holds so many weights and drops so many: enough
/// to learn from, and few enough for every core to have one.
const SEGMENT_WEIGHTS: usize = 1 << 20;
const SEGMENT_DROPPED: usize = 1 << 12;
/// Level `fast` takes the model of `best` for tensors that drop fewer; it skips most of their rows.
const SPARSE: usize = 1 << 10;
/// The largest tilt that a head can name, in quarter nats an octave.
const TILT_MAX: u8 = 31;
/// The tilt of a mask that drops many: its contexts learn the rest.
const TILT_DENSE: u8 = 8;
/// The tilts that a writer tries on a mask that drops fewer than [`FEW`].
const TILTS: [u8; 5] = [8, 12, 16, 20, 24];
const FEW: usize = 1 << 14;
/// The bit of the head that says `best`.
const BEST: u8 = 1 << 5;

/// How many weights a tensor drops: among those that the parent keeps, and among those that it drops.
type Dropped = [u32; 2];

/// A payload, as far as it can be read without the base.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::mask) struct Payload {
    tilt: u8,
    best: bool,
    dropped: Vec<Dropped>,
    segments: Vec<Segment>,
}

/// Tensors that are coded together.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    /// Indices of the tensors, among those that drop anything.
    tensors: Vec<usize>,
    /// Whether its bits are stored as they are.
    stored: bool,
    bytes: Vec<u8>,
}

/// Encodes `masks[i]`, the bits over `planes[i]`.
pub(in crate::mask) fn encode(planes: &[Plane], masks: &[&Bits], level: Level) -> Vec<u8> {
    let shortest = |best: bool| {
        let dropped: usize = masks.iter().map(|bits| bits.count_zeros()).sum();
        let tilts: &[u8] = if dropped < FEW { &TILTS } else { &[TILT_DENSE] };
        let written = tilts.iter().map(|tilt| write(planes, masks, *tilt, best));
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

fn write(planes: &[Plane], masks: &[&Bits], tilt: u8, best: bool) -> Vec<u8> {
    let dropped: Vec<_> = planes
        .iter()
        .zip(masks)
        .map(|(plane, bits)| dropped(plane, bits))
        .collect();
    let sizes: Vec<_> = planes.iter().map(|plane| plane.weights.len()).collect();
    let delta = planes.iter().any(|plane| plane.parent.is_some());
    let mut counts = Writer::new();
    code_counts(&mut counts, &sizes, delta, |tensor| dropped[tensor])
        .expect("no tensor drops more than it has");
    let counts = counts.finish();

    let mut payload = vec![tilt | if best { BEST } else { 0 }];
    push_length(&mut payload, counts.len());
    payload.extend(counts);
    let segments: Vec<_> = segments(&sizes, &dropped)
        .into_par_iter()
        .map(|tensors| {
            let mut writer = Writer::new();
            let mut models = Models::new(best);
            for tensor in &tensors {
                let mut bits = masks[*tensor].clone();
                models
                    .code(&mut writer, planes[*tensor], tilt, dropped[*tensor], &mut bits)
                    .expect("the counts are those of the bits");
            }
            let coded = writer.finish();
            let stored: usize = tensors.iter().map(|tensor| masks[*tensor].as_bytes().len()).sum();
            if coded.len() < stored {
                (false, coded)
            } else {
                (
                    true,
                    tensors
                        .iter()
                        .flat_map(|tensor| masks[*tensor].as_bytes())
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
        let dropped = code_counts(&mut counts, sizes, delta, |_| [0; 2])?;
        let mut read = |tensors| {
            let length = take_length(&mut rest)?;
            let bytes = take(&mut rest, length >> 1)?.to_vec();
            Ok(Segment {
                tensors,
                stored: length & 1 == 1,
                bytes,
            })
        };
        let segments = segments(sizes, &dropped)
            .into_iter()
            .map(&mut read)
            .collect::<Result<_, _>>()?;
        if rest.is_empty() {
            Ok(Self {
                tilt,
                best,
                dropped,
                segments,
            })
        } else {
            Err(Damaged)
        }
    }

    /// How many weights each tensor drops.
    pub(in crate::mask) fn dropped(&self) -> impl Iterator<Item = usize> + '_ {
        self.dropped
            .iter()
            .map(|[kept_before, dropped_before]| (kept_before + dropped_before) as usize)
    }

    /// Whether level `best` wrote it, rather than `fast`.
    pub(in crate::mask) fn is_best(&self) -> bool {
        self.best
    }

    /// How steeply the odds of a drop rise with a weight's lift, in nats an octave.
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
            .map(|plane| Bits::ones(plane.weights.len()))
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
                models.code(&mut reader, plane, self.tilt, self.dropped[*tensor], &mut bits)?;
                bits
            };
            // The walk has counted already; stored bits have not been counted, and asking is cheap.
            if dropped(&plane, &bits) == self.dropped[*tensor] {
                Ok((*tensor, bits))
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
        dropped: Dropped,
        bits: &mut Bits,
    ) -> Result<(), Damaged> {
        let frozen = Frozen::new(plane, tilt);
        let dropped = dropped.map(|dropped| dropped as usize);
        if self.best || dropped[0] + dropped[1] < SPARSE {
            let model = self.mixing.get_or_insert_with(Mixing::new);
            walk(coder, &mut self.flags, model, &frozen, dropped, bits)
        } else {
            let model = self.table.get_or_insert_with(Table::new);
            walk(coder, &mut self.flags, model, &frozen, dropped, bits)
        }
    }
}

fn dropped(plane: &Plane, bits: &Bits) -> Dropped {
    let both = plane
        .parent
        .map_or(0, |parent| bits.zeros().filter(|at| !parent.get(*at)).count());
    [bits.count_zeros() - both, both].map(|count| count as u32)
}

/// Codes how many weights each tensor drops.
fn code_counts(
    coder: &mut impl BitCoder,
    sizes: &[usize],
    delta: bool,
    dropped: impl Fn(usize) -> Dropped,
) -> Result<Vec<Dropped>, Damaged> {
    let (mut kept_before, mut dropped_before) = (Numbers::new(), Numbers::new());
    let mut counts = Vec::with_capacity(sizes.len());
    for (tensor, size) in sizes.iter().enumerate() {
        let [first, second] = dropped(tensor);
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

/// Which tensors share a segment: in order, those that drop nothing left out.
fn segments(sizes: &[usize], dropped: &[Dropped]) -> Vec<Vec<usize>> {
    let mut segments = Vec::new();
    let (mut open, mut weights, mut drops) = (Vec::new(), 0, 0);
    for (tensor, (size, dropped)) in sizes.iter().zip(dropped).enumerate() {
        if *dropped == [0, 0] {
            continue;
        }
        open.push(tensor);
        weights += size;
        drops += (dropped[0] + dropped[1]) as usize;
        if weights >= SEGMENT_WEIGHTS && drops >= SEGMENT_DROPPED {
            segments.push(std::mem::take(&mut open));
            (weights, drops) = (0, 0);
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
