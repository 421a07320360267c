//! What tests train with: a network that nobody trained, and a recipe that is done in a second.

use crate::base::{Role, Weights, architecture};

/// A recipe of five steps that, with its coarse rate, surely drops weights.
pub const QUICK: &str = "
schedule = { steps = 5, warm-up = 1, prototypes-frozen = 1, batch = 4 }
mask = { rate = 0.2, momentum = 0.9, normalise = true, skip-first = 8 }
head = { rate = 0.15, momentum = 0.9, hidden = 16, output = 8, prototypes = 4 }
swav = { temperature = 0.1, epsilon = 0.05, rounds = 3, drop-connect = 0.2 }
[augment]
brightness = 0.2
contrast = 0.2
large = { count = 2, size = 32, scale = [0.3, 1.0] }
small = { count = 1, size = 32, scale = [0.1, 0.3] }
";

/// EfficientNet-Lite0 with numbers from a formula: a network, but no trained one.
pub fn generated_base() -> Weights {
    generated("efficientnet_lite0")
}

/// Any architecture with numbers from that formula.
pub fn generated(name: &str) -> Weights {
    let architecture = architecture(name).unwrap();
    let spread = |tensor: usize, element: usize| {
        let mixed = (1 + tensor * 31 + element).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let values = architecture.tensors.iter().enumerate().map(|(tensor, spec)| {
        let inputs: usize = spec.shape[1..].iter().product();
        let value = |element: usize| match spec.role {
            Role::NormWeight | Role::NormVariance => 1.0 + 0.1 * spread(tensor, element),
            Role::Convolution { .. } => spread(tensor, element) * (3.0 / inputs as f32).sqrt(),
            _ => 0.1 * spread(tensor, element),
        };
        (0..spec.len()).map(value).collect()
    });
    Weights {
        values: values.collect(),
        architecture,
    }
}
