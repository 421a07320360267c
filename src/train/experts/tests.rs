//! Groups and joint embeddings of generated embeddings.

use image::{Rgb, RgbImage};

use super::embed::{Cascade, Model};
use super::*;
use crate::base::Preprocessing;
use crate::mask::cascade::{Group, Inference};
use crate::train::Embedder;
use crate::train::generated::generated_base;
use crate::train::random::{Purpose, Stream};

const DIM: usize = 12;

fn rule() -> ExpertsRule {
    ExpertsRule {
        count: 3,
        components: 4,
        rounds: 50,
        floor: 0.05,
        steps: 10,
        least: 10,
        width: 5,
    }
}

/// Embeddings around as many directions as `images` has numbers, so many of each, one direction after the other.
fn embeddings(images: &[usize], seed: u64) -> Vec<f32> {
    let mut stream = Stream::new(seed, Purpose::Groups, [2, 0, 0]);
    let mut values = Vec::new();
    for (group, images) in images.iter().enumerate() {
        for _ in 0..*images {
            let length = stream.next_in(0.5, 2.0);
            let value = |at: usize, noise: f64| {
                let own = if at % 4 == group { 4.0 } else { 1.0 };
                ((own + noise) * length) as f32
            };
            values.extend((0..DIM).map(|at| value(at, stream.next_in(-0.5, 0.5))));
        }
    }
    values
}

#[test]
fn images_of_one_direction_are_one_group_whatever_their_length() {
    let images = [30, 20, 40];
    let found = grouped(&embeddings(&images, 1), DIM, &rule(), 7).expect("there are three");
    assert_eq!(found.router.groups.len(), 3);
    let mut begin = 0;
    let mut groups: Vec<usize> = Vec::new();
    for images in images {
        let own = &found.groups[begin..begin + images];
        assert!(own.iter().all(|group| *group == own[0]), "{own:?}");
        assert_eq!(found.of_group(own[0]).len(), images);
        groups.push(own[0]);
        begin += images;
    }
    groups.sort_unstable();
    assert_eq!(groups, [0, 1, 2]);
}

#[test]
fn a_group_of_too_few_images_is_dissolved_and_its_images_stay() {
    let found = grouped(&embeddings(&[30, 4, 40], 1), DIM, &rule(), 7).expect("two are left");
    assert_eq!(found.router.groups.len(), 2);
    assert_eq!(found.groups.len(), 74);
    let images = |group| found.of_group(group).len();
    assert!(images(0) >= 10 && images(1) >= 10 && images(0) + images(1) == 74);
}

#[test]
fn images_that_make_no_two_groups_make_no_experts() {
    assert!(grouped(&embeddings(&[12, 5], 1), DIM, &rule(), 7).is_none());
    assert!(
        grouped(&[1.0; DIM].repeat(40), DIM, &rule(), 7).is_none(),
        "all are alike"
    );
    assert!(grouped(&embeddings(&[1], 1), DIM, &rule(), 7).is_none());
}

#[test]
fn a_joint_embedding_is_centred_and_of_the_same_variance_in_every_direction() {
    let networks = [1, 2, 3].map(|seed| embeddings(&[20, 20], seed));
    let joint = joint(&networks, DIM, 5).unwrap();
    assert_eq!((joint.parts.len(), joint.width()), (3, 5));
    let of_image = |image: usize| {
        let part = |network: usize| (network, &networks[network][image * DIM..][..DIM]);
        joint.of((0..3).map(part))
    };
    let embedded: Vec<Vec<f32>> = (0..40).map(of_image).collect();
    for at in 0..5 {
        let mean = embedded.iter().map(|row| f64::from(row[at])).sum::<f64>() / 40.0;
        let square = embedded.iter().map(|row| f64::from(row[at]).powi(2)).sum::<f64>() / 40.0;
        // Rounded to bytes, so not to the last bit.
        assert!(mean.abs() < 1e-4, "{at}: {mean}");
        assert!((square - 1.0).abs() < 0.02, "{at}: {square}");
    }
    // A network that did not run counts as its mean: with none at all, the middle comes out.
    assert_eq!(joint.of([]), vec![0.0; 5]);
}

#[test]
fn a_joint_embedding_of_few_images_is_as_wide_as_they_allow() {
    let networks = [1, 2].map(|seed| embeddings(&[3], seed));
    assert_eq!(joint(&networks, DIM, 5).unwrap().width(), 2);
    assert!(joint(&[vec![1.0; DIM], vec![2.0; DIM]], DIM, 5).is_none());
}

#[test]
fn patches_of_a_cascade_are_those_of_each_pictures_own_expert() {
    let dispatcher = generated_base();
    let mut expert = dispatcher.clone();
    expert.values[0].iter_mut().for_each(|weight| *weight *= -1.0);
    // Without a projection the greater group has every picture.
    let group = |weight| Group {
        weight,
        mean: Vec::new(),
        factor: Vec::new(),
    };
    let router = Router {
        projection: Projection::default(),
        groups: vec![group(0.2), group(0.8)],
    };
    let networks = [dispatcher.clone(), dispatcher.clone(), expert.clone()];
    let device = tch::Device::Cpu;
    let cascade = Cascade::new(
        &networks,
        &router,
        &Joint::default(),
        Inference::Conditional,
        device,
    );
    let preprocessing = Preprocessing {
        size: 64,
        ..Preprocessing::of_architecture("efficientnet_lite0")
    };
    let pictures: Vec<RgbImage> = (0..4_u8)
        .map(|shade| {
            RgbImage::from_fn(64, 64, |x, y| {
                Rgb([shade * 50, x as u8 * 3, (y as u8) ^ (x as u8 * shade)])
            })
        })
        .collect();
    let patches = |model: Model| model.patches_own(&pictures, 2, &preprocessing).unwrap();
    let single = |weights| Model::Single(Embedder::new(weights, device).unwrap());
    let found = patches(Model::Cascade(cascade.unwrap()));
    let apart = |other: &[f32]| {
        assert_eq!(found.len(), other.len());
        let apart = found.iter().zip(other).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, f32::max)
    };
    assert_eq!(found.len(), 4 * 4 * dispatcher.architecture.embedding_dim);
    // One picture at a time or all at once: sums in another order.
    let [own, dispatchers] = [&expert, &dispatcher].map(|weights| apart(&patches(single(weights))));
    assert!(100.0 * own < dispatchers, "{own} and {dispatchers}");
}
