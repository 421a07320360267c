//! `/v1/priors`, `/v1/sites/{site}/masks/{version}/priors`

use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use super::base::may_pull;
use super::masks::{MEDIA_TYPE, short_form};
use crate::api::extract::{Json, Path};
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::{ApiError, App, Caller, priors as making};
use crate::catalog::{masks, priors};
use crate::domain::permission::Action;
use crate::domain::{Digest, MaskVersion, SiteName};
use crate::wire::v1::masks::MaskWithPrior;
use crate::wire::v1::page::Page;
use crate::wire::v1::priors::Prior;

/// Lists the population priors, the newest first.
#[utoipa::path(
    get, path = "/v1/priors", tag = "priors", operation_id = "list_priors",
    responses((status = OK, body = Page<Prior>))
)]
pub async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Page<Prior>>, ApiError> {
    may_pull(&caller)?;
    let items = priors::list(&mut app.catalog.read().await?).await?;
    Ok(Json(Page { items, next: None }))
}

/// Learns the next population prior of the active base from the masks that sites lend. The newest one is
/// answered if it would say the same.
#[utoipa::path(
    post, path = "/v1/priors", tag = "priors", operation_id = "make_prior",
    responses(
        (status = OK, body = Prior), (status = NOT_FOUND, description = "`no_base`"),
        (status = PRECONDITION_FAILED, description = "`too_few_sites`")
    )
)]
pub async fn make(State(app): State<App>, caller: Caller) -> Result<Json<Prior>, ApiError> {
    let actor = caller.may_anywhere(Action::ManageSites)?;
    Ok(Json(making::make(&app, &actor.to_string()).await?))
}

/// Sends a population prior; these bytes never change.
#[utoipa::path(
    method(get, head), path = "/v1/priors/{prior}", tag = "priors", operation_id = "download_prior",
    params(("prior" = Digest, Path)),
    responses(
        (status = OK, content_type = "application/octet-stream"), (status = PARTIAL_CONTENT),
        (status = NOT_MODIFIED), (status = NOT_FOUND, description = "`no_such_prior`"),
        (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download(
    State(app): State<App>,
    caller: Caller,
    Path(prior): Path<Digest>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    may_pull(&caller)?;
    let prior = priors::needed(&mut app.catalog.read().await?, &prior).await?;
    let offer = Offer {
        digest: prior.file,
        bytes: prior.bytes,
        media_type: "application/octet-stream".to_owned(),
        keep: Keep::Immutable,
        mask: None,
    };
    send(&app, &method, &headers, &offer).await
}

/// Lists what a mask is there as for whoever holds a population prior. It comes and goes: the whole
/// artefact is always there.
#[utoipa::path(
    get, path = "/v1/sites/{site}/masks/{version}/priors", tag = "priors", operation_id = "list_masks_with_priors",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path)),
    responses((status = OK, body = Page<MaskWithPrior>), (status = NOT_FOUND))
)]
pub async fn masks(
    State(app): State<App>,
    caller: Caller,
    Path((site, version)): Path<(SiteName, MaskVersion)>,
) -> Result<Json<Page<MaskWithPrior>>, ApiError> {
    caller.may(Action::Pull, &site)?;
    let mut tx = app.catalog.read().await?;
    masks::needed(&mut tx, &site, version).await?;
    let items = priors::coded(&mut tx, &site, version).await?;
    Ok(Json(Page { items, next: None }))
}

/// Sends a mask coded with a population prior. Its entity tag is its own, not the mask's: what it yields
/// has the mask's digest.
#[utoipa::path(
    method(get, head), path = "/v1/sites/{site}/masks/{version}/priors/{prior}", tag = "priors",
    operation_id = "download_mask_with_prior",
    params(("site" = SiteName, Path), ("version" = MaskVersion, Path), ("prior" = Digest, Path)),
    responses(
        (status = OK, content_type = MEDIA_TYPE), (status = PARTIAL_CONTENT), (status = NOT_MODIFIED),
        (status = NOT_FOUND, description = "`not_with_prior`: ask for the whole artefact"),
        (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download_mask(
    State(app): State<App>,
    caller: Caller,
    Path((site, version, prior)): Path<(SiteName, MaskVersion, Digest)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Action::Pull, &site)?;
    let mut tx = app.catalog.read().await?;
    masks::needed(&mut tx, &site, version).await?;
    let coded = priors::coded(&mut tx, &site, version).await?;
    drop(tx);
    let found = coded.into_iter().find(|coded| coded.prior.digest == prior);
    let found = found.ok_or_else(|| {
        let detail =
            format!("mask {version} of `{site}` is not there coded with prior {prior}; get the whole one");
        ApiError::not_found("not_with_prior", detail)
    })?;
    let offer = short_form(version, found.digest, found.bytes);
    send(&app, &method, &headers, &offer).await
}
