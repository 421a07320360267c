//! Vision transformers with timm's names (arXiv 2010.11929).

use super::table::Table;
use super::{Architecture, Colours, Plan, Role};

/// Blocks of every transformer here: small and base alike.
const DEPTH: usize = 12;
/// Channels of one head of attention: small and base alike.
const HEAD: usize = 64;

/// How a vision transformer is built: patches, tokens, pre-norm blocks, a final LayerNorm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionTransformer {
    /// Number of blocks.
    pub depth: usize,
    /// Length of a token.
    pub width: usize,
    /// Heads of attention.
    pub heads: usize,
    /// Edge length of a patch in pixels.
    pub patch: usize,
    /// Edge length, in patches, that the position embedding was learned for.
    pub grid: usize,
    /// What sets it apart from the plain one.
    pub family: Family,
}

/// What sets families of transformers apart that have the same blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// As in the paper; DINO's, too.
    Plain,
    /// DINOv2: each branch of a block is scaled (`LayerScale`). With registers,
    /// the class token and they have no position.
    DinoV2 {
        /// Further tokens that nobody reads (arXiv 2309.16588).
        registers: usize,
    },
    /// The image tower of CLIP: a LayerNorm before the blocks, patches without bias.
    Clip {
        /// GELU as x · σ(1.702 x), which OpenAI's weights were trained with.
        quick_gelu: bool,
    },
}

impl VisionTransformer {
    /// LayerNorm's ε.
    pub fn epsilon(&self) -> f64 {
        match self.family {
            Family::Clip { .. } => 1e-5,
            Family::Plain | Family::DinoV2 { .. } => 1e-6,
        }
    }

    /// Tokens beside those of patches that nobody reads.
    pub fn registers(&self) -> usize {
        match self.family {
            Family::DinoV2 { registers } => registers,
            Family::Plain | Family::Clip { .. } => 0,
        }
    }

    /// Whether the position embedding begins with one of the class token.
    pub fn class_has_position(&self) -> bool {
        self.registers() == 0
    }
}

/// A transformer of `width` with patches of `patch` pixels, called as timm calls it.
pub(super) fn vision_transformer(
    name: &'static str,
    width: usize,
    patch: usize,
    nominal_size: u32,
    family: Family,
    colours: Colours,
) -> Architecture {
    let plan = VisionTransformer {
        depth: DEPTH,
        width,
        heads: width / HEAD,
        patch,
        grid: nominal_size as usize / patch,
        family,
    };
    Architecture {
        name,
        tensors: tensors(&plan),
        plan: Plan::VisionTransformer(plan),
        embedding_dim: width,
        nominal_size,
        colours,
    }
}

fn tensors(plan: &VisionTransformer) -> Vec<super::TensorSpec> {
    let VisionTransformer { width, patch, .. } = *plan;
    let clip = matches!(plan.family, Family::Clip { .. });
    let scaled = matches!(plan.family, Family::DinoV2 { .. });
    let mut table = Table::default();
    table.push("cls_token", &[1, 1, width], Role::Token);
    if plan.registers() > 0 {
        table.push("reg_token", &[1, plan.registers(), width], Role::Token);
    }
    let positions = plan.grid * plan.grid + usize::from(plan.class_has_position());
    table.push("pos_embed", &[1, positions, width], Role::Position);
    table.push(
        "patch_embed.proj.weight",
        &[width, 3, patch, patch],
        Role::PatchEmbedding,
    );
    if clip {
        table.layer_norm("norm_pre", width);
    } else {
        table.push("patch_embed.proj.bias", &[width], Role::Bias);
    }
    for block in 0..plan.depth {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let scale = |table: &mut Table, part: &str| {
            if scaled {
                table.push(name(part), &[width], Role::LayerScale);
            }
        };
        table.layer_norm(&name("norm1"), width);
        table.linear(&name("attn.qkv"), 3 * width, width);
        table.linear(&name("attn.proj"), width, width);
        scale(&mut table, "ls1.gamma");
        table.layer_norm(&name("norm2"), width);
        table.linear(&name("mlp.fc1"), 4 * width, width);
        table.linear(&name("mlp.fc2"), width, 4 * width);
        scale(&mut table, "ls2.gamma");
    }
    table.layer_norm("norm", width);
    table.tensors()
}
