//! `embed`: one line a picture, batch by batch.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use super::ModelArgs;
use super::input::{InputFile, save};
use crate::base::Preprocessing;
use crate::base::preprocessing::DecodeLimits;
use crate::cli::printer;
use crate::mask::{Limits, apply_artefact, decode};
use crate::train::Embedder;
use crate::worker::error::{WorkerCommandError, at};

/// Arguments of `embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A mask to lay over the base first
    #[arg(long)]
    mask: Option<PathBuf>,
    /// The pictures
    #[arg(required_unless_present = "input")]
    images: Vec<PathBuf>,
    /// Also write the network's input to this file: safetensors, tensor `input` [n, 3, size, size]
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    save_input: Option<PathBuf>,
    /// Take the network's input from such a file instead of pictures
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    input: Option<PathBuf>,
}

/// One line a picture, as JSON: its path (its number, if it comes from `--input`) and its embedding.
pub fn embed(args: &EmbedArgs) -> Result<(), WorkerCommandError> {
    let mut weights = args.model.weights()?;
    if let Some(path) = &args.mask {
        let artefact = decode(&fs::read(path).map_err(at(path))?, Limits::default())?;
        weights = apply_artefact(&artefact, weights)?;
    }
    let preprocessing = args.model.preprocessing();
    let embedder = Embedder::new(&weights, args.model.open()?)?;
    let dim = weights.architecture.embedding_dim;

    if let Some(path) = &args.save_input {
        let batches = args.images.chunks(Embedder::BATCH);
        save(
            path,
            args.images.len(),
            preprocessing.size,
            batches.map(|batch| normalised(batch, &preprocessing)),
        )?;
    }
    if let Some(path) = args.input.as_ref().or(args.save_input.as_ref()) {
        let mut file = InputFile::open(path)?;
        let mut row = 0;
        while let Some(batch) = file.next(Embedder::BATCH)? {
            for embedding in embedder.embed(&batch, file.size())?.chunks(dim) {
                match args.images.get(row) {
                    Some(path) => print(&json!(path), embedding),
                    None => print(&json!(row), embedding),
                }
                row += 1;
            }
        }
        return Ok(());
    }
    for batch in args.images.chunks(Embedder::BATCH) {
        let input = normalised(batch, &preprocessing)?;
        let embeddings = embedder.embed(&input, preprocessing.size)?;
        for (path, embedding) in batch.iter().zip(embeddings.chunks(dim)) {
            print(&json!(path), embedding);
        }
    }
    Ok(())
}

fn print(image: &serde_json::Value, embedding: &[f32]) {
    printer::line(&json!({ "image": image, "embedding": embedding }).to_string());
}

/// Network input `[batch, 3, size, size]` of pictures.
fn normalised(paths: &[PathBuf], preprocessing: &Preprocessing) -> Result<Vec<f32>, WorkerCommandError> {
    let one = |path: &PathBuf| normalised_one(path, preprocessing);
    let inputs: Vec<Vec<f32>> = paths.par_iter().map(one).collect::<Result<_, _>>()?;
    Ok(inputs.concat())
}

fn normalised_one(path: &Path, preprocessing: &Preprocessing) -> Result<Vec<f32>, WorkerCommandError> {
    let bytes = fs::read(path).map_err(at(path))?;
    let picture = preprocessing
        .picture(&bytes, &DecodeLimits::default())
        .map_err(|source| WorkerCommandError::Picture {
            path: path.to_owned(),
            source,
        })?;
    Ok(preprocessing.normalise(&picture))
}
