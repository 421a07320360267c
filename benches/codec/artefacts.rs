//! Whole files, and how much smaller they are than a copy of the base that was trained itself.

use std::collections::BTreeMap;

use katagami::base::Weights;
use katagami::mask::algebra::merge;
use katagami::mask::{Coding, Mask};

use super::input::{Input, Outcome, Trained, coded};
use super::peers;
use super::report::{figure, heading};
use super::synthetic::Random;

/// Whole files, with header, digests, checksum.
pub fn measure(input: &Input, seed: u64) -> Outcome<()> {
    heading("Whole artefacts, as written by default");
    for trained in input.first() {
        let (file, _) = coded(
            &trained.header(),
            &trained.mask,
            &trained.base,
            &Coding::default(),
        )?;
        figure(
            &format!("artefact_bytes/{}", trained.name),
            file.len() as f64,
            "bytes",
        );
    }
    for wanted in [94, 1_000] {
        // The mask that needs the least thinning.
        let from = sources(input)
            .into_iter()
            .filter(|(_, _, mask)| mask.dropped() >= wanted)
            .min_by_key(|(_, _, mask)| mask.dropped());
        let Some((name, over, mask)) = from else {
            continue;
        };
        println!(
            "{wanted} of the {} drops of {name}, chosen at random",
            mask.dropped()
        );
        let mask = thinned(&mask, wanted, seed);
        let (file, _) = coded(&over.header(), &mask, &over.base, &Coding::default())?;
        figure(
            &format!("artefact_bytes/{wanted}_drops"),
            file.len() as f64,
            "bytes",
        );
    }
    Ok(())
}

/// All masks, and what the sparse ones over one base drop together: more than any of them.
fn sources(input: &Input) -> Vec<(String, &Trained, Mask)> {
    let mut sources: Vec<_> = (input.trained.iter())
        .map(|trained| (trained.name.clone(), trained, trained.mask.clone()))
        .collect();
    let mut networks: BTreeMap<&str, Vec<&Trained>> = BTreeMap::new();
    for trained in input.trained.iter().filter(|trained| trained.recipe == "sparse") {
        networks.entry(&trained.network).or_default().push(trained);
    }
    for (network, masks) in networks {
        let name = format!("all {} sparse masks over {network} together", masks.len());
        let united: Vec<_> = masks.iter().map(|trained| &trained.mask).collect();
        sources.push((name, masks[0], merge(&united, 1)));
    }
    sources
}

/// `mask` with only `wanted` of its dropped weights.
fn thinned(mask: &Mask, wanted: usize, seed: u64) -> Mask {
    let mut dropped: Vec<_> = (mask.tensors.iter())
        .flat_map(|(index, bits)| bits.zeros().map(|at| (*index, at)))
        .collect();
    Random(seed).shuffle(&mut dropped);
    let mut mask = mask.clone();
    for (index, at) in dropped.into_iter().skip(wanted) {
        mask.tensors.entry(index).and_modify(|bits| bits.set(at, true));
    }
    mask
}

/// How many times smaller an artefact is than a fine-tuned copy of the same base.
pub fn against_finetuned(input: &Input) -> Outcome<()> {
    heading("Fine-tuned float32 weights behind xz -9e, divided by the whole artefact");
    for finetuned in &input.finetuned {
        let words = |weights: &Weights| -> Vec<u32> {
            weights
                .values
                .iter()
                .flatten()
                .map(|value| value.to_bits())
                .collect()
        };
        let bytes = |words: Vec<u32>| -> Vec<u8> { words.into_iter().flat_map(u32::to_le_bytes).collect() };
        let (base, weights) = (words(&finetuned.base), words(&finetuned.weights));
        // What BitX sends: the exclusive or with the base, which the receiver has.
        let against_base = base
            .iter()
            .zip(&weights)
            .map(|(base, weight)| base ^ weight)
            .collect();
        let full = peers::xz(&bytes(weights)).len() as f64;
        let difference = peers::xz(&bytes(against_base)).len() as f64;
        figure("peer/xz-9e/finetuned/bytes", full, "bytes");
        figure("peer/xz-9e/finetuned-xor-base/bytes", difference, "bytes");
        let masks = input
            .first()
            .filter(|mask| (&mask.network, &mask.site) == (&finetuned.network, &finetuned.site));
        for mask in masks {
            let (file, _) = coded(&mask.header(), &mask.mask, &mask.base, &Coding::default())?;
            let times = |bytes: f64| bytes / file.len() as f64;
            figure(
                &format!("times_smaller_than_finetuned/{}", mask.recipe),
                times(full),
                "times",
            );
            figure(
                &format!("times_smaller_than_finetuned_xor_base/{}", mask.recipe),
                times(difference),
                "times",
            );
        }
    }
    Ok(())
}
