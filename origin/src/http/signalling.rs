//! `POST /live/{channel}/whep` begins a preview (draft-ietf-wish-whep), `POST /live/{channel}/whip` with the
//! channel's key publishes (RFC 9725 §4); what they answer in `Location` changes and ends it.
//!
//! Bodies are read within limits and handed to [`crate::webrtc`], which decides. No answer is ever cached, and
//! all of them may be read by scripts of other sites: there is no login that they could make use of, since who
//! publishes shows a key in the request itself.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LINK, LOCATION,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::Origin;
use super::answer;
use super::beacon;
use super::body::Payload;
use super::class::Class;
use super::error::Error;
use super::route::{Purpose, Signal};
use super::serve::Visitor;
use crate::webrtc::{MAX_SDP, Patched};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// What a body may be (RFC 9110 §12.5.1; RFC 5789 §3.1).
pub(super) const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

impl Origin {
    /// Answers a request to begin, change or end a preview.
    pub(super) async fn signal(
        &self,
        request: &Parts,
        body: Body,
        signal: &Signal,
        visitor: &Visitor,
        class: &mut Option<Class>,
    ) -> Result<Response<Payload>, Error> {
        *class = Some(Class::Signal);
        let webrtc = self.context.webrtc.as_ref().ok_or(Error::NoWebRtc)?;
        let channel = &signal.channel;
        match (&request.method, &signal.session) {
            (&Method::POST, None) => {
                has_type(&request.headers, SDP)?;
                let offer = beacon::whole(body, MAX_SDP).await?;
                let offer = std::str::from_utf8(&offer).map_err(|_| Error::NoText)?;
                let (door, created) = match signal.purpose {
                    Purpose::Watch => {
                        let rendition = rendition(request.uri.query());
                        let from = visitor.viewer(&request.headers);
                        ("whep", webrtc.watch(channel, from, offer, rendition)?)
                    }
                    Purpose::Publish => {
                        let from = SocketAddr::new(publisher(visitor, &request.headers), 0);
                        let key = bearer(&request.headers);
                        ("whip", webrtc.publish(channel.as_str(), key, from, offer)?)
                    }
                };
                let mut headers = kept_nowhere();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(SDP));
                let location = format!("/live/{channel}/{door}/{}", created.id);
                headers.insert(LOCATION, answer::header(&location));
                headers.insert(ETAG, answer::header(&created.etag));
                headers.insert(ACCEPT_PATCH, HeaderValue::from_static(FRAGMENT));
                for server in webrtc.ice_servers() {
                    headers
                        .append(LINK, answer::header(&format!("<{server}>; rel=\"ice-server\"")));
                }
                Ok(answer::told(StatusCode::CREATED, headers, created.answer))
            }
            (&Method::PATCH, Some(session)) => {
                has_type(&request.headers, FRAGMENT)?;
                let matching = request.headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
                let fragment = beacon::whole(body, MAX_SDP).await?;
                let fragment = std::str::from_utf8(&fragment).map_err(|_| Error::NoText)?;
                let mut headers = kept_nowhere();
                match webrtc.patch(channel, session, matching, fragment)? {
                    Patched::Nothing => {
                        Ok(answer::told(StatusCode::NO_CONTENT, headers, String::new()))
                    }
                    Patched::Restarted { fragment, etag } => {
                        headers.insert(CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
                        headers.insert(ETAG, answer::header(&etag));
                        Ok(answer::told(StatusCode::OK, headers, fragment))
                    }
                }
            }
            (&Method::DELETE, Some(session)) => {
                webrtc.delete(channel, session)?;
                Ok(answer::told(StatusCode::OK, kept_nowhere(), String::new()))
            }
            _ => Err(Error::SignalMethod { session: signal.session.is_some() }),
        }
    }
}

fn kept_nowhere() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(12);
    headers.insert(CACHE_CONTROL, Class::Signal.rule().cache_control.value());
    headers
}

fn has_type(headers: &HeaderMap, wanted: &'static str) -> Result<(), Error> {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = stated.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(Error::SignalMedia(wanted)) }
}

/// Where a publisher is. One whom a proxy passes on under no name that can be read is nobody of this machine;
/// one who passes nothing on is here for himself.
fn publisher(visitor: &Visitor, headers: &HeaderMap) -> IpAddr {
    let passed_on = headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded");
    let alone = if passed_on { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { visitor.peer() };
    visitor.viewer(headers).unwrap_or(alone)
}

/// The key that is shown (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The rendition that is asked for by name: `rendition=360p`.
fn rendition(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix("rendition="))
}
