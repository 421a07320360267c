//! `embed`: one line a picture, batch by batch.

use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use super::input::{InputFile, save};
use super::{ModelArgs, masked, tiles};
use crate::base::Preprocessing;
use crate::cli::printer;
use crate::domain::View;
use crate::mask::cascade::Inference;
use crate::train::Embedder;
use crate::train::experts::embed::{Model, batch};
use crate::worker::error::WorkerCommandError;

/// Arguments of `embed`.
#[derive(Debug, Args)]
pub struct EmbedArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// A mask to lay over the base first
    #[arg(long)]
    mask: Option<PathBuf>,
    /// Which networks see a picture, where the mask is a cascade: conditional (the dispatcher and the
    /// picture's own expert) or unconditional (all)
    #[arg(long, value_name = "WHICH", default_value_t)]
    inference: Inference,
    /// The pictures
    #[arg(required_unless_present = "input")]
    images: Vec<PathBuf>,
    /// Also write the network's input to this file: safetensors, tensor `input` [n, 3, size, size],
    /// picture by picture the tiles of the view
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    save_input: Option<PathBuf>,
    /// Take the network's input from such a file instead of pictures
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    input: Option<PathBuf>,
}

/// One line a picture, as JSON: its path (its number, if it comes from `--input`) and its
/// embedding, the mean of its tiles'; of a cascade, the joint embedding.
pub fn embed(args: &EmbedArgs) -> Result<(), WorkerCommandError> {
    let weights = args.model.weights()?;
    let device = args.model.open()?;
    let (model, header) = match &args.mask {
        None => (Model::Single(Embedder::new(&weights, device)?), None),
        Some(path) => {
            let (artefact, model) = masked(path, &weights, args.inference, device)?;
            (model, Some(artefact.header))
        }
    };
    let sight = Sight {
        preprocessing: args.model.preprocessing(),
        view: match &args.input {
            Some(path) => args
                .model
                .view_at(header.as_ref(), InputFile::open(path)?.size())?,
            None => args.model.view(header.as_ref())?,
        },
    };
    let size = sight.seen().size;
    let tiles = sight.view.tiles.count();
    let (pictures, width) = (batch(tiles), model.width());

    if let Some(path) = &args.save_input {
        let batches = args.images.chunks(pictures);
        save(
            path,
            args.images.len() * tiles,
            size,
            batches.map(|batch| sight.normalised(batch)),
        )?;
    }
    if let Some(path) = args.input.as_ref().or(args.save_input.as_ref()) {
        let mut file = InputFile::open(path)?;
        file.must_be_groups_of(tiles)?;
        let mut row = 0;
        while let Some(batch) = file.next(pictures * tiles)? {
            let embeddings = model.embed(&batch, file.size(), tiles)?;
            for embedding in embeddings.chunks(width) {
                match args.images.get(row) {
                    Some(path) => print(&json!(path.to_string_lossy()), embedding),
                    None => print(&json!(row), embedding),
                }
                row += 1;
            }
        }
        return Ok(());
    }
    for batch in args.images.chunks(pictures) {
        let input = sight.normalised(batch)?;
        let embeddings = model.embed(&input, size, tiles)?;
        for (path, embedding) in batch.iter().zip(embeddings.chunks(width)) {
            print(&json!(path.to_string_lossy()), embedding);
        }
    }
    Ok(())
}

fn print(image: &serde_json::Value, embedding: &[f32]) {
    printer::line(&json!({ "image": image, "embedding": embedding }).to_string());
}

/// How files become network input.
struct Sight {
    preprocessing: Preprocessing,
    view: View,
}

impl Sight {
    fn seen(&self) -> Preprocessing {
        self.preprocessing.seen(&self.view)
    }

    /// Network input `[pictures * tiles, 3, size, size]` of pictures.
    fn normalised(&self, paths: &[PathBuf]) -> Result<Vec<f32>, WorkerCommandError> {
        let seen = self.seen();
        let one = |path: &PathBuf| -> Result<Vec<f32>, WorkerCommandError> {
            let tiles = tiles(path, &self.preprocessing, &self.view)?;
            Ok(tiles.iter().flat_map(|tile| seen.normalise(tile)).collect())
        };
        let inputs: Vec<Vec<f32>> = paths.par_iter().map(one).collect::<Result<_, _>>()?;
        Ok(inputs.concat())
    }
}
