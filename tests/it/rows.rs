//! Conformance rows that only a running server can prove, each named by its row.

use std::time::Duration;

use harness::publisher::{Publisher, Source};
use harness::reader::dash;
use harness::rules::http::{self, asked};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Result, clock};
use packager::time::FrameRate;

/// How long anything that comes in a second or two may take on a shared machine.
const UP_WITHIN: Duration = Duration::from_secs(15);

/// A channel that is playable, and who publishes it.
fn playable(config: ChannelConfig) -> Result<(Server, Publisher)> {
    let server = Server::start(&[config])?;
    let source = Source::tiny(FrameRate::new(30, 1));
    let publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", UP_WITHIN)?;
    Ok((server, publisher))
}

/// Paths of the segments that a media playlist lists, oldest first, and of its init segment.
fn listed(server: &Server) -> Result<(Vec<String>, String)> {
    let text = server.client.text(&server.url("/live/a/96p/index.m3u8"))?;
    let absolute = |uri: &str| format!("/live/a/{}", uri.trim_start_matches("../"));
    let segments = text.lines().filter(|l| l.ends_with(".m4s")).map(absolute).collect();
    let map = text.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next());
    Ok((segments, absolute(map.context("an EXT-X-MAP")?)))
}

#[test]
fn hm_15_no_request_for_media_is_redirected() -> Result {
    let (server, _publisher) = playable(ChannelConfig::tiny("a"))?;
    let (segments, init) = listed(&server)?;
    let manifests = ["/live/a/index.m3u8", "/live/a/96p/index.m3u8", "/live/a/manifest.mpd"];
    let media = segments.iter().map(String::as_str).chain([init.as_str()]);
    for path in manifests.into_iter().chain(media) {
        let answer = server.client.get(&server.url(path))?.ok(path)?;
        assert_eq!(http::check(path, &answer), [], "{path}");
    }
    server.stop()
}

#[test]
fn how_a_resource_is_asked_for_changes_what_it_should_and_nothing_else() -> Result {
    let (server, _publisher) = playable(ChannelConfig::tiny("a").with("fps = \"30\""))?;
    let (segments, init) = listed(&server)?;
    let segment = segments.last().cloned().context("a segment")?;
    for path in ["/live/a/index.m3u8", "/watch/a", "/nowhere", &segment, &init] {
        let url = server.url(path);
        let get = server.client.get(&url)?;
        assert_eq!(asked::check_head(&get, &server.client.head(&url)?), [], "{path}");
        let query = server.client.get(&format!("{url}?a=b&_HLS_x=1"))?;
        assert_eq!(asked::check_same("HT-12", &get, &query), [], "{path}");
        let told = server.client.get(&format!("{url}?CMCD=bl%3D9000%2Csid%3D%22a%22"))?;
        assert_eq!(asked::check_same("HT-16", &get, &told), [], "{path}");
        let fields = [("CMCD-Request", "bl=9000"), ("CMCD-Session", "sid=\"a\"")];
        let told = server.client.get_with(&url, &fields)?;
        assert_eq!(asked::check_same("HT-16", &get, &told), [], "{path}");
    }
    let url = server.url(&segment);
    let whole = server.client.get(&url)?.ok(&url)?;
    let end = whole.body.len();
    for range in [0..1, 1..end, 7..end + 9, end..end + 1, 5_000_000..6_000_000] {
        let value = format!("bytes={}-{}", range.start, range.end - 1);
        let answer = server.client.get_with(&url, &[("Range", &value)])?;
        assert_eq!(asked::check_range(&whole, range, &answer), [], "{value}");
    }
    let slack = Duration::from_secs(3);
    for ahead in [2, 3] {
        let newest = listed(&server)?.0.pop().context("a segment")?;
        let (folder, file) = newest.rsplit_once('/').context("a path")?;
        let k: u64 = file.trim_end_matches(".m4s").parse().context("a number")?;
        let begun = std::time::Instant::now();
        // The list grows while this is asked: by a few while a run's beginning is made.
        let later = k + ahead + if ahead > 2 { 3 } else { 0 };
        let answer = server.client.get(&server.url(&format!("{folder}/{later}.m4s")))?;
        let found = asked::check_ahead(
            ahead,
            Duration::from_millis(1_600),
            begun.elapsed(),
            slack,
            &answer,
        );
        assert_eq!(found, [], "{ahead} ahead");
    }
    server.stop()
}

#[test]
fn hp_06_a_segment_that_left_the_playlist_stays_fetchable() -> Result {
    // The shortest window there is: seven segments.
    let (server, _publisher) = playable(ChannelConfig::tiny("a").with("window = \"10s\""))?;
    let first = listed(&server)?.0.first().cloned().context("a segment")?;
    let before = server.client.get(&server.url(&first))?.ok(&first)?;
    until("segment that leaves the playlist", Duration::from_secs(40), || {
        let gone = !listed(&server)?.0.contains(&first);
        Ok(Look::at(gone.then_some(()), "still listed"))
    })?;
    // It has to stay for its own length and that of the longest playlist that listed it: 11.2 s.
    let left = clock::now_ms();
    until("end of its time", Duration::from_secs(40), || {
        let after = server.client.get(&server.url(&first))?.ok(&first)?;
        assert_eq!(after.body, before.body);
        Ok(Look::at((clock::now_ms() - left > 11_200).then_some(()), "it has to stay"))
    })?;
    server.stop()
}

#[test]
fn dm_04_the_clock_for_players_is_fresh_fine_and_open_to_all() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a")])?;
    let before = clock::now_ms();
    let answer = server.client.get(&server.url("/time"))?.ok("/time")?;
    // The server carries UTC from its start by its own clock: a few milliseconds apart at the most.
    assert_eq!(http::check_time(&answer, before, clock::now_ms(), 50), []);
    server.stop()
}

#[test]
fn dl_04_a_segment_comes_part_by_part_from_when_it_was_announced() -> Result {
    // What a shared machine may take longer than the publish delay that the manifest allows for.
    const SLACK_MS: u64 = 1_000;
    let (server, mut publisher) = playable(ChannelConfig::tiny("a"))?;
    let url = server.url("/live/a/manifest.mpd");
    let manifest = dash::manifest(&url, &server.client.text(&url)?)?;
    for representation in &manifest.representations {
        // One that has just been announced: none of it is made yet, and it is waited for.
        let newest = || {
            let now_ns = (clock::now_ms() * 1_000_000) as i64;
            representation.announced(&manifest, now_ns).context("a segment")
        };
        let before = newest()?;
        let k = until("segment that is announced", UP_WITHIN, || {
            let k = newest()?;
            Ok(Look::at((k > before).then_some(k), "the one before"))
        })?;
        let (start_ns, length_ns) = representation.time_of(&manifest, k);
        let (start_ms, length_ms) = (start_ns as u64 / 1_000_000, length_ns as u64 / 1_000_000);
        let segment = representation.object(k).url;
        let streamed = server.client.stream(&segment)?;
        let answer = streamed.response.clone().ok(&segment)?;
        assert_eq!(http::check(segment.strip_prefix(&server.url("")).unwrap(), &answer), []);
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{segment}");
        // The first bytes are the first part, long before the segment is whole.
        let part = server.client.get(&segment.replace(".m4s", ".0.m4s"))?.ok("its first part")?;
        let (first_ms, _) = *streamed.arrivals.first().context("bytes")?;
        assert!(answer.body.starts_with(&part.body), "{segment}");
        assert!(first_ms < start_ms + length_ms / 2 + SLACK_MS, "first bytes at {first_ms}");
        // The rest comes as it is made, until the segment's end.
        let (last_ms, _) = *streamed.arrivals.last().context("bytes")?;
        assert!(last_ms + SLACK_MS > start_ms + length_ms, "last bytes at {last_ms}");
        assert!(streamed.lasted().as_millis() as u64 > length_ms / 4, "{:?}", streamed.arrivals);
        let whole = server.client.get(&segment)?.ok(&segment)?;
        assert_eq!(whole.body, answer.body, "{segment}");
        assert!(whole.header("etag").is_some(), "{segment}");
    }
    publisher.check()?;
    server.stop()
}
