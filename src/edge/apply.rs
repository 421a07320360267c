//! Makes models: a base out of a file, a masked model out of a base and an
//! artefact. Synchronous and busy: call it on a thread that may block.

use std::fs;
use std::path::Path;

use super::{DeviceFolder, EdgeError, Release, Slot};
use crate::base::{Weights, architecture, import, write_safetensors};
use crate::domain::Digest;
use crate::mask::{Artefact, apply_to_safetensors};
use crate::wire::v1::base::Base;

/// Takes a file that somebody brought as the base that the server serves. Any format that bases can be
/// imported from will do: the weights count, not the bytes.
pub fn install_base_from(folder: &DeviceFolder, file: &Path, base: &Base) -> Result<Slot, EdgeError> {
    let weights = read(file, base)?;
    let given = weights.digest();
    if given != base.manifest.digest {
        return Err(EdgeError::OtherBase {
            path: file.to_owned(),
            expected: base.manifest.digest,
            given,
        });
    }
    let slot = prepare_base(folder, base)?;
    let model = folder.model(&slot.weights);
    folder.step();
    write_safetensors(&weights, &model).map_err(EdgeError::at(&model))?;
    folder.share(&model)?;
    folder.seal(&slot)?;
    Ok(slot)
}

/// Takes the downloaded `file`, whose bytes were checked, as the base; it is moved into place.
pub fn install_downloaded_base(folder: &DeviceFolder, file: &Path, base: &Base) -> Result<Slot, EdgeError> {
    let given = read(file, base)?.digest();
    if given != base.manifest.digest {
        fs::remove_file(file).map_err(EdgeError::at(file))?;
        return Err(EdgeError::WrongBase {
            expected: base.manifest.digest,
            given,
        });
    }
    folder.share(file)?;
    let slot = prepare_base(folder, base)?;
    let model = folder.model(&slot.weights);
    folder.step();
    // Flushed when it was downloaded; the seal's flush of the folder makes the new name last.
    fs::rename(file, &model).map_err(EdgeError::at(&model))?;
    folder.seal(&slot)?;
    Ok(slot)
}

/// Everything of a base's slot but weights and seal.
fn prepare_base(folder: &DeviceFolder, base: &Base) -> Result<Slot, EdgeError> {
    let slot = Slot {
        weights: base.manifest.digest,
        base: base.manifest.digest,
        release: Release::Base,
        experts: 0,
    };
    folder.make_slot(&slot.weights)?;
    write_manifest(folder, base)?;
    Ok(slot)
}

/// Writes what the server says of a base into its slot.
pub(super) fn write_manifest(folder: &DeviceFolder, base: &Base) -> Result<(), EdgeError> {
    let path = folder.slot_folder(&base.manifest.digest).join("base.json");
    let json = serde_json::to_vec_pretty(base).expect("a base has only text keys");
    folder.write(&path, &json)
}

fn read(file: &Path, base: &Base) -> Result<Weights, EdgeError> {
    let architecture = architecture(&base.manifest.architecture)
        .ok_or_else(|| EdgeError::UnknownArchitecture(base.manifest.architecture.clone()))?;
    Ok(import(architecture, file)?)
}

/// Makes the model of a verified artefact; of a cascade the dispatcher's, its experts are checked
/// and stay in the artefact. One that is there and whole is used as it is, which
/// [`DeviceFolder::switch`](super::DeviceFolder) checks; a damaged one is made again.
pub fn install_mask(
    folder: &DeviceFolder,
    artefact: &Artefact,
    bytes: &[u8],
    digest: Digest,
) -> Result<Slot, EdgeError> {
    let header = &artefact.header;
    let slot = Slot {
        weights: header.weights,
        base: header.base,
        release: Release::Mask {
            version: header.version,
            digest,
        },
        experts: artefact
            .experts
            .as_ref()
            .map_or(0, |experts| experts.count() as u8),
    };
    if folder.slot(&slot.weights) == Some(slot) && super::verify::slot(folder, &slot).is_ok() {
        return Ok(slot);
    }
    if slot.experts > 0 {
        let base = import(artefact.architecture, &folder.model(&slot.base))?;
        artefact.check_networks(&base)?;
    }
    folder.make_slot(&slot.weights)?;
    let model = folder.model(&slot.weights);
    // A mask that drops nothing yields the base's own weights, and its file is there already.
    if slot.weights != slot.base {
        folder.step();
        apply_to_safetensors(artefact, &folder.model(&slot.base), &model)?;
        folder.share(&model)?;
    }
    folder.write(&folder.artefact(&slot.weights), bytes)?;
    folder.seal(&slot)?;
    Ok(slot)
}
