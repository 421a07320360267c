//! The bytes of a cascade's experts: the fourth part of an artefact of version 3
//! (`docs/mask-format.md`, "Experts").

use super::NewExpert;
use super::router::{Group, Joint, Projection, Router, Row};
use crate::domain::Digest;
use crate::mask::MaskError;

/// Most principal components that a router looks at.
pub const MOST_COMPONENTS: usize = 64;
/// Most experts of a cascade.
pub const MOST_EXPERTS: usize = 32;

/// Bytes of the parts of the section, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ExpertSizes {
    /// Which expert is for which picture.
    pub router: usize,
    /// The experts' masks, as deltas to the dispatcher's.
    pub masks: usize,
    /// What joins their embeddings.
    pub joint: usize,
}

impl ExpertSizes {
    /// All of them.
    pub fn total(&self) -> usize {
        self.router + self.masks + self.joint
    }
}

const MISFIT: MaskError =
    MaskError::Mismatch("its experts, router and joint embedding do not fit each other");
const DAMAGED: MaskError = MaskError::Corrupt("its experts are none");

/// Writes a section; `coded` are the experts' bits and statistics.
pub(super) fn write(
    router: &Router,
    joint: &Joint,
    experts: &[NewExpert],
    coded: &[(Vec<u8>, Vec<u8>)],
    dim: usize,
) -> Result<Vec<u8>, MaskError> {
    let (components, width) = (router.projection.width(), joint.width());
    let is_projection = |projection: &Projection, width: usize| {
        projection.width() == width && projection.rows.iter().all(|row| row.weights.len() == dim)
    };
    let fits = (1..=MOST_COMPONENTS).contains(&components)
        && (1..=dim).contains(&width)
        && (2..=MOST_EXPERTS).contains(&experts.len())
        && router.groups.len() == experts.len()
        && joint.parts.len() == experts.len() + 1
        && is_projection(&router.projection, components)
        && joint.parts.iter().all(|part| is_projection(part, width))
        && router.groups.iter().all(|group| {
            group.mean.len() == components && group.factor.len() == components * (components + 1) / 2
        });
    if !fits {
        return Err(MISFIT);
    }
    let mut bytes = vec![components as u8, experts.len() as u8];
    bytes.extend((width as u16).to_le_bytes());
    push_projection(&mut bytes, &router.projection);
    for group in &router.groups {
        let numbers = [group.weight].into_iter().chain(group.mean.iter().copied());
        let numbers = numbers.chain(group.factor.iter().copied());
        bytes.extend(numbers.flat_map(f32::to_le_bytes));
    }
    for (expert, (bits, norms)) in experts.iter().zip(coded) {
        bytes.extend(expert.weights.as_bytes());
        for part in [bits, norms] {
            let length = u32::try_from(part.len());
            let length = length.map_err(|_| MaskError::Mismatch("a part is longer than 4 GiB"))?;
            bytes.extend(length.to_le_bytes());
        }
        bytes.extend(bits);
        bytes.extend(norms);
    }
    joint
        .parts
        .iter()
        .for_each(|part| push_projection(&mut bytes, part));
    // What no reader would take is not written either: numbers that are not finite, weights of 0.
    read(&bytes, dim).map_err(|_| MISFIT)?;
    Ok(bytes)
}

fn push_projection(bytes: &mut Vec<u8>, projection: &Projection) {
    for row in &projection.rows {
        bytes.extend(row.scale.to_le_bytes());
        bytes.extend(row.offset.to_le_bytes());
        bytes.extend(row.weights.iter().map(|weight| weight.cast_unsigned()));
    }
}

/// A section that was read.
pub(super) struct Section<'a> {
    pub(super) router: Router,
    pub(super) joint: Joint,
    /// The digest of each expert's weights, its bits and its statistics.
    pub(super) experts: Vec<(Digest, [&'a [u8]; 2])>,
    pub(super) sizes: ExpertSizes,
}

/// Reads a section over embeddings of length `dim`. It takes less memory than `bytes` are long, but for a few
/// words a row; the experts' bits are still as they were coded.
pub(super) fn read(bytes: &[u8], dim: usize) -> Result<Section<'_>, MaskError> {
    let mut rest = Rest(bytes);
    let [components, count] = rest.array().map(|bytes| bytes.map(usize::from))?;
    let width = usize::from(u16::from_le_bytes(rest.array()?));
    if !(1..=MOST_COMPONENTS).contains(&components)
        || !(2..=MOST_EXPERTS).contains(&count)
        || !(1..=dim).contains(&width)
    {
        return Err(DAMAGED);
    }
    let projection = rest.projection(components, dim)?;
    let group = |rest: &mut Rest| {
        let group = Group {
            weight: rest.number()?,
            mean: rest.numbers(components)?,
            factor: rest.numbers(components * (components + 1) / 2)?,
        };
        let diagonal = (0..components).map(|at| group.factor[at * (at + 3) / 2]);
        let sound = group.weight > 0.0 && diagonal.into_iter().all(|value| value > 0.0);
        if sound { Ok(group) } else { Err(DAMAGED) }
    };
    let groups = (0..count).map(|_| group(&mut rest)).collect::<Result<_, _>>()?;
    let of_router = bytes.len() - rest.0.len();
    let mut experts = Vec::new();
    for _ in 0..count {
        let weights = Digest::from_bytes(rest.array()?);
        let [bits, norms] = [rest.array()?, rest.array()?].map(|length| u32::from_le_bytes(length) as usize);
        experts.push((weights, [rest.take(bits)?, rest.take(norms)?]));
    }
    let of_masks = bytes.len() - rest.0.len() - of_router;
    let of_joint = rest.0.len();
    let joint = (0..=count)
        .map(|_| rest.projection(width, dim))
        .collect::<Result<_, _>>()?;
    if !rest.0.is_empty() {
        return Err(DAMAGED);
    }
    Ok(Section {
        router: Router { projection, groups },
        joint: Joint { parts: joint },
        experts,
        sizes: ExpertSizes {
            router: of_router,
            masks: of_masks,
            joint: of_joint,
        },
    })
}

/// What is left to read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], MaskError> {
        let (taken, left) = self.0.split_at_checked(length).ok_or(DAMAGED)?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], MaskError> {
        let (taken, left) = self.0.split_first_chunk().ok_or(DAMAGED)?;
        self.0 = left;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<f32, MaskError> {
        let number = f32::from_le_bytes(self.array()?);
        if number.is_finite() {
            Ok(number)
        } else {
            Err(DAMAGED)
        }
    }

    fn numbers(&mut self, count: usize) -> Result<Vec<f32>, MaskError> {
        (0..count).map(|_| self.number()).collect()
    }

    fn projection(&mut self, rows: usize, dim: usize) -> Result<Projection, MaskError> {
        let row = |rest: &mut Self| {
            Ok(Row {
                scale: rest.number()?,
                offset: rest.number()?,
                weights: rest.take(dim)?.iter().map(|byte| byte.cast_signed()).collect(),
            })
        };
        Ok(Projection {
            rows: (0..rows).map(|_| row(self)).collect::<Result<_, MaskError>>()?,
        })
    }
}
