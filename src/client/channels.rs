//! `/v1/sites/{site}/channels`, and the download endpoint of devices

use bytes::Bytes;
use reqwest::{Method, Response, StatusCode};

use super::request::{Call, etag, length, read};
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

/// The mask that a channel points at, without its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedMask {
    /// The mask's version.
    pub version: MaskVersion,
    /// The artefact's digest.
    pub digest: Digest,
    /// Bytes of the artefact.
    pub bytes: u64,
}

/// What a channel's download endpoint says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Announcement {
    /// The channel still points at the mask that the asker has.
    Unchanged,
    /// The channel points at this mask.
    Mask(AnnouncedMask),
    /// [`Client::channel_mask`] has to be asked: an answer without content does not say why it refuses.
    Unclear,
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

    /// A question for a channel's mask, unless it is `known`.
    fn ask_for_mask(
        &self,
        method: Method,
        site: &SiteName,
        channel: &ChannelName,
        known: Option<Digest>,
    ) -> Call {
        let path = ["sites", site.as_str(), "channels", channel.as_str(), "mask"];
        let call = self.call(method, &path);
        match known {
            Some(known) => call.header("if-none-match", &format!("\"{known}\"")),
            None => call,
        }
    }

    /// Whether a channel still points at the mask `known`, and at which one else. Takes no bytes of it.
    pub async fn announced_mask(
        &self,
        site: &SiteName,
        channel: &ChannelName,
        known: Option<Digest>,
    ) -> Result<Announcement, ClientError> {
        let response = match self.ask_for_mask(Method::HEAD, site, channel, known).send().await {
            Ok(response) => response,
            Err(ClientError::Refused { .. } | ClientError::Unexpected { .. }) => {
                return Ok(Announcement::Unclear);
            }
            Err(error) => return Err(error),
        };
        if response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Announcement::Unchanged);
        }
        Ok(match (version(&response), etag(&response), length(&response)) {
            (Some(version), Some(digest), Some(bytes)) => Announcement::Mask(AnnouncedMask {
                version,
                digest,
                bytes,
            }),
            _ => Announcement::Unclear,
        })
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
        let call = self.ask_for_mask(Method::GET, site, channel, known);
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
        let version = version(&response);
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

/// The version of the mask that an answer is about.
fn version(response: &Response) -> Option<MaskVersion> {
    let version = response.headers().get("katagami-mask-version")?;
    version.to_str().ok()?.parse().ok()
}
