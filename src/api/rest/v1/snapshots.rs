//! `/v1/sites/{site}/snapshots`

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{Json, Path, Query};
use crate::api::{ApiError, App, Caller};
use crate::catalog::{CatalogError, sites, snapshots};
use crate::domain::permission::Action;
use crate::domain::{SiteName, SnapshotId};
use crate::intake;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot, SnapshotImages};

/// Freezes the images that match now, without those of the validation set and
/// without what `exclude` says: codes of findings (`GET health`) and digests.
#[utoipa::path(
    post, path = "/v1/sites/{site}/snapshots", tag = "snapshots", operation_id = "create_snapshot",
    params(("site" = SiteName, Path)), request_body = NewSnapshot,
    responses(
        (status = CREATED, body = Snapshot),
        (status = CONFLICT, description = "`snapshot_empty`; `images_unmeasured`: ask for `health` first")
    )
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Json(new): Json<NewSnapshot>,
) -> Result<(StatusCode, Json<Snapshot>), ApiError> {
    let actor = caller.may(Action::Submit, &site)?;
    let made = intake::snapshot(&app.intake, &site, &new, &actor.to_string()).await?;
    Ok((StatusCode::CREATED, Json(made)))
}

/// Lists a site's snapshots, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/snapshots", tag = "snapshots", operation_id = "list_snapshots",
    params(("site" = SiteName, Path), PageQuery),
    responses((status = OK, body = Page<Snapshot>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Snapshot>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(snapshots::list(&mut tx, &site, &query).await?))
}

/// Shows a snapshot.
#[utoipa::path(
    get, path = "/v1/sites/{site}/snapshots/{id}", tag = "snapshots", operation_id = "show_snapshot",
    params(("site" = SiteName, Path), ("id" = SnapshotId, Path)),
    responses((status = OK, body = Snapshot), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((site, id)): Path<(SiteName, SnapshotId)>,
) -> Result<Json<Snapshot>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = snapshots::get(&mut tx, id).await?;
    let found = found.filter(|snapshot| snapshot.site == site);
    Ok(Json(found.ok_or(CatalogError::NoSuchSnapshot { snapshot: id })?))
}

/// Lists the images of a snapshot, and those that it leaves out as it was asked to.
#[utoipa::path(
    get, path = "/v1/sites/{site}/snapshots/{id}/images", tag = "snapshots",
    operation_id = "list_snapshot_images", params(("site" = SiteName, Path), ("id" = SnapshotId, Path)),
    responses((status = OK, body = SnapshotImages), (status = NOT_FOUND))
)]
pub async fn images(
    State(app): State<App>,
    caller: Caller,
    Path((site, id)): Path<(SiteName, SnapshotId)>,
) -> Result<Json<SnapshotImages>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = snapshots::get(&mut tx, id).await?;
    found
        .filter(|snapshot| snapshot.site == site)
        .ok_or(CatalogError::NoSuchSnapshot { snapshot: id })?;
    let images = snapshots::images(&mut tx, id).await?;
    Ok(Json(SnapshotImages {
        images: images.into_iter().map(|(digest, _)| digest).collect(),
        excluded: snapshots::excluded(&mut tx, id).await?,
    }))
}
