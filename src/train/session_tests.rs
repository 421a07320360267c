//! A training that is interrupted ends as one that was not, and what cannot go on is an error.

use std::cell::RefCell;

use super::*;
use crate::base::Role;
use crate::train::backbone::{self, Mode, tensor};
use crate::train::device::DeviceChoice;
use crate::train::embed::values;
use crate::train::generated::{QUICK, generated, generated_base};
use crate::train::head::Head;
use crate::train::scores::{Scores, TrainedMask};
use crate::train::swav::{self, Views};
use crate::train::tuned::Tuned;

/// What a training borrows.
struct Bench {
    base: Weights,
    images: Vec<RgbImage>,
    preprocessing: Preprocessing,
    view: View,
    recipe: Recipe,
    device: tch::Device,
}

impl Bench {
    fn new(recipe: &str) -> Self {
        let pixel = |n: u32, x: u32, y: u32| ((x * (n % 7 + 1) + y * (n % 5 + 1)) * 8 % 256) as u8;
        let image = |n| RgbImage::from_fn(40, 40, |x, y| image::Rgb([pixel(n, x, y); 3]));
        Self {
            base: generated_base(),
            images: (0..9).map(image).collect(),
            preprocessing: Preprocessing::of_architecture("efficientnet_lite0"),
            view: View::default(),
            recipe: Recipe::parse(recipe).unwrap(),
            device: DeviceChoice::Cpu.open(1).unwrap(),
        }
    }

    fn training(&self) -> Training<'_> {
        Training {
            base: &self.base,
            images: &self.images,
            images_digest: Digest::of(b"images"),
            preprocessing: &self.preprocessing,
            view: &self.view,
            recipe: &self.recipe,
            seed: 1,
            start: Start::KeepAll,
            device: self.device,
        }
    }
}

const ALWAYS: Keep = Keep {
    every: Duration::ZERO,
    last: false,
};
const NEVER: Keep = Keep {
    every: Duration::from_hours(1),
    last: false,
};

fn in_one_go(training: &Training) -> Outcome<TrainedMask> {
    train::<Scores>(training, None, NEVER, &mut |_| Order::Continue).unwrap()
}

/// Trains until `last` steps are done, and answers the outcome with the checkpoint.
fn until(
    training: &Training,
    resume: Option<&[u8]>,
    last: u32,
    order: Order,
) -> (Outcome<TrainedMask>, Option<Vec<u8>>) {
    let mut checkpoint = None;
    let outcome = train::<Scores>(training, resume, NEVER, &mut |event| match event {
        Event::Step(progress) if progress.step >= last => order,
        Event::Step(_) => Order::Continue,
        Event::Checkpoint { step, bytes } => {
            assert_eq!(step, last);
            checkpoint = Some(bytes.to_vec());
            Order::Continue
        }
    });
    (outcome.unwrap(), checkpoint)
}

fn same<P: PartialEq + std::fmt::Debug>(resumed: &Outcome<P>, whole: &Outcome<P>) {
    assert_eq!(resumed.learned, whole.learned);
    assert_eq!(resumed.losses, whole.losses);
    assert!(!resumed.stopped);
}

#[test]
fn a_training_that_was_killed_twice_ends_with_the_same_bits() {
    let bench = Bench::new(QUICK);
    let training = bench.training();
    let whole = in_one_go(&training);
    assert!(whole.learned.mask.dropped() > 0 && whole.learned.mask.norms.is_empty());
    assert_eq!(
        whole.learned.scores.tensors.len(),
        whole.learned.mask.tensors.len()
    );

    let (first, checkpoint) = until(&training, None, 1, Order::Stop);
    assert!(first.stopped && first.losses.len() == 1);
    let (second, checkpoint) = until(&training, checkpoint.as_deref(), 3, Order::Stop);
    assert_eq!(second.losses, whole.losses[..3]);
    let resumed = train::<Scores>(&training, checkpoint.as_deref(), NEVER, &mut |_| Order::Continue).unwrap();
    same(&resumed, &whole);
    assert!(resumed.seconds >= second.seconds);
}

#[test]
fn queue_and_moving_statistics_are_part_of_a_checkpoint() {
    let recipe = QUICK
        .replace("skip-first = 8", "skip-first = 8, norms = \"moving\"")
        .replace(
            "drop-connect = 0.2",
            "drop-connect = 0.2, queue = { length = 6, from = 0.2 }",
        );
    let bench = Bench::new(&recipe);
    let training = bench.training();
    let whole = in_one_go(&training);
    let moved = whole
        .learned
        .mask
        .norms
        .iter()
        .filter(|(index, values)| bench.base.values[**index] != **values);
    assert_eq!(
        moved.count(),
        whole.learned.mask.norms.len(),
        "every statistic has moved"
    );
    assert_ne!(
        whole.losses,
        in_one_go(&Bench::new(QUICK).training()).losses,
        "the recipe matters"
    );
    for last in [2, 4] {
        let (_, checkpoint) = until(&training, None, last, Order::Stop);
        same(
            &train::<Scores>(&training, checkpoint.as_deref(), NEVER, &mut |_| Order::Continue).unwrap(),
            &whole,
        );
    }
}

#[test]
fn statistics_can_be_moved_by_large_crops_alone() {
    let with = |norms: &str| QUICK.replace("skip-first = 8", &format!("skip-first = 8, norms = \"{norms}\""));
    let [all, large] = ["moving", "moving-large"].map(|norms| {
        let bench = Bench::new(&with(norms));
        let outcome = in_one_go(&bench.training());
        let norms = &outcome.learned.mask.norms;
        assert!(
            norms
                .iter()
                .all(|(index, values)| bench.base.values[*index] != *values),
            "each has moved"
        );
        outcome
    });
    assert_ne!(all.learned.mask.norms, large.learned.mask.norms);
    assert_ne!(all.losses, large.losses, "small crops are normalised otherwise");
}

#[test]
fn checkpoints_come_in_time_and_none_after_the_lease_was_lost() {
    let bench = Bench::new(QUICK);
    let training = bench.training();
    let steps = RefCell::new(Vec::new());
    let mut told = |event: Event| {
        if let Event::Checkpoint { step, .. } = event {
            steps.borrow_mut().push(step);
        }
        Order::Continue
    };
    train::<Scores>(&training, None, ALWAYS, &mut told).unwrap();
    assert_eq!(*steps.borrow(), [1, 2, 3, 4]);
    let (outcome, checkpoint) = until(&training, None, 2, Order::LeaseLost);
    assert!(outcome.stopped && checkpoint.is_none());
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let bench = Bench::new(QUICK);
    let training = bench.training();
    let (_, checkpoint) = until(&training, None, 1, Order::Stop);
    let refused = |training: Training| {
        let told = &mut |_: Event| panic!("no step is done");
        train::<Scores>(&training, checkpoint.as_deref(), NEVER, told)
            .unwrap_err()
            .to_string()
    };
    let seed = refused(Training { seed: 2, ..training });
    assert!(seed.contains("another seed"), "{seed}");
    let longer = bench.recipe.clone().within(6);
    assert!(
        refused(Training {
            recipe: &longer,
            ..training
        })
        .contains("another recipe")
    );
}

#[test]
fn a_successor_begins_with_its_parents_mask_and_statistics() {
    let bench = Bench::new(QUICK);
    let parent = in_one_go(&bench.training());
    let index = (bench.base.architecture.tensors.iter())
        .position(|spec| spec.role == Role::NormMean)
        .unwrap();
    let norms = BTreeMap::from([(index, vec![0.5; bench.base.values[index].len()])]);
    let scores = FinalScores::decode(&parent.learned.scores.encode(), &bench.base).unwrap();
    let successor = Training {
        start: Start::Parent {
            scores: &scores,
            norms: &norms,
        },
        ..bench.training()
    };
    // One step of warm-up: the mask is still the parent's.
    let (first, checkpoint) = until(&successor, None, 1, Order::Stop);
    assert_eq!(first.learned.mask.tensors, parent.learned.mask.tensors);
    assert_eq!(first.learned.mask.norms, norms);
    assert_ne!(
        first.losses[0], parent.losses[0],
        "the warm-up runs the parent's network"
    );
    let whole = in_one_go(&successor);
    assert!(whole.learned.mask.flips_against(&parent.learned.mask) > 0);
    same(
        &train::<Scores>(&successor, checkpoint.as_deref(), NEVER, &mut |_| Order::Continue).unwrap(),
        &whole,
    );
    let told = &mut |_: Event| Order::Continue;
    let anew = train::<Scores>(&bench.training(), checkpoint.as_deref(), NEVER, told).unwrap_err();
    assert!(anew.to_string().contains("another start"), "{anew}");
}

#[test]
fn the_best_moment_by_images_held_out_is_kept_whether_interrupted_or_not() {
    let selection = "selection = { held-out = 0.33, every = 1 }";
    let mut bench = Bench::new(&format!("{selection}{QUICK}"));
    let pixel = |n: u32, x: u32, y: u32| ((x * (n % 7 + 1) + y * (n % 5 + 1) + n) * 8 % 256) as u8;
    let image = |n| RgbImage::from_fn(40, 40, |x, y| image::Rgb([pixel(n, x, y); 3]));
    bench.images = (0..60).map(image).collect();
    bench.preprocessing.size = 32;
    let training = bench.training();
    let whole = in_one_go(&training);
    let steps: Vec<u32> = whole.moments.iter().map(|moment| moment.step).collect();
    assert_eq!(
        steps,
        [2, 3, 4, 5],
        "one moment after each step behind the warm-up"
    );
    let worth = |moment: &Moment| moment.worth.unwrap_or(0.0);
    let best = whole.moments.iter().map(worth).fold(0.0, f32::max);
    let kept = whole
        .moments
        .iter()
        .find(|moment| worth(moment) == best && best > 0.0);
    assert_eq!(
        whole.learned.mask.dropped() as u32,
        kept.map_or(0, |moment| moment.dropped)
    );
    for last in [1, 3, 4] {
        let (_, checkpoint) = until(&training, None, last, Order::Stop);
        let told = &mut |_: Event| Order::Continue;
        let resumed = train::<Scores>(&training, checkpoint.as_deref(), NEVER, told).unwrap();
        same(&resumed, &whole);
        assert_eq!(resumed.moments, whole.moments);
    }
    // Too few to tell: all train, and the last moment is kept.
    bench.images.truncate(30);
    let last = in_one_go(&bench.training());
    assert!(last.moments.is_empty() && last.learned.mask.dropped() > 0);
}

#[test]
fn half_precision_follows_the_same_training_roughly() {
    let exact = in_one_go(&Bench::new(QUICK).training());
    let bench = Bench::new(&format!("precision = \"bfloat16\"{QUICK}"));
    let rough = in_one_go(&bench.training());
    assert_ne!(rough.losses, exact.losses, "it is another arithmetic");
    // Later ones are those of other masks.
    for (rough, exact) in rough.losses.iter().zip(&exact.losses).take(2) {
        assert!((rough - exact).abs() < 0.1 * exact, "{rough} {exact}");
    }
    assert!(rough.learned.mask.dropped() > 0);
    same(&in_one_go(&bench.training()), &rough);
    // A transformer on another grid than its own, with every kind of layer.
    let mut transformer = Bench::new(&format!("precision = \"bfloat16\"{QUICK}"));
    transformer.base = generated("vit_small_patch14_dinov2");
    assert!(
        in_one_go(&transformer.training())
            .losses
            .iter()
            .all(|loss| loss.is_finite())
    );
}

#[test]
fn float16_is_for_cards_alone() {
    let bench = Bench::new(&format!("precision = \"float16\"{QUICK}"));
    let refused = train::<Scores>(&bench.training(), None, NEVER, &mut |_| Order::Continue).unwrap_err();
    assert!(matches!(refused, TrainError::NeedsCard));
    assert!(refused.to_string().contains("--device cuda"), "{refused}");
}

#[test]
fn the_scale_of_the_loss_is_part_of_a_checkpoint() {
    // What is refused on a CPU is the same code there.
    let bench = Bench::new(&format!("precision = \"float16\"{QUICK}"));
    let training = bench.training();
    let run = |resume: Option<&[u8]>, last: u32| {
        let mut checkpoint = None;
        let outcome = carried_out::<Scores>(&training, resume, NEVER, &mut |event| match event {
            Event::Step(progress) if progress.step == last => Order::Stop,
            Event::Step(_) => Order::Continue,
            Event::Checkpoint { bytes, .. } => {
                checkpoint = Some(bytes.to_vec());
                Order::Continue
            }
        });
        (outcome.unwrap(), checkpoint)
    };
    let (whole, none) = run(None, 5);
    assert!(none.is_none() && whole.losses.iter().all(|loss| loss.is_finite()));
    assert!(whole.learned.mask.dropped() > 0, "steps move something");
    for last in [1, 3] {
        let (_, checkpoint) = run(None, last);
        same(&run(checkpoint.as_deref(), 5).0, &whole);
    }
    // The same state without the scale is no checkpoint of this training.
    let exact = Bench::new(QUICK);
    let numbers = |bench: &Bench| Session::<Scores>::new(&bench.training(), &[]).unwrap().numbers();
    assert_eq!(numbers(&bench), numbers(&exact) + 2);
}

#[test]
fn flips_by_evidence_survive_an_interruption_between_two_decisions() {
    let evidence = "rule = \"evidence\", evidence = { window = 3, confidence = 1.5, price = 1e-12, most = 9, order = \"benefit\" }";
    let rule = QUICK.replace("skip-first = 8", &format!("skip-first = 8, {evidence}"));
    let rule = rule.replace("normalise = true", "normalise = false");
    let bench = Bench::new(&rule.replace("steps = 5", "steps = 8"));
    let training = bench.training();
    let whole = in_one_go(&training);
    let dropped = whole.learned.mask.dropped();
    assert!(
        (1..=18).contains(&dropped),
        "two windows of at most nine flips: {dropped}"
    );
    for last in [3, 6] {
        let (_, checkpoint) = until(&training, None, last, Order::Stop);
        let told = &mut |_: Event| Order::Continue;
        same(
            &train::<Scores>(&training, checkpoint.as_deref(), NEVER, told).unwrap(),
            &whole,
        );
    }
}

#[test]
fn filters_of_a_transformer_fall_in_the_tensors_that_the_recipe_names() {
    // Crops of 32 pixels are no whole patches of 14; they become 42.
    let choice = "skip-first = 1, include = [\"blocks.11.*\"], granularity = \"filter\"";
    let mut bench = Bench::new(&QUICK.replace("skip-first = 8", choice));
    bench.base = generated("vit_small_patch14_dinov2");
    let learned = in_one_go(&bench.training()).learned;
    let specs = &bench.base.architecture.tensors;
    let names: Vec<_> = (learned.mask.tensors.keys())
        .map(|index| specs[*index].name.as_str())
        .collect();
    let rest_of_block = ["attn.proj", "mlp.fc1", "mlp.fc2"].map(|part| format!("blocks.11.{part}.weight"));
    assert_eq!(names, rest_of_block);
    assert!(learned.mask.dropped() > 0);
    for (index, bits) in &learned.mask.tensors {
        let row = bits.len() / specs[*index].rows();
        let whole = (0..bits.len()).all(|weight| bits.get(weight) == bits.get(weight - weight % row));
        assert!(whole, "{}", specs[*index].name);
    }
}

#[test]
fn a_pattern_without_a_tensor_ends_a_training_before_it_begins() {
    let bench = Bench::new(&QUICK.replace("skip-first = 8", "skip-first = 8, exclude = [\"layer4.*\"]"));
    let refused = train::<Scores>(&bench.training(), None, NEVER, &mut |_| panic!("it began"));
    let said = refused.unwrap_err().to_string();
    assert!(
        said.contains("`layer4.*`") && said.contains("efficientnet_lite0"),
        "{said}"
    );
}

/// [`QUICK`], but the weights themselves move.
fn finetuning() -> String {
    let rule = "finetune = { rate = 0.05, momentum = 0.9 }";
    format!("mode = \"finetune\"\n{rule}{QUICK}")
}

#[test]
fn a_fine_tuning_moves_the_weights_that_a_mask_would_mask_and_can_be_interrupted() {
    let bench = Bench::new(&finetuning());
    let training = bench.training();
    let told = &mut |_: Event| Order::Continue;
    let whole = train::<Tuned>(&training, None, NEVER, told).unwrap();
    let masked = bench.recipe.masked_tensors(bench.base.architecture).unwrap();
    for (index, values) in whole.learned.values.iter().enumerate() {
        let moved = *values != bench.base.values[index];
        assert_eq!(moved, masked.contains(&index), "tensor {index}");
        assert!(values.iter().all(|value| value.is_finite()));
    }
    // The warm-up and what it draws are those of a mask's training.
    let mask = in_one_go(&Bench::new(QUICK).training());
    assert_eq!(whole.losses[..2], mask.losses[..2]);
    assert_ne!(whole.losses[2..], mask.losses[2..]);

    let mut checkpoint = Vec::new();
    let stopped = train::<Tuned>(&training, None, NEVER, &mut |event| match event {
        Event::Step(progress) => {
            assert_eq!(progress.dropped, None);
            if progress.step < 3 {
                Order::Continue
            } else {
                Order::Stop
            }
        }
        Event::Checkpoint { bytes, .. } => {
            checkpoint = bytes.to_vec();
            Order::Continue
        }
    });
    assert!(stopped.unwrap().stopped);
    same(
        &train::<Tuned>(&training, Some(&checkpoint), NEVER, told).unwrap(),
        &whole,
    );
    // Of the same lengths as a mask's, but of another recipe.
    let refused = train::<Scores>(&Bench::new(QUICK).training(), Some(&checkpoint), NEVER, told);
    assert!(refused.unwrap_err().to_string().contains("another recipe"));
}

#[test]
fn a_fine_tuning_starts_from_no_mask() {
    let parent = in_one_go(&Bench::new(QUICK).training()).learned;
    let bench = Bench::new(&finetuning());
    let training = Training {
        start: Start::Parent {
            scores: &parent.scores,
            norms: &parent.mask.norms,
        },
        ..bench.training()
    };
    let told = &mut |_: Event| panic!("no step is done");
    let said = train::<Tuned>(&training, None, NEVER, told)
        .unwrap_err()
        .to_string();
    assert!(said.contains("no start for a fine-tuning"), "{said}");
}

#[test]
fn a_panic_is_a_failed_training_and_not_the_end_of_the_process() {
    let bench = Bench::new(QUICK);
    let told = &mut |_: Event| panic!("the disk is on fire");
    let said = train::<Scores>(&bench.training(), None, NEVER, told)
        .unwrap_err()
        .to_string();
    assert!(said.contains("the disk is on fire"), "{said}");
}

/// The gradient that training uses is that of the loss: along it, the loss
/// changes by its squared length. In float64, so that the difference is no noise.
#[test]
fn the_gradient_of_the_loss_agrees_with_finite_differences() {
    const SIZE: usize = 32;
    let bench = Bench::new(QUICK);
    let double = |tensors: Vec<tch::Tensor>| -> Vec<tch::Tensor> {
        tensors
            .iter()
            .map(|tensor| tensor.to_kind(tch::Kind::Double))
            .collect()
    };
    let architecture = bench.base.architecture;
    let network = double(backbone::tensors(&bench.base, bench.device).unwrap());
    let head = double(
        Head::new(&bench.recipe.head, architecture.embedding_dim, 1)
            .leaves(bench.device)
            .unwrap(),
    );
    let views = Views {
        batch: 4,
        large: 2,
        all: 3,
    };
    let pixels: Vec<f32> = (0..12 * 3 * SIZE * SIZE)
        .map(|n| ((n * 37 % 255) as f32 / 255.0).sin())
        .collect();
    let input = tensor(&pixels, &[12, 3, SIZE, SIZE], bench.device)
        .unwrap()
        .to_kind(tch::Kind::Double);
    let index = architecture.index_of("_conv_head.weight").unwrap();
    let similarities = |leaf: &tch::Tensor| {
        let mut tensors: Vec<tch::Tensor> = network.iter().map(tch::Tensor::shallow_clone).collect();
        tensors[index] = leaf.shallow_clone();
        let embeddings = backbone::embed(architecture, &tensors, &input, Mode::default()).unwrap();
        Head::similarities(&head, &Head::project(&head, &embeddings).unwrap()).unwrap()
    };
    let leaf = network[index].detach().set_requires_grad(true);
    let at_leaf = similarities(&leaf);
    // Codes are constants of the loss.
    let codes = swav::codes(&at_leaf, views, &bench.recipe.swav, None).unwrap();
    let loss = |similarities: &tch::Tensor| {
        swav::swapped_prediction(similarities, &codes, views, bench.recipe.swav.temperature).unwrap()
    };
    let gradient = tch::Tensor::f_run_backward(&[&loss(&at_leaf)], &[&leaf], false, false).unwrap();
    let gradient = gradient[0].to_kind(tch::Kind::Double);
    let squared = gradient.square().sum(tch::Kind::Double).double_value(&[]);
    assert!(squared > 0.0 && values(&gradient).unwrap().iter().all(|value| value.is_finite()));
    let step = 1e-5 / squared.sqrt();
    let moved = |by: f64| loss(&similarities(&(leaf.detach() + &gradient * (by * step)))).double_value(&[]);
    let slope = (moved(1.0) - moved(-1.0)) / (2.0 * step);
    assert!(
        (slope / squared - 1.0).abs() < 1e-3,
        "{slope} and {squared} should agree"
    );
}

#[test]
fn a_training_that_goes_on_at_its_last_state_has_its_result_at_once() {
    let bench = Bench::new(QUICK);
    let training = bench.training();
    let keep = Keep { last: true, ..NEVER };
    let mut last = None;
    let whole = train::<Scores>(&training, None, keep, &mut |event| {
        if let Event::Checkpoint { step, bytes } = event {
            last = Some((step, bytes.to_vec()));
        }
        Order::Continue
    })
    .unwrap();
    let (step, checkpoint) = last.expect("one after the last step");
    assert_eq!(step as usize, whole.losses.len());
    let mut heard = Vec::new();
    let again = train::<Scores>(&training, Some(&checkpoint), keep, &mut |event| {
        match event {
            Event::Checkpoint { bytes, .. } => heard.push(bytes.to_vec()),
            Event::Step(_) => panic!("no step is left"),
        }
        Order::Continue
    });
    assert_eq!(again.unwrap(), whole);
    assert_eq!(heard, [checkpoint], "it is handed on");
}
