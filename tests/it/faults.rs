//! Faults of the source: viewers see a still picture at most, and never a discontinuity.

use std::time::Duration;

use harness::proxy::tcp::{Faults, TcpProxy};
use harness::publisher::relay::{Body, Edit, Relay, Tag};
use harness::publisher::{Publisher, Source};
use harness::reader::full_mark;
use harness::server::{ChannelConfig, Server, publish_url};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Result};
use packager::time::FrameRate;

use crate::examine;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(10);

/// Nothing was broken, and all is one run.
pub(crate) fn one_run(record: &Record) -> Result {
    record.clean()?;
    crate::absence::one_run(record)
}

/// Publishes through a relay and examines that few of the source's frames were lost or doubled.
fn survives(edit: Edit, segments: u64, most_odd: u64) -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let relay = Relay::start(Source::tiny(RATE), &server.rtmp.to_string(), "a", edit)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", segments)?;
    assert!(relay.is_running(), "the source was thrown out:\n{}", server.log());
    let record = witness.finish()?;
    one_run(&record)?;
    let feed = relay.publisher().feed();
    for track in record.tracks.iter().filter(|t| !t.rendition.audio) {
        let shown = examine::decoded(track, feed)?;
        let moving = examine::settled(&shown, feed);
        let mut odd = 0;
        for pair in moving.windows(2) {
            let step = i128::from(pair[1].source) - i128::from(pair[0].source);
            assert!(step >= 0, "the picture goes back from {} by {step}", pair[0].source);
            odd += (step - 1).unsigned_abs();
        }
        let name = &track.rendition.name;
        let most = most_odd + relay.publisher().excused(shown.len() as u64);
        assert!(odd <= u128::from(most), "{name}: {odd} frames lost or doubled");
    }
    Ok(())
}

/// Moves the times of everything after `from_ms` by `shift_ms`, modulo 2^32.
fn shifted(from_ms: u32, shift_ms: u32) -> Edit {
    Box::new(move |mut tag: Tag| {
        if tag.at_ms >= from_ms {
            tag.at_ms = tag.at_ms.wrapping_add(shift_ms);
        }
        vec![tag]
    })
}

#[test]
fn a_source_whose_times_jump_ahead_by_an_hour_goes_on() -> Result {
    survives(shifted(4_000, 3_600_000), 4, 4)
}

#[test]
fn a_source_whose_times_start_anew_goes_on() -> Result {
    survives(shifted(4_000, 4_000_u32.wrapping_neg()), 4, 4)
}

#[test]
fn cb_17_a_source_whose_32_bit_clock_wraps_goes_on_without_a_trace() -> Result {
    survives(shifted(0, 4_000_u32.wrapping_neg()), 4, 0)
}

#[test]
fn sound_alone_for_three_seconds_is_waited_out() -> Result {
    let mut config = None;
    let mut seen_key = false;
    let edit: Edit = Box::new(move |tag: Tag| match tag.body {
        Body::VideoConfig(_) if !seen_key => {
            config = Some(tag);
            vec![]
        }
        Body::Video { key, .. } if !seen_key => {
            seen_key = key && tag.at_ms >= 3_000;
            if seen_key { config.take().into_iter().chain([tag]).collect() } else { vec![] }
        }
        _ => vec![tag],
    });
    survives(edit, 4, 0)
}

#[test]
fn a_second_publisher_of_another_size_takes_over_in_the_same_run() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut first = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", 2)?;
    first.check()?;
    let second = Source::tiny(FrameRate::new(30, 1)).with_size(480, 270).publish(&url)?;
    first.wait(Duration::from_secs(15)).context("the first publisher is told to end")?;
    server.wait_more("a", 4)?;
    one_run(&witness.finish()?).map(drop)?;
    ends_with(&server, &second)
}

#[test]
fn a_publisher_back_within_hold_goes_on_in_the_same_run() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient().with_key("k")])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let url = server.publish_url("a", Some("k"));
    let mut first = Source::tiny(RATE).publish(&url)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    first.kill();
    server.wait_state("a", "holding", Duration::from_secs(10))?;
    // Slate on time while nobody publishes.
    server.wait_more("a", 2)?;
    let second = Source::tiny(RATE).publish(&url)?;
    server.wait_more("a", 4)?;
    one_run(&witness.finish()?)?;
    ends_with(&server, &second)
}

#[test]
fn a_path_that_becomes_slower_by_400_ms_costs_less_than_a_second_of_frames() -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let proxy = TcpProxy::start(server.rtmp, 1)?;
    let mut publisher = Source::tiny(RATE).publish(&publish_url(proxy.listen, "a", None))?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    server.wait_more("a", 2)?;
    proxy.set_both(Faults::late(Duration::from_millis(400)));
    server.wait_more("a", 4)?;
    publisher.check()?;
    let record = witness.finish()?;
    one_run(&record)?;
    // The buffer grows in steps, each with a picture that stands.
    let second = u64::from(RATE.num);
    for track in record.tracks.iter().filter(|t| !t.rendition.audio) {
        let shown = examine::decoded(track, publisher.feed())?;
        examine::every_frame_once(&shown, publisher.feed(), second)?;
    }
    Ok(())
}

/// How long a publisher's first pictures may take to a finished segment, where an encoder of his has to
/// start on a machine that others use.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

/// The newest segments come to show what this publisher sends and nothing else.
pub(crate) fn ends_with(server: &Server, publisher: &Publisher) -> Result {
    let began = publisher.feed().start_ms;
    until("pictures of the publisher", SHOWN_WITHIN, || {
        let frames = examine::newest(server, "a")?;
        let marks = frames.iter().map(|frame| Some(full_mark(frame.mark?, began)));
        let oldest = marks.collect::<Option<Vec<_>>>().context("a mark")?.into_iter().min();
        let shown = oldest.is_some_and(|mark| mark >= began);
        Ok(Look::at(shown.then_some(()), format!("{oldest:?} is shown, it began at {began}")))
    })
}
