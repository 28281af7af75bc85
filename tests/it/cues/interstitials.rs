//! Interstitials in a player: hls.js asks for the list of what to play in place of a break, plays it from the
//! splice's frame on, and comes back to the programme, no further behind than it was.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use harness::clock::now_ms;
use harness::player::{Jump, Library, Player, Report, Stage, Stall};
use harness::publisher::Source;
use harness::reader::hls;
use harness::server::{ChannelConfig, Server};
use harness::wait::{Look, until};
use harness::{Context, Result, rules};
use packager::time::{FrameRate, Timescale, Timestamp, iso};
use serde_json::Value;

use super::{PLAYABLE_WITHIN, cue_of};

const RATE: FrameRate = FrameRate::new(30, 1);
/// How long the advertisement's publisher is there.
const RECORDED: Duration = Duration::from_secs(6);
/// From the asking to the break.
const AHEAD_MS: u64 = 7_000;
/// After so long a break of the advertisement's length is ended early.
const EARLY: Duration = Duration::from_secs(3);
/// hls.js seeks over holes of a moment where it is back: an advertisement's sound and picture end where they
/// end, and not with the programme's segment that it goes on with.
const SETTLES_WITHIN_MS: u64 = 5_000;
/// How long it may stand before it seeks over a hole: it looks for one after 1.25 s, nudges the picture on
/// after 2 s, and has twice that on a machine that is shared.
const BEFORE_A_HOLE_MS: u64 = 4_000;
/// Players tell what they do at most so long after they do it, on a machine that is shared.
const TOLD_WITHIN_MS: f64 = 700.0;

/// The next time on a frame that is so far ahead.
fn ahead() -> u64 {
    (now_ms() + AHEAD_MS) / 100 * 100
}

/// Asks for a break of `seconds` at a time; gives the answer.
fn out(server: &Server, at_ms: u64, seconds: f64) -> Result<Value> {
    let at = iso(Timestamp::new(at_ms.cast_signed(), Timescale::MILLIS));
    let order = ["out", "--at", &at, "--duration", &seconds.to_string()];
    let (answer, done) = cue_of(server, "a", &order)?;
    assert!(done, "{answer}");
    Ok(answer)
}

/// When a player did this about the interstitial called `id`: on the clock, and by the programme's date.
fn when(report: &Report, what: &str, id: &str) -> Option<(u64, Option<f64>)> {
    let ad = report.ads.iter().find(|ad| ad.what == what && ad.id == id)?;
    Some((ad.at_ms, ad.date_ms))
}

/// Waits until a player is back from an interstitial.
fn back(player: &Player, id: &str) -> Result<Report> {
    until("the programme again", Duration::from_secs(60), || {
        let report = player.report()?;
        let is_over = when(&report, "over", id).is_some();
        Ok(Look::at(is_over.then(|| report.clone()), format!("{report:?}")))
    })
}

#[test]
fn hls_js_plays_what_it_finds_in_place_of_a_break_and_comes_back() -> Result {
    let stage = Stage::open()?;
    let list = stage.offer(&[])?;
    let query = "break={id}&duration={duration}&section={section}";
    let cues = format!("[channel.cues]\nasset_list = \"{list}?{query}\"");
    let channel = |name| ChannelConfig::tiny(name).with_ladder(&["96p"]);
    let server =
        Server::start(&[channel("ad").with("hold = \"1s\""), channel("a").patient().with(&cues)])?;
    // An advertisement is a channel that is over.
    let advertiser = Source::tiny(RATE).publish(&server.publish_url("ad", None))?;
    let mut publisher = Source::tiny(RATE).publish(&server.publish_url("a", None))?;
    server.wait_playable("ad", PLAYABLE_WITHIN)?;
    let goal = RECORDED.as_secs() * 30;
    until("the advertisement", RECORDED * 4, || {
        let made = advertiser.frames();
        Ok(Look::at((made > goal).then_some(()), format!("{made} pictures")))
    })?;
    advertiser.finish()?;
    server.wait_state("ad", "ended", Duration::from_secs(20))?;
    let asset = server.url("/live/ad/index.m3u8");
    let lists = hls::fetch(&server.client, &asset)?;
    let seconds: f64 = lists[0].1.objects.iter().map(|object| object.duration).sum();
    // Requests are read in milliseconds.
    let seconds = (seconds * 1_000.0).round() / 1_000.0;
    assert!(lists.iter().all(|(_, list)| list.ended), "an asset is whole");
    stage.offer(&[(asset, seconds)])?;

    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let player = Player::start(&stage, Library::HlsJs, &server.url(""), "a")?;
    player.wait_started(PLAYABLE_WITHIN)?;
    let begins = ahead();
    let answer = out(&server, begins, seconds)?;
    let cue = &answer["cues"][0];
    assert_eq!(cue["start_ms"], begins, "{answer}");
    let id = format!("{}-ads", cue["id"].as_str().context("id")?);
    let before = until("a second of the programme", Duration::from_secs(20), || {
        let report = player.report()?;
        let behind = report.behind_ms.filter(|_| report.played_seconds > 2.0);
        Ok(Look::at(behind, format!("{report:?}")))
    })?;
    let report = back(&player, &id)?;
    println!("{seconds} s of advertisement: {:#?}", report.ads);
    let (begun, date) = when(&report, "begun", &id).context("a beginning")?;
    let (over, _) = when(&report, "over", &id).context("an end")?;
    let off = date.context("a date")? - begins as f64;
    assert!((-100.0..TOLD_WITHIN_MS).contains(&off), "it begins {off} ms behind the splice");
    let lasted = (over - begun) as f64;
    assert!((lasted - seconds * 1_000.0).abs() < TOLD_WITHIN_MS, "it lasted {lasted} ms");
    // What was asked for tells of the break, with its section.
    let asked = stage.asked()?;
    let section = answer["section"].as_str().context("section")?;
    let section = URL_SAFE_NO_PAD.encode(STANDARD.decode(section).context("base64")?);
    let told = format!(
        "?break={}&duration={seconds:.5}&section={section}",
        cue["id"].as_str().context("id")?
    );
    assert!(asked.iter().any(|query| query.starts_with(&told)), "{told}: {asked:?}");
    // Once; and for nothing but its last instant where hls.js lands within that on its way back.
    let resumed = asked.iter().filter_map(|query| query.split_once("&_HLS_start_offset="));
    let resumed: Vec<f64> = resumed.filter_map(|(_, offset)| offset.parse().ok()).collect();
    assert_eq!(asked.len() - resumed.len(), 1, "asked for once: {asked:?}");
    assert!(resumed.iter().all(|offset| *offset > seconds - 0.1), "{asked:?}");

    // Another that the operator ends while it is on: what was left of it is not played.
    let begins = ahead();
    let answer = out(&server, begins, seconds)?;
    let id = format!("{}-ads", answer["cues"][0]["id"].as_str().context("id")?);
    until("a second interstitial", Duration::from_secs(60), || {
        let report = player.report()?;
        let begun =
            when(&report, "begun", &id).is_some() && now_ms() > begins + EARLY.as_millis() as u64;
        Ok(Look::at(begun.then_some(()), format!("{report:?}")))
    })?;
    assert!(cue_of(&server, "a", &["in"])?.1);
    let report = back(&player, &id)?;
    println!("ended early: {:#?}", report.ads);
    let (begun, _) = when(&report, "begun", &id).context("a beginning")?;
    let (over, _) = when(&report, "over", &id).context("an end")?;
    assert!(over - begun < (seconds * 1_000.0) as u64 - 1_000, "{} ms", over - begun);
    assert!(report.ads.iter().all(|ad| ad.what != "asset failed"), "{:#?}", report.ads);

    player.wait_played(player.played()? + Duration::from_secs(3), Duration::from_secs(30))?;
    let report = player.report()?;
    let settles = |at: u64| {
        let mut ends = report.ads.iter().filter(|ad| ad.what == "over");
        ends.any(|end| (end.at_ms..end.at_ms + SETTLES_WITHIN_MS).contains(&at))
    };
    // Each on its own: a report is longer than what is left of a log.
    println!("stalls {:?}, jumps {:?}, {:?}", report.stalls, report.jumps, report.latency_ms);
    // What it seeks over it first stands before: how long is a matter of when it looks.
    let theirs = |stall: &Stall| {
        stall.is_the_browsers() || (settles(stall.at_ms) && stall.lasted_ms <= BEFORE_A_HOLE_MS)
    };
    let stood: Vec<&Stall> = report.stalls.iter().filter(|stall| !theirs(stall)).collect();
    assert!(stood.is_empty(), "{stood:?}, {:?}", report.ads);
    let jumped: Vec<&Jump> = report.jumps.iter().filter(|jump| !settles(jump.at_ms)).collect();
    assert!(jumped.is_empty(), "{jumped:?}, {:?}", report.ads);
    assert_eq!((report.reloads, report.ended, &report.fatal), (0, false, &vec![]));
    let after = report.behind_ms.context("a date")?;
    println!("{before:.0} ms behind before, {after:.0} ms after");
    assert!((after - before).abs() < 1_500.0, "{before} ms behind before, {after} ms after");
    for (rendition, _) in hls::fetch(&server.client, &server.url("/live/a/index.m3u8"))? {
        let text = server.client.text(&rendition.url)?;
        assert_eq!(rules::hls::check_media(&text), [], "{text}");
        assert!(text.contains(",X-PLAYOUT-LIMIT="), "{text}");
    }
    publisher.check()?;
    server.stop()
}
