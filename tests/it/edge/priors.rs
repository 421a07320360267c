//! Population priors on a device: fetched once they would have paid, and any failure leaves the whole mask.

use katagami::base::Weights;
use katagami::domain::{Digest, MaskVersion};
use katagami::mask::{Prior, delta};
use serde_json::{Value, json};

use super::factory::Factory;
use super::{Device, alike_over, flip};
use crate::support::alike_mask;

const PRIORS: &str = "/priors";

/// What a training makes of base, preprocessing and version.
type Made = fn(&Weights, Digest, u32) -> Vec<u8>;

/// Releases mask `version`, which is there coded with the prior, too; answers the whole artefact and that.
fn releases(device: &Device, prior: &Prior, version: u32) -> (Vec<u8>, Vec<u8>) {
    let (weights, preprocessing) = device.world().base();
    let whole = alike_over(&weights, preprocessing, version);
    let coded = delta::make_with_prior(prior, &whole, &weights).unwrap().unwrap();
    let mut world = device.world();
    world.release = Some((MaskVersion(version), whole.clone()));
    world.prior = Some((prior.clone(), coded.clone()));
    (whole, coded)
}

/// A device that runs mask 1, and the prior of its server.
fn with_the_first() -> (Device, Prior) {
    let device = Device::new();
    let weights = device.world().base().0;
    let masks = [101, 102, 103].map(|number| alike_mask(&weights, number));
    let prior = Prior::learn(&weights, &masks.each_ref());
    releases(&device, &prior, 1);
    device.pulled();
    (device, prior)
}

fn stored(device: &Device) -> Vec<u8> {
    std::fs::read(device.dir().join("current/mask.kgm")).unwrap()
}

/// Lets the device remember that it went without the prior for so many bytes.
fn has_missed(device: &Device, bytes: u64) {
    let path = device.dir().join("state.json");
    let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    state["missed_without_prior"] = json!(bytes);
    std::fs::write(&path, state.to_string()).unwrap();
}

#[test]
fn a_prior_is_fetched_once_it_would_have_paid_and_masks_come_coded_with_it() {
    let (device, prior) = with_the_first();
    assert!(
        device.world().statuses(PRIORS).is_empty(),
        "the first mask came whole"
    );
    let bytes = prior.encode().unwrap().len() as u64;

    // Not yet: what it would have saved is counted.
    let (whole, coded) = releases(&device, &prior, 2);
    let moved = device.pulled();
    assert_eq!(
        (&moved["mask_bytes"], &moved["with_prior"]),
        (&json!(whole.len()), &json!(false))
    );
    let state = std::fs::read(device.dir().join("state.json")).unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["missed_without_prior"], whole.len() - coded.len());
    assert_eq!(device.world().statuses(PRIORS), [200], "asked for the list alone");

    // Now it pays: prior and mask are fetched, then masks alone.
    has_missed(&device, bytes);
    let mut expected = bytes;
    for version in 3..=4 {
        let (whole, coded) = releases(&device, &prior, version);
        assert!(coded.len() < whole.len());
        expected += coded.len() as u64;
        let moved = device.pulled();
        assert_eq!(
            (&moved["mask_bytes"], &moved["with_prior"], &moved["delta"]),
            (&json!(expected), &json!(true), &json!(false))
        );
        assert_eq!(moved["status"]["mask"], version);
        assert!(stored(&device) == whole, "byte for byte");
        device.edge("verify", &[]).good();
        expected = 0;
    }
    let said = device.edge("status", &[]).good().out;
    assert!(said.contains("coded with the population prior"), "{said}");

    // A delta is shorter still, and asked for first.
    let (five, _) = releases(&device, &prior, 5);
    let parent = stored(&device);
    let weights = device.world().base().0;
    let short = delta::make(&parent, &five, &weights).unwrap().unwrap();
    device.world().deltas.insert(Digest::of(&parent), short.clone());
    let moved = device.pulled();
    assert_eq!(
        (&moved["mask_bytes"], &moved["delta"], &moved["with_prior"]),
        (&json!(short.len()), &json!(true), &json!(false))
    );
    assert!(stored(&device) == five);
}

#[test]
fn what_is_wrong_with_prior_or_mask_costs_its_bytes_and_nothing_else() {
    let (device, prior) = with_the_first();
    has_missed(&device, 1 << 30);
    releases(&device, &prior, 2);
    device.pulled();
    let (_, elsewhere) = releases(&device, &prior, 3);
    let (_, good) = releases(&device, &prior, 4);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    let bad = [
        ("is damaged", flipped),
        ("leads to artefact", elsewhere),
        ("is not coded with a prior", Vec::new()),
        ("no mask artefact", b"nonsense".to_vec()),
    ];
    for (version, (what, bad)) in (5..).zip(bad) {
        let (whole, _) = releases(&device, &prior, version);
        // None: the whole mask in place of its short form.
        let bad = if bad.is_empty() { whole.clone() } else { bad };
        device.world().prior = Some((prior.clone(), bad.clone()));
        let pulled = device.pull_with(&["--json"], &[("RUST_LOG", "warn")]).good();
        let said = &pulled.err;
        assert!(
            said.contains(what) && said.contains("fetching the whole"),
            "{what}: {said}"
        );
        let moved = pulled.json();
        assert_eq!(moved["mask_bytes"], bad.len() + whole.len(), "{what}");
        assert_eq!(
            (&moved["with_prior"], &moved["status"]["mask"]),
            (&json!(false), &json!(version)),
            "{what}"
        );
        assert!(stored(&device) == whole, "{what}");
    }
    // A prior that is damaged on the device is as good as none, until it would have paid again.
    let base = device.world().base().0.digest();
    flip(&device.dir().join(format!("models/{base}/prior.kgp")));
    let (whole, coded) = releases(&device, &prior, 9);
    assert_eq!(device.pulled()["mask_bytes"], whole.len());
    has_missed(&device, 1 << 30);
    let (whole, again) = releases(&device, &prior, 10);
    let bytes = prior.encode().unwrap().len() + again.len();
    assert_eq!(device.pulled()["mask_bytes"], bytes);
    assert!(coded.len() < whole.len() && stored(&device) == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_the_real_server_is_sent_a_mask_coded_with_the_prior_of_three_sites() {
    let mut factory = Factory::new().await;
    let osaka = factory.site.clone();
    let masks: [(&str, Made); 3] = [
        ("kobe", |base, preprocessing, version| {
            alike_over(base, preprocessing, 100 + version)
        }),
        ("kyoto", |base, preprocessing, version| {
            alike_over(base, preprocessing, 200 + version)
        }),
        ("osaka", alike_over),
    ];
    for (site, made) in masks {
        factory.has_site(site).await;
        factory.trains_to(made).await;
        let shown = factory
            .katagami(&["site", "set", site, "--lend-masks", "true"])
            .await
            .good();
        assert!(shown.out.contains("lends masks"), "{}", shown.out);
    }
    factory.site = osaka;
    let made = factory.katagami(&["prior", "make", "--json"]).await.good().json();
    assert_eq!((&made["sites"], &made["version"]), (&json!(3), &json!(1)));
    let listed = factory.katagami(&["prior", "list"]).await.good().out;
    let digest = made["digest"].as_str().unwrap();
    assert!(listed.contains(&digest[..12]), "{listed}");
    let out = factory.path("prior.kgp");
    let get = ["prior", "get", &digest[..8], "--out", out.to_str().unwrap()];
    factory.katagami(&get).await.good();
    assert_eq!(
        std::fs::metadata(&out).unwrap().len(),
        made["bytes"].as_u64().unwrap()
    );
    factory.katagami(&["prior", "get", "none"]).await.refused(3);

    factory.releases(Some(MaskVersion(1))).await;
    factory.pull().await;
    let two = factory.trains_to(alike_over).await;
    katagami::api::priors::once(&factory.server.app).await.unwrap();
    let coded = factory
        .client
        .masks_with_priors(&factory.site, two)
        .await
        .unwrap();
    let coded = &coded[0];
    let state = factory.path("device/state.json");
    let mut remembered: Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    remembered["missed_without_prior"] = json!(1 << 30);
    std::fs::write(&state, remembered.to_string()).unwrap();
    factory.releases(Some(two)).await;
    let moved = factory.pull().await;
    assert_eq!(
        (&moved["mask_bytes"], &moved["with_prior"]),
        (&json!(coded.bytes + coded.prior.bytes), &json!(true))
    );
    let mask = factory.client.mask(&factory.site, two).await.unwrap();
    assert!(coded.bytes < mask.bytes);
    assert_eq!(moved["status"]["weights"], mask.weights.to_string());
    assert_eq!(moved["status"]["digest"], mask.digest.to_string());
    factory.edge("verify", &[]).await.good();
    factory.server.stop().await;
}
