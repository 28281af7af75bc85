//! Assets: `/vod/{asset}/…`, over the channel's own objects.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use packager::time::{Timescale, Timestamp};

use super::fixture::{FIRST_K, Fixture};
use crate::assets::{Error, Wish};
use crate::store::Limits;

/// A clip from the start of one segment to that of another.
fn clip(from: u64, to: u64, id: &str) -> Wish {
    let at = |k: u64| Timestamp::new((k * 1_600).cast_signed(), Timescale::MILLIS);
    let id = packager::media::Name::parse(id).ok();
    Wish { from: Some(at(from)), to: Some(at(to)), title: "A goal".into(), id }
}

/// The addresses that a playlist names, as paths.
fn media_of(list: &str, text: &str) -> Vec<String> {
    let base = url::Url::parse(&format!("http://h{list}")).unwrap();
    let init = text.split("EXT-X-MAP:URI=\"").nth(1).and_then(|rest| rest.split('"').next());
    let uris = text.lines().filter(|line| !line.starts_with('#')).chain(init);
    uris.map(|uri| base.join(uri).unwrap().path().to_owned()).collect()
}

#[tokio::test]
async fn a_clip_outlives_its_segments_time_in_the_window() {
    let limits = Limits { grace: std::time::Duration::ZERO, ..Limits::default() };
    let mut origin = Fixture::within(limits);
    origin.go_live(6).await;
    let made = origin.assets.make("demo", clip(FIRST_K + 1, FIRST_K + 4, "goal")).await.unwrap();
    assert_eq!((made.id.as_str(), made.title.as_str(), made.duration), ("goal", "A goal", 4.8));
    assert_eq!(made.start, "2026-01-02T03:04:06.400Z");
    // Seven fit into the window: all of the clip leaves it, and its time is up at once.
    for k in FIRST_K + 6..FIRST_K + 14 {
        origin.push_all(k).await;
        origin.trim();
        origin.publish();
    }
    let outside = format!("/live/demo/{}/96p/{FIRST_K}.m4s", super::RUN);
    origin.until_gone(&outside).await;
    for file in ["96p/index.m3u8", "audio/index.m3u8", "96p/iframes.m3u8"] {
        let list = format!("/vod/goal/{file}");
        let answer = origin.get(&list).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.header(CACHE_CONTROL), "max-age=3600");
        assert!(answer.text().contains("#EXT-X-PLAYLIST-TYPE:VOD\n"), "{}", answer.text());
        assert!(answer.text().ends_with("#EXT-X-ENDLIST\n"), "{}", answer.text());
        let media = media_of(&list, answer.text());
        assert_eq!(media.len(), 4, "{}", answer.text());
        for path in media {
            let found = origin.get(&path).await;
            assert_eq!(found.status, StatusCode::OK, "{path}");
            assert_eq!(found.header(CACHE_CONTROL), super::IMMUTABLE, "{path}");
            let kind = if path.contains("/audio/") { "audio/mp4" } else { "video/mp4" };
            assert_eq!(found.header(CONTENT_TYPE), kind, "{path}");
            match path.ends_with("init.mp4") {
                true => assert_eq!(&found.body[4..8], b"ftyp", "{path}"),
                // Which segment of which rendition it is stands in it.
                false => {
                    let mut parts = path.split(['/', '.']).skip(4);
                    let (name, k) = (parts.next().unwrap(), parts.next().unwrap());
                    assert!(found.text().contains(&format!("[{name} {k} sample 0]")), "{path}");
                }
            }
        }
    }
    let manifest = origin.get("/vod/goal/manifest.mpd").await;
    assert!(manifest.text().contains(" type=\"static\""), "{}", manifest.text());
    assert!(origin.get("/vod/goal/index.m3u8").await.text().contains("96p/index.m3u8"));
    assert_eq!(origin.get("/vod/goal/180p/index.m3u8").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deleted_clip_is_gone_and_the_window_stays() {
    let limits = Limits { grace: std::time::Duration::ZERO, ..Limits::default() };
    let mut origin = Fixture::within(limits);
    origin.go_live(6).await;
    for id in ["one", "two"] {
        origin.assets.make("demo", clip(FIRST_K, FIRST_K + 5, id)).await.unwrap();
    }
    let renamed = origin.assets.rename("one", "Another").await.unwrap();
    assert_eq!((renamed.title.as_str(), origin.assets.list().len()), ("Another", 2));
    let first = format!("/live/demo/{}/96p/{FIRST_K}.m4s", super::RUN);
    let last = format!("/live/demo/{}/96p/{}.m4s", super::RUN, FIRST_K + 4);
    for k in FIRST_K + 6..FIRST_K + 9 {
        origin.push_all(k).await;
    }
    origin.trim();
    origin.publish();
    origin.assets.delete("one").await.unwrap();
    assert_eq!(origin.get("/vod/one/index.m3u8").await.status, StatusCode::NOT_FOUND);
    assert_eq!(origin.get(&first).await.status, StatusCode::OK, "the other clip has it");
    origin.assets.delete("two").await.unwrap();
    origin.until_gone(&first).await;
    assert_eq!(origin.get(&last).await.status, StatusCode::OK, "the window has it");
    assert!(matches!(origin.assets.delete("two").await, Err(Error::NoAsset)));
    assert!(origin.assets.list().is_empty());
}

#[tokio::test]
async fn a_clip_that_can_not_be_made_is_refused() {
    let origin = Fixture::live(6).await;
    let make = async |wish| origin.assets.make("demo", wish).await.map(|asset| asset.id);
    let unfinished = make(clip(FIRST_K + 1, FIRST_K + 60, "a")).await;
    assert!(matches!(unfinished, Err(Error::Unfinished { .. })), "{unfinished:?}");
    let future = make(clip(FIRST_K + 60, FIRST_K + 61, "a")).await;
    assert!(matches!(future, Err(Error::Excerpt(_))), "{future:?}");
    assert_eq!(make(clip(FIRST_K, FIRST_K + 2, "a")).await.unwrap(), "a");
    assert!(matches!(make(clip(FIRST_K, FIRST_K + 2, "a")).await, Err(Error::Taken { .. })));
    let title = Wish { title: "x".repeat(201), ..Wish::default() };
    assert!(matches!(make(title).await, Err(Error::Title)));
    let (one, other) = (make(Wish::default()).await.unwrap(), make(Wish::default()).await.unwrap());
    assert!(one.starts_with("demo-") && one != other, "{one} {other}");
    assert!(matches!(origin.assets.make("idle", Wish::default()).await, Err(Error::NotOnAir)));
    assert!(matches!(origin.assets.make("none", Wish::default()).await, Err(Error::NoChannel)));
}
