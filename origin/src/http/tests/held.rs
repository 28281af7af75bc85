//! Requests that wait: for what, for how long, and what ends it. Time is tokio's paused clock.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, RETRY_AFTER};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::fixture::{FIRST_K, Fixture, RUN, WAITING};
use super::{IMMUTABLE, media};
use crate::channel::Health;

/// D of the fixture's grid.
const SEGMENT: Duration = Duration::from_millis(1_600);

#[tokio::test(start_paused = true)]
async fn playlists_of_a_starting_channel_wait_for_every_rendition() {
    let mut origin = Fixture::starting();
    let waiting = origin.spawn_get("/live/demo/index.m3u8");
    origin.push(0, FIRST_K).await;
    origin.publish();
    origin.settle().await;
    assert!(!waiting.is_finished(), "the sound has no segment yet");
    origin.push(1, FIRST_K).await;
    origin.publish();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn playlists_of_a_starting_channel_wait_three_seconds() {
    let origin = Fixture::starting();
    for path in ["/live/demo/index.m3u8", "/live/demo/manifest.mpd", "/live/demo/96p/index.m3u8"] {
        let begin = Instant::now();
        let answer = origin.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.header(CACHE_CONTROL), "no-store");
        assert_eq!(begin.elapsed().as_secs(), 3, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_leaves_before_the_first_segment_ends_the_wait() {
    let origin = Fixture::starting();
    let begin = Instant::now();
    let waiting = origin.spawn_get("/live/demo/index.m3u8");
    origin.settle().await;
    origin.state(Health::Idle);
    assert_eq!(waiting.await.unwrap().header(CACHE_CONTROL), "no-store");
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_channel_nobody_publishes_to_is_answered_at_once() {
    let origin = Fixture::starting();
    let begin = Instant::now();
    assert_eq!(origin.get("/live/idle/index.m3u8").await.status, StatusCode::NOT_FOUND);
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn playlists_of_an_interrupted_channel_wait_and_are_then_asked_for_again() {
    let mut origin = Fixture::starting();
    origin.interrupt();
    for path in ["/live/demo/index.m3u8", "/live/demo/manifest.mpd", "/live/demo/96p/index.m3u8"] {
        let begin = Instant::now();
        let answer = origin.get(path).await;
        // A player that is attached asks again after a 503, and gives up on a 404.
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header(CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(RETRY_AFTER), "1");
        assert_eq!(begin.elapsed().as_secs(), 3, "{path}");
    }
    let waiting = origin.spawn_get("/live/demo/index.m3u8");
    origin.settle().await;
    origin.push_all(FIRST_K).await;
    origin.publish();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn media_of_a_channel_without_a_timeline_comes_from_the_store() {
    let mut origin = Fixture::starting();
    origin.push_all(FIRST_K).await;
    let answer = origin.get(&media(&format!("96p/{FIRST_K}.m4s"))).await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = origin.get(&media(&format!("96p/{}.m4s", FIRST_K + 1))).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header(CACHE_CONTROL), "no-store");
}

#[tokio::test]
async fn a_channel_that_is_ahead_has_a_clock_of_its_own() {
    let origin = Fixture::live(3).await;
    let manifest = async || origin.get("/live/demo/manifest.mpd").await.text().to_owned();
    assert!(manifest().await.contains("value=\"/time\""));
    let ahead = Fixture::live(3).await;
    ahead.set_ahead(3_600_000);
    let text = ahead.get("/live/demo/manifest.mpd").await.text().to_owned();
    assert!(text.contains("value=\"/live/demo/time\""), "{text}");
    assert_eq!(ahead.get("/time").await.text(), "2026-01-02T03:04:05.678Z");
    assert_eq!(ahead.get("/live/demo/time").await.text(), "2026-01-02T04:04:05.678Z");
}

#[tokio::test(start_paused = true)]
async fn the_next_part_and_segment_are_waited_for() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    origin.push_part(0, k).await;
    origin.publish();
    let part = origin.spawn_get(&media(&format!("96p/{k}.1.m4s")));
    let next = origin.spawn_get(&media(&format!("96p/{}.m4s", k + 1)));
    origin.settle().await;
    assert!(!part.is_finished() && !next.is_finished());
    origin.push_part(0, k).await;
    origin.publish();
    assert_eq!(part.await.unwrap().status, StatusCode::OK);
    origin.push(0, k).await;
    origin.push(0, k + 1).await;
    origin.publish();
    assert_eq!(next.await.unwrap().status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn ht_10_media_is_waited_for_twice_a_segment_and_not_longer() {
    let origin = Fixture::live(3).await;
    for file in [format!("96p/{}.m4s", FIRST_K + 3), format!("96p/{}.0.m4s", FIRST_K + 3)] {
        let begin = Instant::now();
        let answer = origin.get(&media(&file)).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{file}");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{file}");
        let waited = begin.elapsed();
        assert!(waited >= 2 * SEGMENT && waited < 2 * SEGMENT + SEGMENT / 10, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn far_ahead_is_not_waited_for() {
    let origin = Fixture::live(3).await;
    let begin = Instant::now();
    // The one being made, the one behind it, and one more.
    let answer = origin.get(&media(&format!("96p/{}.m4s", FIRST_K + 5))).await;
    assert_eq!(answer.header(CACHE_CONTROL), "no-store");
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_number_that_the_clock_announces_is_waited_for_however_late_the_encoder() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 6;
    let file = media(&format!("96p/{k}.m4s"));
    assert_eq!(origin.get(&file).await.status, StatusCode::NOT_FOUND);
    // The clock is in this segment, the encoder three behind.
    origin.advance(6 * SEGMENT);
    let waiting = origin.spawn_get(&file);
    origin.settle().await;
    assert!(!waiting.is_finished());
    for made in FIRST_K + 3..=k {
        origin.push_all(made).await;
    }
    origin.publish();
    assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn hl_22_a_part_the_segment_closes_without_is_not_remembered_as_gone() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    origin.push_part(0, k).await;
    origin.publish();
    let begin = Instant::now();
    let waiting = origin.spawn_get(&media(&format!("96p/{k}.40.m4s")));
    origin.settle().await;
    origin.push(0, k).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.header(CACHE_CONTROL), "no-store");
    assert!(begin.elapsed() < SEGMENT, "at once when it can no longer come");
}

#[tokio::test(start_paused = true)]
async fn a_new_run_or_the_end_ends_the_wait_for_the_old_runs_number() {
    for end in [false, true] {
        let mut origin = Fixture::live(3).await;
        let begin = Instant::now();
        let waiting = origin.spawn_get(&media(&format!("96p/{}.m4s", FIRST_K + 3)));
        origin.settle().await;
        if end {
            origin.end();
        } else {
            origin.begin_run(FIRST_K + 3).await;
            origin.push_all(FIRST_K + 3).await;
        }
        origin.publish();
        let answer = waiting.await.unwrap();
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "end: {end}");
        assert!(begin.elapsed() < SEGMENT, "end: {end}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_manifests_of_an_ended_run_promised_is_answered_beside_the_new_run() {
    let mut origin = Fixture::live(3).await;
    let next = media(&format!("96p/{}.m4s", FIRST_K + 3));
    let waiting = origin.spawn_get(&next);
    origin.settle().await;
    origin.begin_run_beside_promise(FIRST_K + 3).await;
    origin.push_all(FIRST_K + 3).await;
    origin.publish();
    for answer in [waiting.await.unwrap(), origin.get(&next).await] {
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, "[filler]"));
        assert_eq!(answer.header(CACHE_CONTROL), IMMUTABLE);
    }
    let beyond = origin.get(&media(&format!("96p/{}.m4s", FIRST_K + 4))).await;
    assert_eq!(beyond.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_ended_channel_keeps_answering_what_it_has() {
    let mut origin = Fixture::live(3).await;
    origin.end();
    origin.publish();
    origin.state(Health::Ended);
    let playlist = origin.get("/live/demo/96p/index.m3u8").await;
    assert!(playlist.text().contains("#EXT-X-ENDLIST"));
    assert_eq!(playlist.header(CACHE_CONTROL), "max-age=1");
    let segment = origin.get(&format!("/live/demo/{RUN}/96p/{FIRST_K}.m4s")).await;
    assert_eq!(segment.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn ht_18_shutdown_answers_waiting_requests_first() {
    let origin = Fixture::live(3).await;
    let begin = Instant::now();
    let waiting = origin.spawn_get(&media(&format!("96p/{}.m4s", FIRST_K + 3)));
    origin.settle().await;
    origin.cancel.cancel();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header(CACHE_CONTROL), "no-store");
    assert_eq!(answer.header(RETRY_AFTER), "1");
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_room_to_wait_is_told_to_come_again_and_the_others_wait_on() {
    let mut origin = Fixture::live(3).await;
    let next = media(&format!("96p/{}.m4s", FIRST_K + 3));
    let waiting: Vec<_> = (0..WAITING).map(|_| origin.spawn_get(&next)).collect();
    origin.settle().await;
    let begin = Instant::now();
    let refused = origin.get(&next).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.header(CACHE_CONTROL), "no-store");
    assert_eq!(refused.header(RETRY_AFTER), "1");
    assert_eq!(refused.header(ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    assert!(begin.elapsed() < Duration::from_millis(100), "at once");
    let there = origin.get(&media(&format!("96p/{FIRST_K}.m4s"))).await;
    assert_eq!(there.status, StatusCode::OK, "what is there needs no room");
    origin.push(0, FIRST_K + 3).await;
    origin.publish();
    for request in waiting {
        assert_eq!(request.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_client_that_goes_away_waits_no_more() {
    let origin = Fixture::live(3).await;
    let waiting = async |expected: i64| {
        while origin.metrics.http.waiting.get() != expected {
            tokio::task::yield_now().await;
        }
    };
    let mut client = TcpStream::connect(origin.listen().await).await.unwrap();
    let path = media(&format!("96p/{}.m4s", FIRST_K + 3));
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    waiting(1).await;
    drop(client);
    tokio::time::timeout(SEGMENT, waiting(0)).await.unwrap();
}
