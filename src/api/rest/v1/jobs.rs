//! `/v1/sites/{site}/jobs`, `/v1/jobs/{id}`

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::extract::{Json, Path, Query};
use crate::api::{ApiError, App, Caller, order};
use crate::catalog::{CatalogError, jobs, masks, sites};
use crate::domain::permission::Action;
use crate::domain::report::Report;
use crate::domain::{JobId, SiteName};
use crate::wire::v1::jobs::{Job, JobLogs, JobQuery, NewJob, Outcome};
use crate::wire::v1::page::Page;

/// Asks for a training. What is left out is decided now and written down.
#[utoipa::path(
    post, path = "/v1/sites/{site}/jobs", tag = "jobs", operation_id = "create_job",
    params(("site" = SiteName, Path)), request_body = NewJob,
    responses((status = CREATED, body = Job), (status = NOT_FOUND), (status = CONFLICT))
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Json(new): Json<NewJob>,
) -> Result<(StatusCode, Json<Job>), ApiError> {
    let actor = caller.may(Action::Train, &site)?;
    let job = order::place(&app, actor, &site, new).await?;
    Ok((StatusCode::CREATED, Json(job)))
}

/// Lists a site's jobs, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/jobs", tag = "jobs", operation_id = "list_jobs",
    params(("site" = SiteName, Path), JobQuery), responses((status = OK, body = Page<Job>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Query(query): Query<JobQuery>,
) -> Result<Json<Page<Job>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(jobs::list(&mut tx, &site, &query).await?))
}

/// The job, if the caller may do `action` on its site.
async fn needed(app: &App, caller: &Caller, id: JobId, action: Action) -> Result<Job, ApiError> {
    let mut tx = app.catalog.read().await?;
    let found = jobs::get(&mut tx, id).await?;
    let job = found.ok_or_else(|| caller.missing(CatalogError::NoSuchJob { job: id }))?;
    caller.may(action, &job.site)?;
    Ok(job)
}

/// Shows a job with its progress.
#[utoipa::path(
    get, path = "/v1/jobs/{id}", tag = "jobs", operation_id = "show_job", params(("id" = JobId, Path)),
    responses((status = OK, body = Job), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Json<Job>, ApiError> {
    Ok(Json(needed(&app, &caller, id, Action::Read).await?))
}

/// Cancels a job: at once if it waits, at its worker's next heartbeat if it runs.
#[utoipa::path(
    post, path = "/v1/jobs/{id}/cancel", tag = "jobs", operation_id = "cancel_job", params(("id" = JobId, Path)),
    responses((status = OK, body = Job), (status = NOT_FOUND), (status = CONFLICT, description = "`job_ended`"))
)]
pub async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Json<Job>, ApiError> {
    needed(&app, &caller, id, Action::Train).await?;
    let mut tx = app.catalog.begin().await?;
    let job = jobs::cancel(&mut tx, id, &caller.0.to_string()).await?;
    tx.commit().await?;
    Ok(Json(job))
}

/// Shows a job's attempts, what they wrote, and their losses.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/logs", tag = "jobs", operation_id = "show_job_logs", params(("id" = JobId, Path)),
    responses((status = OK, body = JobLogs), (status = NOT_FOUND))
)]
pub async fn logs(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Json<JobLogs>, ApiError> {
    needed(&app, &caller, id, Action::Read).await?;
    let mut tx = app.catalog.read().await?;
    Ok(Json(jobs::logs(&mut tx, id).await?))
}

/// Shows the report of an ended job, whether it found an improvement or not.
#[utoipa::path(
    get, path = "/v1/jobs/{id}/report", tag = "jobs", operation_id = "show_job_report", params(("id" = JobId, Path)),
    responses((status = OK, body = Report), (status = NOT_FOUND, description = "`no_report`: it has none, or none yet"))
)]
pub async fn report(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<JobId>,
) -> Result<Response, ApiError> {
    let job = needed(&app, &caller, id, Action::Read).await?;
    let digest = match job.outcome {
        Some(Outcome::Mask { version, .. }) => {
            let mut tx = app.catalog.read().await?;
            masks::needed(&mut tx, &job.site, version).await?.report
        }
        Some(Outcome::NoImprovement { report }) => report,
        _ => {
            return Err(ApiError::not_found(
                "no_report",
                format!("job {id} has no report; it is {}", job.state.word()),
            ));
        }
    };
    let report = app.blobs.get(&digest).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], report).into_response())
}
