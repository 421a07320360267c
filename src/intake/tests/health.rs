//! What a report found is told only as long as it is so.

use super::*;
use crate::domain::health::DoubtedLabel;
use crate::domain::image::PerceptualHash;

fn image(number: u8) -> Digest {
    Digest::of(&[number])
}

/// Images of a site.
fn seen(numbers: &[u8]) -> Vec<Seen> {
    let seen = |number: &u8| Seen {
        digest: image(*number),
        width: 64,
        height: 64,
        phash: PerceptualHash(0),
        look: None,
    };
    numbers.iter().map(seen).collect()
}

/// Images of a validation set with their classes.
fn classes(pairs: &[(u8, &str)]) -> HashMap<Digest, String> {
    let class = |(number, class): &(u8, &str)| (image(*number), (*class).to_owned());
    pairs.iter().map(class).collect()
}

/// A report that finds images 1 and 2 alone, of five that it counts, and doubts the labels of 11 and 12.
fn report() -> EmbeddingHealth {
    let finding = |code, numbers: [u8; 2]| Finding::of(code, "why".to_owned(), numbers.map(image).to_vec());
    let doubted = |number| DoubtedLabel {
        image: image(number),
        given: "good".to_owned(),
        likely: "crack".to_owned(),
    };
    EmbeddingHealth {
        images: 5,
        labelled: 2,
        findings: vec![
            Finding {
                count: 5,
                ..finding(FindingCode::Outlier, [1, 2])
            },
            finding(FindingCode::LabelError, [11, 12]),
        ],
        labels: vec![doubted(11), doubted(12)],
    }
}

#[test]
fn what_has_not_changed_is_told_as_it_was_found() {
    let labels = classes(&[(11, "good"), (12, "good"), (13, "crack")]);
    assert_eq!(still_so(report(), &seen(&[1, 2, 3]), &labels), report());
}

#[test]
fn deleted_images_and_corrected_labels_are_neither_listed_nor_counted() {
    // One label was corrected and one image deleted; that a site has an image says nothing of its label.
    let labels = classes(&[(11, "good"), (12, "crack")]);
    let left = still_so(report(), &seen(&[2, 12]), &labels);
    let told: Vec<_> = (left.findings.iter())
        .map(|finding| (finding.code, finding.count, finding.images.clone()))
        .collect();
    assert_eq!(
        told,
        [
            (FindingCode::Outlier, 4, vec![image(2)]),
            (FindingCode::LabelError, 1, vec![image(11)]),
        ]
    );
    assert_eq!(left.labels.len(), 1);
    assert_eq!(left.labels[0].image, image(11));
}

#[test]
fn a_finding_without_images_is_none() {
    let left = still_so(report(), &seen(&[3]), &HashMap::new());
    assert_eq!((left.findings, left.labels), (vec![], vec![]));
}
