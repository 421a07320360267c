//! A cascade, from pictures of two kinds to a device that embeds by their experts.

use std::path::{Path, PathBuf};

use katagami::base::{Weights, import};
use katagami::domain::{Digest, MaskVersion};
use katagami::mask::{Artefact, Limits, decode};
use serde_json::Value;

use super::{Device, flip};
use crate::support::{Answer, katagami, stored, telling};
use crate::worker::{QUICK, training, worker};

const EXPERTS: &str = "
[experts]
count = 2
components = 2
rounds = 50
floor = 0.3
steps = 3
least = 4
width = 6
";

/// Dark and bright pictures, one after the other, as PGM files.
fn pictures(folder: &Path, count: usize) -> Vec<String> {
    let pictures = folder.join("pictures");
    std::fs::create_dir_all(&pictures).unwrap();
    let write = |n: usize| {
        let (least, step) = if n.is_multiple_of(2) { (0, 1) } else { (190, 7) };
        let pixel = |x: usize, y: usize| (least + (x * step * (n % 5 + 1) + y * step + n * 3) % 60) as u8;
        let mut file = b"P5 40 40 255\n".to_vec();
        file.extend((0..40).flat_map(|y| (0..40).map(move |x| pixel(x, y))));
        let path = pictures.join(format!("{n:02}.pgm"));
        std::fs::write(&path, file).unwrap();
        path.to_str().unwrap().to_owned()
    };
    (0..count).map(write).collect()
}

/// A device of a server whose base takes pictures of 32 pixels, and a cascade for it.
struct Plant {
    device: Device,
    pictures: Vec<String>,
    base: Weights,
    base_path: String,
    mask: String,
    trained: Value,
}

impl Plant {
    fn new() -> Self {
        let device = Device::new();
        let folder = device.folder.path().to_owned();
        let base = {
            let mut world = device.world();
            let base = telling(world.weights.clone());
            let path = stored(&base, &folder, "own-base.safetensors");
            world.base_bytes = std::fs::read(path).unwrap();
            world.base.file = Digest::of(&world.base_bytes);
            world.base.manifest.digest = base.digest();
            world.base.manifest.preprocessing.size = 32;
            world.base.preprocessing = world.base.manifest.preprocessing.digest();
            world.weights = base.clone();
            base
        };
        device.pulled();
        let pictures = pictures(&folder, 20);
        // A gentle rate: what an untrained network tells apart does not bear many drops.
        let recipe = QUICK.replace("rate = 0.2,", "rate = 0.03,");
        std::fs::write(folder.join("experts.toml"), format!("{recipe}{EXPERTS}")).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let base_path = text(folder.join("own-base.safetensors"));
        let [images, recipe, mask] =
            ["pictures", "experts.toml", "a.kgm"].map(|name| text(folder.join(name)));
        let trained = worker(&training(
            &base_path,
            &images,
            &recipe,
            &["--site", "osaka", "--out", &mask],
        ));
        Self {
            trained: trained.good().json(),
            device,
            pictures,
            base,
            base_path,
            mask,
        }
    }

    fn artefact(&self) -> Artefact {
        decode(&std::fs::read(&self.mask).unwrap(), Limits::default()).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Answer {
        katagami(self.device.folder.path(), arguments)
    }
}

fn embeddings(answer: Answer) -> Vec<Vec<f64>> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let values = row["embedding"].as_array().unwrap().clone();
        values.iter().map(|value| value.as_f64().unwrap()).collect()
    };
    answer.good().out.lines().map(row).collect()
}

#[test]
fn pictures_of_two_kinds_become_one_artefact_by_which_a_device_embeds() {
    let plant = Plant::new();
    let experts = plant.trained["experts"].as_array().unwrap();
    let images: u64 = experts
        .iter()
        .map(|expert| expert["images"].as_u64().unwrap())
        .sum();
    assert_eq!((experts.len(), images), (2, 20), "{}", plant.trained);

    // The artefact explains itself, verifies, and yields the dispatcher or an expert.
    let (mask, base) = (plant.mask.as_str(), plant.base_path.as_str());
    let artefact = plant.artefact();
    let own = artefact.experts.as_ref().unwrap();
    let shown = plant.command(&["artefact", "show", mask, "--json"]).good().json();
    assert_eq!(
        (&shown["format"], &shown["experts"]["count"]),
        (&3.into(), &2.into())
    );
    let parts = shown["bytes"]["parts"].as_object().unwrap().values();
    let sum: u64 = parts.map(|bytes| bytes.as_u64().unwrap()).sum();
    assert_eq!(sum, std::fs::metadata(mask).unwrap().len());
    assert!(
        plant
            .command(&["artefact", "show", mask])
            .good()
            .out
            .contains("masks as deltas")
    );
    let verified = plant
        .command(&["artefact", "verify", mask, "--base", base])
        .good();
    assert!(verified.out.contains("2 experts"), "{}", verified.out);
    let out = plant.device.folder.path().join("out.safetensors");
    let apply = |more: &[&str]| {
        let fixed = [
            "artefact",
            "apply",
            mask,
            "--base",
            base,
            "--out",
            out.to_str().unwrap(),
        ];
        plant.command(&[&fixed[..], more].concat())
    };
    let digest = || import(plant.base.architecture, &out).unwrap().digest();
    apply(&[]).good();
    assert_eq!(digest(), artefact.header.weights);
    apply(&["--expert", "2"]).good();
    assert_eq!(Some(digest()), own.weights(2));
    assert!(apply(&["--expert", "3"]).refused(3).contains("experts 1 to 2"));
    let recoded = plant.command(&["artefact", "recode", mask, "--base", base, "--out", "/nowhere"]);
    assert!(recoded.refused(2).contains("cascade with 2 experts"));

    // A device runs it, and embeds by its experts.
    let device = &plant.device;
    device.world().release = Some((MaskVersion(1), std::fs::read(mask).unwrap()));
    assert_eq!(device.pulled()["status"]["mask"], 1);
    assert_eq!(device.weights(), artefact.header.weights);
    device.edge("verify", &[]).good();
    let shown: Vec<&str> = plant.pictures.iter().map(String::as_str).collect();
    let embed = |more: &[&str]| embeddings(device.edge("embed", &[more, &shown[..]].concat()));
    let conditional = embed(&[]);
    assert!(conditional.iter().all(|row| row.len() == 6));
    assert_eq!(embed(&["--inference", "conditional"]), conditional);
    let unconditional = embed(&["--inference", "unconditional"]);
    assert_ne!(unconditional, conditional);
    // All networks on the images that they were trained on: centred, each direction of the same variance.
    for at in 0..6 {
        let mean = unconditional.iter().map(|row| row[at]).sum::<f64>() / 20.0;
        let square = unconditional.iter().map(|row| row[at] * row[at]).sum::<f64>() / 20.0;
        // Resized once here, twice there, so not to the last bit.
        assert!(
            mean.abs() < 0.4 && (0.4..2.5).contains(&square),
            "{at}: {mean} {square}"
        );
    }
    let by_worker = |inference: &str| {
        let fixed = [
            "embed",
            "--base",
            base,
            "--mask",
            mask,
            "--size",
            "32",
            "--inference",
            inference,
        ];
        embeddings(worker(&[&fixed[..], &shown[..]].concat()))
    };
    assert_eq!(by_worker("conditional"), conditional);
    assert_eq!(by_worker("unconditional"), unconditional);
    let wrong = device.edge("embed", &["--inference", "all", shown[0]]);
    assert!(
        wrong.err.contains("conditional or unconditional"),
        "{}",
        wrong.err
    );

    // Back to the base, whose embeddings are its own; a damaged cascade is found and made whole again.
    device.edge("rollback", &[]).good();
    assert_eq!(embed(&[])[0].len(), 1280);
    device.world().release = None;
    device.pulled();
    device.world().release = Some((MaskVersion(1), std::fs::read(mask).unwrap()));
    device.pulled();
    assert_eq!(embed(&[]), conditional);
    flip(&device.dir().join("current/mask.kgm"));
    device.edge("verify", &[]).refused(2);
    device.pulled();
    assert_eq!(embed(&[]), conditional);
}

#[test]
fn a_cascade_is_judged_as_it_is_run_and_one_with_a_wrong_expert_is_not_installed() {
    let plant = Plant::new();
    let labelled = plant.device.folder.path().join("labelled");
    for (n, picture) in plant.pictures.iter().enumerate() {
        let class = labelled.join(if n.is_multiple_of(2) { "dark" } else { "bright" });
        std::fs::create_dir_all(&class).unwrap();
        std::fs::copy(picture, class.join(format!("{n}.pgm"))).unwrap();
    }
    let judge = |inference: &str| {
        let labelled = labelled.to_str().unwrap();
        let fixed = [
            "judge",
            "--base",
            &plant.base_path,
            "--mask",
            &plant.mask,
            "--labelled",
            labelled,
        ];
        let more = [
            "--size",
            "32",
            "--neighbours",
            "1",
            "--inference",
            inference,
            "--json",
        ];
        worker(&[&fixed[..], &more[..]].concat()).good().json()
    };
    let judged = judge("conditional");
    assert_eq!(judged["images"], 20);
    for figure in ["knn", "probe"] {
        assert!(
            judged["mask"][figure]["difference"]["value"].is_number(),
            "{judged}"
        );
    }
    assert_eq!(
        judge("unconditional")["mask"]["knn"]["base"],
        judged["mask"]["knn"]["base"]
    );

    // The digest of an expert's weights is the last thing before its bits: another one promises other weights.
    let mut bytes = std::fs::read(&plant.mask).unwrap();
    let promised = plant.artefact().experts.unwrap().weights(2).unwrap();
    let at = bytes
        .windows(32)
        .position(|window| window == promised.as_bytes())
        .unwrap();
    bytes[at] ^= 1;
    let content = bytes.len() - 32;
    bytes.truncate(content);
    let checksum = Digest::of(&bytes);
    bytes.extend(checksum.as_bytes());
    plant.device.world().release = Some((MaskVersion(1), bytes));
    let refused = plant.device.pull(&[]).refused(2);
    assert!(refused.contains("masked weights have digest"), "{refused}");
    assert_eq!(plant.device.weights(), plant.base.digest());
}
