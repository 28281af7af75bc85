//! Delta updates over HTTP (rows HL-17 to HL-19): who asks for one, and what they get. What an update
//! has to be is judged in the packager's rows; here an answer is put on top of an earlier one.

use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;

use super::fixture::{Answer, FIRST_K, Fixture};

const LIST: &str = "/live/demo/96p/index.m3u8";
/// Segments on the air: six target durations of 2 s are seven and a half of them, so four are old.
const COUNT: u64 = 12;
const OLD: usize = 4;

/// The addresses of the segments that an answer lists.
fn segments(answer: &Answer) -> Vec<String> {
    let lines = answer.text().lines();
    lines.filter(|line| line.ends_with(".m4s")).map(str::to_owned).collect()
}

fn skip(answer: &Answer) -> Option<&str> {
    answer.text().lines().find_map(|line| line.strip_prefix("#EXT-X-SKIP:"))
}

#[tokio::test(start_paused = true)]
async fn hl_17_an_update_leaves_out_what_is_old_and_is_another_url_than_the_whole() {
    let mut origin = Fixture::live(COUNT).await;
    let k = FIRST_K + COUNT;
    origin.push_part(0, k).await;
    origin.publish();
    for (version, tag) in [
        ("YES", "SKIPPED-SEGMENTS=4"),
        ("v2", "SKIPPED-SEGMENTS=4,RECENTLY-REMOVED-DATERANGES=\"\""),
    ] {
        let before = origin.get(LIST).await;
        let at_once = origin.get(&format!("{LIST}?_HLS_skip={version}")).await;
        assert_eq!((at_once.status, skip(&at_once)), (StatusCode::OK, Some(tag)));
        assert_eq!(at_once.header(CACHE_CONTROL), "max-age=1");
        assert_eq!(segments(&at_once), segments(&before)[OLD..]);
    }
    // An update and the whole are waited for side by side, and each gets its own.
    let wanted = format!("{LIST}?_HLS_msn={k}&_HLS_part=1");
    let [whole, yes, v2] = ["", "&_HLS_skip=YES", "&_HLS_skip=v2"]
        .map(|more| origin.spawn_get(&format!("{wanted}{more}")));
    origin.settle().await;
    assert!(!whole.is_finished() && !yes.is_finished() && !v2.is_finished());
    let before = origin.get(LIST).await;
    origin.push_part(0, k).await;
    origin.publish();
    let whole = whole.await.unwrap();
    assert_eq!(skip(&whole), None);
    for update in [yes.await.unwrap(), v2.await.unwrap()] {
        assert!(skip(&update).is_some(), "{}", update.text());
        assert_eq!(update.header(CACHE_CONTROL), "max-age=12", "as of any that has just appeared");
        assert!(update.text().contains(&format!("/{k}.1.m4s\"")));
        let merged = [&segments(&before)[..OLD], &segments(&update)].concat();
        assert_eq!(merged, segments(&whole));
        let tail = |answer: &Answer| {
            let from = answer.text().find(&segments(&update)[0]).unwrap();
            answer.text()[from..].to_owned()
        };
        assert_eq!(tail(&update), tail(&whole));
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_that_nobody_could_use_is_the_whole() {
    let origin = Fixture::live(COUNT).await;
    let whole = origin.get(LIST).await;
    // Another version than those we know, and who has too little to put it on.
    let old = format!("{LIST}?_HLS_msn={FIRST_K}&_HLS_skip=YES");
    for url in [format!("{LIST}?_HLS_skip=v3"), format!("{LIST}?_HLS_skip="), old] {
        let answer = origin.get(&url).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, whole.text()), "{url}");
    }
    let twice = origin.get(&format!("{LIST}?_HLS_skip=YES&_HLS_skip=YES")).await;
    assert_eq!(twice.status, StatusCode::BAD_REQUEST);
    // Nothing is old yet.
    let young = Fixture::live(3).await;
    assert_eq!(skip(&young.get(&format!("{LIST}?_HLS_skip=YES")).await), None);
}

#[tokio::test(start_paused = true)]
async fn key_frames_have_updates_too_and_an_ended_channel_has_none() {
    let mut origin = Fixture::live(COUNT).await;
    origin.push_part(0, FIRST_K + COUNT).await;
    origin.publish();
    let keys = "/live/demo/96p/iframes.m3u8";
    let (whole, update) =
        (origin.get(keys).await, origin.get(&format!("{keys}?_HLS_skip=YES")).await);
    assert_eq!(skip(&update), Some("SKIPPED-SEGMENTS=4"));
    assert_eq!(segments(&update), segments(&whole)[OLD..]);
    origin.end();
    origin.publish();
    let ended = origin.get(&format!("{LIST}?_HLS_skip=YES")).await;
    assert_eq!(skip(&ended), None);
    assert!(ended.text().ends_with("#EXT-X-ENDLIST\n"));
}
