//! The table of the study and its figures.

use katagami::domain::gate::Verdict;

use crate::bound;
use crate::study::{Judged, Kind};

/// Prints each training, then what the gate did with each kind, then the figures.
pub fn print(planned: usize, failed: usize, judged: &[Judged]) {
    println!(
        "{:<9}{:<18}{:>8}  {:<23}{:<9}{:<9}{:>10}{:>7}{:>9}{:>10}{:>10}",
        "kind",
        "site, seed",
        "flips",
        "truth (95 % interval)",
        "labels",
        "without",
        "retrieval",
        "rank",
        "patches",
        "distance",
        "stability"
    );
    for run in judged {
        let truth = run.truth.map_or_else(
            || "-".to_owned(),
            |truth| format!("{:+.3} ({:+.3} {:+.3})", truth.value, truth.lower, truth.upper),
        );
        let signals = run.report.label_free.as_ref().map_or_else(String::new, |found| {
            let patches = found.patches.map_or_else(
                || "-".to_owned(),
                |patches| format!("{:.3}", patches.mask / patches.base),
            );
            format!(
                "{:>+10.3}{:>7.3}{patches:>9}{:>+10.3}{:>10.2}",
                found.retrieval.difference.lower,
                found.mask.effective_rank / found.base.effective_rank,
                (1.0 - found.mask.mean_cosine) / (1.0 - found.base.mean_cosine) - 1.0,
                found.stability
            )
        });
        println!(
            "{:<9}{:<18}{:>8}  {truth:<23}{:<9}{:<9}{signals}",
            run.kind.name(),
            run.name,
            run.report.training.flips,
            run.with_labels.word(),
            run.without_labels.word()
        );
    }
    println!(
        "\n{} of {planned} trainings done, {failed} failed; the gate's answers",
        judged.len()
    );
    println!(
        "{:<9}{:>6}{:>9}{:>7}  {:<24}{:<24}",
        "kind", "done", "no flip", "better", "with labels: passed/bad", "without: passed/bad"
    );
    for kind in Kind::ALL {
        let of: Vec<&Judged> = judged.iter().filter(|run| run.kind == kind).collect();
        let count = |which: fn(&Judged) -> bool| of.iter().filter(|run| which(run)).count();
        println!(
            "{:<9}{:>6}{:>9}{:>7}  {:<24}{:<24}",
            kind.name(),
            of.len(),
            count(|run| run.truth.is_none()),
            count(Judged::is_better),
            format!(
                "{}/{}",
                count(|run| run.with_labels == Verdict::Passed),
                count(|run| run.with_labels == Verdict::Passed && !run.is_better())
            ),
            format!(
                "{}/{}",
                count(|run| run.without_labels == Verdict::Passed),
                count(|run| run.without_labels == Verdict::Passed && !run.is_better())
            ),
        );
    }
    println!();
    figures("without_labels", judged, |run| &run.without_labels);
    figures("with_labels", judged, |run| &run.with_labels);
    let (missed, better) = missed(judged, |run| &run.without_labels);
    println!("figure: gate/missed_improvements = {missed} of {better}");
}

/// Of the trainings that should not pass, those that did although they are not shown to be better.
fn figures(gate: &str, judged: &[Judged], verdict: fn(&Judged) -> &Verdict) {
    let bad: Vec<&Judged> = judged.iter().filter(|run| run.kind != Kind::Good).collect();
    let promoted = bad
        .iter()
        .filter(|run| *verdict(run) == Verdict::Passed && !run.is_better())
        .count();
    let all = bad.len();
    println!("figure: gate/{gate}/false_promotions = {promoted} of {all}");
    println!(
        "figure: gate/{gate}/upper_bound = {:.4} of 1",
        bound::upper(promoted, all)
    );
    let (missed, better) = missed(judged, verdict);
    println!("figure: gate/{gate}/missed_improvements = {missed} of {better}");
}

/// Of the good trainings that are shown to be better, those that did not pass.
fn missed(judged: &[Judged], verdict: fn(&Judged) -> &Verdict) -> (usize, usize) {
    let better = judged
        .iter()
        .filter(|run| run.kind == Kind::Good && run.is_better());
    let missed = better
        .clone()
        .filter(|run| *verdict(run) != Verdict::Passed)
        .count();
    (missed, better.count())
}
