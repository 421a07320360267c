//! The population prior on a device: fetched once it would have paid for itself,
//! and masks that come coded with it.
//!
//! What comes so is the same file with the same digest as any mask, and what
//! fails is logged and leaves the whole mask to be fetched.

use std::sync::Arc;

use bytes::Bytes;

use super::delta::whole;
use super::pull::blocking;
use super::{DeviceFolder, EdgeError, Fetched};
use crate::client::{AnnouncedMask, Client, ClientError, Download};
use crate::domain::{Digest, SiteName, delta, prior};
use crate::mask::{Limits, Prior, delta as short};
use crate::wire::v1::masks::MaskWithPrior;
use crate::wire::v1::priors::Prior as Offered;

/// The longest prior that is fetched; two bytes for each row and column of a base are far below.
const LONGEST: u64 = 64 << 20;

/// The artefact `wanted`, if the server has it coded with a prior that is here, or that is fetched now
/// because this device has gone without long enough.
pub(super) async fn short_way(
    client: &Client,
    folder: &Arc<DeviceFolder>,
    site: &SiteName,
    wanted: &AnnouncedMask,
    fetched: &mut Fetched,
) -> Option<Bytes> {
    if !delta::may_help(wanted.bytes) {
        return None;
    }
    match coded(client, folder, site, wanted, fetched).await {
        Ok(found) => {
            fetched.with_prior = found.is_some();
            found
        }
        Err(error) => {
            let version = wanted.version;
            tracing::warn!(%error, %version, "the population prior is of no use, fetching the whole mask");
            None
        }
    }
}

async fn coded(
    client: &Client,
    folder: &Arc<DeviceFolder>,
    site: &SiteName,
    wanted: &AnnouncedMask,
    fetched: &mut Fetched,
) -> Result<Option<Bytes>, EdgeError> {
    let listed = match client.masks_with_priors(site, wanted.version).await {
        // A server that knows no priors.
        Err(ClientError::Refused { status: 404, .. }) => return Ok(None),
        listed => listed?,
    };
    let Some(base) = folder.state()?.base else {
        return Ok(None);
    };
    let ours = |coded: &&MaskWithPrior| coded.prior.base == base;
    let Some(newest) = listed.iter().find(ours) else {
        return Ok(None);
    };
    let (held, prior) = match blocking(folder, move |folder| Ok(held(folder, &base))).await? {
        Some(held) => (
            listed.iter().find(|coded| coded.prior.digest == held.digest()),
            Some(held),
        ),
        None => (None, None),
    };
    let (chosen, prior) = match held.zip(prior) {
        Some(held) => held,
        None if is_due(folder, newest, wanted.bytes)? => {
            (newest, fetch(client, folder, &newest.prior, fetched).await?)
        }
        None => return Ok(None),
    };
    let sent = client
        .mask_with_prior(site, wanted.version, &chosen.prior.digest, wanted.bytes)
        .await?;
    let Some(sent) = sent else {
        return Ok(None);
    };
    fetched.bytes += sent.len() as u64;
    let expected = wanted.digest;
    let restored = blocking(folder, move |folder| {
        whole(folder, &base, expected, |weights| {
            short::restore_with_prior(&prior, &sent, weights)
        })
    });
    restored.await.map(Some)
}

/// The prior of a base that is here and whole.
fn held(folder: &DeviceFolder, base: &Digest) -> Option<Prior> {
    let file = std::fs::read(folder.prior(base)).ok()?;
    Prior::decode(&file, Limits::default()).ok()
}

/// Counts what this device misses without the prior, now that a mask of `whole` bytes comes; whether it
/// should fetch it.
fn is_due(folder: &DeviceFolder, coded: &MaskWithPrior, whole: u64) -> Result<bool, EdgeError> {
    folder.change(|state| {
        state.missed_without_prior += whole.saturating_sub(coded.bytes);
        Ok(prior::is_due(state.missed_without_prior, coded.prior.bytes))
    })
}

/// Fetches a prior and keeps it beside its base.
async fn fetch(
    client: &Client,
    folder: &Arc<DeviceFolder>,
    offered: &Offered,
    fetched: &mut Fetched,
) -> Result<Prior, EdgeError> {
    let to = folder.prior(&offered.base);
    let wanted = Download {
        to: &to,
        digest: offered.file,
        limit: LONGEST,
        progress: &mut |_, _| {},
    };
    client.download_prior(&offered.digest, wanted).await?;
    fetched.bytes += offered.bytes;
    let file = std::fs::read(&to).map_err(EdgeError::at(&to))?;
    let prior = Prior::decode(&file, Limits::default())?;
    folder.change(|state| {
        state.missed_without_prior = 0;
        Ok(())
    })?;
    Ok(prior)
}
