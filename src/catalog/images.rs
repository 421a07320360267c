//! Images of a site. The unit is one file: its blob first, its row second.

use std::fmt::Write as _;

use serde_json::json;
use sqlx::AssertSqlSafe;

use super::dialect::{Count, Json, text};
use super::{CatalogError, Tx, audit, blobs, events, paging};
use crate::domain::health::{Look, Seen};
use crate::domain::image::{Caption, Metadata, PerceptualHash};
use crate::domain::snapshot::ImageFilter;
use crate::domain::{Digest, SiteName, Timestamp};
use crate::wire::v1::events::Happening;
use crate::wire::v1::images::Image;
use crate::wire::v1::page::{Page, PageQuery};

/// An image that was checked and whose bytes are stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewImage {
    /// SHA-256 of its bytes: a blob that was touched and put.
    pub digest: Digest,
    /// The name of the file that it came as.
    pub name: String,
    /// Its media type.
    pub media_type: String,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// Size of the file.
    pub bytes: u64,
    /// What it looks like.
    pub phash: PerceptualHash,
    /// What it is like.
    pub look: Option<Look>,
    /// What the factory said of it.
    pub metadata: Metadata,
    /// When it was taken.
    pub captured_at: Option<Timestamp>,
}

/// What became of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is new.
    New,
    /// The site has it; what was known of it stays.
    Duplicate,
    /// It was deleted and is there again, with what is known of it now.
    Revived,
}

/// An image as a snapshot needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Match {
    /// Its digest.
    pub digest: Digest,
    #[sqlx(try_from = "Count")]
    /// Size of its file.
    pub bytes: u64,
    /// What it looks like.
    pub phash: PerceptualHash,
}

impl From<Count> for u64 {
    fn from(count: Count) -> Self {
        count.0
    }
}

#[derive(sqlx::FromRow)]
struct ImageRow {
    digest: Digest,
    name: String,
    media_type: String,
    width: i64,
    height: i64,
    bytes: Count,
    captured_at: Option<Timestamp>,
    received_at: Timestamp,
    metadata: Json<Metadata>,
    deleted_at: Option<Timestamp>,
}

impl From<ImageRow> for Image {
    fn from(row: ImageRow) -> Self {
        Self {
            digest: row.digest,
            name: row.name,
            media_type: row.media_type,
            width: row.width as u32,
            height: row.height as u32,
            bytes: row.bytes.0,
            captured_at: row.captured_at,
            received_at: row.received_at,
            metadata: row.metadata.0,
            deleted_at: row.deleted_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT digest, name, media_type, width, height, bytes, captured_at, received_at, metadata, deleted_at
             FROM image ",
            $rest
        )
    };
}

/// Adds an image to a site. Records no event and no audit entry: a submission
/// may bring thousands; call [`received`] once for all of them.
pub async fn insert(tx: &mut Tx, site: &SiteName, image: &NewImage) -> Result<Inserted, CatalogError> {
    // The first branch of the conflict changes nothing, so that a duplicate
    // answers no row; a tombstone's row is written anew.
    const SQL: &str = "INSERT INTO image
        (site, digest, name, media_type, width, height, bytes, phash, look, metadata, captured_at, received_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (site, digest) DO NOTHING";
    const REVIVE: &str = "UPDATE image SET name = $3, metadata = $4, captured_at = $5, received_at = $6,
        look = $7, deleted_at = NULL WHERE site = $1 AND digest = $2 AND deleted_at IS NOT NULL";
    blobs::hold(tx, &image.digest).await?;
    let now = tx.now().await?;
    let inserted = on!(tx, db => {
        sqlx::query(SQL).bind(site).bind(image.digest).bind(text(&image.name)).bind(&image.media_type)
            .bind(i64::from(image.width)).bind(i64::from(image.height)).bind(Count(image.bytes))
            .bind(image.phash).bind(image.look.as_ref().map(Json)).bind(Json(&image.metadata)).bind(image.captured_at)
            .bind(now)
            .execute(db).await.map(|done| done.rows_affected())
    });
    let inserted = match inserted {
        Ok(inserted) => inserted,
        Err(error) if CatalogError::is_orphan(&error) => {
            return Err(CatalogError::NoSuchSite { site: site.clone() });
        }
        Err(error) => return Err(error.into()),
    };
    let became = if inserted > 0 {
        Inserted::New
    } else {
        let revived = on!(tx, db => {
            sqlx::query(REVIVE).bind(site).bind(image.digest).bind(text(&image.name)).bind(Json(&image.metadata))
                .bind(image.captured_at).bind(now).bind(image.look.as_ref().map(Json)).execute(db).await?.rows_affected()
        });
        if revived == 0 {
            return Ok(Inserted::Duplicate);
        }
        Inserted::Revived
    };
    index_metadata(tx, site, &image.digest, &image.metadata).await?;
    Ok(became)
}

/// Adds what the factory says of an image that came without it, and answers
/// whether it did: what was said first stays. Records nothing, as [`insert`].
pub async fn describe(
    tx: &mut Tx,
    site: &SiteName,
    image: &Digest,
    caption: &Caption,
) -> Result<bool, CatalogError> {
    const SQL: &str = "UPDATE image SET metadata = $3, captured_at = $4 WHERE site = $1 AND digest = $2
        AND deleted_at IS NULL AND metadata = '{}' AND captured_at IS NULL";
    let described = on!(tx, db => {
        sqlx::query(SQL).bind(site).bind(image).bind(Json(&caption.metadata)).bind(caption.captured_at)
            .execute(db).await?.rows_affected()
    });
    if described > 0 {
        index_metadata(tx, site, image, &caption.metadata).await?;
    }
    Ok(described > 0)
}

/// Makes an image's metadata searchable.
async fn index_metadata(
    tx: &mut Tx,
    site: &SiteName,
    image: &Digest,
    metadata: &Metadata,
) -> Result<(), CatalogError> {
    const CLEAR: &str = "DELETE FROM image_metadata WHERE site = $1 AND digest = $2";
    const SQL: &str = "INSERT INTO image_metadata (site, digest, name, value) VALUES ($1, $2, $3, $4)";
    on!(tx, db => { sqlx::query(CLEAR).bind(site).bind(image).execute(db).await?; });
    for (name, value) in metadata.pairs() {
        on!(tx, db => {
            sqlx::query(SQL).bind(site).bind(image).bind(name).bind(value).execute(db).await?;
        });
    }
    Ok(())
}

/// Records that a submission brought `accepted` images.
pub async fn received(tx: &mut Tx, site: &SiteName, accepted: u64, by: &str) -> Result<(), CatalogError> {
    audit::record(
        tx,
        by,
        "images_received",
        Some(site),
        json!({"accepted": accepted}),
    )
    .await?;
    events::record(tx, Some(site), Happening::ImagesReceived { accepted });
    Ok(())
}

/// An image of a site, a tombstone too.
pub async fn get(tx: &mut Tx, site: &SiteName, image: &Digest) -> Result<Option<Image>, CatalogError> {
    const SQL: &str = select!("WHERE site = $1 AND digest = $2");
    let row: Option<ImageRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(site).bind(image).fetch_optional(db).await?);
    Ok(row.map(Image::from))
}

/// The conditions of a filter; its metadata as one EXISTS a pair, with
/// parameters from `$first` on. Joined from fixed text and numbers only.
fn conditions(filter: &ImageFilter, first: usize) -> String {
    let mut sql = "site = $1
        AND (CAST($2 AS BIGINT) IS NULL OR captured_at >= $2) AND (CAST($3 AS BIGINT) IS NULL OR captured_at < $3)
        AND (CAST($4 AS BIGINT) IS NULL OR received_at >= $4) AND (CAST($5 AS BIGINT) IS NULL OR received_at < $5)"
        .to_owned();
    for pair in 0..filter.metadata.len() {
        let (name, value) = (first + 2 * pair, first + 2 * pair + 1);
        // Writing to a String cannot fail.
        let _ = write!(
            sql,
            " AND EXISTS (SELECT 1 FROM image_metadata AS m WHERE m.site = image.site
                AND m.digest = image.digest AND m.name = ${name} AND m.value = ${value})"
        );
    }
    sql
}

/// Binds a filter's values after the site.
macro_rules! bind_filter {
    ($query:expr, $site:expr, $filter:expr) => {
        $query
            .bind($site)
            .bind($filter.captured_from)
            .bind($filter.captured_until)
            .bind($filter.received_from)
            .bind($filter.received_until)
    };
}

/// The images of a site that match, newest first; with tombstones if `deleted`.
pub async fn list(
    tx: &mut Tx,
    site: &SiteName,
    filter: &ImageFilter,
    deleted: bool,
    query: &PageQuery,
) -> Result<Page<Image>, CatalogError> {
    let size = paging::size(query.limit);
    let cursor: Option<Position> = paging::cursor(query.cursor.as_deref())?;
    let sql = format!(
        "SELECT digest, name, media_type, width, height, bytes, captured_at, received_at, metadata, deleted_at
         FROM image WHERE {} AND ($6 OR deleted_at IS NULL)
            AND (CAST($7 AS BIGINT) IS NULL OR received_at < $7 OR (received_at = $7 AND digest < $8))
         ORDER BY received_at DESC, digest DESC LIMIT $9",
        conditions(filter, 10)
    );
    let rows: Vec<ImageRow> = on!(tx, db => {
        let mut asked = bind_filter!(sqlx::query_as(AssertSqlSafe(sql)), site, filter)
            .bind(deleted)
            .bind(cursor.map(|cursor| cursor.received_at))
            .bind(cursor.map(|cursor| cursor.digest))
            .bind(size as i64 + 1);
        for (name, value) in &filter.metadata {
            asked = asked.bind(name).bind(value);
        }
        asked.fetch_all(db).await?
    });
    let images = rows.into_iter().map(Image::from).collect();
    Ok(paging::page(images, size, |image: &Image| {
        format!("{}.{}", image.received_at.as_micros(), image.digest)
    }))
}

/// Where a page of images begins.
#[derive(Clone, Copy)]
struct Position {
    received_at: Timestamp,
    digest: Digest,
}

impl std::str::FromStr for Position {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, digest) = text.split_once('.').ok_or(())?;
        Ok(Self {
            received_at: Timestamp::from_micros(micros.parse().map_err(|_| ())?),
            digest: digest.parse().map_err(|_| ())?,
        })
    }
}

/// Every image of a site that matches and is there, in ascending order of digests.
/// About 80 bytes an image: read whole, so that no transaction stays open while
/// the caller compares them.
pub async fn matching(
    tx: &mut Tx,
    site: &SiteName,
    filter: &ImageFilter,
) -> Result<Vec<Match>, CatalogError> {
    let sql = format!(
        "SELECT digest, bytes, phash FROM image WHERE {} AND deleted_at IS NULL ORDER BY digest",
        conditions(filter, 6)
    );
    Ok(on!(tx, db => {
        let mut asked = bind_filter!(sqlx::query_as(AssertSqlSafe(sql)), site, filter);
        for (name, value) in &filter.metadata {
            asked = asked.bind(name).bind(value);
        }
        asked.fetch_all(db).await?
    }))
}

#[derive(sqlx::FromRow)]
struct SeenRow {
    digest: Digest,
    width: i64,
    height: i64,
    phash: PerceptualHash,
    look: Option<Json<Look>>,
}

/// All images of a site that are there, as health judges them, in the order
/// received. About 300 bytes an image.
pub async fn seen(tx: &mut Tx, site: &SiteName) -> Result<Vec<Seen>, CatalogError> {
    const SQL: &str = "SELECT digest, width, height, phash, look FROM image
        WHERE site = $1 AND deleted_at IS NULL ORDER BY received_at, digest";
    let rows: Vec<SeenRow> = on!(tx, db => sqlx::query_as(SQL).bind(site).fetch_all(db).await?);
    let seen = |row: SeenRow| Seen {
        digest: row.digest,
        width: row.width as u32,
        height: row.height as u32,
        phash: row.phash,
        look: row.look.map(|look| look.0),
    };
    Ok(rows.into_iter().map(seen).collect())
}

/// At most `most` images of a site that nobody has looked at.
pub async fn unseen(tx: &mut Tx, site: &SiteName, most: usize) -> Result<Vec<Digest>, CatalogError> {
    const SQL: &str = "SELECT digest FROM image WHERE site = $1 AND look IS NULL AND deleted_at IS NULL
        ORDER BY digest LIMIT $2";
    Ok(on!(tx, db => sqlx::query_scalar(SQL).bind(site).bind(most as i64).fetch_all(db).await?))
}

/// Keeps what became of looking at an image. Records nothing: nobody has changed anything.
pub async fn looked_at(
    tx: &mut Tx,
    site: &SiteName,
    image: &Digest,
    look: &Look,
) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE image SET look = $3 WHERE site = $1 AND digest = $2";
    on!(tx, db => { sqlx::query(SQL).bind(site).bind(image).bind(Json(look)).execute(db).await?; });
    Ok(())
}

/// Turns an image into a tombstone: its bytes will be collected, and snapshots
/// that contain it are incomplete until it is submitted again.
pub async fn mark_deleted(
    tx: &mut Tx,
    site: &SiteName,
    image: &Digest,
    by: &str,
) -> Result<(), CatalogError> {
    const SQL: &str =
        "UPDATE image SET deleted_at = $3 WHERE site = $1 AND digest = $2 AND deleted_at IS NULL";
    let now = tx.now().await?;
    let deleted = on!(tx, db => {
        sqlx::query(SQL).bind(site).bind(image).bind(now).execute(db).await?.rows_affected()
    });
    if deleted == 0 {
        return Err(CatalogError::NoSuchImage {
            site: site.clone(),
            digest: *image,
        });
    }
    audit::record(tx, by, "image_deleted", Some(site), json!({"image": image})).await
}
