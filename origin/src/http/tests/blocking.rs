//! Playlist requests with delivery directives: what each waits for, and what it is answered with
//! (rows HL-10 to HL-16, HL-25). Time is tokio's paused clock.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use tokio::time::Instant;

use super::fixture::{Answer, FIRST_K, Fixture, WAITING};

const LIST: &str = "/live/demo/96p/index.m3u8";
/// TARGETDURATION of the fixture.
const TARGET: Duration = Duration::from_secs(2);
/// Six of them.
const APPEARED: &str = "max-age=12";
const PLAIN: &str = "max-age=1";

fn msn(k: u64) -> String {
    format!("{LIST}?_HLS_msn={k}")
}

fn part(k: u64, n: u64) -> String {
    format!("{LIST}?_HLS_msn={k}&_HLS_part={n}")
}

fn lists_part(answer: &Answer, k: u64, n: u64) -> bool {
    answer
        .text()
        .lines()
        .any(|line| line.starts_with("#EXT-X-PART:") && line.contains(&format!("/{k}.{n}.m4s")))
}

#[tokio::test(start_paused = true)]
async fn hl_10_a_segment_or_a_part_is_waited_for() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    let (segment, zero, one) =
        (origin.spawn_get(&msn(k)), origin.spawn_get(&part(k, 0)), origin.spawn_get(&part(k, 1)));
    origin.settle().await;
    assert!(!segment.is_finished() && !zero.is_finished() && !one.is_finished());
    origin.push_part(1, k).await;
    origin.publish();
    origin.settle().await;
    assert!(!zero.is_finished(), "another rendition has its part");
    origin.push_part(0, k).await;
    origin.publish();
    let answer = zero.await.unwrap();
    assert!(lists_part(&answer, k, 0));
    assert_eq!(answer.header(CACHE_CONTROL), APPEARED);
    origin.settle().await;
    assert!(!one.is_finished() && !segment.is_finished());
    origin.push_part(0, k).await;
    origin.publish();
    assert!(lists_part(&one.await.unwrap(), k, 1));
    origin.push(0, k).await;
    origin.publish();
    origin.settle().await;
    assert!(!segment.is_finished(), "it is whole, and listed so with the first part of the next");
    origin.push_part(0, k + 1).await;
    origin.publish();
    let answer = segment.await.unwrap();
    assert!(answer.text().contains(&format!("/{k}.m4s")), "the sound's segment is not waited for");
    assert_eq!(answer.header(CACHE_CONTROL), APPEARED);
}

#[tokio::test(start_paused = true)]
async fn hl_11_a_part_without_a_segment_and_what_is_no_number_is_refused() {
    let origin = Fixture::live(3).await;
    for query in
        ["_HLS_part=0", "_HLS_msn=-1", "_HLS_msn=18446744073709551616", "_HLS_msn=1&_HLS_msn=1"]
    {
        let answer = origin.get(&format!("{LIST}?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{query}");
    }
    assert_eq!(origin.get(&format!("{LIST}?a=b&_HLS_report=x")).await.status, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn hl_12_what_is_too_far_ahead_is_refused_at_once() {
    let mut origin = Fixture::live(3).await;
    let last = FIRST_K + 2;
    let begin = Instant::now();
    // PART-TARGET is 0.277 s, so that eleven parts are three seconds.
    for url in
        [msn(last + 3), msn(u64::MAX), part(last + 3, 0), part(last + 1, 11), part(last + 2, 11)]
    {
        let answer = origin.get(&url).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{url}");
        assert_eq!(answer.header(CACHE_CONTROL), "no-store", "{url}");
    }
    // Counted on past the end of the last segment, which has six parts.
    assert_eq!(origin.get(&part(last, 6 + 11)).await.status, StatusCode::BAD_REQUEST);
    assert!(begin.elapsed() < Duration::from_millis(100));
    let allowed = [msn(last + 2), part(last + 1, 10), part(last + 2, 10), part(last, 6 + 10)];
    let waiting: Vec<_> = allowed.iter().map(|url| origin.spawn_get(url)).collect();
    origin.settle().await;
    assert!(
        waiting.iter().all(|request| !request.is_finished()),
        "how many parts there will be is not known"
    );
    origin.push_part(0, last + 1).await;
    origin.publish();
    assert_eq!(origin.get(&part(last + 1, 12)).await.status, StatusCode::BAD_REQUEST);
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn hl_13_a_part_beyond_the_end_of_a_segment_is_the_next_ones_first() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    origin.push_part(0, k).await;
    origin.publish();
    // Asked for while the segment is open: it turns out to have six parts.
    let beyond = [origin.spawn_get(&part(k, 6)), origin.spawn_get(&part(k, 8))];
    origin.settle().await;
    origin.push(0, k).await;
    origin.publish();
    origin.settle().await;
    let late = origin.spawn_get(&part(k, 6));
    origin.settle().await;
    assert!(!late.is_finished() && beyond.iter().all(|request| !request.is_finished()));
    origin.push_part(0, k + 1).await;
    origin.publish();
    for request in beyond.into_iter().chain([late]) {
        let answer = request.await.unwrap();
        assert!(lists_part(&answer, k + 1, 0));
        assert_eq!(answer.header(CACHE_CONTROL), APPEARED);
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_rung_that_goes_off_is_told_when_the_gap_begins() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    let keys = format!("/live/demo/96p/iframes.m3u8?_HLS_msn={k}");
    let waiting = [part(k, 0), part(k, 3), msn(k), keys].map(|url| origin.spawn_get(&url));
    origin.settle().await;
    assert!(waiting.iter().all(|request| !request.is_finished()));
    origin.open_gap(k);
    origin.publish();
    let whole = format!("#EXT-X-GAP\n../{}/96p/{k}.m4s\n", super::fixture::RUN);
    for request in waiting {
        let answer = request.await.unwrap();
        assert!(answer.text().contains(&whole), "{}", answer.text());
        assert_eq!(answer.header(CACHE_CONTROL), APPEARED);
    }
    // Its parts are made all the same, and nobody waits for them here. The next segment is waited for.
    let next = [part(k + 1, 0), msn(k + 1)].map(|url| origin.spawn_get(&url));
    origin.push(0, k).await;
    origin.publish();
    origin.settle().await;
    assert!(next.iter().all(|request| !request.is_finished()));
    assert_eq!(origin.get(&part(k + 1, 11)).await.status, StatusCode::BAD_REQUEST);
    origin.push(0, k + 1).await;
    origin.push_part(0, k + 2).await;
    origin.publish();
    for request in next {
        assert!(lists_part(&request.await.unwrap(), k + 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn hl_14_what_is_there_already_is_answered_at_once() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    origin.push_part(0, k).await;
    origin.push_part(0, k).await;
    origin.publish();
    let begin = Instant::now();
    for (url, cached) in [
        (msn(0), PLAIN),
        (msn(FIRST_K), PLAIN),
        (part(FIRST_K, 99), PLAIN),
        (part(k, 0), PLAIN),
        (msn(k - 1), APPEARED),
        (part(k, 1), APPEARED),
    ] {
        let answer = origin.get(&url).await;
        assert_eq!(answer.status, StatusCode::OK, "{url}");
        assert_eq!(answer.header(CACHE_CONTROL), cached, "{url}");
        assert!(lists_part(&answer, k, 1), "{url}");
    }
    assert!(begin.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn hl_15_a_request_is_held_for_three_targets_and_never_answered_with_the_same() {
    let mut origin = Fixture::live(3).await;
    let begin = Instant::now();
    let waiting = origin.spawn_get(&part(FIRST_K + 3, 0));
    let other = origin.spawn_get(&part(FIRST_K + 3, 0));
    origin.settle().await;
    // The other rendition goes on, and this one does not.
    origin.push_part(1, FIRST_K + 3).await;
    origin.publish();
    for answer in [waiting.await.unwrap(), other.await.unwrap()] {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header(CACHE_CONTROL), "no-store");
        assert_eq!(answer.header(RETRY_AFTER), "1");
    }
    let waited = begin.elapsed();
    assert!(waited >= 3 * TARGET && waited < 3 * TARGET + TARGET / 10, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn hl_16_every_part_that_an_answer_lists_can_be_fetched() {
    let mut origin = Fixture::live(3).await;
    for k in FIRST_K + 3..FIRST_K + 5 {
        for n in 0..6 {
            let waiting = origin.spawn_get(&part(k, n));
            origin.settle().await;
            if n < 5 {
                origin.push_part(0, k).await;
            } else {
                origin.push(0, k).await;
            }
            origin.publish();
            let answer = waiting.await.unwrap();
            let parts = answer.text().lines().filter(|line| line.starts_with("#EXT-X-PART:"));
            for line in parts {
                let uri = line.split('"').nth(1).unwrap().trim_start_matches("..");
                let part = origin.get(&format!("/live/demo{uri}")).await;
                assert_eq!(part.status, StatusCode::OK, "{line}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hl_21_the_part_that_is_hinted_is_waited_for_and_comes() {
    let mut origin = Fixture::live(3).await;
    for (k, n) in [(FIRST_K + 3, 0), (FIRST_K + 3, 1)] {
        let list = origin.get(LIST).await;
        let hint =
            list.text().lines().find(|line| line.starts_with("#EXT-X-PRELOAD-HINT")).unwrap();
        let uri = hint.split('"').nth(1).unwrap().trim_start_matches("..").to_owned();
        assert!(uri.ends_with(&format!("/{k}.{n}.m4s")), "{hint}");
        let waiting = origin.spawn_get(&format!("/live/demo{uri}"));
        origin.settle().await;
        assert!(!waiting.is_finished());
        origin.push_part(0, k).await;
        origin.publish();
        assert_eq!(waiting.await.unwrap().status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn ht_13_however_many_wait_for_the_same_one_watches_and_the_others_are_small() {
    const CROWD: usize = 50_000;
    const ROOM: usize = 64 << 20;
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    let ask = |url: &str| (0..WAITING / 2).map(|_| origin.spawn_get(url)).collect::<Vec<_>>();
    let (first, second) = (ask(&part(k, 0)), ask(&part(k, 1)));
    origin.settle().await;
    assert_eq!(origin.metrics.http.waiting.get(), i64::from(WAITING));
    assert_eq!(origin.waited_for(), 2, "an entry for each part, not for each who waits");
    let cost = origin.cost(&part(k, 0));
    assert!(cost * CROWD < ROOM, "{cost} bytes for each who waits");
    origin.push_part(0, k).await;
    origin.publish();
    for request in first {
        assert!(lists_part(&request.await.unwrap(), k, 0));
    }
    assert_eq!(origin.waited_for(), 1);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn hl_25_all_who_wait_for_the_same_get_one_text() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    let mut waiting: Vec<_> = (0..50).map(|_| origin.spawn_get(&part(k, 0))).collect();
    origin.settle().await;
    assert_eq!(origin.metrics.http.waiting.get(), 50);
    // The one who watches for the others goes away.
    waiting.remove(0).abort();
    origin.settle().await;
    assert_eq!(origin.metrics.http.waiting.get(), 49);
    origin.push_part(0, k).await;
    origin.publish();
    let mut bodies = Vec::new();
    for request in waiting {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(origin.metrics.http.waiting.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_ended_channel_ignores_what_is_waited_for() {
    let mut origin = Fixture::live(3).await;
    let waiting = origin.spawn_get(&msn(FIRST_K + 3));
    origin.settle().await;
    origin.end();
    origin.publish();
    for answer in [waiting.await.unwrap(), origin.get(&msn(FIRST_K + 9)).await] {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header(CACHE_CONTROL), PLAIN);
        assert!(answer.text().contains("#EXT-X-ENDLIST"));
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_answers_all_who_wait_for_a_playlist() {
    let origin = Fixture::live(3).await;
    let waiting = [origin.spawn_get(&msn(FIRST_K + 3)), origin.spawn_get(&msn(FIRST_K + 3))];
    origin.settle().await;
    origin.cancel.cancel();
    for request in waiting {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.header(RETRY_AFTER), "1");
    }
}

#[tokio::test(start_paused = true)]
async fn key_frames_are_waited_for_by_segment() {
    let mut origin = Fixture::live(3).await;
    let k = FIRST_K + 3;
    let list = "/live/demo/96p/iframes.m3u8";
    let waiting = origin.spawn_get(&format!("{list}?_HLS_msn={k}&_HLS_part=0"));
    origin.push_part(0, k).await;
    origin.publish();
    origin.settle().await;
    assert!(!waiting.is_finished());
    origin.push(0, k).await;
    origin.push_part(0, k + 1).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert!(answer.text().ends_with(&format!("@0\n../{}/96p/{k}.m4s\n", super::fixture::RUN)));
    assert_eq!(answer.header(CACHE_CONTROL), APPEARED);
    assert_eq!(origin.get("/live/demo/audio/iframes.m3u8").await.status, StatusCode::NOT_FOUND);
}
