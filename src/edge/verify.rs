//! Checks before anything is believed: an artefact against base and site, a
//! stored model against its own name.

use crate::base::{Architecture, architecture, import};
use crate::domain::{Digest, MaskVersion, SiteName, View};
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

/// The view that the mask of a slot was trained with; the default one of a plain base.
pub fn view(folder: &DeviceFolder, slot: &Slot) -> Result<View, EdgeError> {
    if slot.release == Release::Base {
        return Ok(View::default());
    }
    let path = folder.artefact(&slot.weights);
    let bytes = std::fs::read(&path).map_err(EdgeError::at(&path))?;
    Ok(decode_with(&bytes, Limits::default(), architecture)?.header.view)
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
