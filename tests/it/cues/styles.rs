//! One break in every style that a channel can tell it in, while people watch: they play on, and readers
//! that are not ours find in the manifests and segments what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harness::clock::now_ms;
use harness::player::{Library, Player, Report, Stage};
use harness::publisher::{Publisher, Source};
use harness::reader::{hls, scte35};
use harness::rules::dash::{Schema, check_schema};
use harness::rules::{self, events};
use harness::server::{ChannelConfig, Server};
use harness::witness::{Watch, Witness};
use harness::{Context, Result};
use packager::cmaf::read;
use packager::time::{FrameRate, Timescale, Timestamp, iso};

use super::{cue_of, tag};

const RATE: FrameRate = FrameRate::new(30, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(20);
/// From the asking to the break: players have begun, and the message is in time.
const AHEAD_MS: u64 = 6_000;
/// Number of the break.
const EVENT: u32 = 7;
/// Milliseconds of a picture.
const FRAME_MS: f64 = 33.4;
/// Nanoseconds from one key frame of the passed-through source to the next.
const GOP_NS: i64 = 500_000_000;

/// A rung is enough: what is told is the same in all.
fn ladder(name: &str, cues: &str) -> ChannelConfig {
    let channel = ChannelConfig::tiny(name).with_ladder(&["96p"]).patient();
    channel.with(&format!("[channel.cues]\n{cues}"))
}

fn channels() -> [ChannelConfig; 3] {
    [
        ladder("a", "hls = [\"daterange\", \"elemental\"]"),
        ladder("b", "hls = [\"daterange\", \"enhanced\"]\ndash = \"inband\""),
        ChannelConfig::pass_through("c").with(
            "[channel.cues]\nhls = [\"daterange\", \"scte35\"]\ndash = \"xml\"\nperiods = \"breaks\"",
        ),
    ]
}

/// Somebody who watches a channel.
pub(crate) type Viewer = (&'static str, Library);

/// Every way that breaks are told in to a player that acts upon it.
const VIEWERS: [Viewer; 6] = [
    ("a", Library::HlsJs),
    ("a", Library::DashJs),
    ("b", Library::DashJs),
    ("c", Library::HlsJs),
    ("c", Library::DashJs),
    ("c", Library::ShakaDash),
];
/// hls.js and dash.js in every style.
pub(crate) const HLS_JS_AND_DASH_JS: [Viewer; 6] = [
    ("a", Library::HlsJs),
    ("a", Library::DashJs),
    ("b", Library::HlsJs),
    ("b", Library::DashJs),
    ("c", Library::HlsJs),
    ("c", Library::DashJs),
];
/// shaka-player in every style.
pub(crate) const SHAKA: [Viewer; 5] = [
    ("a", Library::ShakaHls),
    ("a", Library::ShakaDash),
    ("b", Library::ShakaDash),
    ("c", Library::ShakaHls),
    ("c", Library::ShakaDash),
];

/// What a channel has told.
struct Told {
    /// Media playlists by rendition.
    lists: Vec<(hls::Rendition, String, hls::Playlist)>,
    mpd: String,
    /// The section that was asked for.
    section: String,
    /// When it was asked, in milliseconds since the epoch; when the break begins, and when it is over.
    times: [u64; 3],
    id: String,
}

/// What viewers may mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Smoothness {
    /// Nothing.
    Whole,
    /// That a picture stands for a moment: six players and three encoders on a machine that is shared.
    Most,
}

/// Plays through a break of `length` seconds in every style, while these watch.
pub(crate) fn session(length: u64, smoothness: Smoothness, viewers: &[Viewer]) -> Result {
    let server = Server::start(&channels())?;
    let witness = Witness::start(Watch::new(&server.url(""), "c"));
    let source = || {
        let source = Source::tiny(RATE);
        Source { gop: 15, ..source }
    };
    let mut publishers = Vec::<Publisher>::new();
    for name in ["a", "b", "c"] {
        publishers.push(source().publish(&server.publish_url(name, None))?);
    }
    for name in ["a", "b", "c"] {
        server.wait_playable(name, PLAYABLE_WITHIN)?;
        // shaka-player 5.2 asks for the open segment, which has no address yet, where one whole segment
        // is listed before it: the first seconds of a source that is passed through.
        let (first, _) = server.numbers(name)?;
        server.wait_segment(name, first + 2, PLAYABLE_WITHIN)?;
    }
    let stage = Stage::open()?;
    let mut players = Vec::new();
    for (channel, library) in viewers {
        let player = Player::start(&stage, *library, &server.url(""), channel)?;
        players.push((*channel, player));
    }
    for (channel, player) in &players {
        player.wait_started(PLAYABLE_WITHIN).context(format!("channel {channel}"))?;
    }
    let mut told = BTreeMap::new();
    for name in ["a", "b", "c"] {
        // On a frame, and on no boundary of 1.6 s or 2 s.
        let asked = now_ms();
        let begins = (asked + AHEAD_MS) / 2_000 * 2_000 + 700;
        let at = iso(Timestamp::new(begins.cast_signed(), Timescale::MILLIS));
        let (event, seconds) = (EVENT.to_string(), length.to_string());
        let order = ["out", "--at", &at, "--duration", &seconds, "--event", &event];
        let (answer, done) = cue_of(&server, name, &order)?;
        assert!(done, "{answer}");
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let section = text(&answer["section"]).context("section")?;
        let id = text(&answer["cues"][0]["id"]).context("id")?;
        let times = [asked, begins, begins + length * 1_000];
        told.insert(name, Told { lists: Vec::new(), mpd: String::new(), section, times, id });
    }
    let all = Duration::from_secs(length) + Duration::from_millis(AHEAD_MS + 6_000);
    let mut goals = Vec::new();
    for (_, player) in &players {
        goals.push(player.played()? + all);
    }
    for ((_, player), goal) in players.iter().zip(goals) {
        player.wait_played(goal, all * 3 + PLAYABLE_WITHIN)?;
    }
    for publisher in &mut publishers {
        publisher.check()?;
    }
    for (channel, player) in &players {
        let report = match smoothness {
            Smoothness::Whole => player.smooth().context(format!("channel {channel}"))?,
            Smoothness::Most => {
                let report = player.report()?;
                let attached = report.reloads == 0 && !report.ended && report.fatal.is_empty();
                // hls.js nudges a picture that stands with enough in store: the browser's machine is
                // busy with six players.
                let nudges = report.errors.iter().filter(|e| e.ends_with("bufferNudgeOnStall"));
                let stays = report.jumps.len() <= nudges.count();
                assert!(attached && stays, "channel {channel}: {report:#?}");
                report
            }
        };
        let Report { played_seconds, latency_ms, cues, .. } = report;
        println!("{channel} {:?}: {played_seconds:.1} s, {latency_ms:?}", player.library());
        if player.library() == Library::ShakaHls {
            // shaka-player's own dates are a fifth of a second off the playlist's here, of cues too.
            assert!(!cues.is_empty(), "shaka-player has raised no cue");
            continue;
        }
        // The page hears of it, at the splice's frame; when, is a matter of how busy the browser is too.
        let begins = told[channel].times[1] as f64;
        let raised = cues.iter().find(|cue| (cue.date_ms - begins).abs() < FRAME_MS);
        let raised = raised.context(format!("a cue at {begins}: {cues:?}"))?;
        let late = raised.shown_ms - begins;
        println!("the cue is raised {late:.0} ms behind its frame");
        let is_whole = matches!(smoothness, Smoothness::Whole);
        // Milliseconds from one look of a player for events that are due to the next.
        let looks_every = match player.library() {
            Library::ShakaDash => 250.0,
            // `events.eventControllerRefreshDelay`, as our page sets it.
            Library::DashJs => 20.0,
            _ => 0.0,
        };
        assert!(!is_whole || late < FRAME_MS + looks_every, "{late} ms behind its frame");
    }
    for (name, told) in &mut told {
        for (rendition, playlist) in
            hls::fetch(&server.client, &server.url(&format!("/live/{name}/index.m3u8")))?
        {
            let text = server.client.text(&rendition.url)?;
            assert_eq!(rules::hls::check_media(&text), [], "{text}");
            told.lists.push((rendition, text, playlist));
        }
        told.mpd = server.client.text(&server.url(&format!("/live/{name}/manifest.mpd")))?;
        assert_eq!(rules::dash::check(&told.mpd), [], "{}", told.mpd);
        if let Some(schema) = Schema::find() {
            assert_eq!(check_schema(&schema, &told.mpd).context("xmllint")?, [], "{}", told.mpd);
        }
    }
    let metrics = server.client.text(&server.admin_url("/metrics"))?;
    for name in ["a", "b", "c"] {
        for line in [
            format!("headwater_scte35_cues_total{{channel=\"{name}\",source=\"api\"}} 1"),
            format!("headwater_scte35_outcomes_total{{channel=\"{name}\",outcome=\"accepted\"}} 1"),
            format!("headwater_scte35_break{{channel=\"{name}\"}} 0"),
        ] {
            assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
        }
    }
    in_the_manifests(&told["a"], length)?;
    in_the_segments(&server, &told["b"])?;
    at_the_nearest_key_frame(&told["c"], length)?;
    read_by_others(&server, &told, length)?;
    drop(players);
    witness.finish()?.clean()?;
    server.stop()
}

/// How often a line that begins so stands in a playlist.
fn count(text: &str, tag: &str) -> usize {
    text.lines().filter(|line| line.starts_with(tag)).count()
}

fn in_the_manifests(told: &Told, length: u64) -> Result {
    for (_, text, _) in &told.lists {
        let range = tag(text, &told.id)?;
        assert!(range.contains(&format!(",DURATION={length}.00000,")), "{range}");
        assert_eq!(count(text, &format!("#EXT-X-CUE-OUT:{length}.000")), 1, "{text}");
        assert_eq!(count(text, "#EXT-X-CUE-IN"), 1, "{text}");
        assert!(count(text, "#EXT-X-CUE-OUT-CONT:") > 2, "{text}");
        // The tag stands before the segment that begins with the splice.
        let before = text.split_once("#EXT-X-CUE-OUT:").map(|(before, _)| before);
        let date =
            before.and_then(|before| before.rsplit_once("PROGRAM-DATE-TIME:")).context("a date")?;
        let date = date.1.lines().next().and_then(rules::date_nanos).context("a date")?;
        let late = date.saturating_sub(told.times[1] * 1_000_000);
        assert!(late < 21_333_334, "{late} ns");
    }
    let [_, begins, ends] = told.times;
    let event =
        format!("presentationTime=\"{}\" duration=\"{}\">", begins * 90, (ends - begins) * 90);
    assert!(told.mpd.contains(&event), "{}", told.mpd);
    assert_eq!(told.mpd.matches("<Period ").count(), 1, "{}", told.mpd);
    Ok(())
}

/// The messages of events that segments carry, which are judged.
fn in_the_segments(server: &Server, told: &Told) -> Result<Vec<Bytes>> {
    assert!(!told.mpd.contains("<EventStream"), "{}", told.mpd);
    let scheme = BTreeSet::from(["urn:scte:scte35:2013:bin"]);
    assert_eq!(events::check_declared(&told.mpd, &scheme), []);
    let mut tracks = Vec::new();
    for (rendition, text, playlist) in &told.lists {
        assert_eq!(count(text, "#EXT-OATCLS-SCTE35:"), 1, "{text}");
        let mut segments = BTreeMap::new();
        for object in &playlist.objects {
            segments.insert(object.k, server.client.get(&object.url)?.ok(&object.url)?.body);
        }
        tracks.push((rendition.audio, segments));
    }
    let mut messages = BTreeMap::new();
    for (audio, segments) in &tracks {
        let segments: BTreeMap<u64, &[u8]> = segments.iter().map(|(k, b)| (*k, &b[..])).collect();
        let mut ids = BTreeMap::new();
        for bytes in segments.values() {
            let chunks = read::chunks(bytes).context("chunks")?;
            for event in chunks.into_iter().flat_map(|chunk| chunk.events) {
                ids.insert(event.id, (told.times[0] + 1_000) * 90);
                assert_eq!(event.time, told.times[1] * 90, "at the splice's frame");
                messages.insert(event.id, Bytes::from(event.message));
            }
        }
        assert_eq!(ids.is_empty(), *audio, "{ids:?}");
        if !audio {
            let carried = events::Carried { timescale: 90_000, segments: &segments };
            assert_eq!(events::check_carried(&carried, &ids), []);
        }
    }
    Ok(messages.into_values().collect())
}

/// Where nobody could be asked for a key frame, the cut is at the nearest one, and a Period begins there.
fn at_the_nearest_key_frame(told: &Told, length: u64) -> Result {
    let mut cuts = BTreeSet::new();
    for (rendition, text, playlist) in &told.lists {
        let range = tag(text, &told.id)?;
        for (name, at) in
            [("X-HEADWATER-CUT", told.times[1]), ("X-HEADWATER-END-CUT", told.times[2])]
        {
            let cut = range
                .split_once(&format!(",{name}=\""))
                .and_then(|(_, rest)| rest.split('"').next());
            let cut = cut
                .and_then(rules::date_nanos)
                .context(format!("{name} in {range}"))?
                .cast_signed();
            let off = cut - at.cast_signed() * 1_000_000;
            // Half a group on either side, and half as much again: a publisher without processor time makes
            // one longer, by which is guessed where the next key frame would be.
            assert!(off.abs() <= GOP_NS * 3 / 4, "{name} is {off} ns off");
            let begins = playlist.objects.iter().filter_map(|object| object.date_ns);
            let late = begins.map(|date| date - cut).filter(|late| *late > -1_000_000).min();
            let allowed = if rendition.audio { 23_300_000 } else { 1_000_000 };
            assert!(late.is_some_and(|late| late < allowed), "{}: {late:?}", rendition.name);
            cuts.insert(cut);
        }
        assert_eq!(count(text, "#EXT-X-SCTE35:"), text.matches("ID=\"05-7-").count() - 1, "{text}");
        assert!(text.contains(&format!(",DURATION={length}.000,CUE-OUT=YES")), "{text}");
        assert!(text.contains(",CUE-IN=YES"), "{text}");
    }
    let mpd = harness::reader::dash::manifest("http://h/manifest.mpd", &told.mpd)?;
    let video = mpd.representations.iter().filter(|representation| !representation.audio);
    let periods: Vec<_> = video.collect();
    let starts: BTreeSet<_> = periods.iter().map(|r| r.period_start_ns).collect();
    assert_eq!(periods.len(), 3, "{}", told.mpd);
    let near = |cut: &i64| starts.iter().any(|start| (start - cut).abs() < 200_000_000);
    assert!(cuts.iter().all(near), "{cuts:?} {starts:?}");
    assert!(periods.iter().all(|period| period.named.is_some()), "each segment is named");
    let again = "<SupplementalProperty schemeIdUri=\"urn:mpeg:dash:period-continuity:2015\"";
    // Pictures, key frames and stills to search by, and sound, in the two Periods that go on.
    assert_eq!(told.mpd.matches(again).count(), 8, "{}", told.mpd);
    Ok(())
}

/// What threefive3 reads is what was asked for, and writes as the same bytes.
fn read_by_others(server: &Server, told: &BTreeMap<&str, Told>, length: u64) -> Result {
    let hex = |text: &str| -> Result<String> {
        let range = text.split_once("SCTE35-OUT=").context("a section")?.1;
        Ok(range.split([',', '\n']).next().unwrap_or_default().to_owned())
    };
    let element = |mpd: &str, name: &str| -> Result<String> {
        let start = mpd.find(&format!("<{name}")).context(name.to_owned())?;
        let end = mpd.find(&format!("</{name}>")).context(name.to_owned())?;
        Ok(mpd[start..end].to_owned() + &format!("</{name}>"))
    };
    let (a, b, c) = (&told["a"], &told["b"], &told["c"]);
    let binary = element(&a.mpd, "Binary")?.replace("<Binary>", "").replace("</Binary>", "");
    let mut sections = vec![(hex(&a.lists[0].1)?, &a.section), (binary, &a.section)];
    for message in in_the_segments(server, b)? {
        sections.push((STANDARD.encode(message), &b.section));
    }
    assert_eq!(sections.len(), 3);
    sections.push((hex(&c.lists[0].1)?, &c.section));
    // In words: threefive3 3.0 reads no splice_time in them, its own among them, so that is not looked at.
    sections.push((element(&c.mpd, "SpliceInfoSection")?, &c.section));
    let texts: Vec<_> = sections.iter().map(|(text, _)| text.clone()).collect();
    for ((text, section), read) in sections.iter().zip(scte35::read(&texts)?) {
        assert_eq!(read.command["splice_event_id"], EVENT, "{text}");
        assert_eq!(read.command["out_of_network_indicator"], true, "{text}");
        assert_eq!(read.command["break_auto_return"], true, "{text}");
        assert_eq!(read.command["break_duration"].as_f64(), Some(length as f64), "{text}");
        if !text.starts_with('<') {
            assert_eq!(&read.base64, *section, "{text}");
        }
    }
    Ok(())
}

#[test]
fn viewers_play_through_a_break_in_every_style_and_others_read_what_is_told() -> Result {
    session(8, Smoothness::Most, &VIEWERS)
}
