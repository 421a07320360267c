//! A real server with one site and one device, and what a training would have made.

use bytes::Bytes;
use katagami::api::{self, Running};
use katagami::base::{Preprocessing, Weights};
use katagami::catalog::attempts::Assignment;
use katagami::catalog::jobs::{self, Published, PublishedMask};
use katagami::catalog::workers::WorkerCard;
use katagami::client::{Client, SingleImage};
use katagami::config::Config;
use katagami::domain::permission::Role;
use katagami::domain::{Digest, MaskVersion, SiteName};
use katagami::mask::{Limits, decode};
use katagami::wire::v1::channels::ChannelChange;
use katagami::wire::v1::devices::NewDevice;
use katagami::wire::v1::jobs::NewJob;
use katagami::wire::v1::tokens::NewToken;

use super::mask_over;
use crate::support::{Answer, generated_base, imported, katagami as run};

/// A server with one site, one image and one device.
pub struct Factory {
    folder: tempfile::TempDir,
    pub server: Running,
    /// The admin.
    pub client: Client,
    pub site: SiteName,
    pub base: Weights,
    /// The device's token.
    pub token: String,
}

impl Factory {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = generated_base(7);
        imported(&base, folder.path(), None);
        let mut config = Config::default();
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.storage.data = folder.path().join("data");
        config.storage.bases = folder.path().join("bases");
        config.workers.count = Some(0);
        let server = api::start(config).await.unwrap();
        let admin = server.admin.as_ref().unwrap().secret.reveal().to_owned();
        let client = Client::new(&server.url, Some(&admin), None).unwrap();
        let site: SiteName = "osaka".parse().unwrap();
        make_site(&client, &site).await;
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

    /// Makes a site if it is not there, whose masks are trained from now on.
    pub async fn has_site(&mut self, site: &str) {
        let site: SiteName = site.parse().unwrap();
        if self.client.site(&site).await.is_err() {
            make_site(&self.client, &site).await;
        }
        self.site = site;
    }

    /// A file beside the server's data; the device's folder is `device`.
    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// Asks for a training with a small mask, and does as its worker would: leases, uploads, publishes.
    pub async fn trains(&self) -> MaskVersion {
        self.trains_to(mask_over).await
    }

    /// As [`Factory::trains`], with the artefact that `made` makes of base, preprocessing and version.
    pub async fn trains_to(&self, made: fn(&Weights, Digest, u32) -> Vec<u8>) -> MaskVersion {
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
        let artefact = made(&self.base, preprocessing, mask_version.0);
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

    pub async fn releases(&self, mask: Option<MaskVersion>) {
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

    pub async fn edge(&self, command: &str, more: &[&str]) -> Answer {
        let dir = self.folder.path().join("device");
        let all = [&["edge", command, "--dir", dir.to_str().unwrap()], more].concat();
        self.runs(&all).await
    }

    /// Runs a command as the admin.
    pub async fn katagami(&self, command: &[&str]) -> Answer {
        let secret = self.server.admin.as_ref().unwrap().secret.reveal();
        let remote = ["--server", &self.server.url, "--token", secret];
        self.runs(&[command, &remote].concat()).await
    }

    async fn runs(&self, arguments: &[&str]) -> Answer {
        let all: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let folder = self.folder.path().to_owned();
        let work = move || run(&folder, &all.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    pub async fn pull(&self) -> serde_json::Value {
        let (url, token) = (self.server.url.clone(), self.token.clone());
        self.edge("pull", &["--server", &url, "--token", &token, "--json"])
            .await
            .good()
            .json()
    }
}

/// Makes a site with one image.
async fn make_site(client: &Client, site: &SiteName) {
    let new = serde_json::from_value(serde_json::json!({"name": site}));
    client.create_site(&new.unwrap()).await.unwrap();
    let image = SingleImage {
        name: "one.png".to_owned(),
        media_type: "image/png".to_owned(),
        caption: None,
        bytes: picture(1),
    };
    let submitted = client.submit_image(site, image).await.unwrap();
    assert_eq!(submitted.accepted, 1, "{submitted:?}");
}

/// A small picture, another one for each number.
pub fn picture(number: u8) -> Bytes {
    let picture = image::RgbImage::from_fn(64, 48, |x, y| {
        image::Rgb([(x as u8).wrapping_mul(number), (y as u8).wrapping_mul(3), number])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}
