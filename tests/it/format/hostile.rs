//! No bytes make the reader panic, hang or take more memory than it may.

use std::sync::LazyLock;

use katagami::base::{Architecture, Role, Weights};
use katagami::domain::Digest;
use katagami::mask::{Limits, Mask, MaskError, decode, decode_with, encode_with};

use super::vectors::{self, Needs, Vector};

/// `whole` with one bit flipped and a checksum that is right again.
pub fn resealed(whole: &[u8], bit: usize) -> Vec<u8> {
    let mut file = whole[..whole.len() - 32].to_vec();
    file[bit / 8] ^= 1 << (bit % 8);
    file.extend(Digest::of(&file).as_bytes());
    file
}

/// The base of the vectors with nothing in the tensors that no vector touches, so that its digest, which every
/// reading takes, costs little.
static SMALL: LazyLock<Weights> = LazyLock::new(|| {
    let whole = vectors::base();
    let touched = |index: usize| {
        let name = &whole.architecture.tensors[index].name;
        name.starts_with("_conv_stem")
            || name.starts_with("_bn0")
            || name.starts_with("_blocks.0.")
            || (name.starts_with("_blocks.1.") && (name.contains("conv") || name.contains("_bn1")))
    };
    let mut architecture = whole.architecture.clone();
    let mut values = whole.values.clone();
    for (index, spec) in architecture.tensors.iter_mut().enumerate() {
        if !touched(index) {
            spec.shape = vec![0];
            values[index].clear();
        }
    }
    Weights {
        architecture: Box::leak(Box::new(architecture)),
        values,
    }
});

fn small(name: &str) -> Option<&'static Architecture> {
    (name == SMALL.architecture.name).then_some(SMALL.architecture)
}

/// The memory that a reader of `file` over `architecture` may take, by the specification.
fn bound(file: &[u8], architecture: &Architecture) -> usize {
    bound_of(file, architecture, 0)
}

/// As [`bound`], of a cascade with so many experts, which are held twice: as they are and taken apart.
fn bound_of(file: &[u8], architecture: &Architecture, experts: usize) -> usize {
    let bits = architecture.parameters().div_ceil(8) + architecture.tensors.len();
    let statistics = |role| matches!(role, Role::NormMean | Role::NormVariance);
    let norms: usize = (architecture.tensors.iter())
        .filter(|spec| statistics(spec.role))
        .map(|spec| 4 * spec.len())
        .sum();
    let files = if experts > 0 { 3 } else { 1 };
    files * file.len() + (1 + experts) * (bits + norms)
}

/// A vector over the small base.
struct Case {
    name: String,
    bytes: Vec<u8>,
    needs: Needs,
}

fn cases() -> Vec<Case> {
    let whole = vectors::base();
    vectors::index()
        .vectors
        .iter()
        .filter_map(|vector| case(vector, &whole))
        .collect()
}

/// None for vectors over large tensors: decoding them thousands of times takes hours. None for cascades, which
/// `src/mask/cascade/tests.rs` damages.
fn case(vector: &Vector, whole: &Weights) -> Option<Case> {
    let of_small = |mask: &Mask| {
        mask.tensors
            .iter()
            .all(|(index, bits)| SMALL.values[*index].len() == bits.len())
    };
    let needs = vector.needs(whole);
    let artefact = decode(&vector.bytes(), Limits::default()).unwrap();
    let mask = artefact.mask_with(whole, &needs.coding(vector.level())).unwrap();
    if !of_small(&mask) || artefact.experts.is_some() {
        return None;
    }
    let mut header = artefact.header.clone();
    header.base = SMALL.digest();
    let bytes = encode_with(&header, &mask, &SMALL, &needs.coding(vector.level())).unwrap();
    assert_eq!(
        bytes.len(),
        vector.bytes().len(),
        "the bits say the same over the small base"
    );
    Some(Case {
        name: vector.file.clone(),
        bytes,
        needs,
    })
}

/// Lets both the parser and the decoder read `file`.
fn read(case: &Case, file: &[u8]) -> Result<Mask, MaskError> {
    let limits = Limits::new(bound(file, SMALL.architecture));
    let artefact = decode_with(file, limits, small)?;
    artefact.mask_with(&SMALL, &case.needs.coding(katagami::mask::Level::Auto))
}

#[test]
fn every_truncation_of_every_vector_is_refused() {
    for vector in vectors::index().vectors {
        let bytes = vector.bytes();
        for length in 0..bytes.len() {
            let said = decode(&bytes[..length], Limits::default()).unwrap_err();
            assert_eq!(said, MaskError::Truncated, "{length} bytes of {}", vector.file);
        }
    }
}

#[test]
fn every_flipped_bit_of_every_vector_is_refused() {
    for vector in vectors::index().vectors {
        let mut bytes = vector.bytes();
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                decode(&bytes, Limits::default()).is_err(),
                "bit {bit} of {}",
                vector.file
            );
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

/// A hostile writer can make a right checksum. What then comes out is a mask or an error, within the bound.
#[test]
fn every_flip_behind_a_right_checksum_gives_a_mask_or_an_error() {
    for case in cases() {
        let content = case.bytes.len() - 32;
        assert!(read(&case, &case.bytes).is_ok(), "{}", case.name);
        let bits: Vec<_> = (0..content * 8).collect();
        let other = std::thread::scope(|scope| {
            let halves = bits.chunks(bits.len().div_ceil(2));
            let threads: Vec<_> = halves
                .map(|bits| {
                    let case = &case;
                    scope.spawn(move || {
                        let flips = bits.iter().map(|bit| read(case, &resealed(&case.bytes, *bit)));
                        flips
                            .filter(|said| !matches!(said, Err(MaskError::LimitExceeded { .. })))
                            .count()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .sum::<usize>()
        });
        assert_eq!(
            other,
            bits.len(),
            "a flip of {} asks for more memory than is right",
            case.name
        );
    }
}

/// As above for cascades and the vectors over large tensors: the parser sees every flip, the decoder a few.
#[test]
fn flips_of_large_vectors_behind_a_right_checksum_give_a_mask_or_an_error() {
    let whole = vectors::base();
    for vector in vectors::index().vectors {
        if case(&vector, &whole).is_some() {
            continue;
        }
        let (bytes, needs) = (vector.bytes(), vector.needs(&whole));
        let bits = (bytes.len() - 32) * 8;
        let experts = vector.holds.experts.as_ref().map_or(0, Vec::len);
        for bit in 0..bits {
            let file = resealed(&bytes, bit);
            let said = decode(&file, Limits::new(bound_of(&file, whole.architecture, experts)));
            assert!(
                !matches!(said, Err(MaskError::LimitExceeded { .. })),
                "bit {bit} of {}",
                vector.file
            );
            if let (Ok(artefact), true) = (said, bit % (bits / 30) == 0) {
                let _ = artefact.mask_with(&whole, &needs.coding(vector.level()));
            }
        }
    }
}

/// Cut content, too, behind lengths and a checksum that agree.
#[test]
fn every_part_cut_short_behind_a_right_checksum_gives_a_mask_or_an_error() {
    for case in cases() {
        let length = |part: usize| {
            let at = 10 + 4 * part;
            u32::from_le_bytes(case.bytes[at..at + 4].try_into().unwrap()) as usize
        };
        let mut begin = 22;
        for part in 0..3 {
            for kept in 0..length(part) {
                let mut file = case.bytes[..begin + kept].to_vec();
                file[10 + 4 * part..14 + 4 * part].copy_from_slice(&(kept as u32).to_le_bytes());
                file.extend(&case.bytes[begin + length(part)..case.bytes.len() - 32]);
                file.extend(Digest::of(&file).as_bytes());
                let said = read(&case, &file);
                assert!(!matches!(
                    said,
                    Err(MaskError::LimitExceeded { .. } | MaskError::Truncated)
                ));
            }
            begin += length(part);
        }
    }
}
