//! `/v1/sites/{site}/images`

use std::collections::BTreeMap;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;

use crate::api::extract::{Json, Path};
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::rest::upload;
use crate::api::{ApiError, App, Caller};
use crate::catalog::{CatalogError, images, sites};
use crate::domain::permission::Action;
use crate::domain::snapshot::ImageFilter;
use crate::domain::{Digest, SiteName, Timestamp};
use crate::wire::v1::images::{Image, Submission};
use crate::wire::v1::page::{Page, PageQuery};

/// Submits images: one (`image/*`, `?name=`, header `Katagami-Caption`), many as
/// `multipart/form-data` (a part `caption` applies to the next file) or as a
/// streamed tar (`NAME.json` is the caption of `NAME`). Each file is answered
/// for itself; what was accepted before an abort stays. With
/// `Accept: application/x-ndjson` each file's answer is a line, sent at once.
#[utoipa::path(
    post, path = "/v1/sites/{site}/images", tag = "images", operation_id = "submit_images",
    params(
        ("site" = SiteName, Path), ("name" = Option<String>, Query, description = "the file's name, for a single image"),
        ("Katagami-Caption" = Option<String>, Header, description = "a Caption as JSON, for a single image")
    ),
    request_body(content(
        (Vec<u8> = "image/*"), (Vec<u8> = "multipart/form-data"), (Vec<u8> = "application/x-tar")
    )),
    responses(
        (status = OK, content((Submission = "application/json"), (String = "application/x-ndjson"))),
        (status = NOT_FOUND), (status = UNSUPPORTED_MEDIA_TYPE)
    )
)]
pub async fn submit(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    request: axum::extract::Request,
) -> Result<Response, ApiError> {
    let actor = caller.may(Action::Submit, &site)?;
    sites::must_exist(&mut app.catalog.read().await?, &site).await?;
    upload::submit(&app, actor, site, request).await
}

/// What a list of images asks for.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    filter: ImageFilter,
    deleted: bool,
    page: PageQuery,
}

impl Asked {
    /// Reads a query. By hand: `serde_urlencoded` cannot flatten numbers and times.
    fn of(query: &str) -> Result<Self, ApiError> {
        let wrong = |key: &str, what: &str| {
            ApiError::invalid("query_invalid", format!("`{key}` of the query is not {what}"))
        };
        let time = |key: &str, value: &str| -> Result<Option<Timestamp>, ApiError> {
            serde_json::from_value(serde_json::Value::from(value))
                .map(Some)
                .map_err(|_| wrong(key, "a time such as 2026-01-31T08:00:00Z"))
        };
        let pairs: Vec<(String, String)> = serde_urlencoded(query);
        let mut asked = Self::default();
        let mut metadata = BTreeMap::new();
        for (key, value) in pairs {
            match key.as_str() {
                "cursor" => asked.page.cursor = Some(value),
                "limit" => asked.page.limit = Some(value.parse().map_err(|_| wrong(&key, "a number"))?),
                "captured_from" => asked.filter.captured_from = time(&key, &value)?,
                "captured_until" => asked.filter.captured_until = time(&key, &value)?,
                "received_from" => asked.filter.received_from = time(&key, &value)?,
                "received_until" => asked.filter.received_until = time(&key, &value)?,
                "deleted" => asked.deleted = value.parse().map_err(|_| wrong(&key, "`true` or `false`"))?,
                _ => match key.strip_prefix("metadata.") {
                    Some(name) => {
                        metadata.insert(name.to_owned(), value);
                    }
                    None => {
                        return Err(ApiError::invalid(
                            "query_invalid",
                            format!(
                                "`{key}` is no part of this query; metadata is asked for as `metadata.{key}`"
                            ),
                        ));
                    }
                },
            }
        }
        asked.filter.metadata = metadata;
        Ok(asked)
    }
}

/// Pairs of a query.
fn serde_urlencoded(query: &str) -> Vec<(String, String)> {
    let uri = format!("/?{query}").parse::<axum::http::Uri>();
    uri.ok()
        .and_then(|uri| axum::extract::Query::try_from_uri(&uri).ok())
        .map(|query: axum::extract::Query<Vec<(String, String)>>| query.0)
        .unwrap_or_default()
}

/// Lists a site's images, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/images", tag = "images", operation_id = "list_images",
    params(
        ("site" = SiteName, Path), PageQuery,
        ("captured_from" = Option<Timestamp>, Query), ("captured_until" = Option<Timestamp>, Query),
        ("received_from" = Option<Timestamp>, Query), ("received_until" = Option<Timestamp>, Query),
        ("deleted" = Option<bool>, Query, description = "tombstones, too"),
        ("metadata.KEY" = Option<String>, Query, description = "only images with this value; may be given for several keys")
    ),
    responses((status = OK, body = Page<Image>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Image>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let asked = Asked::of(&query.unwrap_or_default())?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    let page = images::list(&mut tx, &site, &asked.filter, asked.deleted, &asked.page).await?;
    Ok(Json(page))
}

/// Shows an image; of a deleted one its tombstone.
#[utoipa::path(
    get, path = "/v1/sites/{site}/images/{digest}", tag = "images", operation_id = "show_image",
    params(("site" = SiteName, Path), ("digest" = Digest, Path)),
    responses((status = OK, body = Image), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((site, digest)): Path<(SiteName, Digest)>,
) -> Result<Json<Image>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = images::get(&mut tx, &site, &digest).await?;
    Ok(Json(found.ok_or(CatalogError::NoSuchImage { site, digest })?))
}

/// Deletes an image: its bytes go, a tombstone stays, snapshots with it are incomplete.
#[utoipa::path(
    delete, path = "/v1/sites/{site}/images/{digest}", tag = "images", operation_id = "delete_image",
    params(("site" = SiteName, Path), ("digest" = Digest, Path)),
    responses((status = NO_CONTENT), (status = NOT_FOUND))
)]
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path((site, digest)): Path<(SiteName, Digest)>,
) -> Result<StatusCode, ApiError> {
    let actor = caller.may(Action::Submit, &site)?;
    let mut tx = app.catalog.begin().await?;
    images::mark_deleted(&mut tx, &site, &digest, &actor.to_string()).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends an image as it was submitted.
#[utoipa::path(
    method(get, head), path = "/v1/sites/{site}/images/{digest}/bytes", tag = "images",
    operation_id = "download_image", params(("site" = SiteName, Path), ("digest" = Digest, Path)),
    responses((status = OK, content_type = "image/*"), (status = NOT_MODIFIED), (status = NOT_FOUND))
)]
pub async fn download(
    State(app): State<App>,
    caller: Caller,
    Path((site, digest)): Path<(SiteName, Digest)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = images::get(&mut tx, &site, &digest).await?;
    drop(tx);
    let image = found
        .filter(|image| image.deleted_at.is_none())
        .ok_or(CatalogError::NoSuchImage { site, digest })?;
    let offer = Offer {
        digest,
        bytes: image.bytes,
        media_type: image.media_type,
        keep: Keep::Immutable,
        mask: None,
    };
    send(&app, &method, &headers, &offer).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_of_images_is_read_with_its_metadata() {
        let asked = Asked::of("limit=5&deleted=true&captured_from=2026-01-31T08:00:00Z&metadata.line=a%20b");
        let asked = asked.unwrap();
        assert_eq!((asked.page.limit, asked.deleted), (Some(5), true));
        assert!(asked.filter.captured_from.is_some());
        assert_eq!(asked.filter.metadata["line"], "a b");
        for wrong in ["limit=x", "captured_from=yesterday", "line=a"] {
            assert_eq!(Asked::of(wrong).unwrap_err().code(), "query_invalid");
        }
    }
}
