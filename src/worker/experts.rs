//! The experts of an attempt whose recipe asks for them: groups of images in the
//! dispatcher's eyes, one training for each, and what joins their embeddings.

use image::RgbImage;
use rayon::prelude::*;

use super::attempt::{AttemptError, AttemptEvents, AttemptInput, Resume, carried_out};
use super::images::Images;
use crate::base::{Preprocessing, Weights};
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::report::ExpertFigures;
use crate::domain::snapshot;
use crate::mask::cascade::{Joint, NewExpert, Router};
use crate::mask::{Mask, apply};
use crate::train::embed::of_pictures;
use crate::train::experts::embed::batch;
use crate::train::experts::rule::ExpertsRule;
use crate::train::experts::stages::{bundle, unbundled};
use crate::train::experts::{self, Grouped, MOST_FITTED, spread};
use crate::train::{Embedder, Keep, Recipe, Scores, Start, TrainError, TrainedMask, Training};

/// What experts have come to.
pub(super) struct TrainedExperts {
    pub(super) router: Router,
    pub(super) joint: Joint,
    pub(super) experts: Vec<NewExpert>,
    /// What the report says of each.
    pub(super) figures: Vec<ExpertFigures>,
}

/// How the search for experts ended.
pub(super) enum Found {
    /// By an order.
    Stopped,
    /// The images make no two groups.
    None,
    /// With experts.
    Experts(TrainedExperts),
}

/// The trainings of an attempt, one after the other: one course of steps, and one file for
/// the checkpoints of all. An attempt without experts has one training, whose checkpoints go as they are.
pub(super) struct Stages<'a> {
    events: &'a mut dyn AttemptEvents,
    /// None without experts.
    bundles: Option<Bundles>,
    /// Steps of the trainings that have ended, and of all.
    before: u64,
    all: u64,
}

struct Bundles {
    /// Where to go on: for each file that can be read, the checkpoint of each training.
    resume: Vec<Vec<Vec<u8>>>,
    /// Whether one that cannot be used ends the attempt.
    strict: bool,
    /// The last states of the trainings that have ended.
    ended: Vec<Vec<u8>>,
    /// The newest checkpoint of the training that runs.
    newest: Vec<u8>,
}

impl<'a> Stages<'a> {
    /// Before the first training of `input`.
    pub(super) fn new(input: &AttemptInput, events: &'a mut dyn AttemptEvents) -> Result<Self, AttemptError> {
        let of_dispatcher = u64::from(input.recipe.schedule.steps);
        let Some(rule) = experts_of(input) else {
            return Ok(Self {
                events,
                bundles: None,
                before: 0,
                all: of_dispatcher,
            });
        };
        let (resume, strict) = match &input.resume {
            Resume::Anew => (Vec::new(), false),
            Resume::From(file) => (vec![unbundled(file)?], true),
            Resume::Newest(files) => {
                let readable = files.iter().filter_map(|file| match unbundled(file) {
                    Ok(checkpoints) => Some(checkpoints),
                    Err(error) => {
                        events.note(&error.to_string());
                        None
                    }
                });
                (readable.collect(), false)
            }
        };
        Ok(Self {
            events,
            bundles: Some(Bundles {
                resume,
                strict,
                ended: Vec::new(),
                newest: Vec::new(),
            }),
            before: 0,
            all: of_dispatcher + rule.count as u64 * u64::from(rule.steps),
        })
    }

    /// Where the next training goes on; `whole` without experts.
    pub(super) fn resume(&self, whole: &Resume) -> Resume {
        let Some(bundles) = &self.bundles else {
            return whole.clone();
        };
        let next = bundles.ended.len();
        let found = bundles
            .resume
            .iter()
            .filter_map(|checkpoints| checkpoints.get(next));
        let mut found: Vec<Vec<u8>> = found.cloned().collect();
        match (found.pop(), bundles.strict) {
            (None, _) => Resume::Anew,
            (Some(checkpoint), true) => Resume::From(checkpoint),
            (Some(last), false) => {
                found.push(last);
                Resume::Newest(found)
            }
        }
    }

    /// When its trainings hand checkpoints over.
    pub(super) fn keep(&self, input: &AttemptInput) -> Keep {
        Keep {
            every: input.checkpoint_every,
            last: self.bundles.is_some(),
        }
    }

    /// A training of so many steps has ended.
    pub(super) fn end(&mut self, steps: u32) {
        self.before += u64::from(steps);
        if let Some(bundles) = &mut self.bundles {
            bundles.ended.push(std::mem::take(&mut bundles.newest));
        }
    }

    /// Whether to go on, asked between trainings.
    fn goes_on(&mut self) -> bool {
        let standing = Progress {
            phase: Phase::Train,
            step: self.before,
            steps: self.all,
            ..Progress::default()
        };
        self.events.progress(standing) == Order::Continue
    }
}

impl AttemptEvents for Stages<'_> {
    fn progress(&mut self, progress: Progress) -> Order {
        self.events.progress(match progress.phase {
            Phase::Train => Progress {
                step: self.before + progress.step,
                steps: self.all,
                ..progress
            },
            _ => progress,
        })
    }

    fn checkpoint(&mut self, step: u32, bytes: &[u8]) {
        let Some(bundles) = &mut self.bundles else {
            return self.events.checkpoint(step, bytes);
        };
        bytes.clone_into(&mut bundles.newest);
        let stage = bundles.ended.len();
        // An ended training that is gone through again: what was handed over before has its successors, too.
        let known = |before: &Vec<Vec<u8>>| before.len() > stage + 1 && before[stage] == bytes;
        if bundles.resume.iter().any(known) {
            return;
        }
        bundles.ended.push(bytes.to_vec());
        let file = bundle(&bundles.ended);
        bundles.ended.pop();
        self.events.checkpoint(self.before as u32 + step, &file);
    }

    fn note(&mut self, line: &str) {
        self.events.note(line);
    }
}

/// The experts that an attempt is to have. A control is one random mask and has none.
fn experts_of(input: &AttemptInput) -> Option<&ExpertsRule> {
    input.recipe.experts.as_ref().filter(|_| !input.control)
}

/// Trains the experts of a dispatcher that has ended; its mask is settled.
pub(super) fn trained(
    input: &AttemptInput,
    images: &Images,
    dispatcher: &TrainedMask,
    device: tch::Device,
    stages: &mut Stages,
) -> Result<Found, AttemptError> {
    let Some((rule, recipe)) = experts_of(input).zip(input.recipe.of_expert()) else {
        return Ok(Found::None);
    };
    let sight = Sight {
        images,
        tiles: input.view.tiles.count(),
        seen: input.preprocessing.seen(&input.view),
        device,
    };
    let weights = apply(&dispatcher.mask, input.base.clone())?;
    let all: Vec<usize> = (0..images.digests.len()).collect();
    let Some(embeddings) = sight.embed(&weights, &all, stages)? else {
        return Ok(Found::Stopped);
    };
    let dim = input.base.architecture.embedding_dim;
    let Some(found) = experts::grouped(&embeddings, dim, rule, input.seed) else {
        stages.note(&format!(
            "no experts: the images make no two groups of at least {}; the dispatcher is the mask",
            rule.least
        ));
        return Ok(Found::None);
    };
    let count = found.router.groups.len();
    stages.all = stages.before + count as u64 * u64::from(recipe.schedule.steps);
    let (mut trained, mut figures) = (Vec::new(), Vec::new());
    let mut networks = vec![weights];
    for group in 0..count {
        let own = found.of_group(group);
        stages.note(&format!("expert {} of {count}: {} images", group + 1, own.len()));
        let Some(mask) = expert(input, &recipe, &sight, &own, dispatcher, stages)? else {
            return Ok(Found::Stopped);
        };
        figures.push(of_expert(&found, &own, &mask, &dispatcher.mask));
        let masked = apply(&mask, input.base.clone())?;
        trained.push(NewExpert {
            mask,
            weights: masked.digest(),
        });
        networks.push(masked);
    }
    let fitted: Vec<usize> = spread(images.digests.len(), MOST_FITTED).collect();
    let mut of_networks = Vec::new();
    for weights in &networks {
        let Some(embeddings) = sight.embed(weights, &fitted, stages)? else {
            return Ok(Found::Stopped);
        };
        of_networks.push(embeddings);
    }
    let Some(joint) = experts::joint(&of_networks, dim, rule.width.min(dim)) else {
        stages.note("no experts: they tell no two images apart; the dispatcher is the mask");
        return Ok(Found::None);
    };
    Ok(Found::Experts(TrainedExperts {
        router: found.router,
        joint,
        experts: trained,
        figures,
    }))
}

fn of_expert(found: &Grouped, own: &[usize], mask: &Mask, dispatcher: &Mask) -> ExpertFigures {
    ExpertFigures {
        images: own.len() as u64,
        share: own.len() as f64 / found.groups.len() as f64,
        dropped: mask.dropped() as u64,
        flips: mask.flips_against(dispatcher) as u64,
    }
}

/// Trains one expert on the pictures `own`; its mask, settled. None if ordered to stop.
fn expert(
    input: &AttemptInput,
    recipe: &Recipe,
    sight: &Sight,
    own: &[usize],
    dispatcher: &TrainedMask,
    stages: &mut Stages,
) -> Result<Option<Mask>, AttemptError> {
    let digests: Vec<_> = own.iter().map(|image| sight.images.digests[*image]).collect();
    let tiles: Vec<RgbImage> = own
        .iter()
        .flat_map(|image| sight.tiles_of(*image))
        .cloned()
        .collect();
    let training = Training {
        base: &input.base,
        images: &tiles,
        images_digest: snapshot::digest(&digests),
        preprocessing: &sight.seen,
        view: &input.view,
        recipe,
        seed: input.seed,
        start: Start::Parent {
            scores: &dispatcher.scores,
            norms: &dispatcher.mask.norms,
        },
        device: sight.device,
    };
    let resume = stages.resume(&Resume::Anew);
    let outcome = carried_out::<Scores>(&training, &resume, stages.keep(input), stages)?;
    if outcome.stopped {
        return Ok(None);
    }
    stages.end(recipe.schedule.steps);
    let mut mask = outcome.learned.mask;
    mask.settle(&input.base);
    Ok(Some(mask))
}

/// The training's images as a network sees them when it does not learn.
struct Sight<'a> {
    images: &'a Images,
    tiles: usize,
    seen: Preprocessing,
    device: tch::Device,
}

impl Sight<'_> {
    fn tiles_of(&self, image: usize) -> &[RgbImage] {
        &self.images.tiles[image * self.tiles..][..self.tiles]
    }

    /// Embeddings `[pictures, dim]` of some pictures; none if ordered to stop.
    fn embed(
        &self,
        weights: &Weights,
        pictures: &[usize],
        stages: &mut Stages,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        let embedder = Embedder::new(weights, self.device)?;
        let mut embeddings = Vec::with_capacity(pictures.len() * embedder.dim());
        for batch in pictures.chunks(batch(self.tiles)) {
            let shown: Vec<RgbImage> = (batch.par_iter())
                .flat_map_iter(|image| self.tiles_of(*image))
                .map(|tile| self.seen.resize(tile, self.seen.size))
                .collect();
            let of_tiles = embedder.embed_pictures(&shown, &self.seen)?;
            embeddings.extend(of_pictures(of_tiles, self.tiles, embedder.dim()));
            if !stages.goes_on() {
                return Ok(None);
            }
        }
        Ok(Some(embeddings))
    }
}
