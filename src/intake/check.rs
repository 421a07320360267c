//! Is a file a picture, and what does it look like? Decodes it whole, so that
//! a picture which would fail in training fails here.

use bytes::Bytes;

use super::quality::quality;
use super::{DECODING, Intake, IntakeError, Rejection, kib, perceptual_hash};
use crate::base::preprocessing::{DecodeLimits, PictureError, decode, measure};
use crate::domain::Digest;
use crate::domain::health::Quality;
use crate::domain::image::PerceptualHash;
use crate::domain::view::BitDepth;

/// A picture that was decoded whole and looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Its media type, by its content.
    pub media_type: &'static str,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// What it looks like.
    pub phash: PerceptualHash,
    /// What it is like.
    pub quality: Quality,
}

impl Picture {
    /// Decodes a file and looks at its picture, on this thread. Whoever takes
    /// files from strangers bounds how many at once.
    pub fn of(bytes: &[u8]) -> Result<Self, PictureError> {
        let limits = DecodeLimits::default();
        Self::looked_at(bytes, measure(bytes, &limits)?.media_type, &limits)
    }

    fn looked_at(
        bytes: &[u8],
        media_type: &'static str,
        limits: &DecodeLimits,
    ) -> Result<Self, PictureError> {
        let picture = decode(bytes, BitDepth::UsedBits, limits)?;
        Ok(Self {
            media_type,
            width: picture.width(),
            height: picture.height(),
            phash: perceptual_hash(&picture),
            quality: quality(&picture),
        })
    }
}

/// The digest of a file, computed where it holds nobody up.
pub(super) async fn digest(bytes: &Bytes) -> Result<Digest, IntakeError> {
    const SHORT: usize = 64 << 10;
    if bytes.len() <= SHORT {
        return Ok(Digest::of(bytes));
    }
    let bytes = bytes.clone();
    Ok(tokio::task::spawn_blocking(move || Digest::of(&bytes)).await?)
}

impl Intake {
    /// Decodes a file, as soon as there is room and a thread for it.
    pub(super) async fn look_at(&self, bytes: &Bytes) -> Result<Result<Picture, Rejection>, IntakeError> {
        if bytes.is_empty() {
            return Ok(Err(Rejection::Empty));
        }
        let limits = DecodeLimits::default();
        let measured = match measure(bytes, &limits) {
            Ok(measured) => measured,
            Err(error) => return Ok(Err(error.into())),
        };
        let (width, height) = (measured.width, measured.height);
        if u64::from(width) * u64::from(height) > self.limits.image_pixels {
            let most = self.limits.image_pixels;
            return Ok(Err(Rejection::TooManyPixels { width, height, most }));
        }
        // In this order everywhere: whoever waits for a thread holds room, never the other way round.
        let cost = kib(measured.working_bytes, DECODING);
        let room = self.room.decoding.clone().acquire_many_owned(cost).await;
        let thread = self.room.decoders.clone().acquire_owned().await;
        let bytes = bytes.clone();
        let looked = tokio::task::spawn_blocking(move || {
            // Freed when this thread has done its work, whoever waits for it or does not.
            let _held = (room, thread);
            Ok(Picture::looked_at(&bytes, measured.media_type, &limits)?)
        });
        match looked.await {
            Ok(looked) => Ok(looked),
            // A decoder that panics, panics because of this file.
            Err(error) if error.is_panic() => Ok(Err(PictureError::Damaged(
                "the decoder gave up on it".to_owned(),
            )
            .into())),
            Err(error) => Err(error.into()),
        }
    }
}
