use proptest::prelude::*;

use super::*;
use crate::base::architecture;
use crate::train::Recipe;

/// The default rule with other choices.
fn rule(include: &[&str], exclude: &[&str], skip_first: usize, share: f64) -> MaskRule {
    let owned = |patterns: &[&str]| patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
    MaskRule {
        include: owned(include),
        exclude: owned(exclude),
        skip_first,
        share,
        ..Recipe::factory().mask
    }
}

fn names(rule: &MaskRule, architecture_name: &str) -> Vec<String> {
    let architecture = architecture(architecture_name).unwrap();
    let masked = masked_tensors(rule, architecture).unwrap();
    let name = |index: usize| architecture.tensors[index].name.clone();
    masked.into_iter().map(name).collect()
}

fn weights(rule: &MaskRule, architecture_name: &str) -> usize {
    let architecture = architecture(architecture_name).unwrap();
    let masked = masked_tensors(rule, architecture).unwrap();
    masked
        .into_iter()
        .map(|index| architecture.tensors[index].len())
        .sum()
}

#[test]
fn a_transformer_is_masked_in_attention_and_perceptrons_and_nowhere_else() {
    for name in crate::base::architecture::names().filter(|name| name.starts_with("vit_")) {
        let masked = names(&rule(&[], &[], 0, 1.0), name);
        assert_eq!(masked.len(), 4 * 12, "{name}");
        for block in masked.chunks(4) {
            let part = |tensor: &String| tensor.splitn(3, '.').nth(2).unwrap().to_owned();
            let parts: Vec<_> = block.iter().map(part).collect();
            let all = [
                "attn.qkv.weight",
                "attn.proj.weight",
                "mlp.fc1.weight",
                "mlp.fc2.weight",
            ];
            assert_eq!(parts, all, "{name}");
        }
    }
}

#[test]
fn the_patch_embedding_and_depthwise_convolutions_are_masked_where_a_recipe_names_them() {
    let patches = rule(&["patch_embed.*", "blocks.11.*"], &[], 0, 1.0);
    let masked = names(&patches, "vit_small_patch16_224");
    assert_eq!(masked.len(), 5);
    assert_eq!(masked[0], "patch_embed.proj.weight");
    let depthwise = names(&rule(&["*_depthwise_conv*"], &[], 0, 1.0), "efficientnet_lite0");
    assert_eq!(depthwise.len(), 16);
    assert!(
        depthwise
            .iter()
            .all(|name| name.ends_with("_depthwise_conv.weight"))
    );
}

#[test]
fn whatever_is_included_norms_biases_and_tokens_stay() {
    for name in crate::base::architecture::names() {
        let architecture = architecture(name).unwrap();
        for index in masked_tensors(&rule(&["*"], &[], 0, 1.0), architecture).unwrap() {
            let spec = &architecture.tensors[index];
            assert!(
                spec.shape.len() > 1 && spec.name.ends_with(".weight"),
                "{}",
                spec.name
            );
        }
    }
}

#[test]
fn what_is_excluded_is_left_out_before_the_first_are_skipped() {
    let all = names(&rule(&[], &[], 0, 1.0), "resnet18");
    let chosen = names(&rule(&[], &["layer1.*", "*downsample*"], 1, 1.0), "resnet18");
    // 20 convolutions, less 4 and 3, less the stem.
    assert_eq!((all.len(), chosen.len()), (20, 12));
    assert_eq!(chosen[0], "layer2.0.conv1.weight");
}

#[test]
fn a_share_is_taken_as_whole_tensors_from_the_output_end() {
    let all = names(&rule(&[], &[], 0, 1.0), "resnet18");
    let whole = weights(&rule(&[], &[], 0, 1.0), "resnet18");
    // layer4 ends with convolutions of 512 × 512 × 9 weights: one alone is .211 of the whole.
    assert_eq!(names(&rule(&[], &[], 0, 0.2), "resnet18"), all[19..]);
    for share in [0.01, 0.3, 0.5, 0.99, 1.0] {
        let rule = rule(&[], &[], 0, share);
        let chosen = names(&rule, "resnet18");
        assert_eq!(chosen, all[all.len() - chosen.len()..], "{share}");
        let held = weights(&rule, "resnet18") as f64 / whole as f64;
        assert!(held >= share, "{share}: {held}");
    }
}

#[test]
fn a_pattern_without_a_tensor_is_named_and_an_empty_choice_refused() {
    let vit = architecture("vit_small_patch16_224").unwrap();
    // A tensor of that name exists, but none may be masked.
    for (include, exclude) in [
        (&["layer1.*"][..], &[][..]),
        (&[], &["layer1.*"]),
        (&["norm.weight"], &[]),
    ] {
        let pattern = include.iter().chain(exclude).next().unwrap();
        let said = masked_tensors(&rule(include, exclude, 0, 1.0), vit)
            .unwrap_err()
            .to_string();
        assert!(
            said.contains(&format!("`{pattern}`")) && said.contains("`blocks.11.mlp.fc2.weight`"),
            "{said}"
        );
    }
    for nothing in [rule(&[], &["*"], 0, 1.0), rule(&[], &[], 1000, 1.0)] {
        let said = masked_tensors(&nothing, vit).unwrap_err().to_string();
        assert!(said.contains("nothing to mask"), "{said}");
    }
}

#[test]
fn patterns_have_two_wildcards() {
    for (pattern, name, fits) in [
        ("blocks.?.attn.*", "blocks.3.attn.qkv.weight", true),
        ("blocks.?.attn.*", "blocks.11.attn.qkv.weight", false),
        ("*.conv?.weight", "layer1.0.conv2.weight", true),
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("?", "", false),
        ("conv1.weight", "conv1.weight", true),
        ("conv1", "conv1.weight", false),
        ("conv1.weight", "layer1.0.conv1.weight", false),
        ("*a*b", "xaybzb", true),
        ("*a*b", "xaybz", false),
        ("a.b", "axb", false),
    ] {
        assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
    }
}

/// The definition, without regard to time.
fn by_definition(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, rest) => rest.is_none(),
        (Some(('*', after)), _) => (0..=name.len()).any(|length| by_definition(after, &name[length..])),
        (Some((c, after)), Some((n, rest))) => (*c == '?' || c == n) && by_definition(after, rest),
        (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn patterns_match_what_they_define(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &name), by_definition(&chars(&pattern), &chars(&name)));
    }
}
