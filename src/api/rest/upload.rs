//! Images on their way in: one body, a form or a tar, each file answered for itself.

use std::io;

use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::idle::in_time;
use crate::api::extract::Json;
use crate::api::{ApiError, App};
use crate::config::IntakeConfig;
use crate::domain::SiteName;
use crate::domain::image::Caption;
use crate::domain::permission::Actor;
use crate::intake::{self, Content, Incoming, IntakeError, Rejection};
use crate::telemetry::metrics::FateLabels;
use crate::wire::v1::images::{Fate, Received};

/// What an answer line by line is asked for as.
const NDJSON: &str = "application/x-ndjson";
/// The header with the caption of a single image.
const CAPTION: &str = "katagami-caption";
/// Most bytes of a caption in a form.
const LONGEST_CAPTION: usize = 64 << 10;

type Answers = BoxStream<'static, Result<Received, IntakeError>>;

/// Query of a single image.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: Option<String>,
}

/// Takes in what `request` brings and answers each file.
pub async fn submit(
    app: &App,
    actor: &Actor,
    site: SiteName,
    request: Request,
) -> Result<Response, ApiError> {
    let lines = wants_lines(request.headers());
    let answers = answers(app, &actor.to_string(), site, request).await?;
    let counted = app.clone();
    let answers = answers.inspect_ok(move |received| count(&counted, received.fate));
    if lines {
        return Ok(by_line(answers));
    }
    let files: Vec<Received> = answers.try_collect().await?;
    Ok(Json(intake::submission(files)).into_response())
}

fn wants_lines(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT).iter();
    accept
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(NDJSON))
}

fn count(app: &App, fate: Fate) {
    let fate = match fate {
        Fate::Accepted => "accepted",
        Fate::Duplicate => "duplicate",
        Fate::Rejected => "rejected",
    };
    app.metrics.images.get_or_create(&FateLabels { fate }).inc();
}

/// One line a file, as soon as it is stored. An error cuts the body off: a
/// reader must not take a part for the whole.
fn by_line(answers: impl Stream<Item = Result<Received, IntakeError>> + Send + 'static) -> Response {
    let lines = answers.map(|answer| match answer {
        Ok(received) => {
            let mut line = serde_json::to_vec(&received).expect("an answer is plain data");
            line.push(b'\n');
            Ok(Bytes::from(line))
        }
        Err(error) => {
            tracing::warn!(%error, "an upload broke off");
            Err(error)
        }
    });
    ([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response()
}

async fn answers(app: &App, by: &str, site: SiteName, request: Request) -> Result<Answers, ApiError> {
    let media_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .map(|value| {
            value
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_ascii_lowercase()
        })
        .unwrap_or_default();
    let idle = app.config.server.idle_timeout;
    let request = request.map(|body| Body::from_stream(in_time(body.into_data_stream(), idle)));
    match media_type.as_str() {
        "multipart/form-data" => {
            let form = Multipart::from_request(request, &())
                .await
                .map_err(|rejection| ApiError::invalid("form_invalid", rejection.body_text()))?;
            let files = files(form, *app.intake.limits());
            Ok(intake::submit(&app.intake, &site, by, files).boxed())
        }
        "application/x-tar" | "application/tar" => {
            let body = request.into_body().into_data_stream().map_err(io::Error::other);
            Ok(intake::tar(&app.intake, &site, by, body).boxed())
        }
        image if image.starts_with("image/") || image == "application/octet-stream" => {
            let received = single(app, by, &site, request).await?;
            Ok(futures::stream::iter([Ok(received)]).boxed())
        }
        _ => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media_type",
            "send `image/*`, `multipart/form-data` or `application/x-tar`",
        )),
    }
}

async fn single(app: &App, by: &str, site: &SiteName, request: Request) -> Result<Received, ApiError> {
    let named: Named = axum::extract::Query::try_from_uri(request.uri())
        .map_err(|rejection| ApiError::invalid("query_invalid", rejection.body_text()))?
        .0;
    let caption = match request.headers().get(CAPTION) {
        Some(value) => Some(serde_json::from_slice(value.as_bytes()).map_err(|error| {
            ApiError::invalid(
                "caption_invalid",
                format!("`Katagami-Caption` is no caption as JSON: {error}"),
            )
        })?),
        None => None,
    };
    let name = named.name.unwrap_or_else(|| "image".to_owned());
    let body = request.into_body().into_data_stream();
    Ok(intake::image(&app.intake, site, by, &name, caption, body).await?)
}

/// A form that is read part by part.
struct Form {
    parts: Multipart,
    limits: IntakeConfig,
    entries: u64,
    ended: bool,
}

/// The files of a form. One that breaks off ends with a rejection that says so.
fn files(parts: Multipart, limits: IntakeConfig) -> impl Stream<Item = Incoming> + Send + 'static {
    let form = Form {
        parts,
        limits,
        entries: 0,
        ended: false,
    };
    futures::stream::unfold(form, |mut form| async move {
        let file = match form.next().await {
            Ok(file) => file?,
            Err(error) => {
                form.ended = true;
                rejected("(form)", Rejection::Archive(error))
            }
        };
        Some((file, form))
    })
}

fn rejected(name: &str, why: Rejection) -> Incoming {
    Incoming {
        name: name.to_owned(),
        caption: None,
        content: Content::Rejected(why),
    }
}

impl Form {
    /// The next file with the caption before it.
    async fn next(&mut self) -> Result<Option<Incoming>, String> {
        if self.ended {
            return Ok(None);
        }
        let mut caption = None;
        loop {
            let part = self.parts.next_field().await.map_err(|error| error.body_text())?;
            let Some(part) = part else {
                self.ended = true;
                return Ok(caption.map(|_| rejected("caption", Rejection::CaptionAlone)));
            };
            let file = part.file_name().map(printable);
            let name = file.clone().or_else(|| part.name().map(printable));
            let name = name.unwrap_or_default();
            self.entries += 1;
            if self.entries > self.limits.entries {
                self.ended = true;
                return Ok(Some(rejected(
                    &name,
                    Rejection::TooManyEntries(self.limits.entries),
                )));
            }
            if file.is_none() && name == "caption" {
                match read_caption(part).await? {
                    Ok(read) => caption = Some(read),
                    Err(why) => return Ok(Some(rejected(&name, Rejection::Caption(why)))),
                }
                continue;
            }
            if file.is_none() {
                return Ok(Some(rejected(&name, Rejection::FormPart)));
            }
            let content = intake::read(&self.limits, part)
                .await
                .map_err(|error| error.to_string())?;
            return Ok(Some(Incoming {
                name,
                caption,
                content,
            }));
        }
    }
}

/// A name as it can be shown.
fn printable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(1024).collect()
}

/// A caption; the inner error is the caption's, the outer one the form's.
async fn read_caption(mut part: Field<'_>) -> Result<Result<Caption, String>, String> {
    let mut text = Vec::new();
    while let Some(piece) = part.chunk().await.map_err(|error| error.body_text())? {
        if text.len() + piece.len() > LONGEST_CAPTION {
            return Ok(Err("it is too long".to_owned()));
        }
        text.extend_from_slice(&piece);
    }
    Ok(serde_json::from_slice(&text).map_err(|error| error.to_string()))
}
