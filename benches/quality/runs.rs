//! Trainings and their judgements by the real executables, kept by all that decides them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// What went well, or a sentence.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

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
        let mut set = |section: &str, field: &str, value: toml::Value| {
            if let Some(toml::Value::Table(section)) = recipe.get_mut(section) {
                section.insert(field.to_owned(), value);
            }
        };
        match self {
            Self::Mask => {}
            Self::Finetune => {
                let rule: toml::Table = "rate = 0.003\nmomentum = 0.9".parse()?;
                recipe.insert("mode".to_owned(), "finetune".into());
                recipe.insert("finetune".to_owned(), rule.into());
            }
            Self::Norms => {
                set("mask", "rate", 0.0.into());
                set("mask", "norms", "moving".into());
            }
            Self::Longer(factor) => {
                let of = |recipe: &toml::Table, name: &str| recipe["schedule"][name].as_integer();
                let (steps, warm_up) = (of(&recipe, "steps"), of(&recipe, "warm-up"));
                let (Some(steps), Some(warm_up)) = (steps, warm_up) else {
                    return Err("the recipe has no schedule".into());
                };
                let learning = ((steps - warm_up) as f64 * factor).round() as i64;
                let schedule = recipe.get_mut("schedule").and_then(toml::Value::as_table_mut);
                schedule
                    .expect("it was just read")
                    .insert("steps".to_owned(), (warm_up + learning).into());
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
    bin: PathBuf,
    base: PathBuf,
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
            bin: bin.to_owned(),
            base: base.to_owned(),
            cache: cache.to_owned(),
            recipe,
        })
    }

    /// Trains `variant` on all images of `set` and judges it by their labels, unless that was done before.
    pub fn judged(&self, set: &Path, variant: &Variant, seed: u64) -> Outcome<Judged> {
        let recipe = variant.recipe(&self.recipe)?;
        let folder = self.cache.join(self.key(&recipe, set, seed)?);
        fs::create_dir_all(&folder)?;
        let recipe_file = folder.join("recipe.toml");
        fs::write(&recipe_file, &recipe)?;
        let what = format!("{} {} seed {seed}", set.display(), variant.name());
        let seed = seed.to_string();
        let product = folder.join("product");
        let trained = kept(&folder.join("trained.json"), &what, || {
            let mut command = self.worker("train");
            command.arg("--images").arg(set).arg("--recipe").arg(&recipe_file);
            command.args(["--seed", &seed, "--json", "--out"]).arg(&product);
            command
        })?;
        let judged = kept(&folder.join("judged.json"), &what, || {
            let mut command = self.worker("judge");
            command.arg("--labelled").arg(set).arg("--json");
            // Where nothing fell there is no product: the base is judged against itself.
            let product = if product.exists() { &product } else { &self.base };
            let option = if *variant == Variant::Finetune || *product == self.base {
                "--weights"
            } else {
                "--mask"
            };
            command.arg(option).arg(product);
            command
        })?;
        Ok(Judged { trained, judged })
    }

    fn worker(&self, command: &str) -> Command {
        let mut worker = Command::new(self.bin.join("katagami-worker"));
        worker
            .args([command, "--device", "cpu", "--base"])
            .arg(&self.base);
        worker
    }

    /// The digest of all that decides a training: the trainer, its base, the pictures, recipe and seed.
    fn key(&self, recipe: &str, set: &Path, seed: u64) -> Outcome<String> {
        let mut digest = Sha256::new();
        digest.update(format!(
            "quality 1 {} {seed}\n{recipe}",
            env!("CARGO_PKG_VERSION")
        ));
        digest.update(self.base.to_string_lossy().as_bytes());
        let mut classes: Vec<PathBuf> = fs::read_dir(set)
            .map_err(|error| format!("{}: {error}", set.display()))?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        classes.sort();
        for class in classes.iter().filter(|class| class.is_dir()) {
            let mut files: Vec<_> = fs::read_dir(class)?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<Result<_, _>>()?;
            files.sort();
            digest.update(class.file_name().unwrap_or_default().as_encoded_bytes());
            for file in files {
                digest.update(file.as_encoded_bytes());
                digest.update(fs::metadata(class.join(&file))?.len().to_le_bytes());
            }
        }
        let hex: Vec<String> = digest
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(hex.concat()[..24].to_owned())
    }
}

/// What `command` prints, or what it printed before.
fn kept(path: &Path, what: &str, command: impl Fn() -> Command) -> Outcome<Value> {
    if let Ok(text) = fs::read(path)
        && let Ok(value) = serde_json::from_slice(&text)
    {
        return Ok(value);
    }
    let mut command = command();
    eprintln!(
        "{} {what}",
        path.file_stem().unwrap_or_default().to_string_lossy()
    );
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{what}: {}", said.lines().last().unwrap_or("failed")).into());
    }
    let value = serde_json::from_slice(&output.stdout)?;
    let part = path.with_extension("part");
    fs::write(&part, &output.stdout)?;
    fs::rename(part, path)?;
    Ok(value)
}
