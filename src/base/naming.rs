//! Names that others give to the tensors of an architecture.
//!
//! A file may wrap its names (`module.` of a data-parallel training) or be
//! written by timm, whose EfficientNets count blocks within their stage.
//! timm's ResNets have torchvision's names, which are ours.

use super::Architecture;
use super::architecture::{InvertedResidual, Plan};

/// The canonical name of the tensor that a file calls `name`; `None` if it is
/// no part of a base: a classifier's, or a counter that no inference reads.
pub fn canonical_name(architecture: &Architecture, name: &str) -> Option<String> {
    let name = name.strip_prefix("module.").unwrap_or(name);
    if name.ends_with("num_batches_tracked") || name.starts_with(architecture.head_prefix) {
        return None;
    }
    match &architecture.plan {
        Plan::EfficientNetLite { .. } if name.starts_with("classifier.") => None,
        Plan::EfficientNetLite { stages } => Some(of_timm(stages, name).unwrap_or_else(|| name.to_owned())),
        Plan::ResNet { .. } => Some(name.to_owned()),
    }
}

/// The canonical name of a tensor of timm's `tf_efficientnet_lite…`, if it is one.
fn of_timm(stages: &[Vec<InvertedResidual>], name: &str) -> Option<String> {
    let (module, part) = name.rsplit_once('.')?;
    let ours = match module {
        "conv_stem" => "_conv_stem".to_owned(),
        "bn1" => "_bn0".to_owned(),
        "conv_head" => "_conv_head".to_owned(),
        "bn2" => "_bn1".to_owned(),
        _ => {
            let mut parts = module.strip_prefix("blocks.")?.split('.');
            let stage: usize = parts.next()?.parse().ok()?;
            let block: usize = parts.next()?.parse().ok()?;
            let module = parts.next()?;
            if parts.next().is_some() || block >= stages.get(stage)?.len() {
                return None;
            }
            // The first stage has no expansion, so everything moves up by one.
            let ours = match (stage, module) {
                (_, "conv_dw") => "_depthwise_conv",
                (0, "bn1") | (1.., "bn2") => "_bn1",
                (0, "conv_pw") | (1.., "conv_pwl") => "_project_conv",
                (0, "bn2") | (1.., "bn3") => "_bn2",
                (_, "conv_pw") => "_expand_conv",
                (_, "bn1") => "_bn0",
                _ => return None,
            };
            let index = stages[..stage].iter().map(Vec::len).sum::<usize>() + block;
            format!("_blocks.{index}.{ours}")
        }
    };
    Some(format!("{ours}.{part}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::base::architecture;

    #[test]
    fn timms_names_reach_every_tensor_once() {
        // timm's blocks of each stage.
        for (name, stages) in [
            ("efficientnet_lite0", [1, 2, 2, 3, 3, 4, 1]),
            ("efficientnet_lite1", [1, 3, 3, 4, 4, 5, 1]),
            ("efficientnet_lite2", [1, 3, 3, 4, 4, 5, 1]),
        ] {
            let lite = architecture(name).unwrap();
            assert_eq!(from_timm(lite, &stages), ours(lite), "{name}");
        }
    }

    fn ours(architecture: &Architecture) -> HashSet<String> {
        architecture
            .tensors
            .iter()
            .map(|spec| spec.name.clone())
            .collect()
    }

    /// The canonical names of all tensors that timm has.
    fn from_timm(lite: &Architecture, stages: &[usize]) -> HashSet<String> {
        let mut modules = vec!["conv_stem", "bn1", "conv_head", "bn2"]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        for (stage, blocks) in stages.iter().enumerate() {
            let parts: &[&str] = match stage {
                0 => &["conv_dw", "bn1", "conv_pw", "bn2"],
                _ => &["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"],
            };
            for block in 0..*blocks {
                modules.extend(parts.iter().map(|part| format!("blocks.{stage}.{block}.{part}")));
            }
        }
        let mut found = HashSet::new();
        for module in modules {
            let parts: &[&str] = if module.contains("conv") {
                &["weight"]
            } else {
                &["weight", "bias", "running_mean", "running_var"]
            };
            for part in parts {
                found.insert(canonical_name(lite, &format!("{module}.{part}")).unwrap());
            }
        }
        found
    }

    #[test]
    fn heads_and_counters_are_no_part_of_a_base() {
        let lite0 = architecture("efficientnet_lite0").unwrap();
        let resnet = architecture("resnet18").unwrap();
        for (architecture, name) in [
            (lite0, "_fc.weight"),
            (lite0, "classifier.bias"),
            (lite0, "_bn0.num_batches_tracked"),
            (resnet, "module.fc.weight"),
        ] {
            assert_eq!(canonical_name(architecture, name), None, "{name}");
        }
        assert_eq!(
            canonical_name(resnet, "module.conv1.weight").as_deref(),
            Some("conv1.weight")
        );
    }
}
