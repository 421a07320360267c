//! `/v1/sites/{site}/channels`, and the download endpoint of devices

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::request::{etag, read};
use super::{Client, ClientError};
use crate::domain::{ChannelName, Digest, MaskVersion, SiteName};
use crate::wire::v1::channels::{Channel, ChannelChange, ChannelMove};

/// A mask as a channel delivers it. Its bytes have [`ChannelMask::digest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMask {
    /// The mask's version; none if a proxy dropped the header.
    pub version: Option<MaskVersion>,
    /// The artefact's digest: the answer's `ETag`.
    pub digest: Digest,
    /// The artefact.
    pub bytes: Bytes,
}

/// What a channel's download endpoint answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelState {
    /// The channel still points at the mask that the asker has.
    Unchanged,
    /// The channel points at no mask: the plain base is to be run.
    NoRelease,
    /// The channel points at this mask.
    Mask(ChannelMask),
}

impl Client {
    /// All channels of a site.
    pub async fn all_channels(&self, site: &SiteName) -> Result<Vec<Channel>, ClientError> {
        self.every_page(&["sites", site.as_str(), "channels"], &()).await
    }

    /// A channel.
    pub async fn channel(&self, site: &SiteName, channel: &ChannelName) -> Result<Channel, ClientError> {
        self.get(&["sites", site.as_str(), "channels", channel.as_str()])
            .await
    }

    /// Moves a channel. With `revision`, only if the channel still has it
    /// (`channel_moved` otherwise). Never sent twice once the server may have it:
    /// the second one would be told that somebody moved the channel.
    pub async fn move_channel(
        &self,
        site: &SiteName,
        channel: &ChannelName,
        change: &ChannelChange,
        revision: Option<u64>,
    ) -> Result<Channel, ClientError> {
        let path = ["sites", site.as_str(), "channels", channel.as_str()];
        let call = self.call(Method::PUT, &path).json(change).repeatable(false);
        let call = match revision {
            Some(revision) => call.header("if-match", &format!("\"{revision}\"")),
            None => call,
        };
        call.answer().await
    }

    /// A channel's moves, newest first.
    pub async fn channel_history(
        &self,
        site: &SiteName,
        channel: &ChannelName,
    ) -> Result<Vec<ChannelMove>, ClientError> {
        let path = ["sites", site.as_str(), "channels", channel.as_str(), "history"];
        self.every_page(&path, &()).await
    }

    /// The mask that a channel points at, of at most `limit` bytes; no bytes if it is still `known`.
    /// The bytes' digest was compared with the `ETag`.
    pub async fn channel_mask(
        &self,
        site: &SiteName,
        channel: &ChannelName,
        known: Option<Digest>,
        limit: u64,
    ) -> Result<ChannelState, ClientError> {
        let path = ["sites", site.as_str(), "channels", channel.as_str(), "mask"];
        let mut call = self.call(Method::GET, &path);
        if let Some(known) = known {
            call = call.header("if-none-match", &format!("\"{known}\""));
        }
        let url = call.url();
        let response = match call.send().await {
            Ok(response) => response,
            Err(ClientError::Refused {
                code: "no_release", ..
            }) => return Ok(ChannelState::NoRelease),
            Err(error) => return Err(error),
        };
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(ChannelState::Unchanged);
        }
        let version = response.headers().get("katagami-mask-version");
        let version = version.and_then(|text| text.to_str().ok()?.parse().ok());
        let expected = etag(&response);
        let bytes = read(&url, response, limit).await?;
        let digest = Digest::of(&bytes);
        match expected {
            Some(expected) if expected == digest => Ok(ChannelState::Mask(ChannelMask {
                version,
                digest,
                bytes,
            })),
            Some(expected) => Err(ClientError::Damaged {
                url,
                expected,
                given: digest,
            }),
            None => Err(ClientError::Unexpected {
                url,
                what: "without a strong ETag".to_owned(),
            }),
        }
    }
}
