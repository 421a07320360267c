//! The evidence for a mask: base, mask and a random mask embed the same
//! pictures, and `evaluate` compares them.

use image::RgbImage;
use rayon::prelude::*;

use super::attempt::{AttemptError, AttemptEvents, AttemptInput};
use super::control::random_mask;
use super::experts::TrainedExperts;
use super::health::health;
use super::images::{Images, most_labelled};
use super::pictures::{LabelledPicture, decode_all};
use super::signals::{self, SignalPictures};
use crate::base::Weights;
use crate::domain::health::EmbeddingHealth;
use crate::domain::image::Metadata;
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::report::{Kpi, LabelFree, LabelledFigures};
use crate::domain::{Digest, Split};
use crate::evaluate::sample::{Sample, sample};
use crate::evaluate::{self, Asked, Embeddings, EvaluateError, Heard, Settings, Space};
use crate::mask::cascade::Inference;
use crate::mask::{Mask, apply};
use crate::train::experts::embed::{Cascade, Model, batch};
use crate::train::{Embedder, TrainError};

/// What is known of a mask besides its training.
pub(super) struct Judged {
    /// The validation split, which the gate reads.
    pub(super) validation: Option<LabelledFigures>,
    /// The test split, which people are shown.
    pub(super) test: Option<LabelledFigures>,
    /// The test split with a random mask in the mask's place.
    pub(super) random_mask: Option<LabelledFigures>,
    /// The signals without labels, on images that were trained on.
    pub(super) label_free: LabelFree,
    /// There is a validation split, but it says nothing.
    pub(super) unusable_validation: bool,
    /// Because its smallest class has only so many images.
    pub(super) too_few_of_a_class: Option<usize>,
    /// What the base's embeddings say of the images and labels themselves.
    pub(super) health: EmbeddingHealth,
}

/// Labelled pictures at the network's size, with the number of each one's class.
pub(super) struct Labelled {
    /// Each as its tiles.
    tiles: Vec<RgbImage>,
    pub(super) labels: Vec<usize>,
    /// The digest of each one's file.
    pub(super) digests: Vec<Digest>,
    pub(super) metadata: Vec<Metadata>,
    /// The classes' names, in their order.
    pub(super) classes: Vec<String>,
    /// Pictures of each class in the split of which these are a sample; empty: these are all.
    whole: Vec<usize>,
}

#[cfg(test)]
impl Labelled {
    /// A set of which nobody needs the pictures.
    pub(super) fn of_test(labels: Vec<usize>, digests: Vec<Digest>, classes: Vec<String>) -> Self {
        Self {
            tiles: Vec::new(),
            labels,
            digests,
            metadata: Vec::new(),
            whole: Vec::new(),
            classes,
        }
    }
}

/// What one model makes of the pictures: of the labelled ones embeddings `[pictures, width]`, as whoever
/// runs it gets them.
struct Embedded {
    width: usize,
    test: Vec<f32>,
    validation: Vec<f32>,
    space: Space,
}

/// What the base's embeddings say of images and labels, where there is no mask to compare. None if ordered to stop.
pub(super) fn health_of(
    input: &AttemptInput,
    images: &Images,
    device: tch::Device,
    events: &mut dyn AttemptEvents,
) -> Result<Option<EmbeddingHealth>, AttemptError> {
    let splits = [Split::Validation, Split::Test].map(|split| labelled(input, split, events));
    let preprocessing = &input.preprocessing.seen(&input.view);
    let tiles = input.view.tiles.count();
    let plain = signals::whole(
        &signals::chosen(&images.tiles, tiles, preprocessing),
        preprocessing,
    );
    let mut reporter = Reporter {
        done: 0,
        all: plain.len() + splits.iter().map(|split| split.tiles.len()).sum::<usize>(),
        events,
    };
    let base = Model::Single(Embedder::new(&input.base, device)?);
    let embed = |shown: &[RgbImage]| base.embed_pictures(shown, tiles, preprocessing);
    let mut embedded = Vec::new();
    for shown in [&plain, &splits[0].tiles, &splits[1].tiles] {
        let Some(embeddings) = reporter.embed(shown, tiles, embed)? else {
            return Ok(None);
        };
        embedded.push(embeddings);
    }
    let of = |at: usize| Embeddings::new(&embedded[at], base.width());
    let sets = [(&splits[0], of(1)?), (&splits[1], of(2)?)];
    Ok(Some(health(&of(0)?, &images.digests, &sets)?))
}

/// Compares `mask`, or the cascade that `experts` make of it, with the base; `images` are the
/// training's. None if ordered to stop.
pub(super) fn judged(
    input: &AttemptInput,
    mask: &Mask,
    experts: Option<&TrainedExperts>,
    images: &Images,
    device: tch::Device,
    events: &mut dyn AttemptEvents,
) -> Result<Option<Judged>, AttemptError> {
    let validation = labelled(input, Split::Validation, events);
    let test = labelled(input, Split::Test, events);
    let preprocessing = &input.preprocessing.seen(&input.view);
    let tiles = input.view.tiles.count();
    let pictures = SignalPictures::of(&images.tiles, tiles, &input.recipe.augment, preprocessing);

    let dim = input.base.architecture.embedding_dim;
    let mut reporter = Reporter {
        done: 0,
        all: 2 * (validation.tiles.len() + test.tiles.len() + pictures.len()) + test.tiles.len(),
        events,
    };
    let labelled_embeddings = |reporter: &mut Reporter, model: &Model, set: &Labelled| {
        reporter.embed(&set.tiles, tiles, |shown| {
            model.embed_pictures(shown, tiles, preprocessing)
        })
    };
    let mut embedded = |model: &Model| {
        let Some(test) = labelled_embeddings(&mut reporter, model, &test)? else {
            return Ok(None);
        };
        let Some(validation) = labelled_embeddings(&mut reporter, model, &validation)? else {
            return Ok(None);
        };
        let space = pictures.space(model, |shown| {
            reporter.embed(shown, tiles, |shown| model.embed_own(shown, tiles, preprocessing))
        })?;
        Ok::<_, AttemptError>(space.map(|space| Embedded {
            width: model.width(),
            test,
            validation,
            space,
        }))
    };
    let single = |weights: &Weights| Embedder::new(weights, device).map(Model::Single);
    let Some(of_base) = embedded(&single(&input.base)?)? else {
        return Ok(None);
    };
    let masked = apply(mask, input.base.clone())?;
    let model = match experts {
        None => single(&masked)?,
        Some(experts) => Model::Cascade(cascade(masked, experts, &input.base, device)?),
    };
    let Some(of_mask) = embedded(&model)? else {
        return Ok(None);
    };
    drop(model);
    let random = apply(&random_mask(mask, input.seed), input.base.clone())?;
    let Some(of_random) = labelled_embeddings(&mut reporter, &single(&random)?, &test)? else {
        return Ok(None);
    };

    let settings = Settings::default();
    let sets = [
        (&validation, Embeddings::new(&of_base.validation, dim)?),
        (&test, Embeddings::new(&of_base.test, dim)?),
    ];
    let health = health(
        &Embeddings::new(&of_base.space.whole, dim)?,
        &images.digests,
        &sets,
    )?;
    let label_free = evaluate::label_free(&of_base.space.views(dim)?, &of_mask.space.views(dim)?, &settings)?;
    let mut too_few_of_a_class = None;
    let mut hear = |split: Split, set: &Labelled, embeddings: &[f32], width: usize| {
        if set.labels.is_empty() {
            return Ok(None);
        }
        match Heard::of(&Embeddings::new(embeddings, width)?, &set.labels, &settings) {
            Ok(heard) => Ok(Some(heard)),
            Err(error @ (EvaluateError::OneClass | EvaluateError::TooFew { .. })) => {
                reporter
                    .events
                    .note(&format!("the {} split says nothing: {error}", split.word()));
                if let (Split::Validation, EvaluateError::TooFew { found, .. }) = (split, error) {
                    too_few_of_a_class = Some(found);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    };
    // Of the mask, a split that says nothing of the base is not asked.
    let mut figures = |split: Split, set: &Labelled, base: &[f32], others: &[(&[f32], usize)]| {
        let Some(base) = hear(split, set, base, dim)? else {
            return Ok(Vec::new());
        };
        let classes: Vec<&str> = set.classes.iter().map(String::as_str).collect();
        let asked = Asked {
            kpi: &input.kpi,
            classes: &classes,
            metadata: &set.metadata,
            whole: &set.whole,
            judged_before: match split {
                Split::Validation => input.judged_before,
                Split::Test => 0,
            },
        };
        let mut figures = Vec::new();
        for (other, width) in others {
            if let Some(other) = hear(split, set, other, *width)? {
                figures.push(evaluate::compared(&base, &other, &set.labels, &asked, &settings)?);
            }
        }
        Ok::<_, EvaluateError>(figures)
    };
    let of_validation = figures(
        Split::Validation,
        &validation,
        &of_base.validation,
        &[(&of_mask.validation, of_mask.width)],
    )?;
    let of_validation = of_validation.into_iter().next();
    let too_few_shots = (of_validation.as_ref())
        .filter(|figures| input.kpi == Kpi::FewShot && figures.few_shot.is_none())
        .map(|figures| figures.smallest_class);
    let mut of_test = figures(
        Split::Test,
        &test,
        &of_base.test,
        &[(&of_mask.test, of_mask.width), (&of_random, dim)],
    )?
    .into_iter();
    let (of_test, random_mask) = (of_test.next(), of_test.next());
    Ok(Some(Judged {
        // Also where none of its pictures can be read: signals must not judge what labels were to judge.
        unusable_validation: of_validation.is_none()
            && (input.labelled.iter()).any(|labelled| labelled.split == Split::Validation),
        too_few_of_a_class: too_few_of_a_class.or(too_few_shots),
        validation: of_validation,
        test: of_test,
        random_mask,
        label_free,
        health,
    }))
}

/// The networks of the cascade whose dispatcher has the weights `masked`, as a device runs them.
fn cascade(
    masked: Weights,
    trained: &TrainedExperts,
    base: &Weights,
    device: tch::Device,
) -> Result<Cascade, AttemptError> {
    let experts = trained
        .experts
        .iter()
        .map(|expert| apply(&expert.mask, base.clone()));
    let networks: Vec<Weights> = [Ok(masked)]
        .into_iter()
        .chain(experts)
        .collect::<Result<_, _>>()?;
    let (router, joint) = (&trained.router, &trained.joint);
    Ok(Cascade::new(
        &networks,
        router,
        joint,
        Inference::Conditional,
        device,
    )?)
}

/// Decodes the pictures of one split; what is no picture is noted and left out.
/// Classes are numbered in the order of their names.
fn labelled(input: &AttemptInput, split: Split, events: &mut dyn AttemptEvents) -> Labelled {
    let of_split = |labelled: &&LabelledPicture| labelled.split == split;
    let mut chosen: Vec<&LabelledPicture> = input.labelled.iter().filter(of_split).collect();
    // By digest, so that folds and draws depend on nothing but which pictures these are.
    chosen.sort_by_key(|labelled| labelled.picture.digest);
    let mut classes: Vec<&str> = chosen.iter().map(|labelled| labelled.class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    let class_of = |labelled: &LabelledPicture| {
        let class = classes.binary_search(&labelled.class.as_str());
        class.expect("each class is among the classes")
    };
    let size = input.preprocessing.seen(&input.view).size;
    let most = most_labelled(input.view.tiles.count(), size);
    let all = chosen.len();
    let labels: Vec<usize> = chosen.iter().map(|labelled| class_of(labelled)).collect();
    let Sample { judging, whole } = sample(&labels, most);
    if judging.len() < all {
        let (judging, split) = (judging.len(), split.word());
        events.note(&format!(
            "{judging} of the {all} pictures of the {split} split judge: more take too much memory"
        ));
    }
    let chosen: Vec<&LabelledPicture> = judging.into_iter().map(|at| chosen[at]).collect();
    let decoded = decode_all(
        chosen.par_iter().map(|labelled| &labelled.picture),
        &input.preprocessing,
        &input.view,
    );
    let (mut tiles, mut labels, mut digests, mut metadata) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (labelled, decoded) in chosen.iter().zip(decoded) {
        match decoded {
            Ok(decoded) => {
                tiles.extend(decoded);
                metadata.push(labelled.metadata.clone());
                digests.push(labelled.picture.digest);
                labels.push(class_of(labelled));
            }
            Err(error) => events.note(&format!("left out: `{}`: {error}", labelled.picture.name())),
        }
    }
    Labelled {
        tiles,
        labels,
        digests,
        metadata,
        whole,
        classes: classes.into_iter().map(str::to_owned).collect(),
    }
}

/// Says how many tiles are embedded, and asks whether to go on.
struct Reporter<'a> {
    done: usize,
    all: usize,
    events: &'a mut dyn AttemptEvents,
}

impl Reporter<'_> {
    /// Embeds pictures, each as its `tiles` tiles, batch by batch; none if ordered to stop.
    fn embed(
        &mut self,
        shown: &[RgbImage],
        tiles: usize,
        embed: impl Fn(&[RgbImage]) -> Result<Vec<f32>, TrainError>,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        let mut embeddings = Vec::new();
        for batch in shown.chunks(batch(tiles) * tiles) {
            embeddings.extend(embed(batch)?);
            self.done += batch.len();
            let order = self.events.progress(Progress {
                phase: Phase::Judge,
                step: self.done as u64,
                steps: self.all as u64,
                ..Progress::default()
            });
            if order != Order::Continue {
                return Ok(None);
            }
        }
        Ok(Some(embeddings))
    }
}
