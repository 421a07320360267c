//! What an attempt is given, may read, and has uploaded.

use super::dialect::{Count, Json, PerDialect};
use super::validation::LabelledImage;
use super::{CatalogError, Tx, bases, blobs, snapshots};
use crate::domain::gate::GateSettings;
use crate::domain::report::Kpi;
use crate::domain::{AttemptId, Digest, JobId, MaskVersion, SiteName, SnapshotId, View};
use crate::wire::v1::base::Base;

/// Everything that determines an attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// The attempt.
    pub attempt: AttemptId,
    /// The site.
    pub site: SiteName,
    /// Reserved for the mask, should there be one.
    pub mask_version: MaskVersion,
    /// The base.
    pub base: Base,
    /// The recipe's name.
    pub recipe: String,
    /// Steps of training, if not the recipe's.
    pub budget: Option<u32>,
    /// Seed.
    pub seed: u64,
    /// Which figure the mask is judged by.
    pub kpi: Kpi,
    /// Masks that its validation set has judged before.
    pub judged_before: u32,
    /// What the gate asks for.
    pub gate: GateSettings,
    /// How pictures become network input.
    pub view: View,
    /// What it trains on.
    pub snapshot: SnapshotId,
    /// The digest of that list of images.
    pub snapshot_digest: Digest,
    /// How many images that list has.
    pub images: u64,
    /// Images left out of the snapshot because they are in the validation set.
    pub left_out: u64,
    /// The mask that it starts from; `None`: the base.
    pub parent: Option<Parent>,
    /// At most two checkpoints of earlier attempts, the newest first.
    pub checkpoints: Vec<KeptCheckpoint>,
}

/// A blob and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, sqlx::FromRow)]
pub struct StoredBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    #[sqlx(try_from = "Count")]
    pub bytes: u64,
}

/// A mask that a training starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// Its version.
    pub version: MaskVersion,
    /// Its final scores.
    pub scores: StoredBlob,
    /// Its artefact.
    pub artefact: StoredBlob,
}

/// A checkpoint of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct KeptCheckpoint {
    /// The step after which it was written.
    #[sqlx(try_from = "Count")]
    pub step: u64,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    #[sqlx(try_from = "Count")]
    pub bytes: u64,
}

#[derive(sqlx::FromRow)]
struct Row {
    site: SiteName,
    reserved_version: MaskVersion,
    base: Digest,
    recipe: String,
    budget: Option<i64>,
    seed: i64,
    kpi: Kpi,
    judged_before: Count,
    gate: Json<GateSettings>,
    view: Json<View>,
    snapshot: SnapshotId,
    parent: Option<MaskVersion>,
}

/// Everything that the attempt of a job needs to know.
pub async fn assignment(tx: &mut Tx, attempt: AttemptId) -> Result<Assignment, CatalogError> {
    const SQL: &str =
        "SELECT site, reserved_version, base, recipe, budget, seed, kpi, judged_before, gate, view, snapshot,
            parent
        FROM job WHERE id = $1 AND attempt = $2 AND state = 'running'";
    let row: Option<Row> = on!(tx, db => {
        sqlx::query_as(SQL).bind(attempt.job).bind(i64::from(attempt.number)).fetch_optional(db).await?
    });
    let row = row.ok_or(CatalogError::LeaseLost { attempt })?;
    let snapshot = snapshots::needed(tx, row.snapshot).await?;
    let parent = match row.parent {
        Some(version) => parent(tx, &row.site, version).await?,
        None => None,
    };
    Ok(Assignment {
        attempt,
        mask_version: row.reserved_version,
        base: bases::get(tx, &row.base).await?.ok_or(CatalogError::NoBase)?,
        recipe: row.recipe,
        budget: row.budget.map(|steps| steps as u32),
        seed: row.seed as u64,
        kpi: row.kpi,
        judged_before: u32::try_from(row.judged_before.0).unwrap_or(u32::MAX),
        gate: row.gate.0,
        view: row.view.0,
        snapshot: snapshot.id,
        snapshot_digest: snapshot.digest,
        images: snapshot.images,
        left_out: snapshot.left_out,
        parent,
        checkpoints: checkpoints(tx, attempt.job).await?,
        site: row.site,
    })
}

async fn parent(tx: &mut Tx, site: &SiteName, version: MaskVersion) -> Result<Option<Parent>, CatalogError> {
    const SQL: &str = "SELECT mask.scores, blob.bytes, mask.artefact, mask.bytes
        FROM mask JOIN blob ON blob.digest = mask.scores WHERE mask.site = $1 AND mask.version = $2";
    let row: Option<(Digest, Count, Digest, Count)> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(version).fetch_optional(db).await?);
    let stored = |digest, bytes: Count| StoredBlob {
        digest,
        bytes: bytes.0,
    };
    Ok(
        row.map(|(scores, scores_bytes, artefact, artefact_bytes)| Parent {
            version,
            scores: stored(scores, scores_bytes),
            artefact: stored(artefact, artefact_bytes),
        }),
    )
}

/// A page of at most `limit` images that the attempt trains on: those after `after` in ascending order
/// of digests; all if that is empty. [`CatalogError::LeaseLost`] if the attempt does not have the job any more.
pub async fn images(
    tx: &mut Tx,
    attempt: AttemptId,
    after: &[u8],
    limit: u32,
) -> Result<Vec<StoredBlob>, CatalogError> {
    const SQL: &str =
        "SELECT s.digest, s.bytes FROM job JOIN snapshot_image AS s ON s.snapshot = job.snapshot
        WHERE job.id = $1 AND s.digest > $2 ORDER BY s.digest LIMIT $3";
    must_still_hold(tx, attempt).await?;
    Ok(on!(tx, db => {
        sqlx::query_as(SQL).bind(attempt.job).bind(after).bind(i64::from(limit)).fetch_all(db).await?
    }))
}

/// A page of the labelled images that judge the attempt's mask, as [`images`] gives those that it trains on.
pub async fn labelled(
    tx: &mut Tx,
    attempt: AttemptId,
    after: &[u8],
    limit: u32,
) -> Result<Vec<LabelledImage>, CatalogError> {
    const SQL: &str = "SELECT v.digest, v.name, v.class, v.split, v.bytes, v.phash, v.metadata FROM job
        JOIN validation_image AS v ON v.site = job.site AND v.version = job.validation
        WHERE job.id = $1 AND v.digest > $2 ORDER BY v.digest LIMIT $3";
    must_still_hold(tx, attempt).await?;
    Ok(on!(tx, db => {
        sqlx::query_as(SQL).bind(attempt.job).bind(after).bind(i64::from(limit)).fetch_all(db).await?
    }))
}

/// The checkpoints of a job, the newest first.
pub async fn checkpoints(tx: &mut Tx, job: JobId) -> Result<Vec<KeptCheckpoint>, CatalogError> {
    const SQL: &str = "SELECT checkpoint.step, checkpoint.digest, blob.bytes
        FROM checkpoint JOIN blob ON blob.digest = checkpoint.digest
        WHERE job = $1 ORDER BY created_at DESC, step DESC";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(job).fetch_all(db).await?))
}

/// Whether the attempt's job needs that blob: the base's file, images of its
/// snapshot (unless deleted) and of its validation set, the scores and the
/// artefact of its parent, its checkpoints. [`CatalogError::LeaseLost`] if the
/// attempt does not have the job any more.
pub async fn may_read(tx: &mut Tx, attempt: AttemptId, digest: &Digest) -> Result<bool, CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM job WHERE id = $1 AND (
        EXISTS (SELECT 1 FROM base WHERE base.digest = job.base AND base.file = $2)
        OR EXISTS (SELECT 1 FROM snapshot_image AS s JOIN image ON image.site = job.site AND image.digest = s.digest
            WHERE s.snapshot = job.snapshot AND s.digest = $2 AND image.deleted_at IS NULL)
        OR EXISTS (SELECT 1 FROM validation_image AS v
            WHERE v.site = job.site AND v.version = job.validation AND v.digest = $2)
        OR EXISTS (SELECT 1 FROM mask AS m
            WHERE m.site = job.site AND m.version = job.parent AND (m.scores = $2 OR m.artefact = $2))
        OR EXISTS (SELECT 1 FROM checkpoint AS c WHERE c.job = job.id AND c.digest = $2))";
    must_still_hold(tx, attempt).await?;
    let needed: i64 =
        on!(tx, db => sqlx::query_scalar(SQL).bind(attempt.job).bind(digest).fetch_one(db).await?);
    Ok(needed > 0)
}

/// The fence of what only reads: may not lock, and need not.
async fn must_still_hold(tx: &mut Tx, attempt: AttemptId) -> Result<(), CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM job WHERE id = $1 AND attempt = $2 AND state = 'running'";
    let number = i64::from(attempt.number);
    match on!(tx, db => sqlx::query_scalar::<_, i64>(SQL).bind(attempt.job).bind(number).fetch_one(db).await?)
    {
        0 => Err(CatalogError::LeaseLost { attempt }),
        _ => Ok(()),
    }
}

/// Whether the attempt has the job: asked before bytes of an upload are taken.
pub async fn must_hold(tx: &mut Tx, attempt: AttemptId) -> Result<(), CatalogError> {
    const SQL: PerDialect = locking!(
        "SELECT 1 FROM job WHERE id = $1 AND attempt = $2 AND state = 'running'",
        "FOR SHARE"
    );
    let sql = tx.text(SQL);
    let number = i64::from(attempt.number);
    let holds = on!(tx, db => {
        sqlx::query(sql).bind(attempt.job).bind(number).fetch_optional(db).await?.is_some()
    });
    if holds {
        Ok(())
    } else {
        Err(CatalogError::LeaseLost { attempt })
    }
}

/// Keeps a blob that the attempt uploaded while the attempt lives, until
/// something else names it.
pub async fn uploaded(tx: &mut Tx, attempt: AttemptId, digest: &Digest) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO attempt_blob (job, attempt, digest) VALUES ($1, $2, $3)
        ON CONFLICT (job, attempt, digest) DO NOTHING";
    must_hold(tx, attempt).await?;
    blobs::hold(tx, digest).await?;
    let number = i64::from(attempt.number);
    on!(tx, db => { sqlx::query(SQL).bind(attempt.job).bind(number).bind(digest).execute(db).await?; });
    Ok(())
}

/// A result may name only what its own attempt uploaded: a worker cannot turn
/// another site's bytes into a mask of this one.
pub(super) async fn must_have_uploaded(
    tx: &mut Tx,
    attempt: AttemptId,
    digest: &Digest,
) -> Result<(), CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM attempt_blob WHERE job = $1 AND attempt = $2 AND digest = $3";
    let number = i64::from(attempt.number);
    let found: i64 = on!(tx, db => {
        sqlx::query_scalar(SQL).bind(attempt.job).bind(number).bind(digest).fetch_one(db).await?
    });
    match found {
        0 => Err(CatalogError::NotUploaded {
            attempt,
            digest: *digest,
        }),
        _ => Ok(()),
    }
}
