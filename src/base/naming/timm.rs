//! timm's names of inverted-residual networks (`tf_efficientnet_lite…`,
//! `mobilenetv2_100`). Its ResNets have torchvision's names, which are ours.

use crate::base::architecture::InvertedResidual;

/// A module of an inverted-residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Module {
    Stem,
    StemNorm,
    /// A part of a block, counted over all stages.
    Block(usize, Part),
    Head,
    HeadNorm,
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Expand,
    ExpandNorm,
    Depthwise,
    DepthwiseNorm,
    Project,
    ProjectNorm,
}

/// The module of timm's that the tensor `name` belongs to, and the rest of the name (`weight`, …).
pub(super) fn module<'n>(stages: &[Vec<InvertedResidual>], name: &'n str) -> Option<(Module, &'n str)> {
    let (module, rest) = name.rsplit_once('.')?;
    let module = match module {
        "conv_stem" => Module::Stem,
        "bn1" => Module::StemNorm,
        "conv_head" => Module::Head,
        "bn2" => Module::HeadNorm,
        _ => {
            let mut parts = module.strip_prefix("blocks.")?.split('.');
            let stage: usize = parts.next()?.parse().ok()?;
            let block: usize = parts.next()?.parse().ok()?;
            let part = parts.next()?;
            if parts.next().is_some() || block >= stages.get(stage)?.len() {
                return None;
            }
            // The first stage has no expansion, so everything moves up by one.
            let part = match (stage, part) {
                (_, "conv_dw") => Part::Depthwise,
                (0, "bn1") | (1.., "bn2") => Part::DepthwiseNorm,
                (0, "conv_pw") | (1.., "conv_pwl") => Part::Project,
                (0, "bn2") | (1.., "bn3") => Part::ProjectNorm,
                (_, "conv_pw") => Part::Expand,
                (_, "bn1") => Part::ExpandNorm,
                _ => return None,
            };
            let before: usize = stages[..stage].iter().map(Vec::len).sum();
            Module::Block(before + block, part)
        }
    };
    Some((module, rest))
}

/// The name that the Python package `efficientnet-lite-pytorch` gives.
pub(super) fn efficientnet_lite(module: Module, rest: &str) -> String {
    match module {
        Module::Stem => format!("_conv_stem.{rest}"),
        Module::StemNorm => format!("_bn0.{rest}"),
        Module::Head => format!("_conv_head.{rest}"),
        Module::HeadNorm => format!("_bn1.{rest}"),
        Module::Block(index, part) => {
            let part = match part {
                Part::Expand => "_expand_conv",
                Part::ExpandNorm => "_bn0",
                Part::Depthwise => "_depthwise_conv",
                Part::DepthwiseNorm => "_bn1",
                Part::Project => "_project_conv",
                Part::ProjectNorm => "_bn2",
            };
            format!("_blocks.{index}.{part}.{rest}")
        }
    }
}

/// The name that torchvision gives.
pub(super) fn mobilenet_v2(stages: &[Vec<InvertedResidual>], module: Module, rest: &str) -> String {
    let last = stages.iter().map(Vec::len).sum::<usize>() + 1;
    match module {
        Module::Stem => format!("features.0.0.{rest}"),
        Module::StemNorm => format!("features.0.1.{rest}"),
        Module::Head => format!("features.{last}.0.{rest}"),
        Module::HeadNorm => format!("features.{last}.1.{rest}"),
        Module::Block(index, part) => {
            let part = match (index, part) {
                // The first block has no expansion.
                (0, Part::Depthwise) | (_, Part::Expand) => "0.0",
                (0, Part::DepthwiseNorm) | (_, Part::ExpandNorm) => "0.1",
                (0, Part::Project) => "1",
                (0, Part::ProjectNorm) | (_, Part::Project) => "2",
                (_, Part::Depthwise) => "1.0",
                (_, Part::DepthwiseNorm) => "1.1",
                (_, Part::ProjectNorm) => "3",
            };
            format!("features.{}.conv.{part}.{rest}", index + 1)
        }
    }
}
