//! What factories have in their folders: `katagami-worker train` makes something of it, or
//! declines in one sentence that says why.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use serde_json::{Value, json};

use crate::support::{Answer, generated_base, stored};
use crate::worker::{QUICK, training, worker};

/// A folder with a base, a quick recipe, and whatever a test puts into it.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        stored(&generated_base(1), folder.path(), "base.safetensors");
        std::fs::write(folder.path().join("quick.toml"), QUICK).unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a picture into `images`, or another folder of pictures.
    fn puts(&self, name: &str, bytes: &[u8]) {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn trains(&self, recipe: &str, more: &[&str]) -> Answer {
        let [base, images, out] = ["base.safetensors", "images", "mask.kgm"].map(|name| self.at(name));
        let [base, images, out] = [&base, &images, &out].map(|path| path.to_str().unwrap());
        let more = [&["--out", out][..], more].concat();
        worker(&training(base, images, recipe, &more))
    }

    fn quick(&self, more: &[&str]) -> Value {
        self.trains(self.at("quick.toml").to_str().unwrap(), more)
            .good()
            .json()
    }
}

/// A grey texture that a number decides, with a bright scratch if it is `scratched`.
fn texture(number: usize, edge: u32, scratched: bool) -> GrayImage {
    GrayImage::from_fn(edge, edge, |x, y| {
        let mixed = (x * 31 + y * 17 + number as u32 * 101).wrapping_mul(2_654_435_761) >> 27;
        let scratch = scratched && x.abs_diff(y) < 2;
        Luma([if scratch {
            240
        } else {
            90 + mixed as u8 + (x * (number as u32 % 5 + 1)) as u8 % 60
        }])
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let picture: DynamicImage = picture.into();
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    encoded(picture, ImageFormat::Png)
}

#[test]
fn too_few_images_for_a_recipe_are_declined_with_the_number_that_would_do() {
    let shop = Workshop::new();
    for number in 0..5 {
        shop.puts(&format!("images/{number}.png"), &png(texture(number, 40, false)));
    }
    let declined = || shop.trains("factory", &[]).refused(2);
    assert!(declined().contains("5 pictures are too few"), "{}", declined());
    assert!(!shop.at("mask.kgm").exists());
    assert_eq!(shop.quick(&[])["images"], 5, "a batch of 4 is there");
    for number in 5..50 {
        shop.puts(&format!("images/{number}.png"), &png(texture(number, 40, false)));
    }
    assert!(declined().contains("needs 64"), "{}", declined());
    let told = shop.quick(&[]);
    assert_eq!(told["images"], 50, "{told}");
    assert!(told["flips"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn five_hundred_images_are_enough_to_choose_a_moment_by_some_of_them() {
    let shop = Workshop::new();
    for number in 0..500 {
        shop.puts(
            &format!("images/{number}.png"),
            &png(texture(number, 34, number % 7 == 0)),
        );
    }
    let recipe = format!("selection = {{ held-out = 0.1, every = 1 }}\n{QUICK}");
    shop.puts("selecting.toml", recipe.as_bytes());
    let report = shop.at("report.json");
    let more = ["--report", report.to_str().unwrap()];
    let told = shop
        .trains(shop.at("selecting.toml").to_str().unwrap(), &more)
        .good()
        .json();
    assert_eq!(told["images"], 500, "{told}");
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let moments = report["training"]["moments"].as_array().unwrap();
    assert!(!moments.is_empty(), "{report}");
    assert_eq!(report["health"]["images"], 500);
}

#[test]
fn a_class_of_ninety_five_percent_is_judged_or_the_gate_says_what_is_missing() {
    let shop = Workshop::new();
    for number in 0..12 {
        shop.puts(&format!("images/{number}.png"), &png(texture(number, 40, false)));
    }
    for split in ["validation", "test"] {
        for number in 0..40 {
            let scratched = number < 2;
            let class = if scratched { "scratched" } else { "good" };
            let seed = number + if split == "test" { 200 } else { 100 };
            let path = format!("labelled/{split}/{class}/{number}.png");
            shop.puts(&path, &png(texture(seed, 40, scratched)));
        }
    }
    let labelled = shop.at("labelled");
    let quick = shop.at("quick.toml");
    let judged = shop
        .trains(
            quick.to_str().unwrap(),
            &["--labelled", labelled.to_str().unwrap()],
        )
        .good();
    let said = "a class has 2 labelled images, 5 are needed";
    assert!(judged.err.contains(said), "{}", judged.err);
    let gate = &judged.json()["gate"];
    assert_eq!(gate["verdict"], "held", "{gate}");
    let reason = json!({"code": "too-few-of-a-class", "images": 2, "enough": 10});
    assert_eq!(gate["reasons"], json!([reason]));
}

#[test]
fn near_duplicates_are_trained_on_and_copies_count_once() {
    let shop = Workshop::new();
    for number in 0..40 {
        shop.puts(&format!("images/{number}.png"), &png(texture(number, 40, false)));
    }
    // A fifth: the same but for a pixel; and as many that are the same.
    for number in 0..10 {
        let mut nearly = texture(number, 40, false);
        nearly.put_pixel(3, 3, Luma([255]));
        shop.puts(&format!("images/nearly {number}.png"), &png(nearly));
        shop.puts(
            &format!("images/copy of {number}.png"),
            &png(texture(number, 40, false)),
        );
    }
    assert_eq!(shop.quick(&[])["images"], 50);
}

#[test]
fn every_kind_of_picture_is_trained_on_and_the_same_picture_gives_the_same_input() {
    let shop = Workshop::new();
    let plain = texture(7, 64, true);
    let twelve = ImageBuffer::<Luma<u16>, _>::from_fn(64, 64, |x, y| {
        Luma([((u32::from(plain.get_pixel(x, y)[0]) * 4095 + 127) / 255) as u16])
    });
    let coloured = RgbImage::from_fn(64, 64, |x, y| Rgb([plain.get_pixel(x, y)[0]; 3]));
    let opaque = ImageBuffer::from_fn(64, 64, |x, y| {
        let [grey] = plain.get_pixel(x, y).0;
        Rgba([grey, grey, grey, 255])
    });
    let clear = ImageBuffer::from_fn(64, 64, |x, y| {
        Rgba([plain.get_pixel(x, y)[0], 10, 200, (x * 4) as u8])
    });
    let upright = image::imageops::rotate90(&plain);
    let row: Vec<u8> = (0..4000_u32).map(|x| (x / 16) as u8).collect();
    let large = GrayImage::from_raw(4000, 3000, row.repeat(3000)).unwrap();
    let pictures = [
        ("grey.png", png(plain.clone())),
        ("twelve in sixteen.png", png(twelve.clone())),
        ("twelve in sixteen.tif", encoded(twelve, ImageFormat::Tiff)),
        ("coloured.bmp", encoded(coloured, ImageFormat::Bmp)),
        ("opaque.png", png(opaque)),
        ("clear.png", png(clear)),
        ("palette.png", palette(&plain)),
        ("upright.jpg", encoded(upright, ImageFormat::Jpeg)),
        ("turned.jpg", turned(&encoded(plain, ImageFormat::Jpeg), 6)),
        ("large.png", png(large)),
    ];
    for (name, bytes) in &pictures {
        shop.puts(&format!("images/{name}"), bytes);
    }
    let told = shop.quick(&[]);
    assert_eq!(told["images"], pictures.len(), "none was left out: {told}");

    // One picture, however it is stored. Twelve bits are told by the brightest pixel; only JPEG loses.
    let inputs = inputs(&shop, &pictures.each_ref().map(|(name, _)| *name));
    let [
        grey,
        png16,
        tiff16,
        bmp,
        alpha,
        clear,
        palette,
        upright,
        turned,
        _,
    ] = &inputs[..]
    else {
        panic!("{} inputs", inputs.len());
    };
    for (name, other) in [
        ("12-bit PNG", png16),
        ("12-bit TIFF", tiff16),
        ("BMP", bmp),
        ("alpha", alpha),
        ("palette", palette),
    ] {
        let apart = apart(grey, other);
        assert!(apart < 0.01, "{name}: {apart} levels apart");
    }
    let apart_turned = apart(upright, turned);
    assert!(
        apart_turned < apart(grey, turned) / 4.0,
        "EXIF is obeyed: {apart_turned}"
    );
    assert!(apart(grey, clear) > 50.0, "transparent is black");
}

/// The network's input of pictures.
fn inputs(shop: &Workshop, names: &[&str]) -> Vec<Vec<f32>> {
    let saved = shop.at("input.safetensors");
    let paths: Vec<String> = names
        .iter()
        .map(|name| shop.at("images").join(name).to_str().unwrap().to_owned())
        .collect();
    let base = shop.at("base.safetensors");
    let fixed = ["embed", "--base", base.to_str().unwrap(), "--device", "cpu"];
    let saving = ["--size", "32", "--save-input", saved.to_str().unwrap()];
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    worker(&[&fixed[..], &saving, &paths].concat()).good();
    floats(&saved)
}

fn floats(path: &Path) -> Vec<Vec<f32>> {
    let file = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let input = tensors.tensor("input").unwrap();
    let values: Vec<f32> = (input.data().chunks_exact(4))
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let each = input.shape()[1..].iter().product();
    values.chunks_exact(each).map(<[f32]>::to_vec).collect()
}

/// How far two inputs are apart at most, in grey levels.
fn apart(one: &[f32], other: &[f32]) -> f32 {
    /// A grey level after EfficientNet-Lite's normalisation.
    const LEVEL: f32 = 1.0 / 255.0 / 0.502;
    let differences = one.iter().zip(other).map(|(one, other)| (one - other).abs());
    differences.fold(0.0, f32::max) / LEVEL
}

/// A PNG whose pixels are places in a palette of all greys, backwards.
fn palette(picture: &GrayImage) -> Vec<u8> {
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let body = [name.as_slice(), content].concat();
        let mut crc = flate2::Crc::new();
        crc.update(&body);
        let length = (content.len() as u32).to_be_bytes();
        [&length[..], &body, &crc.sum().to_be_bytes()].concat()
    };
    let (width, height) = picture.dimensions();
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 3, 0, 0, 0]].concat();
    let greys: Vec<u8> = (0..=255).rev().flat_map(|grey| [grey; 3]).collect();
    let rows: Vec<u8> = (picture.rows())
        .flat_map(|row| std::iter::once(0).chain(row.map(|pixel| 255 - pixel[0])))
        .collect();
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &rows).unwrap();
    [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &header),
        chunk(b"PLTE", &greys),
        chunk(b"IDAT", &packed.finish().unwrap()),
        chunk(b"IEND", &[]),
    ]
    .concat()
}

/// A JPEG with an EXIF segment that says how it is turned.
fn turned(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let exif = [
        b"\xff\xe1\x00\x22Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00"
            .as_slice(),
        &[orientation, 0, 0, 0, 0, 0, 0, 0],
    ];
    [&jpeg[..2], &exif.concat(), &jpeg[2..]].concat()
}
