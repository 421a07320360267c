//! A site's view: what is trained on tiles is embedded by the same tiles, and by no others.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{generated_base, katagami, stored};
use crate::worker::{QUICK, pictures, training, worker};

/// Of pictures of 40 × 40 pixels, tiles of 23 × 23: from 0 and from 17.
const TILED: &str = "size = 32\n[tiles]\ncolumns = 2\nrows = 2\noverlap = 0.25\n";
const SIDES: [usize; 2] = [0, 17];

fn embedding(answer: &Value) -> Vec<f64> {
    let values = answer["embedding"].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Writes the tiles of a picture that [`pictures`] wrote as pictures of their own.
fn cut(picture: &Path, folder: &Path) -> Vec<String> {
    let file = std::fs::read(picture).unwrap();
    let pixels = &file[file.len() - 1600..];
    let mut paths = Vec::new();
    for top in SIDES {
        for left in SIDES {
            let mut tile = b"P5 23 23 255\n".to_vec();
            tile.extend((top..top + 23).flat_map(|y| &pixels[y * 40 + left..y * 40 + left + 23]));
            let path = folder.join(format!("tile-{left}-{top}.pgm"));
            std::fs::write(&path, tile).unwrap();
            paths.push(path.to_str().unwrap().to_owned());
        }
    }
    paths
}

#[test]
fn a_picture_is_embedded_as_the_mean_of_its_tiles() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    let picture = pictures(folder.path(), 3).join("2.pgm");
    let tiles = cut(&picture, folder.path());
    std::fs::write(at("view.toml"), TILED).unwrap();
    let (base, picture, view) = (base.to_str().unwrap(), picture.to_str().unwrap(), at("view.toml"));
    let embed = |more: &[&str]| {
        worker(
            &[
                &["embed", "--base", base, "--device", "cpu", "--threads", "1"][..],
                more,
            ]
            .concat(),
        )
    };
    let of_picture = embedding(&embed(&["--view", &view, picture]).good().json());
    let of_tiles: Vec<&str> = tiles.iter().map(String::as_str).collect();
    let lines = embed(&[&["--size", "32"][..], &of_tiles[..]].concat()).good().out;
    let of_tiles: Vec<Vec<f64>> = lines
        .lines()
        .map(|line| embedding(&serde_json::from_str(line).unwrap()))
        .collect();
    assert_eq!(of_tiles.len(), 4);
    assert_ne!(
        of_tiles[0], of_tiles[3],
        "tiles that look alike would show nothing"
    );
    let greatest = of_picture
        .iter()
        .fold(0.0_f64, |most, value| most.max(value.abs()));
    for (at, value) in of_picture.iter().enumerate() {
        let mean = of_tiles.iter().map(|tile| tile[at]).sum::<f64>() / 4.0;
        assert!(
            (value - mean).abs() <= 1e-4 * greatest,
            "{at}: {value} is not {mean}"
        );
    }

    // The network's input in a file is the tiles, too, and says nothing without its view.
    let input = at("input.safetensors");
    let saved = embed(&["--view", &view, "--save-input", &input, picture])
        .good()
        .json();
    assert_eq!(embedding(&saved), of_picture);
    let read = embed(&["--view", &view, "--input", &input]).good().json();
    assert_eq!(embedding(&read), of_picture);
    let three = embed(&["--view", r#"{"tiles": {"columns": 3}}"#, "--input", &input]);
    assert!(three.refused(2).contains("no multiple of the view's tiles"));
}

#[test]
fn a_mask_carries_its_view_and_is_fed_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let base = stored(&generated_base(1), folder.path(), "base.safetensors");
    for (split, class) in [
        ("validation", "good"),
        ("validation", "bad"),
        ("test", "good"),
        ("test", "bad"),
    ] {
        let set = folder.path().join("labelled").join(split);
        std::fs::create_dir_all(&set).unwrap();
        std::fs::rename(pictures(folder.path(), 12), set.join(class)).unwrap();
    }
    let images = pictures(folder.path(), 20);
    std::fs::write(at("quick.toml"), QUICK).unwrap();
    std::fs::write(at("view.toml"), TILED).unwrap();
    let (base, picture) = (base.to_str().unwrap(), images.join("15.pgm"));
    let (images, picture) = (images.to_str().unwrap(), picture.to_str().unwrap());
    let [recipe, view, mask, report, scores, labelled] = [
        "quick.toml",
        "view.toml",
        "a.kgm",
        "a.json",
        "a.scores",
        "labelled",
    ]
    .map(at);
    let more = [
        "--view",
        &view,
        "--out",
        &mask,
        "--report",
        &report,
        "--scores",
        &scores,
        "--labelled",
        &labelled,
    ];
    let trained = worker(&training(base, images, &recipe, &more)).good().json();
    let read = |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let figures = read(&report);
    // Pictures are counted, not tiles.
    assert_eq!(trained["images"], figures["images"]["used"]);
    assert_eq!(figures["validation"]["images"], 24);
    assert!(figures["images"]["used"].as_u64().unwrap() <= 20);

    let show =
        |more: &[&str]| katagami(folder.path(), &[&["artefact", "show", &mask][..], more].concat()).good();
    assert_eq!(
        show(&["--json"]).json()["header"]["view"],
        json!({
            "region": {"left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0},
            "tiles": {"columns": 2, "rows": 2, "overlap": 0.25},
            "size": 32,
        })
    );
    assert!(
        show(&[])
            .out
            .contains("2 × 2 tiles overlapping by 0.25, 32 pixels")
    );

    let masked = |command: &str, more: &[&str]| {
        let fixed = [
            command,
            "--base",
            base,
            "--mask",
            &mask,
            "--device",
            "cpu",
            "--threads",
            "1",
        ];
        worker(&[&fixed[..], more].concat())
    };
    let own = masked("embed", &[picture]).good().json();
    assert_eq!(own, masked("embed", &["--view", &view, picture]).good().json());
    let judged = masked(
        "judge",
        &[
            "--labelled",
            &format!("{labelled}/test"),
            "--neighbours",
            "1",
            "--json",
        ],
    );
    assert_eq!(judged.good().json()["images"], 24);

    let other = r#"{"tiles": {"columns": 3}}"#;
    for refused in [
        masked("embed", &["--view", other, picture]),
        masked("judge", &["--view", other, "--labelled", &labelled]),
        worker(&training(
            base,
            images,
            &recipe,
            &[
                "--view",
                other,
                "--start",
                &mask,
                "--start-scores",
                &scores,
                "--out",
                &at("b.kgm"),
            ],
        )),
        katagami(
            folder.path(),
            &[
                "artefact",
                "apply",
                &mask,
                "--base",
                base,
                "--view",
                other,
                "--out",
                &at("masked.safetensors"),
            ],
        ),
    ] {
        let sentence = refused.refused(1);
        assert!(sentence.contains("2 × 2 tiles overlapping by 0.25"), "{sentence}");
        assert!(sentence.contains("whole picture, 3 × 1 tiles"), "{sentence}");
    }
    assert!(!Path::new(&at("masked.safetensors")).exists() && !Path::new(&at("b.kgm")).exists());
    let wrong = masked("embed", &["--view", r#"{"tiles": {"columns": 9}}"#, picture]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("9 × 1 tiles cannot be cut"), "{}", wrong.err);
}
