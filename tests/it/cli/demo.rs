//! `katagami demo`, as a newcomer runs it.

use std::path::Path;
use std::process::Command;

use super::server::answer;
use crate::support::katagami;

/// The keys of each site, in the order in which the document has them.
const KEYS: [&str; 24] = [
    "site",
    "images",
    "rejected",
    "steps",
    "flips",
    "seconds",
    "loss_first",
    "loss_last",
    "mask_bytes",
    "mask_payload_bytes",
    "base_bytes",
    "gate",
    "gate_reasons",
    "override",
    "knn_base",
    "knn_mask",
    "knn_difference_ci",
    "probe_base",
    "probe_mask",
    "probe_random_mask",
    "weights_digest_header",
    "weights_digest_edge",
    "edge_digest_ok",
    "edge_model",
];

/// Changes one bit in the middle of a file, and back again when called twice.
fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn the_demo_goes_the_whole_way_and_a_flipped_byte_is_found_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (document, dir) = (folder.path().join("out.json"), folder.path().join("demo"));
    answer(
        Command::new(env!("CARGO_BIN_EXE_katagami"))
            .args(["demo", "--once", "--quick", "--json"])
            .arg(&document)
            .arg("--dir")
            .arg(&dir),
    )
    .good();
    let again = answer(
        Command::new(env!("CARGO_BIN_EXE_katagami"))
            .args(["demo", "--once", "--quick", "--dir"])
            .arg(&dir),
    );
    assert!(again.refused(1).contains("empty folder"), "it has a demo's data");
    let text = std::fs::read_to_string(&document).unwrap();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    let sites = document["sites"].as_array().unwrap();
    assert_eq!([&sites[0]["site"], &sites[1]["site"]], ["mono", "poly"]);
    for site in sites {
        let keys: Vec<&str> = site.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS);
        assert_eq!([&site["steps"], &site["rejected"]], [12, 0], "{site}");
        assert_eq!(site["edge_digest_ok"], true, "{site}");
        let model = Path::new(site["edge_model"].as_str().unwrap());
        assert!(model.is_file(), "the file that the document names stays");
        assert!(
            site["flips"].as_u64().unwrap() > 0,
            "there is a mask to deliver: {site}"
        );
        assert_eq!(
            site["weights_digest_header"], site["weights_digest_edge"],
            "{site}"
        );
        let name = site["site"].as_str().unwrap();
        let mask = dir.join("masks").join(format!("{name}-1.kgm"));
        let device = dir.join("edge").join(name);
        let base = std::fs::read_dir(dir.join("bases")).unwrap().next().unwrap();
        let base = base.unwrap().path().join("model.safetensors");
        let verify = || {
            let paths = [mask.to_str().unwrap(), "--base", base.to_str().unwrap()];
            katagami(
                folder.path(),
                &[&["artefact", "verify"], &paths as &[&str]].concat(),
            )
        };
        verify().good();
        for damaged in [&mask, &base] {
            flip(damaged);
            assert_ne!(verify().code, Some(0), "{}", damaged.display());
            flip(damaged);
        }
        let of_device = || {
            katagami(
                folder.path(),
                &["edge", "verify", "--dir", device.to_str().unwrap()],
            )
        };
        of_device().good();
        flip(model);
        assert_ne!(of_device().code, Some(0), "a flipped byte of the model is found");
        flip(model);
    }
}
