//! The gate: decides from evidence whether a mask may be released.

use serde::Serialize;

/// What the gate knows: the paired difference of the KPI, mask less base, and on how much it rests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// The lower end of the difference's 95 % interval.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
    /// Labelled images that it rests on.
    pub images: usize,
}

/// The gate's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// No worse, and a shown benefit.
    Passed,
    /// A person with the right and a reason may release it.
    Held {
        /// Why it did not pass.
        reason: String,
    },
    /// Shown to be worse: only an admin may force it.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Judges a mask. `margin` is how much worse than the base still counts as no worse.
///
/// Doing nothing does not pass: a benefit must be shown.
pub fn judge(evidence: &Evidence, margin: f64) -> Verdict {
    let Evidence { lower, upper, images } = *evidence;
    if upper < 0.0 {
        return Verdict::Refused {
            reason: "the mask is worse than the base".to_owned(),
        };
    }
    if lower > 0.0 {
        return Verdict::Passed;
    }
    if lower > -margin {
        return Verdict::Held {
            reason: "no measurable effect".to_owned(),
        };
    }
    // An interval narrows with the root of the number of images.
    let enough = images as f64 * ((upper - lower) / (2.0 * margin)).powi(2);
    Verdict::Held {
        reason: format!("{images} labelled images are too few to tell; about {enough:.0} would suffice"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verdict(lower: f64, upper: f64) -> Verdict {
        judge(
            &Evidence {
                lower,
                upper,
                images: 300,
            },
            0.01,
        )
    }

    #[test]
    fn a_shown_benefit_passes_and_a_shown_loss_is_refused() {
        assert_eq!(verdict(0.001, 0.03), Verdict::Passed);
        assert!(matches!(verdict(-0.03, -0.001), Verdict::Refused { .. }));
    }

    #[test]
    fn doing_nothing_is_held() {
        assert_eq!(
            verdict(0.0, 0.0),
            Verdict::Held {
                reason: "no measurable effect".to_owned()
            }
        );
    }

    #[test]
    fn too_few_images_are_said_with_the_number_that_would_suffice() {
        let Verdict::Held { reason } = verdict(-0.02, 0.02) else {
            panic!("held")
        };
        assert_eq!(
            reason,
            "300 labelled images are too few to tell; about 1200 would suffice"
        );
    }

    proptest! {
        #[test]
        fn better_evidence_never_gives_a_worse_verdict(
            lower in -0.2_f64..0.2, width in 0.0_f64..0.2, better in 0.0_f64..0.2,
        ) {
            let rank = |verdict: &Verdict| match verdict {
                Verdict::Refused { .. } => 0,
                Verdict::Held { .. } => 1,
                Verdict::Passed => 2,
            };
            let (before, after) = (verdict(lower, lower + width), verdict(lower + better, lower + width + better));
            prop_assert!(rank(&after) >= rank(&before), "{before:?} {after:?}");
        }
    }
}
