//! Names and layouts of transformers that timm converts when it loads them.

use crate::base::architecture::VisionTransformer;
use crate::base::checkpoint::FileTensors;

/// The canonical name of a tensor of CLIP's image tower; names of timm's stay
/// as they are. `None`: the text tower, or a projection into the space of both.
pub(super) fn of_clip(name: &str) -> Option<String> {
    const TEXT: [&str; 6] = [
        "transformer.",
        "token_embedding.",
        "positional_embedding",
        "ln_final.",
        "text_projection",
        "logit_scale",
    ];
    let Some(name) = name.strip_prefix("visual.") else {
        let of_text = TEXT.iter().any(|part| name.starts_with(part));
        return (!of_text).then(|| name.to_owned());
    };
    let ours = match name {
        "proj" => return None,
        "class_embedding" => "cls_token",
        "positional_embedding" => "pos_embed",
        "conv1.weight" => "patch_embed.proj.weight",
        "ln_pre.weight" => "norm_pre.weight",
        "ln_pre.bias" => "norm_pre.bias",
        "ln_post.weight" => "norm.weight",
        "ln_post.bias" => "norm.bias",
        _ => {
            let block = name.strip_prefix("transformer.resblocks.");
            let ours = block
                .and_then(|block| block.split_once('.'))
                .and_then(|(index, part)| Some(format!("blocks.{index}.{}", block_part_of_clip(part)?)));
            return Some(ours.unwrap_or_else(|| format!("visual.{name}")));
        }
    };
    Some(ours.to_owned())
}

fn block_part_of_clip(part: &str) -> Option<String> {
    // The fused projection of queries, keys and values is no module of its own there.
    if let Some(rest) = part.strip_prefix("attn.in_proj_") {
        return Some(format!("attn.qkv.{rest}"));
    }
    let (module, rest) = part.rsplit_once('.')?;
    let ours = match module {
        "ln_1" => "norm1",
        "ln_2" => "norm2",
        "attn.out_proj" => "attn.proj",
        "mlp.c_fc" => "mlp.fc1",
        "mlp.c_proj" => "mlp.fc2",
        _ => return None,
    };
    Some(format!("{ours}.{rest}"))
}

/// The canonical name of a tensor that DINOv2's own checkpoints call otherwise.
pub(super) fn of_dinov2(name: &str) -> Option<String> {
    (name == "register_tokens").then(|| "reg_token".to_owned())
}

/// DINOv2's own checkpoints give the class token a position even where it has
/// registers; that sum never changes, so it becomes the class token, as in timm.
pub(in crate::base) fn fold_class_position(plan: &VisionTransformer, tensors: &mut FileTensors) {
    let with_class = [1, plan.grid * plan.grid + 1, plan.width];
    if plan.class_has_position() {
        return;
    }
    let (Some(positions), Some(class)) = (tensors.get("pos_embed"), tensors.get("cls_token")) else {
        return;
    };
    let (Ok(rows), Ok(token)) = (&positions.elements, &class.elements) else {
        return;
    };
    if positions.shape != with_class || token.len() != plan.width {
        return;
    }
    let (first, rest) = rows.split_at(plan.width);
    let sum = token.iter().zip(first).map(|(token, position)| token + position);
    let (sum, rest) = (sum.collect(), rest.to_vec());
    let replace = |tensors: &mut FileTensors, name: &str, elements: Vec<f32>, length: usize| {
        if let Some(tensor) = tensors.get_mut(name) {
            tensor.shape = vec![1, length, plan.width];
            tensor.elements = Ok(elements);
        }
    };
    replace(tensors, "cls_token", sum, 1);
    replace(tensors, "pos_embed", rest, plan.grid * plan.grid);
}
