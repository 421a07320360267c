//! Inverted-residual blocks, which EfficientNet-Lite and MobileNetV2 consist of.

/// One inverted-residual block: expand, depthwise convolution, project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvertedResidual {
    /// Edge length of the depthwise kernel.
    pub kernel: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
    /// Factor by which the expansion widens; 1 means that there is none.
    pub expand: usize,
    /// Channels in.
    pub input: usize,
    /// Channels out.
    pub output: usize,
}

impl InvertedResidual {
    /// Whether input and output are added: same shape on both sides.
    pub fn has_shortcut(&self) -> bool {
        self.stride == 1 && self.input == self.output
    }
}

/// Blocks that follow each other with the same number of channels out.
pub(super) struct Stage {
    pub(super) repeats: usize,
    pub(super) kernel: usize,
    /// That of the first block; the others have 1.
    pub(super) stride: usize,
    pub(super) expand: usize,
    pub(super) output: usize,
}

/// The blocks of each stage, the first of which is given `input` channels.
pub(super) fn inverted_residuals(
    mut input: usize,
    stages: impl Iterator<Item = Stage>,
) -> Vec<Vec<InvertedResidual>> {
    let blocks = |stage: Stage| {
        let block = |repeat: usize| InvertedResidual {
            kernel: stage.kernel,
            stride: if repeat == 0 { stage.stride } else { 1 },
            expand: stage.expand,
            input: if repeat == 0 { input } else { stage.output },
            output: stage.output,
        };
        let blocks = (0..stage.repeats).map(block).collect();
        input = stage.output;
        blocks
    };
    stages.map(blocks).collect()
}
