//! The admin listener through its service.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::channel::cues::Desk;
use crate::channel::incidents::{Cause, Happening, Incidents};
use crate::channel::{
    Channel, Event, Health, LeftOut, Link, RenditionStatus, RepairKind, SourceStatus, Status,
};

const KEY: &str = "canary & <key>";
const PASSPHRASE: &str = "correct horse";
const LINK: Link = Link {
    rtt_ms: 80.5,
    latency_ms: 120,
    buffer_ms: 40,
    received: 1_000,
    lost: 5,
    retransmitted: 3,
    dropped: 2,
    belated: 1,
    undecrypted: 0,
    encryption_bits: Some(128),
};
const PEER: &str = "192.0.2.77:50123";

struct Fixture {
    router: Router,
    cancel: CancellationToken,
    viewers: Arc<Viewers>,
    _ends: Box<dyn std::any::Any + Send>,
}

impl Fixture {
    /// A live channel `news` with a key, and a channel `open` without one.
    fn new() -> Self {
        let names = ["news", "open"].map(|name| Name::parse(name).unwrap());
        let [news, open] = names.clone();
        let (snapshots, snapshot) = watch::channel(None);
        let (states, live) = watch::channel(Arc::new(status()));
        let (idles, idle) = watch::channel(Arc::new(Status::default()));
        let channels = [
            (
                news.clone(),
                Channel {
                    name: news.clone(),
                    snapshot: snapshot.clone(),
                    status: live,
                    cues: Desk::new().0,
                    preview: Arc::default(),
                },
            ),
            (
                open.clone(),
                Channel {
                    name: open.clone(),
                    snapshot,
                    status: idle,
                    cues: Desk::new().0,
                    preview: Arc::default(),
                },
            ),
        ]
        .map(|(name, channel)| (name, Arc::new(channel)));
        let metrics = Arc::new(Metrics::new("1.2.3"));
        let channels: Channels = channels.into();
        let viewers = Arc::new(Viewers::new(channels.keys(), metrics.viewers.clone()));
        let channels = Arc::new(channels);
        let clock = Arc::new(crate::clock::ManualClock::at_millis(0));
        let assets = Assets::new(Arc::clone(&channels), BTreeMap::new(), clock);
        let context = Context {
            viewers: Arc::clone(&viewers),
            channels,
            assets: Arc::new(assets),
            doors: vec![
                Door {
                    channel: news,
                    key: Some(Secret::new(KEY)),
                    passphrase: Some(Secret::new(PASSPHRASE)),
                    source: None,
                },
                Door { channel: open, key: None, passphrase: None, source: None },
            ],
            metrics,
            webrtc: None,
            admission: Arc::new(Admission::new(Some(4.0))),
            rtmp_port: 1936,
            srt_port: 8890,
            http_port: 8080,
            public_url: None,
            hosts: vec!["ops.example".to_owned()],
        };
        let cancel = CancellationToken::new();
        let router = router(context, cancel.clone());
        Self { router, cancel, viewers, _ends: Box::new((snapshots, states, idles)) }
    }

    async fn get_as(&self, host: &str, path: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::get(path).header(HOST, host).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, HeaderMap, String) {
        self.get_as("localhost:9997", path).await
    }
}

/// A source that came from [`PEER`], and an encoder that died and works again.
fn events() -> Vec<Event> {
    let mut incidents = Incidents::default();
    let begin = 1_767_225_600_000;
    incidents.note(Happening::SourceArrived, begin, format!("a source came: rtmp from {PEER}"));
    incidents.open(Cause::Encoder, begin + 5_000, "the encoder stopped: <signal 11>");
    incidents.close(&Cause::Encoder, begin + 7_000);
    incidents.open(Cause::SourceLost, begin + 60_000, "the source is gone");
    incidents.events().to_vec()
}

fn status() -> Status {
    Status {
        state: Health::Live,
        source: Some(SourceStatus {
            protocol: "rtmp".into(),
            peer: PEER.into(),
            size: Some((1280, 720)),
            gop_seconds: Some(4.0),
            b_frames: Some(true),
            av_skew_ms: Some(-120.0),
            warnings: vec!["key frames are <far> apart".into()],
            link: Some(LINK),
            ..SourceStatus::default()
        }),
        repairs: [(RepairKind::Jump, 3), (RepairKind::Wrap, 1)].into(),
        events: events(),
        renditions: vec![RenditionStatus {
            name: "720p".into(),
            codec: "avc1.64001f".into(),
            size: Some((1280, 720)),
            bitrate: 2_800_000,
        }],
        left_out: vec![LeftOut { name: "1080p".into(), reason: "<higher than> the source".into() }],
        last_error: Some("<script>alert(1)</script>".into()),
        ..Status::default()
    }
}

#[tokio::test]
async fn viewers_stand_on_the_page_and_in_the_api() {
    let fixture = Fixture::new();
    let (_, _, page) = fixture.get("/").await;
    assert!(!page.contains("Viewers"), "nobody has reported: {page}");
    let report = "br=(2800),ltc=1440,sf=h,sid=\"hidden\",sta=p,v=2";
    let news = Name::parse("news").unwrap();
    let address = Some(std::net::Ipv4Addr::LOCALHOST.into());
    fixture.viewers.take(&news, address, report.as_bytes(), Instant::now()).unwrap();
    let (_, _, page) = fixture.get("/").await;
    assert!(page.contains("<dt>Viewers</dt><dd>1: 1 HLS</dd>"), "{page}");
    assert!(page.contains("1.4 s, 19 of 20 below 1.4 s"), "{page}");
    assert!(page.contains("2.8 Mb/s on average"), "{page}");
    let (_, _, api) = fixture.get("/api/v1/channels/news").await;
    let api: serde_json::Value = serde_json::from_str(&api).unwrap();
    assert_eq!(api["audience"]["viewers"], 1, "{api}");
    assert_eq!(api["audience"]["by_protocol"]["hls"], 1, "{api}");
    assert_eq!(api["audience"]["latency_p50_ms"], 1440, "{api}");
    assert!(!page.contains("hidden") && !api.to_string().contains("hidden"));
}

#[tokio::test]
async fn health_and_readiness_are_plain_words() {
    let admin = Fixture::new();
    assert_eq!(admin.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(admin.get("/readyz").await.0, StatusCode::OK);
    admin.cancel.cancel();
    assert_eq!(admin.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(admin.get("/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn metrics_are_openmetrics_text() {
    let (status, headers, text) = Fixture::new().get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers[CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert!(text.contains("headwater_build_info{version=\"1.2.3\"} 1"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_api_shows_the_peer_and_what_was_left_out_and_no_key() {
    let admin = Fixture::new();
    let (status, _, text) = admin.get("/api/v1/channels/news").await;
    assert_eq!(status, StatusCode::OK);
    let channel: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(channel["name"], "news");
    assert_eq!(channel["state"], "live");
    assert_eq!(channel["peer"], PEER);
    assert_eq!(channel["left_out"][0]["name"], "1080p");
    let (_, _, list) = admin.get("/api/v1/channels").await;
    let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(list.iter().map(|c| &c["name"]).collect::<Vec<_>>(), ["news", "open"]);
    assert_eq!(list[0], channel);
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(admin.get("/api/v1/channels/none").await.0, StatusCode::NOT_FOUND);
    for nowhere in ["/api", "/api/v1/nope"] {
        let (status, _, text) = admin.get(nowhere).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{nowhere}");
        assert!(text.contains("there is nothing here"), "{nowhere}: {text}");
    }
}

/// Names of the fields of a value, but for those that are counts by a word.
fn fields(value: &serde_json::Value, into: &mut std::collections::BTreeSet<String>) {
    match value {
        serde_json::Value::Object(map) => map.iter().for_each(|(name, value)| {
            into.insert(name.clone());
            let by_word =
                ["repairs", "picture_faults", "transport_faults", "turned_away", "by_protocol"];
            if !by_word.contains(&name.as_str()) {
                fields(value, into);
            }
        }),
        serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, into)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_of_the_api_names_every_field_of_a_channel() {
    let page = include_str!("../../../infra/API.md");
    let (_, _, text) = Fixture::new().get("/api/v1/channels").await;
    let mut names = std::collections::BTreeSet::new();
    fields(&serde_json::from_str(&text).unwrap(), &mut names);
    assert!(names.len() > 50, "{names:?}");
    let said = |name: &&String| {
        // The 95th percentiles are named together.
        let name = name.replace("_p95_ms", "_ms");
        page.contains(&format!("`{name}`"))
    };
    let missing: Vec<_> = names.iter().filter(|name| !said(name)).collect();
    assert!(missing.is_empty(), "not in infra/API.md: {missing:?}");
}

#[tokio::test]
async fn the_api_and_the_page_tell_what_happened_and_the_public_status_does_not() {
    let admin = Fixture::new();
    let (_, _, text) = admin.get("/api/v1/channels/news").await;
    let channel: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kinds: Vec<_> = channel["events"].as_array().unwrap().iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["source arrived", "encoder", "source lost"]);
    let encoder = &channel["events"][1];
    assert_eq!(encoder["ended"].as_u64().unwrap() - encoder["at"].as_u64().unwrap(), 2_000);
    assert!(channel["events"][2]["ended"].is_null());
    let (_, _, page) = admin.get("/").await;
    let happened = "<time>00:00:05 UTC</time> for 2 s: the encoder stopped: &lt;signal 11&gt;</li>";
    assert!(page.contains(happened), "{page}");
    let open = "<li class=\"open\"><time>00:01:00 UTC</time> and still: the source is gone</li>";
    assert!(page.contains(open), "{page}");
    let public = serde_json::to_string(&status()).unwrap();
    assert!(!public.contains("192.0.2.77") && !public.contains("events"), "{public}");
}

#[tokio::test]
async fn the_page_says_in_plain_words_how_the_source_is() {
    let (_, _, page) = Fixture::new().get("/").await;
    for words in [
        "every 4.00 s, with B-frames",
        "120 ms behind the picture",
        "SRT, 80.5 ms there and back, 120 ms latency of which 40 ms are filled, AES-128",
        "5 of 1000 packets lost, 3 sent again, 2 never in time",
        "the source&#39;s clock jumped 3 times",
        "the source&#39;s clock ran over its 32 bits once",
        "<p class=\"warning\">key frames are &lt;far&gt; apart</p>",
        "Ladders take 0.0 of 4.0 cores, estimated",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn capacity_is_told_with_the_last_refusal() {
    let admin = Fixture::new();
    let (status, _, text) = admin.get("/api/v1/capacity").await;
    assert_eq!(status, StatusCode::OK);
    let capacity: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&capacity["cores"], &capacity["refused"]), (&4.0.into(), &0.into()));
}

#[tokio::test]
async fn the_page_has_publish_settings_with_the_key_folded_away() {
    let (status, _, page) = Fixture::new().get("/").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("<code>rtmp://localhost:1936/live</code>"), "{page}");
    let folded = "<dd><details><summary>Show</summary>\
                  <code>news?key=canary%20%26%20%3Ckey%3E</code></details>";
    assert!(page.contains(folded), "{page}");
    let srt = "<code>srt://localhost:8890?streamid=publish:news:canary%20%26%20%3Ckey%3E</code>";
    assert!(page.contains(srt), "{page}");
    let folded = "<details><summary>Show</summary><code>correct horse</code></details>";
    assert!(page.contains(folded), "{page}");
    assert_eq!(page.matches("canary").count(), 2);
    assert!(page.contains("<code>srt://localhost:8890?streamid=publish:open</code>"), "{page}");
    assert!(page.contains("<code>open</code>"), "{page}");
    assert!(page.contains("href=\"http://localhost:8080/watch/news\""), "{page}");
}

#[tokio::test]
async fn what_others_wrote_is_text_on_the_page_and_never_markup() {
    let (_, _, page) = Fixture::new().get("/").await;
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{page}");
    assert!(page.contains("1080p: &lt;higher than&gt; the source"), "{page}");
    assert!(!page.contains("<script"), "{page}");
}

#[tokio::test]
async fn every_answer_keeps_other_pages_out_and_is_not_stored() {
    let admin = Fixture::new();
    for path in ["/", "/style.css", "/metrics", "/api/v1/channels", "/nowhere"] {
        let (_, headers, _) = admin.get(path).await;
        assert_eq!(headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[CACHE_CONTROL], "no-store", "{path}");
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("script") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn a_rebound_name_gets_nothing() {
    let admin = Fixture::new();
    for path in ["/", "/healthz", "/metrics", "/api/v1/channels"] {
        let (status, _, text) = admin.get_as("evil.example:9997", path).await;
        assert_eq!(status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!text.contains("news"), "{path}: {text}");
    }
    for host in ["127.0.0.1:9997", "[::1]:9997", "ops.example", "192.0.2.9:9997"] {
        assert_eq!(admin.get_as(host, "/").await.0, StatusCode::OK, "{host}");
    }
}
