//! Signals from neighbourhoods that need no labels.

use super::embeddings::{Embeddings, EvaluateError};
use super::knn::{nearest, neighbours};

/// Instance retrieval: for each image whether, among all images of the second
/// view, its nearest is itself (by cosine). The views show the same images in the same order.
pub fn finds_itself(first: &Embeddings, second: &Embeddings) -> Result<Vec<bool>, EvaluateError> {
    first.paired_with(second.images())?;
    if first.dim() != second.dim() {
        return Err(EvaluateError::Shape {
            values: second.dim(),
            dim: first.dim(),
        });
    }
    let found = nearest(&first.unit(), &second.unit(), first.dim(), 1, false);
    Ok(found
        .iter()
        .enumerate()
        .map(|(image, found)| found.first().is_some_and(|(_, at)| *at == image))
        .collect())
}

/// Neighbourhood stability: the mean share of an image's `k` nearest in the
/// base's space that are among its `k` nearest in the mask's. About
/// `k / images` if the spaces have nothing in common.
pub fn stability(base: &Embeddings, mask: &Embeddings, k: usize) -> Result<f64, EvaluateError> {
    base.paired_with(mask.images())?;
    if k == 0 || base.images() <= k {
        return Err(EvaluateError::TooFew {
            found: base.images(),
            needed: k + 1,
        });
    }
    let (before, after) = (neighbours(base, k), neighbours(mask, k));
    let kept: usize = before
        .iter()
        .zip(&after)
        .map(|(before, after)| {
            let stays = |image| after.iter().any(|(_, other)| other == image);
            before.iter().filter(|(_, image)| stays(image)).count()
        })
        .sum();
    Ok(kept as f64 / (k * base.images()) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::gaussians;
    use super::*;

    #[test]
    fn a_view_finds_itself_unless_the_views_have_nothing_in_common() {
        let (values, _) = gaussians(200, 16, 1, 0.0, 1);
        let (other, _) = gaussians(200, 16, 1, 0.0, 2);
        let near: Vec<f32> = values
            .iter()
            .zip(&other)
            .map(|(value, noise)| value + 0.05 * noise)
            .collect();
        let rows = |values| Embeddings::new(values, 16).unwrap();
        let share = |found: Vec<bool>| found.iter().filter(|found| **found).count();
        assert_eq!(share(finds_itself(&rows(&values), &rows(&near)).unwrap()), 200);
        assert!(share(finds_itself(&rows(&values), &rows(&other)).unwrap()) < 10);
    }

    #[test]
    fn stability_is_one_for_the_same_space_and_chance_for_another() {
        let (values, _) = gaussians(200, 16, 1, 0.0, 1);
        let (other, _) = gaussians(200, 16, 1, 0.0, 2);
        let rows = |values| Embeddings::new(values, 16).unwrap();
        assert_eq!(stability(&rows(&values), &rows(&values), 10).unwrap(), 1.0);
        assert!(stability(&rows(&values), &rows(&other), 10).unwrap() < 0.1);
        assert!(stability(&rows(&values), &rows(&other), 200).is_err());
    }
}
