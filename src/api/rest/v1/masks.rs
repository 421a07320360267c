//! `/v1/sites/{site}/masks`

use axum::extract::State;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};

use crate::api::extract::{Json, Path, Query};
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::{ApiError, App, Caller};
use crate::catalog::{deltas, masks, sites};
use crate::domain::permission::Action;
use crate::domain::report::Report;
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::wire::v1::masks::{Mask, MaskDelta};
use crate::wire::v1::page::{Page, PageQuery};

/// The media type of an artefact.
pub(super) const MEDIA_TYPE: &str = "application/vnd.katagami.mask";

/// Lists a site's masks, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/masks", tag = "masks", operation_id = "list_masks",
    params(("site" = SiteName, Path), PageQuery), responses((status = OK, body = Page<Mask>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Mask>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(masks::list(&mut tx, &site, &query).await?))
}

/// Shows a mask.
#[utoipa::path(
    get, path = "/v1/sites/{site}/masks/{version}", tag = "masks", operation_id = "show_mask",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path)),
    responses((status = OK, body = Mask), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, MaskVersion)>,
) -> Result<Json<Mask>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    Ok(Json(masks::needed(&mut tx, &site, version).await?))
}

/// Shows the evidence kept with a mask.
#[utoipa::path(
    get, path = "/v1/sites/{site}/masks/{version}/report", tag = "masks", operation_id = "show_mask_report",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path)),
    responses((status = OK, body = Report), (status = NOT_FOUND))
)]
pub async fn report(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, MaskVersion)>,
) -> Result<Response, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let mask = masks::needed(&mut tx, &site, version).await?;
    drop(tx);
    // The very bytes that the header's digest names.
    let report = app.blobs.get(&mask.report).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report).into_response())
}

/// Sends a mask's artefact; these bytes never change.
#[utoipa::path(
    method(get, head), path = "/v1/sites/{site}/masks/{version}/bytes", tag = "masks",
    operation_id = "download_mask", params(("site" = SiteName, Path), ("version" = MaskVersion, Path)),
    responses(
        (status = OK, content_type = MEDIA_TYPE), (status = PARTIAL_CONTENT), (status = NOT_MODIFIED),
        (status = NOT_FOUND), (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, MaskVersion)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Action::Pull, &site)?;
    let mut tx = app.catalog.read().await?;
    let mask = masks::needed(&mut tx, &site, version).await?;
    drop(tx);
    let offer = Offer {
        digest: mask.digest,
        bytes: mask.bytes,
        media_type: MEDIA_TYPE.to_owned(),
        keep: Keep::Immutable,
        mask: Some(version),
    };
    send(&app, &method, &headers, &offer).await
}

/// Lists the deltas that yield a mask. They come and go: the whole artefact is always there.
#[utoipa::path(
    get, path = "/v1/sites/{site}/masks/{version}/deltas", tag = "masks", operation_id = "list_mask_deltas",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path)),
    responses((status = OK, body = Page<MaskDelta>), (status = NOT_FOUND))
)]
pub async fn deltas(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, MaskVersion)>,
) -> Result<Json<Page<MaskDelta>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    masks::needed(&mut tx, &site, version).await?;
    let items = deltas::list(&mut tx, &site, version).await?;
    Ok(Json(Page { items, next: None }))
}

/// Sends the delta that yields a mask for whoever holds the artefact with the digest `parent`. Its entity
/// tag is its own, not the mask's: what it yields has the mask's digest.
#[utoipa::path(
    method(get, head), path = "/v1/sites/{site}/masks/{version}/deltas/{parent}", tag = "masks",
    operation_id = "download_mask_delta",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path), ("parent" = Digest, Path)),
    responses(
        (status = OK, content_type = MEDIA_TYPE), (status = PARTIAL_CONTENT), (status = NOT_MODIFIED),
        (status = NOT_FOUND, description = "`no_delta`: ask for the whole artefact"), (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download_delta(
    State(app): State<App>,
    caller: Caller,
    Path((site, version, parent)): Path<(SiteName, MaskVersion, Digest)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Action::Pull, &site)?;
    let mut tx = app.catalog.read().await?;
    masks::needed(&mut tx, &site, version).await?;
    let made = deltas::list(&mut tx, &site, version).await?;
    drop(tx);
    let delta = made.into_iter().find(|delta| delta.parent_digest == parent);
    let delta = delta.ok_or_else(|| {
        let detail =
            format!("there is no delta from {parent} to mask {version} of `{site}`; get the whole one");
        ApiError::not_found("no_delta", detail)
    })?;
    let offer = short_form(version, delta.digest, delta.bytes);
    send(&app, &method, &headers, &offer).await
}

/// Offers a mask in a form for who holds something already.
pub(super) fn short_form(version: MaskVersion, digest: Digest, bytes: u64) -> Offer {
    Offer {
        digest,
        bytes,
        media_type: MEDIA_TYPE.to_owned(),
        // A newer server may code the same in other bytes.
        keep: Keep::Ask,
        mask: Some(version),
    }
}
