//! Vision transformers as in timm.

use tch::{Kind, Tensor};

use super::DropConnect;
use super::layers::{Layers, drop_connect};
use crate::base::architecture::{Family, VisionTransformer};
use crate::train::TrainError;

/// `input` `[batch, 3, height, width]` to the class token after the final
/// LayerNorm, `[batch, width]`.
pub(super) fn vision_transformer(
    layers: &mut Layers,
    plan: &VisionTransformer,
    input: &Tensor,
    drop: Option<DropConnect>,
) -> Result<Tensor, TrainError> {
    let epsilon = plan.epsilon();
    let mut x = tokens(layers, plan, input)?;
    if matches!(plan.family, Family::Clip { .. }) {
        x = layers.layer_norm(&x, epsilon)?;
    }
    for block in 0..plan.depth {
        let branches = [attention, perceptron];
        for (branch, compute) in branches.into_iter().enumerate() {
            let normed = layers.layer_norm(&x, epsilon)?;
            let mut y = compute(layers, plan, &normed)?;
            if matches!(plan.family, Family::DinoV2 { .. }) {
                y = y.f_mul(layers.next())?;
            }
            if let Some(drop) = drop {
                y = drop_connect(&y, drop, (block, plan.depth), 2 * block + branch)?;
            }
            x = x.f_add(&y)?;
        }
    }
    // Only the class token is read from here on, and LayerNorm is token by token.
    layers.layer_norm(&x.f_select(1, 0)?, epsilon)
}

/// Class token, registers and patches with their positions, `[batch, tokens, width]`.
fn tokens(layers: &mut Layers, plan: &VisionTransformer, input: &Tensor) -> Result<Tensor, TrainError> {
    let [batch, _, height, width] =
        <[i64; 4]>::try_from(input.size()).expect("pictures are [batch, 3, height, width]");
    let patch = plan.patch as i64;
    let repeated = |token: &Tensor| token.f_expand([batch, -1, -1], false);
    let mut first = vec![repeated(layers.next())?];
    if plan.registers() > 0 {
        first.push(repeated(layers.next())?);
    }
    let prefix = i64::from(plan.class_has_position());
    let positions = resampled(
        layers.next(),
        plan.grid as i64,
        [height / patch, width / patch],
        prefix,
    )?;
    let kernel = layers.next();
    let bias = match plan.family {
        Family::Clip { .. } => None,
        Family::Plain | Family::DinoV2 { .. } => Some(layers.next()),
    };
    let patches = input.f_conv2d(kernel, bias, patch, 0, 1, 1)?;
    let mut patches = patches.f_flatten(2, 3)?.f_transpose(1, 2)?;
    if !plan.class_has_position() {
        patches = patches.f_add(&positions)?;
    }
    first.push(patches);
    let tokens = Tensor::f_cat(&first, 1)?;
    if plan.class_has_position() {
        return Ok(tokens.f_add(&positions)?);
    }
    Ok(tokens)
}

/// `positions` `[1, prefix + grid², width]` for another grid, as timm does it:
/// bicubic, antialiased; those of the first `prefix` tokens stay.
fn resampled(positions: &Tensor, grid: i64, to: [i64; 2], prefix: i64) -> Result<Tensor, TrainError> {
    if to == [grid, grid] {
        return Ok(positions.shallow_clone());
    }
    let width = positions.size()[2];
    let own = positions.f_narrow(1, 0, prefix)?;
    // No library resamples in less than float32.
    let map = (positions.f_narrow(1, prefix, grid * grid)?)
        .f_to_kind(Kind::Float)?
        .f_reshape([1, grid, grid, width])?
        .f_permute([0, 3, 1, 2])?;
    let map = map.f_internal_upsample_bicubic2d_aa(to, false, None::<f64>, None::<f64>)?;
    let rest = map.f_permute([0, 2, 3, 1])?.f_reshape([1, -1, width])?;
    let rest = rest.f_to_kind(positions.kind())?;
    Ok(Tensor::f_cat(&[own, rest], 1)?)
}

/// Self-attention; queries, keys and values come from one matrix.
fn attention(layers: &mut Layers, plan: &VisionTransformer, x: &Tensor) -> Result<Tensor, TrainError> {
    let [batch, tokens, width] = <[i64; 3]>::try_from(x.size()).expect("tokens are [batch, tokens, width]");
    let heads = plan.heads as i64;
    // Written out: libtorch's fused kernels add up gradients in no fixed order on CUDA.
    let parts = (layers.linear(x)?)
        .f_reshape([batch, tokens, 3, heads, width / heads])?
        .f_permute([2, 0, 3, 1, 4])?;
    let [queries, keys, values] = [0, 1, 2].map(|part| parts.f_select(0, part));
    let queries = queries?.f_mul_scalar(((width / heads) as f64).powf(-0.5))?;
    let weights = queries
        .f_matmul(&keys?.f_transpose(-2, -1)?)?
        .f_softmax(-1, None::<Kind>)?;
    let mixed = weights.f_matmul(&values?)?;
    let joined = mixed.f_transpose(1, 2)?.f_reshape([batch, tokens, width])?;
    layers.linear(&joined)
}

/// Linear, GELU, linear.
fn perceptron(layers: &mut Layers, plan: &VisionTransformer, x: &Tensor) -> Result<Tensor, TrainError> {
    let wide = layers.linear(x)?;
    let active = match plan.family {
        Family::Clip { quick_gelu: true } => wide.f_mul(&wide.f_mul_scalar(1.702)?.f_sigmoid()?)?,
        _ => wide.f_gelu("none")?,
    };
    layers.linear(&active)
}
