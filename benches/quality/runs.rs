//! Trainings and their judgements.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::trainings::{Outcome, Worker, kept, set};

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
                let of = |recipe: &toml::Table, name: &str| recipe["schedule"][name].as_integer();
                let (steps, warm_up) = (of(&recipe, "steps"), of(&recipe, "warm-up"));
                let (Some(steps), Some(warm_up)) = (steps, warm_up) else {
                    return Err("the recipe has no schedule".into());
                };
                let learning = ((steps - warm_up) as f64 * factor).round() as i64;
                set(&mut recipe, "schedule", "steps", warm_up + learning)?;
            }
        }
        Ok(toml::to_string(&recipe)?)
    }
}

/// A judged training.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What `train --json` said.
    pub trained: Value,
    /// What `judge --json` said; the base's own figures where nothing fell.
    pub judged: Value,
}

/// Where trainings are run and kept.
pub struct Runs {
    worker: Worker,
    cache: PathBuf,
    recipe: String,
}

impl Runs {
    /// Runs with the executables in `bin`, on the base in the file `base`.
    pub fn new(bin: &Path, base: &Path, cache: &Path, recipe: Option<&Path>) -> Outcome<Self> {
        fs::create_dir_all(cache)?;
        let recipe = match recipe {
            Some(path) => fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?,
            None => include_str!("../../recipes/factory.toml").to_owned(),
        };
        Ok(Self {
            worker: Worker::new(bin, base),
            cache: cache.to_owned(),
            recipe,
        })
    }

    /// Trains `variant` on all images of `set` and judges it by their labels, unless that was done before.
    pub fn judged(&self, set: &Path, variant: &Variant, seed: u64) -> Outcome<Judged> {
        let recipe = variant.recipe(&self.recipe)?;
        let folder = self
            .cache
            .join(self.worker.key("quality 1", &recipe, &[set], seed)?);
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
        let judged = kept(&folder.join("judged.json"), &what, || {
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
        Ok(Judged { trained, judged })
    }
}
