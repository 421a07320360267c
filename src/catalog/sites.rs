//! Sites.

use serde_json::json;

use super::dialect::{Count, Json, PerDialect, text};
use super::{CatalogError, Tx, audit, events, paging};
use crate::domain::gate::GateSettings;
use crate::domain::report::Kpi;
use crate::domain::{MaskVersion, SiteName, Timestamp, View};
use crate::wire::v1::events::Happening;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::sites::{NewSite, Site, SiteChange};

#[derive(sqlx::FromRow)]
struct SiteRow {
    name: SiteName,
    title: String,
    kpi: Kpi,
    gate: Json<GateSettings>,
    lends_masks: bool,
    view: Json<View>,
    created_at: Timestamp,
    images: Count,
    open_jobs: Count,
    masks: Count,
    stable: Option<MaskVersion>,
    devices: Count,
}

impl From<SiteRow> for Site {
    fn from(row: SiteRow) -> Self {
        Self {
            name: row.name,
            title: row.title,
            kpi: row.kpi,
            gate: row.gate.0,
            lends_masks: row.lends_masks,
            view: row.view.0,
            created_at: row.created_at,
            images: row.images.0,
            open_jobs: row.open_jobs.0,
            masks: row.masks.0,
            stable: row.stable,
            devices: row.devices.0,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT name, title, kpi, gate, lends_masks, view, created_at,
                (SELECT COUNT(*) FROM image WHERE image.site = site.name AND deleted_at IS NULL) AS images,
                (SELECT COUNT(*) FROM job WHERE job.site = site.name AND state IN ('queued', 'running')) AS open_jobs,
                (SELECT COUNT(*) FROM mask WHERE mask.site = site.name) AS masks,
                (SELECT mask FROM channel WHERE channel.site = site.name AND channel.name = 'stable') AS stable,
                (SELECT COUNT(*) FROM device WHERE device.site = site.name) AS devices
             FROM site ",
            $rest
        )
    };
}

/// Makes a site.
pub async fn create(tx: &mut Tx, site: &NewSite, by: &str) -> Result<Site, CatalogError> {
    const SQL: &str = "INSERT INTO site (name, title, kpi, gate, view, next_mask_version, created_at)
        VALUES ($1, $2, $3, $4, $5, 1, $6) ON CONFLICT (name) DO NOTHING";
    let now = tx.now().await?;
    let title = site.title.clone().unwrap_or_else(|| site.name.to_string());
    let made = on!(tx, db => {
        sqlx::query(SQL).bind(&site.name).bind(text(&title)).bind(&site.kpi).bind(Json(site.gate))
            .bind(Json(site.view)).bind(now).execute(db).await?.rows_affected()
    });
    if made == 0 {
        return Err(CatalogError::SiteExists {
            site: site.name.clone(),
        });
    }
    audit::record(tx, by, "site_created", Some(&site.name), json!(site)).await?;
    events::record(tx, Some(&site.name), Happening::SiteChanged);
    needed(tx, &site.name).await
}

/// The site, if there is one of that name.
pub async fn get(tx: &mut Tx, site: &SiteName) -> Result<Option<Site>, CatalogError> {
    const SQL: &str = select!("WHERE name = $1");
    let row: Option<SiteRow> = on!(tx, db => sqlx::query_as(SQL).bind(site).fetch_optional(db).await?);
    Ok(row.map(Site::from))
}

/// The site, or [`CatalogError::NoSuchSite`].
pub async fn needed(tx: &mut Tx, site: &SiteName) -> Result<Site, CatalogError> {
    let found = get(tx, site).await?;
    found.ok_or_else(|| CatalogError::NoSuchSite { site: site.clone() })
}

/// [`CatalogError::NoSuchSite`], unless there is one of that name: for lists, which would be empty else.
pub async fn must_exist(tx: &mut Tx, site: &SiteName) -> Result<(), CatalogError> {
    const SQL: &str = "SELECT 1 FROM site WHERE name = $1";
    let found = on!(tx, db => sqlx::query(SQL).bind(site).fetch_optional(db).await?.is_some());
    if found {
        Ok(())
    } else {
        Err(CatalogError::NoSuchSite { site: site.clone() })
    }
}

/// All sites by name.
pub async fn list(tx: &mut Tx, query: &PageQuery) -> Result<Page<Site>, CatalogError> {
    const SQL: &str = select!("WHERE name > $1 ORDER BY name LIMIT $2");
    let (size, after) = (
        paging::size(query.limit),
        query.cursor.clone().unwrap_or_default(),
    );
    let rows: Vec<SiteRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(after).bind(size as i64 + 1).fetch_all(db).await?
    });
    let sites = rows.into_iter().map(Site::from).collect();
    Ok(paging::page(sites, size, |site: &Site| site.name.to_string()))
}

/// Changes a site; what `change` leaves out stays.
pub async fn update(
    tx: &mut Tx,
    site: &SiteName,
    change: &SiteChange,
    by: &str,
) -> Result<Site, CatalogError> {
    const SQL: &str = "UPDATE site SET title = COALESCE($2, title), kpi = COALESCE($3, kpi),
        gate = COALESCE($4, gate), lends_masks = COALESCE($5, lends_masks), view = COALESCE($6, view) WHERE name = $1";
    let changed = on!(tx, db => {
        sqlx::query(SQL).bind(site).bind(change.title.as_deref().map(text)).bind(&change.kpi).bind(change.gate.map(Json))
            .bind(change.lends_masks).bind(change.view.map(Json)).execute(db).await?.rows_affected()
    });
    if changed == 0 {
        return Err(CatalogError::NoSuchSite { site: site.clone() });
    }
    audit::record(tx, by, "site_changed", Some(site), json!(change)).await?;
    events::record(tx, Some(site), Happening::SiteChanged);
    needed(tx, site).await
}

/// Keeps others that lock the same site waiting until this transaction ends:
/// for what counts up within a site. Does not keep images from coming in.
pub(super) async fn lock(tx: &mut Tx, site: &SiteName) -> Result<(), CatalogError> {
    // NO KEY: rows that refer to the site must not wait.
    const SQL: PerDialect = locking!("SELECT 1 FROM site WHERE name = $1", "FOR NO KEY UPDATE");
    let sql = tx.text(SQL);
    let found = on!(tx, db => sqlx::query(sql).bind(site).fetch_optional(db).await?.is_some());
    if found {
        Ok(())
    } else {
        Err(CatalogError::NoSuchSite { site: site.clone() })
    }
}
