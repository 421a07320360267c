//! The header of an artefact: what the mask is bound to and where it comes from.
//!
//! [`Header`] is what the rest of the program sees; the messages in [`wire`]
//! mirror `proto/katagami/mask/v1/header.proto`.

use prost::Message;
use serde::Serialize;

use super::{Bits, Mask, MaskError, view};
use crate::base::Architecture;
use crate::domain::{Digest, JobId, MaskVersion, SiteName, Timestamp, View};

/// What a mask is bound to and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Header {
    /// The base's canonical digest.
    pub base: Digest,
    /// The digest of the base's preprocessing.
    pub preprocessing: Digest,
    /// How pictures became input: whoever feeds the masked network must do the same.
    pub view: View,
    /// The site that it was trained for.
    pub site: SiteName,
    /// Its version within the site.
    pub version: MaskVersion,
    /// The digest of the list of images that it was trained on.
    pub snapshot: Digest,
    /// The digest of the recipe.
    pub recipe: Digest,
    /// The job; none for a training without a server.
    pub job: Option<JobId>,
    /// What bit-equality of the training is promised for.
    pub profile: ExecutionProfile,
    /// The digest of the masked weights.
    pub weights: Digest,
    /// The digest of the report, if there is one.
    pub report: Option<Digest>,
    /// The five numbers that a person asks for first.
    pub figures: Figures,
    /// The artefact whose mask the bits are coded against; none: they stand for themselves.
    pub parent: Option<Digest>,
    /// The population prior that the bits are coded with.
    pub prior: Option<Digest>,
    /// The version of Katagami that wrote it.
    pub software: String,
    /// When it was written.
    pub created_at: Timestamp,
}

/// What bit-equality of a training is promised for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ExecutionProfile {
    /// libtorch's version.
    pub libtorch: String,
    /// `cpu` or `cuda:N` with the model of the card.
    pub device: String,
    /// Threads within one operation.
    pub threads: u32,
    /// The widest instruction set that libtorch uses, such as `avx2`.
    pub instructions: String,
}

/// The five numbers of the report that a person asks for first.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Figures {
    /// The KPI of the base.
    pub kpi_base: f32,
    /// The KPI of the mask.
    pub kpi_mask: f32,
    /// The lower end of the 95 % interval of their paired difference.
    pub kpi_lower: f32,
    /// The upper end.
    pub kpi_upper: f32,
    /// The effective rank of the masked model's embeddings.
    pub effective_rank: f32,
}

impl Header {
    /// Refuses any view but the one that the mask was trained with.
    pub fn check_view(&self, given: &View) -> Result<(), MaskError> {
        if self.view == *given {
            return Ok(());
        }
        Err(MaskError::OtherView {
            expected: self.view,
            given: *given,
        })
    }
}

mod wire {
    /// `katagami.mask.v1.Header`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Header {
        #[prost(string, tag = "1")]
        pub(super) architecture: String,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) base: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) preprocessing: Vec<u8>,
        #[prost(string, tag = "4")]
        pub(super) site: String,
        #[prost(uint32, tag = "5")]
        pub(super) version: u32,
        #[prost(bytes = "vec", tag = "6")]
        pub(super) snapshot: Vec<u8>,
        #[prost(bytes = "vec", tag = "7")]
        pub(super) recipe: Vec<u8>,
        #[prost(string, tag = "8")]
        pub(super) job: String,
        #[prost(message, optional, tag = "9")]
        pub(super) profile: Option<ExecutionProfile>,
        #[prost(bytes = "vec", tag = "10")]
        pub(super) masked: Vec<u8>,
        #[prost(bytes = "vec", tag = "11")]
        pub(super) moved: Vec<u8>,
        #[prost(bytes = "vec", tag = "12")]
        pub(super) weights: Vec<u8>,
        #[prost(bytes = "vec", tag = "13")]
        pub(super) report: Vec<u8>,
        #[prost(message, optional, tag = "14")]
        pub(super) figures: Option<Figures>,
        #[prost(string, tag = "15")]
        pub(super) software: String,
        #[prost(int64, tag = "16")]
        pub(super) created_at: i64,
        #[prost(bytes = "vec", tag = "17")]
        pub(super) parent: Vec<u8>,
        #[prost(bytes = "vec", tag = "18")]
        pub(super) prior: Vec<u8>,
        #[prost(message, optional, tag = "19")]
        pub(super) view: Option<super::view::Message>,
    }

    /// `katagami.mask.v1.ExecutionProfile`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExecutionProfile {
        #[prost(string, tag = "1")]
        pub(super) libtorch: String,
        #[prost(string, tag = "2")]
        pub(super) device: String,
        #[prost(uint32, tag = "3")]
        pub(super) threads: u32,
        #[prost(string, tag = "4")]
        pub(super) instructions: String,
    }

    /// `katagami.mask.v1.Figures`
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Figures {
        #[prost(float, tag = "1")]
        pub(super) kpi_base: f32,
        #[prost(float, tag = "2")]
        pub(super) kpi_mask: f32,
        #[prost(float, tag = "3")]
        pub(super) kpi_lower: f32,
        #[prost(float, tag = "4")]
        pub(super) kpi_upper: f32,
        #[prost(float, tag = "5")]
        pub(super) effective_rank: f32,
    }
}

/// A header as read, with what a decoder needs besides.
pub(super) struct Decoded {
    pub(super) header: Header,
    pub(super) architecture: &'static Architecture,
    /// Canonical indices of the masked tensors.
    pub(super) masked: Vec<usize>,
    /// Canonical indices of the tensors whose values the artefact holds.
    pub(super) moved: Vec<usize>,
}

/// Encodes the header of `mask`.
pub(super) fn encode(header: &Header, mask: &Mask, architecture: &Architecture) -> Vec<u8> {
    let bitset = |has: &dyn Fn(usize) -> bool| {
        Bits::from_bools((0..architecture.tensors.len()).map(has))
            .as_bytes()
            .to_vec()
    };
    let bytes = |digest: &Digest| digest.as_bytes().to_vec();
    wire::Header {
        architecture: architecture.name.to_owned(),
        base: bytes(&header.base),
        preprocessing: bytes(&header.preprocessing),
        site: header.site.to_string(),
        version: header.version.0,
        snapshot: bytes(&header.snapshot),
        recipe: bytes(&header.recipe),
        job: header.job.map(|job| job.to_string()).unwrap_or_default(),
        profile: Some(wire::ExecutionProfile {
            libtorch: header.profile.libtorch.clone(),
            device: header.profile.device.clone(),
            threads: header.profile.threads,
            instructions: header.profile.instructions.clone(),
        }),
        masked: bitset(&|index| mask.tensors.contains_key(&index)),
        moved: bitset(&|index| mask.norms.contains_key(&index)),
        weights: bytes(&header.weights),
        report: header.report.as_ref().map(bytes).unwrap_or_default(),
        figures: Some(wire::Figures {
            kpi_base: header.figures.kpi_base,
            kpi_mask: header.figures.kpi_mask,
            kpi_lower: header.figures.kpi_lower,
            kpi_upper: header.figures.kpi_upper,
            effective_rank: header.figures.effective_rank,
        }),
        software: header.software.clone(),
        created_at: header.created_at.as_micros(),
        parent: header.parent.as_ref().map(bytes).unwrap_or_default(),
        prior: header.prior.as_ref().map(bytes).unwrap_or_default(),
        view: view::Message::of(&header.view),
    }
    .encode_to_vec()
}

/// Decodes and checks a header.
pub(super) fn decode(
    bytes: &[u8],
    lookup: impl Fn(&str) -> Option<&'static Architecture>,
) -> Result<Decoded, MaskError> {
    let message = wire::Header::decode(bytes).map_err(|_| MaskError::Corrupt("its header is no message"))?;
    let Some(architecture) = lookup(&message.architecture) else {
        return Err(MaskError::UnknownArchitecture(
            message.architecture.escape_debug().take(80).collect(),
        ));
    };
    let profile = message.profile.unwrap_or_default();
    let figures = message.figures.unwrap_or_default();
    let header = Header {
        base: digest(&message.base)?,
        preprocessing: digest(&message.preprocessing)?,
        view: message.view.unwrap_or_default().read()?,
        site: message
            .site
            .parse()
            .map_err(|_| MaskError::Corrupt("its site has no valid name"))?,
        version: MaskVersion(message.version),
        snapshot: digest(&message.snapshot)?,
        recipe: digest(&message.recipe)?,
        job: match message.job.as_str() {
            "" => None,
            job => Some(
                job.parse()
                    .map_err(|_| MaskError::Corrupt("its job has no valid identifier"))?,
            ),
        },
        profile: ExecutionProfile {
            libtorch: profile.libtorch,
            device: profile.device,
            threads: profile.threads,
            instructions: profile.instructions,
        },
        weights: digest(&message.weights)?,
        report: optional(&message.report)?,
        parent: optional(&message.parent)?,
        prior: optional(&message.prior)?,
        figures: Figures {
            kpi_base: figures.kpi_base,
            kpi_mask: figures.kpi_mask,
            kpi_lower: figures.kpi_lower,
            kpi_upper: figures.kpi_upper,
            effective_rank: figures.effective_rank,
        },
        software: message.software,
        created_at: Timestamp::from_micros(message.created_at),
    };
    check(&header).map_err(MaskError::Corrupt)?;
    let masked = indices(message.masked, architecture)?;
    let moved = indices(message.moved, architecture)?;
    Ok(Decoded {
        header,
        architecture,
        masked,
        moved,
    })
}

/// What must hold of a header, written or read. Free text goes to terminals and
/// pages: short, and without characters that steer them.
pub(super) fn check(header: &Header) -> Result<(), &'static str> {
    const LONGEST: usize = 256;
    let profile = &header.profile;
    let texts = [
        &header.software,
        &profile.libtorch,
        &profile.device,
        &profile.instructions,
    ];
    if texts
        .iter()
        .any(|text| text.len() > LONGEST || text.chars().any(char::is_control))
    {
        return Err("a text of its header is too long or holds control characters");
    }
    let figures = &header.figures;
    let numbers = [
        figures.kpi_base,
        figures.kpi_mask,
        figures.kpi_lower,
        figures.kpi_upper,
        figures.effective_rank,
    ];
    if numbers.iter().any(|number| !number.is_finite()) {
        return Err("a figure of its header is not finite");
    }
    Ok(())
}

fn digest(bytes: &[u8]) -> Result<Digest, MaskError> {
    bytes
        .try_into()
        .map(Digest::from_bytes)
        .map_err(|_| MaskError::Corrupt("a digest has not 32 bytes"))
}

fn optional(bytes: &[u8]) -> Result<Option<Digest>, MaskError> {
    if bytes.is_empty() {
        Ok(None)
    } else {
        digest(bytes).map(Some)
    }
}

fn indices(bitset: Vec<u8>, architecture: &Architecture) -> Result<Vec<usize>, MaskError> {
    let bits = Bits::from_bytes(bitset, architecture.tensors.len()).ok_or(MaskError::Corrupt(
        "it masks tensors that its architecture has not",
    ))?;
    Ok((0..bits.len()).filter(|index| bits.get(*index)).collect())
}
