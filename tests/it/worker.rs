//! `katagami-worker` on generated pictures and a generated base: slow training
//! is elsewhere, here is that the way is whole and that its bits are promised.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Answer, generated_base, katagami, stored};

pub fn worker(arguments: &[impl AsRef<OsStr>]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_katagami-worker"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Answer {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Small grey pictures of stripes, each at its own angle, as PGM files.
pub fn pictures(folder: &Path, count: usize) -> PathBuf {
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    for n in 0..count {
        let pixel = |x: usize, y: usize| ((x * (n % 7 + 1) + y * (n % 5 + 1)) * 8 % 256) as u8;
        let mut file = b"P5 40 40 255\n".to_vec();
        file.extend((0..40).flat_map(|y| (0..40).map(move |x| pixel(x, y))));
        std::fs::write(pictures.join(format!("{n}.pgm")), file).unwrap();
    }
    pictures
}

/// A recipe that is done in a second and, with its coarse rate, surely drops weights.
pub const QUICK: &str = "
schedule = { steps = 4, warm-up = 1, prototypes-frozen = 1, batch = 4 }
mask = { rate = 0.2, momentum = 0.9, normalise = true, skip-first = 8 }
head = { rate = 0.15, momentum = 0.9, hidden = 16, output = 8, prototypes = 4 }
swav = { temperature = 0.1, epsilon = 0.05, rounds = 3, drop-connect = 0.2 }
[augment]
brightness = 0.2
contrast = 0.2
large = { count = 2, size = 32, scale = [0.3, 1.0] }
small = { count = 1, size = 32, scale = [0.1, 0.3] }
";

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("file"), "").unwrap();
    for (option, path) in [
        ("--out", at("no/mask.kgm")),
        ("--report", at("no/report.json")),
        ("--scores", at("file/scores")),
        ("--checkpoint", at("")),
    ] {
        let out = at("mask.kgm");
        let more: &[&str] = if option == "--out" { &[] } else { &["--out", &out] };
        // Nothing else is there either, so this is what is looked at first.
        let fixed = ["train", "--base", "none", "--images", "none", option, &path];
        let answer = worker(&[&fixed, more].concat());
        assert_ne!(answer.code, Some(0));
        assert!(answer.err.contains(path.trim_end_matches('/')), "{}", answer.err);
    }
}

#[test]
fn a_folder_of_pictures_becomes_a_mask_that_verifies_on_its_base() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let base = base.to_str().unwrap();
    let images = pictures(folder.path(), 9);
    std::fs::write(images.join("notes.txt"), "no picture").unwrap();
    std::fs::copy(images.join("3.pgm"), images.join("copy of 3.pgm")).unwrap();
    std::fs::write(at("quick.toml"), QUICK).unwrap();
    let train = |seed: &str, out: &str| {
        let (images, recipe, out) = (images.to_str().unwrap(), at("quick.toml"), at(out));
        worker(&[
            "train",
            "--base",
            base,
            "--images",
            images,
            "--recipe",
            &recipe,
            "--device",
            "cpu",
            "--threads",
            "1",
            "--site",
            "osaka",
            "--seed",
            seed,
            "--out",
            &out,
            "--json",
        ])
    };
    let trained = train("1", "a.kgm").good();
    assert!(
        trained.err.contains("notes.txt"),
        "what was left out is named: {}",
        trained.err
    );
    let told = trained.json();
    assert_eq!(told["images"], 9, "the copy counts once");
    assert!(told["flips"].as_u64().unwrap() > 0, "{told}");

    // The same again is the same mask; another seed is another.
    let again = train("1", "b.kgm").good().json();
    assert_eq!(told["weights_digest"], again["weights_digest"]);
    let other = train("2", "c.kgm").good().json();
    assert_ne!(told["weights_digest"], other["weights_digest"]);

    katagami(
        folder.path(),
        &["artefact", "verify", &at("a.kgm"), "--base", base],
    )
    .good();
    let shown = katagami(folder.path(), &["artefact", "show", &at("a.kgm"), "--json"])
        .good()
        .json();
    assert_eq!(shown["header"]["site"], "osaka");
    assert_eq!(shown["dropped_weights"], told["flips"]);
}

#[test]
fn an_embedding_has_the_architectures_length_and_a_mask_changes_it() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let path = stored(&base, folder.path(), "base.safetensors");
    let mask = folder.path().join("mask.kgm");
    std::fs::write(&mask, crate::support::artefact_at(&base, 32)).unwrap();
    let picture = pictures(folder.path(), 1).join("0.pgm");
    let (base, mask, picture) = (
        path.to_str().unwrap(),
        mask.to_str().unwrap(),
        picture.to_str().unwrap(),
    );
    let plain = [
        "embed", "--base", base, "--device", "cpu", "--size", "32", picture,
    ];
    let embedding = worker(&plain).good().json();
    assert_eq!(embedding["embedding"].as_array().unwrap().len(), 1280);
    assert!(
        embedding["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .all(serde_json::Value::is_number)
    );
    assert!(
        worker(&plain).good().json() == embedding,
        "the same again is the same"
    );
    let masked = worker(&[
        "embed", "--base", base, "--mask", mask, "--device", "cpu", "--size", "32", picture,
    ]);
    assert!(masked.good().json()["embedding"] != embedding["embedding"]);
    let larger = worker(&[
        "embed", "--base", base, "--mask", mask, "--device", "cpu", "--size", "48", picture,
    ]);
    assert!(larger.refused(2).contains("use --size 32"));
    // Ready-made input has a size of its own.
    for size in ["32", "48"] {
        let input = folder.path().join(size);
        let input = input.to_str().unwrap();
        worker(&[
            "embed",
            "--base",
            base,
            "--device",
            "cpu",
            "--size",
            size,
            "--save-input",
            input,
            picture,
        ])
        .good();
        let embedded = worker(&[
            "embed", "--base", base, "--mask", mask, "--device", "cpu", "--input", input,
        ]);
        match size {
            "32" => drop(embedded.good()),
            _ => assert!(embedded.refused(2).contains("at 32 pixels, not at 48")),
        }
    }
}

#[test]
fn what_cannot_be_trained_on_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let images = pictures(folder.path(), 3);
    let out = folder.path().join("mask.kgm");
    let train = |more: &[&str]| {
        let fixed = [
            "train",
            "--base",
            base.to_str().unwrap(),
            "--images",
            images.to_str().unwrap(),
            "--out",
        ];
        worker(&[&fixed[..], &[out.to_str().unwrap()], more].concat())
    };
    assert!(
        train(&["--device", "cpu"])
            .refused(2)
            .contains("3 pictures are too few")
    );
    assert!(
        train(&["--recipe", "/nowhere.toml"])
            .refused(3)
            .contains("/nowhere.toml")
    );
    assert!(!out.exists());
}

#[test]
fn what_can_compute_here_is_listed_with_the_cpu_last() {
    let listed = worker(&["devices"]).good().out;
    assert!(listed.lines().last().unwrap().starts_with("cpu  "), "{listed}");
    let listed = worker(&["devices", "--json"]).good().json();
    let cpu = listed.as_array().unwrap().last().unwrap();
    assert_eq!(cpu["device"], "cpu");
    assert!(cpu["memory_bytes"].as_u64().unwrap() > 1 << 28, "{cpu}");
}

#[test]
fn float16_is_refused_on_a_cpu_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let (images, out) = (pictures(folder.path(), 6), folder.path().join("mask.kgm"));
    let recipe = folder.path().join("half.toml");
    std::fs::write(&recipe, format!("precision = \"float16\"\n{QUICK}")).unwrap();
    let [base, images, recipe, to] = [&base, &images, &recipe, &out].map(|path| path.to_str().unwrap());
    let refused = worker(&[
        "train", "--base", base, "--images", images, "--recipe", recipe, "--device", "cpu", "--out", to,
    ]);
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    let said = refused.err.lines().last().unwrap();
    assert!(
        said.starts_with("error: ") && said.contains("bfloat16"),
        "{}",
        refused.err
    );
    assert!(!out.exists());
}

#[test]
fn katagami_hands_commands_over_to_the_worker_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let help = katagami(folder.path(), &["worker", "--help"]).good().out;
    assert!(help.contains("libtorch"), "{help}");
    let help = katagami(folder.path(), &["train", "--help"]).good().out;
    assert!(help.contains("--recipe"), "{help}");
}

/// The arguments of a quick training, with what is special at the end.
pub fn training<'a>(base: &'a str, images: &'a str, recipe: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "train",
        "--base",
        base,
        "--images",
        images,
        "--recipe",
        recipe,
        "--size",
        "32",
        "--device",
        "cpu",
        "--threads",
        "1",
        "--json",
    ];
    [&fixed[..], more].concat()
}

#[test]
fn a_training_that_was_killed_goes_on_at_its_checkpoint_and_ends_with_the_same_mask() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let images = pictures(folder.path(), 9);
    let (base, images) = (base.to_str().unwrap(), images.to_str().unwrap());
    std::fs::write(at("long.toml"), QUICK.replace("steps = 4", "steps = 40")).unwrap();
    let [recipe, whole, resumed, checkpoint] = [
        at("long.toml"),
        at("whole.kgm"),
        at("resumed.kgm"),
        at("checkpoint"),
    ];
    let train = |more: &[&str]| -> Vec<String> {
        let arguments = training(base, images, &recipe, more);
        arguments.into_iter().map(str::to_owned).collect()
    };

    let mut first = Command::new(env!("CARGO_BIN_EXE_katagami-worker"))
        .args(train(&[
            "--out",
            &resumed,
            "--checkpoint",
            &checkpoint,
            "--checkpoint-every",
            "0",
        ]))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Killed as soon as there is a checkpoint; one that was faster than that has kept its last one.
    while !Path::new(&checkpoint).exists() && first.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    let _ = std::fs::remove_file(&resumed);

    let run = |arguments: Vec<String>| worker(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let on = train(&["--out", &resumed, "--resume", &checkpoint]);
    let on = run(on).good().json();
    let whole = run(train(&["--out", &whole])).good().json();
    assert_eq!(on["weights_digest"], whole["weights_digest"]);
    assert_eq!(on["steps"], 40);
    assert_eq!(on["loss_first"], whole["loss_first"]);

    let other = train(&["--out", &resumed, "--resume", &checkpoint, "--seed", "9"]);
    assert!(run(other).refused(2).contains("another seed"));
    std::fs::write(&checkpoint, b"no checkpoint").unwrap();
    let damaged = train(&["--out", &resumed, "--resume", &checkpoint]);
    assert!(run(damaged).refused(2).contains("begin anew"));
}

#[test]
fn a_labelled_set_judges_and_the_report_is_bound_to_the_mask() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    for split in ["validation", "test"] {
        for class in ["good", "scratched"] {
            let set = folder.path().join("labelled").join(split);
            std::fs::rename(pictures(folder.path(), 12), labelled_folder(&set, class)).unwrap();
        }
    }
    let images = pictures(folder.path(), 20);
    let (base, images) = (base.to_str().unwrap(), images.to_str().unwrap());
    std::fs::write(at("quick.toml"), QUICK).unwrap();
    let [recipe, mask, report, scores, labelled] = [
        at("quick.toml"),
        at("a.kgm"),
        at("a.json"),
        at("a.scores"),
        at("labelled"),
    ];
    let more = [
        "--out",
        &mask,
        "--report",
        &report,
        "--scores",
        &scores,
        "--labelled",
        &labelled,
    ];
    let told = worker(&training(base, images, &recipe, &more)).good().json();
    assert_eq!(
        (&told["images"], &told["left_out"]),
        (&8.into(), &12.into()),
        "{told}"
    );

    let text = std::fs::read_to_string(&report).unwrap();
    let read = katagami::domain::report::Report::from_json(&text).unwrap();
    assert_eq!(serde_json::to_value(&read.gate.verdict).unwrap(), told["gate"]);
    let (validation, test) = (read.validation.unwrap(), read.test.unwrap());
    assert_eq!((validation.images, test.images), (24, 24));
    assert_eq!(
        read.random_mask.unwrap().knn.base,
        test.knn.base,
        "the same base, the same pictures"
    );
    assert_eq!(read.label_free.unwrap().images, 8);
    assert_eq!(read.training.loss.len(), 4);
    let bytes = std::fs::read(&mask).unwrap();
    let artefact = katagami::mask::decode(&bytes, katagami::mask::Limits::default()).unwrap();
    assert_eq!(
        artefact.header.report,
        Some(katagami::domain::Digest::of(text.as_bytes()))
    );
    assert_eq!(
        artefact.header.figures.kpi_base,
        validation.probe.base.value as f32
    );
    assert!(artefact.header.figures.effective_rank > 0.0);

    // A successor starts from this mask, and says how far it went from there.
    let next = at("b.kgm");
    let more = [
        "--out",
        &next,
        "--start",
        &mask,
        "--start-scores",
        &scores,
        "--seed",
        "5",
    ];
    let successor = worker(&training(base, images, &recipe, &more)).good().json();
    let flips = successor["flips_against_parent"].as_u64().unwrap();
    assert!(
        flips > 0 && flips < successor["flips"].as_u64().unwrap() + told["flips"].as_u64().unwrap(),
        "{successor}"
    );
    std::fs::write(&scores, b"no scores").unwrap();
    let damaged = worker(&training(base, images, &recipe, &more));
    assert!(damaged.refused(2).contains("start from the base instead"));
}

#[test]
fn a_training_in_which_nothing_falls_is_no_improvement_and_writes_no_mask() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let images = pictures(folder.path(), 9);
    let (base, images) = (base.to_str().unwrap(), images.to_str().unwrap());
    std::fs::write(at("timid.toml"), QUICK.replace("rate = 0.2,", "rate = 0.000001,")).unwrap();
    let [recipe, mask, report] = [at("timid.toml"), at("a.kgm"), at("a.json")];
    let told = worker(&training(
        base,
        images,
        &recipe,
        &["--out", &mask, "--report", &report],
    ))
    .good();
    assert_eq!(told.json()["flips"], 0);
    assert!(told.json()["mask"].is_null() && !Path::new(&mask).exists());
    assert!(
        std::fs::read_to_string(&report)
            .unwrap()
            .contains("no-improvement")
    );
}

#[test]
fn a_fine_tuning_leaves_a_base_of_the_same_architecture_and_takes_nothing_that_judges() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let images = pictures(folder.path(), 9);
    let (base, images) = (base.to_str().unwrap(), images.to_str().unwrap());
    let recipe = format!("mode = \"finetune\"\nfinetune = {{ rate = 0.05, momentum = 0.9 }}{QUICK}");
    std::fs::write(at("finetune.toml"), recipe).unwrap();
    let [recipe, model, scores] = [at("finetune.toml"), at("tuned.safetensors"), at("a.scores")];
    let tune = |more: &[&str]| {
        worker(&training(
            base,
            images,
            &recipe,
            &[&["--out", &model], more].concat(),
        ))
    };
    let refused = tune(&["--scores", &scores]).refused(2);
    assert!(
        refused.contains("--scores") && !Path::new(&model).exists(),
        "{refused}"
    );

    let told = tune(&[]).good().json();
    assert_eq!(
        (&told["images"], &told["steps"]),
        (&9.into(), &4.into()),
        "{told}"
    );
    let lite0 = katagami::base::architecture("efficientnet_lite0").unwrap();
    let tuned = katagami::base::import(lite0, Path::new(&model)).unwrap();
    assert_eq!(told["weights_digest"], tuned.digest().to_string());
    assert_ne!(tuned.digest(), generated_base(1).digest());
}

#[test]
fn the_networks_input_can_be_saved_and_embedded_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let images = pictures(folder.path(), 3);
    let paths: Vec<String> = (0..3)
        .map(|n| images.join(format!("{n}.pgm")).to_str().unwrap().to_owned())
        .collect();
    let input = at("input.safetensors");
    let embed = |more: &[&str]| {
        let fixed = [
            "embed",
            "--base",
            base.to_str().unwrap(),
            "--device",
            "cpu",
            "--size",
            "32",
        ];
        worker(&[&fixed[..], more].concat())
    };
    let embeddings = |answer: Answer| -> Vec<serde_json::Value> {
        let rows = answer.out.lines().map(|line| {
            let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["embedding"].take()
        });
        rows.collect()
    };
    let pictures: Vec<&str> = paths.iter().map(String::as_str).collect();
    let saved = embeddings(embed(&[&pictures[..], &["--save-input", &input]].concat()).good());
    assert_eq!(saved.len(), 3);
    assert_eq!(embeddings(embed(&pictures).good()), saved);
    assert_eq!(embeddings(embed(&["--input", &input]).good()), saved);

    let file = std::fs::read(&input).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.tensor("input").unwrap().shape(), [3, 3, 32, 32]);
    std::fs::write(&input, &file[..file.len() - 1]).unwrap();
    assert!(embed(&["--input", &input]).refused(2).contains("cut short"));
    std::fs::write(&input, b"no tensors").unwrap();
    assert!(embed(&["--input", &input]).refused(2).contains("safetensors"));
    // A picture that cannot be read leaves no half a file.
    embed(&["/nowhere.png", "--save-input", &at("other")]).refused(3);
    assert!(!Path::new(&at("other")).exists());
}

pub fn labelled_folder(labelled: &Path, class: &str) -> PathBuf {
    std::fs::create_dir_all(labelled).unwrap();
    labelled.join(class)
}
