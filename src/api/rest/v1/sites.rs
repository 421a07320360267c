//! `/v1/sites`

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{Json, Path, Query};
use crate::api::{ApiError, App, Caller};
use crate::catalog::sites;
use crate::domain::SiteName;
use crate::domain::permission::Action;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::sites::{NewSite, Site, SiteChange};

/// Lists the sites that the caller may see, by name.
#[utoipa::path(
    get, path = "/v1/sites", tag = "sites", operation_id = "list_sites", params(PageQuery),
    responses((status = OK, body = Page<Site>))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Site>>, ApiError> {
    let mut tx = app.catalog.read().await?;
    // Who is of a site sees that one: the list is not a way to learn of others.
    if let Some(site) = &caller.0.site {
        caller.may(Action::Read, site)?;
        let items = sites::get(&mut tx, site).await?.into_iter().collect();
        return Ok(Json(Page { items, next: None }));
    }
    caller.may_anywhere(Action::Read)?;
    Ok(Json(sites::list(&mut tx, &query).await?))
}

/// Makes a site.
#[utoipa::path(
    post, path = "/v1/sites", tag = "sites", operation_id = "create_site", request_body = NewSite,
    responses((status = CREATED, body = Site), (status = CONFLICT, description = "`site_exists`"))
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewSite>,
) -> Result<(StatusCode, Json<Site>), ApiError> {
    let actor = caller.may_anywhere(Action::ManageSites)?;
    let mut tx = app.catalog.begin().await?;
    let site = sites::create(&mut tx, &new, &actor.to_string()).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(site)))
}

/// Shows a site.
#[utoipa::path(
    get, path = "/v1/sites/{site}", tag = "sites", operation_id = "show_site", params(("site" = SiteName, Path)),
    responses((status = OK, body = Site), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
) -> Result<Json<Site>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    Ok(Json(sites::needed(&mut tx, &site).await?))
}

/// Changes a site; what is absent stays. A site's own engineers may say whether it lends its masks, and
/// nothing else.
#[utoipa::path(
    patch, path = "/v1/sites/{site}", tag = "sites", operation_id = "change_site",
    params(("site" = SiteName, Path)), request_body = SiteChange,
    responses((status = OK, body = Site), (status = NOT_FOUND))
)]
pub async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
    Json(change): Json<SiteChange>,
) -> Result<Json<Site>, ApiError> {
    let action = if change.is_of_the_site() {
        Action::Release
    } else {
        Action::ManageSites
    };
    let actor = caller.may(action, &site)?;
    let mut tx = app.catalog.begin().await?;
    let site = sites::update(&mut tx, &site, &change, &actor.to_string()).await?;
    tx.commit().await?;
    Ok(Json(site))
}
