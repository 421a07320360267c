//! `/v1/sites/{site}/channels`, and the download endpoint

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

use super::masks::MEDIA_TYPE;
use crate::api::extract::{Json, Path, Query};
use crate::api::rest::download::{Keep, Offer, send};
use crate::api::{ApiError, App, Caller};
use crate::catalog::{CatalogError, channels, sites};
use crate::domain::permission::Action;
use crate::domain::{ChannelName, SiteName};
use crate::release;
use crate::wire::v1::channels::{Channel, ChannelChange, ChannelMove};
use crate::wire::v1::page::{Page, PageQuery};

/// A channel with its entity tag.
fn tagged(channel: Channel) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{}\"", channel.revision));
    let mut response = Json(channel).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag.expect("a number is header text"));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    response
}

/// The revision that the caller has seen, if they say.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let revision = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|digits| digits.parse().ok());
    revision.map(Some).ok_or_else(|| {
        ApiError::invalid(
            "if_match_invalid",
            "`If-Match` takes the channel's `ETag`, such as \"3\", or `*`",
        )
    })
}

/// Lists a site's channels by name.
#[utoipa::path(
    get, path = "/v1/sites/{site}/channels", tag = "channels", operation_id = "list_channels",
    params(("site" = SiteName, Path)), responses((status = OK, body = Page<Channel>), (status = NOT_FOUND))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(site): Path<SiteName>,
) -> Result<Json<Page<Channel>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    let items = channels::list(&mut tx, &site).await?;
    Ok(Json(Page { items, next: None }))
}

/// Shows a channel.
#[utoipa::path(
    get, path = "/v1/sites/{site}/channels/{channel}", tag = "channels", operation_id = "show_channel",
    params(("site" = SiteName, Path), ("channel" = ChannelName, Path)),
    responses((status = OK, body = Channel, headers(("ETag", description = "the revision in quotes"))), (status = NOT_FOUND))
)]
pub async fn show(
    State(app): State<App>,
    caller: Caller,
    Path((site, channel)): Path<(SiteName, ChannelName)>,
) -> Result<Response, ApiError> {
    caller.may(Action::Pull, &site)?;
    let mut tx = app.catalog.read().await?;
    let found = channels::get(&mut tx, &site, &channel).await?;
    Ok(tagged(
        found.ok_or(CatalogError::NoSuchChannel { site, channel })?,
    ))
}

/// Moves a channel to a mask or to none. With `If-Match`, only if nobody moved it meanwhile.
#[utoipa::path(
    put, path = "/v1/sites/{site}/channels/{channel}", tag = "channels", operation_id = "set_channel",
    params(("site" = SiteName, Path), ("channel" = ChannelName, Path), ("If-Match" = Option<String>, Header)),
    request_body = ChannelChange,
    responses(
        (status = OK, body = Channel), (status = NOT_FOUND), (status = PRECONDITION_FAILED, description = "`channel_moved`"),
        (status = CONFLICT, description = "`mask_held`, `mask_refused`, `mask_of_other_base`, `mask_of_other_view`")
    )
)]
pub async fn set(
    State(app): State<App>,
    caller: Caller,
    Path((site, channel)): Path<(SiteName, ChannelName)>,
    headers: HeaderMap,
    Json(change): Json<ChannelChange>,
) -> Result<Response, ApiError> {
    let actor = caller.may(Action::Release, &site)?;
    let expected = expected(&headers)?;
    let moved = release::set_channel(
        &app.catalog,
        &app.pointers,
        actor,
        &site,
        &channel,
        &change,
        expected,
    )
    .await?;
    app.deltas.notify_one();
    Ok(tagged(moved))
}

/// Lists the moves of a channel, newest first.
#[utoipa::path(
    get, path = "/v1/sites/{site}/channels/{channel}/history", tag = "channels",
    operation_id = "list_channel_moves", params(("site" = SiteName, Path), ("channel" = ChannelName, Path), PageQuery),
    responses((status = OK, body = Page<ChannelMove>), (status = NOT_FOUND))
)]
pub async fn history(
    State(app): State<App>,
    caller: Caller,
    Path((site, channel)): Path<(SiteName, ChannelName)>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ChannelMove>>, ApiError> {
    caller.may(Action::Read, &site)?;
    let mut tx = app.catalog.read().await?;
    sites::must_exist(&mut tx, &site).await?;
    Ok(Json(channels::history(&mut tx, &site, &channel, &query).await?))
}

/// Sends the artefact that the channel points at: what devices ask for. An
/// unchanged one is a 304 that costs no query.
#[utoipa::path(
    method(get, head), path = "/v1/sites/{site}/channels/{channel}/mask", tag = "channels",
    operation_id = "download_channel_mask", params(("site" = SiteName, Path), ("channel" = ChannelName, Path)),
    responses(
        (status = OK, content_type = MEDIA_TYPE), (status = PARTIAL_CONTENT), (status = NOT_MODIFIED),
        (status = NOT_FOUND, description = "`no_release`: run the plain base"), (status = RANGE_NOT_SATISFIABLE)
    )
)]
pub async fn download(
    State(app): State<App>,
    caller: Caller,
    Path((site, channel)): Path<(SiteName, ChannelName)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    caller.may(Action::Pull, &site)?;
    let pointer = app.pointers.get(&site, &channel);
    let target = pointer.and_then(|pointer| pointer.target).ok_or_else(|| {
        let detail = format!("channel `{channel}` of `{site}` points at no mask; run the plain base");
        ApiError::not_found("no_release", detail).with_header(
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        )
    })?;
    let offer = Offer {
        digest: target.digest,
        bytes: target.bytes,
        media_type: MEDIA_TYPE.to_owned(),
        keep: Keep::Ask,
        mask: Some(target.version),
    };
    send(&app, &method, &headers, &offer).await
}
