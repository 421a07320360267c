//! `katagami artefact diff|stats|merge`: masks as sets of dropped weights.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{ArtefactCommandError, of, opened, printer, write};
use crate::domain::Digest;
use crate::mask::algebra::{self, Agreement};
use crate::mask::{self, Figures, Header};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// One artefact
    first: PathBuf,
    /// The other
    second: PathBuf,
    /// The base of both (safetensors)
    #[arg(long)]
    base: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArgs {
    /// The artefacts
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The base of all (safetensors)
    #[arg(long)]
    base: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which drops a merged mask has.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rule {
    /// Those of any mask
    Union,
    /// Those of all masks
    Intersection,
    /// Those of more than half of the masks
    Majority,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The artefacts
    #[arg(required = true, num_args = 2..)]
    files: Vec<PathBuf>,
    /// The base of all (safetensors)
    #[arg(long)]
    base: PathBuf,
    /// Which weights the new mask drops
    #[arg(long, value_enum, default_value = "majority")]
    rule: Rule,
    /// Where the new artefact goes; it has no report and no job, and no gate has judged it
    #[arg(long)]
    out: PathBuf,
}

/// Runs `diff`.
pub(super) fn diff(args: &DiffArgs) -> Result<(), ArtefactCommandError> {
    let (base, read) = opened(&[args.first.clone(), args.second.clone()], &args.base)?;
    let by_tensor = algebra::agreement(&read[0].1, &read[1].1);
    let total = algebra::total(by_tensor.values().copied());
    let name = |index: &usize| base.architecture.tensors[*index].name.clone();
    if args.json {
        let tensors = by_tensor.iter().map(|(index, agreement)| {
            let mut line = figures(agreement);
            line["tensor"] = json!(name(index));
            line
        });
        printer::json(&json!({ "total": figures(&total), "tensors": tensors.collect::<Vec<_>>() }));
        return Ok(());
    }
    printer::line(&format!("all: {}", sentence(&total)));
    let rows: Vec<_> = by_tensor
        .iter()
        .filter(|(_, agreement)| agreement.first + agreement.second > 0)
        .map(|(index, agreement)| {
            [
                name(index),
                agreement.first.to_string(),
                agreement.second.to_string(),
                agreement.both.to_string(),
                format!("{:.3}", agreement.jaccard()),
                times(agreement),
            ]
        })
        .collect();
    if !rows.is_empty() {
        printer::line("");
        printer::table(
            ["TENSOR", "FIRST", "SECOND", "BOTH", "JACCARD", "× CHANCE"],
            &rows,
        );
    }
    Ok(())
}

/// Runs `stats`.
pub(super) fn stats(args: &StatsArgs) -> Result<(), ArtefactCommandError> {
    let (base, read) = opened(&args.files, &args.base)?;
    let names = args.files.iter().map(|path| path.display().to_string());
    let masks: Vec<_> = names.zip(read.iter().map(|(_, mask)| mask)).collect();
    let mut pairs = Vec::new();
    for (at, (first_name, first)) in masks.iter().enumerate() {
        for (second_name, second) in &masks[at + 1..] {
            let agreement = algebra::total(algebra::agreement(first, second).into_values());
            pairs.push((first_name, second_name, agreement));
        }
    }
    if args.json {
        let pairs = pairs.iter().map(|(first, second, agreement)| {
            let mut line = figures(agreement);
            line["masks"] = json!([first, second]);
            line
        });
        let masks = masks.iter().map(|(name, mask)| {
            let outputs = algebra::whole_outputs(mask, base.architecture);
            json!({
                "mask": name, "weights": mask.weights(), "dropped": mask.dropped(), "density": mask.density(),
                "whole_outputs": outputs,
            })
        });
        let (masks, pairs) = (masks.collect::<Vec<_>>(), pairs.collect::<Vec<_>>());
        printer::json(&json!({ "masks": masks, "pairs": pairs }));
        return Ok(());
    }
    for (name, mask) in &masks {
        let outputs = algebra::whole_outputs(mask, base.architecture);
        printer::line(&format!(
            "{name}: {} of {} weights dropped, {outputs} whole outputs (only these could make an inference quicker)",
            mask.dropped(),
            mask.weights()
        ));
    }
    for (first, second, agreement) in pairs {
        printer::line(&format!("{first} and {second}: {}", sentence(&agreement)));
    }
    Ok(())
}

/// Runs `merge`.
pub(super) fn merge(args: &MergeArgs) -> Result<(), ArtefactCommandError> {
    let (base, read) = opened(&args.files, &args.base)?;
    let (artefacts, masks): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    for (artefact, file) in artefacts.iter().zip(&args.files).skip(1) {
        let view = &artefacts[0].header.view;
        artefact.header.check_view(view).map_err(of(file))?;
    }
    let votes = match args.rule {
        Rule::Union => 1,
        Rule::Intersection => masks.len(),
        Rule::Majority => masks.len() / 2 + 1,
    };
    let merged = algebra::merge(&masks.iter().collect::<Vec<_>>(), votes);
    let weights = mask::apply(&merged, base.clone())
        .map_err(of(&args.out))?
        .digest();
    // What it comes from, instead of one training's images and recipe.
    let sources = |of: fn(&Header) -> Digest| {
        let digests = artefacts
            .iter()
            .flat_map(|artefact| *of(&artefact.header).as_bytes());
        Digest::of(&digests.collect::<Vec<_>>())
    };
    let header = Header {
        snapshot: sources(|header| header.snapshot),
        recipe: sources(|header| header.recipe),
        job: None,
        weights,
        report: None,
        figures: Figures::default(),
        parent: None,
        prior: None,
        ..artefacts[0].header.clone()
    };
    let bytes = mask::encode(&header, &merged, &base).map_err(of(&args.out))?;
    write(&args.out, &bytes)?;
    printer::line(&format!(
        "{}: {} bytes, drops {} of {} weights; judge it before it goes anywhere",
        args.out.display(),
        bytes.len(),
        merged.dropped(),
        merged.weights()
    ));
    Ok(())
}

fn figures(agreement: &Agreement) -> serde_json::Value {
    json!({
        "weights": agreement.weights,
        "first": agreement.first,
        "second": agreement.second,
        "both": agreement.both,
        "jaccard": agreement.jaccard(),
        "expected_by_chance": agreement.expected(),
        "times_chance": agreement.against_chance(),
    })
}

fn sentence(agreement: &Agreement) -> String {
    format!(
        "{} and {} of {} weights dropped, {} by both (Jaccard {:.3}; {} chance)",
        agreement.first,
        agreement.second,
        agreement.weights,
        agreement.both,
        agreement.jaccard(),
        times(agreement)
    )
}

fn times(agreement: &Agreement) -> String {
    agreement
        .against_chance()
        .map_or_else(|| "–".to_owned(), |times| format!("{times:.1} ×"))
}
