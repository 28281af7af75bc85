//! `POST /live/{channel}/cmcd`: viewers' reports, read within limits and handed to [`crate::viewers`].
//!
//! Any player may send them: CMCD version 2 in event mode (CTA-5004-B), in a body of type
//! `application/cmcd`, or `text/plain`, which scripts of other sites may send without asking first.
//! No answer of it is ever cached.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;

use super::answer;
use super::body::Payload;
use super::class::Class;
use super::error::Error;
use super::route::Route;
use super::serve::Visitor;
use super::{MAX_URI, Origin};
use crate::viewers::Refused;

/// Bytes of a body: a report has about 300, and a player that gathers them sends a few.
const MAX_BODY: usize = 16 * 1024;
/// How long a body may take: it is sent in one packet or two.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Bytes of a body that has too many which are read all the same: more than a mistake has.
const PASSED_OVER: usize = 2 << 20;

impl Origin {
    /// Answers a POST, of which only viewers' reports are known.
    pub(super) async fn take_report(
        &self,
        request: &Parts,
        body: Body,
        visitor: &Visitor,
        class: &mut Option<Class>,
    ) -> Result<Response<Payload>, Error> {
        if request.uri.path().len() > MAX_URI {
            return Err(Error::UriTooLong);
        }
        let Some(Route::Beacon(name)) = Route::parse(request.uri.path()) else {
            return Err(Error::Method);
        };
        *class = Some(Class::Beacon);
        self.channel(&name)?;
        if !is_report(&request.headers) {
            return Err(Error::Media);
        }
        let body = whole(body, MAX_BODY).await?;
        let viewer = visitor.viewer(&request.headers);
        match self.context.viewers.take(&name, viewer, &body, Instant::now()) {
            Ok(()) => Ok(answer::taken()),
            Err(Refused::NoChannel) => Err(Error::NoChannel),
            Err(Refused::TooMany) => Err(Error::TooMany),
            Err(Refused::Malformed(error)) => Err(Error::Report(error)),
        }
    }
}

/// Whether a body says that it is a report.
fn is_report(headers: &HeaderMap) -> bool {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = stated.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    ["application/cmcd", "text/plain"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// The whole of a body, if that has no more than so many bytes and comes soon. Of one that has more, the rest is
/// read and dropped, up to a bound: who is still writing when the connection closes never sees the answer.
pub(super) async fn whole(mut body: Body, most: usize) -> Result<Bytes, Error> {
    let read = async {
        let (mut whole, mut length) = (BytesMut::new(), 0usize);
        while let Some(frame) = body.frame().await {
            // Whoever breaks off does not read the answer either.
            let data = frame.map_err(|_| Error::Slow)?.into_data().unwrap_or_default();
            length = length.saturating_add(data.len());
            if length > most.saturating_add(PASSED_OVER) {
                break;
            }
            if length <= most {
                whole.extend_from_slice(&data);
            }
        }
        if length > most { Err(Error::TooLarge) } else { Ok(whole.freeze()) }
    };
    tokio::time::timeout(BODY_WITHIN, read).await.unwrap_or(Err(Error::Slow))
}
