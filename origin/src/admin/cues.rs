//! `POST /api/v1/channels/{channel}/cues`, and `GET` for what is known of a channel's cues.
//!
//! A request is JSON ([`Asked`]), or a section as it is (`application/octet-stream`), or a form of the
//! operator's page, which is sent back there. Pages of others can't make one: browsers say where a
//! request comes from, and ask before they send JSON. What was asked for and not done is an error, with
//! the reason in words.

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, LOCATION, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::{Json, RequestExt as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use packager::time::{Span, parse_iso};
use serde::{Deserialize, Serialize};

use super::{Admin, Context, page};
use crate::channel::Channel;
use crate::channel::cues::{Answer, Ask, CueView, Entry, Refused, Request as Cue};

/// The header that makes a request safe to send again.
const KEY: &str = "idempotency-key";
/// Longest key: a UUID has 36 characters.
const MAX_KEY: usize = 128;
/// Longest break: a day.
const LONGEST: f64 = 86_400.0;
/// Length of the break behind the page's button, in seconds.
pub(super) const BUTTON: f64 = 15.0;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// What is to happen: `out`, `in` or `cancel`; not where there is a section.
    kind: Option<Kind>,
    /// A section in base64, or in hexadecimal behind `0x`.
    section: Option<String>,
    /// `splice_event_id`. If there is none: of a break that begins, one that is free, or one that follows
    /// from the idempotency key; of one that ends, that of the one that is on; of one that is not to be,
    /// that of the newest to come.
    event_id: Option<u32>,
    /// When, in UTC: `2026-11-26T19:00:00.000Z`. At once, if there is none.
    at: Option<String>,
    /// Seconds that a break is to last.
    duration: Option<f64>,
    /// Whether it ends then by itself; so it does, if nothing is said and there is a duration.
    auto_return: Option<bool>,
    /// As the header `Idempotency-Key`.
    idempotency_key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Out,
    In,
    Cancel,
}

/// What is known of a channel's cues.
#[derive(Debug, Serialize)]
pub(super) struct Known {
    /// Those that have to do with the window or with what is to come.
    cues: Vec<CueView>,
    /// What was heard lately, oldest first.
    log: Vec<Heard>,
}

/// A message that was heard.
#[derive(Debug, Serialize)]
struct Heard {
    #[serde(flatten)]
    entry: Entry,
    /// The section in words.
    decoded: Option<String>,
}

impl Known {
    pub(super) fn of(channel: &Channel) -> Self {
        let snapshot = channel.snapshot.borrow().clone();
        let cues = snapshot.map(|snapshot| {
            let scale = snapshot.format.grid.video_scale();
            snapshot.cues.iter().map(|cue| CueView::of(cue, scale)).collect()
        });
        let entries = std::sync::Arc::clone(&channel.status.borrow().cues);
        let log = entries.iter();
        let log = log.map(|entry| Heard { decoded: entry.decoded(), entry: entry.clone() });
        Self { cues: cues.unwrap_or_default(), log: log.collect() }
    }
}

/// What a request was refused for.
#[derive(Debug, Serialize)]
struct Problem {
    error: String,
    /// What became of it, where it got as far as the channel.
    #[serde(flatten)]
    answer: Option<Answer>,
}

pub(super) fn problem(status: StatusCode, error: impl ToString) -> Response {
    (status, Json(Problem { error: error.to_string(), answer: None })).into_response()
}

/// What is known of a channel's cues.
pub(super) async fn known(
    State(admin): State<std::sync::Arc<Admin>>,
    Path(name): Path<String>,
) -> Response {
    match channel(&admin.context, &name) {
        Some(channel) => Json(Known::of(channel)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no such channel"),
    }
}

fn channel<'a>(context: &'a Context, name: &str) -> Option<&'a std::sync::Arc<Channel>> {
    context.channels.get(name)
}

/// Takes a cue.
pub(super) async fn take(
    State(admin): State<std::sync::Arc<Admin>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    if !own(&headers) {
        return problem(StatusCode::FORBIDDEN, "this is asked by a page of another server");
    }
    let Some(channel) = channel(&admin.context, &name) else {
        return problem(StatusCode::NOT_FOUND, "no such channel");
    };
    // Sections have 4 KiB at the most; the listener's own limit is far above.
    let body: Bytes = match request.extract().await {
        Ok(body) => body,
        Err(_) => return problem(StatusCode::BAD_REQUEST, "the request can't be read"),
    };
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let form = kind.starts_with("application/x-www-form-urlencoded");
    let asked = match kind.split(';').next().unwrap_or_default().trim() {
        "application/octet-stream" => Ok(Cue { ask: Ask::Section(body), at: None, key: None }),
        "application/x-www-form-urlencoded" => button(&body),
        "application/json" => serde_json::from_slice(&body)
            .map_err(|error| error.to_string())
            .and_then(|asked: Asked| asked.cue()),
        _ => {
            let text = "send application/json, or a section as application/octet-stream";
            return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        }
    };
    let mut asked = match asked {
        Ok(asked) => asked,
        Err(error) => return problem(StatusCode::BAD_REQUEST, error),
    };
    let key = headers.get(KEY).and_then(|key| key.to_str().ok()).map(str::to_owned);
    asked.key = key.or(asked.key);
    if asked.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_KEY) {
        return problem(StatusCode::BAD_REQUEST, "the idempotency key has 1 to 128 characters");
    }
    let (status, error, answer) = match channel.cues.ask(asked).await {
        Ok(answer) => match answer.refusal() {
            None if form => {
                let to = HeaderValue::from_static("/");
                return (StatusCode::SEE_OTHER, [(LOCATION, to)]).into_response();
            }
            None => return Json(answer).into_response(),
            Some(refusal) => (StatusCode::CONFLICT, refusal.to_string(), Some(answer)),
        },
        Err(error) => (status(&error), error.to_string(), None),
    };
    if form {
        return (status, Html(page::problem(&name, &error))).into_response();
    }
    (status, Json(Problem { error, answer })).into_response()
}

/// What a button of the page asks for: it says so itself, since programs that name no content type send
/// forms too.
fn button(form: &[u8]) -> Result<Cue, String> {
    let text = std::str::from_utf8(form).unwrap_or_default();
    let field = |name: &str| {
        let fields = text.split('&').filter_map(|field| field.split_once('='));
        fields.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
    };
    let event_id = field("event_id").and_then(|number| number.parse().ok());
    let ask = match field("button") {
        Some("out") => {
            let duration = Some(Span::millis((BUTTON * 1_000.0) as u64));
            Ask::Out { event_id, duration, auto_return: true }
        }
        Some("in") => Ask::Return { event_id },
        Some("cancel") => Ask::Cancel { event_id },
        _ => return Err("send the JSON as application/json".to_owned()),
    };
    Ok(Cue { ask, at: None, key: None })
}

fn status(error: &Refused) -> StatusCode {
    match error {
        Refused::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Refused::NotOnAir | Refused::NoBreak | Refused::NoneToCome | Refused::KeyUsed => {
            StatusCode::CONFLICT
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Whether a request is from no page at all, or from one of ours: a browser tells.
pub(super) fn own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    authority.is_some_and(|(_, authority)| Some(authority) == host)
}

impl Asked {
    /// What this means, or what is wrong with it.
    fn cue(self) -> Result<Cue, String> {
        let at = match self.at.as_deref() {
            None | Some("now") => None,
            Some(text) => Some(
                parse_iso(text).ok_or("at is a time like 2026-11-26T19:00:00.000Z, or \"now\"")?,
            ),
        };
        let duration = self.duration.map(|seconds| {
            (seconds > 0.0 && seconds <= LONGEST)
                .then(|| Span::millis((seconds * 1_000.0).round() as u64))
                .ok_or("duration is a number of seconds, up to a day")
        });
        let duration = duration.transpose()?;
        let lasts = duration.is_some() || self.auto_return.is_some();
        match self.kind {
            None if lasts || self.event_id.is_some() => {
                return Err(
                    "a section says itself which break it is about, and for how long".into()
                );
            }
            Some(Kind::In | Kind::Cancel) if lasts => {
                return Err("only a break that begins has a duration and an auto_return".into());
            }
            Some(Kind::Cancel) if at.is_some() => {
                return Err("a break is cancelled at once: leave out at".into());
            }
            Some(Kind::Out) if self.auto_return == Some(true) && duration.is_none() => {
                return Err("auto_return needs a duration".into());
            }
            _ => {}
        }
        let ask = match (self.section, self.kind) {
            (Some(section), None) => Ask::Section(
                section_of(&section)
                    .ok_or("section is a section in base64, or in hexadecimal behind 0x")?,
            ),
            (Some(_), Some(_)) => return Err("a section says itself what is to happen".to_owned()),
            (None, None) => return Err("say a kind (out, in, cancel) or a section".to_owned()),
            (None, Some(Kind::Out)) => Ask::Out {
                event_id: self.event_id,
                duration,
                auto_return: self.auto_return.unwrap_or_else(|| duration.is_some()),
            },
            (None, Some(Kind::In)) => Ask::Return { event_id: self.event_id },
            (None, Some(Kind::Cancel)) => Ask::Cancel { event_id: self.event_id },
        };
        Ok(Cue { ask, at, key: self.idempotency_key })
    }
}

/// A section as a text.
fn section_of(text: &str) -> Option<Bytes> {
    let text = text.trim();
    let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) else {
        return STANDARD.decode(text).ok().map(Bytes::from);
    };
    let digits = digits.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

#[cfg(test)]
mod tests;
