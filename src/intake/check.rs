//! Is a file a picture, and what does it look like? Decodes it whole, so that
//! a picture which would fail in training fails here.

use bytes::Bytes;

use super::{DECODING, Intake, IntakeError, Rejection, kib, perceptual_hash};
use crate::base::preprocessing::{BitDepth, DecodeLimits, PictureError, decode, measure};
use crate::domain::Digest;
use crate::domain::image::PerceptualHash;

/// A picture that was decoded whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    pub media_type: &'static str,
    pub width: u32,
    pub height: u32,
    pub phash: PerceptualHash,
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
            let picture = decode(&bytes, BitDepth::UsedBits, &limits)?;
            Ok(Picture {
                media_type: measured.media_type,
                width: picture.width(),
                height: picture.height(),
                phash: perceptual_hash(&picture),
            })
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
