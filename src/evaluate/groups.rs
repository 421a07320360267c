//! Each class and each slice: is there one that pays for the mean?
//!
//! All groups are computed on the draws of the mean, by the linear probe's
//! answers. What the figures mean is `domain::groups`' to say.

use std::collections::BTreeMap;

use super::draws::{Pair, Times, draw_many, needed};
use super::paired::{Answers, Resampling};
use crate::domain::groups::{ConfusionFigures, GroupFigure, GroupKind};
use crate::domain::image::Metadata;

/// Values from which on a key of metadata (a serial number, a date) makes no slices.
const MOST_VALUES: usize = 16;
/// Most slices that are looked at.
const MOST_SLICES: usize = 64;
/// Fewest images of a class within a slice that count there.
const LEAST_OF_CLASS: usize = 5;
/// Fewest images of a slice.
const LEAST_OF_SLICE: usize = 20;

/// A class or a slice: its images by class.
struct Group {
    kind: GroupKind,
    name: String,
    classes: Vec<Vec<usize>>,
}

impl Group {
    fn images(&self) -> usize {
        self.classes.iter().map(Vec::len).sum()
    }

    /// The mean over its classes of the share that is right; NaN if the draw has none of them.
    fn balanced(&self, right: &[f64], times: &Times) -> f64 {
        let (mut sum, mut seen) = (0.0, 0.0);
        for class in &self.classes {
            let (mut found, mut asked) = (0.0, 0.0);
            for image in class {
                found += f64::from(times[*image]) * right[*image];
                asked += f64::from(times[*image]);
            }
            if asked > 0.0 {
                sum += found / asked;
                seen += 1.0;
            }
        }
        sum / seen
    }
}

/// Recall of each class and balanced accuracy of each slice, each difference
/// at 95 % and at the confidence that allows for their number. `classes` holds
/// the images of each class, `names` their names; `metadata` that of each
/// image, or nothing.
pub(super) fn figures(
    base: &Answers,
    mask: &Answers,
    classes: &[Vec<usize>],
    names: &[&str],
    metadata: &[Metadata],
    resampling: &Resampling,
) -> Vec<GroupFigure> {
    let of_class = |(images, name): (&Vec<usize>, &&str)| Group {
        kind: GroupKind::Class,
        name: (*name).to_owned(),
        classes: vec![images.clone()],
    };
    let occurring = classes.iter().zip(names).filter(|(images, _)| !images.is_empty());
    let mut groups: Vec<Group> = occurring.map(of_class).collect();
    groups.extend(slices(classes, metadata));
    let confidence = 1.0 - 0.05 / groups.len().max(1) as f64;
    let resampling = Resampling {
        resamples: needed(confidence, resampling.resamples),
        runs_too: false,
        ..*resampling
    };
    let (base, mask) = (right(base), right(mask));
    let drawn = draw_many(classes, &resampling, |times| {
        let pair = |group: &Group| -> Pair { (group.balanced(&base, times), group.balanced(&mask, times)) };
        groups.iter().map(pair).collect()
    });
    let figure = |(group, drawn): (&Group, super::draws::Drawn)| GroupFigure {
        kind: group.kind,
        name: group.name.clone(),
        images: group.images(),
        figure: drawn.figure(),
        difference: drawn.difference(confidence),
    };
    groups.iter().zip(drawn).map(figure).collect()
}

/// The share of repeats that were right about each image.
fn right(answers: &Answers) -> Vec<f64> {
    let images = answers.first().map_or(0, Vec::len);
    let share = |image: usize| {
        let asked = answers.iter().filter_map(|run| run[image]);
        let right = asked.clone().filter(|right| *right).count();
        right as f64 / asked.count().max(1) as f64
    };
    (0..images).map(share).collect()
}

/// The slices that are large enough to speak of, by key and value.
fn slices(classes: &[Vec<usize>], metadata: &[Metadata]) -> Vec<Group> {
    let mut keys = BTreeMap::<&str, BTreeMap<&str, Vec<Vec<usize>>>>::new();
    for (class, images) in classes.iter().enumerate() {
        for image in images {
            let pairs = metadata.get(*image).into_iter().flat_map(Metadata::pairs);
            for (key, value) in pairs {
                let of_value = keys.entry(key).or_default().entry(value);
                of_value.or_insert_with(|| vec![Vec::new(); classes.len()])[class].push(*image);
            }
        }
    }
    keys.retain(|_, values| (2..=MOST_VALUES).contains(&values.len()));
    let group = |(key, (value, mut classes)): (&str, (&str, Vec<Vec<usize>>))| {
        classes.retain(|images| images.len() >= LEAST_OF_CLASS);
        Group {
            kind: GroupKind::Slice,
            name: format!("{key}={value}"),
            classes,
        }
    };
    (keys.into_iter())
        .flat_map(|(key, values)| values.into_iter().map(move |value| (key, value)))
        .map(group)
        .filter(|group| group.images() >= LEAST_OF_SLICE)
        .take(MOST_SLICES)
        .collect()
}

/// What was taken for what, the mean over the repeats. `answers[repeat][image]`
pub(super) fn confusion(
    base: &[Vec<usize>],
    mask: &[Vec<usize>],
    labels: &[usize],
    names: &[&str],
) -> ConfusionFigures {
    let counts = |answers: &[Vec<usize>]| {
        let mut counts = vec![vec![0_u64; names.len()]; names.len()];
        for (answer, label) in answers.iter().flat_map(|run| run.iter().zip(labels)) {
            counts[*label][*answer] += 1;
        }
        let mean = |count: u64| count as f64 / answers.len().max(1) as f64;
        counts
            .into_iter()
            .map(|row| row.into_iter().map(mean).collect())
            .collect()
    };
    ConfusionFigures {
        classes: names.iter().map(|name| (*name).to_owned()).collect(),
        base: counts(base),
        mask: counts(mask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::gate::GateSettings;
    use crate::domain::groups::worse;

    const NAMES: [&str; 2] = ["crack", "ok"];

    /// 200 images of two classes on lines 1 to 4, and classes' images.
    fn lines() -> (Vec<Vec<usize>>, Vec<Metadata>) {
        let classes = (0..2).map(|class| (class..200).step_by(2).collect()).collect();
        let metadata = |image: usize| {
            let pairs = [("line", image / 2 % 4), ("serial", image)];
            let pairs: BTreeMap<String, String> = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.to_string()))
                .collect();
            Metadata::try_from(pairs).unwrap()
        };
        (classes, (0..200).map(metadata).collect())
    }

    fn run(right: impl Fn(usize) -> bool) -> Answers {
        vec![(0..200).map(|image| Some(right(image))).collect()]
    }

    #[test]
    fn one_slice_gets_worse_while_the_mean_gets_better() {
        let (classes, metadata) = lines();
        let base = run(|image| image % 10 < 7);
        let mask = run(|image| image / 2 % 4 != 3 || image % 10 < 4);
        let figures = figures(&base, &mask, &classes, &NAMES, &metadata, &Resampling::default());
        let names: Vec<&str> = figures.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["crack", "ok", "line=0", "line=1", "line=2", "line=3"]);
        assert!(
            figures[..2]
                .iter()
                .all(|class| class.figure.difference.value > 0.0)
        );
        let found = worse(&figures, &GateSettings::default());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].images), ("line=3", 50));
        assert!(found[0].difference.upper < 0.0);
        assert!(
            found[0].difference.upper > found[0].figure.difference.upper,
            "wider than 95 %"
        );
    }

    #[test]
    fn a_slice_of_a_few_images_and_a_key_of_many_values_are_none() {
        let (classes, mut metadata) = lines();
        metadata[20..].fill(Metadata::default());
        assert!(slices(&classes, &metadata).is_empty());
        assert!(slices(&classes, &[]).is_empty());
    }

    #[test]
    fn groups_that_nothing_happened_to_are_seldom_worse() {
        let (classes, metadata) = lines();
        let held = (0..30_u64).filter(|trial| {
            let noise = |seed| {
                let mut stream = super::super::random::Stream::new(seed, &[]);
                let right: Vec<bool> = (0..200).map(|_| stream.below(10) < 8).collect();
                run(move |image| right[image])
            };
            let resampling = Resampling {
                resamples: 500,
                ..Resampling::default()
            };
            let figures = figures(
                &noise(2 * trial),
                &noise(2 * trial + 1),
                &classes,
                &NAMES,
                &metadata,
                &resampling,
            );
            figures.iter().any(|group| group.difference.upper < 0.0)
        });
        let held = held.count();
        assert!(held <= 4, "{held} of 30");
    }

    #[test]
    fn rows_of_the_confusion_sum_to_the_images_of_their_class() {
        let labels = [0, 0, 0, 1];
        let figures = confusion(
            &[vec![0, 1, 0, 1], vec![0, 0, 0, 0]],
            &[vec![0, 0, 0, 1]],
            &labels,
            &NAMES,
        );
        assert_eq!(figures.base, [[2.5, 0.5], [0.5, 0.5]]);
        assert_eq!(figures.mask, [[3.0, 0.0], [0.0, 1.0]]);
    }
}
