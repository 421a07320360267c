//! A site's view, the whole way: what a server's job is trained and judged through
//! is what the device's pictures go through.

use katagami::client::{Client, Download};
use katagami::domain::{ChannelName, MaskVersion, Problem as _, View};
use katagami::mask::{Header, Limits, decode};
use katagami::wire::v1::channels::ChannelChange;
use katagami::wire::v1::devices::NewDevice;
use katagami::wire::v1::jobs::{NewJob, Start};
use katagami::wire::v1::sites::SiteChange;

use crate::kill::world::{IMAGES, World, site};
use crate::server::picture;
use crate::support::{Answer, generated_base, katagami, stored};
use crate::worker::worker;

const TILED: &str =
    r#"{"region": {"left": 0.25, "width": 0.75}, "tiles": {"columns": 2, "rows": 2, "overlap": 0.25}}"#;

async fn sees(client: &Client, view: View) {
    let change = SiteChange {
        view: Some(view),
        ..SiteChange::default()
    };
    client.change_site(&site(), &change).await.unwrap();
}

/// The header of a mask's artefact.
async fn header(client: &Client, version: MaskVersion) -> Header {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("mask.kgm");
    let mask = client.mask(&site(), version).await.unwrap();
    let wanted = Download {
        to: &to,
        digest: mask.digest,
        limit: mask.bytes,
        progress: &mut |_, _| {},
    };
    client.download_mask(&site(), version, wanted).await.unwrap();
    decode(&std::fs::read(&to).unwrap(), Limits::default())
        .unwrap()
        .header
}

/// What a device that follows `stable` feeds its model for one picture, as a file.
async fn device_input(world: &World, client: &Client) -> Vec<u8> {
    let new = NewDevice {
        name: "line-a".to_owned(),
        channel: None,
    };
    let token = client.enrol_device(&site(), &new).await.unwrap().token;
    let (folder, url) = (world.folder.path().to_owned(), world.url.clone());
    let work = move || {
        let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        std::fs::write(at("picture.png"), picture(3)).unwrap();
        let edge = |command: &str, more: &[&str]| -> Answer {
            let fixed = ["edge", command, "--dir", &at("device")];
            katagami(&folder, &[&fixed[..], more].concat()).good()
        };
        edge("pull", &["--server", &url, "--token", &token]);
        edge(
            "embed",
            &["--save-input", &at("device.safetensors"), &at("picture.png")],
        );
        std::fs::read(at("device.safetensors")).unwrap()
    };
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// What `katagami embed --view` feeds the base for the same picture.
fn offline_input(view: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    stored(&generated_base(7), folder.path(), "base.safetensors");
    std::fs::write(at("picture.png"), picture(3)).unwrap();
    worker(&[
        "embed",
        "--base",
        &at("base.safetensors"),
        "--size",
        "32",
        "--device",
        "cpu",
        "--view",
        view,
        "--save-input",
        &at("input.safetensors"),
        &at("picture.png"),
    ])
    .good();
    std::fs::read(at("input.safetensors")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_trains_through_its_sites_view_and_devices_embed_through_it() {
    let world = World::new().await;
    let client = world.client();
    let view = View::parse(TILED).unwrap();
    sees(&client, view).await;
    let job = world.job().await;
    // What is changed while a job waits or runs is for the next one.
    sees(&client, View::default()).await;
    let worker = world.worker(None);
    let first = world.makes_a_mask(job, "through a view").await;
    assert_eq!(client.job(job).await.unwrap().view, view);
    assert_eq!(client.mask(&site(), first).await.unwrap().view, view);
    assert_eq!(header(&client, first).await.view, view);
    let report = client.mask_report(&site(), first).await.unwrap();
    assert_eq!(report.view, view);
    assert_eq!(report.images.used, IMAGES, "pictures are counted, not tiles");
    assert_eq!(report.label_free.unwrap().images as u64, IMAGES);

    // The site sees whole pictures again: the mask is released with a reason, and nothing starts from it.
    let stable: ChannelName = "stable".parse().unwrap();
    let releases = async |reason: Option<&str>| {
        let change = ChannelChange {
            mask: Some(first),
            reason: reason.map(str::to_owned),
            // The gate has little to judge twelve pictures by.
            force: reason.is_some(),
        };
        client.move_channel(&site(), &stable, &change, None).await
    };
    releases(None).await.unwrap_err();
    releases(Some("to compare")).await.unwrap();
    let asked = |start| NewJob {
        start,
        ..NewJob::default()
    };
    let wrong = client.create_job(&site(), &asked(Some(Start::Mask(first)))).await;
    assert_eq!(wrong.unwrap_err().code(), "mask_of_other_view");
    assert!(device_input(&world, &client).await == offline_input(TILED));

    // With the view back, the next training goes on from it, through the same tiles.
    sees(&client, view).await;
    let next = client.create_job(&site(), &asked(None)).await.unwrap();
    assert_eq!((next.start, next.view), (Start::Mask(first), view));
    let second = world.makes_a_mask(next.id, "from a mask of the view").await;
    assert_eq!(header(&client, second).await.view, view);
    worker.leaves().await;
}
