//! `katagami artefact show`: a mask's file in words, for people who never read its format.

use std::fmt::Display;

use serde_json::json;

use super::printer;
use crate::mask::Artefact;
use crate::mask::cascade::{ExpertSizes, Experts};

/// Prints what `artefact` is bound to, what it drops and where its bytes go.
pub(super) fn show(artefact: &Artefact, as_json: bool) {
    if as_json {
        return printer::json(&described(artefact));
    }
    origin(artefact);
    content(artefact);
    tensors(artefact);
}

fn described(artefact: &Artefact) -> serde_json::Value {
    let is_delta = artefact.header.parent.is_some();
    json!({
        "architecture": artefact.architecture.name,
        "header": artefact.header,
        "format": artefact.version,
        "coding": artefact.coding(),
        "masked_tensors": artefact.flips_by_tensor().len(),
        "masked_weights": artefact.weights(),
        // What a delta drops, its parent decides.
        "dropped_weights": (!is_delta).then(|| artefact.flips()),
        "flipped_weights": artefact.flips(),
        "density": artefact.density(),
        "bytes": { "total": artefact.sizes.total(), "parts": artefact.sizes },
        "experts": artefact.experts.as_ref().map(in_json),
    })
}

fn say(what: &str, value: &impl Display) {
    printer::line(&format!("{what:<16}{value}"));
}

/// What it is bound to and where it comes from.
fn origin(artefact: &Artefact) {
    let header = &artefact.header;
    say(
        "mask",
        &format_args!(
            "version {} of site {}, made {}",
            header.version, header.site, header.created_at
        ),
    );
    say(
        "base",
        &format_args!(
            "{} ({}), the frozen model that it is laid over",
            header.base, artefact.architecture.name
        ),
    );
    say(
        "weights",
        &format_args!("{} once applied, which is checked", header.weights),
    );
    let preprocessing = header.preprocessing;
    say(
        "preprocessing",
        &format_args!("{preprocessing}, how pictures become input"),
    );
    if !header.view.is_default() {
        say(
            "view",
            &format_args!("{} ({})", header.view, header.view.digest()),
        );
    }
    say(
        "snapshot",
        &format_args!("{}, the images that it learned from", header.snapshot),
    );
    say("recipe", &format_args!("{}, how", header.recipe));
    if let Some(report) = header.report {
        say("report", &format_args!("{report}, the evidence"));
    }
    let profile = &header.profile;
    say(
        "trained on",
        &format_args!(
            "libtorch {}, {}, {} threads, {}",
            profile.libtorch, profile.device, profile.threads, profile.instructions
        ),
    );
    if let Some(parent) = header.parent {
        say(
            "delta to",
            &format_args!("{parent}, an artefact without which this one cannot be read"),
        );
    }
    if let Some(prior) = header.prior {
        say(
            "with prior",
            &format_args!("{prior}, without which it cannot be read"),
        );
    }
}

/// What it does, and where its bytes go.
fn content(artefact: &Artefact) {
    let (sizes, weights, flips) = (&artefact.sizes, artefact.weights(), artefact.flips());
    let among = format!(
        "of {weights} weights in {} tensors",
        artefact.flips_by_tensor().len()
    );
    match artefact.density() {
        Some(density) => say(
            "drops",
            &format_args!(
                "{flips} {among} ({:.4} % kept): set to 0, and the rest of a tensor is scaled up for it",
                100.0 * density
            ),
        ),
        None => say(
            "flips",
            &format_args!("{flips} {among}: dropped or kept again, unlike in its parent"),
        ),
    }
    say("bytes", &format_args!("{} in all", sizes.total()));
    let part = |what: &str, bytes: usize, why: &dyn Display| {
        printer::line(&format!("{:<16}{bytes:>9}  {what}: {why}", ""));
    };
    part("header", sizes.header, &"all of the above but what it drops");
    let plain = weights.div_ceil(8);
    let each = 8.0 * sizes.bits as f64 / flips as f64;
    if flips == 0 {
        part("bits", sizes.bits, &"that nothing differs");
    } else {
        part(
            "bits",
            sizes.bits,
            &format_args!(
                "which weights, {each:.1} bits for each of them; one bit a weight would be {plain} bytes"
            ),
        );
    }
    if sizes.norms > 0 {
        part(
            "BatchNorm",
            sizes.norms,
            &"running means and variances that training moved, as steps from the base's",
        );
    }
    part(
        "frame",
        sizes.frame,
        &"what kind of file it is, lengths, and the SHA-256 of it all",
    );
    say(
        "coded",
        &format_args!("format {}, {}", artefact.version, artefact.coding()),
    );
    if let (Some(experts), Some(sizes)) = (&artefact.experts, sizes.experts) {
        of_experts(experts, &sizes);
    }
}

/// The networks of a cascade beside its dispatcher, and their bytes.
fn of_experts(experts: &Experts, sizes: &ExpertSizes) {
    say(
        "experts",
        &format_args!(
            "{} in {} bytes: router {}, masks as deltas {}, joint embedding of {} numbers {}",
            experts.count(),
            sizes.total(),
            sizes.router,
            sizes.masks,
            experts.joint.width(),
            sizes.joint
        ),
    );
    for number in 1..=experts.count() {
        let weights = experts.weights(number).map(|weights| weights.to_string());
        say(
            &format!("expert {number}"),
            &format_args!("{} once applied", weights.unwrap_or_default()),
        );
    }
}

/// A line for each tensor in which anything is flipped.
fn tensors(artefact: &Artefact) {
    let is_delta = artefact.header.parent.is_some();
    let flipped = artefact.flips_by_tensor().into_iter();
    let rows: Vec<_> = flipped
        .filter(|(_, flips)| *flips > 0)
        .map(|(index, flips)| {
            let tensor = &artefact.architecture.tensors[index];
            let share = 100.0 * (1.0 - flips as f64 / tensor.len() as f64);
            [
                tensor.name.clone(),
                tensor.len().to_string(),
                flips.to_string(),
                format!("{share:.4} %"),
            ]
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let (what, rest) = if is_delta {
        ("FLIPPED", "AS IN PARENT")
    } else {
        ("DROPPED", "KEPT")
    };
    printer::line("");
    printer::table(["TENSOR", "WEIGHTS", what, rest], &rows);
}

fn in_json(experts: &Experts) -> serde_json::Value {
    json!({
        "count": experts.count(),
        "components": experts.router.projection.width(),
        "width": experts.joint.width(),
        "weights": (1..=experts.count()).map(|number| experts.weights(number)).collect::<Vec<_>>(),
    })
}
