//! The tables and figures of a set.

use katagami::domain::gate::Verdict;
use serde_json::Value;

use crate::runs::{Judged, Variant};

/// The figures of a judgement, and what they are called.
const FIGURES: [(&str, &str); 3] = [("probe", "probe"), ("few-shot", "few_shot"), ("k-NN", "knn")];
/// The gain that is promised is the mean of these.
const PROMISED: [&str; 2] = ["probe", "few_shot"];

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or(f64::NAN)
}

fn of(row: &Value, figure: &str, what: &str) -> f64 {
    number(row, &format!("/{figure}/{what}/value"))
}

/// The mean gain over what is promised, of one model; of a set whose smallest class has no
/// eleven images for the few-shot probe, over the rest.
fn gain(row: &Value) -> f64 {
    mean(PROMISED.into_iter().map(|figure| of(row, figure, "difference")))
}

/// The mean of what is known; NaN of nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let known: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    known.iter().sum::<f64>() / known.len() as f64
}

/// A figure of a model with the interval of its difference from the base; a dash where it was not measured.
fn cell(row: &Value, figure: &str) -> String {
    if row[figure].is_null() {
        return "-".to_owned();
    }
    let [lower, upper] = ["lower", "upper"].map(|end| number(row, &format!("/{figure}/difference/{end}")));
    format!("{:.3} ({lower:+.3} {upper:+.3})", of(row, figure, "mask"))
}

/// The bytes of a mask; none where nothing fell, which a device need not be sent.
fn bytes(mask: &Judged) -> f64 {
    mask.trained["mask_bytes"].as_f64().unwrap_or(0.0)
}

/// Where results go.
pub struct Table {
    /// Whether they are those of a trial, and no figures.
    pub trial: bool,
}

impl Table {
    fn figure(&self, name: &str, value: f64, unit: &str) {
        let head = if self.trial { "trial, no figure" } else { "figure" };
        // Nothing is said of what was not measured.
        if !value.is_nan() {
            println!("{head}: quality/{name} = {value:.4} {unit}");
        }
    }

    /// Prints the table of a set and its figures: masks of several seeds, and the rivals.
    pub fn print(&self, set: &str, seeds: &[u64], masks: &[Judged], rivals: &[(Variant, Judged)]) {
        let Some(first) = masks.first() else { return };
        println!(
            "\n{set}: {} images, balanced accuracy; difference with its 95 % interval",
            first.labelled["images"]
        );
        println!(
            "{:<22}{:>9}  {:>26}{:>26}{:>26}",
            "", "flips", FIGURES[0].0, FIGURES[1].0, FIGURES[2].0
        );
        let base = FIGURES.map(|(_, key)| of(&first.labelled["mask"], key, "base"));
        println!(
            "{:<22}{:>9}  {:>26.3}{:>26.3}{:>26.3}",
            "base", 0, base[0], base[1], base[2]
        );
        let line = |name: &str, flips: &Value, row: &Value| {
            let cells = FIGURES.map(|(_, key)| cell(row, key));
            let flips = flips
                .as_u64()
                .map_or_else(|| "-".to_owned(), |flips| flips.to_string());
            println!(
                "{name:<22}{flips:>9}  {:>26}{:>26}{:>26}",
                cells[0], cells[1], cells[2]
            );
        };
        for (seed, mask) in seeds.iter().zip(masks) {
            line(
                &format!("mask, seed {seed}"),
                &mask.trained["flips"],
                &mask.labelled["mask"],
            );
            if !mask.labelled["random_mask"].is_null() {
                line(
                    &format!("random, seed {seed}"),
                    &mask.trained["flips"],
                    &mask.labelled["random_mask"],
                );
            }
        }
        for (variant, rival) in rivals {
            line(&variant.name(), &Value::Null, &rival.labelled["mask"]);
        }
        for (seed, mask) in seeds.iter().zip(masks) {
            if let Some(verdict) = &mask.without_labels {
                let reasons: Vec<String> = verdict.reasons().iter().map(ToString::to_string).collect();
                println!(
                    "gate without labels, seed {seed}: {} {}",
                    verdict.word(),
                    reasons.join("; ")
                );
            }
        }
        for (_, key) in FIGURES {
            let gains = masks
                .iter()
                .map(|mask| of(&mask.labelled["mask"], key, "difference"));
            self.figure(&format!("{set}/{key}_gain"), mean(gains), "fraction");
        }
        self.figure(
            &format!("{set}/mean_gain"),
            mean(masks.iter().map(|mask| gain(&mask.labelled["mask"]))),
            "fraction",
        );
        let random = masks
            .iter()
            .filter(|mask| !mask.labelled["random_mask"].is_null());
        self.figure(
            &format!("{set}/random_mean_gain"),
            mean(random.map(|mask| gain(&mask.labelled["random_mask"]))),
            "fraction",
        );
        for (variant, rival) in rivals {
            self.figure(
                &format!("{set}/{}_mean_gain", variant.name()),
                gain(&rival.labelled["mask"]),
                "fraction",
            );
        }
        // By the gate that saw no labels: what they say is news to it.
        let released = || {
            let passed = |mask: &&Judged| mask.without_labels == Some(Verdict::Passed);
            masks.iter().filter(passed)
        };
        let below = |mask: &&Judged| {
            FIGURES
                .into_iter()
                .any(|(_, key)| number(&mask.labelled["mask"], &format!("/{key}/difference/upper")) < 0.0)
        };
        self.figure(&format!("{set}/released"), released().count() as f64, "masks");
        self.figure(
            &format!("{set}/released_below_base"),
            released().filter(below).count() as f64,
            "masks",
        );
        let bytes = masks.iter().map(bytes);
        self.figure(&format!("{set}/mask_bytes"), mean(bytes), "bytes");
        let seconds = masks.iter().map(|mask| number(&mask.trained, "/seconds"));
        self.figure(&format!("{set}/train_seconds"), mean(seconds), "s");
    }

    /// Prints one point of the trade-off of size and KPI.
    pub fn point(&self, set: &str, variant: &Variant, row: &Judged) {
        let name = format!("{set}/curve/{}", variant.name());
        self.figure(&format!("{name}/bytes"), bytes(row), "bytes");
        self.figure(
            &format!("{name}/mean_gain"),
            gain(&row.labelled["mask"]),
            "fraction",
        );
    }
}
