//! The probe on embeddings whose true quality is known.

use super::super::paired::{Resampling, compare};
use super::super::synthetic::gaussians;
use super::*;

fn answers(values: &[f32], dim: usize, labels: &[usize], repeats: usize) -> Answers {
    let gram = Gram::new(&Embeddings::new(values, dim).unwrap());
    cross_validate(
        &gram,
        labels,
        &ProbeSettings {
            repeats,
            ..ProbeSettings::default()
        },
    )
    .unwrap()
    .right(labels)
}

fn accuracy(separation: f32, classes: usize) -> f64 {
    let (values, labels) = gaussians(240, 40, classes, separation, 3);
    let answers = answers(&values, 40, &labels, 3);
    compare(&answers, &answers, &labels, &Resampling::default())
        .unwrap()
        .base
        .value
}

#[test]
fn separate_classes_are_told_apart_and_noise_is_chance() {
    for classes in [2, 4] {
        assert!(accuracy(5.0, classes) > 0.99);
        let noise = accuracy(0.0, classes) * classes as f64;
        assert!((0.75..1.25).contains(&noise), "{noise} times chance");
    }
}

#[test]
fn more_dimensions_than_images_work_and_a_rare_class_is_not_forgotten() {
    let (mut values, labels) = gaussians(120, 400, 2, 0.0, 3);
    // Classes 1 apart in 80 dimensions: the best classifier is wrong once in 10^5.
    for (row, label) in values.chunks_exact_mut(400).zip(&labels) {
        row[..80].iter_mut().for_each(|value| *value += *label as f32);
    }
    let keep: Vec<usize> = (0..120)
        .filter(|image| labels[*image] == 0 || *image < 30)
        .collect();
    let few: Vec<f32> = keep
        .iter()
        .flat_map(|image| values[image * 400..][..400].to_vec())
        .collect();
    let labels: Vec<usize> = keep.iter().map(|image| labels[*image]).collect();
    let answers = answers(&few, 400, &labels, 2);
    let figure = compare(&answers, &answers, &labels, &Resampling::default()).unwrap();
    assert!(figure.base.value > 0.85, "{figure:?}");
}

#[test]
fn a_real_improvement_is_detected_and_its_loss_too() {
    let (base, labels) = gaussians(400, 40, 2, 0.6, 3);
    let (mask, _) = gaussians(400, 40, 2, 1.2, 3);
    let (base, mask) = (answers(&base, 40, &labels, 3), answers(&mask, 40, &labels, 3));
    let gain = compare(&base, &mask, &labels, &Resampling::default()).unwrap();
    assert!(gain.difference.lower > 0.0, "{gain:?}");
    assert!(
        compare(&mask, &base, &labels, &Resampling::default())
            .unwrap()
            .difference
            .upper
            < 0.0
    );
}

/// Retrained probes on two equally good, independent sets of features: how often the interval misses 0.
#[test]
fn intervals_of_cross_validated_probes_hold_nothing_where_there_is_nothing() {
    let missed = (0..100).filter(|trial| {
        let (base, labels) = gaussians(120, 12, 2, 0.5, 2 * trial);
        let (mask, _) = gaussians(120, 12, 2, 0.5, 2 * trial + 1);
        let (base, mask) = (answers(&base, 12, &labels, 3), answers(&mask, 12, &labels, 3));
        let resampling = Resampling {
            resamples: 400,
            seed: *trial,
            ..Resampling::default()
        };
        let difference = compare(&base, &mask, &labels, &resampling).unwrap().difference;
        difference.lower > 0.0 || difference.upper < 0.0
    });
    let missed = missed.count();
    println!("probe intervals that missed 0: {missed} of 100");
    assert!(missed <= 14, "{missed} of 100");
}

#[test]
fn every_image_is_asked_about_once_in_a_run_and_classes_are_spread() {
    let (_, labels) = gaussians(103, 3, 3, 0.0, 1);
    let folds = stratified_folds(&labels, 5, 1, 0);
    for class in 0..3 {
        let sizes = (0..5).map(|fold| {
            (0..103)
                .filter(|i| folds[*i] == fold && labels[*i] == class)
                .count()
        });
        let sizes: Vec<usize> = sizes.collect();
        assert!(
            sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1,
            "{sizes:?}"
        );
    }
    assert_ne!(folds, stratified_folds(&labels, 5, 1, 1));
}

#[test]
fn threads_do_not_matter() {
    let (values, labels) = gaussians(80, 100, 2, 0.7, 6);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| answers(&values, 100, &labels, 2))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn training_and_test_apart() {
    let (values, labels) = gaussians(200, 20, 2, 5.0, 6);
    let (train, test) = values.split_at(150 * 20);
    let (train, test) = (
        Embeddings::new(train, 20).unwrap(),
        Embeddings::new(test, 20).unwrap(),
    );
    let found = classify(&train, &labels[..150], &test, 0.05).unwrap();
    assert_eq!(found, labels[150..]);
    assert!(classify(&train, &[1; 150], &test, 0.05).is_err());
}

/// As other libraries fit two classes: one vector of weights, found here by plain gradient descent.
#[test]
fn two_classes_are_penalised_as_one_vector() {
    let (dim, l2) = (3, 0.05);
    let (values, labels) = gaussians(40, dim, 2, 1.0, 7);
    let all = Embeddings::new(&values, dim).unwrap();
    let images: Vec<usize> = (0..40).collect();
    let scores = Gram::new(&all).fit_and_score(&images, &images, &labels, l2);

    let rows = all.centred(true);
    let logit = |weights: &[f64], row: &[f64]| -> f64 {
        weights[dim]
            + row
                .iter()
                .zip(weights)
                .map(|(value, weight)| value * weight)
                .sum::<f64>()
    };
    let of_second = labels.iter().filter(|label| **label == 1).count() as f64;
    let mut weights = vec![0.0; dim + 1];
    for _ in 0..20_000 {
        let mut slope: Vec<f64> = weights.iter().map(|weight| l2 * weight).collect();
        slope[dim] = 0.0;
        for (row, label) in rows.chunks_exact(dim).zip(&labels) {
            let share = if *label == 1 { of_second } else { 40.0 - of_second };
            let told = 1.0 / (1.0 + (-logit(&weights, row)).exp());
            let error = (told - *label as f64) / (2.0 * share);
            row.iter()
                .enumerate()
                .for_each(|(at, value)| slope[at] += error * value);
            slope[dim] += error;
        }
        weights
            .iter_mut()
            .zip(&slope)
            .for_each(|(weight, slope)| *weight -= 0.1 * slope);
    }
    for (row, scores) in rows.chunks_exact(dim).zip(&scores) {
        let (ours, theirs) = (scores[1] - scores[0], logit(&weights, row));
        assert!((ours - theirs).abs() < 1e-2, "{ours} {theirs}");
    }
}

#[test]
fn fits_of_large_sets_do_not_all_run_at_once() {
    assert!(at_once(500) >= 25, "small ones do");
    assert_eq!(at_once(8_000), 4);
    assert_eq!(at_once(100_000), 1);
}
