//! `/v1/audit`

use axum::extract::State;
use serde::Deserialize;

use crate::api::extract::{Json, Query};
use crate::api::{ApiError, App, Caller};
use crate::catalog::audit;
use crate::domain::SiteName;
use crate::domain::permission::Action;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::tokens::AuditEntry;

/// Which entries.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Most entries of a page: 1 to 1,000. Default 100.
    limit: Option<u32>,
    /// Only those of this site.
    site: Option<SiteName>,
}

/// Lists who did what, newest first.
#[utoipa::path(
    get, path = "/v1/audit", tag = "audit", operation_id = "list_audit", params(AuditQuery),
    responses((status = OK, body = Page<AuditEntry>))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Page<AuditEntry>>, ApiError> {
    caller.may_anywhere(Action::Audit)?;
    let AuditQuery { cursor, limit, site } = query;
    let mut tx = app.catalog.read().await?;
    let page = audit::list(&mut tx, site.as_ref(), &PageQuery { cursor, limit }).await?;
    Ok(Json(page))
}
