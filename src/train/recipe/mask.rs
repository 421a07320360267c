//! How the mask learns, and which tensors.

use serde::{Deserialize, Serialize};

use super::{is_default, is_whole, whole};

/// How the mask learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MaskRule {
    /// How gradients move scores. Default momentum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rule: ScoreRule,
    /// Learning rate of the scores after the warm-up; falls as a cosine to 0.
    pub rate: f64,
    /// Momentum of the scores.
    pub momentum: f64,
    /// Divides each tensor's gradient by its root mean square, so that only
    /// weights whose gradient keeps its sign over many batches fall. Without
    /// it nearly all flips go into the first layers.
    pub normalise: bool,
    /// How strongly each score is drawn towards the base, which keeps every weight, as
    /// a share of its distance added to its gradient. Default 0: the paper has no weight decay.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pull: f64,
    /// How flips are chosen, with rule `evidence`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceRule>,
    /// How many of the first tensors that would be masked (by the fields below) are not.
    pub skip_first: usize,
    /// Which tensors are masked: patterns of canonical names (`*` any text, `?` any character).
    /// Default: convolutions that are not depthwise, matrices of linear layers; not a
    /// transformer's patch embedding. Norms, biases, tokens and positions never are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub include: Vec<String>,
    /// Which of these are not, after all: patterns as in `include`. Default none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclude: Vec<String>,
    /// The share of their weights that is masked, above 0 to 1: whole tensors from the output
    /// end backwards, the fewest that hold so much. Half loses almost nothing (arXiv 2409.07577). Default 1.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub share: f64,
    /// What falls at once. Default single weights.
    #[serde(default, skip_serializing_if = "is_default")]
    pub granularity: Granularity,
    /// What BatchNorm's statistics do while the mask learns. Default frozen.
    #[serde(default, skip_serializing_if = "is_default")]
    pub norms: Norms,
}

/// How gradients move scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreRule {
    /// Gradient descent with momentum, as in the paper; with `normalise`, on each tensor's own scale.
    #[default]
    Momentum,
    /// A few flips at a time, each once the gradients of many batches agree on
    /// it: `[mask.evidence]`. Neither rate nor momentum is read.
    Evidence,
}

/// How flips are chosen by evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EvidenceRule {
    /// Steps whose gradients are weighed together before flips are chosen; at least 3.
    pub window: u32,
    /// The least t-statistic of a flip: mean of its gradient over the standard error.
    pub confidence: f64,
    /// What a bit of the artefact costs, in nats of the loss: a flip must bring more. Needs `normalise = false`.
    pub price: f64,
    /// Most flips a window.
    pub most: usize,
    /// Which flips come first.
    pub order: Order,
}

/// Which of the flips that have shown their evidence come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Those that lower the loss most, less what their bits cost.
    Benefit,
    /// Those whose gradient is surest of its sign.
    Confidence,
}

/// What falls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    /// Each weight has a score of its own.
    #[default]
    Weight,
    /// One score for all weights of an output (a filter of a convolution, a row of a
    /// matrix); its gradient is the sum of theirs. The artefact's bits stay per weight.
    Filter,
}

/// What BatchNorm's statistics do while the mask learns. Its factor and
/// summand always stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norms {
    /// BatchNorm uses the base's statistics throughout; the artefact holds only bits.
    #[default]
    Frozen,
    /// BatchNorm uses those of the batch, and the running ones move towards
    /// them (momentum .1), as in the authors' code. They are then part of the
    /// artefact. On small sets with small crops the drift hurts.
    Moving,
    /// As `moving` on the large crops; the small ones use the running statistics and move nothing.
    MovingLarge,
}
