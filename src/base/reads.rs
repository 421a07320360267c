//! Which BatchNorm's channels a convolution reads, told from the order of an architecture's tensors.

use super::architecture::{Architecture, Role, TensorSpec};

impl TensorSpec {
    /// Whether it is a kernel whose every output reads a channel of its own.
    fn is_depthwise(&self) -> bool {
        matches!(self.role, Role::Convolution { groups } if groups > 1 && groups as usize == self.shape[0])
    }

    /// What its name says before the module that it belongs to: `layer1.0` of `layer1.0.conv2.weight`.
    fn block(&self) -> &str {
        let module = self.name.rsplit_once('.').map_or("", |(module, _)| module);
        module.rsplit_once('.').map_or("", |(block, _)| block)
    }
}

impl Architecture {
    /// The canonical index of the factors (the summands follow) of the BatchNorm whose outputs, activated and
    /// not added to anything, are the channels that convolution `index` reads; none if it reads anything else.
    ///
    /// That is the BatchNorm right before it, if that has as many channels, and if it belongs to the same block
    /// or to a depthwise convolution: what comes from another block may have been added to a shortcut. Kernels
    /// that read channels by groups are left out.
    pub fn norm_read_by(&self, index: usize) -> Option<usize> {
        const NORM: [Role; 4] = [
            Role::NormWeight,
            Role::NormBias,
            Role::NormMean,
            Role::NormVariance,
        ];
        let spec = self.tensors.get(index)?;
        let first = index.checked_sub(NORM.len())?;
        let norm = &self.tensors[first..index];
        if spec.role != (Role::Convolution { groups: 1 }) {
            return None;
        }
        let is_norm = norm.iter().map(|part| part.role).eq(NORM) && norm[0].len() == spec.shape[1];
        let before = first.checked_sub(1).map(|before| &self.tensors[before]);
        let is_direct = before.is_some_and(TensorSpec::is_depthwise) || norm[0].block() == spec.block();
        (is_norm && is_direct).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use crate::base::{Role, architecture, architecture::names};

    fn read_by(network: &str, tensor: &str) -> Option<&'static str> {
        let architecture = architecture(network).unwrap();
        let norm = architecture.norm_read_by(architecture.index_of(tensor).unwrap())?;
        Some(&architecture.tensors[norm].name)
    }

    #[test]
    fn a_convolution_within_a_block_reads_the_norm_before_it() {
        for (network, tensor, norm) in [
            (
                "efficientnet_lite0",
                "_blocks.0._project_conv.weight",
                "_blocks.0._bn1.weight",
            ),
            (
                "efficientnet_lite0",
                "_blocks.3._project_conv.weight",
                "_blocks.3._bn1.weight",
            ),
            ("resnet18", "layer2.0.conv2.weight", "layer2.0.bn1.weight"),
            ("resnet50", "layer1.1.conv3.weight", "layer1.1.bn2.weight"),
        ] {
            assert_eq!(read_by(network, tensor), Some(norm), "{tensor}");
        }
    }

    #[test]
    fn what_may_have_been_added_to_a_shortcut_is_no_norms_output() {
        for (network, tensor) in [
            ("efficientnet_lite0", "_conv_stem.weight"),
            ("efficientnet_lite0", "_blocks.3._depthwise_conv.weight"),
            ("efficientnet_lite0", "_blocks.3._expand_conv.weight"),
            ("efficientnet_lite0", "_conv_head.weight"),
            ("efficientnet_lite0", "_blocks.3._bn1.bias"),
            ("resnet18", "layer1.1.conv1.weight"),
            ("resnet18", "layer2.0.downsample.0.weight"),
            ("resnet50", "layer1.1.conv1.weight"),
            ("resnet50", "layer1.0.downsample.0.weight"),
        ] {
            assert_eq!(read_by(network, tensor), None, "{tensor}");
        }
    }

    #[test]
    fn a_norm_that_is_read_has_a_summand_for_every_factor() {
        for name in names() {
            let architecture = architecture(name).unwrap();
            for norm in (0..architecture.tensors.len()).filter_map(|index| architecture.norm_read_by(index)) {
                let [factors, summands] = [norm, norm + 1].map(|index| &architecture.tensors[index]);
                assert_eq!([factors.role, summands.role], [Role::NormWeight, Role::NormBias]);
                assert_eq!(factors.len(), summands.len(), "{name}");
            }
        }
    }
}
