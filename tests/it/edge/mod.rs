//! The edge: the real executable against a server that serves the contract of
//! its endpoints and can be told to misbehave, which a real one cannot.

mod agent;
#[cfg(feature = "worker")]
mod cascade;
mod cuts;
mod deltas;
mod factory;
mod priors;
pub mod proxy;
mod pull;
mod server;
#[cfg(feature = "worker")]
mod view;
mod whole;

use std::path::{Path, PathBuf};

use katagami::base::{Weights, architecture, import};
use katagami::domain::{Digest, MaskVersion};
use katagami::mask::{Header, Mask, encode};

use crate::support::{self, Answer, alike_mask, dense_mask, header_of};
use server::{Server, World};

/// A mask over `base` for site `osaka`, other bits for each version.
fn mask_over(base: &Weights, preprocessing: Digest, version: u32) -> Vec<u8> {
    mask_of("osaka", base, preprocessing, version)
}

fn mask_of(site: &str, base: &Weights, preprocessing: Digest, version: u32) -> Vec<u8> {
    let head = base.architecture.index_of("_conv_head.weight").unwrap();
    let mut mask = Mask::keeping_all(base.architecture, [head]);
    let bits = mask.tensors.get_mut(&head).unwrap();
    (version as usize..bits.len())
        .step_by(40_000)
        .for_each(|index| bits.set(index, false));
    artefact_of(site, &mask, base, preprocessing, version)
}

/// As [`mask_over`], long enough for deltas to be worth it.
fn dense_over(base: &Weights, preprocessing: Digest, version: u32) -> Vec<u8> {
    artefact_of("osaka", &dense_mask(base, version), base, preprocessing, version)
}

/// As [`mask_over`], of a factory that has much in common with others.
fn alike_over(base: &Weights, preprocessing: Digest, version: u32) -> Vec<u8> {
    artefact_of("osaka", &alike_mask(base, version), base, preprocessing, version)
}

fn artefact_of(site: &str, mask: &Mask, base: &Weights, preprocessing: Digest, version: u32) -> Vec<u8> {
    let header = Header {
        preprocessing,
        site: site.parse().unwrap(),
        version: MaskVersion(version),
        ..header_of(mask, base)
    };
    encode(&header, mask, base).unwrap()
}

/// A device's folder and the server that it asks.
struct Device {
    folder: tempfile::TempDir,
    server: Server,
}

impl Device {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            server: Server::start(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("device")
    }

    /// Runs `katagami edge …` on this device's folder.
    fn edge(&self, command: &str, arguments: &[&str]) -> Answer {
        self.edge_with(command, arguments, &[])
    }

    fn edge_with(&self, command: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let dir = self.dir();
        let mut all = vec!["edge", command, "--dir", dir.to_str().unwrap()];
        all.extend(arguments);
        support::katagami_with(self.folder.path(), &all, variables)
    }

    fn pull(&self, arguments: &[&str]) -> Answer {
        self.pull_with(arguments, &[])
    }

    fn pull_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
        let url = self.server.url();
        let mut all = vec!["--server", url.as_str(), "--token", server::TOKEN];
        all.extend(arguments);
        self.edge_with("pull", &all, variables)
    }

    fn pulled(&self) -> serde_json::Value {
        self.pull(&["--json"]).good().json()
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.server.world()
    }

    fn status(&self) -> serde_json::Value {
        self.edge("status", &["--json"]).good().json()
    }

    /// The digest of the weights that `current` names, computed here.
    fn weights(&self) -> Digest {
        let architecture = architecture("efficientnet_lite0").unwrap();
        import(architecture, &self.dir().join("current/model.safetensors"))
            .unwrap()
            .digest()
    }

    /// The folders of models.
    fn models(&self) -> Vec<String> {
        names(&self.dir().join("models"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Flips one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}
