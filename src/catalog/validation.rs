//! Validation sets: versioned, immutable; the newest one judges.

use std::collections::BTreeMap;

use serde_json::json;

use super::dialect::{Count, Json, text};
use super::{CatalogError, Tx, audit, blobs, events, paging, sites};
use crate::domain::image::{Metadata, PerceptualHash};
use crate::domain::{Digest, Digester, JobId, SiteName, Split, Timestamp, ValidationVersion};
use crate::wire::v1::events::Happening;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::validation::{ClassCounts, ValidationSet};

/// A labelled image of a validation set; its bytes are a blob.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct LabelledImage {
    /// Its digest.
    pub digest: Digest,
    /// The name of the file that it came as.
    pub name: String,
    /// What it shows.
    pub class: String,
    /// What it is for.
    pub split: Split,
    /// Size of its file.
    #[sqlx(try_from = "Count")]
    pub bytes: u64,
    /// What it looks like.
    pub phash: PerceptualHash,
    /// Where and how it was taken: what slices are made of.
    #[sqlx(try_from = "Json<Metadata>")]
    pub metadata: Metadata,
}

impl From<Json<Metadata>> for Metadata {
    fn from(json: Json<Self>) -> Self {
        json.0
    }
}

/// The digest of what judges: images and classes of the validation split, whatever their order.
fn digest(images: &[LabelledImage]) -> Digest {
    let judging = images.iter().filter(|image| image.split == Split::Validation);
    let mut judging: Vec<_> = judging.map(|image| (image.digest, &image.class)).collect();
    judging.sort_unstable();
    judging.dedup_by_key(|(image, _)| *image);
    let mut digester = Digester::default();
    for (image, class) in judging {
        digester.update(image.as_bytes());
        digester.update(Digest::of(class.as_bytes()).as_bytes());
    }
    digester.finish()
}

/// Stores the next version of a site's validation set. Of images with the same
/// digest the first one is taken.
pub async fn create(
    tx: &mut Tx,
    site: &SiteName,
    images: &[LabelledImage],
    by: &str,
) -> Result<ValidationSet, CatalogError> {
    const NEXT: &str = "SELECT COALESCE(MAX(version), 0) + 1 FROM validation_set WHERE site = $1";
    const SET: &str = "INSERT INTO validation_set (site, version, digest, created_at, created_by) VALUES ($1, $2, $3, $4, $5)";
    const IMAGE: &str =
        "INSERT INTO validation_image (site, version, digest, name, class, split, bytes, phash, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (site, version, digest) DO NOTHING";
    sites::lock(tx, site).await?;
    let now = tx.now().await?;
    let version: ValidationVersion = on!(tx, db => sqlx::query_scalar(NEXT).bind(site).fetch_one(db).await?);
    on!(tx, db => {
        sqlx::query(SET).bind(site).bind(version).bind(digest(images)).bind(now).bind(by).execute(db).await?;
    });
    // In one order, so that two sites that send the same images cannot wait for each other.
    let mut images: Vec<&LabelledImage> = images.iter().collect();
    images.sort_by_key(|image| image.digest);
    for image in &images {
        blobs::hold(tx, &image.digest).await?;
        on!(tx, db => {
            sqlx::query(IMAGE).bind(site).bind(version).bind(image.digest).bind(text(&image.name)).bind(text(&image.class))
                .bind(image.split).bind(Count(image.bytes)).bind(image.phash).bind(Json(&image.metadata)).execute(db).await?;
        });
    }
    audit::record(
        tx,
        by,
        "validation_set",
        Some(site),
        json!({"version": version, "images": images.len()}),
    )
    .await?;
    events::record(tx, Some(site), Happening::ValidationSet { version: version.0 });
    let stored = get(tx, site, version).await?;
    stored.ok_or_else(|| CatalogError::NoSuchValidationSet {
        site: site.clone(),
        version,
    })
}

/// The version that judges new masks, if the site has a validation set.
pub async fn newest(tx: &mut Tx, site: &SiteName) -> Result<Option<ValidationVersion>, CatalogError> {
    const SQL: &str = "SELECT MAX(version) FROM validation_set WHERE site = $1";
    Ok(on!(tx, db => sqlx::query_scalar(SQL).bind(site).fetch_one(db).await?))
}

/// A version of a site's validation set.
pub async fn get(
    tx: &mut Tx,
    site: &SiteName,
    version: ValidationVersion,
) -> Result<Option<ValidationSet>, CatalogError> {
    const SET: &str = "SELECT created_at, created_by FROM validation_set WHERE site = $1 AND version = $2";
    const CLASSES: &str = "SELECT class, split, COUNT(*) FROM validation_image
        WHERE site = $1 AND version = $2 GROUP BY class, split";
    let set: Option<(Timestamp, String)> =
        on!(tx, db => sqlx::query_as(SET).bind(site).bind(version).fetch_optional(db).await?);
    let Some((created_at, created_by)) = set else {
        return Ok(None);
    };
    let counts: Vec<(String, Split, Count)> =
        on!(tx, db => sqlx::query_as(CLASSES).bind(site).bind(version).fetch_all(db).await?);
    let judged_masks = judged(tx, site, version).await?;
    let mut classes = BTreeMap::<String, ClassCounts>::new();
    for (class, split, count) in &counts {
        let counts = classes.entry(class.clone()).or_default();
        match split {
            Split::Validation => counts.validation = count.0,
            Split::Test => counts.test = count.0,
        }
    }
    Ok(Some(ValidationSet {
        version,
        images: counts.iter().map(|(_, _, count)| count.0).sum(),
        classes,
        judged_masks,
        created_at,
        created_by,
    }))
}

/// How many masks of the site the images of a version have judged, in this or another version.
async fn judged(tx: &mut Tx, site: &SiteName, version: ValidationVersion) -> Result<u64, CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM job
        JOIN validation_set AS judge ON judge.site = job.site AND judge.version = job.validation
        WHERE job.site = $1 AND job.mask IS NOT NULL AND judge.digest =
            (SELECT digest FROM validation_set WHERE site = $1 AND version = $2)";
    let Count(judged) = on!(tx, db => sqlx::query_scalar(SQL).bind(site).bind(version).fetch_one(db).await?);
    Ok(judged)
}

/// Writes down, for an attempt that begins, how many masks its validation set
/// has judged or is judging: those of attempts that run count, since nobody
/// knows which of two ends first.
pub(super) async fn note_judged(tx: &mut Tx, job: JobId) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE job SET judged_before = (SELECT COUNT(*) FROM job AS other
            JOIN validation_set AS judge ON judge.site = other.site AND judge.version = other.validation
            WHERE other.site = job.site AND other.id <> job.id
                AND (other.mask IS NOT NULL OR other.state = 'running')
                AND judge.digest = (SELECT digest FROM validation_set AS own
                    WHERE own.site = job.site AND own.version = job.validation))
        WHERE id = $1";
    on!(tx, db => { sqlx::query(SQL).bind(job).execute(db).await?; });
    Ok(())
}

/// The versions of a site's validation set, newest first.
pub async fn list(
    tx: &mut Tx,
    site: &SiteName,
    query: &PageQuery,
) -> Result<Page<ValidationSet>, CatalogError> {
    const SQL: &str =
        "SELECT version FROM validation_set WHERE site = $1 AND version < $2 ORDER BY version DESC LIMIT $3";
    let size = paging::size(query.limit);
    let before: i64 = paging::cursor(query.cursor.as_deref())?.unwrap_or(i64::MAX);
    let versions: Vec<ValidationVersion> = on!(tx, db => {
        sqlx::query_scalar(SQL).bind(site).bind(before).bind(size as i64 + 1).fetch_all(db).await?
    });
    let mut sets = Vec::with_capacity(versions.len());
    for version in versions {
        sets.extend(get(tx, site, version).await?);
    }
    Ok(paging::page(sets, size, |set: &ValidationSet| {
        set.version.to_string()
    }))
}

/// The images of a version, in ascending order of their digests.
pub async fn images(
    tx: &mut Tx,
    site: &SiteName,
    version: ValidationVersion,
) -> Result<Vec<LabelledImage>, CatalogError> {
    const SQL: &str = "SELECT digest, name, class, split, bytes, phash, metadata FROM validation_image
        WHERE site = $1 AND version = $2 ORDER BY digest";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(site).bind(version).fetch_all(db).await?))
}
