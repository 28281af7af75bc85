//! Publishers over SRT: real broadcasters on good lines and bad ones, and what the line costs.

use std::time::{Duration, Instant};

use harness::proxy::udp::{Faults, UdpProxy};
use harness::proxy::{Loss, Timing, Way};
use harness::publisher::srt::Srt;
use harness::publisher::{Broadcaster, Source};
use harness::server::{ChannelConfig, LEAD_IN, Server};
use harness::wait::{Look, until};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;
use serde_json::Value;

use crate::absence::one_run;
use crate::examine::{self, Filled};
use crate::faults::ends_with;
use crate::publishers::Taken;

mod doors;
pub(crate) mod neighbours;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// Time for what takes a moment on a machine with much else to do.
const SOON: Duration = Duration::from_secs(20);
/// Segments to look at: 8 to 10 s.
const SEGMENTS: u64 = 5;
const PASSPHRASE: &str = "correct-horse-battery";

/// What the operator's API has of a channel.
fn channel(server: &Server, name: &str) -> Result<Value> {
    let url = server.admin_url(&format!("/api/v1/channels/{name}"));
    serde_json::from_str(&server.client.text(&url)?).context("API")
}

/// Somebody who publishes, and the channel for it.
struct Show {
    channel: ChannelConfig,
    source: Source,
    /// What else is said at the door.
    to: fn(Srt) -> Srt,
}

/// Publishes all of them to one server, each to its channel, and gives what came out.
fn take(shows: Vec<Show>) -> Result<Vec<(Taken, Value)>> {
    let channels: Vec<_> = shows.iter().map(|show| show.channel.clone().with_key("k")).collect();
    let server = Server::start(&channels)?;
    let mut running = Vec::new();
    for Show { channel, source, to } in shows {
        let witness = Witness::start(Watch::new(&server.url(""), &channel.name));
        let publisher = source.publish_srt(&to(server.srt(&channel.name, Some("k"))))?;
        running.push((channel.name, witness, publisher));
    }
    let mut taken = Vec::new();
    for (name, _, publisher) in &mut running {
        let playable = server.wait_playable(name, PLAYABLE_WITHIN);
        publisher.check()?;
        playable?;
    }
    for (name, witness, mut publisher) in running {
        let (first, _) = server.numbers(&name)?;
        server.wait_segment(&name, first + LEAD_IN + SEGMENTS - 1, SOON)?;
        publisher.check()?;
        let record = witness.finish()?;
        let filled = Filled::of(&server, &name)?;
        taken.push(((record, publisher, filled), channel(&server, &name)?));
    }
    server.stop()?;
    Ok(taken)
}

/// Nothing was wrong with the stream, or lost on the line.
fn untouched(told: &Value) {
    assert_eq!(told["source"]["protocol"], "srt", "{told}");
    assert_eq!(told["source"]["transport_faults"], serde_json::json!({}), "{told}");
    assert_eq!(told["link"]["dropped"], 0, "{told}");
}

/// B-frames, an encrypted line, and a clock of 33 bits that turns over within seconds; beside it
/// GStreamer's own multiplexer, packaged as it is.
#[test]
fn ffmpeg_encrypted_and_before_its_clock_turns_over_and_gstreamer_come_out_whole() -> Result {
    let turning = Source::tiny(RATE).with_b_frames(2);
    let turning = turning.with_output_args(&["-output_ts_offset", "95438"]);
    let shows = vec![
        Show {
            channel: ChannelConfig::tiny("turning")
                .patient()
                .with(&format!("passphrase = {PASSPHRASE:?}")),
            source: turning,
            to: |srt| srt.with_passphrase(PASSPHRASE, 256),
        },
        Show {
            channel: ChannelConfig::pass_through("passed"),
            source: Source::tiny(RATE).by(Broadcaster::GStreamer),
            to: |srt| srt.with_stream_id("#!::m=publish,r=live/passed,u=somebody,s=k"),
        },
    ];
    let taken = take(shows)?;
    for ((record, publisher, filled), told) in &taken {
        let ticks = examine::whole(record, publisher, filled).context(&told["name"])?;
        assert!(ticks >= 4, "{ticks} ticks heard");
        one_run(record)?;
        untouched(told);
    }
    let encrypted = |at: usize| taken[at].1["link"]["encryption_bits"].clone();
    assert_eq!((encrypted(0), encrypted(1)), (256.into(), Value::Null));
    assert!(taken[0].1["repairs"]["wrap"].is_null(), "a turn is no fault: {}", taken[0].1);
    Ok(())
}

#[test]
fn mp2_by_srt_live_transmit_and_hevc_come_out_whole() -> Result {
    let mp2 = ["-c:a", "mp2", "-b:a", "192k"];
    let shows = vec![
        Show {
            channel: ChannelConfig::tiny("mp2").patient(),
            source: Source::tiny(RATE).by(Broadcaster::SrtLiveTransmit).with_output_args(&mp2),
            to: |srt| srt.with_latency(Duration::from_millis(200)),
        },
        Show {
            channel: ChannelConfig::pass_through("hevc"),
            source: Source::tiny(RATE).by(Broadcaster::FfmpegHevc),
            to: |srt| srt,
        },
    ];
    let taken = take(shows)?;
    for ((record, publisher, filled), told) in &taken {
        let ticks = examine::whole(record, publisher, filled).context(&told["name"])?;
        assert!(ticks >= 4, "{ticks} ticks heard");
        one_run(record)?;
        untouched(told);
    }
    assert_eq!(taken[0].1["link"]["latency_ms"], 200);
    Ok(())
}

/// 5 % of what goes either way is lost, and each way takes 40 ms.
const LOSSY: Faults = Faults {
    timing: Timing { delay: Duration::from_millis(40), jitter: Duration::ZERO, rate: None },
    loss: Loss { worsen: 0.0, recover: 0.0, good: 0.05, bad: 0.05 },
    duplicate: 0.01,
    reorder: 0.01,
    corrupt: 0.0,
};
/// Four round trips.
const LATENCY: Duration = Duration::from_millis(320);
/// How long everything is lost: longer than the latency covers. A sender that has heard nothing sends all
/// of it again in order, so it may come late and whole, or with holes.
const BURST: Duration = Duration::from_millis(500);
/// A sender gives up what is older than 1.02 s: this long, and something never comes.
const BLACKOUT: Duration = Duration::from_millis(1_500);
/// What is lost before that time begins to count, in bytes: a tenth of a second of picture, however little
/// of its machine the encoder has.
const HIT_BYTES: u64 = 8 * 1024;

/// Loses everything either way for so long, and something for certain; gives how long the line was down.
fn down(proxy: &UdpProxy, length: Duration) -> Result<Duration> {
    let up = || proxy.tally(Way::Up);
    let (begun, before) = (Instant::now(), up().lost_bytes);
    proxy.set_both(Faults { loss: Loss::ALL, ..LOSSY });
    until("losses of a line that is down", SOON, || {
        let lost = up().lost_bytes - before;
        Ok(Look::at((lost >= HIT_BYTES).then_some(()), format!("{lost} bytes lost")))
    })?;
    // All but the time in which so much is sent.
    std::thread::sleep(length.saturating_sub(Duration::from_millis(100)));
    let carried = up().passed;
    proxy.set_both(LOSSY);
    until("line that carries again", SOON, || {
        Ok(Look::at((up().passed > carried).then_some(()), "nothing is carried"))
    })?;
    Ok(begun.elapsed())
}

/// Whether something never came, as the connection has it and the transport stream.
fn holes(server: &Server) -> Result<(bool, bool)> {
    let told = channel(server, "a")?;
    let some = |count: &Value| count.as_u64() > Some(0);
    println!("{} {}", told["link"], told["source"]["transport_faults"]);
    Ok((some(&told["link"]["dropped"]), some(&told["source"]["transport_faults"]["lost"])))
}

/// How many pictures of these don't follow the one before.
fn odd(part: &[Option<u64>]) -> u64 {
    let follows =
        |pair: &[Option<u64>]| pair[0].zip(pair[1]).is_some_and(|(one, next)| next == one + 1);
    part.windows(2).filter(|pair| !follows(pair)).count() as u64
}

/// Publishes over a lossy line for a while, then loses all of it for a moment, and for longer.
pub(crate) fn lossy(goes_on: Duration) -> Result {
    let server = Server::start(&[ChannelConfig::tiny("a").patient()])?;
    let proxy = UdpProxy::start(server.srt, 5)?;
    proxy.set_both(LOSSY);
    let witness = Witness::start(Watch::new(&server.url(""), "a"));
    let to = Srt::to(proxy.listen, "a", None).with_latency(LATENCY);
    // Twice a second a picture that needs no other: what a burst costs is the wait for it too.
    let source = Source { gop: 12, ..Source::tiny(RATE).with_b_frames(2) };
    let mut publisher = source.publish_srt(&to)?;
    server.wait_playable("a", PLAYABLE_WITHIN)?;
    let begun = Instant::now();
    until("end of the lossy time", goes_on + SOON, || {
        let segments = server.wait_more("a", 1).map(|()| begun.elapsed());
        Ok(Look::at(segments.ok().filter(|elapsed| *elapsed >= goes_on), "it goes on"))
    })?;
    publisher.check()?;
    let (lost, passed) = (proxy.tally(Way::Up).lost, proxy.tally(Way::Up).passed);
    assert!(lost * 100 > passed * 3, "the line lost {lost} beside {passed}");
    let (before, filled) = (channel(&server, "a")?, Filled::of(&server, "a")?);
    untouched(&before);
    let link = &before["link"];
    assert!(link["retransmitted"].as_u64() > Some(lost / 2), "{link} of {lost}");
    assert!(link["rtt_ms"].as_f64().is_some_and(|rtt| (80.0..240.0).contains(&rtt)), "{link}");

    // Each long enough behind the one before that not a frame of that is touched.
    let mut ends = Vec::new();
    for length in [BURST, BLACKOUT] {
        let from = publisher.frames();
        server.wait_more("a", 2)?;
        ends.push((from, down(&proxy, length)?));
        server.wait_more("a", 2)?;
        publisher.check()?;
        let (dropped, lost) = holes(&server)?;
        assert_eq!(dropped, lost, "what the connection drops is missing in the stream");
        assert!(dropped || length == BURST, "{length:?} without a line did no harm");
    }
    server.wait_more("a", 1)?;

    let record = witness.finish()?;
    record.clean()?;
    one_run(&record)?;
    let feed = publisher.feed();
    for track in record.tracks.iter().filter(|t| !t.rendition.audio) {
        let name = &track.rendition.name;
        let frames = examine::frames(track)?;
        // A picture decoded without the one it refers to may bear no mark that can be read.
        let seen: Vec<_> = frames.iter().map(|f| f.mark.and_then(|m| feed.frame_of(m))).collect();
        let place = |of: u64| seen.iter().position(|s| *s >= Some(of)).context("a picture");
        let settled = place(u64::from(RATE.num))?;
        let excused = filled.excused(&publisher, seen.len() as u64);
        let mut until = seen.len();
        for (from, down) in ends.iter().rev() {
            let from = place(*from)?;
            let cost = odd(&seen[from..until]);
            // A second, and what the line was down for beyond the half that was meant.
            let meant = if *down < BLACKOUT { BURST } else { Duration::ZERO };
            let bound = Duration::from_secs(1) + down.saturating_sub(meant);
            let most = (bound.as_secs_f64() * f64::from(RATE.num)).ceil() as u64;
            println!("{name}: {down:?} without a line cost {cost} pictures");
            assert!(cost <= most + excused, "{name}: {down:?} without a line cost {cost} pictures");
            until = from;
        }
        let lossy = odd(&seen[settled..until]);
        assert!(lossy <= excused, "{name}: {lossy} pictures of the lossy time don't follow");
    }
    Ok(())
}

#[test]
fn five_percent_of_loss_at_eighty_milliseconds_loses_nothing_and_a_burst_at_most_a_second() -> Result
{
    lossy(Duration::from_secs(8))
}
