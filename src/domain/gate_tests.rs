//! Properties of the gate.

use proptest::prelude::*;

use super::*;
use crate::domain::groups::GroupKind;
use crate::domain::report::{Figure, LabelFree, SpaceFigures};

fn labelled(lower: f64, upper: f64) -> Evidence {
    let difference = Estimate {
        value: f64::midpoint(lower, upper),
        lower,
        upper,
    };
    Evidence {
        labelled: Some(LabelledEvidence {
            difference,
            widened: None,
            unit: 1.0,
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
        decay: None,
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
        clusters: None,
        patches: None,
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

fn after(judged_before: u32, lower: f64, upper: f64, widened: (f64, f64)) -> Verdict {
    let mut evidence = labelled(lower, upper);
    let (lower, upper) = widened;
    evidence.labelled.as_mut().unwrap().widened = Some(Widened {
        judged_before,
        confidence: Widened::confidence(judged_before),
        difference: Estimate {
            value: f64::midpoint(lower, upper),
            lower,
            upper,
        },
    });
    judge(&evidence, &GateSettings::default())
}

#[test]
fn a_set_that_has_judged_before_asks_for_more_and_says_so() {
    assert!((Widened::confidence(0) - 0.95).abs() < 1e-12);
    assert!((Widened::confidence(9) - 0.995).abs() < 1e-12);
    assert_eq!(after(7, 0.01, 0.05, (0.002, 0.06)), Verdict::Passed);
    let held = after(7, 0.002, 0.05, (-0.02, 0.07));
    let sentences: Vec<String> = held.reasons().iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences[1..],
        ["interval widened: this validation set has judged 7 masks before"]
    );
    assert_eq!(rank(&held), 1);
    // What is worse stays refused, however many were judged.
    assert_eq!(rank(&after(99, -0.05, -0.002, (-0.1, 0.05))), 0);
}

#[test]
fn the_margin_of_a_cost_is_a_share_of_the_greatest() {
    let mut evidence = labelled(-0.15, 0.3);
    assert!(matches!(
        judge(&evidence, &GateSettings::default()).reasons(),
        [Reason::TooFewImages { .. }]
    ));
    evidence.labelled.as_mut().unwrap().unit = 20.0;
    assert_eq!(
        judge(&evidence, &GateSettings::default()),
        held(Reason::NoMeasurableEffect)
    );
}

#[test]
fn a_slice_that_pays_for_the_mean_holds_the_mask_and_is_said_first() {
    let loss = Estimate {
        value: -0.12,
        lower: -0.2,
        upper: -0.02,
    };
    let worse = GroupFigure {
        kind: GroupKind::Slice,
        name: "line=3".to_owned(),
        images: 64,
        figure: Figure {
            base: Estimate::exact(0.8),
            mask: Estimate::exact(0.68),
            difference: loss,
        },
        difference: loss,
    };
    for (lower, upper, verdict) in [(0.01, 0.05, 1), (-0.02, 0.02, 1), (-0.05, -0.01, 0)] {
        let mut evidence = labelled(lower, upper);
        evidence.worse = vec![worse.clone()];
        let judged = judge(&evidence, &GateSettings::default());
        assert_eq!(rank(&judged), verdict);
        assert_eq!(
            judged.reasons()[0].to_string(),
            "slice `line=3` (64 images) is worse with the mask: balanced accuracy -0.120, at most -0.020"
        );
    }
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
    assert_eq!(rank(&by_signals(40.0, 0.8, -0.1, 0.9)), 0, "two losses refuse");
    assert_eq!(rank(&by_signals(40.0, 0.8, 0.1, 0.1)), 0, "two losses refuse");
}

#[test]
fn a_handful_of_images_without_labels_releases_nothing() {
    let passing = |images| {
        let mut evidence = signals(110.0, 0.3, 0.1, 0.8);
        evidence.label_free.as_mut().unwrap().images = images;
        evidence
    };
    assert_eq!(judge(&passing(64), &GateSettings::default()), Verdict::Passed);
    let held = judge(&passing(63), &GateSettings::default());
    assert_eq!(
        held.reasons(),
        [Reason::TooFewUnlabelled {
            images: 63,
            enough: 64
        }]
    );
    // What is lost is lost, and what labels say needs none of them.
    let mut collapsed = signals(50.0, 0.9, -0.2, 0.1);
    collapsed.label_free.as_mut().unwrap().images = 10;
    assert_eq!(rank(&judge(&collapsed, &GateSettings::default())), 0);
    let mut both = passing(10);
    both.labelled = labelled(0.01, 0.05).labelled;
    assert_eq!(judge(&both, &GateSettings::default()), Verdict::Passed);
}

#[test]
fn moved_statistics_need_labels() {
    let mut evidence = signals(120.0, 0.3, 0.1, 0.9);
    evidence.own_statistics = true;
    assert_eq!(
        judge(&evidence, &GateSettings::default()),
        held(Reason::MovedStatistics)
    );
    evidence.labelled = Some(LabelledEvidence {
        difference: Estimate {
            value: 0.05,
            lower: 0.02,
            upper: 0.08,
        },
        widened: None,
        unit: 1.0,
        images: 400,
        smallest_class: 90,
    });
    assert_eq!(judge(&evidence, &GateSettings::default()), Verdict::Passed);
}

#[test]
fn a_space_that_is_filled_less_is_one_loss_by_rank_and_cosine() {
    let parted = by_signals(92.0, 0.56, 0.1, 0.9);
    assert_eq!((rank(&parted), parted.reasons().len()), (1, 2), "{parted:?}");
}

#[test]
fn classes_may_part_while_patches_keep_their_rank() {
    let verdict = |whole: f64, patches: Option<f64>, retrieval: f64| {
        let mut evidence = signals(whole, 0.3, retrieval, 0.9);
        let figures = evidence.label_free.as_mut().unwrap();
        figures.patches = patches.map(|mask| Both { base: 50.0, mask });
        judge(&evidence, &GateSettings::default())
    };
    // Generated textures: rank fell by 15 % where accuracy gained four points.
    assert_eq!(verdict(85.0, Some(50.5), 0.1), Verdict::Passed);
    assert_eq!(verdict(102.0, Some(50.0), 0.1), Verdict::Passed);
    for (what, held) in [
        ("too far", verdict(75.0, Some(50.5), 0.1)),
        ("patches fell", verdict(85.0, Some(49.0), 0.1)),
        ("no patches", verdict(85.0, None, 0.1)),
        (
            "views found by a hair more often",
            verdict(102.0, Some(50.5), 0.02),
        ),
    ] {
        assert_eq!(rank(&held), 1, "{what}: {held:?}");
    }
}

#[test]
fn patches_are_not_asked_where_settings_allow_for_no_parting() {
    let mut evidence = signals(102.0, 0.3, 0.1, 0.9);
    let kept = Both {
        base: 50.0,
        mask: 51.0,
    };
    evidence.label_free.as_mut().unwrap().patches = Some(kept);
    let settings = GateSettings {
        parting_loss: 0.0,
        ..GateSettings::default()
    };
    assert_eq!(judge(&evidence, &GateSettings::default()), Verdict::Passed);
    assert_eq!(rank(&judge(&evidence, &settings)), 1);
}

#[test]
fn a_base_that_finds_nearly_all_views_leaves_little_to_gain() {
    let verdict = |base: f64, lower: f64, retrieval_gain: f64| {
        let mut evidence = signals(120.0, 0.3, 0.1, 0.9);
        let retrieval = &mut evidence.label_free.as_mut().unwrap().retrieval;
        retrieval.base.value = base;
        retrieval.difference.lower = lower;
        let settings = GateSettings {
            retrieval_gain,
            ..GateSettings::default()
        };
        rank(&judge(&evidence, &settings))
    };
    assert_eq!(verdict(0.5, 0.006, 0.015), 1);
    assert_eq!(verdict(0.99, 0.006, 0.015), 2);
    assert_eq!(verdict(0.99, 0.004, 0.015), 1);
    assert_eq!(verdict(0.5, 0.0, -1.0), 1, "no setting makes nothing a gain");
}

#[test]
fn embeddings_collapse_by_the_share_of_their_distance_that_they_lose() {
    let verdict = |before: f64, after: f64| {
        let mut evidence = signals(120.0, after, 0.1, 0.9);
        evidence.label_free.as_mut().unwrap().base.mean_cosine = before;
        judge(&evidence, &GateSettings::default())
    };
    // Solar cells gained accuracy by the first; shuffled pixels, which are alike from the start, made the second.
    assert_eq!(verdict(0.54, 0.65), Verdict::Passed);
    assert_eq!(rank(&verdict(0.88, 0.95)), 1);
}

#[test]
fn settings_of_before_are_read_without_the_rule_that_was_replaced() {
    let stored = r#"{"margin":0.02,"cosine-rise":0.1}"#;
    let settings: GateSettings = serde_json::from_str(stored).unwrap();
    let margin = GateSettings {
        margin: 0.02,
        ..GateSettings::default()
    };
    assert_eq!(settings, margin);
    assert!(!serde_json::to_string(&settings).unwrap().contains("rise"));
    assert!(serde_json::from_str::<GateSettings>(r#"{"cosine-fall":0.1}"#).is_err());
}

#[test]
fn patches_clusters_and_decay_hold_and_never_refuse() {
    let passing = signals(120.0, 0.3, 0.1, 0.9);
    let with = |change: fn(&mut LabelFree)| {
        let mut evidence = passing.clone();
        change(evidence.label_free.as_mut().unwrap());
        judge(&evidence, &GateSettings::default())
    };
    assert_eq!(
        with(|found| found.patches = Some(Both {
            base: 50.0,
            mask: 49.0
        })),
        Verdict::Passed
    );
    let all = with(|found| {
        found.patches = Some(Both {
            base: 50.0,
            mask: 40.0,
        });
        found.clusters = Some(Both { base: 0.7, mask: 0.4 });
        (found.base.decay, found.mask.decay) = (Some(1.1), Some(1.8));
    });
    assert_eq!((rank(&all), all.reasons().len()), (1, 3), "{all:?}");
    let said = all.reasons()[2].to_string();
    assert_eq!(said, "effective rank of patches went from 50.000 to 40.000");
    assert_eq!(
        with(|found| found.clusters = Some(Both {
            base: f64::NAN,
            mask: 0.4
        })),
        held(Reason::UnusableEvidence)
    );
}

#[test]
fn a_gain_of_rank_that_an_early_study_lost_accuracy_with_is_none() {
    assert_eq!(rank(&by_signals(315.0 / 308.0 * 100.0, 0.3, 0.1, 0.9)), 1);
}

#[test]
fn a_verdict_survives_json() {
    for verdict in [
        Verdict::Passed,
        verdict(-0.02, 0.02),
        verdict(-0.3, -0.1),
        by_signals(40.0, 0.8, 0.1, 0.9),
        after(3, -0.02, 0.02, (-0.03, 0.03)),
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
