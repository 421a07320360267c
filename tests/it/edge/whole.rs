//! The same against the real server, from the site to the device's model;
//! what is between them but the training, whose mask is made here.

use bytes::Bytes;
use katagami::api::{self, Running};
use katagami::base::{Preprocessing, Weights};
use katagami::catalog::attempts::Assignment;
use katagami::catalog::jobs::{self, Published, PublishedMask};
use katagami::catalog::workers::WorkerCard;
use katagami::client::{Client, SingleImage, Upload};
use katagami::config::Config;
use katagami::domain::permission::Role;
use katagami::domain::{MaskVersion, Problem as _, SiteName};
use katagami::mask::{Limits, decode};
use katagami::wire::v1::channels::ChannelChange;
use katagami::wire::v1::devices::NewDevice;
use katagami::wire::v1::events::{EventQuery, Happening};
use katagami::wire::v1::images::{Fate, ImageQuery};
use katagami::wire::v1::jobs::{JobQuery, NewJob};
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::tokens::NewToken;
use tokio_stream::wrappers::ReceiverStream;

use super::mask_over;
use crate::support::{Answer, generated_base, imported, katagami as run};

/// A server with one site, one image and one device.
struct Factory {
    folder: tempfile::TempDir,
    server: Running,
    /// The admin.
    client: Client,
    site: SiteName,
    base: Weights,
    /// The device's token.
    token: String,
}

impl Factory {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = generated_base(7);
        imported(&base, folder.path(), None);
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.storage.data = folder.path().join("data");
        config.storage.bases = folder.path().join("bases");
        config.workers.count = 0;
        let server = api::start(config).await.unwrap();
        let admin = server.admin.as_ref().unwrap().secret.reveal().to_owned();
        let client = Client::new(&server.url, Some(&admin), None).unwrap();
        let site: SiteName = "osaka".parse().unwrap();
        client
            .create_site(&serde_json::from_str(r#"{"name": "osaka"}"#).unwrap())
            .await
            .unwrap();
        let image = SingleImage {
            name: "one.png".to_owned(),
            media_type: "image/png".to_owned(),
            caption: None,
            bytes: picture(1),
        };
        let submitted = client.submit_image(&site, image).await.unwrap();
        assert_eq!(submitted.accepted, 1, "{submitted:?}");
        let new = NewDevice {
            name: "line-a".to_owned(),
            channel: None,
        };
        let token = client.enrol_device(&site, &new).await.unwrap().token;
        Self {
            folder,
            server,
            client,
            site,
            base,
            token,
        }
    }

    /// Asks for a training, and does as its worker would: leases, uploads, publishes.
    async fn trains(&self) -> MaskVersion {
        self.client
            .create_job(&self.site, &NewJob::default())
            .await
            .unwrap();
        let catalog = &self.server.app.catalog;
        let card = WorkerCard {
            name: "worker".to_owned(),
            device: "cpu".to_owned(),
            memory_bytes: 0,
            version: "0.1.0".to_owned(),
        };
        let mut tx = catalog.begin().await.unwrap();
        let leased = jobs::lease(&mut tx, &card, std::time::Duration::from_mins(1))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let Assignment {
            attempt,
            mask_version,
            ..
        } = leased.expect("a job is queued");
        let preprocessing = Preprocessing::of_architecture(self.base.architecture.name).digest();
        let artefact = mask_over(&self.base, preprocessing, mask_version.0);
        let header = decode(&artefact, Limits::default()).unwrap().header;
        let worker = NewToken {
            name: "worker".to_owned(),
            role: Role::Worker,
            site: None,
            expires_at: None,
        };
        let worker = self.client.create_token(&worker).await.unwrap().secret;
        let worker = Client::new(&self.server.url, Some(&worker), None).unwrap();
        let put = |bytes: &'static [u8]| worker.put_attempt_blob(attempt, Bytes::from_static(bytes));
        let (scores, report) = (put(b"scores").await.unwrap(), put(b"{}").await.unwrap());
        let digest = worker.put_attempt_blob(attempt, artefact.into()).await.unwrap();
        let published = Published {
            report,
            mask: Some(PublishedMask {
                artefact: digest,
                scores,
                weights: header.weights,
                flips: 1,
                verdict: "passed".to_owned(),
                reasons: Vec::new(),
                kpi_base: None,
                kpi_mask: None,
                kpi_difference: None,
            }),
        };
        let mut tx = catalog.begin().await.unwrap();
        let version = jobs::publish(&mut tx, attempt, &published)
            .await
            .unwrap()
            .unwrap();
        tx.commit().await.unwrap();
        version
    }

    async fn releases(&self, mask: Option<MaskVersion>) {
        let change = ChannelChange {
            mask,
            reason: None,
            force: false,
        };
        let channel = "stable".parse().unwrap();
        self.client
            .move_channel(&self.site, &channel, &change, None)
            .await
            .unwrap();
    }

    async fn edge(&self, command: &str, more: &[&str]) -> Answer {
        let dir = self.folder.path().join("device");
        let mut all = vec!["edge".to_owned(), command.to_owned(), "--dir".to_owned()];
        all.push(dir.to_str().unwrap().to_owned());
        all.extend(more.iter().map(|argument| (*argument).to_owned()));
        let folder = self.folder.path().to_owned();
        let work = move || run(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    async fn pull(&self) -> serde_json::Value {
        let (url, token) = (self.server.url.clone(), self.token.clone());
        self.edge("pull", &["--server", &url, "--token", &token, "--json"])
            .await
            .good()
            .json()
    }
}

/// A small picture, another one for each number.
fn picture(number: u8) -> Bytes {
    let picture = image::RgbImage::from_fn(64, 48, |x, y| {
        image::Rgb([(x as u8).wrapping_mul(number), (y as u8).wrapping_mul(3), number])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

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
