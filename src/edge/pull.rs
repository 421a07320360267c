//! One question to the server, and whatever its answer asks for.
//!
//! The network comes first and without any lock; models are made beside the
//! current one; only the switch itself, with what is remembered of it, happens
//! under the lock of the state, so that a person can go back at any moment.

use std::path::PathBuf;
use std::sync::Arc;

use super::verify::Expected;
use super::{DeviceFolder, EdgeError, Fetched, Release, Slot, apply, delta, verify};
use crate::client::{ChannelMask, ChannelState, Client, ClientError, Download};
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName};
use crate::mask::MaskError;
use crate::wire::v1::base::Base;
use crate::wire::v1::devices::Myself;

/// The longest artefact that is fetched. One over two billion weights is shorter.
pub(super) const LONGEST_MASK: u64 = 256 << 20;
/// The longest base that is fetched.
const LONGEST_BASE: u64 = 16 << 30;

/// Told how many bytes of the base are there, and of how many.
pub type BaseProgress = Box<dyn FnMut(u64, Option<u64>) + Send>;

/// Where a device's models come from.
pub struct Source {
    /// The server, with the device's token.
    pub client: Client,
    /// The channel to follow instead of the one that the device was enrolled with.
    pub channel: Option<ChannelName>,
    /// A file of the base, so that it is not fetched.
    pub base: Option<PathBuf>,
    /// Told how the download of the base goes on.
    pub progress: BaseProgress,
}

/// What a question led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Whether `current` names another model now.
    pub switched: bool,
    /// Whether the channel's release is not run because it is held.
    pub held: bool,
    /// Bytes of the base that were fetched.
    pub base_bytes: u64,
    /// What getting the mask took; none if the channel named none, or the same as before.
    pub mask: Option<Fetched>,
}

/// Asks a server for a device's model. Remembers between questions what need not be asked again.
pub struct Puller {
    folder: Arc<DeviceFolder>,
    source: Source,
    /// Asked once; the token cannot change hands.
    myself: Option<(SiteName, ChannelName)>,
    /// The server's base, once its model is here and was checked by this process.
    base: Option<Base>,
    /// A mask that is unfit for this device, so that it is not fetched again and again.
    unfit: Option<(Digest, String)>,
}

impl Puller {
    /// A puller into `folder`; the caller holds the folder's agent lock.
    pub fn new(folder: Arc<DeviceFolder>, source: Source) -> Self {
        Self {
            folder,
            source,
            myself: None,
            base: None,
            unfit: None,
        }
    }

    /// The device's folder.
    pub fn folder(&self) -> &Arc<DeviceFolder> {
        &self.folder
    }

    /// The server.
    pub fn client(&self) -> &Client {
        &self.source.client
    }

    /// Asks for base and identity again at the next question: the server may serve another base by then.
    pub fn forget(&mut self) {
        self.myself = None;
        self.base = None;
        // A mask may have been unfit for the base that was here.
        self.unfit = None;
    }

    /// Asks once: the base if it is not here, the mask if the channel moved. Afterwards the current model
    /// is the one that the channel names, or the release is held, or there is an error and nothing changed.
    pub async fn pull(&mut self) -> Result<Outcome, EdgeError> {
        let mut outcome = Outcome::default();
        let (site, channel) = self.identify().await?;
        self.have_base(&mut outcome).await?;
        let known = self.known(&channel)?;
        let (answer, fetched) = delta::ask(&self.source.client, &self.folder, &site, &channel, known).await?;
        let release = match answer {
            ChannelState::Unchanged => {
                if let Some((digest, reason)) = &self.unfit
                    && Some(*digest) == known
                {
                    return Err(EdgeError::StillUnfit(reason.clone()));
                }
                outcome.held = self.folder.state()?.held.is_some();
                return Ok(outcome);
            }
            ChannelState::NoRelease => {
                self.unfit = None;
                Release::Base
            }
            ChannelState::Mask(mask) => {
                outcome.mask = Some(fetched);
                return self.run_mask(&site, mask, outcome).await;
            }
        };
        let base = self.base_digest()?;
        self.run(release, base, outcome).await
    }

    /// Who this device is, and which channel it follows.
    async fn identify(&mut self) -> Result<(SiteName, ChannelName), EdgeError> {
        if let Some(known) = &self.myself {
            return Ok(known.clone());
        }
        let Myself { device, .. } = self.source.client.myself().await.map_err(|error| match error {
            error @ ClientError::Refused {
                status: 403 | 404, ..
            } => EdgeError::NoDevice(error),
            other => EdgeError::Client(other),
        })?;
        let channel = self
            .source
            .channel
            .clone()
            .unwrap_or_else(|| device.channel.clone());
        let server = self.source.client.server().to_owned();
        self.folder.change(|state| {
            if let Some(own) = state.site.as_ref().filter(|own| **own != device.site) {
                return Err(EdgeError::OtherSite {
                    folder: self.folder.root().to_owned(),
                    own: own.clone(),
                    given: device.site.clone(),
                });
            }
            state.server = Some(server);
            state.device = Some(device.name);
            state.site = Some(device.site.clone());
            if state.channel.as_ref() != Some(&channel) {
                // What another channel pointed at says nothing of this one.
                state.channel = Some(channel.clone());
                state.release = None;
                state.held = None;
            }
            Ok(())
        })?;
        Ok(self.myself.insert((device.site, channel)).clone())
    }

    fn base_digest(&self) -> Result<Digest, EdgeError> {
        let base = self.base.as_ref().map(|base| base.manifest.digest);
        base.ok_or_else(|| EdgeError::Empty(self.folder.root().to_owned()))
    }

    /// Fetches the server's base unless it is here and as it should be.
    async fn have_base(&mut self, outcome: &mut Outcome) -> Result<(), EdgeError> {
        if self.base.is_some() {
            return Ok(());
        }
        let base = self.source.client.base().await?;
        let digest = base.manifest.digest;
        let told = base.clone();
        let whole = self.blocking(move |folder| {
            let Some(here) = folder.base(&digest) else {
                return Ok(false);
            };
            let whole = verify::model(folder, &digest).is_ok();
            // Another server may have the same weights be fed otherwise.
            if whole && here != told {
                apply::write_manifest(folder, &told)?;
            }
            Ok(whole)
        });
        let mended = !whole.await?;
        if mended {
            self.fetch_base(&base, outcome).await?;
        }
        let runs = self.folder.current()? == Some(digest);
        self.folder.change(|state| {
            state.base = Some(digest);
            if mended && runs {
                // Whoever runs it may have read the damaged one.
                state.announced = None;
            }
            Ok(())
        })?;
        self.repair_current().await?;
        self.base = Some(base);
        Ok(())
    }

    async fn fetch_base(&mut self, base: &Base, outcome: &mut Outcome) -> Result<(), EdgeError> {
        let (wanted, file) = (base.clone(), self.source.base.clone());
        if let Some(file) = file {
            return self
                .blocking(move |folder| apply::install_base_from(folder, &file, &wanted).map(drop))
                .await;
        }
        let to = self
            .folder
            .path("incoming")
            .join(format!("{}.safetensors", base.file));
        let mut first = None;
        let mut last = 0;
        let progress = &mut self.source.progress;
        let download = Download {
            to: &to,
            digest: base.file,
            limit: LONGEST_BASE,
            progress: &mut |bytes, whole| {
                first.get_or_insert(bytes);
                last = bytes;
                progress(bytes, whole);
            },
        };
        self.source.client.download_base(download).await?;
        outcome.base_bytes = last - first.unwrap_or(0);
        self.blocking(move |folder| apply::install_downloaded_base(folder, &to, &wanted).map(drop))
            .await
    }

    /// A current model that is not whole any more is made again, from the artefact that lies beside it.
    async fn repair_current(&self) -> Result<(), EdgeError> {
        self.blocking(|folder| {
            let Some(current) = folder.current()? else {
                return Ok(());
            };
            let whole = match folder.slot(&current) {
                Some(slot) => verify::slot(folder, &slot),
                None => verify::model(folder, &current),
            };
            let Err(damage) = whole else {
                return Ok(());
            };
            tracing::warn!(%damage, "making the current model again");
            let path = folder.artefact(&current);
            let Some((bytes, slot)) = std::fs::read(path).ok().zip(folder.slot(&current)) else {
                return give_up(folder, &current);
            };
            let repaired = crate::mask::decode(&bytes, crate::mask::Limits::default())
                .map_err(EdgeError::from)
                .and_then(|artefact| apply::install_mask(folder, &artefact, &bytes, Digest::of(&bytes)))
                .and_then(|made| verify::model(folder, &made.weights).map(|()| made));
            if repaired.is_ok_and(|made| made == slot) {
                // Whoever runs the model may have read the damaged one.
                return folder.change(|state| {
                    state.announced = None;
                    Ok(())
                });
            }
            give_up(folder, &current)
        })
        .await
    }

    /// The artefact that need not be sent again: that of the channel's release, if it runs, is held, or is unfit.
    fn known(&self, channel: &ChannelName) -> Result<Option<Digest>, EdgeError> {
        if let Some((digest, _)) = self.unfit {
            return Ok(Some(digest));
        }
        let state = self.folder.state()?;
        let Some(release) = state.release.filter(|_| state.channel.as_ref() == Some(channel)) else {
            return Ok(None);
        };
        let runs = self
            .folder
            .current_slot()?
            .is_some_and(|slot| slot.release == release);
        Ok(release.digest().filter(|_| runs || state.holds(&release)))
    }

    async fn run_mask(
        &mut self,
        site: &SiteName,
        mask: ChannelMask,
        outcome: Outcome,
    ) -> Result<Outcome, EdgeError> {
        let (digest, version) = (mask.digest, mask.version);
        self.unfit = None;
        let made = match self.make(site, mask.clone()).await {
            // The server may serve another base since this process asked, or the one here is damaged.
            Err(EdgeError::Mask(MaskError::WrongBase { .. })) => {
                self.base = None;
                let mut refreshed = outcome;
                self.have_base(&mut refreshed).await?;
                self.make(site, mask).await
            }
            made => made,
        };
        match made {
            Ok(Made::Held(release)) => self.hold(release, outcome),
            Ok(Made::Slot(slot)) => self.run(slot.release, slot.weights, outcome).await,
            Err(error) => {
                if error.is_of_the_mask() {
                    tracing::warn!(%error, digest = %digest.short(), ?version, "unfit mask");
                    self.unfit = Some((digest, error.to_string()));
                }
                Err(error)
            }
        }
    }

    /// Verifies a mask and makes its model, unless its release is held.
    async fn make(&self, site: &SiteName, mask: ChannelMask) -> Result<Made, EdgeError> {
        let base = self.base.clone();
        let base = base.ok_or_else(|| EdgeError::Empty(self.folder.root().to_owned()))?;
        let expected = Expected {
            site: site.clone(),
            base,
            version: mask.version,
        };
        self.blocking(move |folder| {
            let artefact = verify::mask(&mask.bytes, mask.digest, &expected)?;
            let release = release_of(artefact.header.version, mask.digest);
            if folder.state()?.holds(&release) {
                return Ok(Made::Held(release));
            }
            apply::install_mask(folder, &artefact, &mask.bytes, mask.digest).map(Made::Slot)
        })
        .await
    }

    /// Makes the model of a release current, unless the release is held.
    async fn run(&self, release: Release, weights: Digest, outcome: Outcome) -> Result<Outcome, EdgeError> {
        self.blocking(move |folder| {
            let outcome = folder.change(|state| {
                if state.holds(&release) {
                    state.release = Some(release);
                    return Ok(Outcome {
                        held: true,
                        ..outcome
                    });
                }
                let switched = folder.switch(state, &weights)?;
                state.release = Some(release);
                state.held = None;
                state.fetched = outcome.mask;
                Ok(Outcome { switched, ..outcome })
            })?;
            if outcome.held {
                return Ok(outcome);
            }
            // A mask that drops nothing shares the base's slot, which then says what it is run as.
            if let Some(slot) = folder.slot(&weights).filter(|slot| slot.release != release) {
                let experts = if release == Release::Base { 0 } else { slot.experts };
                folder.seal(&Slot {
                    release,
                    experts,
                    ..slot
                })?;
            }
            folder.clean(&folder.state()?)?;
            Ok(outcome)
        })
        .await
    }

    fn hold(&self, release: Release, outcome: Outcome) -> Result<Outcome, EdgeError> {
        self.folder.change(|state| {
            state.release = Some(release);
            Ok(())
        })?;
        Ok(Outcome {
            held: true,
            ..outcome
        })
    }

    /// Runs what is busy or waits for the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DeviceFolder) -> Result<T, EdgeError> + Send + 'static,
    ) -> Result<T, EdgeError> {
        blocking(&self.folder, work).await
    }
}

/// Runs the plain base instead of a current model that cannot be made again from what is here. The mask
/// is fetched again by the question that follows, since its model is not known as whole any more.
fn give_up(folder: &DeviceFolder, damaged: &Digest) -> Result<(), EdgeError> {
    folder.unseal(damaged)?;
    folder.change(|state| match state.base {
        Some(base) => folder.switch(state, &base).map(drop),
        None => Ok(()),
    })
}

enum Made {
    Slot(Slot),
    Held(Release),
}

fn release_of(version: MaskVersion, digest: Digest) -> Release {
    Release::Mask { version, digest }
}

/// Runs what is busy or waits for the disk on a thread that may. A panic in it goes on in the caller.
pub(super) async fn blocking<T: Send + 'static>(
    folder: &Arc<DeviceFolder>,
    work: impl FnOnce(&DeviceFolder) -> Result<T, EdgeError> + Send + 'static,
) -> Result<T, EdgeError> {
    let folder = folder.clone();
    match tokio::task::spawn_blocking(move || work(&folder)).await {
        Ok(outcome) => outcome,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => unreachable!("this work is never cancelled"),
        },
    }
}
