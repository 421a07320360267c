//! The models on a device's disk, and which of them is current.
//!
//! ```text
//! D/current -> models/<weights>       the model to run; switched by rename
//! D/models/<weights>/model.safetensors
//!                    slot.json        written last: without it the model is not whole
//!                    base.json        only a plain base has it: the server's manifest
//!                    prior.kgp        only a plain base may have it: what masks over it have in common
//!                    mask.kgm         only a masked model has it: the artefact
//! D/incoming/                         downloads that are not whole yet
//! D/state.json, status.json, agent.lock, state.lock
//! ```
//! `<weights>` is the canonical digest of the weights, so a model's name says
//! what must be in it. What does not live here: deciding which model it should be.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};

use super::state::{Held, Release, State};
use super::{EdgeError, verify};
use crate::base::write_atomically;
use crate::domain::{Digest, Timestamp};
use crate::wire::v1::base::Base;

/// A whole model on the device's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The canonical digest of its weights.
    pub weights: Digest,
    /// The base that it was made from; itself, if it is one.
    pub base: Digest,
    /// What it is: the base or a mask over it.
    pub release: Release,
    /// Experts in its artefact. Their weights are no files: whoever embeds lays their masks over the base.
    #[serde(default, skip_serializing_if = "is_none")]
    pub experts: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_none(experts: &u8) -> bool {
    *experts == 0
}

/// A device's folder.
#[derive(Debug)]
pub struct DeviceFolder {
    folder: PathBuf,
    /// Durable steps that may still be taken before the process ends itself; for tests of power cuts.
    steps_left: Option<AtomicU32>,
}

/// The folder is another agent's as long as this lives; the system ends it with the process.
#[derive(Debug)]
pub struct AgentLock(#[expect(dead_code, reason = "held, not read")] File);

impl DeviceFolder {
    /// The folder, which is made if it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, EdgeError> {
        let folder = folder.into();
        for folder in [folder.clone(), folder.join("models"), folder.join("incoming")] {
            fs::create_dir_all(&folder).map_err(EdgeError::at(&folder))?;
        }
        Ok(Self {
            folder,
            steps_left: None,
        })
    }

    /// This folder, in whose work the process ends itself before durable step number `steps`.
    #[must_use]
    pub fn dying_after(mut self, steps: Option<u32>) -> Self {
        self.steps_left = steps.map(AtomicU32::new);
        self
    }

    /// Counts a durable step.
    pub(super) fn step(&self) {
        if let Some(left) = &self.steps_left
            && left.fetch_sub(1, Ordering::Relaxed) == 0
        {
            // As a power cut would: no destructor runs, no temporary file is removed.
            std::process::abort();
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.folder
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the model with these weights is, or would be.
    pub fn slot_folder(&self, weights: &Digest) -> PathBuf {
        self.path("models").join(weights.to_string())
    }

    /// The weights file of the model with these weights.
    pub fn model(&self, weights: &Digest) -> PathBuf {
        self.slot_folder(weights).join("model.safetensors")
    }

    /// The artefact that the model with these weights was made with, if it is a masked one.
    pub fn artefact(&self, weights: &Digest) -> PathBuf {
        self.slot_folder(weights).join("mask.kgm")
    }

    /// Where the population prior of a base is, or would be.
    pub fn prior(&self, base: &Digest) -> PathBuf {
        self.slot_folder(base).join("prior.kgp")
    }

    /// Takes the folder for one agent.
    pub fn lock_agent(&self) -> Result<AgentLock, EdgeError> {
        let path = self.path("agent.lock");
        let file = lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(AgentLock(file)),
            Err(TryLockError::WouldBlock) => Err(EdgeError::Busy(self.folder.clone())),
            Err(TryLockError::Error(error)) => Err(EdgeError::at(&path)(error)),
        }
    }

    /// Waits until nobody else changes the state.
    pub(super) fn lock_state(&self) -> Result<File, EdgeError> {
        let path = self.path("state.lock");
        let file = lock_file(&path)?;
        file.lock().map_err(EdgeError::at(&path))?;
        Ok(file)
    }

    /// The weights that `current` names; none before the first pull.
    pub fn current(&self) -> Result<Option<Digest>, EdgeError> {
        let path = self.path("current");
        match fs::read_link(&path) {
            Ok(target) => Ok(target
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse().ok())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EdgeError::at(&path)(error)),
        }
    }

    /// The current model.
    pub fn current_slot(&self) -> Result<Option<Slot>, EdgeError> {
        Ok(self.current()?.and_then(|weights| self.slot(&weights)))
    }

    /// What is known of the model with these weights; none unless it is whole.
    pub fn slot(&self, weights: &Digest) -> Option<Slot> {
        let slot: Slot = read_json(&self.slot_folder(weights).join("slot.json"))?;
        (slot.weights == *weights && self.model(weights).is_file()).then_some(slot)
    }

    /// The server's manifest of a base that is here.
    pub fn base(&self, base: &Digest) -> Option<Base> {
        self.slot(base)?;
        read_json(&self.slot_folder(base).join("base.json"))
    }

    /// Makes the folder of a model, for its files to be written into.
    pub(super) fn make_slot(&self, weights: &Digest) -> Result<PathBuf, EdgeError> {
        let folder = self.slot_folder(weights);
        self.step();
        fs::create_dir_all(&folder).map_err(EdgeError::at(&folder))?;
        sync(&self.path("models"))?;
        Ok(folder)
    }

    /// Writes a file of a model, readable for whoever runs the model.
    pub(super) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), EdgeError> {
        self.step();
        write_atomically(path, |file| file.write_all(bytes)).map_err(EdgeError::at(path))?;
        self.share(path)
    }

    /// Lets everybody read a file: what runs the model is often another user than the agent.
    pub(super) fn share(&self, path: &Path) -> Result<(), EdgeError> {
        self.step();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).map_err(EdgeError::at(path))
    }

    /// Declares the model whole, after all its other files were written and checked.
    pub(super) fn seal(&self, slot: &Slot) -> Result<(), EdgeError> {
        let json = serde_json::to_vec_pretty(slot).expect("a slot has only text keys");
        self.write(&self.slot_folder(&slot.weights).join("slot.json"), &json)
    }

    /// Makes the model with these weights current, after its weights were digested again. To be called
    /// within [`DeviceFolder::change`]; the state that it is given is adapted. Answers whether anything changed.
    pub(super) fn switch(&self, state: &mut State, weights: &Digest) -> Result<bool, EdgeError> {
        let before = self.current()?;
        if before == Some(*weights) {
            return Ok(false);
        }
        verify::model(self, weights)?;
        let (link, fresh) = (self.path("current"), self.path("current.new"));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(EdgeError::at(&fresh)(error));
            }
            _ => {}
        }
        state.switching_from = before;
        self.save(state)?;
        self.step();
        symlink(Path::new("models").join(weights.to_string()), &fresh).map_err(EdgeError::at(&fresh))?;
        self.step();
        fs::rename(&fresh, &link).map_err(EdgeError::at(&link))?;
        self.step();
        sync(&self.folder)?;
        state.switching_from = None;
        state.previous = before.filter(|before| self.slot(before).is_some());
        state.switched_at = Some(Timestamp::now());
        Ok(true)
    }

    /// Goes back to the previous model and holds the release that the channel
    /// points at, so that it is not run again before the channel moves.
    pub fn roll_back(&self, reason: &str) -> Result<Slot, EdgeError> {
        self.change(|state| {
            let previous = state.previous.and_then(|previous| self.slot(&previous));
            let previous = previous.ok_or_else(|| EdgeError::NoPrevious(self.folder.clone()))?;
            self.step_back(state, &previous, reason)?;
            Ok(previous)
        })
    }

    /// Makes `to` current and holds what ran.
    pub(super) fn step_back(&self, state: &mut State, to: &Slot, reason: &str) -> Result<(), EdgeError> {
        let release = match state.release {
            Some(release) => release,
            None => self.current_slot()?.map_or(Release::Base, |slot| slot.release),
        };
        self.switch(state, &to.weights)?;
        // Going back twice must not lead to what was just left.
        state.previous = None;
        state.held = Some(Held {
            release,
            reason: reason.to_owned(),
            since: Timestamp::now(),
        });
        Ok(())
    }

    /// Removes models that nothing names any more, and what cut-off work left behind. Only the agent that
    /// holds the folder may call it.
    pub(super) fn clean(&self, state: &State) -> Result<(), EdgeError> {
        let current = self.current()?;
        let mut kept: BTreeSet<Digest> = [current, state.previous, state.base]
            .into_iter()
            .flatten()
            .collect();
        let bases: Vec<Digest> = kept
            .iter()
            .filter_map(|kept| Some(self.slot(kept)?.base))
            .collect();
        kept.extend(bases);
        let models = self.path("models");
        for entry in fs::read_dir(&models).map_err(EdgeError::at(&models))? {
            let path = entry.map_err(EdgeError::at(&models))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            match name.parse::<Digest>() {
                Ok(weights) if kept.contains(&weights) => {
                    remove_files(&path, |name| name.starts_with(".tmp"))?;
                }
                // Ours alone are named by digests; anything else was put there by somebody.
                Ok(weights) => self.remove_slot(&weights)?,
                Err(_) => {}
            }
        }
        remove_files(&self.folder, |name| name.starts_with(".tmp"))?;
        // The base is here, so whatever a download left is of no use any more.
        remove_files(&self.path("incoming"), |_| true)
    }

    /// Removes a model; what is left of it after a cut is not whole.
    pub(super) fn remove_slot(&self, weights: &Digest) -> Result<(), EdgeError> {
        let folder = self.slot_folder(weights);
        self.unseal(weights)?;
        self.step();
        fs::remove_dir_all(&folder).map_err(EdgeError::at(&folder))
    }

    /// Declares a model not whole, so that it is made again.
    pub(super) fn unseal(&self, weights: &Digest) -> Result<(), EdgeError> {
        let seal = self.slot_folder(weights).join("slot.json");
        self.step();
        match fs::remove_file(&seal) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EdgeError::at(&seal)(error)),
            _ => Ok(()),
        }
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn lock_file(path: &Path) -> Result<File, EdgeError> {
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(path);
    file.map_err(EdgeError::at(path))
}

/// Flushes a folder, so that the names in it survive a power cut.
fn sync(folder: &Path) -> Result<(), EdgeError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(EdgeError::at(folder))
}

/// Removes the files of a folder whose names `goes` says, such as what cut-off writes left.
fn remove_files(folder: &Path, goes: impl Fn(&str) -> bool) -> Result<(), EdgeError> {
    for entry in fs::read_dir(folder).map_err(EdgeError::at(folder))? {
        let path = entry.map_err(EdgeError::at(folder))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if goes(name) && path.is_file() {
            fs::remove_file(&path).map_err(EdgeError::at(&path))?;
        }
    }
    Ok(())
}
