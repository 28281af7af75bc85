//! Ad breaks in a live transport stream over SRT. The test finds out which picture of the source is shown
//! when, and so has splices where they are awkward: a tenth of a second behind a boundary of the grid, one
//! frame before one, exactly on one.

use std::time::Duration;

use harness::publisher::Source;
use harness::publisher::spliced::Spliced;
use harness::reader::{fragments, hls};
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::grid::Grid;
use packager::grid::splices::nearest_frame;
use packager::scte35::Section;
use packager::scte35::section::{BreakDuration, Command, Insert, Splice, SpliceTime};
use packager::time::{FrameRate, Rounding, Span, Timescale, Timestamp, iso, parse_iso, rescale};
use serde_json::Value;

use super::{PLAYABLE_WITHIN, cue_of, first_mark, shown, tag};

/// From the newest picture that is listed to the first splice: the least that SCTE 35 §9.9.2.1 asks for,
/// and the time in which the test counts.
const AHEAD: Span = Span::millis(6_500);
/// A break lasts so many segments, and the next begins so many after it began: neighbours that are both
/// moved lie two segments apart at the least.
const LASTS: i64 = 3;
const EVERY: u64 = 6;
/// Times that each message is sent.
const SENT: usize = 3;
/// Number of the first break.
const FIRST_EVENT: u32 = 900;

/// A break that has been asked for.
struct Asked {
    event: u32,
    section: Vec<u8>,
    /// The segment that begins with it, and the one that begins behind it.
    numbers: [u64; 2],
    /// When that is, in video ticks.
    times: [i64; 2],
    /// The source's pictures there.
    pictures: [u64; 2],
}

/// A break from `at` on, at 90 kHz.
fn section(event_id: u32, at: u64, ticks: u64) -> Result<Vec<u8>> {
    let splice = Splice {
        out: true,
        compliance: true,
        time: SpliceTime::Program(Some(at)),
        duration: Some(BreakDuration { auto_return: true, ticks }),
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let insert = Insert { event_id, splice: Some(splice) };
    Ok(Section::new(Command::Insert(insert), Vec::new()).encode().context("a section")?.to_vec())
}

/// What is known of the channel's cues.
fn known(server: &Server) -> Result<Value> {
    let known = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
    serde_json::from_str(&known).context(known.clone())
}

/// Plays breaks whose splices are awkward in pictures at `rate`; `offset` is added to the source's clock, in
/// seconds.
pub(crate) fn session(rate: FrameRate, offset: &str) -> Result {
    let grid = Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(1_000));
    let (frame, scale) = (i64::from(rate.frame_ticks()), grid.video_scale());
    let length = grid.boundary(1) - grid.boundary(0);
    let rungs = ["180p", "144p", "96p"];
    let channel = ChannelConfig::tiny("a").with_ladder(&rungs).patient();
    let server = Server::start(&[channel])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let source = Source::tiny(rate).with_output_args(&["-output_ts_offset", offset]);
    let mut publisher = Spliced::start(source, &server.srt("a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", 2)?;

    let (now, picture) = shown(&server, publisher.publisher().feed())?;
    let ahead = AHEAD.ticks_in(scale, Rounding::Ceil).cast_signed();
    let first = grid.number_at(now + length + ahead) + 1;
    let tenth = nearest_frame(rate, Timestamp::new(100, Timescale::MILLIS));
    let mut asked = Vec::new();
    // How much earlier pictures are shown than was counted: they meet the output clock in a buffer.
    let mut early = 0;
    for (n, off) in [tenth, -frame, 0].into_iter().enumerate() {
        let k = first + n as u64 * EVERY;
        let begins = grid.boundary(k) + off;
        let pictures = [begins, begins + LASTS * length]
            .map(|at| picture + ((at - now + early) / frame).unsigned_abs());
        let event = FIRST_EVENT + n as u32;
        let ticks = rescale(LASTS * length, scale, Timescale::MPEG, Rounding::Nearest);
        let section = section(event, publisher.time_of(pictures[0])?, ticks.unsigned_abs())?;
        publisher.send(&section);
        let heard = until("the message", Duration::from_secs(10), || {
            let known = known(&server)?;
            let cues = known["cues"].as_array().cloned().unwrap_or_default();
            let cue = cues.into_iter().find(|cue| cue["event_id"] == event);
            Ok(Look::at(cue, known.to_string()))
        })?;
        let start = heard["start"].as_str().and_then(parse_iso).context("a start")?;
        let start = nearest_frame(rate, start);
        println!("event {event} is {} frames off its place", (start - begins) / frame);
        if n == 0 {
            assert!((start - begins).abs() <= 2 * frame, "{heard}");
            early = begins - start;
        } else {
            assert_eq!(start, begins, "where it was meant to be: {heard}");
        }
        let times = [start, start + LASTS * length];
        let numbers = [k, k + LASTS.unsigned_abs()];
        asked.push(Asked { event, section, numbers, times, pictures });
    }
    for _ in 1..SENT {
        for one in &asked {
            publisher.send(&one.section);
        }
        server.wait_more("a", 1)?;
    }
    // What an operator asks for that is sent already is the same one.
    for one in &asked {
        let (at, event) = (iso(Timestamp::new(one.times[0], scale)), one.event.to_string());
        let length = (LASTS * length) as f64 / f64::from(scale.get());
        let length = length.to_string();
        let order = ["out", "--event", &event, "--at", &at, "--duration", &length];
        let (answer, done) = cue_of(&server, "a", &order)?;
        assert!(done && answer["outcomes"][0]["what"] == "repeated", "{answer}");
    }
    let last = asked.last().context("a break")?.numbers[1];
    let bound = Duration::from_secs(90);
    server.wait_segment("a", last + 1, bound)?;
    let known = until("the end of all breaks", Duration::from_secs(10), || {
        let known = known(&server)?;
        let over = known["cues"].as_array().is_some_and(|cues| {
            cues.len() == asked.len() && cues.iter().all(|cue| cue["phase"] == "ended")
        });
        Ok(Look::at(over.then(|| known.clone()), known.to_string()))
    })?;
    publisher.check()?;
    let log = known["log"].as_array().context("log")?;
    assert_eq!(
        log.len(),
        asked.len() * (SENT + 1),
        "each message is heard, and one break a number"
    );
    let mpd = server.client.text(&server.url("/live/a/manifest.mpd"))?;
    for (cue, asked) in known["cues"].as_array().context("cues")?.iter().zip(&asked) {
        told(cue, asked)?;
        in_dash(&mpd, asked, scale)?;
    }
    for (rendition, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        for (cue, asked) in known["cues"].as_array().context("cues")?.iter().zip(&asked) {
            let said = tag(&text, cue["id"].as_str().context("id")?)?;
            let hex: String = asked.section.iter().map(|byte| format!("{byte:02X}")).collect();
            assert!(said.contains(&format!("SCTE35-OUT=0x{hex}")), "{said}");
            let begins = iso(Timestamp::new(asked.times[0], scale));
            assert!(said.starts_with(&format!("START-DATE=\"{begins}\"")), "{said} {begins}");
            for ((k, at), picture) in asked.numbers.into_iter().zip(asked.times).zip(asked.pictures)
            {
                let object = list.objects.iter().find(|object| object.k == k).context("listed")?;
                let name = format!("{}: segment {k} of event {}", rendition.name, asked.event);
                cut(&server, object, at, scale, rendition.audio).context(name.clone())?;
                if !rendition.audio {
                    let shown = first_mark(&server, object)?;
                    let shown = publisher.publisher().feed().frame_of(shown);
                    assert_eq!(shown, Some(picture), "{name}");
                }
            }
        }
    }
    witness.finish()?.clean()?;
    server.stop()
}

/// The API tells the place that was meant: nothing has moved it.
fn told(cue: &Value, asked: &Asked) -> Result {
    assert_eq!(cue["event_id"], asked.event, "{cue}");
    assert!(cue["moved"].is_null(), "{cue}");
    let numbers = [&cue["segment"], &cue["end_segment"]].map(Value::as_u64);
    assert_eq!(numbers, asked.numbers.map(Some), "{cue}");
    Ok(())
}

/// A segment begins with a key frame at the splice, or with the first frame of sound behind it, and its
/// date says so.
fn cut(
    server: &Server,
    object: &harness::reader::Object,
    at: i64,
    scale: Timescale,
    audio: bool,
) -> Result {
    let get = |url: &str| Ok::<_, Failure>(server.client.get(url)?.ok(url)?.body);
    let init = fragments::read_init(&get(&object.init)?)?;
    let first = fragments::read_segment(&init, &get(&object.url)?)?;
    let first = first.first().context("a fragment")?;
    let nanos = |ticks: i64, scale: u32| i128::from(ticks) * 1_000_000_000 / i128::from(scale);
    let splice = nanos(at, scale.get());
    let late = nanos(first.tfdt.cast_signed(), init.timescale) - splice;
    let dated = i128::from(object.date_ns.context("a date")?) - splice;
    if audio {
        assert!((0..21_333_334).contains(&late), "sound begins {late} ns behind the splice");
        assert!((0..22_333_334).contains(&dated), "its date is {dated} ns behind the splice");
    } else {
        assert!(first.samples.first().is_some_and(|sample| sample.sync), "no key frame");
        assert_eq!(late, 0, "the picture is not at the splice");
        assert!(dated.abs() < 1_000_000, "the date is {dated} ns off");
    }
    Ok(())
}

/// The manifest has an event at the splice, with the section as it was sent.
fn in_dash(mpd: &str, asked: &Asked, scale: Timescale) -> Result {
    use base64::Engine as _;
    let section = base64::engine::general_purpose::STANDARD.encode(&asked.section);
    let events = mpd.split("<EventStream ").skip(1);
    let stream = events.into_iter().find(|stream| stream.contains(&section));
    let stream = stream.context(format!("{section} in {mpd}"))?;
    let (before, _) = stream.split_once(&section).context("the section")?;
    let number = |text: &str, name: &str| -> Option<i64> {
        let (_, rest) = text.rsplit_once(&format!("{name}=\""))?;
        rest.split('"').next()?.parse().ok()
    };
    let timescale = number(before.split('>').next().unwrap_or_default(), "timescale");
    let at = number(before, "presentationTime").context("presentationTime")?;
    let off = i128::from(at) * i128::from(scale.get())
        - i128::from(asked.times[0]) * i128::from(timescale.context("timescale")?);
    assert_eq!(off, 0, "the event of {} is at {at}", asked.event);
    Ok(())
}
