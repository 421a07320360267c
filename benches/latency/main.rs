//! `make bench NAME=latency`: what a mask does to the time of an inference, on one thread.
//!
//! A mask over single weights, as `factory` makes it, and one over whole filters
//! (`granularity = "filter"`) are laid over EfficientNet-Lite0: both leave the
//! network its shape. Then the network is built without the filters that fell,
//! which is what a device would gain if somebody built it: only outputs of
//! expansions fall, and of these only such as leave nothing behind that the
//! convolution after them could see (ReLU6 makes their BatchNorm's constant 0),
//! so that the smaller network gives the same embeddings.
//!
//! Arguments: the base's file.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use katagami::base::architecture::Plan;
use katagami::base::{Architecture, architecture, import};
use katagami::{base, domain, evaluate, mask};
use tch::{Device, IndexOp, Kind, Tensor};
use train::TrainError;
use train::backbone::{Mode, embed, tensors};

/// No module of the library, but of `katagami-worker`, whose networks are timed here.
#[expect(unused)]
#[path = "../../src/train/mod.rs"]
mod train;

/// Edge length of the network's input in pixels.
const SIZE: i64 = 96;
/// Images of a batch: a device that looks at one part at a time, and one that has several cameras.
const BATCHES: [i64; 2] = [1, 16];
/// Each network is timed so often, in turn.
const ROUNDS: usize = 41;
/// The share of an expansion's outputs that are to fall.
const SHARES: [f64; 2] = [0.25, 0.5];
/// One of so many weights of kernels that are not depthwise falls: about as many as `factory` drops.
const WEIGHTS: usize = 2_000;
/// ε of EfficientNet-Lite's BatchNorm.
const EPSILON: f64 = 1e-3;
/// Tensors of a convolution and the BatchNorm behind it.
const LAYER: usize = 5;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let run = || {
        let base = std::env::args().nth(1).ok_or("name the base's file")?;
        measure(Path::new(&base))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(base: &Path) -> Outcome<()> {
    tch::set_num_threads(1);
    tch::manual_seed(0);
    let architecture = architecture("efficientnet_lite0").ok_or("there is no such architecture")?;
    let base = tensors(&import(architecture, base)?, Device::Cpu)?;
    let _guard = tch::no_grad_guard();
    let mut networks = vec![
        ("base".to_owned(), copies(&base)),
        ("weights".to_owned(), without_weights(architecture, &base)?),
    ];
    for share in SHARES {
        let (laid, narrowed, [fallen, all]) = without_filters(architecture, &base, share)?;
        let name = format!("filters_{:.0}", 100.0 * share);
        println!("{name}: {fallen} of {all} filters of expansions fall");
        println!(
            "figure: latency/{name}/greatest_difference = {:.1e} of_an_embedding",
            difference(architecture, &laid, &narrowed)?
        );
        networks.push((format!("{name}/laid_over"), laid));
        networks.push((format!("{name}/built_smaller"), narrowed));
    }
    for batch in BATCHES {
        let input = Tensor::randn([batch, 3, SIZE, SIZE], (Kind::Float, Device::Cpu));
        let mut seconds = vec![Vec::new(); networks.len()];
        for _ in 0..ROUNDS {
            for ((_, network), seconds) in networks.iter().zip(&mut seconds) {
                let begun = Instant::now();
                let _ = embed(architecture, network, &input, Mode::default())?;
                seconds.push(begun.elapsed().as_secs_f64());
            }
        }
        let whole = median(&seconds[0]);
        println!("figure: latency/base/batch_{batch} = {:.2} ms", 1e3 * whole);
        for ((name, _), seconds) in networks.iter().zip(&seconds).skip(1) {
            println!(
                "figure: latency/{name}/batch_{batch} = {:.2} ratio",
                median(seconds) / whole
            );
        }
    }
    Ok(())
}

/// The base with single weights zero, of all kernels but depthwise ones.
fn without_weights(architecture: &Architecture, base: &[Tensor]) -> Result<Vec<Tensor>, TrainError> {
    let mut masked = copies(base);
    for (tensor, spec) in masked.iter_mut().zip(&architecture.tensors) {
        if spec.role.is_maskable() && spec.shape[1] > 1 {
            let kept = Tensor::f_rand(tensor.size(), (Kind::Float, Device::Cpu))?
                .f_gt(1.0 / WEIGHTS as f64)?
                .f_to_kind(Kind::Float)?;
            *tensor = tensor.f_mul(&kept)?;
        }
    }
    Ok(masked)
}

/// The base with filters zero, the same without them, and how many they are of how many.
fn without_filters(
    architecture: &Architecture,
    base: &[Tensor],
    share: f64,
) -> Outcome<(Vec<Tensor>, Vec<Tensor>, [i64; 2])> {
    let Plan::EfficientNetLite { stages } = &architecture.plan else {
        return Err("only EfficientNet-Lite is built smaller here".into());
    };
    let (mut laid, mut narrowed, mut fallen, mut all) = (copies(base), copies(base), 0, 0);
    let mut at = LAYER;
    for block in stages.iter().flatten() {
        if block.expand == 1 {
            at += 2 * LAYER;
            continue;
        }
        let (expansion, depthwise, projection) = (at, at + LAYER, at + 2 * LAYER);
        at += 3 * LAYER;
        let constant = constants(&base[expansion + 1..depthwise]);
        let strength = base[expansion]
            .abs()
            .sum_dim_intlist(&[1_i64, 2, 3][..], false, Kind::Float);
        // What would leave a constant behind is kept, as is what matters most.
        let order = strength.where_scalarother(&constant.le(0.0), f64::INFINITY);
        let dead = i64::try_from(&constant.le(0.0).sum(Kind::Int64))?;
        let width = constant.size()[0];
        let falls = ((width as f64 * share) as i64).min(dead);
        let order = order.argsort(0, false);
        let (gone, kept) = (order.i(..falls), order.i(falls..).sort(0, false).0);
        fallen += falls;
        all += width;
        laid[expansion] = base[expansion].index_fill(0, &gone, 0.0);
        for layer in &mut narrowed[expansion..projection] {
            *layer = layer.index_select(0, &kept);
        }
        narrowed[projection] = base[projection].index_select(1, &kept);
        // A depthwise convolution of nothing is nothing; its BatchNorm's constant goes on to each output.
        let left = constants(&base[depthwise + 1..projection])
            .clamp(0.0, 6.0)
            .index_select(0, &gone);
        let summand = base[projection].index_select(1, &gone).flatten(1, -1).mv(&left);
        narrowed[projection + 3] = &base[projection + 3] - summand;
    }
    Ok((laid, narrowed, [fallen, all]))
}

/// What a BatchNorm (factor, summand, mean, variance) makes of 0.
fn constants(norm: &[Tensor]) -> Tensor {
    &norm[1] - &norm[2] * &norm[0] / (&norm[3] + EPSILON).sqrt()
}

/// The greatest difference of two networks' embeddings, as a share of the embedding's length.
fn difference(architecture: &Architecture, first: &[Tensor], second: &[Tensor]) -> Outcome<f64> {
    let input = Tensor::randn([8, 3, SIZE, SIZE], (Kind::Float, Device::Cpu));
    let [first, second] =
        [first, second].map(|network| embed(architecture, network, &input, Mode::default()));
    let (first, second) = (first?, second?);
    let length = first.norm_scalaropt_dim(2, [1], false);
    let apart = (first - second).norm_scalaropt_dim(2, [1], false);
    Ok(f64::try_from(&(apart / length).max())?)
}

fn copies(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

fn median(seconds: &[f64]) -> f64 {
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
