//! Placing a job: what is left out is decided and written down.

use super::state::App;
use crate::catalog::jobs::ResolvedJob;
use crate::catalog::{CatalogError, Tx, bases, channels, jobs, masks, sites, snapshots, validation};
use crate::domain::job::RECIPES;
use crate::domain::kpi::{Kpi, KpiError};
use crate::domain::permission::Actor;
use crate::domain::{ChannelName, Digest, ErrorKind, MaskVersion, Problem, SiteName, SnapshotId};
use crate::intake::{self, IntakeError};
use crate::wire::v1::jobs::{Job, NewJob, Start};
use crate::wire::v1::snapshots::NewSnapshot;

/// The channel whose mask a training starts from.
const STABLE: &str = "stable";
/// Most steps that may be asked for.
const MOST_STEPS: u32 = 1_000_000;

/// Why no job was placed.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The recipe is unknown.
    #[error("there is no recipe `{given}`; known are {}", RECIPES.join(", "))]
    NoSuchRecipe {
        /// The name given.
        given: String,
    },
    /// The budget is nothing, or more than anybody has.
    #[error("a budget of {0} steps cannot be trained; give 1 to {MOST_STEPS}")]
    Budget(u32),
    /// There is nothing to train on.
    #[error("snapshot {snapshot} has no images; submit some with `katagami images submit`")]
    NoImages {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// The mask to start from is bound to another base.
    #[error("mask {version} is bound to base {}, the server's base is {}; start from `base`", bound.short(), active.short())]
    OtherBase {
        /// The mask.
        version: MaskVersion,
        /// Its base.
        bound: Digest,
        /// The server's.
        active: Digest,
    },
    /// The KPI does not fit the validation set.
    #[error(transparent)]
    Kpi(#[from] KpiError),
    /// The snapshot could not be made.
    #[error(transparent)]
    Snapshot(#[from] IntakeError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl Problem for OrderError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchRecipe { .. } | Self::Budget(_) | Self::Kpi(_) => ErrorKind::Invalid,
            Self::NoImages { .. } | Self::OtherBase { .. } => ErrorKind::Conflict,
            Self::Snapshot(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchRecipe { .. } => "no_such_recipe",
            Self::Budget(_) => "budget_invalid",
            Self::Kpi(_) => "kpi_invalid",
            Self::NoImages { .. } => "no_images",
            Self::OtherBase { .. } => "mask_of_other_base",
            Self::Snapshot(error) => error.code(),
            Self::Catalog(error) => error.code(),
        }
    }
}

/// Places a job of `site`.
pub async fn place(app: &App, actor: &Actor, site: &SiteName, new: NewJob) -> Result<Job, OrderError> {
    let recipe = new.recipe.unwrap_or_else(|| RECIPES[0].to_owned());
    if !RECIPES.contains(&recipe.as_str()) {
        return Err(OrderError::NoSuchRecipe { given: recipe });
    }
    if let Some(steps) = new.budget.filter(|steps| !(1..=MOST_STEPS).contains(steps)) {
        return Err(OrderError::Budget(steps));
    }
    let mut tx = app.catalog.read().await?;
    let settings = sites::needed(&mut tx, site).await?;
    let kpi = new.kpi.unwrap_or(settings.kpi);
    fits(&mut tx, site, &kpi).await?;
    let base = bases::active(&mut tx).await?.ok_or(CatalogError::NoBase)?;
    let base = base.manifest.digest;
    let start = start(&mut tx, site, new.start, base).await?;
    let given = match new.snapshot {
        Some(id) => Some(of_site(snapshots::get(&mut tx, id).await?, site, id)?),
        None => None,
    };
    // Making a snapshot writes; on SQLite the two must not overlap.
    drop(tx);
    let by = actor.to_string();
    let snapshot = match given {
        Some(snapshot) => snapshot,
        None => intake::snapshot(&app.intake, site, &NewSnapshot::default(), &by).await?,
    };
    if snapshot.incomplete {
        return Err(CatalogError::SnapshotIncomplete {
            snapshot: snapshot.id,
        }
        .into());
    }
    if snapshot.images == 0 {
        return Err(OrderError::NoImages {
            snapshot: snapshot.id,
        });
    }
    let mut tx = app.catalog.begin().await?;
    let order = ResolvedJob {
        site: site.clone(),
        snapshot: snapshot.id,
        base,
        validation: validation::newest(&mut tx, site).await?,
        recipe,
        budget: new.budget,
        kpi,
        gate: settings.gate,
        parent: match start {
            Start::Base => None,
            Start::Mask(version) => Some(version),
        },
        priority: 0,
        seed: new.seed.unwrap_or(0),
        max_attempts: app.config.scheduler.max_attempts.get(),
    };
    let job = jobs::create(&mut tx, &order, &by).await?;
    tx.commit().await?;
    Ok(job)
}

/// Whether the newest validation set can answer the KPI; a site without one is judged without labels.
async fn fits(tx: &mut Tx, site: &SiteName, kpi: &Kpi) -> Result<(), OrderError> {
    let Some(version) = validation::newest(tx, site).await? else {
        return Ok(());
    };
    let set = validation::get(tx, site, version).await?;
    let classes = set.iter().flat_map(|set| &set.classes);
    let judging = classes.filter(|(_, counts)| counts.validation > 0);
    let judging = judging.map(|(class, counts)| (class.as_str(), counts.validation));
    Ok(kpi.check(&judging.collect())?)
}

fn of_site(
    found: Option<crate::wire::v1::snapshots::Snapshot>,
    site: &SiteName,
    id: SnapshotId,
) -> Result<crate::wire::v1::snapshots::Snapshot, CatalogError> {
    found
        .filter(|snapshot| snapshot.site == *site)
        .ok_or(CatalogError::NoSuchSnapshot { snapshot: id })
}

/// What the training starts from: as asked, else the stable mask if it is
/// bound to the active base, else the base.
async fn start(
    tx: &mut Tx,
    site: &SiteName,
    asked: Option<Start>,
    active: Digest,
) -> Result<Start, OrderError> {
    match asked {
        Some(Start::Base) => Ok(Start::Base),
        Some(Start::Mask(version)) => {
            let mask = masks::needed(tx, site, version).await?;
            if mask.base == active {
                return Ok(Start::Mask(version));
            }
            Err(OrderError::OtherBase {
                version,
                bound: mask.base,
                active,
            })
        }
        None => {
            let stable: ChannelName = STABLE.parse().expect("a channel's name");
            let channel = channels::get(tx, site, &stable).await?;
            let Some(version) = channel.and_then(|channel| channel.mask) else {
                return Ok(Start::Base);
            };
            let mask = masks::needed(tx, site, version).await?;
            Ok(if mask.base == active {
                Start::Mask(version)
            } else {
                Start::Base
            })
        }
    }
}
