//! `edge pull`, `rollback`, `verify`, `status`: one question at a time.

use katagami::base::{Preprocessing, write_safetensors};
use katagami::domain::MaskVersion;

use super::{Device, flip, mask_of, mask_over, names};
use crate::support::generated_base;

const MASK: &str = "/mask";

#[test]
fn the_base_comes_once_and_then_only_the_mask_that_the_channel_points_at() {
    let device = Device::new();
    let first = device.pulled();
    assert_eq!(first["base_bytes"], device.world().base_bytes.len());
    assert_eq!(device.weights(), device.world().weights.digest());
    assert!(first["status"]["mask"].is_null());

    device.world().releases(1);
    let moved = device.pulled();
    assert_eq!(
        (&moved["base_bytes"], &moved["switched"]),
        (&0.into(), &true.into())
    );
    assert_eq!(moved["status"]["mask"], 1);
    assert_eq!(moved["status"]["weights"], device.weights().to_string());
    assert_ne!(device.weights(), device.world().weights.digest());

    let unmoved = device.pulled();
    assert_eq!(
        (&unmoved["mask_bytes"], &unmoved["switched"]),
        (&0.into(), &false.into())
    );
    assert_eq!(device.world().statuses(MASK), [404, 200, 304]);
    assert_eq!(device.world().statuses("/base/bytes"), [200]);
    device.edge("verify", &[]).good();
}

#[test]
fn the_model_keeps_what_applying_the_artefact_by_hand_gives() {
    let device = Device::new();
    device.world().releases(4);
    device.pulled();
    let here = device.folder.path();
    let (artefact, base, out) = (
        here.join("mask.kgm"),
        here.join("base.safetensors"),
        here.join("out.safetensors"),
    );
    std::fs::write(&artefact, &device.world().release.as_ref().unwrap().1).unwrap();
    std::fs::write(&base, &device.world().base_bytes).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (artefact, base, out_text) = (text(&artefact), text(&base), text(&out));
    crate::support::katagami(
        here,
        &[
            "artefact", "apply", &artefact, "--base", &base, "--out", &out_text,
        ],
    )
    .good();
    let applied = std::fs::read(out).unwrap();
    assert!(applied == std::fs::read(device.dir().join("current/model.safetensors")).unwrap());
}

#[test]
fn a_channel_that_moves_back_or_to_none_takes_the_device_along_and_old_models_go() {
    let device = Device::new();
    for version in 1..=3 {
        device.world().releases(version);
        device.pulled();
    }
    // Base, current and previous.
    assert_eq!(device.models().len(), 3);
    let third = device.weights();
    device.world().releases(1);
    assert_eq!(device.pulled()["status"]["mask"], 1);
    assert_eq!(device.status()["previous"], third.to_string());
    device.world().release = None;
    let none = device.pulled();
    assert_eq!(
        (&none["switched"], &none["status"]["mask"]),
        (&true.into(), &serde_json::Value::Null)
    );
    assert_eq!(device.weights(), device.world().weights.digest());
    device.edge("verify", &[]).good();
}

#[test]
fn going_back_lasts_until_the_channel_moves() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    device.world().releases(2);
    device.pulled();
    device.edge("rollback", &["--reason", "false alarms"]).good();
    assert_eq!(device.status()["mask"], 1);
    // Neither an unmoved channel nor a second going back changes anything.
    let held = device.pulled();
    assert_eq!(
        (&held["held"], &held["status"]["mask"]),
        (&true.into(), &1.into())
    );
    assert_eq!(held["status"]["held"]["reason"], "false alarms");
    device.edge("rollback", &[]).refused(3);
    assert_eq!(*device.world().statuses(MASK).last().unwrap(), 304);
    assert_eq!(device.world().reports.last().unwrap().mask, Some(MaskVersion(1)));
    assert_eq!(
        device.world().reports.last().unwrap().error.as_deref(),
        Some("held: false alarms")
    );

    device.world().releases(3);
    let moved = device.pulled();
    assert_eq!(
        (&moved["held"], &moved["status"]["mask"]),
        (&false.into(), &3.into())
    );
    assert!(moved["status"]["held"].is_null());
}

#[test]
fn a_base_from_a_stick_is_not_fetched_and_another_one_is_refused() {
    let device = Device::new();
    let stick = device.folder.path().join("stick.safetensors");
    let text = stick.to_str().unwrap();
    write_safetensors(&generated_base(8), &stick).unwrap();
    let said = device.pull(&["--base", text]).refused(2);
    for digest in [generated_base(8).digest(), device.world().weights.digest()] {
        assert!(said.contains(&digest.to_string()), "{said}");
    }
    assert!(!device.dir().join("current").exists());

    write_safetensors(&device.world().weights, &stick).unwrap();
    device.pull(&["--base", text]).good();
    assert!(device.world().statuses("/base/bytes").is_empty());
    assert_eq!(device.weights(), device.world().weights.digest());
}

#[test]
fn a_download_that_breaks_goes_on_where_it_broke() {
    let device = Device::new();
    device.world().cut_base_after = Some(1_000_000);
    let pulled = device.pulled();
    assert_eq!(device.world().statuses("/base/bytes"), [200, 206]);
    assert_eq!(pulled["base_bytes"], device.world().base_bytes.len());
    assert_eq!(device.weights(), device.world().weights.digest());
}

#[test]
fn a_half_of_another_base_is_never_joined() {
    let device = Device::new();
    let incoming = device.dir().join("incoming");
    std::fs::create_dir_all(&incoming).unwrap();
    let part = incoming.join(format!("{}.safetensors.part", device.world().base.file));
    std::fs::write(&part, vec![1; 5000]).unwrap();
    // What lies there has the right name and wrong bytes: found by the digest, and not kept.
    device.pull(&[]).refused(5);
    assert!(!device.dir().join("current").exists());
    device.pulled();
    assert_eq!(device.weights(), device.world().weights.digest());
    assert!(names(&incoming).is_empty());
}

#[test]
fn a_mask_that_is_not_for_this_device_changes_nothing() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    let before = device.weights();
    let (weights, preprocessing) = device.world().base();
    let mut other = Preprocessing::of_architecture(weights.architecture.name);
    other.size = 128;
    let truncated = {
        let whole = mask_over(&weights, preprocessing, 2);
        whole[..whole.len() - 9].to_vec()
    };
    let unfit = [
        ("base", 1, mask_over(&generated_base(8), preprocessing, 2)),
        ("preprocessing", 2, mask_over(&weights, other.digest(), 2)),
        ("site", 2, mask_of("kyoto", &weights, preprocessing, 2)),
        ("as mask 2", 2, mask_over(&weights, preprocessing, 3)),
        ("cut short", 2, truncated),
    ];
    for (what, code, mask) in unfit {
        device.world().release = Some((MaskVersion(2), mask));
        let said = device.pull(&[]).refused(code);
        assert!(said.contains(what), "{what}: {said}");
        assert_eq!(device.weights(), before, "{what}");
        assert_eq!(device.models().len(), 2, "{what}");
        assert!(device.world().reports.last().unwrap().error.is_some(), "{what}");
    }
}

#[test]
fn a_mask_damaged_on_its_way_is_refused_and_comes_at_the_next_question() {
    let device = Device::new();
    device.pulled();
    device.world().releases(1);
    device.world().corrupt_masks = true;
    let said = device.pull(&[]).refused(5);
    assert!(said.contains("nothing was kept"), "{said}");
    assert!(device.status()["mask"].is_null());
    device.world().corrupt_masks = false;
    assert_eq!(device.pulled()["status"]["mask"], 1);
}

#[test]
fn a_flipped_bit_in_the_model_is_found_and_mended_from_what_is_here() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    let before = device.weights();
    flip(&device.dir().join("current/model.safetensors"));
    let said = device.edge("verify", &[]).refused(2);
    assert!(
        said.contains("is damaged") && said.contains("katagami edge pull"),
        "{said}"
    );
    let mended = device.pulled();
    assert_eq!(
        (&mended["mask_bytes"], &mended["base_bytes"]),
        (&0.into(), &0.into())
    );
    device.edge("verify", &[]).good();
    assert_eq!(device.weights(), before);
}

#[test]
fn a_flipped_bit_in_base_or_stored_mask_is_found_and_fetched_again() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    let before = device.weights();
    let base = device.world().weights.digest().to_string();
    flip(&device.dir().join("models").join(base).join("model.safetensors"));
    device.edge("verify", &[]).refused(2);
    assert_eq!(device.pulled()["base_bytes"], device.world().base_bytes.len());
    device.edge("verify", &[]).good();

    flip(&device.dir().join("current/model.safetensors"));
    flip(&device.dir().join("current/mask.kgm"));
    let mended = device.pulled();
    assert_eq!(
        mended["mask_bytes"],
        device.world().release.as_ref().unwrap().1.len()
    );
    assert_eq!(device.weights(), before);
    device.edge("verify", &[]).good();
}

#[test]
fn a_mask_that_drops_nothing_and_none_are_told_apart_although_their_weights_are_equal() {
    let device = Device::new();
    let (weights, preprocessing) = device.world().base();
    // A version past the tensor's end drops nothing.
    let nothing = mask_over(&weights, preprocessing, 100_000_000);
    device.world().release = Some((MaskVersion(100_000_000), nothing));
    assert_eq!(device.pulled()["status"]["mask"], 100_000_000);
    assert_eq!(device.weights(), weights.digest());
    device.world().release = None;
    assert!(device.pulled()["status"]["mask"].is_null());
    device.edge("verify", &[]).good();
}

#[test]
fn what_is_wrong_with_server_or_token_is_one_sentence_that_says_what_to_do() {
    let mut device = Device::new();
    let url = device.server.url();
    let said = device
        .edge("pull", &["--server", &url, "--token", "wrong"])
        .refused(4);
    assert!(said.contains("says the server"), "{said}");
    let said = device
        .edge("pull", &["--server", "nonsense", "--token", "a"])
        .refused(2);
    assert!(said.contains("http"), "{said}");
    device.server.stop();
    let said = device.pull(&[]).refused(5);
    assert!(said.contains(&url) && said.contains("proxy"), "{said}");
    device.edge("status", &[]).refused(3);
}

#[test]
fn a_server_that_restarts_is_asked_again() {
    let mut device = Device::new();
    device.world().releases(1);
    device.pulled();
    device.server.stop();
    device.pull(&[]).refused(5);
    assert_eq!(device.status()["mask"], 1);
    device.server.resume();
    device.world().releases(2);
    assert_eq!(device.pulled()["status"]["mask"], 2);
}

#[test]
fn a_folder_is_of_one_site() {
    let device = Device::new();
    device.pulled();
    let path = device.dir().join("state.json");
    let state = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, state.replace("\"osaka\"", "\"kyoto\"")).unwrap();
    let said = device.pull(&[]).refused(2);
    assert!(said.contains("kyoto") && said.contains("osaka"), "{said}");
}
