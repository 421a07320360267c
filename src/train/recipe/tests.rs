use super::*;
use crate::base::architecture;

#[test]
fn the_default_masks_what_was_measured_to_help() {
    let lite0 = architecture("efficientnet_lite0").unwrap();
    let masked = Recipe::factory().masked_tensors(lite0).unwrap();
    let weights: usize = masked.iter().map(|index| lite0.tensors[*index].len()).sum();
    assert!((3_000_000..3_300_000).contains(&weights), "{weights}");
}

#[test]
fn a_misspelt_field_and_a_senseless_number_are_refused() {
    let good = include_str!("../../../recipes/factory.toml");
    let said = Recipe::parse(&good.replace("temperature", "temprature"))
        .unwrap_err()
        .to_string();
    assert!(said.contains("temprature"), "{said}");
    for (right, wrong) in [
        ("steps = 400", "steps = 30"),
        ("rate = 0.0007", "rate = -1.0"),
        ("rate = 0.15", "rate = nan"),
        ("momentum = 0.9", "momentum = inf"),
        ("output = 128", "output = 0"),
        ("hidden = 512", "hidden = 0"),
    ] {
        assert!(Recipe::parse(&good.replace(right, wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn evidence_weighs_single_weights_and_prices_the_loss_as_it_is() {
    let factory = include_str!("../../../recipes/factory.toml");
    let evidence = |price: f64, more: &str| {
        let rule = "window = 10, confidence = 4.0, most = 30, order = \"benefit\"";
        let rule = format!("rule = \"evidence\"\nevidence = {{ {rule}, price = {price:?} }}\n{more}");
        Recipe::parse(&factory.replace("normalise = true", &rule))
    };
    evidence(0.0, "normalise = true").unwrap();
    evidence(0.1, "normalise = false").unwrap();
    for (price, more, word) in [
        (0.1, "normalise = true", "nats"),
        (
            0.0,
            "normalise = true\ngranularity = \"filter\"",
            "single weights",
        ),
    ] {
        let said = evidence(price, more).unwrap_err().to_string();
        assert!(said.contains(word), "{said}");
    }
    let with = |precision| Recipe {
        precision,
        ..evidence(0.0, "normalise = true").unwrap()
    };
    with(Precision::Bfloat16).checked().unwrap();
    let said = with(Precision::Float16).checked().unwrap_err().to_string();
    assert!(said.contains("float16"), "{said}");
    let said = with(Precision::Float32)
        .within(8)
        .checked()
        .unwrap_err()
        .to_string();
    assert!(said.contains("longer than the steps"), "{said}");
}

#[test]
fn codes_need_a_round() {
    let factory = include_str!("../../../recipes/factory.toml");
    let said = Recipe::parse(&factory.replace("rounds = 3", "rounds = 0")).unwrap_err();
    assert!(said.to_string().contains("swav.rounds"), "{said}");
}

#[test]
fn a_recipe_that_fine_tunes_says_so_and_how() {
    let factory = include_str!("../../../recipes/factory.toml");
    let mode = format!("mode = \"finetune\"\n{factory}");
    let rule = format!("{factory}\n[finetune]\nrate = 0.01\nmomentum = 0.9\n");
    for half in [&mode, &rule] {
        let said = Recipe::parse(half).unwrap_err().to_string();
        assert!(said.contains("belong together"), "{said}");
    }
    let whole = Recipe::parse(&format!("mode = \"finetune\"\n{rule}")).unwrap();
    assert_eq!(whole.mode, Mode::Finetune);
    assert_ne!(whole.digest(), Recipe::factory().digest());
}

#[test]
fn a_budget_keeps_the_proportions_of_the_beginning() {
    let schedule = |steps| {
        let Schedule {
            steps,
            warm_up,
            prototypes_frozen,
            ..
        } = Recipe::factory().within(steps).checked().unwrap().schedule;
        [steps, warm_up, prototypes_frozen]
    };
    assert_eq!(schedule(0), [400, 30, 20]);
    assert_eq!(schedule(24), [24, 2, 1]);
    assert_eq!(schedule(1), [1, 0, 0]);
    assert_eq!(
        schedule(800),
        [800, 30, 20],
        "a longer training has no longer warm-up"
    );
    let paper = || Recipe::named("paper-resnet50").unwrap().over(6_400);
    for steps in 1..300 {
        assert!(Recipe::factory().within(steps).checked().is_ok());
        assert!(paper().within(steps).checked().is_ok());
    }
}

#[test]
fn epochs_are_steps_of_whole_batches() {
    let paper = || Recipe::named("paper-resnet50").unwrap();
    assert_eq!(paper().schedule.epochs, Some(150));
    let over = paper().over(6_463).checked().unwrap().schedule;
    assert_eq!((over.steps, over.epochs), (15_000, None));
    assert_eq!(paper().over(3).schedule.steps, 150, "fewer than a batch make one");
    assert_eq!(paper().over(6_400).within(150).schedule.prototypes_frozen, 3);
    assert_eq!(Recipe::factory().over(6_400), Recipe::factory());
    let quick = include_str!("../../../recipes/quick.toml");
    for wrong in ["steps = 12\nepochs = 3", "epochs = 0", ""] {
        let said = Recipe::parse(&quick.replace("steps = 12", wrong)).unwrap_err();
        assert!(said.to_string().contains("steps or epochs"), "{wrong}: {said}");
    }
}

#[test]
fn recipes_have_names() {
    for name in crate::domain::job::RECIPES {
        assert!(Recipe::named(name).is_ok(), "{name}");
    }
    let said = Recipe::named("papper").unwrap_err().to_string();
    assert!(
        said.contains("papper") && said.contains("paper-resnet50"),
        "{said}"
    );
    assert_eq!(Recipe::named("factory").unwrap(), Recipe::factory());
}

#[test]
fn the_papers_recipe_masks_every_convolution_of_a_resnet_and_moves_its_statistics() {
    let resnet = architecture("resnet50").unwrap();
    let paper = Recipe::named("paper-resnet50").unwrap();
    let masked = paper.masked_tensors(resnet).unwrap();
    let weights: usize = masked.iter().map(|index| resnet.tensors[*index].len()).sum();
    assert_eq!((masked.len(), weights), (53, 23_454_912));
    assert_eq!(paper.mask.norms, Norms::Moving);
    assert_eq!(paper.swav.queue.map(|queue| queue.length), Some(3_840));
}

#[test]
fn a_field_at_its_default_is_no_part_of_the_digest() {
    let json = serde_json::to_string(&Recipe::factory()).unwrap();
    for field in [
        "mode",
        "precision",
        "finetune",
        "rule",
        "pull",
        "evidence",
        "norms",
        "queue",
        "hue",
        "flips",
        "selection",
        "experts",
        "include",
        "exclude",
        "share",
        "granularity",
    ] {
        assert!(!json.contains(field), "{json}");
    }
}

#[test]
fn a_choice_of_tensors_is_part_of_the_digest_and_checked() {
    let factory = include_str!("../../../recipes/factory.toml");
    let with =
        |line: &str| Recipe::parse(&factory.replace("skip-first = 8", &format!("skip-first = 8\n{line}")));
    for line in [
        "include = [\"*\"]",
        "exclude = [\"_blocks.?.*\"]",
        "share = 0.5",
        "granularity = \"filter\"",
    ] {
        assert_ne!(with(line).unwrap().digest(), Recipe::factory().digest(), "{line}");
    }
    assert_eq!(with("share = 1.0").unwrap().digest(), Recipe::factory().digest());
    for line in [
        "share = 0.0",
        "share = 1.5",
        "share = nan",
        "granularity = \"layer\"",
    ] {
        assert!(with(line).is_err(), "{line}");
    }
}

#[test]
fn crops_of_a_network_of_patches_are_whole_patches() {
    let sizes = |patch| {
        let rule = Recipe::factory().augment.in_patches(patch);
        [rule.large.size, rule.small.size]
    };
    assert_eq!(sizes(1), [96, 64]);
    assert_eq!(sizes(14), [98, 70]);
    assert_eq!(sizes(16), [96, 64]);
}

#[test]
fn every_number_changes_the_digest() {
    let one = Recipe::factory();
    let mut other = one.clone();
    other.mask.rate *= 2.0;
    assert_ne!(one.digest(), other.digest());
}

#[test]
fn the_digests_of_the_named_recipes_are_those_of_before() {
    // They stand in masks and checkpoints; another digest is another recipe. Change
    // these only together with a number of `recipes/`.
    for (name, digest) in [
        (
            "factory",
            "c91dfe698029d4318323c72818b6b0143c4abf51bb7698bc3425f2304edb8376",
        ),
        (
            "paper-resnet50",
            "28021d396ef12cc2497ca1a18b4cb823def0f14b67928e66edcbc1e4a3d716a0",
        ),
    ] {
        assert_eq!(
            Recipe::named(name).unwrap().digest().to_string(),
            digest,
            "{name}"
        );
    }
}
