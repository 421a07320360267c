//! Which tensors a recipe masks.

use super::TrainError;
use super::recipe::MaskRule;
use crate::base::{Architecture, Role, TensorSpec};

/// Canonical indices of the tensors that `rule` masks, in canonical order:
///
/// 1. what `include` names; without it, convolutions that are not depthwise,
///    and the matrices of linear layers. Nothing but kernels and matrices, ever
///    ([`Role::is_maskable`]);
/// 2. without what `exclude` names;
/// 3. without the first `skip_first` of these;
/// 4. of these, the fewest from the output end that hold `share` of their weights.
///
/// A pattern that matches nothing is refused, and so is a rule that leaves nothing.
pub fn masked_tensors(rule: &MaskRule, architecture: &Architecture) -> Result<Vec<usize>, TrainError> {
    let specs = &architecture.tensors;
    let maskable = || (0..specs.len()).filter(|index| specs[*index].role.is_maskable());
    for pattern in rule.include.iter().chain(&rule.exclude) {
        if !maskable().any(|index| matches(pattern, &specs[index].name)) {
            return Err(TrainError::NoSuchTensor {
                pattern: pattern.clone(),
                architecture: architecture.name,
                example: maskable().map(|index| specs[index].name.clone()).next_back(),
            });
        }
    }
    let named =
        |patterns: &[String], spec: &TensorSpec| patterns.iter().any(|pattern| matches(pattern, &spec.name));
    let included = |spec: &TensorSpec| match spec.role {
        _ if !rule.include.is_empty() => named(&rule.include, spec),
        Role::Convolution { groups } => groups == 1,
        role => role == Role::Linear,
    };
    let chosen: Vec<usize> = maskable()
        .filter(|index| included(&specs[*index]) && !named(&rule.exclude, &specs[*index]))
        .skip(rule.skip_first)
        .collect();
    let weights: usize = chosen.iter().map(|index| specs[*index].len()).sum();
    let wanted = rule.share * weights as f64;
    let mut held = 0;
    let from_the_end = chosen.iter().rev().take_while(|index| {
        let is_needed = (held as f64) < wanted;
        held += specs[**index].len();
        is_needed
    });
    let first = chosen.len() - from_the_end.count();
    if first == chosen.len() {
        return Err(TrainError::NothingToMask(architecture.name));
    }
    Ok(chosen[first..].to_vec())
}

/// Whether a name is what a pattern describes: `*` stands for any text, dots
/// included, `?` for any one character, everything else for itself.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut read) = (0, 0);
    // The latest star, and the first character of the name that it does not stand for.
    let mut star = None;
    while read < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[read] => (at, read) = (at + 1, read + 1),
            _ => match star {
                Some((star_at, from)) => {
                    star = Some((star_at, from + 1));
                    (at, read) = (star_at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
