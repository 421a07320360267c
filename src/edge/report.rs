//! What a device runs and how it is doing: `status.json` for programs on the
//! device, a report for the server.

use std::io::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::state::Held;
use super::{DeviceFolder, EdgeError, Fetched, Release};
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName, Timestamp};
use crate::wire::v1::devices::DeviceStatus;

/// How the agent is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgentStatus {
    /// Its version.
    pub version: String,
    /// Its process.
    pub process: u32,
    /// When it asked the server last.
    pub asked_at: Option<Timestamp>,
    /// When the server answered last.
    pub answered_at: Option<Timestamp>,
    /// What went wrong at the last question, if anything.
    pub error: Option<String>,
    /// When it means to ask again.
    pub next_at: Option<Timestamp>,
}

/// What a device runs and how it is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server.
    pub server: Option<String>,
    /// The device's name.
    pub device: Option<String>,
    /// Its site.
    pub site: Option<SiteName>,
    /// The channel that it follows.
    pub channel: Option<ChannelName>,
    /// The file to run; none before the first pull.
    pub model: Option<PathBuf>,
    /// The canonical digest of its weights.
    pub weights: Option<Digest>,
    /// The base that it was made from.
    pub base: Option<Digest>,
    /// The mask's version; none: the plain base.
    pub mask: Option<MaskVersion>,
    /// The digest of the mask's artefact.
    pub digest: Option<Digest>,
    /// What the channel pointed at when asked last.
    pub release: Option<Release>,
    /// Why that is not run, if so.
    pub held: Option<Held>,
    /// The weights of the model that can be gone back to.
    pub previous: Option<Digest>,
    /// What getting the mask took that was switched to last; none for the plain base.
    pub fetched: Option<Fetched>,
    /// When the model was switched last.
    pub switched_at: Option<Timestamp>,
    /// How the agent is doing; none if none ever ran.
    pub agent: Option<AgentStatus>,
}

impl Status {
    /// What the folder says, with what its agent wrote last.
    pub fn of(folder: &DeviceFolder) -> Result<Self, EdgeError> {
        let written = std::fs::read(folder.path("status.json")).ok();
        let written: Option<Self> = written.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self::with_agent(folder, written.and_then(|status| status.agent))
    }

    /// What the folder says, with what the agent says of itself.
    pub fn with_agent(folder: &DeviceFolder, agent: Option<AgentStatus>) -> Result<Self, EdgeError> {
        let (state, slot) = (folder.state()?, folder.current_slot()?);
        Ok(Self {
            model: slot.map(|_| folder.path("current").join("model.safetensors")),
            weights: slot.map(|slot| slot.weights),
            base: slot.map(|slot| slot.base),
            mask: slot.and_then(|slot| slot.release.version()),
            digest: slot.and_then(|slot| slot.release.digest()),
            server: state.server,
            device: state.device,
            site: state.site,
            channel: state.channel,
            release: state.release,
            held: state.held,
            previous: state.previous,
            fetched: state.fetched,
            switched_at: state.switched_at,
            agent,
        })
    }

    /// Writes `status.json`, whole or not at all. Not flushed: it says what is now, and is written
    /// again soon, while flash wears out.
    pub fn write(&self, folder: &DeviceFolder) -> Result<(), EdgeError> {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path("status.json");
        let written = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(folder.root())?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.flush()?;
            file.as_file()
                .set_permissions(std::fs::Permissions::from_mode(0o644))?;
            file.persist(&path)?;
            Ok(())
        };
        written().map_err(EdgeError::at(&path))
    }

    /// What the server is told; nothing before it said which channel to follow.
    pub fn report(&self, error: Option<&str>) -> Option<DeviceStatus> {
        let held = self.held.as_ref().map(|held| format!("held: {}", held.reason));
        Some(DeviceStatus {
            mask: self.mask,
            digest: self.digest,
            weights: self.weights,
            channel: self.channel.clone()?,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            error: error.map(str::to_owned).or(held),
        })
    }
}
