//! Start-over and excerpts: `/live/{channel}/from/{start}[/to/{end}]/…`.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};

use super::fixture::{FIRST_K, Fixture};

/// Start of segment `k`, in whole seconds rounded up: within it, as segments have 1.6 s.
fn within(k: u64) -> u64 {
    (k * 1_600).div_ceil(1_000)
}

fn path(from: u64, to: Option<u64>, file: &str) -> String {
    let to = to.map(|to| format!("/to/{to}")).unwrap_or_default();
    format!("/live/demo/from/{from}{to}/{file}")
}

#[tokio::test]
async fn every_address_of_an_excerpt_leads_to_the_channels_own_media() {
    let mut origin = Fixture::live(6).await;
    origin.push_part(0, FIRST_K + 6).await;
    origin.publish();
    let from = within(FIRST_K + 1);
    for to in [None, Some(within(FIRST_K + 3))] {
        for file in ["96p/index.m3u8", "96p/iframes.m3u8", "audio/index.m3u8"] {
            let list = path(from, to, file);
            let answer = origin.get(&list).await;
            assert_eq!(answer.status, StatusCode::OK, "{list}: {}", answer.text());
            let base = url::Url::parse(&format!("http://h{list}")).unwrap();
            let lines = answer.text().lines();
            let segments: Vec<_> = lines.filter(|line| !line.starts_with('#')).collect();
            assert!(segments.len() >= 3, "{}", answer.text());
            let init = answer.text().split("EXT-X-MAP:URI=\"").nth(1).unwrap();
            for uri in segments.into_iter().chain(init.split('"').next()) {
                let media = base.join(uri).unwrap();
                let found = origin.get(media.path()).await;
                assert_eq!(found.status, StatusCode::OK, "{list} names {media}");
            }
        }
        let list = path(from, to, "manifest.mpd");
        let answer = origin.get(&list).await;
        assert_eq!(
            (answer.status, answer.header(CONTENT_TYPE)),
            (StatusCode::OK, "application/dash+xml")
        );
        let template = answer.text().split(" media=\"").nth(1).unwrap().split('"').next().unwrap();
        let media = template.replace("$RepresentationID$", "96p");
        let media = media.replace("$Number$", &(FIRST_K + 2).to_string());
        let base = url::Url::parse(&format!("http://h{list}")).unwrap();
        let found = origin.get(base.join(&media).unwrap().path()).await;
        assert_eq!(found.status, StatusCode::OK, "{list} names {media}");
    }
}

#[tokio::test]
async fn what_is_over_is_kept_and_never_changes() {
    let mut origin = Fixture::live(6).await;
    let files = [
        ("index.m3u8", "application/vnd.apple.mpegurl"),
        ("96p/index.m3u8", "application/vnd.apple.mpegurl"),
        ("manifest.mpd", "application/dash+xml"),
    ];
    let list = |file: &str| path(within(FIRST_K + 3), Some(within(FIRST_K + 5)), file);
    let mut before = Vec::new();
    for (file, kind) in files {
        let answer = origin.get(&list(file)).await;
        assert_eq!((answer.status, answer.header(CONTENT_TYPE)), (StatusCode::OK, kind));
        // Seven fit: the first leaves when another five are there.
        assert_eq!(answer.header(CACHE_CONTROL), "max-age=8", "{file}");
        before.push(answer);
    }
    assert!(before[1].text().ends_with("#EXT-X-ENDLIST\n"), "{}", before[1].text());
    assert!(before[2].text().contains(" type=\"static\""), "{}", before[2].text());
    for k in FIRST_K + 6..FIRST_K + 10 {
        origin.push_all(k).await;
    }
    origin.trim();
    origin.publish();
    for ((file, _), before) in files.iter().zip(&before) {
        let after = origin.get(&list(file)).await;
        assert_eq!(after.body, before.body, "{file}");
        assert_eq!(after.header(ETAG), before.header(ETAG));
        assert_eq!(after.header(CACHE_CONTROL), "max-age=1", "{file}");
    }
    origin.push_all(FIRST_K + 10).await;
    origin.trim();
    origin.publish();
    let gone = origin.get(&list("index.m3u8")).await;
    assert_eq!((gone.status, gone.header(CACHE_CONTROL)), (StatusCode::NOT_FOUND, "max-age=10"));
}

#[tokio::test]
async fn what_can_not_be_meant_is_refused_with_the_reason() {
    let origin = Fixture::live(6).await;
    let (there, later) = (within(FIRST_K + 1), within(FIRST_K + 6) + 1);
    let year = 365 * 24 * 3_600;
    for (from, to, status, reason) in [
        (there, Some(there), 400, "it ends before it begins"),
        (there, Some(there - 60), 400, "it ends before it begins"),
        (there - 10 * year, Some(there), 400, "seven days at the most"),
        (there - 10 * year, None, 400, "seven days at the most"),
        (there, Some(there + 10 * year), 400, "seven days at the most"),
        (later, None, 404, "it begins in the future"),
        (later, Some(later + 60), 404, "it begins in the future"),
        (there - 100, Some(there - 50), 404, "nothing was on the air then"),
    ] {
        for file in ["index.m3u8", "manifest.mpd", "96p/index.m3u8"] {
            let path = path(from, to, file);
            let answer = origin.get(&path).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text());
            assert!(answer.text().contains(reason), "{path}: {}", answer.text());
            let kept = if reason.starts_with("nothing") { "max-age=10" } else { "no-store" };
            assert_eq!(answer.header(CACHE_CONTROL), kept, "{path}");
        }
    }
    for path in ["/live/demo/from/noon/index.m3u8", "/live/demo/from/1/to/2026-11/manifest.mpd"] {
        let answer = origin.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert!(answer.text().contains("seconds since 1970"), "{}", answer.text());
    }
    for file in ["audio/iframes.m3u8", "nothing/index.m3u8"] {
        assert_eq!(origin.get(&path(there, None, file)).await.status, StatusCode::NOT_FOUND);
    }
    let idle = format!("/live/idle/from/{there}/index.m3u8");
    assert_eq!(origin.get(&idle).await.header(CACHE_CONTROL), "no-store");
}

#[tokio::test]
async fn a_start_over_grows_with_the_channel_and_can_be_waited_for() {
    let mut origin = Fixture::live(6).await;
    let from = within(FIRST_K + 2);
    let list = path(from, None, "96p/index.m3u8");
    let first = origin.get(&list).await;
    assert_eq!(first.header(CACHE_CONTROL), "max-age=1");
    assert!(first.text().contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", FIRST_K + 2)));
    let waiting = origin.spawn_get(&format!("{list}?_HLS_msn={}&_HLS_part=0", FIRST_K + 6));
    origin.settle().await;
    origin.push_part(0, FIRST_K + 6).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header(CACHE_CONTROL), "max-age=12");
    let part = format!("/96p/{}.0.m4s\"", FIRST_K + 6);
    assert!(answer.text().contains(&part), "{}", answer.text());
    assert!(answer.text().contains(&format!("#EXT-X-MEDIA-SEQUENCE:{}\n", FIRST_K + 2)));
}

#[tokio::test]
async fn one_whose_end_is_to_come_ends_then() {
    let mut origin = Fixture::live(6).await;
    let list = path(within(FIRST_K + 2), Some(within(FIRST_K + 6)), "96p/index.m3u8");
    assert!(!origin.get(&list).await.text().contains("ENDLIST"));
    let waiting = origin.spawn_get(&format!("{list}?_HLS_msn={}", FIRST_K + 6));
    origin.settle().await;
    origin.push_all(FIRST_K + 6).await;
    origin.push_part(0, FIRST_K + 7).await;
    origin.publish();
    let answer = waiting.await.unwrap();
    assert!(answer.text().ends_with("#EXT-X-ENDLIST\n"), "{}", answer.text());
    assert!(origin.get(&list).await.text().ends_with("#EXT-X-ENDLIST\n"));
}

#[tokio::test]
async fn excerpts_are_kept_for_a_crowd_and_not_for_ever() {
    let origin = Fixture::live(6).await;
    for millis in 0..100 {
        let from = format!("2035-01-01T05:26:45.{millis:03}Z");
        let path = format!("/live/demo/from/{from}/index.m3u8");
        assert!(origin.get(&path).await.status.is_client_error());
    }
    for second in within(FIRST_K)..within(FIRST_K + 6) {
        for to in 0..12 {
            origin.get(&path(second, Some(second + to), "96p/index.m3u8")).await;
        }
    }
    assert_eq!(origin.views(), 32);
}
