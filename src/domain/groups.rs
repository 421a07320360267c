//! Classes and slices: who pays for a better mean.
//!
//! A slice is all labelled images with one value of one key of metadata, such
//! as `line=3` or `shift=night`. A mask that helps on the whole and hurts a
//! class or a slice never passes silently: the gate holds it and says so first.
//!
//! Many groups are looked at, so some look worse by chance. Each group's
//! interval is therefore drawn at a confidence of 1 − .05 / groups (Bonferroni;
//! Dunn 1961): by intervals a mask that hurts nobody is held at most once in
//! forty. A great loss counts without one, too, and there chance has no bound.
//! The number of masks judged before does not widen these intervals: that
//! would hide losses.

use serde::{Deserialize, Serialize};

use super::gate::GateSettings;
use super::report::{Estimate, Figure};

/// Labelled images of a group from which on a point loss alone counts.
pub const ENOUGH_IMAGES: usize = 50;

/// What holds a group together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GroupKind {
    /// One class: its figure is its recall.
    Class,
    /// One value of one key of metadata: its figure is its balanced accuracy.
    Slice,
}

impl GroupKind {
    /// The kind as one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Slice => "slice",
        }
    }
}

/// Base and mask on one class or slice, by the linear probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GroupFigure {
    /// What it is.
    pub kind: GroupKind,
    /// The class, or `KEY=VALUE`.
    pub name: String,
    /// Labelled images that the figure rests on.
    pub images: usize,
    /// Recall of the class, or balanced accuracy within the slice.
    pub figure: Figure,
    /// The difference again, at the confidence that allows for the number of groups.
    pub difference: Estimate,
}

impl GroupFigure {
    /// Whether the mask is worse here: the whole interval lies below zero, or
    /// the loss is larger than `group_loss` on at least [`ENOUGH_IMAGES`].
    pub fn is_worse(&self, settings: &GateSettings) -> bool {
        let large = self.images >= ENOUGH_IMAGES && self.difference.value < -settings.group_loss.max(0.0);
        self.difference.is_sound() && (self.difference.upper < 0.0 || large)
    }
}

/// The groups that the mask is worse for, the greatest loss first.
pub fn worse<'a>(groups: &'a [GroupFigure], settings: &GateSettings) -> Vec<&'a GroupFigure> {
    let mut found: Vec<&GroupFigure> = groups.iter().filter(|group| group.is_worse(settings)).collect();
    found.sort_by(|a, b| a.difference.value.total_cmp(&b.difference.value));
    found
}

/// What was taken for what by the linear probe: `counts[truth][answer]`, the
/// mean over the repeats of the cross-validation, so that a row sums to the
/// images of its class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConfusionFigures {
    /// The classes, in the order of rows and columns.
    pub classes: Vec<String>,
    /// The base's answers.
    pub base: Vec<Vec<f64>>,
    /// The mask's answers.
    pub mask: Vec<Vec<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, images: usize, lower: f64, upper: f64) -> GroupFigure {
        let difference = Estimate {
            value: f64::midpoint(lower, upper),
            lower,
            upper,
        };
        GroupFigure {
            kind: GroupKind::Slice,
            name: name.to_owned(),
            images,
            figure: Figure {
                base: Estimate::exact(0.8),
                mask: Estimate::exact(0.8 + difference.value),
                difference,
            },
            difference,
        }
    }

    #[test]
    fn a_shown_loss_or_a_large_one_on_enough_images_is_worse_and_the_greatest_comes_first() {
        let settings = GateSettings::default();
        let groups = [
            group("line=1", 20, -0.2, -0.01),
            group("line=2", 60, -0.5, 0.1),
            group("line=3", 20, -0.5, 0.1),
            group("line=4", 60, -0.1, 0.1),
            group("line=5", 60, f64::NAN, -0.1),
        ];
        let found: Vec<&str> = worse(&groups, &settings)
            .iter()
            .map(|group| group.name.as_str())
            .collect();
        assert_eq!(found, ["line=2", "line=1"]);
    }
}
