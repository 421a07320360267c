//! The same against the real server, from the site to the device's model;
//! what is between them but the training, whose mask is made here.

use bytes::Bytes;
use katagami::client::{Client, Upload};
use katagami::domain::permission::Role;
use katagami::domain::{MaskVersion, Problem as _};
use katagami::wire::v1::events::{EventQuery, Happening};
use katagami::wire::v1::images::{Fate, ImageQuery};
use katagami::wire::v1::jobs::{JobQuery, NewJob};
use katagami::wire::v1::page::PageQuery;
use tokio_stream::wrappers::ReceiverStream;

use super::factory::{Factory, picture};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_follows_the_channel_of_the_real_server_and_reports() {
    let factory = Factory::new().await;
    let mut events = factory
        .client
        .events(&EventQuery::default(), None)
        .connected()
        .await
        .unwrap();
    let first = factory.pull().await;
    assert!(first["status"]["mask"].is_null());
    assert!(first["base_bytes"].as_u64().unwrap() > 1_000_000);

    let one = factory.trains().await;
    factory.releases(Some(one)).await;
    let moved = factory.pull().await;
    assert_eq!(
        (&moved["status"]["mask"], &moved["base_bytes"]),
        (&one.0.into(), &0.into())
    );
    assert_eq!(factory.pull().await["mask_bytes"], 0);
    factory.edge("verify", &[]).await.good();

    let mask = factory.client.mask(&factory.site, one).await.unwrap();
    assert_eq!(moved["status"]["weights"], mask.weights.to_string());
    let device = factory.client.all_devices(&factory.site).await.unwrap().remove(0);
    let said = device.status.expect("the device reported");
    assert_eq!(
        (said.mask, said.weights, said.error),
        (Some(one), Some(mask.weights), None)
    );
    // Who follows events is told of the move.
    let told = loop {
        if let Happening::ChannelMoved { mask, .. } = events.next().await.unwrap().what {
            break mask;
        }
    };
    assert_eq!(told, Some(one));

    let two = factory.trains().await;
    factory.releases(Some(two)).await;
    assert_eq!(factory.pull().await["status"]["mask"], two.0);
    factory.releases(Some(one)).await;
    assert_eq!(factory.pull().await["status"]["mask"], one.0);
    factory.releases(None).await;
    let none = factory.pull().await;
    assert_eq!(none["status"]["weights"], factory.base.digest().to_string());
    factory.edge("rollback", &[]).await.good();
    let held = factory.pull().await;
    assert_eq!(
        (&held["held"], &held["status"]["mask"]),
        (&true.into(), &one.0.into())
    );
    factory.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_speaks_to_every_family_of_the_real_server() {
    let factory = Factory::new().await;
    let (client, site) = (&factory.client, &factory.site);
    assert_eq!(client.whoami().await.unwrap().role, Role::Admin);
    assert_eq!(client.all_sites().await.unwrap().len(), 1);
    assert_eq!(
        client.base().await.unwrap().manifest.digest,
        factory.base.digest()
    );
    let image = client
        .all_images(site, &ImageQuery::default())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(client.image_bytes(site, &image.digest).await.unwrap(), picture(1));

    // A tar through a channel, as the commands send it.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let written = tokio::spawn(async move {
        let mut tar = tokio_tar::Builder::new(Vec::new());
        for (name, number) in [("again.png", 1), ("new.png", 9)] {
            let bytes = picture(number);
            let mut header = tokio_tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, &bytes[..]).await.unwrap();
        }
        let tar = tar.into_inner().await.unwrap();
        for chunk in tar.chunks(1000) {
            sender.send(Ok(Bytes::copy_from_slice(chunk))).await.unwrap();
        }
    });
    let (progress, sent) = (
        std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0)),
        std::sync::atomic::Ordering::SeqCst,
    );
    let counted = progress.clone();
    let upload =
        Upload::stream(ReceiverStream::new(receiver)).with_progress(move |bytes| counted.store(bytes, sent));
    let mut reception = client.submit_tar(site, upload).await.unwrap();
    let mut fates = Vec::new();
    while let Some(received) = reception.next().await.unwrap() {
        fates.push((received.name, received.fate));
    }
    written.await.unwrap();
    assert!(progress.load(sent) > 1000);
    fates.sort_by_key(|(name, _)| name.clone());
    assert_eq!(
        fates,
        [
            ("again.png".to_owned(), Fate::Duplicate),
            ("new.png".to_owned(), Fate::Accepted)
        ]
    );

    let snapshot = client
        .create_snapshot(site, &serde_json::from_str("{}").unwrap())
        .await
        .unwrap();
    assert_eq!(
        client
            .snapshot_images(site, snapshot.id)
            .await
            .unwrap()
            .images
            .len(),
        2
    );
    let job = client.create_job(site, &NewJob::default()).await.unwrap();
    assert_eq!(
        client.all_jobs(site, &JobQuery::default()).await.unwrap().len(),
        1
    );
    assert!(client.cancel_job(job.id).await.unwrap().state.is_ended());
    assert!(client.job_logs(job.id).await.unwrap().lines.is_empty());
    assert!(client.all_workers().await.unwrap().is_empty());
    assert!(
        !client
            .audit(&PageQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    client.delete_image(site, &image.digest).await.unwrap();
    assert_eq!(
        client
            .all_images(site, &ImageQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );

    let refused = client.mask(site, MaskVersion(7)).await.unwrap_err();
    assert_eq!(
        (refused.status(), refused.code()),
        (Some(404), "no_such_mask"),
        "{refused}"
    );
    let stranger = Client::new(&factory.server.url, Some(&factory.token), None).unwrap();
    let refused = stranger
        .all_images(&"kyoto".parse().unwrap(), &ImageQuery::default())
        .await
        .unwrap_err();
    assert_eq!(refused.status(), Some(404));
    factory.server.stop().await;
}
