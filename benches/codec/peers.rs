//! What others make of a mask. Compressors write real bytes over the packed
//! bits, one bit a weight; of the other schemes the bits are counted that an
//! ideal writer needs, without containers, to their advantage.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::ZlibEncoder;
use katagami::mask::{Bits, Mask};
use liblzma::read::XzDecoder;
use liblzma::write::XzEncoder;
use roaring::RoaringBitmap;
use xorf::{BinaryFuse8, BinaryFuse16, Filter};

/// `xz -9e`.
const XZ_9E: u32 = 9 | 1 << 31;

/// The bytes that a scheme takes for a mask.
type Size = fn(&Mask) -> f64;

/// The schemes by name.
pub const PEERS: [(&str, Size); 9] = [
    ("packed", |mask| packed(mask).len() as f64),
    ("zlib-9", |mask| zlib(&packed(mask)).len() as f64),
    ("zstd-19", |mask| zstd(&packed(mask)).len() as f64),
    ("xz-9e", |mask| xz(&packed(mask)).len() as f64),
    ("layer-entropy", layer_entropy),
    ("layer-adaptive", layer_adaptive),
    ("golomb", golomb),
    ("roaring", roaring),
    ("binary-fuse", binary_fuse),
];

/// One bit a weight, tensor after tensor.
pub fn packed(mask: &Mask) -> Vec<u8> {
    mask.tensors.values().flat_map(Bits::as_bytes).copied().collect()
}

/// `xz -9e` over `bytes`.
pub fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut writer = XzEncoder::new(Vec::new(), XZ_9E);
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

/// `xz -d`.
pub fn unxz(bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    XzDecoder::new(bytes)
        .read_to_end(&mut content)
        .expect("xz wrote it");
    content
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut writer = ZlibEncoder::new(Vec::new(), Compression::best());
    writer.write_all(bytes).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 19).expect("memory takes all")
}

/// One probability a tensor, known beforehand: what run lengths, Golomb codes and filters can reach at most.
pub fn layer_entropy(mask: &Mask) -> f64 {
    let bits = |bits: &Bits| entropy(bits.len() as f64, bits.count_zeros() as f64);
    mask.tensors.values().map(bits).sum::<f64>() / 8.0
}

/// Adaptive binary arithmetic coding, one context a tensor (Krichevsky and Trofimov's estimate).
fn layer_adaptive(mask: &Mask) -> f64 {
    // The cost depends on how many there are of each alone, not on their order.
    let bits = |bits: &Bits| {
        let halves = |count: usize| (0..count).map(|seen| (seen as f64 + 0.5).log2()).sum::<f64>();
        let passed: f64 = (0..bits.len()).map(|passed| (passed as f64 + 1.0).log2()).sum();
        passed - halves(bits.count_zeros()) - halves(bits.count_ones())
    };
    mask.tensors.values().map(bits).sum::<f64>() / 8.0
}

/// The gaps between dropped weights in Golomb codes, fitted to each tensor.
fn golomb(mask: &Mask) -> f64 {
    let tensor = |bits: &Bits| {
        let count = (bits.len() as f64 + 1.0).log2().ceil();
        let share = bits.count_zeros() as f64 / bits.len() as f64;
        if share == 0.0 {
            return count;
        }
        let parameter = (std::f64::consts::LN_2 / -(-share).ln_1p()).round().max(1.0) as usize;
        let mut next = 0;
        let gaps = bits.zeros().map(|at| at - std::mem::replace(&mut next, at + 1));
        count + gaps.map(|gap| golomb_bits(gap, parameter)).sum::<f64>()
    };
    mask.tensors.values().map(tensor).sum::<f64>() / 8.0
}

fn golomb_bits(gap: usize, parameter: usize) -> f64 {
    let width = parameter.next_power_of_two().trailing_zeros() as usize;
    let short = (1 << width) - parameter;
    let rest = if gap % parameter < short {
        width.saturating_sub(1)
    } else {
        width
    };
    (gap / parameter + 1 + rest) as f64
}

/// Positions of the dropped weights in one roaring bitmap.
fn roaring(mask: &Mask) -> f64 {
    let mut bitmap: RoaringBitmap = positions(mask).map(|at| at as u32).collect();
    bitmap.optimize();
    bitmap.serialized_size() as f64
}

/// A binary-fuse filter over the dropped weights, as DeltaMask sends it, with 8 or 16 bits a fingerprint.
/// Made exact: which of the weights that it names are none costs their entropy.
fn binary_fuse(mask: &Mask) -> f64 {
    let dropped: Vec<u64> = positions(mask).map(|at| at as u64).collect();
    let named = |filter: &dyn Fn(&u64) -> bool| (0..mask.weights() as u64).filter(filter).count() as f64;
    let cost = |filter: usize, named: f64| filter as f64 + entropy(named, dropped.len() as f64) / 8.0;
    let narrow = BinaryFuse8::try_from(&dropped)
        .map(|filter| cost(filter.fingerprints.len(), named(&|at| filter.contains(at))));
    let wide = BinaryFuse16::try_from(&dropped)
        .map(|filter| cost(2 * filter.fingerprints.len(), named(&|at| filter.contains(at))));
    let [narrow, wide] = [narrow, wide].map(|cost| cost.unwrap_or(f64::INFINITY));
    narrow.min(wide)
}

fn positions(mask: &Mask) -> impl Iterator<Item = usize> + '_ {
    let mut before = 0;
    mask.tensors.values().flat_map(move |bits| {
        let start = before;
        before += bits.len();
        bits.zeros().map(move |at| start + at)
    })
}

/// The bits of `count` yes-or-no answers of which `yes` are yes.
fn entropy(count: f64, yes: f64) -> f64 {
    let part = |part: f64| {
        if part == 0.0 {
            0.0
        } else {
            part * (count / part).log2()
        }
    };
    part(yes) + part(count - yes)
}
