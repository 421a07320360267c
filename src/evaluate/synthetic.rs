//! Embeddings whose true quality is known, for tests.

use super::random::Stream;

/// `images` of `classes` in turn: unit Gaussians whose first `classes`
/// dimensions hold the class at height `separation`. Values and labels.
pub(crate) fn gaussians(
    images: usize,
    dim: usize,
    classes: usize,
    separation: f32,
    seed: u64,
) -> (Vec<f32>, Vec<usize>) {
    let labels: Vec<usize> = (0..images).map(|image| image % classes).collect();
    let mut noise = Stream::new(seed, &[0x6761_7573]);
    let mut values: Vec<f32> = (0..images * dim).map(|_| noise.normal()).collect();
    for (row, label) in values.chunks_exact_mut(dim).zip(&labels) {
        row[*label] += separation * 2.0;
    }
    (values, labels)
}
