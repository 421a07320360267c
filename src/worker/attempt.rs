//! The engine of one attempt: decodes, trains, judges, and writes the artefact.
//!
//! Both who leases an attempt from a server and `katagami train` call
//! [`perform`]. It knows no server: what it needs is in [`AttemptInput`], what
//! it tells goes to [`AttemptEvents`], and what it leaves is an [`AttemptOutcome`].

use std::time::Duration;

use super::control::random_mask;
use super::evidence::{self, Judged};
use super::experts::{self, Found, Stages};
use super::images::{Images, decoded};
use super::pictures::{LabelledPicture, Picture};
use crate::base::{Preprocessing, Weights};
use crate::domain::gate::{GateSettings, Reason, Verdict};
use crate::domain::job::{Order, Phase, Progress};
use crate::domain::kpi::NEIGHBOURS;
use crate::domain::report::{
    ImageCounts, Kpi, LayerDensity, LossPoint, MomentFigures, Report, ReportError, TrainingFigures,
};
use crate::domain::{Digest, ErrorKind, JobId, MaskVersion, Problem, SiteName, Timestamp, View};
use crate::evaluate::EvaluateError;
use crate::mask::cascade::encode_cascade;
use crate::mask::{Figures, Header, Mask, MaskError, apply, encode};
use crate::train::device::profile;
use crate::train::moments::Moment;
use crate::train::recipe::Mode;
use crate::train::{
    Event, FinalScores, Keep, Learner, Outcome, Recipe, Scores, Start, TrainError, TrainedMask, Training,
    train,
};

/// Most points of the loss curve that a report keeps.
const MOST_LOSSES: usize = 1_000;

/// Everything that an attempt needs.
pub struct AttemptInput {
    /// The base.
    pub base: Weights,
    /// Its preprocessing.
    pub preprocessing: Preprocessing,
    /// The site's view; that of the mask to start from, too.
    pub view: View,
    /// The recipe, in steps ([`Recipe::over`]) and cut to its budget ([`Recipe::within`]).
    pub recipe: Recipe,
    /// The seed of everything drawn at random.
    pub seed: u64,
    /// What it trains on, in any order; the same picture twice counts once.
    pub images: Vec<Picture>,
    /// How many images were left out because they are in the validation set; for the report.
    pub left_out: u64,
    /// What it is judged by: both splits, or nothing.
    pub labelled: Vec<LabelledPicture>,
    /// The mask to start from; none: the base.
    pub start: Option<Parent>,
    /// The figure that the gate judges by, where there are labels.
    pub kpi: Kpi,
    /// Masks that the labelled pictures have judged before.
    pub judged_before: u32,
    /// What the gate asks for.
    pub gate: GateSettings,
    /// The site, for the artefact's header.
    pub site: SiteName,
    /// The version that the mask will have.
    pub version: MaskVersion,
    /// The snapshot's digest; none: that of the pictures which could be decoded.
    pub snapshot: Option<Digest>,
    /// The job; none for a training without a server.
    pub job: Option<JobId>,
    /// Judge, in place of the trained mask, a random one that drops as many weights of
    /// each tensor: what the gate ought not to pass. The scores stay the training's.
    pub control: bool,
    /// Where to go on.
    pub resume: Resume,
    /// How often a checkpoint is handed over.
    pub checkpoint_every: Duration,
}

/// A mask to start from.
pub struct Parent {
    /// Its version, for the log.
    pub version: MaskVersion,
    /// Its final scores: [`AttemptOutcome::Mask`]'s `scores`.
    pub scores: Vec<u8>,
    /// The mask.
    pub mask: Mask,
}

/// Where a training goes on; with experts, where the trainings of all do.
#[derive(Clone)]
pub enum Resume {
    /// At its beginning.
    Anew,
    /// At this checkpoint; an error if that is damaged or of another training.
    From(Vec<u8>),
    /// At the first of these that is whole and of this training; at the
    /// beginning if none is. Those refused are noted.
    Newest(Vec<Vec<u8>>),
}

/// Whom an attempt tells how it goes. Called from the attempt's own thread,
/// which waits meanwhile: what takes long belongs into another one.
pub trait AttemptEvents {
    /// Hears of each step; the answer is obeyed before the next one. After
    /// [`Order::Stop`] within a training follows one last checkpoint.
    fn progress(&mut self, progress: Progress) -> Order;
    /// Gets the whole state after `step` steps of the training.
    fn checkpoint(&mut self, step: u32, bytes: &[u8]);
    /// Gets a line for the log.
    fn note(&mut self, line: &str);
}

/// How an attempt ended.
pub enum AttemptOutcome {
    /// By an order.
    Stopped,
    /// Nothing has fallen: the base itself is best. There is no mask.
    NoImprovement {
        /// The evidence.
        report: Box<Report>,
        /// The same as the bytes that are to be stored.
        report_json: Vec<u8>,
    },
    /// With a mask.
    Mask {
        /// The artefact; its header names the digest of `report_json`.
        artefact: Vec<u8>,
        /// The evidence and the gate's verdict.
        report: Box<Report>,
        /// The same as the bytes that are to be stored.
        report_json: Vec<u8>,
        /// What a successor can start from.
        scores: Vec<u8>,
    },
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// Training or embedding failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The mask cannot be applied or written.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// The embeddings cannot be compared.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The report cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl AttemptError {
    /// Whether another attempt at the same job may succeed: false where the
    /// input is wrong, or where the same arithmetic would fail again.
    pub fn may_pass_again(&self) -> bool {
        match self {
            Self::Train(TrainError::Diverged { .. })
            | Self::Mask(_)
            | Self::Evaluate(_)
            | Self::Report(_) => false,
            Self::Train(error) => matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable),
        }
    }
}

impl Problem for AttemptError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Train(error) => error.kind(),
            Self::Mask(error) => error.kind(),
            Self::Evaluate(_) => ErrorKind::Invalid,
            Self::Report(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Train(error) => error.code(),
            Self::Mask(error) => error.code(),
            Self::Evaluate(_) => "not_comparable",
            Self::Report(_) => "report_unwritable",
        }
    }
}

/// Carries an attempt at a mask out. Same input and execution profile: same mask, same figures.
pub fn perform(
    input: &AttemptInput,
    device: tch::Device,
    events: &mut dyn AttemptEvents,
) -> Result<AttemptOutcome, AttemptError> {
    if input.recipe.mode != Mode::Mask {
        return Err(TrainError::NoMask.into());
    }
    let Some(images) = decoded(input, events) else {
        return Ok(AttemptOutcome::Stopped);
    };
    let mut stages = Stages::new(input, events)?;
    let (resume, keep) = (stages.resume(&input.resume), stages.keep(input));
    let outcome = trained::<Scores>(input, &images, device, &resume, keep, &mut stages)?;
    if outcome.stopped {
        return Ok(AttemptOutcome::Stopped);
    }
    stages.end(input.recipe.schedule.steps);
    let mut training = figures(input, &outcome);
    let mut learned = outcome.learned;
    stages.note(&format!(
        "trained on {} images, {} steps, {:.0} s, on {}",
        images.digests.len(),
        outcome.losses.len(),
        outcome.seconds,
        profile(device).device
    ));
    let counts = ImageCounts {
        used: images.digests.len() as u64,
        left_out: input.left_out,
    };
    if training.is_unchanged() {
        let Some(health) = evidence::health_of(input, &images, device, &mut stages)? else {
            return Ok(AttemptOutcome::Stopped);
        };
        let report = Report {
            view: input.view,
            health: Some(health),
            ..Report::judged(input.kpi.clone(), None, None, training, counts, input.gate)
        };
        let report_json = report.to_json()?.into_bytes();
        stages.note("no improvement found: what the training began with is best");
        return Ok(AttemptOutcome::NoImprovement {
            report: Box::new(report),
            report_json,
        });
    }
    // Judged as devices will have it: with statistics that an artefact can hold.
    learned.mask.settle(&input.base);
    let experts = match experts::trained(input, &images, &learned, device, &mut stages)? {
        Found::Stopped => return Ok(AttemptOutcome::Stopped),
        Found::None => None,
        Found::Experts(experts) => Some(experts),
    };
    if let Some(experts) = &experts {
        training.experts.clone_from(&experts.figures);
    }
    let TrainedMask { mut mask, scores } = learned;
    if input.control {
        mask = random_mask(&mask, input.seed);
    }
    let Some(judged) = evidence::judged(input, &mask, experts.as_ref(), &images, device, events)? else {
        return Ok(AttemptOutcome::Stopped);
    };
    let report = reported(input, judged, training, counts);
    let report_json = report.to_json()?.into_bytes();
    let masked = apply(&mask, input.base.clone())?;
    let header = Header {
        base: scores.base,
        preprocessing: input.preprocessing.digest(),
        view: input.view,
        site: input.site.clone(),
        version: input.version,
        snapshot: input.snapshot.unwrap_or(images.snapshot),
        recipe: input.recipe.digest(),
        job: input.job,
        profile: profile(device),
        weights: masked.digest(),
        report: Some(Digest::of(&report_json)),
        figures: five_numbers(&report),
        parent: None,
        prior: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Timestamp::now(),
    };
    let artefact = match &experts {
        None => encode(&header, &mask, &input.base)?,
        Some(own) => encode_cascade(&header, &mask, &input.base, &own.router, &own.joint, &own.experts)?,
    };
    events.note(&format!(
        "{} of {} weights have fallen; the gate says: {}",
        mask.dropped(),
        mask.weights(),
        report.gate.verdict.word()
    ));
    Ok(AttemptOutcome::Mask {
        artefact,
        report: Box::new(report),
        report_json,
        scores: scores.encode(),
    })
}

/// What an attempt trains; `seen` is its preprocessing through its view.
pub(super) fn training<'a>(
    input: &'a AttemptInput,
    images: &'a Images,
    seen: &'a Preprocessing,
    start: Start<'a>,
    device: tch::Device,
) -> Training<'a> {
    Training {
        base: &input.base,
        images: &images.tiles,
        images_digest: images.snapshot,
        preprocessing: seen,
        view: &input.view,
        recipe: &input.recipe,
        seed: input.seed,
        start,
        device,
    }
}

/// Trains, from the newest checkpoint that can be used.
pub(super) fn trained<L: Learner>(
    input: &AttemptInput,
    images: &Images,
    device: tch::Device,
    resume: &Resume,
    keep: Keep,
    events: &mut dyn AttemptEvents,
) -> Result<Outcome<L::Product>, AttemptError> {
    let parent = match &input.start {
        Some(parent) => {
            let scores = FinalScores::decode(&parent.scores, &input.base)?;
            if scores.bits() != parent.mask.tensors {
                return Err(TrainError::Parent("has the scores of another mask").into());
            }
            events.note(&format!("starting from mask {}", parent.version));
            Some((scores, &parent.mask.norms))
        }
        None => None,
    };
    let seen = input.preprocessing.seen(&input.view);
    let start = match &parent {
        Some((scores, norms)) => Start::Parent { scores, norms },
        None => Start::KeepAll,
    };
    let training = training(input, images, &seen, start, device);
    carried_out::<L>(&training, resume, keep, events)
}

/// Carries a training out, from the newest checkpoint that can be used.
pub(super) fn carried_out<L: Learner>(
    training: &Training,
    resume: &Resume,
    keep: Keep,
    events: &mut dyn AttemptEvents,
) -> Result<Outcome<L::Product>, AttemptError> {
    let attempt = |checkpoint: Option<&[u8]>, events: &mut dyn AttemptEvents| {
        train::<L>(training, checkpoint, keep, &mut |event| match event {
            Event::Step(progress) => events.progress(Progress {
                phase: Phase::Train,
                step: u64::from(progress.step),
                steps: u64::from(progress.steps),
                loss: Some(progress.loss),
                dropped: progress.dropped.map(|dropped| dropped as u64),
            }),
            Event::Checkpoint { step, bytes } => {
                events.checkpoint(step, bytes);
                Order::Continue
            }
        })
    };
    match resume {
        Resume::Anew => Ok(attempt(None, events)?),
        Resume::From(checkpoint) => Ok(attempt(Some(checkpoint), events)?),
        Resume::Newest(checkpoints) => {
            for checkpoint in checkpoints {
                match attempt(Some(checkpoint), events) {
                    // Both are found before the first step.
                    Err(error @ (TrainError::CheckpointDamaged | TrainError::CheckpointOfAnother(_))) => {
                        events.note(&error.to_string());
                    }
                    done => return Ok(done?),
                }
            }
            Ok(attempt(None, events)?)
        }
    }
}

/// What the training did and what it took.
fn figures(input: &AttemptInput, outcome: &Outcome<TrainedMask>) -> TrainingFigures {
    let Outcome {
        learned: TrainedMask { mask, .. },
        losses,
        seconds,
        moments,
        ..
    } = outcome;
    let every = losses.len().div_ceil(MOST_LOSSES).max(1);
    let point = |(step, loss): (usize, &f64)| LossPoint {
        step: step as u64 + 1,
        loss: *loss,
    };
    let shown = |step: &usize| (step + 1).is_multiple_of(every) || step + 1 == losses.len();
    let density = mask.tensors.iter().map(|(index, bits)| LayerDensity {
        tensor: input.base.architecture.tensors[*index].name.clone(),
        weights: bits.len() as u64,
        kept: bits.count_ones() as u64,
    });
    let parent = input.start.as_ref();
    let differing =
        |one: &[f32], other: &[f32]| one.iter().zip(other).filter(|(one, other)| one != other).count();
    let moved = |(index, values): (&usize, &Vec<f32>)| {
        let began = parent.and_then(|parent| parent.mask.norms.get(index));
        differing(began.unwrap_or(&input.base.values[*index]), values) as u64
    };
    let moment = |moment: &Moment| MomentFigures {
        step: u64::from(moment.step),
        dropped: u64::from(moment.dropped),
        retrieval: f64::from(moment.retrieval),
        rank: f64::from(moment.rank),
        patches: moment.patches.map(f64::from),
        worth: moment.worth.map(f64::from),
    };
    TrainingFigures {
        experts: Vec::new(),
        moved_statistics: mask.norms.iter().map(moved).sum(),
        own_statistics: mask.own_statistics(&input.base) as u64,
        moments: moments.iter().map(moment).collect(),
        loss: losses
            .iter()
            .enumerate()
            .filter(|(step, _)| shown(step))
            .map(point)
            .collect(),
        density: density.collect(),
        flips: mask.dropped() as u64,
        flips_against_parent: parent.map(|parent| mask.flips_against(&parent.mask) as u64),
        seconds: *seconds,
        images_per_second: (losses.len() * input.recipe.schedule.batch) as f64 / seconds.max(1e-9),
    }
}

/// Puts the report together.
fn reported(input: &AttemptInput, judged: Judged, training: TrainingFigures, images: ImageCounts) -> Report {
    let Judged {
        validation,
        test,
        random_mask,
        label_free,
        unusable_validation,
        too_few_of_a_class,
        health,
    } = judged;
    // A validation set that says nothing is no licence to ask the weaker signals: then nothing is known.
    let signals = Some(label_free.clone()).filter(|_| !unusable_validation);
    let mut report = Report::judged(
        input.kpi.clone(),
        validation,
        signals,
        training,
        images,
        input.gate,
    );
    // There are labels, so `no evidence` would not tell anybody what to do.
    if let (Some(images), Verdict::Held { reasons }) = (too_few_of_a_class, &mut report.gate.verdict) {
        let asked = input.kpi.least_of_a_class(NEIGHBOURS) as usize;
        let enough = input.gate.least_per_class.max(asked);
        for reason in reasons.iter_mut().filter(|reason| **reason == Reason::NoEvidence) {
            *reason = Reason::TooFewOfAClass { images, enough };
        }
    }
    Report {
        test,
        random_mask,
        label_free: Some(label_free),
        health: Some(health),
        view: input.view,
        ..report
    }
}

/// The five numbers of the header; 0 where there were no labels.
fn five_numbers(report: &Report) -> Figures {
    let kpi = (report.validation.as_ref()).and_then(|figures| figures.of(&report.kpi));
    let number = |value: f64| value as f32;
    let rank = report
        .label_free
        .as_ref()
        .map_or(0.0, |signals| signals.mask.effective_rank);
    Figures {
        kpi_base: kpi.map_or(0.0, |kpi| number(kpi.base.value)),
        kpi_mask: kpi.map_or(0.0, |kpi| number(kpi.mask.value)),
        kpi_lower: kpi.map_or(0.0, |kpi| number(kpi.difference.lower)),
        kpi_upper: kpi.map_or(0.0, |kpi| number(kpi.difference.upper)),
        effective_rank: number(rank),
    }
}

#[cfg(test)]
#[path = "attempt_tests.rs"]
mod tests;
