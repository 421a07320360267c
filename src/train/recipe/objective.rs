//! The objective, and the head that serves it.

use serde::{Deserialize, Serialize};

/// The projection head: linear, BatchNorm, ReLU, linear, then the prototypes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HeadRule {
    /// Learning rate of head and prototypes, constant.
    pub rate: f64,
    /// Their momentum.
    pub momentum: f64,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Length of a projection.
    pub output: usize,
    /// Number of prototypes.
    pub prototypes: usize,
}

/// The swapped prediction of SwAV (arXiv 2006.09882, §3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SwavRule {
    /// Temperature of the predictions.
    pub temperature: f64,
    /// Entropy of the codes: Sinkhorn-Knopp's ε.
    pub epsilon: f64,
    /// Rounds of Sinkhorn-Knopp.
    pub rounds: u32,
    /// Rate of stochastic depth at the last block; grows linearly from 0 at the first. 0: none. ResNets have none, as published.
    pub drop_connect: f64,
    /// Projections of earlier batches that the codes are balanced over, too:
    /// for batches that are small beside the number of prototypes. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRule>,
}

/// The feature queue of SwAV (§4.1, "working with small batches").
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct QueueRule {
    /// Its length in embeddings, of each large crop. It is used once it is full.
    pub length: usize,
    /// The share of the training after which it begins to fill, 0 to 1.
    pub from: f64,
}
