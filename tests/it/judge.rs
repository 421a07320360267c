//! `judge`: a mask or weights beside the base, with labels and without.

use std::path::{Path, PathBuf};

use crate::support::{Answer, artefact_at, generated_base, stored};
use crate::worker::{labelled_folder, pictures, worker};

/// What `judge` says of `more` beside the base in a file.
fn judged_by(base: &str, more: &[&str]) -> Answer {
    let fixed = ["judge", "--base", base, "--size", "32", "--device", "cpu"];
    worker(&[&fixed, more].concat())
}

/// A base and a mask over it, in files.
fn base_and_mask(folder: &Path) -> (PathBuf, PathBuf) {
    let base = generated_base(1);
    let mask = folder.join("mask.kgm");
    std::fs::write(&mask, artefact_at(&base, 32)).unwrap();
    (stored(&base, folder, "base.safetensors"), mask)
}

#[test]
fn a_mask_that_changes_nothing_does_not_pass_the_gate() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mask) = base_and_mask(folder.path());
    let labelled = folder.path().join("labelled");
    for class in ["good", "scratched"] {
        std::fs::rename(pictures(folder.path(), 6), labelled_folder(&labelled, class)).unwrap();
    }
    let [base, mask, labelled] = [&path, &mask, &labelled].map(|path| path.to_str().unwrap());
    let judge = |labelled: &str| {
        judged_by(
            base,
            &[
                "--mask",
                mask,
                "--labelled",
                labelled,
                "--neighbours",
                "1",
                "--json",
            ],
        )
    };
    let judged = judge(labelled).good().json();
    assert_eq!(judged["images"], 12);
    assert_eq!(judged["classes"], serde_json::json!(["good", "scratched"]));
    assert_eq!(judged["gate"]["verdict"], "held", "{judged}");
    for figure in ["knn", "probe"] {
        for model in ["mask", "random_mask"] {
            assert!(
                judged[model][figure]["difference"]["lower"].is_number(),
                "{judged}"
            );
        }
    }
    let other = stored(&generated_base(2), folder.path(), "other.safetensors");
    let weights = ["--weights", other.to_str().unwrap(), "--labelled", labelled];
    let weights = judged_by(base, &weights).good();
    assert!(!weights.out.contains("no improvement"), "{}", weights.out);
    std::fs::write(format!("{labelled}/good/Thumbs.db"), "no picture").unwrap();
    let again = judge(labelled).good();
    assert!(
        again.err.contains("left out: ") && again.err.contains("Thumbs.db"),
        "{}",
        again.err
    );
    assert_eq!(again.json(), judged, "what is no picture counts for nothing");
    let one_class = format!("{labelled}/good");
    assert!(judge(&one_class).refused(2).contains("at least two folders"));
}

#[test]
fn splits_are_not_taken_for_classes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mask) = base_and_mask(folder.path());
    let labelled = folder.path().join("labelled");
    for split in ["validation", "test"] {
        for class in ["good", "scratched"] {
            let class = labelled_folder(&labelled.join(split), class);
            std::fs::rename(pictures(folder.path(), 6), class).unwrap();
        }
    }
    let judge = |labelled: &Path| {
        let [mask, labelled] = [&mask, labelled].map(|path| path.to_str().unwrap());
        judged_by(
            path.to_str().unwrap(),
            &["--mask", mask, "--labelled", labelled, "--json"],
        )
    };
    let refused = judge(&labelled).refused(2);
    assert!(refused.contains("are splits, not classes"), "{refused}");
    let judged = judge(&labelled.join("validation")).good().json();
    assert_eq!(judged["classes"], serde_json::json!(["good", "scratched"]));

    // A stray folder beside the splits of a training's labels is said, not taken for a third class.
    std::fs::create_dir(labelled.join("__MACOSX")).unwrap();
    let images = pictures(folder.path(), 12);
    let trained = worker(&[
        "train",
        "--base",
        path.to_str().unwrap(),
        "--size",
        "32",
        "--device",
        "cpu",
        "--images",
        images.to_str().unwrap(),
        "--labelled",
        labelled.to_str().unwrap(),
        "--out",
        folder.path().join("new.kgm").to_str().unwrap(),
    ]);
    let refused = trained.refused(2);
    assert!(refused.contains("no other folder beside them"), "{refused}");
}

#[test]
fn without_labels_a_mask_is_judged_by_signals_and_weights_are_not_taken_for_the_base() {
    let folder = tempfile::tempdir().unwrap();
    let bases = [1, 2].map(generated_base);
    let [base, other] =
        [1, 2].map(|n| stored(&bases[n - 1], folder.path(), &format!("base-{n}.safetensors")));
    let mask = folder.path().join("mask.kgm");
    std::fs::write(&mask, artefact_at(&bases[0], 32)).unwrap();
    let images = pictures(folder.path(), 6);
    std::fs::copy(images.join("0.pgm"), images.join("again.pgm")).unwrap();
    std::fs::write(images.join("notes.txt"), "no picture").unwrap();
    let [base, other, mask, images] = [&base, &other, &mask, &images].map(|path| path.to_str().unwrap());
    let judge = |more: &[&str]| judged_by(base, more);
    let judged = judge(&["--mask", mask, "--images", images, "--json"]).good();
    assert!(judged.err.contains("notes.txt"), "{}", judged.err);
    let judged = judged.json();
    assert_eq!(judged["images"], 6, "{judged}");
    assert!(
        judged["changed_weights"].as_u64().unwrap() > 0 && judged["own_statistics"] == 0,
        "{judged}"
    );
    assert_eq!(judged["gate"]["verdict"], "held", "{judged}");
    let signals = &judged["label_free"];
    assert!(signals["stability"].as_f64().unwrap() > 0.0, "{judged}");
    assert!(
        signals["retrieval"]["difference"]["lower"].is_number(),
        "{judged}"
    );
    let said = judge(&["--mask", mask, "--images", images]).good().out;
    assert!(
        said.starts_with("held: ") && said.contains("effective rank of patches"),
        "{said}"
    );

    let weights = judge(&["--weights", other, "--images", images]).good().out;
    assert!(!weights.contains("no improvement"), "{weights}");
    let tiles = r#"{"tiles": {"columns": 2, "rows": 1}}"#;
    let tiled = judge(&["--weights", other, "--images", images, "--view", tiles, "--json"]).good();
    assert_eq!(tiled.json()["images"], 6, "pictures, not tiles");
    let itself = judge(&["--weights", base, "--images", images]).good().out;
    assert!(itself.starts_with("held: no improvement"), "{itself}");

    let both = judge(&["--mask", mask, "--images", images, "--labelled", images]);
    assert_eq!(both.code, Some(2), "{}", both.out);
    assert!(
        both.err.contains("cannot be used with '--labelled"),
        "{}",
        both.err
    );
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let refused = judge(&["--mask", mask, "--images", empty.to_str().unwrap()]).refused(2);
    assert!(refused.contains("fewer than two pictures"), "{refused}");
}
