//! Which tensors an architecture has, in canonical order.

/// What a tensor does in the network; decides whether a recipe may mask it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A convolution's kernel, `[out, in / groups, height, width]`.
    Convolution {
        /// Groups of the convolution; above 1 it is depthwise or grouped.
        groups: u32,
    },
    /// A linear layer's matrix, `[out, in]`.
    Linear,
    /// A bias.
    Bias,
    /// BatchNorm's factor.
    NormWeight,
    /// BatchNorm's summand.
    NormBias,
    /// BatchNorm's running mean.
    NormMean,
    /// BatchNorm's running variance.
    NormVariance,
}

/// One tensor of an architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The canonical name: that of the reference implementation.
    pub name: String,
    /// The shape, outermost dimension first.
    pub shape: Vec<usize>,
    /// What it does.
    pub role: Role,
}

impl TensorSpec {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An architecture: its name, its tensors in canonical order, its embedding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// The name on the command line and in manifests, such as `efficientnet_lite0`.
    pub name: &'static str,
    /// All tensors of the body in canonical order. A classifier head is no part of a base.
    pub tensors: Vec<TensorSpec>,
    /// The length of an embedding.
    pub embedding_dim: usize,
}
