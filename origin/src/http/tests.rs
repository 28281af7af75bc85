//! The origin through its service, with a clock that stands still: one test per conformance row
//! and per row of the response table.

mod beacon;
mod blocking;
mod excerpts;
mod fixture;
mod held;
mod open;
mod updates;
mod vod;

use axum::http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW,
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, DATE, ETAG, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, StatusCode};
use fixture::{Answer, FIRST_K, Fixture, RUN};

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const NOT_YET: &str = "no-store";
const GONE: &str = "max-age=10";

/// A path below the current run of the fixture's channel.
fn media(file: &str) -> String {
    format!("/live/demo/{RUN}/{file}")
}

/// One path of every class that is a 200, and whether it is text.
fn every_resource() -> Vec<(String, bool)> {
    vec![
        ("/".into(), true),
        ("/watch/demo".into(), true),
        ("/channels.json".into(), true),
        ("/time".into(), true),
        ("/live/demo/status.json".into(), true),
        ("/live/demo/index.m3u8".into(), true),
        ("/live/demo/96p/index.m3u8".into(), true),
        ("/live/demo/audio/index.m3u8".into(), true),
        ("/live/demo/manifest.mpd".into(), true),
        (media("96p/init.mp4"), false),
        (media("audio/init.mp4"), false),
        (media(&format!("96p/{FIRST_K}.m4s")), false),
        (media(&format!("audio/{FIRST_K}.m4s")), false),
        (media(&format!("96p/{FIRST_K}.0.m4s")), false),
    ]
}

#[tokio::test]
async fn ht_01_every_class_has_its_content_type() {
    let origin = Fixture::live(6).await;
    for (path, expected) in [
        ("/".to_owned(), "text/html; charset=utf-8"),
        ("/channels.json".into(), "application/json"),
        ("/live/demo/index.m3u8".into(), "application/vnd.apple.mpegurl"),
        ("/live/demo/96p/index.m3u8".into(), "application/vnd.apple.mpegurl"),
        ("/live/demo/manifest.mpd".into(), "application/dash+xml"),
        (media("96p/init.mp4"), "video/mp4"),
        (media("audio/init.mp4"), "audio/mp4"),
        (media(&format!("96p/{FIRST_K}.m4s")), "video/mp4"),
        (media(&format!("audio/{FIRST_K}.0.m4s")), "audio/mp4"),
    ] {
        let answer = origin.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header(CONTENT_TYPE), expected, "{path}");
    }
}

#[tokio::test]
async fn ht_02_text_is_gzip_for_those_who_read_it_and_media_never_is() {
    let origin = Fixture::live(6).await;
    for path in ["/live/demo/index.m3u8", "/live/demo/96p/index.m3u8", "/live/demo/manifest.mpd"] {
        let plain = origin.get(path).await;
        let packed = origin.with(Method::GET, path, &[(ACCEPT_ENCODING, "gzip")]).await;
        assert_eq!(packed.header(CONTENT_ENCODING), "gzip", "{path}");
        assert_eq!(packed.gunzipped(), plain.body, "{path}");
        assert!(packed.body.len() < plain.body.len(), "{path}");
        assert_ne!(packed.header(ETAG), plain.header(ETAG), "{path}: one tag, one representation");
        for answer in [&plain, &packed] {
            assert_eq!(answer.header(VARY), "Accept-Encoding", "{path}");
            assert_eq!(answer.header(ACCEPT_RANGES), "none", "{path}");
            assert_eq!(answer.header(CONTENT_LENGTH), answer.body.len().to_string(), "{path}");
        }
    }
    let path = media(&format!("96p/{FIRST_K}.m4s"));
    let answer = origin.with(Method::GET, &path, &[(ACCEPT_ENCODING, "gzip")]).await;
    assert_eq!((answer.header(CONTENT_ENCODING), answer.header(VARY)), ("", ""));
}

#[tokio::test]
async fn ht_03_every_class_has_its_cache_control() {
    let origin = Fixture::live(6).await;
    for (path, expected) in [
        ("/".to_owned(), "no-cache"),
        ("/time".into(), "no-store"),
        ("/channels.json".into(), "max-age=1"),
        ("/live/demo/status.json".into(), "max-age=1"),
        ("/live/demo/index.m3u8".into(), "max-age=30"),
        ("/live/demo/96p/index.m3u8".into(), "max-age=1"),
        ("/live/demo/manifest.mpd".into(), "max-age=1"),
        (media("96p/init.mp4"), IMMUTABLE),
        (media(&format!("96p/{FIRST_K}.m4s")), IMMUTABLE),
        (media(&format!("96p/{FIRST_K}.0.m4s")), IMMUTABLE),
    ] {
        assert_eq!(origin.get(&path).await.header(CACHE_CONTROL), expected, "{path}");
    }
}

#[tokio::test]
async fn ht_04_cors_is_on_every_status() {
    let origin = Fixture::live(6).await;
    let segment = media(&format!("96p/{FIRST_K}.m4s"));
    let known = origin.get(&segment).await.header(ETAG).to_owned();
    let long = format!("/{}", "x".repeat(3_000));
    let answers = [
        (200, origin.get(&segment).await),
        (206, origin.with(Method::GET, &segment, &[(RANGE, "bytes=0-0")]).await),
        (304, origin.with(Method::GET, &segment, &[(IF_NONE_MATCH, &known)]).await),
        (404, origin.get("/live/demo/nowhere").await),
        (404, origin.get(&media(&format!("96p/{}.m4s", FIRST_K + 99))).await),
        (405, origin.with(Method::POST, "/live/demo/index.m3u8", &[]).await),
        (414, origin.get(&long).await),
        (416, origin.with(Method::GET, &segment, &[(RANGE, "bytes=9999999-")]).await),
        (204, origin.with(Method::OPTIONS, "/live/demo/index.m3u8", &[]).await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), "*", "{status}");
        let exposed = answer.header(ACCESS_CONTROL_EXPOSE_HEADERS);
        for name in ["Content-Length", "Content-Range", "Date", "Age", "Server-Timing"] {
            assert!(exposed.contains(name), "{status}: {exposed}");
        }
    }
}

#[tokio::test]
async fn ht_04_a_preflight_allows_what_players_send() {
    let origin = Fixture::live(6).await;
    let answer = origin.with(Method::OPTIONS, "/live/demo/96p/index.m3u8", &[]).await;
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_METHODS), "GET, HEAD, OPTIONS");
    assert_eq!(answer.header(ACCESS_CONTROL_MAX_AGE), "86400");
    let allowed = answer.header(ACCESS_CONTROL_ALLOW_HEADERS);
    for name in ["Range", "CMCD-Request", "CMCD-Object", "CMCD-Session", "CMCD-Status"] {
        assert!(allowed.contains(name), "{allowed}");
    }
}

#[tokio::test]
async fn ht_05_what_has_a_strong_etag_is_not_sent_twice() {
    let origin = Fixture::live(6).await;
    for (path, _) in every_resource() {
        let answer = origin.get(&path).await;
        let etag = answer.header(ETAG).to_owned();
        if path == "/time" {
            assert_eq!(etag, "");
            continue;
        }
        assert!(etag.starts_with('"') && etag.len() > 2, "{path}: {etag}");
        let again = origin.with(Method::GET, &path, &[(IF_NONE_MATCH, &etag)]).await;
        assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
        assert_eq!(again.body, "", "{path}");
        assert_eq!(again.header(ETAG), etag, "{path}");
        assert_eq!(again.header(CACHE_CONTROL), answer.header(CACHE_CONTROL), "{path}");
        assert_eq!(again.header(VARY), answer.header(VARY), "{path}");
    }
}

#[tokio::test]
async fn ht_05_a_playlist_that_grew_has_another_etag() {
    let mut origin = Fixture::live(6).await;
    let path = "/live/demo/96p/index.m3u8";
    let before = origin.get(path).await;
    assert_eq!(origin.get(path).await.header(ETAG), before.header(ETAG));
    origin.push_all(FIRST_K + 6).await;
    origin.publish();
    let after = origin.get(path).await;
    assert_ne!(after.header(ETAG), before.header(ETAG));
    assert!(after.text().contains(&format!("{}.0.m4s", FIRST_K + 6)));
}

#[tokio::test]
async fn ht_06_a_single_range_is_cut_out() {
    let origin = Fixture::live(6).await;
    let path = media(&format!("96p/{FIRST_K}.m4s"));
    let whole = origin.get(&path).await;
    assert_eq!(whole.header(ACCEPT_RANGES), "bytes");
    let len = whole.body.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=3-40", 3, 41.min(len)),
        ("bytes=7-", 7, len),
        ("bytes=-5", len - 5, len),
    ] {
        let answer = origin.with(Method::GET, &path, &[(RANGE, range)]).await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(answer.body, whole.body[from..to], "{range}");
        assert_eq!(answer.header(CONTENT_RANGE), format!("bytes {from}-{}/{len}", to - 1));
        assert_eq!(answer.header(CONTENT_LENGTH), (to - from).to_string());
        assert_eq!(answer.header(CACHE_CONTROL), IMMUTABLE);
    }
}

#[tokio::test]
async fn ht_06_a_range_past_the_end_is_416_and_several_are_the_whole() {
    let origin = Fixture::live(6).await;
    let path = media(&format!("96p/{FIRST_K}.m4s"));
    let whole = origin.get(&path).await;
    let past = origin.with(Method::GET, &path, &[(RANGE, "bytes=9999999-")]).await;
    assert_eq!(past.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(past.header(CONTENT_RANGE), format!("bytes */{}", whole.body.len()));
    assert_eq!(past.header(CACHE_CONTROL), "no-store");
    let several = origin.with(Method::GET, &path, &[(RANGE, "bytes=0-1,4-5")]).await;
    assert_eq!((several.status, &several.body), (StatusCode::OK, &whole.body));
    let stale = [(RANGE, "bytes=0-1"), (IF_RANGE, "\"another\"")];
    let stale = origin.with(Method::GET, &path, &stale).await;
    assert_eq!((stale.status, &stale.body), (StatusCode::OK, &whole.body));
    let playlist = "/live/demo/96p/index.m3u8";
    let text = origin.with(Method::GET, playlist, &[(RANGE, "bytes=0-1")]).await;
    assert_eq!(text.status, StatusCode::OK, "playlists have no ranges");
}

#[tokio::test]
async fn ht_07_date_is_our_clocks() {
    let origin = Fixture::live(6).await;
    for path in ["/time", "/live/demo/index.m3u8", "/nowhere"] {
        assert_eq!(origin.get(path).await.header(DATE), "Fri, 02 Jan 2026 03:04:05 GMT", "{path}");
    }
    assert_eq!(origin.get("/time").await.text(), "2026-01-02T03:04:05.678Z");
}

/// The same answer without the name that each has of its own.
fn nameless(mut answer: Answer) -> Answer {
    assert!(answer.headers.remove(super::ANSWER_ID).is_some(), "an answer without a name");
    answer
}

#[tokio::test]
async fn ht_12_head_is_get_without_the_body() {
    let origin = Fixture::live(6).await;
    let mut paths: Vec<String> = every_resource().into_iter().map(|(path, _)| path).collect();
    paths.push("/nowhere".into());
    for path in paths {
        let get = nameless(origin.get(&path).await);
        let head = nameless(origin.with(Method::HEAD, &path, &[]).await);
        assert_eq!(head.body, "", "{path}");
        assert_eq!((head.status, head.headers), (get.status, get.headers), "{path}");
    }
}

#[tokio::test]
async fn ht_12_the_query_is_ignored() {
    let origin = Fixture::live(6).await;
    for path in ["/live/demo/96p/index.m3u8", "/live/demo/manifest.mpd"] {
        let plain = nameless(origin.get(path).await);
        let asked = origin.get(&format!("{path}?_HLS_msn=1&x=%00&CMCD=br%3D1")).await;
        let asked = nameless(asked);
        assert_eq!(
            (asked.status, asked.headers, asked.body),
            (plain.status, plain.headers, plain.body)
        );
    }
}

#[tokio::test]
async fn ht_17_nothing_is_redirected() {
    let origin = Fixture::live(6).await;
    for (path, _) in every_resource() {
        let answer = origin.get(&path).await;
        assert_eq!((answer.status, answer.header(LOCATION)), (StatusCode::OK, ""), "{path}");
        let slash = origin.get(&format!("{path}/")).await;
        assert_eq!(slash.status, StatusCode::NOT_FOUND, "{path}/");
    }
}

#[tokio::test]
async fn ht_18_which_404_it_is_says_for_how_long_it_holds() {
    let origin = Fixture::live(6).await;
    let other_run = "01900000000";
    for (path, expected, why) in [
        ("/nowhere".to_owned(), GONE, "no such route"),
        ("/live/none/index.m3u8".into(), GONE, "no such channel"),
        ("/watch/none".into(), GONE, "no such channel"),
        ("/live/none/status.json".into(), GONE, "no such channel"),
        ("/live/idle/index.m3u8".into(), NOT_YET, "before the first publish"),
        ("/live/idle/manifest.mpd".into(), NOT_YET, "before the first publish"),
        ("/live/idle/96p/index.m3u8".into(), NOT_YET, "before the first publish"),
        (format!("/live/idle/{RUN}/96p/{FIRST_K}.m4s"), NOT_YET, "before the first publish"),
        ("/live/demo/480p/index.m3u8".into(), GONE, "no such rendition"),
        (media(&format!("480p/{FIRST_K}.m4s")), GONE, "no such rendition"),
        (media(&format!("96p/{}.m4s", FIRST_K - 1)), GONE, "before the window"),
        (media("96p/0.m4s"), GONE, "long before the window"),
        (media(&format!("96p/{}.99.m4s", FIRST_K + 4)), GONE, "no such part, segment complete"),
        (format!("/live/demo/{other_run}/96p/{}.m4s", FIRST_K + 4), GONE, "another run's number"),
        (format!("/live/demo/{other_run}/96p/{}.m4s", FIRST_K + 6), GONE, "an ended run's number"),
        (format!("/live/demo/{other_run}/96p/init.mp4"), GONE, "no such run"),
        (media(&format!("96p/{}.m4s", FIRST_K + 9)), NOT_YET, "far ahead"),
        (media("96p/9999999999999999999.m4s"), NOT_YET, "very far ahead"),
    ] {
        let answer = origin.get(&path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{why}");
        assert_eq!(answer.header(CACHE_CONTROL), expected, "{why}");
        assert_eq!(answer.header(ETAG), "", "{why}");
        if why == "no such channel" {
            assert_eq!(answer.text(), "no such channel\n", "{path}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_told_what_is_allowed() {
    let origin = Fixture::live(6).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = origin.with(method, "/live/demo/index.m3u8", &[]).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.header(ALLOW), "GET, HEAD, OPTIONS");
    }
}

#[tokio::test]
async fn a_segment_is_the_concatenation_of_its_parts() {
    let origin = Fixture::live(2).await;
    let whole = origin.get(&media(&format!("96p/{FIRST_K}.m4s"))).await;
    let mut joined = Vec::new();
    for n in 0.. {
        let part = origin.get(&media(&format!("96p/{FIRST_K}.{n}.m4s"))).await;
        if part.status != StatusCode::OK {
            break;
        }
        joined.extend_from_slice(&part.body);
    }
    assert_eq!(whole.body, joined);
    assert!(!joined.is_empty());
}

#[tokio::test]
async fn a_segment_that_has_just_left_the_window_can_still_be_fetched() {
    let mut origin = Fixture::live(9).await;
    origin.trim();
    origin.publish();
    let playlist = origin.get("/live/demo/96p/index.m3u8").await;
    assert!(!playlist.text().contains(&format!("{FIRST_K}.m4s")), "{}", playlist.text());
    let answer = origin.get(&media(&format!("96p/{FIRST_K}.m4s"))).await;
    assert_eq!((answer.status, answer.header(CACHE_CONTROL)), (StatusCode::OK, IMMUTABLE));
}

#[tokio::test]
async fn what_a_playlist_lists_can_be_fetched() {
    let mut origin = Fixture::live(3).await;
    origin.push_part(0, FIRST_K + 3).await;
    origin.publish();
    let text = origin.get("/live/demo/96p/index.m3u8").await;
    let uris: Vec<String> = text
        .text()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| format!("/live/demo/{}", line.strip_prefix("../").unwrap_or(line)))
        .collect();
    assert_eq!(uris.len(), 3);
    for uri in uris {
        assert_eq!(origin.get(&uri).await.status, StatusCode::OK, "{uri}");
    }
}

#[tokio::test]
async fn pages_allow_only_what_they_need() {
    let origin = Fixture::live(1).await;
    for path in ["/", "/watch/demo"] {
        let answer = origin.get(path).await;
        let policy = answer.header(CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert_eq!(answer.header(X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert!(answer.text().to_lowercase().starts_with("<!doctype html>"));
    }
}

#[tokio::test]
async fn the_channel_list_has_every_channel_and_its_state() {
    let origin = Fixture::live(1).await;
    let list: serde_json::Value =
        serde_json::from_slice(&origin.get("/channels.json").await.body).unwrap();
    assert_eq!(
        list,
        serde_json::json!([
            { "name": "demo", "state": "live", "since": 1_767_323_045_000u64 },
            { "name": "idle", "state": "idle", "since": 0 },
        ])
    );
}

#[tokio::test]
async fn the_public_state_tells_nothing_of_the_publisher() {
    let origin = Fixture::live(1).await;
    let answer: Answer = origin.get("/live/demo/status.json").await;
    let state: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(state["state"], "live");
    assert_eq!(state["source"]["protocol"], "rtmp");
    assert!(!answer.text().contains(fixture::PEER), "{}", answer.text());
}

#[tokio::test]
async fn requests_and_bytes_are_counted_by_class() {
    let origin = Fixture::live(1).await;
    let body = origin.get("/live/demo/index.m3u8").await.body.len();
    origin.get("/live/demo/nowhere/x").await;
    origin.get(&media("96p/1.m4s")).await;
    let text = origin.metrics.encode();
    for line in [
        "headwater_http_requests_total{class=\"multivariant\",status=\"200\"} 1".to_owned(),
        format!("headwater_http_sent_bytes_total{{class=\"multivariant\"}} {body}"),
        "headwater_http_requests_total{class=\"none\",status=\"404\"} 1".to_owned(),
        "headwater_http_requests_total{class=\"media\",status=\"404\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}
