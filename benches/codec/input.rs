//! The masks that are measured, and the header that each gets.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use katagami::base::{Preprocessing, Weights, import};
use katagami::domain::{Digest, JobId, MaskVersion, SiteName, Timestamp};
use katagami::mask::{self, Artefact, Coding, ExecutionProfile, Figures, Header, Level, Limits, Mask};

/// What may go wrong is told in a sentence and ends the run.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// A mask with the base that it is for.
pub struct Trained {
    pub name: String,
    /// `lite0`, `lite2`, …
    pub network: String,
    /// The site that it was trained for; other sites' masks may be learned from.
    pub site: String,
    /// `dense` or `sparse`.
    pub recipe: String,
    /// `warm` or `cold` if it is the successor of the mask without this.
    pub start: Option<String>,
    pub mask: Mask,
    pub base: Arc<Weights>,
    /// The base's digest, which takes long enough to be kept.
    pub digest: Digest,
}

/// Weights that were trained themselves, to compare masks with.
pub struct Finetuned {
    pub network: String,
    pub site: String,
    pub weights: Weights,
    pub base: Arc<Weights>,
}

/// What a list names.
#[derive(Default)]
pub struct Input {
    pub trained: Vec<Trained>,
    pub finetuned: Vec<Finetuned>,
}

impl Input {
    /// Masks that stand for themselves: no successors.
    pub fn first(&self) -> impl Iterator<Item = &Trained> {
        self.trained.iter().filter(|trained| trained.start.is_none())
    }
}

/// Reads the list at `path` and all that it names.
pub fn read(path: &Path) -> Outcome<Input> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bases: HashMap<PathBuf, Arc<Weights>> = HashMap::new();
    let mut input = Input::default();
    let mut finetuned = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<_> = line.split_whitespace().collect();
        let &[name, file, base] = fields.as_slice() else {
            return Err(format!("`{line}` is not `NAME FILE BASE`").into());
        };
        let parts: Vec<_> = name.split('-').map(str::to_owned).collect();
        let (network, site, recipe, start) = match parts.as_slice() {
            [network, site, recipe] => (network, site, recipe, None),
            [network, site, recipe, start] => (network, site, recipe, Some(start)),
            _ => return Err(format!("`{name}` is not `NETWORK-SITE-RECIPE[-START]`").into()),
        };
        if recipe == "finetune" {
            finetuned.push((network.clone(), site.clone(), file, base));
            continue;
        }
        let artefact = mask::decode(&fs::read(file)?, Limits::default())?;
        let base = match bases.get(Path::new(base)) {
            Some(weights) => weights.clone(),
            None => Arc::new(import(artefact.architecture, Path::new(base))?),
        };
        bases.insert(fields[2].into(), base.clone());
        let mut mask = artefact.mask(&base)?;
        mask.settle(&base);
        input.trained.push(Trained {
            name: name.to_owned(),
            network: network.clone(),
            site: site.clone(),
            recipe: recipe.clone(),
            start: start.cloned(),
            mask,
            digest: artefact.header.base,
            base,
        });
    }
    for (network, site, file, base) in finetuned {
        let base = bases
            .get(Path::new(base))
            .ok_or(format!("no mask in the list is for {base}"))?;
        input.finetuned.push(Finetuned {
            network,
            site,
            weights: import(base.architecture, Path::new(file))?,
            base: base.clone(),
        });
    }
    Ok(input)
}

/// A header as a server's worker writes it: with a job, a report, figures.
/// `weights` is [`Trained::masked`] where somebody will ask.
pub fn header(base: Digest, weights: Digest, site: &str) -> Header {
    Header {
        base,
        preprocessing: Preprocessing::squashed(224, [0.5; 3], [0.5; 3]).digest(),
        view: katagami::domain::View::default(),
        site: site
            .parse::<SiteName>()
            .expect("sites of the list have valid names"),
        version: MaskVersion(3),
        snapshot: Digest::of(b"snapshot"),
        recipe: Digest::of(b"recipe"),
        job: Some(
            "01a20ffb-d144-70cb-a112-2a1fae7b7a54"
                .parse::<JobId>()
                .expect("it is a UUID"),
        ),
        profile: ExecutionProfile {
            libtorch: "2.13.0".to_owned(),
            device: "cpu".to_owned(),
            threads: 2,
            instructions: "avx512".to_owned(),
        },
        weights,
        report: Some(Digest::of(b"report")),
        figures: Figures {
            kpi_base: 0.783,
            kpi_mask: 0.794,
            kpi_lower: -0.011,
            kpi_upper: 0.021,
            effective_rank: 337.14,
        },
        parent: None,
        prior: None,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: Timestamp::from_micros(1_764_000_000_123_456),
    }
}

/// Writes `mask` and reads it again: a size counts only if the mask comes out of it.
pub fn coded(header: &Header, mask: &Mask, base: &Weights, coding: &Coding) -> Outcome<(Vec<u8>, Artefact)> {
    let file = mask::encode_with(header, mask, base, coding)?;
    let artefact = mask::decode(&file, Limits::default())?;
    if artefact.mask_with(base, coding)? != *mask {
        return Err("a mask was not read as it was written".into());
    }
    Ok((file, artefact))
}

/// Coded at `level`, with nothing but the base.
pub fn at(level: Level) -> Coding<'static> {
    Coding {
        level,
        ..Coding::default()
    }
}

impl Trained {
    /// Its header, for a file that nobody applies.
    pub fn header(&self) -> Header {
        header(self.digest, Digest::of(b"weights"), &self.site)
    }

    /// The digest of the masked weights.
    pub fn masked(&self) -> Outcome<Digest> {
        Ok(mask::apply(&self.mask, Weights::clone(&self.base))?.digest())
    }
}
