//! The route table of version 1: one file per family of endpoints.

mod audit;
mod base;
mod channels;
mod devices;
mod events;
mod health;
mod images;
mod jobs;
mod masks;
mod priors;
mod sites;
mod snapshots;
mod tokens;
mod validation;
mod workers;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::state::App;

/// Every endpoint.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(sites::list, sites::create))
        .routes(routes!(sites::show, sites::change))
        .routes(routes!(images::list))
        .routes(routes!(images::show, images::delete))
        .routes(routes!(images::download))
        .routes(routes!(health::show))
        .routes(routes!(validation::list))
        .routes(routes!(validation::show))
        .routes(routes!(snapshots::list, snapshots::create))
        .routes(routes!(snapshots::show))
        .routes(routes!(snapshots::images))
        .routes(routes!(jobs::list, jobs::create))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::logs))
        .routes(routes!(jobs::report))
        .routes(routes!(masks::list))
        .routes(routes!(masks::show))
        .routes(routes!(masks::report))
        .routes(routes!(masks::download))
        .routes(routes!(masks::deltas))
        .routes(routes!(masks::download_delta))
        .routes(routes!(priors::list, priors::make))
        .routes(routes!(priors::download))
        .routes(routes!(priors::masks))
        .routes(routes!(priors::download_mask))
        .routes(routes!(channels::list))
        .routes(routes!(channels::show, channels::set))
        .routes(routes!(channels::history))
        .routes(routes!(channels::download))
        .routes(routes!(base::active))
        .routes(routes!(base::download))
        .routes(routes!(base::list))
        .routes(routes!(devices::list, devices::enrol))
        .routes(routes!(devices::myself))
        .routes(routes!(devices::report))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::whoami))
        .routes(routes!(audit::list))
        .routes(routes!(workers::list))
        .routes(routes!(workers::fetch))
        .routes(routes!(events::watch))
        .merge(uploads())
}

/// What takes a stream of any length: intake and blobs count the bytes.
fn uploads() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(images::submit))
        .routes(routes!(validation::set))
        .routes(routes!(workers::store))
        .layer(DefaultBodyLimit::disable())
}
