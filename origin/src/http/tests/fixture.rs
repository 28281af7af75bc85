//! A channel `demo` of two renditions whose segments the test makes, and a channel `idle`, behind
//! the origin's service.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AsHeaderName, HeaderName};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use packager::cmaf::{self, Chunk};
use packager::codec::h264;
use packager::grid::Grid;
use packager::media::{AudioConfig, Config, Name, Rendition, RunId, Track, VideoConfig};
use packager::time::{FrameRate, Span, Timescale};
use packager::timeline::{Format, Part, Promise, Run, Timeline};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::assets::Assets;
use crate::channel::cues::Desk;
use crate::channel::{Channel, Channels, Health, SourceStatus, Status};
use crate::clock::{Clock, ManualClock};
use crate::http::body::Payload;
use crate::http::serve::Handler as _;
use crate::http::{Caps, Context, Entrance, Limits, Origin, serve_connections};
use crate::store::{self, ChannelStore, Store};
use crate::telemetry::metrics::Metrics;
use crate::viewers::Viewers;

/// Number of the first segment.
pub(super) const FIRST_K: u64 = 1_104_576_903;

/// Id of the first run, as written in paths.
pub(super) const RUN: &str = "0199aabbccd";

/// Address of the publisher, which the public must not see.
pub(super) const PEER: &str = "192.0.2.77:50123";

/// Seven segments of 1.6 s.
const WINDOW: Span = Span::millis(10_000);

/// What `/time` shows: 2026-01-02T03:04:05.678Z.
const NOW_MILLIS: i64 = 1_767_323_045_678;

/// Requests of one address that may wait; all of these come from one.
pub(super) const WAITING: u32 = 64;

/// What viewers may hold.
const LIMITS: Limits = Limits {
    all_connections: 10_000,
    connections: 1_000,
    connections_per_address: 1_000,
    waiting: 1_000,
    waiting_per_address: WAITING,
    trusted: Vec::new(),
};

/// An answer with its body read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    /// A header's value; empty if there is none.
    pub(super) fn header(&self, name: impl AsHeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn gunzipped(&self) -> Bytes {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&*self.body).read_to_end(&mut bytes).unwrap();
        bytes.into()
    }
}

pub(super) struct Fixture {
    pub(super) cancel: CancellationToken,
    pub(super) assets: Arc<Assets>,
    pub(super) metrics: Arc<Metrics>,
    clock: Arc<ManualClock>,
    origin: Arc<Origin>,
    caps: Arc<Caps>,
    timeline: Timeline,
    renditions: Arc<[Rendition]>,
    grid: Grid,
    run: Arc<Run>,
    store: Arc<ChannelStore>,
    snapshots: watch::Sender<Option<Arc<packager::timeline::Snapshot>>>,
    states: watch::Sender<Arc<Status>>,
    // The idle channel's ends, which must not be dropped.
    _idle: Box<dyn std::any::Any + Send>,
    _root: tempfile::TempDir,
}

impl Fixture {
    /// A channel whose source has just come: a run, no segment.
    pub(super) fn starting() -> Self {
        Self::within(store::Limits::default())
    }

    /// The same with a store of these limits.
    pub(super) fn within(limits: store::Limits) -> Self {
        let rate = FrameRate::new(30, 1);
        let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300));
        let format = Format { grid, window: WINDOW, publish_delay: Span::millis(150) };
        let renditions: Arc<[Rendition]> = vec![video(rate), audio()].into();
        let mut timeline = Timeline::new(Arc::new(format), Arc::clone(&renditions), None);
        let run = timeline.begin_run(RunId::parse(RUN).unwrap(), FIRST_K, inits(&renditions));
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(root.path(), limits).unwrap();
        let names = ["demo", "idle"].map(|name| Name::parse(name).unwrap());
        let stores: BTreeMap<_, _> =
            names.iter().map(|name| (name.clone(), store.channel(name).unwrap())).collect();
        let (snapshots, demo_snapshot) = watch::channel(None);
        let (states, demo_status) = watch::channel(Arc::new(status(Health::Starting)));
        let (idle_snapshots, idle_snapshot) = watch::channel(None);
        let (idle_states, idle_status) = watch::channel(Arc::new(Status::default()));
        let [demo, idle] = names;
        let channels = [
            Channel {
                name: demo.clone(),
                snapshot: demo_snapshot,
                status: demo_status,
                cues: Desk::new().0,
                preview: Arc::default(),
            },
            Channel {
                name: idle,
                snapshot: idle_snapshot,
                status: idle_status,
                cues: Desk::new().0,
                preview: Arc::default(),
            },
        ]
        .map(|channel| (channel.name.clone(), Arc::new(channel)));
        let metrics = Arc::new(Metrics::new("test"));
        let channels: Channels = channels.into();
        let viewers = Arc::new(Viewers::new(channels.keys(), metrics.viewers.clone()));
        let clock = Arc::new(ManualClock::at_millis(NOW_MILLIS));
        let channels = Arc::new(channels);
        let now = Arc::clone(&clock) as Arc<dyn Clock>;
        let assets = Arc::new(Assets::new(Arc::clone(&channels), stores.clone(), now));
        let context = Context {
            channels,
            stores: stores.clone(),
            assets: Arc::clone(&assets),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            metrics: Arc::clone(&metrics),
            viewers,
            stills: crate::channel::stills::Stills::new().0,
            webrtc: None,
            options: BTreeMap::new(),
        };
        let cancel = CancellationToken::new();
        Self {
            clock,
            origin: Origin::new(context, cancel.clone()),
            caps: Caps::new(LIMITS, metrics.http.clone()),
            cancel,
            assets,
            metrics,
            timeline,
            renditions,
            grid,
            run,
            store: Arc::clone(&stores[&demo]),
            snapshots,
            states,
            _idle: Box::new((idle_snapshots, idle_states)),
            _root: root,
        }
    }

    /// A live channel with `count` segments.
    pub(super) async fn live(count: u64) -> Self {
        let mut fixture = Self::starting();
        fixture.go_live(count).await;
        fixture
    }

    /// Adds `count` segments and goes on the air.
    pub(super) async fn go_live(&mut self, count: u64) {
        for k in FIRST_K..FIRST_K + count {
            self.push_all(k).await;
        }
        self.publish();
        self.state(Health::Live);
    }

    /// Begins another run.
    pub(super) async fn begin_run(&mut self, first_k: u64) {
        let id = "0199aabbccf";
        self.run =
            self.timeline.begin_run(RunId::parse(id).unwrap(), first_k, inits(&self.renditions));
        self.store.begin_run(&self.run, &self.renditions).await;
    }

    /// Begins another run at `first_k`, while the last one's manifests promised that number.
    pub(super) async fn begin_run_beside_promise(&mut self, first_k: u64) {
        let old = self.run.id.clone();
        for rendition in 0..self.renditions.len() {
            let head = Bytes::from_static(b"[filler]");
            let chunk = Chunk { head, samples: Vec::new() };
            self.store.keep(&old, rendition, first_k, vec![chunk], 0);
        }
        self.begin_run(first_k).await;
        self.timeline.promise(Promise { run: old, numbers: first_k..first_k + 1 });
    }

    /// Adds one part to segment `k` of a rendition.
    pub(super) async fn push_part(&mut self, rendition: usize, k: u64) {
        let (start, part) = match self.renditions[rendition].rate {
            Some(_) => (self.grid.boundary(k), self.grid.part_ticks),
            None => (self.grid.audio_boundary(k), 12 * 1024),
        };
        if self.store.init(self.run.id.as_str(), "audio").is_none() {
            self.store.begin_run(&self.run, &self.renditions).await;
        }
        let name = &self.renditions[rendition].name;
        let sample = |i: u32| Bytes::from(format!("[{name} {k} sample {i}]"));
        let chunk =
            Chunk { head: Bytes::from_static(b"[moof]"), samples: (0..4).map(sample).collect() };
        self.store.append(&self.run.id, rendition, k, &chunk).await;
        let part = Part {
            duration: part.try_into().unwrap(),
            bytes: chunk.len().try_into().unwrap(),
            independent: true,
            first_sample: 20,
        };
        self.timeline.push_part(rendition, k, start, part);
    }

    /// Opens segment `k` of the pictures as a gap.
    pub(super) fn open_gap(&mut self, k: u64) {
        self.timeline.open_gap(0, k, self.grid.boundary(k));
    }

    /// Adds what is missing of segment `k` of a rendition, and finishes it.
    pub(super) async fn push(&mut self, rendition: usize, k: u64) {
        let parts = self.grid.segment_ticks / self.grid.part_ticks;
        while self.parts(rendition, k) < parts {
            self.push_part(rendition, k).await;
        }
        self.timeline.close(rendition);
        let snapshot = self.timeline.snapshot();
        let segment = snapshot.tracks[rendition].segments.last().unwrap();
        self.store.close(&self.run.id, rendition, k, segment).await;
    }

    /// Adds segment `k` to every rendition.
    pub(super) async fn push_all(&mut self, k: u64) {
        for rendition in 0..self.renditions.len() {
            self.push(rendition, k).await;
        }
    }

    fn parts(&mut self, rendition: usize, k: u64) -> u64 {
        let snapshot = self.timeline.snapshot();
        let open = snapshot.tracks[rendition].open.as_ref().filter(|open| open.k == k);
        open.map_or(0, |open| open.parts.len() as u64)
    }

    /// Drops what lies before the window: all but the newest seven segments.
    pub(super) fn trim(&mut self) {
        for removed in self.timeline.trim() {
            let segment = removed.segment;
            self.store.remove(&segment.run.id, removed.rendition, segment.k);
        }
    }

    /// No segment follows.
    pub(super) fn end(&mut self) {
        self.timeline.end();
    }

    /// Shows the timeline as it is to the origin.
    pub(super) fn publish(&mut self) {
        self.snapshots.send_replace(Some(self.timeline.snapshot()));
    }

    /// Sets the channel's state.
    pub(super) fn state(&self, state: Health) {
        self.states.send_replace(Arc::new(status(state)));
    }

    /// Lets the channel wait for its source after the server was started again.
    pub(super) fn interrupt(&self) {
        let status = Status { interrupted: true, ..status(Health::Holding) };
        self.states.send_replace(Arc::new(status));
    }

    /// Lets time pass for the origin's clock.
    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Sets the channel's clock ahead.
    pub(super) fn set_ahead(&self, millis: u64) {
        let status = Status { clock_ahead_ms: millis, ..status(Health::Live) };
        self.states.send_replace(Arc::new(status));
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.with(Method::GET, path, &[]).await
    }

    pub(super) async fn with(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
    ) -> Answer {
        ask(&self.origin, &self.caps, method, path, headers).await
    }

    /// The answer with its body still to come.
    pub(super) async fn respond(
        &self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
    ) -> Response<Payload> {
        respond(&self.origin, &self.caps, method, path, headers).await
    }

    /// The answer to a POST.
    pub(super) async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).header("content-type", kind).body(body.into()).unwrap();
        read(response_to(&self.origin, &self.caps, request).await).await
    }

    /// How many different playlists are waited for.
    pub(super) fn waited_for(&self) -> usize {
        self.origin.texts.values().map(|texts| texts.reloads.entries()).sum()
    }

    /// Waits until a path is not answered any more: files are deleted once a second.
    pub(super) async fn until_gone(&self, path: &str) {
        for _ in 0..1_000 {
            if self.get(path).await.status == StatusCode::NOT_FOUND {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{path} is still there");
    }

    /// How many excerpts are kept.
    pub(super) fn views(&self) -> usize {
        self.origin.views.values().map(crate::http::excerpts::Views::len).sum()
    }

    /// What a request costs while it is being answered, in bytes, beside its connection.
    pub(super) fn cost(&self, path: &str) -> usize {
        let visitor = self.caps.visit([192, 0, 2, 1].into()).unwrap();
        let request = Request::get(path).body(Body::empty()).unwrap();
        size_of_val(&*self.origin.handle(request, &visitor))
    }

    /// Asks in a task of its own.
    pub(super) fn spawn_get(&self, path: &str) -> JoinHandle<Answer> {
        self.spawn_with(path, &[])
    }

    /// Asks with headers in a task of its own.
    pub(super) fn spawn_with(
        &self,
        path: &str,
        headers: &[(HeaderName, &str)],
    ) -> JoinHandle<Answer> {
        let (origin, caps) = (Arc::clone(&self.origin), Arc::clone(&self.caps));
        let path = path.to_owned();
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        tokio::spawn(async move {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.clone(), value.as_str())).collect();
            ask(&origin, &caps, Method::GET, &path, &headers).await
        })
    }

    /// Asks in a task of its own; the body of the answer is still to come.
    pub(super) fn spawn_respond(&self, path: &str) -> JoinHandle<Response<Payload>> {
        let (origin, caps) = (Arc::clone(&self.origin), Arc::clone(&self.caps));
        let path = path.to_owned();
        tokio::spawn(async move { respond(&origin, &caps, Method::GET, &path, &[]).await })
    }

    /// Serves on a socket; gives its address.
    pub(super) async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let entrance = Entrance { listener, tls: None };
        let (origin, caps) = (Arc::clone(&self.origin), Arc::clone(&self.caps));
        tokio::spawn(serve_connections(entrance, origin, caps, self.cancel.clone()));
        address
    }

    /// Lets every task run as far as it can without time going on.
    pub(super) async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

async fn respond(
    origin: &Arc<Origin>,
    caps: &Arc<Caps>,
    method: Method,
    path: &str,
    headers: &[(HeaderName, &str)],
) -> Response<Payload> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    response_to(origin, caps, request.body(Body::empty()).unwrap()).await
}

async fn response_to(
    origin: &Arc<Origin>,
    caps: &Arc<Caps>,
    request: Request<Body>,
) -> Response<Payload> {
    let visitor = caps.visit([192, 0, 2, 1].into()).unwrap();
    origin.handle(request, &visitor).await
}

async fn ask(
    origin: &Arc<Origin>,
    caps: &Arc<Caps>,
    method: Method,
    path: &str,
    headers: &[(HeaderName, &str)],
) -> Answer {
    read(respond(origin, caps, method, path, headers).await).await
}

async fn read(response: Response<Payload>) -> Answer {
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: head.status, headers: head.headers, body }
}

fn status(state: Health) -> Status {
    let source =
        SourceStatus { protocol: "rtmp".into(), peer: PEER.into(), ..SourceStatus::default() };
    Status { state, since: 1_767_323_045_000, source: Some(source), ..Status::default() }
}

fn inits(renditions: &[Rendition]) -> Vec<Bytes> {
    renditions.iter().map(cmaf::init).collect()
}

/// x264 of Debian's FFmpeg 5.1: 1280x720, high profile.
const AVC: &str = "0164001fffe1001a6764001facd9405005bb0110000003001000000303c0f18319600100\
    0468ef8fcbfdf8f800";

fn video(rate: FrameRate) -> Rendition {
    let digits = AVC.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    let record = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
    let config = VideoConfig { rate: Some(rate), ..h264::config(record).unwrap() };
    Rendition {
        name: Name::parse("96p").unwrap(),
        track: Track { timescale: rate.timescale(), config: Config::Video(config) },
        rate: Some(rate),
        average_bitrate: 100_000,
        peak_bitrate: 120_000,
    }
}

fn audio() -> Rendition {
    let config = AudioConfig {
        record: Bytes::from_static(&[0x11, 0x90]),
        codec_string: "mp4a.40.2".into(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1_024,
    };
    Rendition {
        name: Name::parse("audio").unwrap(),
        track: Track { timescale: Timescale::new(48_000).unwrap(), config: Config::Audio(config) },
        rate: None,
        average_bitrate: 128_000,
        peak_bitrate: 128_000,
    }
}
