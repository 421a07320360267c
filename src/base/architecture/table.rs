//! Collects the tensors of an architecture in canonical order.

use super::{Role, TensorSpec};

#[derive(Default)]
pub(super) struct Table(Vec<TensorSpec>);

impl Table {
    pub(super) fn tensors(self) -> Vec<TensorSpec> {
        self.0
    }

    pub(super) fn push(&mut self, name: impl Into<String>, shape: &[usize], role: Role) {
        self.0.push(TensorSpec {
            name: name.into(),
            shape: shape.to_vec(),
            role,
        });
    }

    pub(super) fn convolution(&mut self, name: &str, output: usize, input: usize, kernel: usize) {
        let shape = [output, input, kernel, kernel];
        self.push(format!("{name}.weight"), &shape, Role::Convolution { groups: 1 });
    }

    pub(super) fn depthwise(&mut self, name: &str, channels: usize, kernel: usize) {
        let groups = channels as u32;
        let shape = [channels, 1, kernel, kernel];
        self.push(format!("{name}.weight"), &shape, Role::Convolution { groups });
    }

    pub(super) fn batch_norm(&mut self, name: &str, channels: usize) {
        for (part, role) in [
            ("weight", Role::NormWeight),
            ("bias", Role::NormBias),
            ("running_mean", Role::NormMean),
            ("running_var", Role::NormVariance),
        ] {
            self.push(format!("{name}.{part}"), &[channels], role);
        }
    }

    pub(super) fn layer_norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), &[width], Role::LayerNormWeight);
        self.push(format!("{name}.bias"), &[width], Role::LayerNormBias);
    }

    pub(super) fn linear(&mut self, name: &str, output: usize, input: usize) {
        self.push(format!("{name}.weight"), &[output, input], Role::Linear);
        self.push(format!("{name}.bias"), &[output], Role::Bias);
    }
}
