//! Population priors of a base: from whose masks the next one is learned, which
//! ones there are, and the masks that are there in the short form for devices that hold one.

use serde_json::json;

use super::dialect::{Count, PerDialect};
use super::{CatalogError, Tx, audit, blobs};
use crate::domain::{Digest, MaskVersion, SiteName, Timestamp};
use crate::wire::v1::masks::MaskWithPrior;
use crate::wire::v1::priors::Prior;

/// A mask that a site lends.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Lent {
    /// The site.
    pub site: SiteName,
    /// Its artefact.
    pub artefact: Digest,
}

/// The masks over `base` that the next prior may be learned from: of each site that lends its masks
/// the newest one that was not refused.
pub async fn lent(tx: &mut Tx, base: &Digest) -> Result<Vec<Lent>, CatalogError> {
    const SQL: &str = "SELECT mask.site, mask.artefact FROM mask JOIN site ON site.name = mask.site
        WHERE site.lends_masks AND mask.version = (SELECT MAX(version) FROM mask AS newest
            WHERE newest.site = mask.site AND newest.base = $1 AND newest.verdict <> 'refused')
        ORDER BY mask.site";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(base).fetch_all(db).await?))
}

#[derive(sqlx::FromRow)]
struct PriorRow {
    base: Digest,
    version: i64,
    digest: Digest,
    file: Digest,
    bytes: Count,
    sites: i64,
    made_at: Timestamp,
}

impl From<PriorRow> for Prior {
    fn from(row: PriorRow) -> Self {
        Self {
            base: row.base,
            // Written by `put`, from counts that fit.
            version: row.version as u32,
            digest: row.digest,
            file: row.file,
            bytes: row.bytes.0,
            sites: row.sites as u32,
            made_at: row.made_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT base, version, digest, file, bytes, sites, made_at FROM prior ",
            $rest
        )
    };
}

/// A prior whose file is a stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPrior {
    /// The base whose masks it is for.
    pub base: Digest,
    /// The digest of what it says.
    pub digest: Digest,
    /// Its blob.
    pub file: Digest,
    /// Bytes of its blob.
    pub bytes: u64,
    /// The sites that it was learned from.
    pub sites: Vec<SiteName>,
}

/// Stores the next prior of a base. One that says the same is answered as it is.
pub async fn put(tx: &mut Tx, new: &NewPrior, by: &str) -> Result<Prior, CatalogError> {
    const SQL: &str = "INSERT INTO prior (base, version, digest, file, bytes, sites, made_at)
        SELECT $1, COALESCE(MAX(version), 0) + 1, $2, $3, $4, $5, $6 FROM prior WHERE base = $1
        ON CONFLICT DO NOTHING";
    // Versions count up within a base: others that make one wait.
    const LOCK: PerDialect = locking!("SELECT 1 FROM base WHERE digest = $1", "FOR NO KEY UPDATE");
    let lock = tx.text(LOCK);
    on!(tx, db => { sqlx::query(lock).bind(new.base).fetch_optional(db).await?; });
    blobs::hold(tx, &new.file).await?;
    let (now, sites) = (tx.now().await?, new.sites.len() as i64);
    let made = on!(tx, db => {
        sqlx::query(SQL).bind(new.base).bind(new.digest).bind(new.file).bind(Count(new.bytes)).bind(sites).bind(now)
            .execute(db).await?.rows_affected()
    });
    if made > 0 {
        let detail = json!({"base": new.base, "prior": new.digest, "sites": new.sites});
        audit::record(tx, by, "prior_made", None, detail).await?;
    }
    needed(tx, &new.digest).await
}

/// All priors, the newest first. There are few.
pub async fn list(tx: &mut Tx) -> Result<Vec<Prior>, CatalogError> {
    const SQL: &str = select!("ORDER BY made_at DESC, base, version DESC");
    let rows: Vec<PriorRow> = on!(tx, db => sqlx::query_as(SQL).fetch_all(db).await?);
    Ok(rows.into_iter().map(Prior::from).collect())
}

/// The prior of that digest, or [`CatalogError::NoSuchPrior`].
pub async fn needed(tx: &mut Tx, prior: &Digest) -> Result<Prior, CatalogError> {
    const SQL: &str = select!("WHERE digest = $1");
    let row: Option<PriorRow> = on!(tx, db => sqlx::query_as(SQL).bind(prior).fetch_optional(db).await?);
    row.map(Prior::from)
        .ok_or(CatalogError::NoSuchPrior { prior: *prior })
}

/// A mask that devices will ask for and that nobody coded with its base's newest prior yet.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Wanted {
    /// The site.
    pub site: SiteName,
    /// The mask.
    pub version: MaskVersion,
    /// Its artefact.
    pub artefact: Digest,
    /// Bytes of that artefact.
    #[sqlx(try_from = "Count")]
    pub bytes: u64,
    /// Its base.
    pub base: Digest,
    /// The prior.
    pub prior: Digest,
    /// The prior's file.
    pub prior_file: Digest,
}

/// At most `limit` masks to code: those that a channel points at, and the newest of each site.
pub async fn wanted(tx: &mut Tx, limit: u32) -> Result<Vec<Wanted>, CatalogError> {
    const SQL: &str = "WITH near AS (
            SELECT site, mask AS version FROM channel WHERE mask IS NOT NULL
            UNION
            SELECT site, MAX(version) FROM mask WHERE verdict <> 'refused' GROUP BY site
        )
        SELECT mask.site, mask.version, mask.artefact, mask.bytes, mask.base,
            prior.digest AS prior, prior.file AS prior_file
        FROM near
            JOIN mask ON mask.site = near.site AND mask.version = near.version
            JOIN prior ON prior.base = mask.base
                AND prior.version = (SELECT MAX(version) FROM prior AS newest WHERE newest.base = mask.base)
        WHERE NOT EXISTS (SELECT 1 FROM mask_with_prior AS made
            WHERE made.site = mask.site AND made.version = mask.version AND made.prior = prior.digest)
        ORDER BY mask.site, mask.version LIMIT $1";
    Ok(on!(tx, db => sqlx::query_as(SQL).bind(i64::from(limit)).fetch_all(db).await?))
}

/// Stores what became of a wanted mask: its blob with its size, or that it is
/// not worth it. If another server was faster, its bytes stay.
pub async fn put_coded(
    tx: &mut Tx,
    wanted: &Wanted,
    made: Option<(Digest, u64)>,
) -> Result<(), CatalogError> {
    const SQL: &str = "INSERT INTO mask_with_prior (site, version, prior, artefact, bytes, made_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (site, version, prior) DO NOTHING";
    let (artefact, bytes) = made.unzip();
    if let Some(artefact) = &artefact {
        blobs::hold(tx, artefact).await?;
    }
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(&wanted.site).bind(wanted.version).bind(wanted.prior).bind(artefact)
            .bind(bytes.map(Count)).bind(now).execute(db).await?;
    });
    Ok(())
}

/// Forgets what no device will ask for any more: masks that are neither a channel's nor their site's
/// newest. Answers how many.
pub async fn forget_dead(tx: &mut Tx) -> Result<u64, CatalogError> {
    const SQL: &str = "DELETE FROM mask_with_prior
        WHERE NOT EXISTS (SELECT 1 FROM channel
            WHERE channel.site = mask_with_prior.site AND channel.mask = mask_with_prior.version)
        AND mask_with_prior.version <> (SELECT MAX(version) FROM mask
            WHERE mask.site = mask_with_prior.site AND mask.verdict <> 'refused')";
    Ok(on!(tx, db => sqlx::query(SQL).execute(db).await?.rows_affected()))
}

#[derive(sqlx::FromRow)]
struct CodedRow {
    #[sqlx(flatten)]
    prior: PriorRow,
    artefact: Digest,
    artefact_bytes: Count,
}

/// The short forms of a mask, that with the newest prior first.
pub async fn coded(
    tx: &mut Tx,
    site: &SiteName,
    version: MaskVersion,
) -> Result<Vec<MaskWithPrior>, CatalogError> {
    const SQL: &str = "SELECT prior.base, prior.version, prior.digest, prior.file, prior.bytes, prior.sites,
            prior.made_at, mask_with_prior.artefact, mask_with_prior.bytes AS artefact_bytes
        FROM mask_with_prior JOIN prior ON prior.digest = mask_with_prior.prior
        WHERE mask_with_prior.site = $1 AND mask_with_prior.version = $2
            AND mask_with_prior.artefact IS NOT NULL
        ORDER BY prior.version DESC";
    let rows: Vec<CodedRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(version).fetch_all(db).await?);
    let coded = |row: CodedRow| MaskWithPrior {
        prior: row.prior.into(),
        digest: row.artefact,
        bytes: row.artefact_bytes.0,
    };
    Ok(rows.into_iter().map(coded).collect())
}
