//! `/v1/base`, `/v1/bases`

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use crate::api::extract::Json;
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::{ApiError, App, Caller};
use crate::catalog::bases;
use crate::domain::permission::Action;
use crate::wire::v1::base::Base;
use crate::wire::v1::page::Page;

/// Whether the caller may know the base: everybody who may pull or read. It
/// belongs to no site, so who is of a site asks in its name.
pub(super) fn may_pull(caller: &Caller) -> Result<(), ApiError> {
    match &caller.0.site {
        Some(site) => caller.may(Action::Pull, site)?,
        None => caller.may_anywhere(Action::Pull)?,
    };
    Ok(())
}

async fn needed(app: &App) -> Result<Base, ApiError> {
    let mut tx = app.catalog.read().await?;
    bases::active(&mut tx).await?.ok_or_else(|| {
        ApiError::not_found(
            "no_base",
            "this server has no base yet; run `katagami base import --arch NAME --weights FILE` beside it and start it again",
        )
    })
}

/// Shows the active base.
#[utoipa::path(
    get, path = "/v1/base", tag = "base", operation_id = "show_base",
    responses((status = OK, body = Base), (status = NOT_FOUND, description = "`no_base`"))
)]
pub async fn active(State(app): State<App>, caller: Caller) -> Result<Json<Base>, ApiError> {
    may_pull(&caller)?;
    Ok(Json(needed(&app).await?))
}

/// Sends the active base's file, safetensors.
#[utoipa::path(
    method(get, head), path = "/v1/base/bytes", tag = "base", operation_id = "download_base",
    responses(
        (status = OK, content_type = "application/octet-stream"), (status = PARTIAL_CONTENT),
        (status = NOT_MODIFIED), (status = NOT_FOUND, description = "`no_base`"), (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download(
    State(app): State<App>,
    caller: Caller,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    may_pull(&caller)?;
    let base = needed(&app).await?;
    let offer = Offer {
        digest: base.file,
        bytes: base.manifest.bytes,
        media_type: "application/octet-stream".to_owned(),
        keep: Keep::Ask,
        mask: None,
    };
    send(&app, &method, &headers, &offer).await
}

/// Lists the bases that the server knows.
#[utoipa::path(
    get, path = "/v1/bases", tag = "base", operation_id = "list_bases",
    responses((status = OK, body = Page<Base>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Base>>, ApiError> {
    may_pull(&caller)?;
    let mut tx = app.catalog.read().await?;
    let items = bases::list(&mut tx).await?;
    Ok(Json(Page { items, next: None }))
}
