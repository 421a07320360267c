//! Properties of the gate.

use proptest::prelude::*;

use super::*;
use crate::domain::report::{Figure, SpaceFigures};

fn labelled(lower: f64, upper: f64) -> Evidence {
    let difference = Estimate {
        value: f64::midpoint(lower, upper),
        lower,
        upper,
    };
    Evidence {
        labelled: Some(LabelledEvidence {
            difference,
            images: 300,
            smallest_class: 100,
        }),
        ..Evidence::default()
    }
}

fn verdict(lower: f64, upper: f64) -> Verdict {
    judge(&labelled(lower, upper), &GateSettings::default())
}

fn rank(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Refused { .. } => 0,
        Verdict::Held { .. } => 1,
        Verdict::Passed => 2,
    }
}

fn signals(rank: f64, cosine: f64, retrieval: f64, stability: f64) -> Evidence {
    let near = |value: f64| Estimate {
        value,
        lower: value - 0.01,
        upper: value + 0.01,
    };
    let space = |effective_rank, mean_cosine| SpaceFigures {
        effective_rank,
        mean_cosine,
        spread: 0.9,
    };
    let retrieval = Figure {
        base: near(0.5),
        mask: near(0.5 + retrieval),
        // Nothing changed: the interval is a point, as the paired bootstrap gives it.
        difference: if retrieval == 0.0 {
            Estimate::exact(0.0)
        } else {
            near(retrieval)
        },
    };
    let figures = LabelFree {
        images: 200,
        base: space(100.0, 0.3),
        mask: space(rank, cosine),
        retrieval,
        stability,
    };
    Evidence {
        label_free: Some(figures),
        ..Evidence::default()
    }
}

fn by_signals(rank: f64, cosine: f64, retrieval: f64, stability: f64) -> Verdict {
    judge(
        &signals(rank, cosine, retrieval, stability),
        &GateSettings::default(),
    )
}

#[test]
fn a_shown_benefit_passes_and_a_shown_loss_is_refused() {
    assert_eq!(verdict(0.001, 0.03), Verdict::Passed);
    assert_eq!(rank(&verdict(-0.03, -0.001)), 0);
}

#[test]
fn doing_nothing_never_passes() {
    assert_eq!(verdict(0.0, 0.0), held(Reason::NoMeasurableEffect));
    assert_eq!(verdict(-0.005, 0.005), held(Reason::NoMeasurableEffect));
    assert_eq!(rank(&by_signals(100.0, 0.3, 0.0, 1.0)), 1);
    assert_eq!(
        judge(&Evidence::default(), &GateSettings::default()),
        held(Reason::NoEvidence)
    );
    let mut base_itself = labelled(0.1, 0.2);
    base_itself.unchanged = true;
    assert!(judge(&base_itself, &GateSettings::default()).is_no_improvement());
}

#[test]
fn too_few_images_are_said_with_the_number_that_would_suffice() {
    let reasons = verdict(-0.02, 0.02)
        .reasons()
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>();
    assert_eq!(
        reasons,
        ["300 labelled images are too few to tell; about 1200 would suffice"]
    );
    let mut few = labelled(0.1, 0.9);
    few.labelled.as_mut().unwrap().smallest_class = 3;
    let verdict = judge(&few, &GateSettings::default());
    assert_eq!(
        verdict,
        held(Reason::TooFewOfAClass {
            images: 3,
            enough: 10
        })
    );
}

#[test]
fn what_is_not_a_number_is_held() {
    for (lower, upper) in [(f64::NAN, 0.1), (0.1, f64::NAN), (0.2, 0.1), (0.1, f64::INFINITY)] {
        assert_eq!(verdict(lower, upper), held(Reason::UnusableEvidence));
    }
    assert_eq!(
        by_signals(f64::NAN, 0.3, 0.1, 0.9),
        held(Reason::UnusableEvidence)
    );
}

#[test]
fn no_signal_decides_alone() {
    assert_eq!(by_signals(120.0, 0.3, 0.1, 0.9), Verdict::Passed);
    for one in [by_signals(120.0, 0.3, 0.0, 0.9), by_signals(100.0, 0.3, 0.1, 0.9)] {
        assert_eq!(rank(&one), 1, "one gain is not enough: {one:?}");
    }
    for one in [by_signals(120.0, 0.6, 0.1, 0.9), by_signals(120.0, 0.3, 0.1, 0.1)] {
        assert_eq!(rank(&one), 1, "one loss holds: {one:?}");
    }
    assert_eq!(rank(&by_signals(40.0, 0.8, 0.1, 0.9)), 0, "two losses refuse");
}

#[test]
fn the_monocrystalline_case_of_the_measurements_does_not_pass() {
    assert_eq!(rank(&by_signals(315.0 / 308.0 * 100.0, 0.3, 0.1, 0.9)), 1);
}

#[test]
fn a_verdict_survives_json() {
    for verdict in [
        Verdict::Passed,
        verdict(-0.02, 0.02),
        verdict(-0.3, -0.1),
        by_signals(40.0, 0.8, 0.1, 0.9),
    ] {
        let json = serde_json::to_string(&verdict).unwrap();
        assert_eq!(serde_json::from_str::<Verdict>(&json).unwrap(), verdict);
    }
}

proptest! {
    #[test]
    fn better_evidence_never_gives_a_worse_verdict(
        lower in -0.2_f64..0.2, width in 0.0_f64..0.2, up in 0.0_f64..0.2, more in 0.0_f64..0.2,
    ) {
        let before = verdict(lower, lower + width);
        let after = verdict(lower + up, lower + width + up + more);
        prop_assert!(rank(&after) >= rank(&before), "{before:?} {after:?}");
    }

    #[test]
    fn an_interval_that_holds_zero_neither_passes_nor_is_refused(below in 0.0_f64..0.3, above in 0.0_f64..0.3) {
        prop_assert_eq!(rank(&verdict(-below, above)), 1);
    }

    #[test]
    fn better_signals_never_give_a_worse_verdict(
        r in 20.0_f64..150.0, c in -0.2_f64..0.9, t in -0.2_f64..0.2, s in 0.0_f64..1.0,
        dr in 0.0_f64..50.0, dc in 0.0_f64..0.3, dt in 0.0_f64..0.2, ds in 0.0_f64..0.5,
    ) {
        let (before, after) = (by_signals(r, c, t, s), by_signals(r + dr, c - dc, t + dt, s + ds));
        prop_assert!(rank(&after) >= rank(&before), "{before:?} {after:?}");
    }

    #[test]
    fn more_images_than_given_would_suffice(lower in -0.3_f64..-0.01, upper in 0.0_f64..0.3) {
        if let [Reason::TooFewImages { images, enough: Some(enough) }] = verdict(lower, upper).reasons() {
            prop_assert!(*enough > *images as u64);
        }
    }
}
