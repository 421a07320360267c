//! What a device remembers between two questions: `state.json`.
//!
//! Which model runs is not in here: that is what `current` names, and there
//! is only one truth.

use serde::{Deserialize, Serialize};

use super::{DeviceFolder, EdgeError, Fetched};
use crate::base::write_atomically;
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName, Timestamp};

/// What a channel points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Release {
    /// No mask: the plain base.
    Base,
    /// A mask.
    Mask {
        /// Its version.
        version: MaskVersion,
        /// The digest of its artefact.
        digest: Digest,
    },
}

impl Release {
    /// The artefact's digest, if it is a mask.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Base => None,
            Self::Mask { digest, .. } => Some(*digest),
        }
    }

    /// The mask's version, if it is one.
    pub const fn version(&self) -> Option<MaskVersion> {
        match self {
            Self::Base => None,
            Self::Mask { version, .. } => Some(*version),
        }
    }
}

/// A release that this device does not run although its channel points at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The release. Held until the channel points at another one.
    pub release: Release,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a device remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The server asked last.
    pub server: Option<String>,
    /// The device's name on the server.
    pub device: Option<String>,
    /// Its site.
    pub site: Option<SiteName>,
    /// The channel that it follows.
    pub channel: Option<ChannelName>,
    /// The server's base.
    pub base: Option<Digest>,
    /// What the channel pointed at when asked last.
    pub release: Option<Release>,
    /// The release that is not run, if so.
    pub held: Option<Held>,
    /// The weights of the model that ran before the current one.
    pub previous: Option<Digest>,
    /// The weights that the command after a switch was told last.
    pub announced: Option<Digest>,
    /// What `current` named before a switch that is under way: after a power cut it tells what is previous.
    pub switching_from: Option<Digest>,
    /// What getting the mask took that was switched to last; none for the plain base.
    pub fetched: Option<Fetched>,
    /// Bytes that the population prior would have saved so far, had it been here.
    pub missed_without_prior: u64,
    /// When `current` was switched last.
    pub switched_at: Option<Timestamp>,
}

impl State {
    /// Whether this device does not run `release` although its channel may point at it.
    pub fn holds(&self, release: &Release) -> bool {
        self.held.as_ref().is_some_and(|held| held.release == *release)
    }
}

impl DeviceFolder {
    /// What the device remembers. A file that cannot be read as such is as good as none: everything that
    /// matters can be asked for again.
    pub fn state(&self) -> Result<State, EdgeError> {
        let path = self.path("state.json");
        match std::fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!(%error, path = %path.display(), "unreadable, beginning anew");
                State::default()
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(EdgeError::at(&path)(error)),
        }
    }

    /// Changes what the device remembers, together with whatever `change` does to `current`. One at a time
    /// across processes; must not wait for the network.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, EdgeError>) -> Result<T, EdgeError> {
        let _locked = self.lock_state()?;
        let before = self.state()?;
        let mut state = before.clone();
        if let Some(from) = state.switching_from.take()
            && self.current()? != Some(from)
        {
            state.previous = Some(from);
        }
        let outcome = change(&mut state)?;
        // Flash wears out: an agent that asks every minute and hears nothing new writes nothing.
        if state != before {
            self.save(&state)?;
        }
        Ok(outcome)
    }

    /// Writes what the device remembers. Within [`DeviceFolder::change`] alone.
    pub(super) fn save(&self, state: &State) -> Result<(), EdgeError> {
        self.step();
        let path = self.path("state.json");
        write_atomically(&path, |file| {
            serde_json::to_writer_pretty(file, state).map_err(std::io::Error::from)
        })
        .map_err(EdgeError::at(&path))
    }
}
