//! Pictures that an attempt reads: where their bytes are, and how they are decoded.

use std::borrow::Cow;
use std::path::PathBuf;

use image::RgbImage;
use rayon::prelude::*;

use crate::base::Preprocessing;
use crate::base::preprocessing::{DecodeLimits, PictureError};
use crate::domain::image::Metadata;
use crate::domain::{Digest, Split, View};

/// A picture by its content.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// Where they are.
    pub source: Source,
}

/// Where the bytes of a picture are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In memory.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for who leases an attempt from a server")
    )]
    Bytes(Vec<u8>),
    /// In a file, which is read when it is needed.
    Path(PathBuf),
    /// The same in a cache, where its name says nothing to people.
    Cached(PathBuf),
}

/// A labelled picture; never trained on.
#[derive(Debug, Clone)]
pub struct LabelledPicture {
    /// The picture.
    pub picture: Picture,
    /// The name of its class.
    pub class: String,
    /// Where and how it was taken, such as its line: what slices are made of.
    pub metadata: Metadata,
    /// Whether the gate reads it, or only people are shown what it says.
    pub split: Split,
}

/// Why a picture was left out.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Its file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It cannot be decoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl Picture {
    /// What a person knows the picture by: its file, or its digest.
    pub fn name(&self) -> String {
        match &self.source {
            Source::Path(path) => path.display().to_string(),
            Source::Bytes(_) | Source::Cached(_) => self.digest.to_string(),
        }
    }

    /// Decodes it to the tiles of `view`, each of the size that the view or else `preprocessing` says.
    pub fn decode(&self, preprocessing: &Preprocessing, view: &View) -> Result<Vec<RgbImage>, Unreadable> {
        let bytes = match &self.source {
            Source::Bytes(bytes) => Cow::Borrowed(bytes.as_slice()),
            Source::Path(path) | Source::Cached(path) => Cow::Owned(std::fs::read(path)?),
        };
        Ok(preprocessing.inputs(&bytes, view, &DecodeLimits::default())?)
    }
}

/// Decodes pictures on all cores, in their order.
pub fn decode_all<'a>(
    pictures: impl IndexedParallelIterator<Item = &'a Picture>,
    preprocessing: &Preprocessing,
    view: &View,
) -> Vec<Result<Vec<RgbImage>, Unreadable>> {
    pictures
        .map(|picture| picture.decode(preprocessing, view))
        .collect()
}
