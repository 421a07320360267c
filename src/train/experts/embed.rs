//! Embeddings of pictures by a single network or by a cascade.

use image::RgbImage;
use rayon::prelude::*;

use crate::base::{Preprocessing, Weights};
use crate::mask::cascade::{Inference, Joint, Router};
use crate::train::TrainError;
use crate::train::embed::{Embedder, of_pictures};

/// A network, or the networks of a cascade, ready to embed.
pub enum Model {
    /// One network.
    Single(Embedder),
    /// Several.
    Cascade(Cascade),
}

/// The networks of a cascade and what connects them.
pub struct Cascade {
    /// The dispatcher first.
    networks: Vec<Embedder>,
    router: Router,
    joint: Joint,
    inference: Inference,
}

/// What the networks of a cascade made of a picture.
struct Seen {
    /// Network (0: the dispatcher) and embedding.
    ran: Vec<(usize, Vec<f32>)>,
}

impl Cascade {
    /// Puts all networks, the dispatcher first, onto the device.
    pub fn new(
        networks: &[Weights],
        router: &Router,
        joint: &Joint,
        inference: Inference,
        device: tch::Device,
    ) -> Result<Self, TrainError> {
        let networks = networks.iter().map(|weights| Embedder::new(weights, device));
        Ok(Self {
            networks: networks.collect::<Result<_, _>>()?,
            router: router.clone(),
            joint: joint.clone(),
            inference,
        })
    }

    /// Embeddings `[pictures, dim]` of each picture by its own expert alone, as they come: neither centred nor reduced.
    fn embed_by_experts(
        &self,
        shown: &[RgbImage],
        tiles: usize,
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        in_batches(shown, tiles, preprocessing, |input, size| {
            let seen = self.seen(input, size, tiles, Inference::Conditional)?;
            Ok(seen
                .into_iter()
                .filter_map(|mut seen| seen.ran.pop())
                .flat_map(|(_, own)| own)
                .collect())
        })
    }

    /// Patches of each picture by its own expert; see [`Embedder::patches`].
    fn patches_by_experts(
        &self,
        shown: &[RgbImage],
        tiles: usize,
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        in_batches(shown, tiles, preprocessing, |input, size| {
            let (_, own) = self.dispatched(input, size, tiles)?;
            let pictures = input.chunks_exact(tiles * 3 * (size * size) as usize);
            let mut patches = Vec::new();
            for (expert, picture) in own.iter().zip(pictures) {
                patches.extend(self.networks[expert + 1].patches_of(picture, size)?);
            }
            Ok(patches)
        })
    }

    /// Embeddings `[pictures, dim]` through the dispatcher, and each picture's own expert.
    fn dispatched(
        &self,
        input: &[f32],
        size: u32,
        tiles: usize,
    ) -> Result<(Vec<f32>, Vec<usize>), TrainError> {
        let dispatched = self.embedded(0, input, size, tiles)?;
        let own = dispatched.chunks_exact(self.networks[0].dim());
        let own = own.map(|embedding| self.router.expert_of(embedding)).collect();
        Ok((dispatched, own))
    }

    /// Embeddings `[pictures, dim]` through one of the networks.
    fn embedded(
        &self,
        network: usize,
        input: &[f32],
        size: u32,
        tiles: usize,
    ) -> Result<Vec<f32>, TrainError> {
        let network = &self.networks[network];
        Ok(of_pictures(network.embed(input, size)?, tiles, network.dim()))
    }

    /// What the networks that `inference` asks for make of pictures; of a conditional one, the own expert comes last.
    fn seen(
        &self,
        input: &[f32],
        size: u32,
        tiles: usize,
        inference: Inference,
    ) -> Result<Vec<Seen>, TrainError> {
        let dim = self.networks[0].dim();
        let picture = tiles * 3 * (size * size) as usize;
        let (dispatched, own) = self.dispatched(input, size, tiles)?;
        let mut seen: Vec<Seen> = (dispatched.chunks_exact(dim))
            .map(|embedding| Seen {
                ran: vec![(0, embedding.to_vec())],
            })
            .collect();
        for expert in 0..self.router.groups.len() {
            let wanted = |at: &usize| inference == Inference::Unconditional || own[*at] == expert;
            let pictures: Vec<usize> = (0..own.len()).filter(wanted).collect();
            if pictures.is_empty() {
                continue;
            }
            let shown = pictures.iter().flat_map(|at| &input[at * picture..][..picture]);
            let shown: Vec<f32> = shown.copied().collect();
            let embeddings = self.embedded(expert + 1, &shown, size, tiles)?;
            for (at, embedding) in pictures.iter().zip(embeddings.chunks_exact(dim)) {
                seen[*at].ran.push((expert + 1, embedding.to_vec()));
            }
        }
        Ok(seen)
    }
}

impl Model {
    /// The length of its embeddings.
    pub fn width(&self) -> usize {
        match self {
            Self::Single(network) => network.dim(),
            Self::Cascade(cascade) => cascade.joint.width(),
        }
    }

    /// Embeddings `[pictures, width]` of one batch of pictures, each as its `tiles` tiles: normalised input
    /// `[pictures * tiles, 3, size, size]`.
    pub fn embed(&self, input: &[f32], size: u32, tiles: usize) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Single(network) => Ok(of_pictures(network.embed(input, size)?, tiles, network.dim())),
            Self::Cascade(cascade) => {
                let seen = cascade.seen(input, size, tiles, cascade.inference)?;
                let joined = |seen: &Seen| {
                    let ran = seen.ran.iter();
                    cascade
                        .joint
                        .of(ran.map(|(network, embedding)| (*network, embedding.as_slice())))
                };
                Ok(seen.iter().flat_map(joined).collect())
            }
        }
    }

    /// Embeddings `[pictures, width]` of pictures, each as its `tiles` tiles of the network's size.
    pub fn embed_pictures(
        &self,
        shown: &[RgbImage],
        tiles: usize,
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        in_batches(shown, tiles, preprocessing, |input, size| {
            self.embed(input, size, tiles)
        })
    }

    /// Embeddings `[pictures, dim]`, as long as the base's: what was reduced and whitened says nothing of
    /// how it fills a space, so a cascade's are those of each picture's own expert.
    pub fn embed_own(
        &self,
        shown: &[RgbImage],
        tiles: usize,
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Single(_) => self.embed_pictures(shown, tiles, preprocessing),
            Self::Cascade(cascade) => cascade.embed_by_experts(shown, tiles, preprocessing),
        }
    }

    /// Patches of the same pictures by the same networks; see [`Embedder::patches`].
    pub fn patches_own(
        &self,
        shown: &[RgbImage],
        tiles: usize,
        preprocessing: &Preprocessing,
    ) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Single(network) => network.patches(shown, preprocessing),
            Self::Cascade(cascade) => cascade.patches_by_experts(shown, tiles, preprocessing),
        }
    }
}

/// Whole pictures that pass through a network at once, at least one.
pub fn batch(tiles: usize) -> usize {
    (Embedder::BATCH / tiles).max(1)
}

fn in_batches(
    shown: &[RgbImage],
    tiles: usize,
    preprocessing: &Preprocessing,
    embed: impl Fn(&[f32], u32) -> Result<Vec<f32>, TrainError>,
) -> Result<Vec<f32>, TrainError> {
    let mut embeddings = Vec::new();
    for batch in shown.chunks(batch(tiles) * tiles) {
        let input: Vec<f32> = (batch.par_iter())
            .flat_map_iter(|tile| preprocessing.normalise(tile))
            .collect();
        embeddings.extend(embed(&input, preprocessing.size)?);
    }
    Ok(embeddings)
}
