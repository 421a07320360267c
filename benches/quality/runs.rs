//! Trainings and their judgements.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use katagami::domain::gate::{GateSettings, Verdict};
use katagami::domain::report::{ImageCounts, Kpi, LabelFree, Report, TrainingFigures};
use serde_json::Value;

use crate::trainings::{self, JUDGE, Outcome, Worker, kept, set};
use crate::trial;

/// Minutes of a training by the default recipe on two idle cores.
const TRAINING: f64 = 4.0;
/// Minutes of judging 1,000 images there: base, mask and random mask.
const JUDGING: f64 = 1.0;
/// Minutes of the signals without labels, of base and mask.
const SIGNALS: f64 = 0.5;

/// What is trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Variant {
    /// A mask, by the recipe as it is.
    Mask,
    /// The weights of the same tensors, by the same loss and steps.
    Finetune,
    /// BatchNorm's statistics alone.
    Norms,
    /// A mask by the recipe with so many times its steps after the warm-up.
    Longer(f64),
}

impl Variant {
    /// The rival called `name`.
    pub fn named(name: &str) -> Result<Self, String> {
        match name {
            "finetune" => Ok(Self::Finetune),
            "norms" => Ok(Self::Norms),
            _ => Err(format!(
                "there is no rival `{name}`; there are finetune and norms"
            )),
        }
    }

    /// The five points of size against KPI.
    pub fn curve() -> Vec<Self> {
        [0.4, 0.7, 1.0, 1.5, 2.0].map(Self::Longer).to_vec()
    }

    /// Its name in tables and figures.
    pub fn name(&self) -> String {
        match self {
            Self::Mask => "mask".to_owned(),
            Self::Finetune => "finetune".to_owned(),
            Self::Norms => "norms".to_owned(),
            Self::Longer(factor) => format!("steps_x{factor}"),
        }
    }

    /// Steps after the warm-up, beside those of the recipe.
    fn length(&self) -> f64 {
        match self {
            Self::Longer(factor) => *factor,
            _ => 1.0,
        }
    }

    /// The recipe that it makes of the default one.
    fn recipe(&self, default: &str) -> Outcome<String> {
        let mut recipe: toml::Table = default.parse()?;
        match self {
            Self::Mask => {}
            Self::Finetune => {
                let rule: toml::Table = "rate = 0.003\nmomentum = 0.9".parse()?;
                recipe.insert("mode".to_owned(), "finetune".into());
                recipe.insert("finetune".to_owned(), rule.into());
            }
            Self::Norms => {
                set(&mut recipe, "mask", "rate", 0.0)?;
                set(&mut recipe, "mask", "norms", "moving")?;
            }
            Self::Longer(factor) => {
                let of = |name: &str| recipe.get("schedule")?.get(name)?.as_integer();
                let (Some(steps), Some(warm_up)) = (of("steps"), of("warm-up")) else {
                    return Err("a curve needs a recipe with steps and a warm-up".into());
                };
                let learning = ((steps - warm_up) as f64 * factor).round() as i64;
                set(&mut recipe, "schedule", "steps", warm_up + learning)?;
            }
        }
        Ok(toml::to_string(&recipe)?)
    }
}

/// The file of a judgement, beside its training.
fn judged_file() -> String {
    format!("judged-{JUDGE}.json")
}

/// The file of the signals without labels.
fn signals_file() -> String {
    format!("signals-{JUDGE}.json")
}

/// A judged training.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What `train --json` said.
    pub trained: Value,
    /// What `judge --labelled` said; the base's own figures where nothing fell.
    pub labelled: Value,
    /// What the gate says of a mask without labels, by the rules of today.
    pub without_labels: Option<Verdict>,
}

/// Where trainings are run and kept.
pub struct Runs {
    worker: Worker,
    cache: PathBuf,
    recipe: String,
    trial: bool,
}

impl Runs {
    /// Runs with the executables in `bin`, on the base in the file `base`.
    pub fn new(bin: &Path, base: &Path, cache: &Path, recipe: Option<&Path>, trial: bool) -> Outcome<Self> {
        fs::create_dir_all(cache)?;
        let mut recipe = match recipe {
            Some(path) => fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => include_str!("../../recipes/factory.toml").to_owned(),
        };
        if trial {
            recipe = trial::recipe(&recipe)?;
        }
        Ok(Self {
            worker: Worker::new(bin, base)?,
            cache: cache.to_owned(),
            recipe,
            trial,
        })
    }

    /// Says what is to be done and about how long that takes.
    pub fn announce(&self, sets: &[(&str, PathBuf)], wanted: &[(Variant, u64)]) -> Outcome<()> {
        let (mut all, mut kept, mut minutes) = (BTreeSet::new(), 0, 0.0);
        for (_, set) in sets {
            let images = trainings::classes(set)?;
            let images: usize = images.iter().map(|(_, files)| files.len()).sum();
            for (variant, seed) in wanted {
                let folder = self.folder(set, &variant.recipe(&self.recipe)?, *seed)?;
                // Two variants may be one training.
                if !all.insert(folder.clone()) {
                    continue;
                }
                let there = |file: &str| folder.join(file).exists();
                let (trained, judged) = (there("trained.json"), there(&judged_file()));
                let asked = *variant != Variant::Mask || there(&signals_file());
                kept += usize::from(trained && judged && asked);
                minutes += if trained { 0.0 } else { TRAINING * variant.length() };
                minutes += if judged {
                    0.0
                } else {
                    JUDGING * images as f64 / 1_000.0
                };
                minutes += if asked { 0.0 } else { SIGNALS };
            }
        }
        let long = if self.trial {
            "a trial, a few seconds each".to_owned()
        } else {
            format!("about {minutes:.0} minutes on two idle cores")
        };
        let all = all.len();
        eprintln!("{all} trainings with their judgements, {kept} of them kept; {long}");
        Ok(())
    }

    /// Where a training is kept.
    fn folder(&self, set: &Path, recipe: &str, seed: u64) -> Outcome<PathBuf> {
        let key = self.worker.key("quality", recipe, &[set], seed)?;
        Ok(self.cache.join(key))
    }

    /// Trains `variant` on all images of `set` and judges it by their labels, unless that was done before.
    pub fn judged(&self, set: &Path, variant: &Variant, seed: u64) -> Outcome<Judged> {
        let recipe = variant.recipe(&self.recipe)?;
        let folder = self.folder(set, &recipe, seed)?;
        fs::create_dir_all(&folder)?;
        let recipe_file = folder.join("recipe.toml");
        fs::write(&recipe_file, &recipe)?;
        let what = format!("{} {} seed {seed}", set.display(), variant.name());
        let seed = seed.to_string();
        let product = folder.join("product");
        let trained = kept(&folder.join("trained.json"), &what, || {
            let mut command = self.worker.command("train");
            command.arg("--images").arg(set).arg("--recipe").arg(&recipe_file);
            command.args(["--seed", &seed, "--json", "--out"]).arg(&product);
            command
        })?;
        let labelled = kept(&folder.join(judged_file()), &what, || {
            let mut command = self.worker.command("judge");
            command.arg("--labelled").arg(set).arg("--json");
            // Where nothing fell there is no product: the base is judged against itself.
            let base = &self.worker.base;
            let product = if product.exists() { &product } else { base };
            let option = if *variant == Variant::Finetune || product == base {
                "--weights"
            } else {
                "--mask"
            };
            command.arg(option).arg(product);
            command
        })?;
        let mut without_labels = None;
        if *variant == Variant::Mask && product.exists() {
            let signals = kept(&folder.join(signals_file()), &what, || {
                let mut command = self.worker.command("judge");
                command.arg("--images").arg(set).arg("--json");
                command.arg("--mask").arg(&product);
                command
            })?;
            without_labels = Some(verdict(&signals)?);
        }
        Ok(Judged {
            trained,
            labelled,
            without_labels,
        })
    }
}

/// The gate's verdict on what `judge --images` measured.
fn verdict(signals: &Value) -> Outcome<Verdict> {
    let count = |name: &str| {
        let count = signals[name].as_u64();
        count.ok_or_else(|| format!("`judge --images` says nothing of `{name}`"))
    };
    let training = TrainingFigures {
        flips: count("changed_weights")?,
        own_statistics: count("own_statistics")?,
        moved_statistics: count("own_statistics")?,
        ..TrainingFigures::default()
    };
    let label_free: LabelFree = serde_json::from_value(signals["label_free"].clone())?;
    let (images, settings) = (ImageCounts::default(), GateSettings::default());
    let report = Report::judged(Kpi::default(), None, Some(label_free), training, images, settings);
    Ok(report.gate.verdict)
}
