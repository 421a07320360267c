//! The trainings of the study.

use std::fs;
use std::path::{Path, PathBuf};

use katagami::domain::gate::{GateSettings, Verdict};
use katagami::domain::report::{Estimate, Report};

use crate::sites::{Drawn, Site, TEST, shuffled};
use crate::trainings::{JUDGE, Outcome, Worker, kept, set};

/// Edge length of the network's input in pixels.
const SIZE: i64 = 64;
/// Steps of a training, and those that warm up.
const STEPS: i64 = 30;
const WARM_UP: i64 = 9;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The site's pictures by the default recipe, made small.
    Good,
    /// The site's pictures with their pixels in another order.
    Shuffled,
    /// Another site's pictures.
    Foreign,
    /// The site's pictures, scores learning 50 times as fast.
    Fast,
    /// A random mask as dense as the good one; in every other round as the fast one.
    Random,
}

impl Kind {
    /// All kinds, in the order of tables.
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::Shuffled,
        Self::Foreign,
        Self::Fast,
        Self::Random,
    ];

    /// The kind called `name`.
    pub fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| {
            format!("there is no kind `{name}`; there are good, shuffled, foreign, fast and random")
        })
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Shuffled => "shuffled",
            Self::Foreign => "foreign",
            Self::Fast => "fast",
            Self::Random => "random",
        }
    }
}

/// One training of the study.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// What is trained.
    pub kind: Kind,
    site: usize,
    seed: u64,
}

/// A training with what the gate says of it and what is true.
pub struct Judged {
    /// What was trained.
    pub kind: Kind,
    /// Site and seed.
    pub name: String,
    /// The training's report.
    pub report: Report,
    /// What the gate says with the labels of the validation split.
    pub with_labels: Verdict,
    /// What it says without.
    pub without_labels: Verdict,
    /// By how much the probe is better on the split that nobody has read; none where nothing fell.
    pub truth: Option<Estimate>,
}

impl Judged {
    /// Whether the mask is shown to be better.
    pub fn is_better(&self) -> bool {
        self.truth.is_some_and(|truth| truth.lower > 0.0)
    }
}

/// Where the study is made.
pub struct Study {
    worker: Worker,
    cache: PathBuf,
    sites: Vec<Site>,
}

impl Study {
    /// A study with the executables in `bin`, on the base in the file `base`.
    pub fn new(bin: &Path, base: &Path, cache: &Path, sites: Vec<Site>) -> Outcome<Self> {
        fs::create_dir_all(cache)?;
        Ok(Self {
            worker: Worker::new(bin, base)?,
            cache: cache.to_owned(),
            sites,
        })
    }

    /// The trainings, round by round: what is done of them is always balanced.
    pub fn plan(&self, rounds: u64, kinds: &[Kind]) -> Vec<Run> {
        let mut runs = Vec::new();
        for round in 0..rounds {
            for &kind in kinds {
                let seeds = match kind {
                    Kind::Good => vec![2 * round, 2 * round + 1],
                    _ => vec![2 * round],
                };
                for seed in seeds {
                    runs.extend((0..self.sites.len()).map(|site| Run { kind, site, seed }));
                }
            }
        }
        runs
    }

    /// Whether its training lies in the cache.
    pub fn is_done(&self, run: &Run) -> Outcome<bool> {
        Ok(self.folder(run)?.join("trained.json").exists())
    }

    /// Trains, unless that was done before, and asks the gate.
    pub fn judged(&self, run: &Run) -> Outcome<Judged> {
        let folder = self.folder(run)?;
        let (report, recipe) = (folder.join("report.json"), folder.join("recipe.toml"));
        let site = &self.sites[run.site];
        let name = format!("{} {}", site.name, run.seed);
        let what = format!("{} {name}", run.kind.name());
        if !self.is_done(run)? {
            let (images, labelled) = self.pictures(run)?;
            fs::create_dir_all(&folder)?;
            fs::write(&recipe, recipe_of(run)?)?;
            kept(&folder.join("trained.json"), &what, || {
                let mut command = self.worker.command("train");
                command.args(["--threads", "1", "--size", &SIZE.to_string(), "--images"]);
                command.arg(&images).arg("--labelled").arg(&labelled);
                command.arg("--recipe").arg(&recipe);
                command.args(["--seed", &run.seed.to_string(), "--json", "--report"]);
                command.arg(&report).arg("--out").arg(folder.join("mask"));
                if run.kind == Kind::Random {
                    command.arg("--control");
                }
                command
            })?;
        }
        let report = Report::from_json(&fs::read_to_string(&report)?)?;
        // Once more by the rules of today; without labels on the same signals.
        let verdict = |validation| {
            let (kpi, training) = (report.kpi.clone(), report.training.clone());
            let label_free = report.label_free.clone();
            let settings = GateSettings::default();
            let judged = Report::judged(kpi, validation, label_free, training, report.images, settings);
            judged.gate.verdict
        };
        Ok(Judged {
            kind: run.kind,
            name,
            with_labels: verdict(report.validation.clone()),
            without_labels: verdict(None),
            truth: report.test.as_ref().map(|test| test.probe.difference),
            report,
        })
    }

    fn folder(&self, run: &Run) -> Outcome<PathBuf> {
        // The report of a training holds what judged it, too.
        let study = format!("gate {JUDGE} {TEST} {}", run.kind.name());
        let mut sets = vec![self.sites[run.site].folder.as_path()];
        if run.kind == Kind::Foreign {
            sets.push(&self.foreign(run).folder);
        }
        Ok(self
            .cache
            .join(self.worker.key(&study, &recipe_of(run)?, &sets, run.seed)?))
    }

    /// Whose pictures a foreign training sees: round by round another site's.
    fn foreign(&self, run: &Run) -> &Site {
        let others = self.sites.len() - 1;
        let step = 1 + (run.seed / 2) as usize % others;
        &self.sites[(run.site + step) % self.sites.len()]
    }

    /// The folders of the pictures that the training sees, and of the labelled ones.
    fn pictures(&self, run: &Run) -> Outcome<(PathBuf, PathBuf)> {
        let drawn = |site: &Site| -> Outcome<Drawn> {
            let key = self
                .worker
                .key(&format!("gate pictures {TEST}"), "", &[&site.folder], run.seed)?;
            site.drawn(&self.cache.join("pictures").join(key), run.seed)
        };
        let own = drawn(&self.sites[run.site])?;
        let images = match run.kind {
            Kind::Good | Kind::Fast | Kind::Random => own.images,
            Kind::Foreign => drawn(self.foreign(run))?.images,
            Kind::Shuffled => {
                let folder = own.images.with_file_name("shuffled");
                shuffled(&own.images, &folder, run.seed)?
            }
        };
        Ok((images, own.labelled))
    }
}

/// The default recipe, made so small that a training takes half a minute. Its rate is so much
/// higher that chance moves scores as far in fewer steps, by the root of their number: were it
/// higher by the number itself, most flips would be chance's. That of a fast one is 50 times the default.
fn recipe_of(run: &Run) -> Outcome<String> {
    let mut recipe: toml::Table = include_str!("../../recipes/factory.toml").parse()?;
    let of_schedule = |field: &str| recipe["schedule"][field].as_integer().ok_or("no schedule");
    let learning = (of_schedule("steps")? - of_schedule("warm-up")?) as f64;
    let rate = recipe["mask"]["rate"]
        .as_float()
        .ok_or("the recipe has no rate")?;
    let rate = match run.kind {
        Kind::Fast => 50.0 * rate,
        Kind::Random if run.seed % 4 == 2 => 50.0 * rate,
        _ => rate * (learning / (STEPS - WARM_UP) as f64).sqrt(),
    };
    set(&mut recipe, "mask", "rate", rate)?;
    let schedule = [
        ("steps", STEPS),
        ("warm-up", WARM_UP),
        ("prototypes-frozen", 6),
        ("batch", 32),
    ];
    for (field, value) in schedule {
        set(&mut recipe, "schedule", field, value)?;
    }
    let augment = recipe.get_mut("augment").and_then(toml::Value::as_table_mut);
    let augment = augment.ok_or("the recipe has no section `augment`")?;
    for (crops, size) in [("large", SIZE), ("small", 48)] {
        let crops = augment.get_mut(crops).and_then(toml::Value::as_table_mut);
        crops
            .ok_or("the recipe has no such crops")?
            .insert("size".to_owned(), size.into());
    }
    Ok(toml::to_string(&recipe)?)
}
