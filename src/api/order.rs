//! Placing a job: what is left out is decided and written down.

use super::state::App;
use crate::base::architecture::{self, InputSizeError};
use crate::catalog::jobs::ResolvedJob;
use crate::catalog::{CatalogError, Tx, bases, channels, jobs, masks, sites, snapshots, validation};
use crate::domain::channel::Current;
use crate::domain::job::RECIPES;
use crate::domain::kpi::{Kpi, KpiError};
use crate::domain::permission::Actor;
use crate::domain::{ChannelName, Digest, ErrorKind, MaskVersion, Problem, SiteName, SnapshotId, View};
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
    /// The mask to start from was trained with another view.
    #[error(
        "mask {version} was trained with another view ({trained}) than site `{site}` has now ({now}); start from `base`"
    )]
    OtherView {
        /// The mask.
        version: MaskVersion,
        /// Its view.
        trained: View,
        /// The site.
        site: SiteName,
        /// The site's view.
        now: View,
    },
    /// The base cannot have input of the view's size.
    #[error("the view of site `{site}` does not fit the base: {source}")]
    ViewSize {
        /// The site.
        site: SiteName,
        /// Which sizes it has.
        source: InputSizeError,
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
            Self::ViewSize { source, .. } => source.kind(),
            Self::NoImages { .. } | Self::OtherBase { .. } | Self::OtherView { .. } => ErrorKind::Conflict,
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
            Self::OtherView { .. } => "mask_of_other_view",
            Self::ViewSize { source, .. } => source.code(),
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
    fits_base(site, &settings.view, &base.manifest.architecture)?;
    let current = Current {
        base: base.manifest.digest,
        view: settings.view,
    };
    let start = start(&mut tx, site, new.start, &current).await?;
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
        base: current.base,
        validation: validation::newest(&mut tx, site).await?,
        recipe,
        budget: new.budget,
        kpi,
        gate: settings.gate,
        view: current.view,
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

/// Whether the base can have input of the view's size.
fn fits_base(site: &SiteName, view: &View, base: &str) -> Result<(), OrderError> {
    let Some((size, architecture)) = view.size.zip(architecture::architecture(base)) else {
        return Ok(());
    };
    architecture
        .check_size(size)
        .map_err(|source| OrderError::ViewSize {
            site: site.clone(),
            source,
        })
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

/// What the training starts from: as asked, else the stable mask if it is bound to the
/// active base and was trained with the site's view, else the base.
async fn start(
    tx: &mut Tx,
    site: &SiteName,
    asked: Option<Start>,
    current: &Current,
) -> Result<Start, OrderError> {
    match asked {
        Some(Start::Base) => Ok(Start::Base),
        Some(Start::Mask(version)) => {
            let mask = masks::needed(tx, site, version).await?;
            if mask.base != current.base {
                return Err(OrderError::OtherBase {
                    version,
                    bound: mask.base,
                    active: current.base,
                });
            }
            if mask.view != current.view {
                return Err(OrderError::OtherView {
                    version,
                    trained: mask.view,
                    site: site.clone(),
                    now: current.view,
                });
            }
            Ok(Start::Mask(version))
        }
        None => {
            let stable: ChannelName = STABLE.parse().expect("a channel's name");
            let channel = channels::get(tx, site, &stable).await?;
            let Some(version) = channel.and_then(|channel| channel.mask) else {
                return Ok(Start::Base);
            };
            let mask = masks::needed(tx, site, version).await?;
            Ok(if mask.base == current.base && mask.view == current.view {
                Start::Mask(version)
            } else {
                Start::Base
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_whose_size_the_base_cannot_have_is_said_before_the_training() {
        let site: SiteName = "osaka".parse().expect("a site's name");
        let sized = |size| View {
            size: Some(size),
            ..View::default()
        };
        let fits = |view: View, base| fits_base(&site, &view, base);
        assert!(fits(sized(100), "efficientnet_lite0").is_ok());
        assert!(fits(sized(96), "vit_small_patch16_224").is_ok());
        assert!(fits(View::default(), "vit_small_patch16_224").is_ok());
        let refused = fits(sized(100), "vit_small_patch16_224").expect_err("100 is no multiple of 16");
        assert_eq!(refused.code(), "input_size");
        let sentence = refused.to_string();
        assert!(
            sentence.contains("`osaka`") && sentence.contains("such as 112"),
            "{sentence}"
        );
    }
}
