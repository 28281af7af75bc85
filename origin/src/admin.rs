//! The admin listener: health, metrics, the API and the operator's page.
//!
//! It shows stream keys and so listens on loopback by default. Every request must name this machine
//! in `Host` (`host`), so that a web page elsewhere can't read it through a rebound DNS name; the
//! pages run no script. Two kinds of requests change something: a cue is handed in (`cues`), and assets are
//! made, renamed and deleted (`assets`).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ingest::secret::Secret;
use packager::media::Name;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod api;
mod assets;
mod cues;
mod host;
mod page;

use crate::admission::{Admission, Capacity};
use crate::assets::Assets;
use crate::channel::Channels;
use crate::http::{Caps, Entrance, Limits};
use crate::telemetry::metrics::{HttpMetrics, Metrics};
use crate::viewers::Viewers;
use crate::webrtc::WebRtc;

/// Pages load their own style sheet and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'";

/// The text format that Prometheus reads.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What operators and monitors may hold: each has a few connections.
const HELD: Limits = Limits {
    all_connections: 1_024,
    connections: 256,
    connections_per_address: 256,
    waiting: 0,
    waiting_per_address: 0,
    trusted: Vec::new(),
};

/// What the admin listener shows.
#[derive(Clone, Debug)]
pub struct Context {
    /// The channels.
    pub channels: Arc<Channels>,
    /// Recordings and clips.
    pub assets: Arc<Assets>,
    /// How each is published to, in the order of the configuration.
    pub doors: Vec<Door>,
    /// The program's metrics.
    pub metrics: Arc<Metrics>,
    /// Who watches.
    pub viewers: Arc<Viewers>,
    /// Who watches by WebRTC; `None`: there is none.
    pub webrtc: Option<Arc<WebRtc>>,
    /// What the machine takes on.
    pub admission: Arc<Admission>,
    /// Port of the RTMP listener.
    pub rtmp_port: u16,
    /// Port of the SRT listener.
    pub srt_port: u16,
    /// Port of the HTTP origin.
    pub http_port: u16,
    /// The origin's address as viewers see it, without a slash at the end, if there is one.
    pub public_url: Option<String>,
    /// Names by which operators reach this listener, besides loopback and plain addresses.
    pub hosts: Vec<String>,
}

/// How a channel is published to.
#[derive(Clone, Debug)]
pub struct Door {
    /// The channel.
    pub channel: Name,
    /// Its key. Without one it takes publishers from loopback only.
    pub key: Option<Secret>,
    /// What its SRT publishers' streams are encrypted with, if they are.
    pub passphrase: Option<Secret>,
    /// Where it takes its source from by itself, if it does: then nobody publishes to it.
    pub source: Option<String>,
}

/// Serves the admin listener until cancelled, and then until its connections have ended. It says that
/// the server is not ready any more once that is `draining`.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    draining: CancellationToken,
    cancel: CancellationToken,
) {
    let router = router(context, draining);
    let caps = Caps::new(HELD, HttpMetrics::default());
    let entrance = Entrance { listener, tls: None };
    crate::http::serve_connections(entrance, router, caps, cancel).await;
}

/// The admin listener as a service. The server is not ready any more once `draining` is cancelled.
pub fn router(context: Context, draining: CancellationToken) -> Router {
    let admin = Arc::new(Admin { context, draining });
    Router::new()
        .route("/", get(start))
        .route("/style.css", get(style))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/api/v1/channels", get(channels))
        .route("/api/v1/channels/{channel}", get(channel))
        .route("/api/v1/channels/{channel}/cues", get(cues::known).post(cues::take))
        .route("/api/v1/channels/{channel}/clips", post(assets::make))
        .route("/api/v1/assets", get(assets::list))
        .route(
            "/api/v1/assets/{asset}",
            get(assets::show).patch(assets::rename).delete(assets::delete),
        )
        .route("/api/v1/capacity", get(capacity))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(Arc::clone(&admin), guard))
        .with_state(admin)
}

#[derive(Debug)]
struct Admin {
    context: Context,
    draining: CancellationToken,
}

/// Lets only requests through that name this machine, and gives every answer the headers that keep
/// pages of others out.
async fn guard(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let mut response = if host::allowed(request.headers(), request.uri(), &admin.context.hosts) {
        next.run(request).await
    } else {
        let asked = host::of(request.headers(), request.uri());
        let text = match asked {
            Some(host) => format!(
                "this listener answers to loopback names, addresses and the names in [admin] hosts: \
                 {host:?} is none of them\n"
            ),
            None => "the request does not say which host it is for\n".to_owned(),
        };
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a path gets that is none of ours.
async fn nothing() -> Response {
    cues::problem(
        StatusCode::NOT_FOUND,
        "there is nothing here; the API begins with /api/v1/channels",
    )
}

async fn start(State(admin): State<Arc<Admin>>, request: Request) -> Html<String> {
    let asked = host::of(request.headers(), request.uri());
    Html(page::start(&admin.context, asked.as_deref()))
}

async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8")], include_str!("admin/style.css"))
}

/// Ready: not going down. A channel without a source is no reason to send viewers elsewhere.
async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    if admin.draining.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_TYPE)], admin.context.metrics.encode())
}

async fn channels(State(admin): State<Arc<Admin>>) -> Json<Vec<api::Channel>> {
    let Context { channels, .. } = &admin.context;
    Json(channels.values().map(|channel| api::Channel::of(channel, &admin.context)).collect())
}

async fn channel(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<api::Channel>, (StatusCode, &'static str)> {
    let channel = admin.context.channels.get(name.as_str());
    channel
        .map(|channel| Json(api::Channel::of(channel, &admin.context)))
        .ok_or((StatusCode::NOT_FOUND, "no such channel\n"))
}

async fn capacity(State(admin): State<Arc<Admin>>) -> Json<Capacity> {
    Json(admin.context.admission.capacity())
}

#[cfg(test)]
mod tests;
