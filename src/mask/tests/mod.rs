//! The contract of the artefact: what is written is read, what is damaged is
//! refused, and nothing that a file says is believed before it was checked.

mod roundtrip;

use proptest::prelude::*;

use super::*;
use crate::base::{Role, Weights, architecture};
use crate::domain::{Digest, MaskVersion, Timestamp, View};

fn architecture_under_test() -> &'static Architecture {
    architecture("efficientnet_lite0").unwrap()
}

/// A base of small, varied, seedless numbers.
fn base() -> Weights {
    let architecture = architecture_under_test();
    let value = |tensor: usize, element: usize| ((tensor * 31 + element * 17) % 1009) as f32 * 0.01 - 5.0;
    let values = architecture.tensors.iter().enumerate();
    let values = values
        .map(|(t, spec)| (0..spec.len()).map(|e| value(t, e)).collect())
        .collect();
    Weights { architecture, values }
}

/// Drops `dropped` weights of the second convolution and on, spread evenly.
fn mask_with(dropped: usize) -> Mask {
    let architecture = architecture_under_test();
    let masked: Vec<usize> = (0..architecture.tensors.len())
        .filter(|index| matches!(architecture.tensors[*index].role, Role::Convolution { groups: 1 }))
        .skip(8)
        .collect();
    let mut mask = Mask::keeping_all(architecture, masked.clone());
    let weights = mask.weights();
    for n in 0..dropped {
        let mut at = n * (weights / dropped.max(1)) + (n * 7919) % 1000;
        for index in &masked {
            let bits = mask.tensors.get_mut(index).unwrap();
            if at < bits.len() {
                bits.set(at, false);
                break;
            }
            at -= bits.len();
        }
    }
    mask
}

/// A header of `mask` over `base`, of a training that never was.
pub(super) fn header_of(mask: &Mask, base: &Weights) -> Header {
    Header {
        base: base.digest(),
        preprocessing: Digest::of(b"preprocessing"),
        view: View::default(),
        site: "osaka".parse().unwrap(),
        version: MaskVersion(3),
        snapshot: Digest::of(b"snapshot"),
        recipe: Digest::of(b"recipe"),
        job: None,
        profile: ExecutionProfile {
            libtorch: "2.13.0".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            instructions: "avx2".to_owned(),
        },
        weights: apply(mask, base.clone()).unwrap().digest(),
        report: Some(Digest::of(b"report")),
        figures: Figures {
            kpi_base: 0.8,
            kpi_mask: 0.82,
            kpi_lower: 0.01,
            kpi_upper: 0.03,
            effective_rank: 473.0,
        },
        parent: None,
        prior: None,
        software: "0.1.0".to_owned(),
        created_at: Timestamp::from_micros(1_700_000_000_000_000),
    }
}

fn artefact(dropped: usize) -> (Weights, Mask, Header, Vec<u8>) {
    let (base, mask) = (base(), mask_with(dropped));
    let header = header_of(&mask, &base);
    let bytes = encode(&header, &mask, &base).unwrap();
    (base, mask, header, bytes)
}

#[test]
fn what_is_written_is_read() {
    for dropped in [0, 1, 94, 1_000, 200_000] {
        let (base, mask, header, bytes) = artefact(dropped);
        let read = decode(&bytes, Limits::default()).unwrap();
        assert_eq!((&read.header, &read.mask(&base).unwrap()), (&header, &mask));
        assert_eq!((read.sizes.total(), read.flips()), (bytes.len(), dropped));
    }
}

#[test]
fn moved_statistics_travel_with_the_mask() {
    let (base, mut mask) = (base(), mask_with(10));
    let moved = base
        .architecture
        .tensors
        .iter()
        .position(|spec| spec.role == Role::NormMean)
        .unwrap();
    mask.norms
        .insert(moved, base.values[moved].iter().map(|mean| mean + 0.5).collect());
    assert!(matches!(
        encode(&header_of(&mask, &base), &mask, &base),
        Err(MaskError::Mismatch(_))
    ));
    mask.settle(&base);
    let bytes = encode(&header_of(&mask, &base), &mask, &base).unwrap();
    let read = decode(&bytes, Limits::default()).unwrap();
    let settled = mask.norms[&moved].clone();
    assert_eq!(apply_artefact(&read, base).unwrap().values[moved], settled);
}

#[test]
fn a_mask_with_few_zeros_is_small() {
    let (_, _, _, bytes) = artefact(94);
    assert!(bytes.len() <= 700, "{} bytes", bytes.len());
    let (_, _, _, bytes) = artefact(1_000);
    assert!(
        bytes.len() <= 2_700,
        "{} bytes of evenly spread drops, the worst case",
        bytes.len()
    );
}

#[test]
fn applying_gives_the_weights_that_the_header_names() {
    let (base, _, header, bytes) = artefact(94);
    let read = decode(&bytes, Limits::default()).unwrap();
    assert_eq!(apply_artefact(&read, base).unwrap().digest(), header.weights);
}

#[test]
fn another_base_is_refused_with_both_digests() {
    let (mut base, _, header, bytes) = artefact(94);
    let read = decode(&bytes, Limits::default()).unwrap();
    base.values[0][0] = f32::from_bits(base.values[0][0].to_bits() ^ 1);
    let given = base.digest();
    let said = apply_artefact(&read, base).unwrap_err();
    assert_eq!(
        said,
        MaskError::WrongBase {
            expected: header.base,
            given
        }
    );
    assert!(
        said.to_string().contains(&given.to_string()) && said.to_string().contains(&header.base.to_string())
    );
}

#[test]
fn other_bits_than_the_judged_ones_are_refused() {
    let (base, mut mask, header, _) = artefact(94);
    let bits = mask.tensors.values_mut().next().unwrap();
    bits.set(0, !bits.get(0));
    let bytes = encode(&header, &mask, &base).unwrap();
    let read = decode(&bytes, Limits::default()).unwrap();
    assert!(matches!(
        apply_artefact(&read, base),
        Err(MaskError::WrongWeights { .. })
    ));
}

#[test]
fn every_truncation_is_an_error() {
    let (_, _, _, bytes) = artefact(94);
    for length in 0..bytes.len() {
        let said = decode(&bytes[..length], Limits::default()).unwrap_err();
        assert_eq!(said, MaskError::Truncated, "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn every_single_flipped_bit_is_an_error() {
    let (_, _, _, mut bytes) = artefact(94);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&bytes, Limits::default()).is_err(), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a_budget_is_kept() {
    let (_, _, _, bytes) = artefact(94);
    assert!(matches!(
        decode(&bytes, Limits::new(1_000)),
        Err(MaskError::LimitExceeded { .. })
    ));
}

#[test]
fn a_mask_that_drops_a_whole_tensor_is_refused() {
    let (base, mut mask, header, _) = artefact(1);
    let bits = mask.tensors.values_mut().next().unwrap();
    *bits = Bits::from_bools((0..bits.len()).map(|_| false));
    assert!(matches!(
        apply(&mask, base.clone()),
        Err(MaskError::NothingKept(_))
    ));
    // Nor does the writer make a file that no reader would take.
    assert!(matches!(
        encode(&header, &mask, &base),
        Err(MaskError::NothingKept(_))
    ));
}

#[test]
fn an_artefact_of_version_1_stays_readable() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/v1.kgm");
    let (base, mask, header, _) = artefact(94);
    let read = decode(&std::fs::read(path).unwrap(), Limits::default()).unwrap();
    assert_eq!((&read.header, read.mask(&base).unwrap()), (&header, mask));
    assert_eq!(read.version, 1);
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes, Limits::default()).is_err());
    }

    /// Behind a right checksum, too: a hostile writer can make one.
    #[test]
    fn no_content_behind_a_right_checksum_makes_the_decoder_panic(
        at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let (base, _, _, mut bytes) = artefact(3);
        let content = bytes.len() - 32;
        bytes.truncate(content);
        let at = at.index(content);
        bytes[at] = to;
        let checksum = Digest::of(&bytes);
        bytes.extend(checksum.as_bytes());
        if let Ok(artefact) = decode(&bytes, Limits::default()) {
            let _ = artefact.mask(&base);
        }
    }

    #[test]
    fn flips_are_counted_both_ways(a in 0_usize..50, b in 0_usize..50) {
        let (a, b) = (mask_with(a), mask_with(b));
        prop_assert_eq!(a.flips_against(&b), b.flips_against(&a));
        prop_assert_eq!(a.flips_against(&Mask::default()), a.dropped());
    }
}
