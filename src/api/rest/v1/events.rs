//! `/v1/events`: server-sent events from the catalog

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use crate::api::caller::authenticate;
use crate::api::extract::Query;
use crate::api::{ApiError, App, Caller};
use crate::catalog::{CatalogError, events};
use crate::domain::SiteName;
use crate::domain::permission::Action;
use crate::wire::v1::events::{Event, EventQuery};

/// How often a silent stream shows that it lives.
const ALIVE: Duration = Duration::from_secs(15);
/// Events read from the catalog at once.
const BATCH: u32 = 200;

/// Streams what happens: `id` counts up, `event` is the kind, `data` one `Event`.
/// `Last-Event-ID` replays what came after it.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "watch_events",
    params(EventQuery, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = OK, body = Event, content_type = "text/event-stream"))
)]
pub async fn watch(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventQuery>,
) -> Result<impl IntoResponse, ApiError> {
    let site = query.site.or_else(|| caller.0.site.clone());
    match &site {
        Some(site) => caller.may(Action::Read, site)?,
        None => caller.may_anywhere(Action::Read)?,
    };
    // Subscribed before looking: nothing is missed in between.
    let woken = app.catalog.notified();
    let seen = match headers.get("last-event-id") {
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|id| id.trim().parse().ok())
            .ok_or_else(|| {
                ApiError::invalid("last_event_id", "`Last-Event-ID` takes the `id` of an event")
            })?,
        None => events::newest(&mut app.catalog.read().await?).await?,
    };
    let shutdown = app.shutdown.clone().cancelled_owned();
    let watcher = Watcher {
        app,
        headers,
        site,
        seen,
        woken,
        ready: VecDeque::new(),
    };
    // Proxies that buffer would hold events back.
    let unbuffered = [("x-accel-buffering", "no"), ("cache-control", "no-store")];
    let stream = watcher.messages().take_until(shutdown);
    Ok((
        unbuffered,
        Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)),
    ))
}

/// One reader of events.
struct Watcher {
    app: App,
    /// With the reader's token: a stream ends with it.
    headers: HeaderMap,
    site: Option<SiteName>,
    /// The last event read.
    seen: i64,
    woken: watch::Receiver<u64>,
    ready: VecDeque<Event>,
}

impl Watcher {
    fn messages(self) -> impl Stream<Item = Result<Message, Infallible>> {
        futures::stream::unfold(self, |mut watcher| async move {
            let event = watcher.next().await?;
            let message = Message::default()
                .id(event.id.to_string())
                .event(event.what.kind())
                .json_data(&event)
                .ok()?;
            Some((Ok(message), watcher))
        })
    }

    /// The next event; `None` when the token has ended or the catalog does not
    /// answer: the reader comes back with `Last-Event-ID`.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            self.woken.borrow_and_update();
            authenticate(&self.app, &self.headers).await.ok()?;
            self.ready = match self.read().await {
                Ok(events) => events.into(),
                Err(error) => {
                    tracing::warn!(%error, "an event stream ends");
                    return None;
                }
            };
            if let Some(last) = self.ready.back() {
                self.seen = last.id;
                continue;
            }
            // Now and then even if nothing happens, to notice that the token ended.
            let _ = tokio::time::timeout(ALIVE, self.woken.changed()).await;
        }
    }

    async fn read(&self) -> Result<Vec<Event>, CatalogError> {
        let mut tx = self.app.catalog.read().await?;
        events::after(&mut tx, self.seen, self.site.as_ref(), BATCH).await
    }
}
