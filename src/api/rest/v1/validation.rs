//! `/v1/sites/{site}/validation`

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{Json, Path, Query};
use crate::api::rest::idle::in_time;
use crate::api::{ApiError, App, Caller};
use crate::catalog::{CatalogError, sites, validation};
use crate::domain::permission::Action;
use crate::domain::{SiteName, ValidationVersion};
use crate::intake;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::validation::{ValidationReceived, ValidationSet};

/// Sets a site's labelled images as a new version: a tar with a folder per
/// class (`CLASS/FILE`, or `validation/CLASS/FILE` and `test/CLASS/FILE`), or
/// flat files with `labels.csv` (`file,class[,split]`).
#[utoipa::path(
    post, path = "/v1/sites/{site}/validation", tag = "validation", operation_id = "set_validation",
    params(("site" = SiteName, Path)), request_body(content = Vec<u8>, content_type = "application/x-tar"),
    responses((status = CREATED, body = ValidationReceived), (status = BAD_REQUEST))
)]
pub async fn set(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    body: Body,
) -> Result<(StatusCode, Json<ValidationReceived>), ApiError> {
    let actor = caller.may(Action::Submit, &site)?;
    let stream = in_time(body.into_data_stream(), app.config.server.idle_timeout);
    let received = intake::validation(&app.intake, &site, stream, &actor.to_string()).await?;
    Ok((StatusCode::CREATED, Json(received)))
}

/// Lists the versions of a site's validation set, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/validation", tag = "validation", operation_id = "list_validation",
    params(("site" = SiteName, Path), PageQuery), responses((status = OK, body = Page<ValidationSet>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ValidationSet>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(validation::list(&mut tx, &site, &query).await?))
}

/// Shows a version of a site's validation set.
#[utoipa::path(
    get, path = "/v1/sites/{site}/validation/{version}", tag = "validation", operation_id = "show_validation",
    params(("site" = SiteName, Path), ("version" = ValidationVersion, Path)),
    responses((status = OK, body = ValidationSet), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, ValidationVersion)>,
) -> Result<Json<ValidationSet>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = validation::get(&mut tx, &site, version).await?;
    Ok(Json(
        found.ok_or(CatalogError::NoSuchValidationSet { site, version })?,
    ))
}
