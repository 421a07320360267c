//! Edge devices of a site.

use serde_json::json;

use super::dialect::{Json, text};
use super::{CatalogError, Tx, audit, events, paging, sites};
use crate::domain::{ChannelName, DeviceId, SiteName, Timestamp};
use crate::wire::v1::devices::{Device, DeviceStatus, NewDevice};
use crate::wire::v1::events::Happening;
use crate::wire::v1::page::{Page, PageQuery};

/// What a device follows if nobody says otherwise.
const STABLE: &str = "stable";

#[derive(sqlx::FromRow)]
struct DeviceRow {
    id: DeviceId,
    site: SiteName,
    name: String,
    channel: ChannelName,
    created_at: Timestamp,
    last_seen_at: Option<Timestamp>,
    status: Option<Json<DeviceStatus>>,
}

impl From<DeviceRow> for Device {
    fn from(row: DeviceRow) -> Self {
        Self {
            id: row.id,
            site: row.site,
            name: row.name,
            channel: row.channel,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            status: row.status.map(|status| status.0),
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, site, name, channel, created_at, last_seen_at, status FROM device ",
            $rest
        )
    };
}

/// Enrols a device. Its token is issued beside, in the same transaction.
pub async fn enrol(tx: &mut Tx, site: &SiteName, new: &NewDevice, by: &str) -> Result<Device, CatalogError> {
    const SQL: &str = "INSERT INTO device (id, site, name, channel, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (site, name) DO NOTHING";
    sites::lock(tx, site).await?;
    let (id, now) = (DeviceId::generate(), tx.now().await?);
    let channel = new.channel.as_ref().map_or(STABLE, ChannelName::as_str);
    let made = on!(tx, db => {
        sqlx::query(SQL).bind(id).bind(site).bind(text(&new.name)).bind(channel).bind(now).execute(db).await?
            .rows_affected()
    });
    if made == 0 {
        return Err(CatalogError::DeviceExists {
            site: site.clone(),
            name: new.name.clone(),
        });
    }
    let details = json!({"device": id, "name": new.name, "channel": channel});
    audit::record(tx, by, "device_enrolled", Some(site), details).await?;
    needed(tx, id).await
}

/// The device of that identifier, of whatever site.
pub async fn get(tx: &mut Tx, device: DeviceId) -> Result<Option<Device>, CatalogError> {
    const SQL: &str = select!("WHERE id = $1");
    let row: Option<DeviceRow> = on!(tx, db => sqlx::query_as(SQL).bind(device).fetch_optional(db).await?);
    Ok(row.map(Device::from))
}

/// The device, or [`CatalogError::NoSuchDevice`].
pub async fn needed(tx: &mut Tx, device: DeviceId) -> Result<Device, CatalogError> {
    get(tx, device)
        .await?
        .ok_or(CatalogError::NoSuchDevice { device })
}

/// The devices of a site by name.
pub async fn list(tx: &mut Tx, site: &SiteName, query: &PageQuery) -> Result<Page<Device>, CatalogError> {
    const SQL: &str = select!("WHERE site = $1 AND name > $2 ORDER BY name LIMIT $3");
    let (size, after) = (
        paging::size(query.limit),
        query.cursor.clone().unwrap_or_default(),
    );
    let rows: Vec<DeviceRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(site).bind(after).bind(size as i64 + 1).fetch_all(db).await?
    });
    let devices = rows.into_iter().map(Device::from).collect();
    Ok(paging::page(devices, size, |device: &Device| device.name.clone()))
}

/// Stores what a device says of itself. Only what it runs or suffers is worth
/// an event, not that it is still there.
pub async fn report(tx: &mut Tx, device: DeviceId, status: &DeviceStatus) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE device SET status = $2, channel = $3, last_seen_at = $4 WHERE id = $1";
    let before = needed(tx, device).await?;
    let now = tx.now().await?;
    on!(tx, db => {
        sqlx::query(SQL).bind(device).bind(Json(status)).bind(&status.channel).bind(now).execute(db).await?;
    });
    if before.status.as_ref() != Some(status) {
        let mask = status.mask;
        events::record(tx, Some(&before.site), Happening::DeviceReported { device, mask });
    }
    Ok(())
}
