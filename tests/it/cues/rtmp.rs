//! Ad breaks in the data messages of RTMP: in its own words, as a section, and asked for by an operator. All
//! three are one break, cut on the picture that their time names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use harness::publisher::Source;
use harness::publisher::relay::{Body, Relay, Tag};
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Result};
use ingest::rtmp::amf0::Value;
use packager::scte35::Section;
use packager::scte35::section::{BreakDuration, Command, Insert, Splice, SpliceTime};
use packager::time::{FrameRate, Timestamp, iso};

use super::{PLAYABLE_WITHIN, cue_of, first_mark, shown, tag};

const RATE: FrameRate = FrameRate::new(30, 1);
const FRAME: i64 = 3_000;
const EVENT: u32 = 31;
/// Seconds that the break lasts.
const LASTS: f64 = 5.0;
/// From the newest segment to the break, in pictures: the test counts meanwhile.
const AHEAD: u64 = 7 * 30 + 1;

/// What the test has to say, and when the stream's first picture was, in milliseconds.
#[derive(Default)]
struct Wire {
    waiting: Vec<Body>,
    first_ms: Option<u32>,
}

/// `onAdCue` with these members.
fn ad_cue(cue: &str, kind: &str, seconds: f64) -> Body {
    let members = [
        ("cue", Value::string(cue)),
        ("type", Value::string(kind)),
        ("id", Value::Number(f64::from(EVENT))),
        ("duration", Value::Number(LASTS)),
        ("time", Value::Number(seconds)),
        ("elapsed", Value::Number(0.0)),
    ];
    let members = members.map(|(name, value)| (name.to_owned(), value));
    Body::Data { name: "onAdCue".to_owned(), values: vec![Value::Object(members.into())] }
}

/// The same as a section, whose own time is of another clock.
fn section() -> Result<String> {
    let splice = Splice {
        out: true,
        compliance: true,
        time: SpliceTime::Program(Some(4_711)),
        duration: Some(BreakDuration { auto_return: true, ticks: 5 * 90_000 }),
        program_id: 1,
        avail: 0,
        avails: 0,
    };
    let insert = Insert { event_id: EVENT, splice: Some(splice) };
    let bytes = Section::new(Command::Insert(insert), Vec::new()).encode();
    Ok(STANDARD.encode(bytes.context("a section")?))
}

#[test]
fn a_break_that_comes_by_three_ways_is_one_and_cut_on_the_picture_it_names() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").with_ladder(&["96p"]).patient()])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let wire = Arc::<Mutex<Wire>>::default();
    let shared = Arc::clone(&wire);
    let edit = move |tag: Tag| {
        let mut wire = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(tag.body, Body::Video { .. }) {
            return vec![tag];
        }
        wire.first_ms.get_or_insert(tag.at_ms);
        let data = wire.waiting.drain(..).map(|body| Tag { at_ms: tag.at_ms, body });
        data.chain([tag.clone()]).collect()
    };
    let relay = Relay::start(Source::tiny(RATE), &server.rtmp.to_string(), "a", Box::new(edit))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", 1)?;
    let feed = relay.publisher().feed();
    let (now, picture) = shown(&server, feed)?;
    let (at, picture) = (now + AHEAD.cast_signed() * FRAME, picture + AHEAD);
    let section = section()?;
    {
        let mut wire = wire.lock().unwrap_or_else(PoisonError::into_inner);
        let first = wire.first_ms.context("a picture")?;
        let millis = u64::from(first) + feed.mark_of(picture) - feed.start_ms;
        let seconds = millis as f64 / 1_000.0;
        wire.waiting.push(ad_cue("SpliceOut", "", seconds));
        wire.waiting.push(ad_cue(&section, "scte35", seconds));
    }
    let known = || -> Result<serde_json::Value> {
        let text = server.client.text(&server.admin_url("/api/v1/channels/a/cues"))?;
        serde_json::from_str(&text).context(text.clone())
    };
    until("both messages", Duration::from_secs(10), || {
        let known = known()?;
        let heard = known["log"].as_array().is_some_and(|log| log.len() == 2);
        Ok(Look::at(heard.then_some(()), known.to_string()))
    })?;
    let (event, date, lasts) =
        (EVENT.to_string(), iso(Timestamp::new(at, RATE.timescale())), LASTS.to_string());
    let order = ["out", "--event", &event, "--at", &date, "--duration", &lasts];
    assert!(cue_of(&server, "a", &order)?.1);
    let known = known()?;
    let told = known["log"].as_array().context("log")?.iter();
    let told = told.map(|entry| (entry["from"].as_str(), entry["outcome"]["what"].as_str()));
    let expected = [("rtmp", "accepted"), ("rtmp", "repeated"), ("api", "repeated")];
    assert!(told.eq(expected.map(|(from, what)| (Some(from), Some(what)))), "{known}");
    assert_eq!(known["cues"].as_array().map(Vec::len), Some(1), "{known}");
    let cue = &known["cues"][0];
    assert_eq!((cue["start"].as_str(), &cue["moved"]), (Some(&*date), &serde_json::Value::Null));
    let k = cue["segment"].as_u64().context("segment")?;
    server.wait_segment("a", k, Duration::from_secs(40))?;
    for (rendition, list) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        let said = tag(&text, cue["id"].as_str().context("id")?)?;
        assert!(said.starts_with(&format!("START-DATE=\"{date}\"")), "{said}");
        let object = list.objects.iter().find(|object| object.k == k).context("listed")?;
        if !rendition.audio {
            assert_eq!(feed.frame_of(first_mark(&server, object)?), Some(picture));
        }
    }
    assert!(relay.is_running(), "the publisher is there");
    witness.finish()?.clean()?;
    server.stop()
}
