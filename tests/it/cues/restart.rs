//! A server that is killed within a break goes on with it.

use std::time::Duration;

use harness::clock::now_ms;
use harness::publisher::Source;
use harness::reader::{dash, hls};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Result, rules};
use packager::time::{FrameRate, Timescale, Timestamp, iso};

use super::{PLAYABLE_WITHIN, cue_of, tag};

/// How long a killed server may be away, on a machine that is shared.
const DEAD: Duration = Duration::from_secs(3);

#[test]
fn a_break_outlives_the_server_and_ends_where_it_was_to() -> Result {
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]).with("[channel.cues]");
    let told = channel.with("hls = [\"daterange\", \"elemental\"]\nperiods = \"breaks\"");
    let server = Server::start(&[told])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a").with_kills(DEAD));
    let url = server.publish_url("a", None);
    let mut publisher = Source::tiny(FrameRate::new(30, 1)).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    // On a frame, and on no boundary of 1.6 s.
    let (begins, length) = ((now_ms() + 6_000) / 1_600 * 1_600 + 500, 12_400);
    let at = |millis: u64| iso(Timestamp::new(millis.cast_signed(), Timescale::MILLIS));
    let order = ["out", "--at", &at(begins), "--duration", "12.4", "--event", "9"];
    let (answer, done) = cue_of(&server, "a", &order)?;
    assert!(done, "{answer}");
    let cue = &answer["cues"][0];
    let id = cue["id"].as_str().context("id")?.to_owned();
    let k = cue["segment"].as_u64().context("segment")?;
    let end_k = cue["end_segment"].as_u64().context("end")?;
    server.wait_segment("a", k + 1, Duration::from_secs(40))?;
    let old = server.kill()?;
    publisher.wait(Duration::from_secs(15)).context("the publisher loses its connection")?;
    until("server that was started again", Duration::from_secs(20), || {
        let id = server.serving_id().ok().filter(|id| *id != old);
        Ok(Look::at(id, "none yet"))
    })?;
    let _publisher = Source::tiny(FrameRate::new(30, 1)).publish(&url)?;
    // It is the same one: said again, it is known.
    let (again, _) = cue_of(&server, "a", &order)?;
    assert_eq!(again["outcomes"][0]["what"], "repeated", "{again}");
    assert_eq!(again["cues"][0]["id"], id.as_str(), "{again}");
    server.wait_segment("a", end_k + 1, Duration::from_secs(60))?;
    let record = witness.finish()?;
    record.clean()?;
    for (rendition, playlist) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        let said = tag(&text, &id)?;
        let ended = format!(",END-DATE=\"{}\",DURATION=12.40000,", at(begins + length));
        assert!(said.starts_with(&format!("START-DATE=\"{}\"", at(begins))), "{said}");
        assert!(said.contains(&ended), "{said}");
        assert_eq!(rules::hls::check_media(&text), [], "{text}");
        for (k, at) in [(k, begins), (end_k, begins + length)] {
            let object = playlist.objects.iter().find(|object| object.k == k).context("segment")?;
            let late = object.date_ns.context("a date")? - at.cast_signed() * 1_000_000;
            assert!((0..21_333_334).contains(&late), "{}: {k} is {late} ns late", rendition.name);
        }
        let tags = |name| text.lines().filter(move |line| line.starts_with(name)).count();
        assert_eq!((tags("#EXT-X-CUE-OUT:"), tags("#EXT-X-CUE-IN")), (1, 1), "{text}");
    }
    // A Period of DASH for the break, and one for what is behind it, both at their frames.
    let text = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    assert_eq!(rules::dash::check(&text), [], "{text}");
    let mpd = dash::manifest(&server.url("/live/a/manifest.mpd"), &text)?;
    let starts: Vec<_> = mpd.representations.iter().map(|r| r.period_start_ns).collect();
    for at in [begins, begins + length] {
        let at = at.cast_signed() * 1_000_000;
        let there = starts.iter().any(|start| (start - at).abs() < 1_000_000);
        assert!(there, "no Period at {at}: {text}");
    }
    assert!(mpd.representations.iter().all(|period| period.named.is_some()), "{text}");
    server.stop()
}
