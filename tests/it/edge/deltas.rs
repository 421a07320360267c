//! Deltas: fewer bytes to a device that holds a mask, and the same model.

use katagami::base::{Preprocessing, Weights};
use katagami::domain::{Digest, MaskVersion, View};
use katagami::mask::{Coding, Header, Level, Limits, decode, delta, encode, encode_with};

use super::factory::Factory;
use super::{Device, dense_over, flip};
use crate::support::generated_base;

const DELTAS: &str = "/deltas/";

/// The artefact of mask `version` over the device's base.
fn dense(device: &Device, version: u32) -> Vec<u8> {
    let (weights, preprocessing) = device.world().base();
    dense_over(&weights, preprocessing, version)
}

/// Releases mask `to`, with a delta from mask `from`; answers the whole artefact and the delta.
fn releases(device: &Device, from: u32, to: u32) -> (Vec<u8>, Vec<u8>) {
    let (parent, whole) = (dense(device, from), dense(device, to));
    let delta = delta::make(&parent, &whole, &device.world().weights)
        .unwrap()
        .unwrap();
    let mut world = device.world();
    world.release = Some((MaskVersion(to), whole.clone()));
    world.deltas = [(Digest::of(&parent), delta.clone())].into();
    drop(world);
    (whole, delta)
}

/// A device that runs mask 1.
fn with_the_first() -> Device {
    let device = Device::new();
    let first = dense(&device, 1);
    device.world().release = Some((MaskVersion(1), first));
    device.pulled();
    device
}

fn stored(device: &Device) -> Vec<u8> {
    std::fs::read(device.dir().join("current/mask.kgm")).unwrap()
}

#[test]
fn a_delta_leads_to_the_same_file_which_the_next_delta_builds_on() {
    let device = Device::new();
    let first = dense(&device, 1);
    device.world().release = Some((MaskVersion(1), first.clone()));
    let whole = device.pulled();
    assert_eq!(
        (&whole["mask_bytes"], &whole["delta"]),
        (&first.len().into(), &false.into())
    );
    assert!(device.world().statuses(DELTAS).is_empty(), "nothing to build on");
    for version in 2..=3 {
        let (whole, delta) = releases(&device, version - 1, version);
        assert!(delta.len() * 2 < whole.len());
        let moved = device.pulled();
        assert_eq!(
            (&moved["mask_bytes"], &moved["delta"]),
            (&delta.len().into(), &true.into())
        );
        assert_eq!(moved["status"]["mask"], version);
        assert_eq!(moved["status"]["digest"], Digest::of(&whole).to_string());
        assert!(stored(&device) == whole, "byte for byte");
        device.edge("verify", &[]).good();
        let fetched = &device.status()["fetched"];
        assert_eq!(
            (&fetched["bytes"], &fetched["artefact_bytes"]),
            (&delta.len().into(), &whole.len().into())
        );
    }
    let said = device.edge("status", &[]).good().out;
    assert!(said.contains("as a delta"), "{said}");
    // Unmoved, it is a question without an answer's body, and what the mask took is remembered.
    let unmoved = device.pulled();
    assert_eq!(
        (&unmoved["mask_bytes"], &unmoved["delta"]),
        (&0.into(), &false.into())
    );
    assert_eq!(unmoved["status"]["fetched"]["delta"], true);
    assert_eq!(device.world().statuses(DELTAS), [200, 200]);
}

#[test]
fn a_delta_that_is_damaged_or_leads_elsewhere_costs_its_bytes_and_nothing_else() {
    let device = with_the_first();
    let first = device.folder.path().join("first");
    copy(&device.dir(), &first);
    let parent = Digest::of(&stored(&device));
    let (third, elsewhere) = releases(&device, 1, 3);
    let (whole, good) = releases(&device, 1, 2);
    let of_another = delta::make(&third, &whole, &device.world().weights)
        .unwrap()
        .unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let bad = [
        ("is damaged", flipped),
        ("cut short", good[..good.len() - 9].to_vec()),
        ("is a delta to the artefact", of_another),
        ("leads to artefact", elsewhere),
        ("no mask artefact", b"nonsense".to_vec()),
    ];
    for (what, bad) in bad {
        std::fs::remove_dir_all(device.dir()).unwrap();
        copy(&first, &device.dir());
        device.world().deltas.insert(parent, bad.clone());
        let pulled = device.pull_with(&["--json"], &[("RUST_LOG", "warn")]).good();
        let said = &pulled.err;
        assert!(
            said.contains(what) && said.contains("fetching the whole"),
            "{what}: {said}"
        );
        let moved = pulled.json();
        assert_eq!(moved["mask_bytes"], bad.len() + whole.len(), "{what}");
        let status = &moved["status"];
        assert_eq!(
            (&moved["delta"], &status["mask"]),
            (&false.into(), &2.into()),
            "{what}"
        );
        assert_eq!(status["weights"], device.weights().to_string(), "{what}");
        assert!(stored(&device) == whole, "{what}");
    }
    device.edge("verify", &[]).good();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status();
    assert!(copied.unwrap().success());
}

#[test]
fn a_parent_that_is_damaged_on_the_device_makes_the_mask_come_whole() {
    let device = with_the_first();
    flip(&device.dir().join("current/mask.kgm"));
    let (whole, delta) = releases(&device, 1, 2);
    let moved = device.pulled();
    assert_eq!(moved["mask_bytes"], delta.len() + whole.len());
    assert!(stored(&device) == whole);
    device.edge("verify", &[]).good();
}

#[test]
fn a_channel_that_moves_back_to_a_mask_that_is_here_costs_nothing() {
    let device = with_the_first();
    let first = (device.weights(), stored(&device));
    let (whole, _) = releases(&device, 1, 2);
    device.pulled();
    device.world().release = Some((MaskVersion(1), first.1.clone()));
    let back = device.pulled();
    assert_eq!(
        (&back["mask_bytes"], &back["status"]["mask"]),
        (&0.into(), &1.into())
    );
    assert_eq!((device.weights(), stored(&device)), first);

    // After a person went back, too; and what is not whole any more is fetched.
    device.world().release = Some((MaskVersion(2), whole.clone()));
    device.pulled();
    device.edge("rollback", &[]).good();
    flip(&device.dir().join("current/mask.kgm"));
    device.world().release = Some((MaskVersion(1), first.1.clone()));
    let again = device.pulled();
    assert_eq!(
        (&again["held"], &again["mask_bytes"]),
        (&false.into(), &first.1.len().into())
    );
    assert_eq!(device.weights(), first.0);
}

#[test]
fn a_mask_that_is_small_is_asked_for_as_a_whole() {
    let device = Device::new();
    for version in 1..=2 {
        device.world().releases(version);
        device.pulled();
    }
    assert!(device.world().statuses(DELTAS).is_empty());
    assert_eq!(device.status()["fetched"]["delta"], false);
}

#[test]
fn a_delta_is_made_only_where_it_yields_the_very_artefact() {
    let base = generated_base(7);
    let preprocessing = Preprocessing::of_architecture(base.architecture.name).digest();
    let of = |base: &Weights, version| dense_over(base, preprocessing, version);
    let (first, second) = (of(&base, 1), of(&base, 2));
    let delta = delta::make(&first, &second, &base).unwrap().unwrap();
    assert!(delta::restore(&first, &delta, &base).unwrap() == second);
    // Of another view, too: that is of the header, and bits are bits.
    let artefact = decode(&second, Limits::default()).unwrap();
    let header = Header {
        view: View::parse(r#"{"tiles": {"columns": 2}}"#).unwrap(),
        ..artefact.header.clone()
    };
    let tiled = encode(&header, &artefact.mask(&base).unwrap(), &base).unwrap();
    let delta_to_tiled = delta::make(&first, &tiled, &base).unwrap().unwrap();
    assert!(delta::restore(&first, &delta_to_tiled, &base).unwrap() == tiled);
    let other = generated_base(8);
    assert!(
        delta::make(&of(&other, 1), &second, &base).is_err(),
        "another base"
    );
    assert!(delta::make(&delta, &second, &base).is_err(), "a delta to a delta");
    assert!(delta::restore(&second, &delta, &base).is_err(), "another parent");
    assert!(delta::restore(&first, &second, &base).is_err(), "no delta");
    // Devices would write another file than the one that the channel names.
    let artefact = decode(&second, Limits::default()).unwrap();
    let mask = artefact.mask(&base).unwrap();
    let at = |level| {
        encode_with(
            &artefact.header,
            &mask,
            &base,
            &Coding {
                level,
                ..Coding::default()
            },
        )
    };
    let others: Vec<_> = [Level::Fast, Level::Best]
        .into_iter()
        .map(|level| at(level).unwrap())
        .filter(|other| *other != second)
        .collect();
    assert!(!others.is_empty());
    for other in others {
        assert_eq!(delta::make(&first, &other, &base).unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_the_real_server_is_sent_what_it_lacks() {
    let factory = Factory::new().await;
    let deltas = async |version| factory.client.mask_deltas(&factory.site, version).await.unwrap();
    let bytes = async |version| factory.client.mask(&factory.site, version).await.unwrap().bytes;
    let one = factory.trains_to(dense_over).await;
    factory.releases(Some(one)).await;
    assert_eq!(factory.pull().await["mask_bytes"], bytes(one).await);

    // Made when the mask is published: it is there when the channel moves.
    let two = factory.trains_to(dense_over).await;
    katagami::api::deltas::once(&factory.server.app).await.unwrap();
    let made = deltas(two).await;
    assert_eq!((made.len(), made[0].parent), (1, one));
    factory.releases(Some(two)).await;
    let moved = factory.pull().await;
    assert_eq!(
        (&moved["mask_bytes"], &moved["delta"]),
        (&made[0].bytes.into(), &true.into())
    );
    assert!(made[0].bytes * 2 < bytes(two).await);
    assert_eq!(moved["status"]["mask"], two.0);
    let mask = factory.client.mask(&factory.site, two).await.unwrap();
    assert_eq!(moved["status"]["weights"], mask.weights.to_string());
    assert_eq!(moved["status"]["digest"], mask.digest.to_string());
    factory.edge("verify", &[]).await.good();
    let shown = factory.katagami(&["mask", "show", "osaka", "2"]).await.good().out;
    assert!(shown.contains("from mask 1"), "{shown}");

    // Two versions on, the delta from what this device skipped is of no use to it.
    let three = factory.trains_to(dense_over).await;
    factory.releases(Some(three)).await;
    let four = factory.trains_to(dense_over).await;
    katagami::api::deltas::once(&factory.server.app).await.unwrap();
    factory.releases(Some(four)).await;
    let skipped = factory.pull().await;
    assert_eq!(
        (&skipped["mask_bytes"], &skipped["delta"]),
        (&bytes(four).await.into(), &false.into())
    );
    factory.edge("verify", &[]).await.good();
    factory.server.stop().await;
}
