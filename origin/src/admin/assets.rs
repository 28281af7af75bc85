//! `POST /api/v1/channels/{channel}/clips`, and `/api/v1/assets`: recordings and clips.
//!
//! ```text
//! POST   /api/v1/channels/{channel}/clips   {start, end, title, id}: makes one
//! GET    /api/v1/assets[/{asset}]
//! PATCH  /api/v1/assets/{asset}             {title}
//! DELETE /api/v1/assets/{asset}
//! ```
//! Instants are dates in UTC or seconds since 1970. What was asked for and not done is an error, with the
//! reason in words. Pages of others can't ask: see [`super::cues`].

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Json, RequestExt as _};
use packager::media::Name;
use packager::time::{Timescale, Timestamp, parse_iso};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Admin;
use super::cues::{own, problem};
use crate::assets::{Error, Wish};

/// A clip that is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Clip {
    /// When it begins; with the window, if nothing is said.
    start: Option<Instant>,
    /// When it ends; with what is there, if nothing is said.
    end: Option<Instant>,
    /// What people call it.
    title: String,
    /// Its name in URLs.
    id: Option<String>,
}

/// An instant.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Instant {
    Seconds(f64),
    Date(String),
}

/// Another title.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Title {
    title: String,
}

impl Instant {
    fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Seconds(seconds) => {
                let millis = (seconds * 1_000.0).round();
                // Until the year 5138, and exact in the type.
                (0.0..1e14)
                    .contains(&millis)
                    .then(|| Timestamp::new(millis as i64, Timescale::MILLIS))
            }
            Self::Date(text) => match text.parse::<u32>() {
                Ok(seconds) => Some(Timestamp::new(seconds.into(), Timescale::ONE)),
                Err(_) => parse_iso(text),
            },
        }
    }
}

impl Clip {
    fn wish(self) -> Result<Wish, String> {
        let instant = |name: &str, at: Option<Instant>| {
            let at = at.map(|at| at.at().ok_or(()));
            at.transpose().map_err(|()| {
                format!("{name} is a time like 2026-11-26T19:00:00.000Z, or seconds since 1970")
            })
        };
        let id = self.id.map(|id| Name::parse(&id).map_err(|error| format!("id: {error}")));
        Ok(Wish {
            from: instant("start", self.start)?,
            to: instant("end", self.end)?,
            title: self.title,
            id: id.transpose()?,
        })
    }
}

/// Makes a clip.
pub(super) async fn make(
    State(admin): State<Arc<Admin>>,
    Path(channel): Path<String>,
    request: Request,
) -> Response {
    let wish = match read::<Clip>(request).await {
        Ok(clip) => clip.wish(),
        Err(refusal) => return refusal,
    };
    let wish = match wish {
        Ok(wish) => wish,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    match admin.context.assets.make(&channel, wish).await {
        Ok(asset) => (StatusCode::CREATED, Json(asset)).into_response(),
        Err(error) => refused(&error),
    }
}

/// All assets.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Response {
    Json(admin.context.assets.list()).into_response()
}

/// One of them.
pub(super) async fn show(State(admin): State<Arc<Admin>>, Path(id): Path<String>) -> Response {
    match admin.context.assets.asset(&id) {
        Ok(asset) => Json(asset).into_response(),
        Err(error) => refused(&error),
    }
}

/// Gives one another title.
pub(super) async fn rename(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let title = match read::<Title>(request).await {
        Ok(Title { title }) => title,
        Err(refusal) => return refusal,
    };
    match admin.context.assets.rename(&id, &title).await {
        Ok(asset) => Json(asset).into_response(),
        Err(error) => refused(&error),
    }
}

/// Deletes one.
pub(super) async fn delete(
    State(admin): State<Arc<Admin>>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    if !own(request.headers()) {
        return problem(StatusCode::FORBIDDEN, FOREIGN);
    }
    match admin.context.assets.delete(&id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

const FOREIGN: &str = "this is asked by a page of another server";

/// Reads the JSON of a request.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    if !own(request.headers()) {
        return Err(problem(StatusCode::FORBIDDEN, FOREIGN));
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind.and_then(|kind| kind.split(';').next()).map(str::trim) != Some("application/json") {
        return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/json"));
    }
    let body: Result<Bytes, _> = request.extract().await;
    let body = body.map_err(|_| problem(StatusCode::BAD_REQUEST, "the request can't be read"))?;
    serde_json::from_slice(&body).map_err(|error| problem(StatusCode::BAD_REQUEST, error))
}

fn refused(error: &Error) -> Response {
    let status = match error {
        Error::NoChannel | Error::NoAsset => StatusCode::NOT_FOUND,
        Error::NotOnAir | Error::Unfinished { .. } | Error::Taken { .. } => StatusCode::CONFLICT,
        Error::Excerpt(_) | Error::Title => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Store(cause) => {
            tracing::error!(%cause, "an asset can't be written or read");
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    problem(status, error)
}
