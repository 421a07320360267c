//! Data health by embedding: which of an attempt's images lie away from the
//! others in the base's space, and which labels the others contradict.
//!
//! The base's space and not the mask's: a mask that learned from bad images
//! would find them usual.

use super::evidence::Labelled;
use crate::domain::Digest;
use crate::domain::health::{DoubtedLabel, EmbeddingHealth, Finding, FindingCode, MOST_LISTED};
use crate::evaluate::label_errors::{LabelSettings, label_errors};
use crate::evaluate::outliers::{OutlierSettings, outliers};
use crate::evaluate::{Embeddings, EvaluateError};

/// What the base's embeddings say: of training images `trained`, whose digests
/// are `digests` (at least as many), and of each labelled set by itself, since
/// the gate must learn nothing from the test split.
pub(super) fn health(
    trained: &Embeddings,
    digests: &[Digest],
    sets: &[(&Labelled, Embeddings)],
) -> Result<EmbeddingHealth, EvaluateError> {
    let settings = OutlierSettings::default();
    let found = outliers(trained, &settings);
    let of_images = |code, explanation: String, images: &[usize]| {
        let images = images.iter().map(|image| digests[*image]).collect();
        Finding::of(code, explanation, images)
    };
    let mut findings = vec![
        of_images(
            FindingCode::Outlier,
            format!(
                "alone in the base's space: far from its {} nearest of {} images looked at",
                settings.neighbours,
                trained.images()
            ),
            &found.alone,
        ),
        of_images(
            FindingCode::OffTopic,
            format!(
                "in a group of at most {:.0} % of the {} images looked at that is away from the rest in the base's space",
                100.0 * settings.small,
                trained.images()
            ),
            &found.off_topic,
        ),
    ];
    let mut labels = Vec::new();
    for (set, embeddings) in sets {
        labels.extend(doubted(set, embeddings)?);
    }
    findings.push(Finding::of(
        FindingCode::LabelError,
        "labelled otherwise than nearest neighbours and a probe that never saw it say, of the validation set"
            .to_owned(),
        labels.iter().map(|label| label.image).collect(),
    ));
    findings.retain(|finding| finding.count > 0);
    labels.truncate(MOST_LISTED);
    Ok(EmbeddingHealth {
        images: trained.images() as u64,
        labelled: sets
            .iter()
            .map(|(_, embeddings)| embeddings.images() as u64)
            .sum(),
        findings: findings
            .into_iter()
            .map(|finding| finding.bounded(MOST_LISTED))
            .collect(),
        labels,
    })
}

/// The labels of a set that are doubted; none of a set that is too small to say.
fn doubted(set: &Labelled, embeddings: &Embeddings) -> Result<Vec<DoubtedLabel>, EvaluateError> {
    let doubts = match label_errors(embeddings, &set.labels, &LabelSettings::default()) {
        Ok(doubts) => doubts,
        Err(EvaluateError::OneClass | EvaluateError::TooFew { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let label = |doubt: crate::evaluate::label_errors::Doubt| DoubtedLabel {
        image: set.digests[doubt.image],
        given: set.classes[set.labels[doubt.image]].clone(),
        likely: set.classes[doubt.likely].clone(),
    };
    Ok(doubts.into_iter().map(label).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[images, 4]`: two classes in turn, far from each other, each image a little apart.
    fn space(images: usize) -> Vec<f32> {
        let wave = |n: usize| ((n * 37 % 101) as f32 / 101.0 - 0.5) * 0.5;
        (0..images)
            .flat_map(|n| {
                [
                    1.0 - (n % 2) as f32 * 2.0,
                    wave(n),
                    wave(n * 7 + 3),
                    wave(n * 13 + 5),
                ]
            })
            .collect()
    }

    fn digests(count: usize) -> Vec<Digest> {
        (0..count).map(|n| Digest::of(&n.to_le_bytes())).collect()
    }

    #[test]
    fn a_wrong_label_is_named_with_both_classes_and_a_healthy_set_with_nothing() {
        let (trained, labelled) = (space(60), space(80));
        let rows = |values| Embeddings::new(values, 4).unwrap();
        let mut set = Labelled::of_test(
            (0..80).map(|n| n % 2).collect(),
            digests(80),
            vec!["crack".to_owned(), "good".to_owned()],
        );
        let healthy = health(&rows(&trained), &digests(60), &[(&set, rows(&labelled))]).unwrap();
        assert_eq!((healthy.images, healthy.labelled), (60, 80));
        assert_eq!((healthy.findings, healthy.labels), (vec![], vec![]));
        set.labels[6] = 1;
        let found = health(&rows(&trained), &digests(60), &[(&set, rows(&labelled))]).unwrap();
        let image = digests(80)[6];
        assert_eq!(
            found.labels,
            [DoubtedLabel {
                image,
                given: "good".to_owned(),
                likely: "crack".to_owned()
            }]
        );
        let [finding] = found.findings.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((finding.code, finding.count), (FindingCode::LabelError, 1));
        assert_eq!(finding.images, [image]);
    }

    #[test]
    fn a_report_lists_all_that_is_found() {
        // A fifth of 900 images is strewn around a tight bulk, each on a pair of axes of its own.
        let values: Vec<f32> = (0..900_usize)
            .flat_map(|n| {
                let mut row = vec![0.0; 41];
                row[40] = 3.0 + (n * 37 % 101) as f32 * 1e-3;
                if n % 5 == 0 {
                    let strewn = n / 5;
                    row[strewn % 40] += 1.0;
                    row[(7 * strewn + 3 * (strewn / 40) + 1) % 40] += 1.0;
                }
                row
            })
            .collect();
        let trained = Embeddings::new(&values, 41).unwrap();
        let found = health(&trained, &digests(900), &[]).unwrap();
        let strewn = &found.findings[0];
        assert_eq!(strewn.code, FindingCode::Outlier);
        assert!(strewn.count > 100, "{}", strewn.count);
        assert!((found.findings.iter()).all(|finding| finding.images.len() as u64 == finding.count));
    }
}
