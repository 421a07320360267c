//! Population priors: learned when somebody asks for it, and masks coded with
//! the newest one beside the requests, as deltas are.

use super::blocking::blocking;
use super::deltas::{LastBase, stored};
use super::error::ApiError;
use super::state::App;
use crate::catalog::priors::{self, Lent, NewPrior, Wanted};
use crate::catalog::{CatalogError, bases};
use crate::domain::{delta, prior};
use crate::mask::{Limits, MaskError, Population, Prior, decode, delta as short};
use crate::wire::v1;

/// Masks that are looked up at once.
const BATCH: u32 = 32;

/// Learns the next prior of the active base from the masks that sites lend, in the name of `by`. The
/// newest one is answered if it would say the same.
pub async fn make(app: &App, by: &str) -> Result<v1::priors::Prior, ApiError> {
    let mut tx = app.catalog.read().await?;
    let base = bases::active(&mut tx).await?.ok_or(CatalogError::NoBase)?;
    let base = base.manifest.digest;
    let lent = priors::lent(&mut tx, &base).await?;
    drop(tx);
    prior::may_be_learned(&base, lent.len())?;
    let weights = LastBase::default().weights(app, &base).await?;
    let mut artefacts = Vec::with_capacity(lent.len());
    for Lent { site, artefact } in lent {
        artefacts.push((site, app.blobs.get(&artefact).await?));
    }
    let learned = blocking(move || {
        let (mut population, mut sites) = (Population::new(&weights), Vec::new());
        for (site, file) in artefacts {
            match decode(&file, Limits::default()).and_then(|artefact| artefact.mask(&weights)) {
                Ok(mask) => {
                    population.add(&mask);
                    sites.push(site);
                }
                Err(error) => tracing::warn!(%site, %error, "a mask that is lent cannot be learned from"),
            }
        }
        prior::may_be_learned(&base, sites.len())?;
        let prior = population.prior();
        Ok::<_, ApiError>((prior.digest(), prior.encode()?, sites))
    });
    let (digest, file, sites) = learned.await?;
    let (file, bytes) = stored(app, file).await?;
    let new = NewPrior {
        base,
        digest,
        file,
        bytes,
        sites,
    };
    let mut tx = app.catalog.begin().await?;
    let made = priors::put(&mut tx, &new, by).await?;
    tx.commit().await?;
    app.deltas.notify_one();
    Ok(made)
}

/// Forgets masks coded with priors that nobody needs, codes those that devices will ask for, and answers
/// how many were coded.
pub async fn once(app: &App) -> Result<u64, ApiError> {
    let mut tx = app.catalog.begin().await?;
    priors::forget_dead(&mut tx).await?;
    tx.commit().await?;
    let (mut made, mut base) = (0, LastBase::default());
    loop {
        let wanted = priors::wanted(&mut app.catalog.read().await?, BATCH).await?;
        let mut failed = None;
        for wanted in &wanted {
            match code(app, wanted, &mut base).await {
                Ok(worth) => made += u64::from(worth),
                // One that fails must not keep the others from being coded.
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => return Err(error),
            None if wanted.is_empty() => return Ok(made),
            None => {}
        }
    }
}

/// Codes one and stores what became of it; whether it is worth it.
async fn code(app: &App, wanted: &Wanted, base: &mut LastBase) -> Result<bool, ApiError> {
    let found = if delta::may_help(wanted.bytes) {
        coded(app, wanted, base).await?
    } else {
        None
    };
    let worth = |found: &Vec<u8>| delta::is_worthwhile_with_prior(found.len() as u64, wanted.bytes);
    let blob = match found.filter(worth) {
        Some(found) => Some(stored(app, found).await?),
        None => None,
    };
    let mut tx = app.catalog.begin().await?;
    priors::put_coded(&mut tx, wanted, blob).await?;
    tx.commit().await?;
    Ok(blob.is_some())
}

/// The mask coded with the prior; none if that cannot be.
async fn coded(app: &App, wanted: &Wanted, base: &mut LastBase) -> Result<Option<Vec<u8>>, ApiError> {
    let file = app.blobs.get(&wanted.prior_file).await?;
    let whole = app.blobs.get(&wanted.artefact).await?;
    let weights = base.weights(app, &wanted.base).await?;
    let made = blocking(move || {
        let prior = Prior::decode(&file, Limits::default())?;
        short::make_with_prior(&prior, &whole, &weights)
    });
    let made: Result<_, MaskError> = made.await;
    Ok(made.unwrap_or_else(|error| {
        let (site, version) = (&wanted.site, wanted.version);
        tracing::warn!(%site, %version, %error, "this mask cannot be coded with the prior");
        None
    }))
}
