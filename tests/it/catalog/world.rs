//! What the catalog's tests begin with: a database, a site, images, a job.

use std::time::Duration;

use katagami::base::{Manifest, Preprocessing};
use katagami::catalog::attempts::Assignment;
use katagami::catalog::images::{Inserted, NewImage};
use katagami::catalog::jobs::{Published, PublishedMask, ResolvedJob};
use katagami::catalog::snapshots::Chosen;
use katagami::catalog::workers::WorkerCard;
use katagami::catalog::{
    Catalog, CatalogError, Tx, attempts, bases, blobs, images, jobs, sites, snapshots, validation,
};
use katagami::domain::gate::GateSettings;
use katagami::domain::image::{Metadata, PerceptualHash};
use katagami::domain::report::Kpi;
use katagami::domain::snapshot::ImageFilter;
use katagami::domain::{AttemptId, Digest, SiteName, Split, Timestamp, View};
use katagami::scheduler::Retention;
use katagami::wire::v1::jobs::Job;
use katagami::wire::v1::sites::NewSite;
use katagami::wire::v1::snapshots::Snapshot;

use crate::backend::{Backend, Database};

/// A week of everything that only helps.
pub const WEEK: Retention = Retention {
    events: Duration::from_hours(168),
    idempotency: Duration::from_hours(168),
};

/// Who does it all.
pub const BY: &str = "the test (admin)";
/// How long a lease is.
pub const LEASE: Duration = Duration::from_mins(1);
/// A little more than nothing.
pub const SECOND: Duration = Duration::from_secs(1);

/// A catalog with an active base.
pub struct World {
    pub catalog: Catalog,
    pub base: Digest,
    pub database: Database,
}

impl World {
    pub async fn new(backend: Backend) -> Self {
        let database = backend.database();
        let catalog = Catalog::open(&database.url.parse().unwrap()).await.unwrap();
        let base = Digest::of(b"the weights");
        let world = Self {
            catalog,
            base,
            database,
        };
        let file = world.blob("base.safetensors").await;
        let manifest = Manifest {
            digest: base,
            architecture: "resnet18".to_owned(),
            preprocessing: Preprocessing::of_architecture("resnet18"),
            licence: None,
            source: None,
            terms: None,
            bytes: 100,
            imported_at: Timestamp::default(),
        };
        let mut tx = world.begin().await;
        bases::put(&mut tx, &manifest, &file, BY).await.unwrap();
        bases::activate(&mut tx, &base, BY).await.unwrap();
        tx.commit().await.unwrap();
        world
    }

    pub async fn begin(&self) -> Tx {
        self.catalog.begin().await.unwrap()
    }

    pub async fn read(&self) -> Tx {
        self.catalog.read().await.unwrap()
    }

    /// Stores a blob (its row; there are no bytes here).
    pub async fn blob(&self, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let mut tx = self.begin().await;
        blobs::touch(&mut tx, &digest, content.len() as u64)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        digest
    }

    pub async fn site(&self, name: &str) -> SiteName {
        let mut tx = self.begin().await;
        let site = sites::create(&mut tx, &new_site(name), BY).await.unwrap();
        tx.commit().await.unwrap();
        site.name
    }

    /// Submits an image with these pairs of metadata.
    pub async fn image(
        &self,
        site: &SiteName,
        content: &str,
        metadata: &[(&str, &str)],
    ) -> (Digest, Inserted) {
        let digest = self.blob(content).await;
        let pairs = metadata
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let image = NewImage {
            digest,
            name: format!("{content}.png"),
            media_type: "image/png".to_owned(),
            width: 300,
            height: 200,
            bytes: content.len() as u64,
            phash: PerceptualHash(u64::MAX - 5),
            look: None,
            metadata: pairs
                .collect::<std::collections::BTreeMap<_, _>>()
                .try_into()
                .unwrap(),
            captured_at: Some(Timestamp::from_micros(1_000_000)),
        };
        let mut tx = self.begin().await;
        let inserted = images::insert(&mut tx, site, &image).await.unwrap();
        tx.commit().await.unwrap();
        (digest, inserted)
    }

    /// Freezes all images of a site.
    pub async fn snapshot(&self, site: &SiteName) -> Snapshot {
        let mut tx = self.begin().await;
        let found = images::matching(&mut tx, site, &ImageFilter::default())
            .await
            .unwrap();
        let chosen = Chosen {
            filter: ImageFilter::default(),
            exclusions: Vec::new(),
            excluded: Vec::new(),
            images: found.iter().map(|image| (image.digest, image.bytes)).collect(),
            left_out: 2,
            validation: None,
        };
        let snapshot = snapshots::create(&mut tx, site, &chosen, BY).await.unwrap();
        tx.commit().await.unwrap();
        snapshot
    }

    /// A validation set of one image.
    pub async fn validation(&self, site: &SiteName) -> Digest {
        let digest = self.blob("labelled").await;
        let image = validation::LabelledImage {
            digest,
            name: "ok/labelled.png".to_owned(),
            class: "ok".to_owned(),
            split: Split::Test,
            bytes: 8,
            phash: PerceptualHash(7),
            metadata: Metadata::default(),
        };
        let mut tx = self.begin().await;
        validation::create(&mut tx, site, &[image], BY).await.unwrap();
        tx.commit().await.unwrap();
        digest
    }

    /// Asks for a training on all images of a site.
    pub async fn job(&self, site: &SiteName) -> Job {
        let snapshot = self.snapshot(site).await;
        self.job_on(&snapshot).await.unwrap()
    }

    pub async fn job_on(&self, snapshot: &Snapshot) -> Result<Job, CatalogError> {
        let mut tx = self.begin().await;
        let new = ResolvedJob {
            site: snapshot.site.clone(),
            snapshot: snapshot.id,
            base: self.base,
            validation: validation::newest(&mut tx, &snapshot.site).await?,
            recipe: "factory".to_owned(),
            budget: Some(12),
            kpi: Kpi::Knn,
            gate: GateSettings::default(),
            view: sites::needed(&mut tx, &snapshot.site).await?.view,
            parent: None,
            seed: u64::MAX,
            priority: 0,
            max_attempts: 3,
        };
        let job = jobs::create(&mut tx, &new, BY).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub async fn look(&self, job: &Job) -> Job {
        jobs::get(&mut self.read().await, job.id).await.unwrap().unwrap()
    }

    pub async fn leases(&self, worker: &str) -> Option<Assignment> {
        let mut tx = self.begin().await;
        let leased = jobs::lease(&mut tx, &worker_card(worker), LEASE).await.unwrap();
        tx.commit().await.unwrap();
        leased
    }

    /// Uploads a blob for an attempt.
    pub async fn uploads(&self, attempt: AttemptId, content: &str) -> Result<Digest, CatalogError> {
        let digest = self.blob(content).await;
        let mut tx = self.begin().await;
        attempts::uploaded(&mut tx, attempt, &digest).await?;
        tx.commit().await?;
        Ok(digest)
    }

    /// Uploads and publishes a mask.
    pub async fn publishes(&self, attempt: AttemptId) -> Result<(), CatalogError> {
        for content in ["artefact", "scores", "report"] {
            self.uploads(attempt, &format!("{content} of {attempt}")).await?;
        }
        let mut tx = self.begin().await;
        jobs::publish(&mut tx, attempt, &published(attempt)).await?;
        tx.commit().await
    }
}

pub fn new_site(name: &str) -> NewSite {
    NewSite {
        name: name.parse().unwrap(),
        title: None,
        kpi: Kpi::Probe,
        gate: GateSettings::default(),
        view: View::default(),
    }
}

pub fn worker_card(name: &str) -> WorkerCard {
    WorkerCard {
        name: name.to_owned(),
        device: "cpu".to_owned(),
        memory_bytes: 0,
        version: "0.1.0".to_owned(),
    }
}

/// What [`World::publishes`] publishes.
pub fn published(attempt: AttemptId) -> Published {
    let of = |content: &str| Digest::of(format!("{content} of {attempt}").as_bytes());
    Published {
        report: of("report"),
        mask: Some(PublishedMask {
            artefact: of("artefact"),
            scores: of("scores"),
            weights: Digest::of(b"masked weights"),
            flips: 123,
            verdict: "held".to_owned(),
            reasons: vec!["no measurable effect".to_owned()],
            kpi_base: Some(0.5),
            kpi_mask: Some(0.625),
            kpi_difference: Some([0.125, -0.25, 0.5]),
        }),
    }
}

/// Fails unless it was refused with that code.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, CatalogError>, code: &str) -> CatalogError {
    use katagami::domain::Problem as _;
    let error = answer.expect_err("it was to be refused");
    assert_eq!(error.code(), code, "{error}");
    error
}
