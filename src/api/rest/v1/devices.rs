//! `/v1/sites/{site}/devices`, `/v1/device`

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{Json, Path, Query};
use crate::api::idempotency::ShownOnce;
use crate::api::secret::Secret;
use crate::api::{ApiError, App, Caller};
use crate::catalog::tokens::NewCredential;
use crate::catalog::{bases, devices, sites, tokens};
use crate::domain::permission::{Action, Denied, Role};
use crate::domain::{DeviceId, SiteName};
use crate::wire::v1::devices::{Device, DeviceStatus, EnrolledDevice, Myself, NewDevice};
use crate::wire::v1::page::{Page, PageQuery};

/// Lists a site's devices.
#[utoipa::path(
    get, path = "/v1/sites/{site}/devices", tag = "devices", operation_id = "list_devices",
    params(("site" = SiteName, Path), PageQuery), responses((status = OK, body = Page<Device>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Device>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(devices::list(&mut tx, &site, &query).await?))
}

/// Enrols a device and makes its token, which is shown this once.
#[utoipa::path(
    post, path = "/v1/sites/{site}/devices", tag = "devices", operation_id = "enrol_device",
    params(("site" = SiteName, Path)), request_body = NewDevice,
    responses((status = CREATED, body = EnrolledDevice), (status = CONFLICT, description = "`device_exists`"))
)]
pub async fn enrol(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Json(new): Json<NewDevice>,
) -> Result<(StatusCode, ShownOnce<EnrolledDevice>), ApiError> {
    let actor = caller.may(Action::ManageDevices, &site)?;
    super::tokens::check_name(&new.name)?;
    let secret = Secret::generate()?;
    let mut tx = app.catalog.begin().await?;
    let device = devices::enrol(&mut tx, &site, &new, &actor.to_string()).await?;
    let credential = NewCredential {
        name: device.name.clone(),
        role: Role::Device,
        site: Some(site),
        device: Some(device.id),
        expires_at: None,
    };
    tokens::issue(&mut tx, &credential, &secret.hash(), &actor.to_string()).await?;
    tx.commit().await?;
    let enrolled = EnrolledDevice {
        device,
        token: secret.reveal().to_owned(),
    };
    Ok((StatusCode::CREATED, ShownOnce(enrolled)))
}

/// The device that asks.
fn device_of(caller: &Caller) -> Result<DeviceId, ApiError> {
    let denied = Denied::Forbidden { role: caller.0.role };
    Ok(caller.0.device.ok_or(denied)?)
}

/// Tells a device who it is.
#[utoipa::path(
    get, path = "/v1/device", tag = "devices", operation_id = "show_device",
    responses((status = OK, body = Myself), (status = FORBIDDEN))
)]
pub async fn myself(State(app): State<App>, caller: Caller) -> Result<Json<Myself>, ApiError> {
    let device = device_of(&caller)?;
    let mut tx = app.catalog.read().await?;
    let device = devices::get(&mut tx, device).await?.ok_or(Denied::NotFound)?;
    let base = bases::active(&mut tx).await?.map(|base| base.manifest.digest);
    Ok(Json(Myself { device, base }))
}

/// Takes what a device says of itself.
#[utoipa::path(
    put, path = "/v1/device/status", tag = "devices", operation_id = "report_device",
    request_body = DeviceStatus, responses((status = NO_CONTENT), (status = FORBIDDEN))
)]
pub async fn report(
    State(app): State<App>,
    caller: Caller,
    Json(status): Json<DeviceStatus>,
) -> Result<StatusCode, ApiError> {
    let device = device_of(&caller)?;
    let mut tx = app.catalog.begin().await?;
    devices::report(&mut tx, device, &status).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
