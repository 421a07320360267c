//! `/v1/sites/{site}/health`

use axum::extract::State;

use crate::api::extract::{Json, Path, Query};
use crate::api::{ApiError, App, Caller};
use crate::catalog::sites;
use crate::domain::SiteName;
use crate::domain::health::{Finding, FindingCode};
use crate::domain::permission::Action;
use crate::wire::v1::health::{Health, HealthQuery, MOST_LISTED};

/// Images listed of a finding unless asked otherwise, and at most.
const LISTED: (u32, u32) = (100, MOST_LISTED);
/// Images of before that one question looks at: a few seconds.
const LOOKED_AT: usize = 128;

/// Says what may be wrong with a site's images, before anything is trained on
/// them: findings with their images, which `POST snapshots` can exclude. Nothing
/// is deleted.
#[utoipa::path(
    get, path = "/v1/sites/{site}/health", tag = "images", operation_id = "show_health",
    params(("site" = SiteName, Path), HealthQuery),
    responses((status = OK, body = Health), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<HealthQuery>,
) -> Result<Json<Health>, ApiError> {
    caller.may(Action::Read, &site)?;
    sites::must_exist(&mut app.catalog.read().await?, &site).await?;
    app.intake.look_at_unseen(&site, LOOKED_AT).await?;
    let most = query.limit.unwrap_or(LISTED.0).min(LISTED.1) as usize;
    let health = app.intake.health(&site, most).await?;
    let wanted = |code: FindingCode| query.finding.is_none_or(|only| only == code);
    let findings = health.findings.into_iter().filter(|finding| wanted(finding.code));
    let (judged_by, embeddings) = health.embeddings.unzip();
    let labels = embeddings.filter(|_| wanted(FindingCode::LabelError));
    Ok(Json(Health {
        images: health.images,
        unmeasured: health.unmeasured,
        findings: findings.map(|finding: Finding| finding.bounded(most)).collect(),
        labels: labels.map_or_else(Vec::new, |health| health.labels.into_iter().take(most).collect()),
        judged_by,
        rejected: health.rejected,
    }))
}
