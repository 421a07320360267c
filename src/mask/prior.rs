//! The population prior: what the masks of many sites over one base have in common.
//!
//! For each masked tensor, by how much its rows and its columns drop more or
//! fewer weights than others, learned from the masks of sites that consent. A
//! server publishes it once per base; a mask that was coded with it names it
//! by its digest. It is small: two bytes a row and a column.

use std::collections::BTreeMap;

use super::coder::Leaning;
use super::{Limits, Mask, MaskError};
use crate::base::{Architecture, Weights, architecture};
use crate::domain::Digest;

/// The first bytes of a prior's file.
const MAGIC: [u8; 8] = *b"\x89KGP\r\n\x1a\n";
const VERSION: u16 = 1;
/// A row or column is believed to differ from the others as if it had been seen with so many drops as usual.
const CAUTION: f64 = 2.0;
/// The largest leaning, four nats, in 256ths.
const LEANING_MAX: f64 = 1_024.0;

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// The digest of the base.
    pub base: Digest,
    /// The base's architecture.
    pub architecture: &'static Architecture,
    /// How many masks it was learned from.
    pub masks: u32,
    /// Leanings of rows and of columns, in 256ths of a nat, by canonical index.
    tensors: BTreeMap<usize, (Vec<i16>, Vec<i16>)>,
}

/// The masks that a prior is learned from, of which only sums are kept.
pub struct Population<'a> {
    base: &'a Weights,
    masks: u32,
    /// How many weights each row and each column drops in all masks together, by canonical index.
    drops: BTreeMap<usize, (Vec<u32>, Vec<u32>)>,
}

impl<'a> Population<'a> {
    /// No mask yet.
    pub fn new(base: &'a Weights) -> Self {
        Self {
            base,
            masks: 0,
            drops: BTreeMap::new(),
        }
    }

    /// Adds a mask over the base.
    pub fn add(&mut self, mask: &Mask) {
        self.masks += 1;
        for (index, bits) in &mask.tensors {
            let spec = &self.base.architecture.tensors[*index];
            let (rows, columns) = (spec.rows(), spec.len() / spec.rows());
            let (by_row, by_column) =
                (self.drops.entry(*index)).or_insert_with(|| (vec![0; rows], vec![0; columns]));
            for at in bits.zeros() {
                by_row[at / columns] += 1;
                by_column[at % columns] += 1;
            }
        }
    }

    /// What they have in common.
    pub fn prior(&self) -> Prior {
        let mut tensors = BTreeMap::new();
        for (index, (by_row, by_column)) in &self.drops {
            let total: u32 = by_row.iter().sum();
            if total > 0 {
                tensors.insert(*index, (leanings(by_row, total), leanings(by_column, total)));
            }
        }
        Prior {
            base: self.base.digest(),
            architecture: self.base.architecture,
            masks: self.masks,
            tensors,
        }
    }
}

impl Prior {
    /// Learns from masks over `base`, in which every site counts once.
    pub fn learn(base: &Weights, masks: &[&Mask]) -> Self {
        let mut population = Population::new(base);
        masks.iter().for_each(|mask| population.add(mask));
        population.prior()
    }

    /// The file: magic, version, base, number of masks, architecture; then for each tensor its index, rows,
    /// columns; the SHA-256 of everything before. Behind zstd, but for the magic.
    pub fn encode(&self) -> Result<Vec<u8>, MaskError> {
        let mut content = VERSION.to_le_bytes().to_vec();
        content.extend(self.base.as_bytes());
        content.extend(self.masks.to_le_bytes());
        content.extend((self.architecture.name.len() as u16).to_le_bytes());
        content.extend(self.architecture.name.as_bytes());
        for (index, (rows, columns)) in &self.tensors {
            content.extend((*index as u32).to_le_bytes());
            for leaning in rows.iter().chain(columns) {
                content.extend(leaning.to_le_bytes());
            }
        }
        content.extend(Digest::of(&content).as_bytes());
        let packed = zstd::bulk::compress(&content, 19)
            .map_err(|_| MaskError::Mismatch("the prior could not be compressed"))?;
        Ok([MAGIC.as_slice(), &packed].concat())
    }

    /// Reads a file.
    pub fn decode(file: &[u8], mut limits: Limits) -> Result<Self, MaskError> {
        let damaged = MaskError::Corrupt("it is no whole prior");
        let packed = file.strip_prefix(MAGIC.as_slice()).ok_or(MaskError::NotAPrior)?;
        let longest = zstd::zstd_safe::get_frame_content_size(packed)
            .ok()
            .flatten()
            .ok_or(damaged.clone())?;
        let longest = usize::try_from(longest).map_err(|_| damaged.clone())?;
        limits.reserve(longest)?;
        let content = zstd::bulk::decompress(packed, longest).map_err(|_| damaged.clone())?;
        let (content, checksum) = content
            .split_at_checked(content.len().saturating_sub(32))
            .ok_or(damaged.clone())?;
        if checksum != Digest::of(content).as_bytes() {
            return Err(damaged);
        }
        Self::read(content).ok_or(damaged)
    }

    fn read(content: &[u8]) -> Option<Self> {
        let (version, rest) = content.split_first_chunk::<2>()?;
        let (base, rest) = rest.split_first_chunk::<32>()?;
        let (masks, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (name, mut rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let architecture = architecture(std::str::from_utf8(name).ok()?)?;
        let mut tensors = BTreeMap::new();
        while !rest.is_empty() {
            let (index, after) = rest.split_first_chunk::<4>()?;
            let index = u32::from_le_bytes(*index) as usize;
            let spec = architecture.tensors.get(index)?;
            let columns = spec.len() / spec.rows();
            let (own, after) = after.split_at_checked(2 * (spec.rows() + columns))?;
            let mut leanings = own
                .chunks_exact(2)
                .map(|raw| i16::from_le_bytes([raw[0], raw[1]]));
            let rows = leanings.by_ref().take(spec.rows()).collect();
            tensors.insert(index, (rows, leanings.collect()));
            rest = after;
        }
        (u16::from_le_bytes(*version) == VERSION).then_some(Self {
            base: Digest::from_bytes(*base),
            architecture,
            masks: u32::from_le_bytes(*masks),
            tensors,
        })
    }

    /// What a header names it by: the SHA-256 of its content.
    pub fn digest(&self) -> Digest {
        let mut content = self.base.as_bytes().to_vec();
        for (index, (rows, columns)) in &self.tensors {
            content.extend((*index as u32).to_le_bytes());
            content.extend(
                rows.iter()
                    .chain(columns)
                    .flat_map(|leaning| leaning.to_le_bytes()),
            );
        }
        Digest::of(&content)
    }

    pub(super) fn leaning(&self, index: usize) -> Option<Leaning<'_>> {
        let (rows, columns) = self.tensors.get(&index)?;
        Some(Leaning { rows, columns })
    }
}

/// ln of how much more each drops than the average, held back by [`CAUTION`].
fn leanings(drops: &[u32], total: u32) -> Vec<i16> {
    let usual = f64::from(total) / drops.len() as f64;
    let leaning = |drops: &u32| ((f64::from(*drops) + CAUTION) / (usual + CAUTION)).ln() * 256.0;
    drops
        .iter()
        .map(|drops| leaning(drops).clamp(-LEANING_MAX, LEANING_MAX).round() as i16)
        .collect()
}
