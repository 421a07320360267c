//! A report as people read it.

use std::fmt::Display;

use crate::cli::images;
use crate::cli::printer;
use crate::domain::groups::{ConfusionFigures, GroupFigure};
use crate::domain::health::{EmbeddingHealth, FindingCode};
use crate::domain::report::{
    Estimate, Figure, Kpi, LabelFree, LabelledFigures, Report, TrainingFigures, Widened,
};

/// Prints the whole report: verdict first, then what it rests on.
pub fn print(title: &str, report: &Report) {
    let verdict = &report.gate.verdict;
    if !report.worse.is_empty() {
        printer::line(&format!("{title} is worse for some:"));
        for group in &report.worse {
            printer::line(&format!("  {}", worse(group)));
        }
    }
    printer::line(&format!("{title}: {}", verdict.word()));
    for reason in verdict.reasons() {
        printer::line(&format!("  {reason}"));
    }
    if verdict.reasons().is_empty() {
        printer::line("  no worse than the base, and a shown benefit");
    }
    if let Some(test) = &report.test {
        labelled(
            "test split, which neither training nor gate has read",
            &report.kpi,
            test,
            report.random_mask.as_ref(),
        );
    }
    if let Some(validation) = &report.validation {
        labelled(
            "validation split, which the gate judged by",
            &report.kpi,
            validation,
            None,
        );
    }
    if let Some(signals) = &report.label_free {
        label_free(signals);
    }
    if let Some(health) = &report.health {
        data_health(health);
    }
    training(report);
}

fn labelled(what: &str, kpi: &Kpi, figures: &LabelledFigures, random: Option<&LabelledFigures>) {
    printer::line(&format!(
        "\nbalanced accuracy on {} images of {} classes ({what}), with 95 % intervals",
        figures.images, figures.classes
    ));
    let row = |name: &str, figure: &Figure, random: Option<&Figure>| {
        [
            name.to_owned(),
            interval(&figure.base),
            interval(&figure.mask),
            difference(&figure.difference),
            random.map_or_else(String::new, |figure| difference(&figure.difference)),
        ]
    };
    let mut rows = vec![
        row("linear probe", &figures.probe, random.map(|random| &random.probe)),
        row("neighbours", &figures.knn, random.map(|random| &random.knn)),
    ];
    if let Some(few_shot) = &figures.few_shot {
        let random = random.and_then(|random| random.few_shot.as_ref());
        rows.push(row("few-shot probe", few_shot, random));
    }
    if let Some(defined) = &figures.defined {
        let random = random.and_then(|random| random.defined.as_ref());
        rows.push(row(kpi.word(), defined, random));
    }
    let control = if random.is_some() { "RANDOM MASK" } else { "" };
    printer::table(["", "BASE", "MASK", "DIFFERENCE", control], &rows);
    if let Some(Widened {
        judged_before,
        confidence,
        difference: widened,
    }) = &figures.widened
    {
        printer::line(&format!(
            "interval widened: this validation set has judged {judged_before} masks before; at {:.2} % the KPI's \
             difference is {}",
            confidence * 100.0,
            difference(widened)
        ));
    }
    groups(&figures.groups);
    if let Some(answers) = &figures.confusion {
        confusion(answers);
    }
}

/// `slice line=3: 0.812 to 0.692, -0.120 (-0.200 to -0.040) on 64 images`
fn worse(group: &GroupFigure) -> String {
    format!(
        "{} {}: {:.3} to {:.3}, {} on {} images",
        group.kind.word(),
        group.name,
        group.figure.base.value,
        group.figure.mask.value,
        difference(&group.figure.difference),
        group.images
    )
}

fn groups(groups: &[GroupFigure]) {
    if groups.is_empty() {
        return;
    }
    printer::line("\nrecall of each class, balanced accuracy of each slice");
    let row = |group: &GroupFigure| {
        [
            format!("{} {}", group.kind.word(), group.name),
            group.images.to_string(),
            number(group.figure.base.value),
            number(group.figure.mask.value),
            difference(&group.figure.difference),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    printer::table(["", "IMAGES", "BASE", "MASK", "DIFFERENCE"], &rows);
}

/// Most classes whose confusion fits a terminal.
const MOST_SHOWN: usize = 12;
/// Most images of a finding that are listed.
const MOST_IMAGES: usize = 20;

fn confusion(answers: &ConfusionFigures) {
    let classes = &answers.classes;
    if classes.len() > MOST_SHOWN {
        return printer::line("\nwhat was taken for what: see --json, the classes are too many for a table");
    }
    printer::line("\nwhat was taken for what, in images: base, then mask");
    let row = |(truth, class): (usize, &String)| {
        let cell = |answer: usize| {
            format!(
                "{:.1} {:.1}",
                answers.base[truth][answer], answers.mask[truth][answer]
            )
        };
        std::iter::once(class.clone())
            .chain((0..classes.len()).map(cell))
            .collect()
    };
    let answers = classes.iter().map(|class| format!("AS {class}"));
    let titles = std::iter::once(String::new()).chain(answers).collect();
    let rows: Vec<Vec<String>> = std::iter::once(titles)
        .chain(classes.iter().enumerate().map(row))
        .collect();
    printer::columns(&rows);
}

fn data_health(health: &EmbeddingHealth) {
    printer::line(&format!(
        "\ndata health by the base's embeddings, of {} images and {} labelled ones",
        health.images, health.labelled
    ));
    if health.findings.is_empty() {
        printer::line("  nothing found");
    }
    for finding in &health.findings {
        printer::line(&format!(
            "  {:<12}{}  {}",
            finding.code.word(),
            finding.count,
            finding.explanation
        ));
        if finding.code != FindingCode::LabelError {
            (finding.images.iter().take(MOST_IMAGES))
                .for_each(|image| printer::line(&format!("    {image}")));
            if finding.images.len() > MOST_IMAGES {
                printer::line(&format!(
                    "    and {} more; --json lists them",
                    finding.images.len() - MOST_IMAGES
                ));
            }
        }
    }
    images::labels(&health.labels);
}

fn label_free(signals: &LabelFree) {
    printer::line(&format!("\nsignals without labels on {} images", signals.images));
    let row = |name: &str, base: String, mask: String| [name.to_owned(), base, mask];
    let (base, mask) = (&signals.base, &signals.mask);
    let rank = |value: f64| format!("{value:.1}");
    printer::table(
        ["", "BASE", "MASK"],
        &[
            row(
                "effective rank",
                rank(base.effective_rank),
                rank(mask.effective_rank),
            ),
            row("decay", maybe(base.decay), maybe(mask.decay)),
            row("mean cosine", number(base.mean_cosine), number(mask.mean_cosine)),
            row("spread", number(base.spread), number(mask.spread)),
            row(
                "instance retrieval",
                interval(&signals.retrieval.base),
                interval(&signals.retrieval.mask),
            ),
            row("neighbours kept", number(1.0), number(signals.stability)),
            row(
                "halves sorted alike",
                maybe(signals.clusters.map(|both| both.base)),
                maybe(signals.clusters.map(|both| both.mask)),
            ),
            row(
                "rank of patches",
                maybe(signals.patches.map(|both| both.base)),
                maybe(signals.patches.map(|both| both.mask)),
            ),
        ],
    );
}

fn training(report: &Report) {
    let TrainingFigures {
        loss,
        density,
        flips,
        flips_against_parent,
        moved_statistics,
        own_statistics: _,
        moments,
        experts,
        seconds,
        images_per_second,
    } = &report.training;
    printer::line("\ntraining");
    let say = |what: &str, value: &dyn Display| printer::line(&format!("  {what:<14}{value}"));
    let weights: u64 = density.iter().map(|layer| layer.weights).sum();
    if weights > 0 {
        say("dropped", &format_args!("{flips} of {weights} weights"));
    } else {
        say("dropped", &format_args!("{flips} weights"));
    }
    if !report.view.is_default() {
        say("view", &report.view);
    }
    if let Some(changed) = flips_against_parent {
        say(
            "changed",
            &format_args!("{changed} bits against the mask that it started from"),
        );
    }
    if *moved_statistics > 0 {
        say("moved", &format_args!("{moved_statistics} BatchNorm statistics"));
    }
    if !moments.is_empty() {
        match report.training.kept_moment() {
            Some(kept) => say(
                "kept",
                &format_args!(
                    "step {}, the best of {} by images held out",
                    kept.step,
                    moments.len()
                ),
            ),
            None => say(
                "kept",
                &"the beginning: no later moment was better by images held out",
            ),
        }
    }
    for (at, expert) in experts.iter().enumerate() {
        say(
            &format!("expert {}", at + 1),
            &format_args!(
                "{} images ({:.0} %), {} weights dropped, {} bits against the dispatcher",
                expert.images,
                100.0 * expert.share,
                expert.dropped,
                expert.flips
            ),
        );
    }
    if let (Some(first), Some(last)) = (loss.first(), loss.last()) {
        say(
            "loss",
            &format_args!(
                "{:.3} at step {}, {:.3} at step {}",
                first.loss, first.step, last.loss, last.step
            ),
        );
    }
    say(
        "images",
        &format_args!(
            "{} used, {} left out because the validation set has them or nearly",
            report.images.used, report.images.left_out
        ),
    );
    say(
        "time",
        &format_args!("{seconds:.0} s, {images_per_second:.1} images a second"),
    );
}

/// `0.753 (0.731 to 0.774)`; without an interval only the figure.
pub fn interval(estimate: &Estimate) -> String {
    let Estimate { value, lower, upper } = estimate;
    if lower == upper {
        return number(*value);
    }
    format!("{value:.3} ({lower:.3} to {upper:.3})")
}

/// `+0.009 (-0.003 to +0.021)`
pub fn difference(estimate: &Estimate) -> String {
    let Estimate { value, lower, upper } = estimate;
    format!("{value:+.3} ({lower:+.3} to {upper:+.3})")
}

fn maybe(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), number)
}

fn number(value: f64) -> String {
    format!("{value:.3}")
}
