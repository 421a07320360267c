//! A catalog, a store, a site; pictures and archives made by the test.

use std::io::{self, Cursor};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use katagami::catalog::{Catalog, images, sites};
use katagami::config::IntakeConfig;
use katagami::domain::snapshot::ImageFilter;
use katagami::domain::{Digest, SiteName};
use katagami::intake::{self, Intake, IntakeError};
use katagami::wire::v1::images::{Fate, Image, Received};
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::sites::NewSite;
use sqlx::ConnectOptions;

use crate::backend::{Backend, Database};
use crate::store::{OpenStore, Store};

/// Who does everything.
pub const BY: &str = "engineer (site)";

pub struct World {
    pub catalog: Catalog,
    pub store: OpenStore,
    pub intake: Intake,
    pub site: SiteName,
    database: Database,
}

impl World {
    /// A world with the site `osaka`.
    pub async fn new(backend: Backend, store: Store) -> Self {
        Self::with_limits(backend, store, IntakeConfig::default()).await
    }

    pub async fn with_limits(backend: Backend, store: Store, limits: IntakeConfig) -> Self {
        let database = backend.database();
        let catalog = Catalog::open(&database.url.parse().unwrap()).await.unwrap();
        let store = store.open().await;
        let site: SiteName = "osaka".parse().unwrap();
        let mut tx = catalog.begin().await.unwrap();
        let new: NewSite = serde_json::from_value(serde_json::json!({"name": site})).unwrap();
        sites::create(&mut tx, &new, BY).await.unwrap();
        tx.commit().await.unwrap();
        Self {
            intake: Intake::new(catalog.clone(), store.blobs.clone(), limits),
            catalog,
            store,
            site,
            database,
        }
    }

    /// Submits one file.
    pub async fn submits(&self, name: &str, bytes: &[u8]) -> Received {
        let body = whole(bytes);
        let answer = intake::image(&self.intake, &self.site, BY, name, None, body).await;
        answer.unwrap()
    }

    /// Submits a tar.
    pub async fn submits_tar(&self, tar: &[u8]) -> Vec<Received> {
        let body = in_pieces(tar);
        let answers = intake::tar(&self.intake, &self.site, BY, body);
        answers.try_collect().await.unwrap()
    }

    /// Sets a validation set.
    pub async fn labels(
        &self,
        tar: &[u8],
    ) -> Result<katagami::wire::v1::validation::ValidationReceived, IntakeError> {
        intake::validation(&self.intake, &self.site, in_pieces(tar), BY).await
    }

    /// The images that are there, by name.
    pub async fn images(&self) -> Vec<Image> {
        let mut tx = self.catalog.read().await.unwrap();
        let query = PageQuery {
            limit: Some(1000),
            ..Default::default()
        };
        let page = images::list(&mut tx, &self.site, &ImageFilter::default(), false, &query).await;
        let mut found = page.unwrap().items;
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// Makes the images those of a database from before pictures were measured.
    pub async fn forgets_looks(&self) {
        const SQL: &str = "UPDATE image SET look = NULL";
        if let Some(path) = self.database.url.strip_prefix("sqlite:") {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
            let mut connection = options.connect().await.unwrap();
            sqlx::query(SQL).execute(&mut connection).await.unwrap();
        } else {
            let options: sqlx::postgres::PgConnectOptions = self.database.url.parse().unwrap();
            let mut connection = options.connect().await.unwrap();
            sqlx::query(SQL).execute(&mut connection).await.unwrap();
        }
    }

    /// Deletes an image.
    pub async fn deletes(&self, image: &Digest) {
        let mut tx = self.catalog.begin().await.unwrap();
        images::mark_deleted(&mut tx, &self.site, image, BY)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

pub fn whole(bytes: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + use<> {
    futures::stream::iter([Ok(Bytes::copy_from_slice(bytes))])
}

pub fn in_pieces(bytes: &[u8]) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let pieces: Vec<Bytes> = bytes.chunks(3000).map(Bytes::copy_from_slice).collect();
    futures::stream::iter(pieces).map(Ok)
}

/// A picture of soft blobs that a seed places: different seeds look different.
pub fn picture(seed: u64, edge: u32) -> RgbImage {
    let draw = |number: u64| {
        let mixed = (seed * 1009 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 24) as f32
    };
    RgbImage::from_fn(edge, edge, |x, y| {
        let at = |value: u32| (value as f32 + 0.5) / edge as f32;
        let (x, y) = (at(x), at(y));
        let light = (0..8).map(|blob| {
            let across = x - draw(blob * 4);
            let down = y - draw(blob * 4 + 1);
            let size = 0.05 + 0.2 * draw(blob * 4 + 2);
            160.0 * draw(blob * 4 + 3) * (-(across * across + down * down) / (size * size)).exp()
        });
        Rgb([light.sum::<f32>().min(220.0) as u8 + 20; 3])
    })
}

pub fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    DynamicImage::from(picture.clone())
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();
    bytes
}

/// A PNG that a seed decides.
pub fn png(seed: u64) -> Vec<u8> {
    encoded(&picture(seed, 48), ImageFormat::Png)
}

/// A tar of plain files.
pub fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar: Vec<u8> = files
        .iter()
        .flat_map(|(name, content)| entry(name, b'0', content))
        .collect();
    tar.extend([0; 1024]);
    tar
}

/// An entry of a tar.
pub fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut entry = header(name, kind, content.len() as u64);
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

/// The header of an entry that declares `size` bytes.
pub fn header(name: &str, kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// What became of each file, in short: its name, and its fate or why it was rejected.
pub fn told(answers: &[Received]) -> Vec<(&str, &str)> {
    answers
        .iter()
        .map(|answer| {
            let fate = match answer.fate {
                Fate::Accepted => "accepted",
                Fate::Duplicate => "duplicate",
                Fate::Rejected => "rejected",
            };
            (answer.name.as_str(), answer.code.as_deref().unwrap_or(fate))
        })
        .collect()
}
