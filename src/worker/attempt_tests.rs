//! What an attempt leaves, and that it obeys.

use super::*;
use crate::base::Role;
use crate::domain::Split;
use crate::domain::image::Metadata;
use crate::mask::{Limits, apply_artefact, decode};
use crate::train::device::DeviceChoice;
use crate::train::experts::stages::unbundled;
use crate::train::generated::{QUICK, generated_base};
use crate::train::recipe::Norms;
use crate::worker::pictures::Source;

/// A small grey picture of stripes, as a PGM file in memory.
fn picture(n: usize) -> Picture {
    let pixel = |x: usize, y: usize| ((x * (n % 7 + 1) + y * (n % 5 + 1)) * 8 % 256) as u8;
    let mut file = b"P5 40 40 255\n".to_vec();
    file.extend((0..40).flat_map(|y| (0..40).map(move |x| pixel(x, y))));
    Picture {
        digest: Digest::of(&file),
        source: Source::Bytes(file),
    }
}

fn input() -> AttemptInput {
    AttemptInput {
        base: generated_base(),
        preprocessing: Preprocessing {
            size: 32,
            ..Preprocessing::of_architecture("efficientnet_lite0")
        },
        view: View::default(),
        recipe: Recipe::parse(&QUICK.replace("steps = 5", "steps = 4")).unwrap(),
        seed: 1,
        images: (0..9).map(picture).collect(),
        left_out: 2,
        labelled: Vec::new(),
        start: None,
        kpi: Kpi::Probe,
        judged_before: 0,
        gate: GateSettings::default(),
        site: "osaka".parse().unwrap(),
        version: MaskVersion(7),
        snapshot: Some(Digest::of(b"snapshot")),
        job: Some(JobId::generate()),
        control: false,
        resume: Resume::Anew,
        checkpoint_every: Duration::ZERO,
    }
}

/// Writes down what it is told, and stops at a step of a phase.
#[derive(Default)]
struct Diary {
    stop_at: Option<(Phase, u64)>,
    /// Questions since it was told to stop, that one counted.
    stops: usize,
    phases: Vec<Phase>,
    checkpoints: Vec<Vec<u8>>,
    notes: Vec<String>,
}

impl AttemptEvents for Diary {
    fn progress(&mut self, progress: Progress) -> Order {
        if self.phases.last() != Some(&progress.phase) {
            self.phases.push(progress.phase);
        }
        assert!(progress.step <= progress.steps);
        match self.stop_at {
            Some((phase, step)) if phase == progress.phase && progress.step >= step => {
                self.stops += 1;
                Order::Stop
            }
            _ => Order::Continue,
        }
    }

    fn checkpoint(&mut self, _step: u32, bytes: &[u8]) {
        self.checkpoints.push(bytes.to_vec());
    }

    fn note(&mut self, line: &str) {
        self.notes.push(line.to_owned());
    }
}

fn carried_out(input: &AttemptInput, diary: &mut Diary) -> AttemptOutcome {
    perform(input, DeviceChoice::Cpu.open(1).unwrap(), diary).unwrap()
}

fn artefact(outcome: AttemptOutcome) -> (crate::mask::Artefact, Report, Vec<u8>) {
    match outcome {
        AttemptOutcome::Mask {
            artefact,
            report,
            report_json,
            scores,
        } => {
            let artefact = decode(&artefact, Limits::default()).unwrap();
            assert_eq!(artefact.header.report, Some(Digest::of(&report_json)));
            (artefact, *report, scores)
        }
        AttemptOutcome::Stopped => panic!("nobody stopped it"),
        AttemptOutcome::NoImprovement { .. } => panic!("weights fall with this rate"),
    }
}

#[test]
fn a_successor_of_moved_statistics_has_statistics_of_its_own() {
    let mut input = input();
    input.recipe.mask.norms = Norms::Moving;
    let (parent, report, scores) = artefact(carried_out(&input, &mut Diary::default()));
    assert!(report.training.moved_statistics > 0);
    input.recipe.mask.norms = Norms::Frozen;
    input.start = Some(Parent {
        version: parent.header.version,
        scores,
        mask: parent.mask(&input.base).unwrap(),
    });
    let (_, report, _) = artefact(carried_out(&input, &mut Diary::default()));
    let training = &report.training;
    assert_eq!(training.moved_statistics, 0);
    assert!(training.own_statistics > 0, "the gate must know of them");
}

#[test]
fn where_nothing_falls_the_report_tells_of_the_images_all_the_same() {
    let mut input = input();
    input.recipe.mask.rate = 0.0;
    let device = DeviceChoice::Cpu.open(1).unwrap();
    let outcome = perform(&input, device, &mut Diary::default()).unwrap();
    let AttemptOutcome::NoImprovement { report, .. } = outcome else {
        panic!("nothing falls at a rate of 0");
    };
    assert_eq!(report.health.unwrap().images, 9);
}

#[test]
fn a_mask_says_what_it_comes_from_and_is_judged_without_labels() {
    let mut input = input();
    let broken = b"no picture".to_vec();
    input.images.push(Picture {
        digest: Digest::of(&broken),
        source: Source::Bytes(broken),
    });
    input.images.push(picture(3));
    let mut diary = Diary::default();
    let (artefact, report, _) = artefact(carried_out(&input, &mut diary));
    let header = &artefact.header;
    assert_eq!((header.version, header.job), (MaskVersion(7), input.job));
    assert_eq!(header.snapshot, Digest::of(b"snapshot"));
    apply_artefact(&artefact, input.base.clone()).unwrap();
    assert_eq!(report.images, ImageCounts { used: 9, left_out: 2 });
    assert_eq!(report.training.flips, artefact.flips() as u64);
    assert_eq!(report.training.density.len(), artefact.flips_by_tensor().len());
    let signals = report.label_free.unwrap();
    assert_eq!(header.figures.effective_rank, signals.mask.effective_rank as f32);
    assert!(report.validation.is_none() && report.test.is_none());
    let health = report.health.unwrap();
    assert_eq!((health.images, health.labelled), (9, 0));
    assert!(health.findings.is_empty(), "nine images have no bulk");
    assert_eq!(diary.phases, [Phase::Fetch, Phase::Train, Phase::Judge]);
    let left_out = diary.notes.iter().filter(|note| note.starts_with("left out"));
    assert_eq!(left_out.count(), 1, "{:?}", diary.notes);
}

#[test]
fn a_control_drops_as_many_weights_of_each_tensor_and_is_judged_itself() {
    let mut input = input();
    let (trained, of_trained, _) = artefact(carried_out(&input, &mut Diary::default()));
    input.control = true;
    let (control, of_control, _) = artefact(carried_out(&input, &mut Diary::default()));
    assert_eq!(of_control.training.density, of_trained.training.density);
    assert_eq!(control.flips_by_tensor(), trained.flips_by_tensor());
    let base = generated_base();
    let (control, trained) = (control.mask(&base).unwrap(), trained.mask(&base).unwrap());
    assert_ne!(control.tensors, trained.tensors);
    assert_ne!(of_control.label_free, of_trained.label_free);
}

#[test]
fn a_recipe_that_fine_tunes_is_no_job() {
    let recipe = format!("mode = \"finetune\"\nfinetune = {{ rate = 0.1, momentum = 0.9 }}{QUICK}");
    let input = AttemptInput {
        recipe: Recipe::parse(&recipe).unwrap(),
        ..input()
    };
    let mut diary = Diary::default();
    let Err(error) = perform(&input, DeviceChoice::Cpu.open(1).unwrap(), &mut diary) else {
        panic!("it leaves no mask");
    };
    assert!(error.to_string().contains("leaves no mask"), "{error}");
    assert!(!error.may_pass_again(), "the same recipe says the same again");
    assert!(diary.phases.is_empty(), "nothing was done for it");
}

#[test]
fn an_order_to_stop_is_obeyed_in_every_phase() {
    for phase in [Phase::Fetch, Phase::Train, Phase::Judge] {
        let mut diary = Diary {
            stop_at: Some((phase, 1)),
            ..Diary::default()
        };
        assert!(matches!(
            carried_out(&input(), &mut diary),
            AttemptOutcome::Stopped
        ));
        assert_eq!(diary.phases.last(), Some(&phase));
        assert_eq!(diary.stops, 1, "told to stop in {phase:?}, it went on");
        assert_eq!(diary.checkpoints.is_empty(), phase == Phase::Fetch);
    }
}

#[test]
fn the_newest_checkpoint_that_is_whole_is_taken_and_the_others_are_named() {
    let mut diary = Diary::default();
    let (whole, ..) = artefact(carried_out(&input(), &mut diary));
    let mut damaged = diary.checkpoints[1].clone();
    damaged[60] ^= 1;
    let mut again = input();
    again.resume = Resume::Newest(vec![damaged, diary.checkpoints[0].clone()]);
    let mut diary = Diary::default();
    let (resumed, ..) = artefact(carried_out(&again, &mut diary));
    let base = generated_base();
    assert_eq!(resumed.mask(&base).unwrap(), whole.mask(&base).unwrap());
    assert_eq!(resumed.header.weights, whole.header.weights);
    assert!(diary.notes.iter().any(|note| note.contains("damaged")));
    assert_eq!(diary.checkpoints.len(), 2, "step 1 was not done again");
}

#[test]
fn a_validation_set_that_says_nothing_holds_the_mask() {
    let mut input = input();
    let one_class = |n| LabelledPicture {
        metadata: Metadata::default(),
        picture: picture(n),
        class: "good".to_owned(),
        split: Split::Validation,
    };
    input.labelled = (20..30).map(one_class).collect();
    let mut diary = Diary::default();
    let (_, report, _) = artefact(carried_out(&input, &mut diary));
    assert_eq!(
        report.gate.verdict.reasons(),
        [crate::domain::gate::Reason::NoEvidence]
    );
    assert!(report.label_free.is_some(), "people are shown the signals");
    assert!(
        diary
            .notes
            .iter()
            .any(|note| note.contains("validation split says nothing"))
    );
}

#[test]
fn a_validation_set_of_which_no_picture_can_be_read_holds_the_mask_too() {
    let mut input = input();
    let unreadable = |n: u32| LabelledPicture {
        metadata: Metadata::default(),
        picture: Picture {
            digest: Digest::of(&n.to_le_bytes()),
            source: Source::Bytes(b"no picture".to_vec()),
        },
        class: if n.is_multiple_of(2) { "good" } else { "crack" }.to_owned(),
        split: Split::Validation,
    };
    input.labelled = (0..30).map(unreadable).collect();
    let (_, report, _) = artefact(carried_out(&input, &mut Diary::default()));
    assert_eq!(
        report.gate.verdict.reasons(),
        [crate::domain::gate::Reason::NoEvidence]
    );
}

#[test]
fn scores_of_another_mask_are_no_start() {
    let mut first = input();
    let (parent, _, scores) = artefact(carried_out(&first, &mut Diary::default()));
    let start = |mask: Mask| {
        Some(Parent {
            version: MaskVersion(7),
            scores: scores.clone(),
            mask,
        })
    };
    let parent = parent.mask(&first.base).unwrap();
    first.start = start(parent.clone());
    first.seed = 2;
    let (_, report, _) = artefact(carried_out(&first, &mut Diary::default()));
    assert!(
        report
            .training
            .flips_against_parent
            .is_some_and(|flips| flips > 0)
    );
    let masked = parent.tensors.keys().copied();
    first.start = start(Mask::keeping_all(first.base.architecture, masked));
    let device = DeviceChoice::Cpu.open(1).unwrap();
    let refused = perform(&first, device, &mut Diary::default()).err().unwrap();
    assert_eq!(refused.code(), "parent_unusable");
    assert!(!refused.may_pass_again());
}

/// Pictures of two kinds, bright stripes and dark ones, by a recipe with an expert for each.
fn with_experts() -> AttemptInput {
    let of_kind = |n: usize| {
        let (least, step) = if n.is_multiple_of(2) { (0, 1) } else { (190, 7) };
        let pixel = |x: usize, y: usize| (least + (x * step * (n % 5 + 1) + y * step + n * 3) % 60) as u8;
        let mut file = b"P5 40 40 255\n".to_vec();
        file.extend((0..40).flat_map(|y| (0..40).map(move |x| pixel(x, y))));
        Picture {
            digest: Digest::of(&file),
            source: Source::Bytes(file),
        }
    };
    let experts =
        "[experts]\ncount = 2\ncomponents = 2\nrounds = 50\nfloor = 0.3\nsteps = 3\nleast = 4\nwidth = 6\n";
    // A gentle rate: what an untrained network tells apart does not bear many drops.
    let quick = QUICK
        .replace("steps = 5", "steps = 4")
        .replace("rate = 0.2,", "rate = 0.03,");
    let recipe = format!("{quick}{experts}");
    // Without biases, which an untrained network's embeddings are all but made of.
    let mut base = generated_base();
    for (spec, values) in base.architecture.tensors.iter().zip(&mut base.values) {
        if matches!(spec.role, Role::NormBias | Role::NormMean) {
            values.fill(0.0);
        }
    }
    AttemptInput {
        recipe: Recipe::parse(&recipe).unwrap(),
        images: (0..20).map(of_kind).collect(),
        base,
        ..input()
    }
}

#[test]
fn experts_are_trained_on_their_groups_and_reported() {
    let input = with_experts();
    let mut diary = Diary::default();
    let (artefact, report, _) = artefact(carried_out(&input, &mut diary));
    let figures = &report.training.experts;
    assert_eq!(figures.len(), 2, "{:?}", diary.notes);
    let images: u64 = figures.iter().map(|expert| expert.images).sum();
    assert_eq!((images, report.images.used), (20, 20));
    assert!(
        figures
            .iter()
            .all(|expert| expert.images >= 4 && expert.flips > 0),
        "{figures:?}"
    );
    let experts = artefact.experts.as_ref().unwrap();
    assert_eq!((experts.count(), experts.joint.width()), (2, 6));
    artefact.check_networks(&input.base).unwrap();
    let dispatcher = artefact.mask(&input.base).unwrap();
    for (at, expert) in figures.iter().enumerate() {
        let mask = artefact.expert_mask(at + 1, &dispatcher, &input.base).unwrap();
        assert_eq!(mask.flips_against(&dispatcher) as u64, expert.flips);
    }
    assert_eq!(diary.phases, [Phase::Fetch, Phase::Train, Phase::Judge]);
    // The dispatcher is the mask; where no two groups are large enough, it is all there is.
    let mut alone = with_experts();
    if let Some(rule) = &mut alone.recipe.experts {
        rule.least = 19;
    }
    let mut diary = Diary::default();
    let (alone, report, _) = self::artefact(carried_out(&alone, &mut diary));
    assert_eq!(alone.header.weights, artefact.header.weights);
    assert_eq!((alone.version, report.training.experts.len()), (2, 0));
    assert!(
        diary.notes.iter().any(|note| note.starts_with("no experts")),
        "{:?}",
        diary.notes
    );
}

#[test]
fn an_attempt_with_experts_goes_on_in_the_training_where_it_was_stopped() {
    let mut whole = Diary::default();
    let (artefact, ..) = artefact(carried_out(&with_experts(), &mut whole));
    // At the end of the dispatcher's training, in the second expert's.
    for step in [4, 9] {
        let mut diary = Diary {
            stop_at: Some((Phase::Train, step)),
            ..Diary::default()
        };
        let stopped = carried_out(&with_experts(), &mut diary);
        assert!(matches!(stopped, AttemptOutcome::Stopped), "{step}");
        let mut again = with_experts();
        again.resume = Resume::Newest(vec![b"damaged".to_vec(), diary.checkpoints.pop().unwrap()]);
        let mut resumed = Diary::default();
        let (on, ..) = self::artefact(carried_out(&again, &mut resumed));
        assert_eq!(on.header.weights, artefact.header.weights, "{step}");
        assert!(
            on.experts == artefact.experts,
            "other experts after a stop at {step}"
        );
        assert!(resumed.notes.iter().any(|note| note.contains("damaged")));
        assert!(resumed.checkpoints.len() < whole.checkpoints.len(), "{step}");
    }
    // Going on at its end, no checkpoint says less than the one that it goes on at.
    let last = whole.checkpoints.pop().unwrap();
    let stages = |checkpoint: &[u8]| unbundled(checkpoint).unwrap().len();
    assert_eq!(stages(&last), 3);
    let mut again = with_experts();
    again.resume = Resume::From(last);
    let mut ended = Diary::default();
    let (on, ..) = self::artefact(carried_out(&again, &mut ended));
    assert_eq!(on.header.weights, artefact.header.weights);
    assert!(ended.checkpoints.iter().all(|checkpoint| stages(checkpoint) == 3));
    let mut strict = with_experts();
    strict.resume = Resume::From(b"damaged".to_vec());
    let device = DeviceChoice::Cpu.open(1).unwrap();
    let refused = perform(&strict, device, &mut Diary::default()).err().unwrap();
    assert_eq!(refused.code(), "checkpoint_damaged");
}
