//! Checks before anything is believed: an artefact against base and site, a
//! stored model against its own name.

use crate::base::{Architecture, architecture, import};
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::mask::{Artefact, Limits, MaskError, decode_with};
use crate::wire::v1::base::Base;

use super::{DeviceFolder, EdgeError, Release, Slot};

/// What a mask is checked against.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The device's site.
    pub site: SiteName,
    /// The base on this device.
    pub base: Base,
    /// The version that the server named.
    pub version: Option<MaskVersion>,
}

/// Reads an artefact whose digest is `digest` and checks that it is for this device.
pub fn mask(bytes: &[u8], digest: Digest, expected: &Expected) -> Result<Artefact, EdgeError> {
    let artefact = decode_with(bytes, Limits::default(), architecture)?;
    let header = &artefact.header;
    if header.base != expected.base.manifest.digest {
        return Err(EdgeError::Mask(MaskError::WrongBase {
            expected: header.base,
            given: expected.base.manifest.digest,
        }));
    }
    if header.preprocessing != expected.base.preprocessing {
        return Err(EdgeError::OtherPreprocessing {
            artefact: digest,
            expected: expected.base.preprocessing,
            given: header.preprocessing,
        });
    }
    if header.site != expected.site {
        return Err(EdgeError::ForeignMask {
            artefact: digest,
            expected: expected.site.clone(),
            given: header.site.clone(),
        });
    }
    match expected.version {
        Some(version) if version != header.version => Err(EdgeError::OtherVersion {
            expected: version.0,
            given: header.version.0,
        }),
        _ => Ok(artefact),
    }
}

/// The artefact of a slot; none of a plain base.
pub fn artefact(folder: &DeviceFolder, slot: &Slot) -> Result<Option<Artefact>, EdgeError> {
    if slot.release == Release::Base {
        return Ok(None);
    }
    let path = folder.artefact(&slot.weights);
    let bytes = std::fs::read(&path).map_err(EdgeError::at(&path))?;
    Ok(Some(decode_with(&bytes, Limits::default(), architecture)?))
}

/// Whether a slot has what runs it: the weights that its name says and, of a cascade, the experts in its artefact.
pub fn slot(folder: &DeviceFolder, slot: &Slot) -> Result<(), EdgeError> {
    model(folder, &slot.weights)?;
    if slot.experts > 0 {
        artefact(folder, slot)?;
    }
    Ok(())
}

/// Computes the experts of a slot's cascade again and compares; nothing to do for a single mask.
pub fn experts(folder: &DeviceFolder, slot: &Slot) -> Result<(), EdgeError> {
    let Some(artefact) = artefact(folder, slot)?.filter(|_| slot.experts > 0) else {
        return Ok(());
    };
    let base = import(artefact.architecture, &folder.model(&slot.base))?;
    Ok(artefact.check_networks(&base)?)
}

/// Digests the stored model `weights` again and compares.
pub fn model(folder: &DeviceFolder, weights: &Digest) -> Result<(), EdgeError> {
    let path = folder.model(weights);
    let damaged = |given: Option<String>| EdgeError::Damaged {
        path: path.clone(),
        expected: *weights,
        given,
    };
    let slot = folder.slot(weights).ok_or_else(|| damaged(None))?;
    let architecture = architecture_of(folder, &slot.base).ok_or_else(|| damaged(None))?;
    let given = import(architecture, &path).map_err(|_| damaged(None))?.digest();
    if given == *weights {
        Ok(())
    } else {
        Err(damaged(Some(given.short())))
    }
}

/// The architecture of a base that is here.
pub fn architecture_of(folder: &DeviceFolder, base: &Digest) -> Option<&'static Architecture> {
    architecture(&folder.base(base)?.manifest.architecture)
}
