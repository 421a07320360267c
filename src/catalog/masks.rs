//! Masks. They are stored by [`super::endings::publish`] alone.

use super::dialect::{Count, Json};
use super::{CatalogError, Tx, paging};
use crate::domain::channel::Candidate;
use crate::domain::{Digest, JobId, MaskVersion, SiteName, Timestamp, View};
use crate::wire::v1::masks::Mask;
use crate::wire::v1::page::{Page, PageQuery};

#[derive(sqlx::FromRow)]
struct MaskRow {
    site: SiteName,
    version: MaskVersion,
    job: JobId,
    base: Digest,
    view: Json<View>,
    artefact: Digest,
    bytes: Count,
    report: Digest,
    weights: Digest,
    parent: Option<MaskVersion>,
    flips: Count,
    verdict: String,
    reasons: Json<Vec<String>>,
    kpi_base: Option<f64>,
    kpi_mask: Option<f64>,
    kpi_difference: Option<f64>,
    kpi_lower: Option<f64>,
    kpi_upper: Option<f64>,
    created_at: Timestamp,
}

impl From<MaskRow> for Mask {
    fn from(row: MaskRow) -> Self {
        let interval = (row.kpi_difference, row.kpi_lower, row.kpi_upper);
        Self {
            site: row.site,
            version: row.version,
            digest: row.artefact,
            bytes: row.bytes.0,
            base: row.base,
            view: row.view.0,
            weights: row.weights,
            job: row.job,
            parent: row.parent,
            flips: row.flips.0,
            verdict: row.verdict,
            reasons: row.reasons.0,
            report: row.report,
            kpi_base: row.kpi_base,
            kpi_mask: row.kpi_mask,
            kpi_difference: match interval {
                (Some(value), Some(lower), Some(upper)) => Some([value, lower, upper]),
                _ => None,
            },
            created_at: row.created_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT site, version, job, base, artefact, bytes, report, weights, parent, flips, verdict, reasons,
                kpi_base, kpi_mask, kpi_difference, kpi_lower, kpi_upper, created_at,
                (SELECT job.view FROM job WHERE job.id = mask.job) AS view
             FROM mask ",
            $rest
        )
    };
}

/// A mask of a site.
pub async fn get(tx: &mut Tx, site: &SiteName, version: MaskVersion) -> Result<Option<Mask>, CatalogError> {
    const SQL: &str = select!("WHERE site = $1 AND version = $2");
    let row: Option<MaskRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(version).fetch_optional(db).await?);
    Ok(row.map(Mask::from))
}

/// The mask, or [`CatalogError::NoSuchMask`].
pub async fn needed(tx: &mut Tx, site: &SiteName, version: MaskVersion) -> Result<Mask, CatalogError> {
    let found = get(tx, site, version).await?;
    found.ok_or_else(|| CatalogError::NoSuchMask {
        site: site.clone(),
        version,
    })
}

/// What the rules of a channel's move need to know of a mask.
pub async fn candidate(
    tx: &mut Tx,
    site: &SiteName,
    version: MaskVersion,
) -> Result<Candidate, CatalogError> {
    let mask = needed(tx, site, version).await?;
    Ok(Candidate {
        version: mask.version,
        base: mask.base,
        view: mask.view,
        verdict: mask.verdict,
        reasons: mask.reasons,
    })
}

/// The masks of a site, newest first.
pub async fn list(tx: &mut Tx, site: &SiteName, query: &PageQuery) -> Result<Page<Mask>, CatalogError> {
    const SQL: &str = select!("WHERE site = $1 AND version < $2 ORDER BY version DESC LIMIT $3");
    let size = paging::size(query.limit);
    let before: i64 = paging::cursor(query.cursor.as_deref())?.unwrap_or(i64::MAX);
    let rows: Vec<MaskRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(site).bind(before).bind(size as i64 + 1).fetch_all(db).await?
    });
    let masks = rows.into_iter().map(Mask::from).collect();
    Ok(paging::page(masks, size, |mask: &Mask| mask.version.to_string()))
}
