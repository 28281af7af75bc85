//! Channels side by side: what one publisher sends, and how it comes and goes, is nothing to others.

use std::sync::atomic::{AtomicBool, Ordering};

use harness::hostile::srt as hostile;
use harness::witness::machine;

use super::*;

/// Three in ten datagrams have a bit turned over: mostly in the transport stream, now and then in the
/// headers of SRT.
const MUTATING: Faults = Faults {
    timing: Timing { delay: Duration::ZERO, jitter: Duration::ZERO, rate: None },
    loss: Loss { worsen: 0.0, recover: 0.0, good: 0.0, bad: 0.0 },
    duplicate: 0.0,
    reorder: 0.0,
    corrupt: 0.3,
};
const EVERY: Duration = Duration::from_secs(5);
/// How much longer it may go on until all handshakes are sent and a fault is seen.
const AT_MOST: u32 = 6;

/// Two SRT and two RTMP channels: one of the first is sent mutated streams, one of the second loses
/// its publisher every five seconds, and strangers throw broken handshakes at the SRT port.
pub(crate) fn side_by_side(goes_on: Duration, handshakes: u64) -> Result {
    let one_rung = |name| ChannelConfig::tiny(name).patient().with_ladder(&["96p"]).with_key("k3y");
    let server = Server::start(&["srt", "mutated", "rtmp", "killed"].map(one_rung))?;
    let srt = server.srt("srt", Some("k3y"));
    let proxy = UdpProxy::start(server.srt, 7)?;
    let mutated = Srt::to(proxy.listen, "mutated", Some("k3y"));
    let killed = server.publish_url("killed", Some("k3y"));
    let good = [
        ("srt", Source::tiny(RATE).publish_srt(&srt)?),
        ("rtmp", Source::tiny(RATE).publish(&server.publish_url("rtmp", Some("k3y")))?),
    ];
    let mut witnesses = Vec::new();
    for (name, _) in &good {
        server.wait_playable(name, PLAYABLE_WITHIN)?;
        witnesses.push(Witness::start(Watch::new(&server.url(""), name)));
    }
    let mut liar = Source::tiny(RATE).publish_srt(&mutated)?;
    server.wait_playable("mutated", PLAYABLE_WITHIN)?;
    proxy.set(Way::Up, MUTATING);

    let begun = Instant::now();
    let stop = AtomicBool::new(false);
    let faults = std::thread::scope(|scope| {
        let assault = scope.spawn(|| hostile::assault(server.srt, 13, handshakes, &stop));
        let mut faults = 0;
        // Most of what is turned over is in pictures, where a demultiplexer does not see it.
        let lasts = |faults| faults == 0 || !assault.is_finished();
        while begun.elapsed() < goes_on || (lasts(faults) && begun.elapsed() < goes_on * AT_MOST) {
            let mut publisher = Source::tiny(RATE).publish(&killed)?;
            let until = Instant::now() + EVERY;
            while Instant::now() < until {
                // A broken header may end its connection, and encoders come back.
                if liar.exited().is_some() {
                    liar = Source::tiny(RATE).publish_srt(&mutated)?;
                }
                let told = channel(&server, "mutated")?["source"]["transport_faults"].clone();
                faults = told.as_object().map_or(0, serde_json::Map::len).max(faults);
                std::thread::sleep(Duration::from_millis(200));
            }
            publisher.kill();
        }
        stop.store(true, Ordering::Relaxed);
        let sent = assault.join().map_err(|_| Failure::new("the assault panicked"))??;
        assert!(sent.answered > 0, "the port did not answer strangers: {sent:?}");
        assert!(sent.sent >= handshakes, "of {handshakes}: {sent:?}");
        println!("{sent:?}");
        Ok::<_, Failure>(faults)
    })?;
    assert!(proxy.tally(Way::Up).corrupted > 100, "{:?}", proxy.tally(Way::Up));
    assert!(faults > 0, "nothing was wrong with what was mutated");
    for ((name, mut publisher), witness) in good.into_iter().zip(witnesses) {
        publisher.check()?;
        let record = witness.finish()?;
        record.clean().context(name)?;
        one_run(&record).context(name)?;
        let filled = Filled::of(&server, name)?;
        for track in record.tracks.iter().filter(|t| !t.rendition.audio) {
            examine::continuous(track, &publisher, &filled).context(name)?;
        }
    }
    let found = machine::log(&server.log(), &["k3y"]);
    assert!(found.is_empty(), "{found:#?}");
    server.stop()
}

#[test]
fn mutated_streams_broken_handshakes_and_killed_publishers_leave_the_neighbours_alone() -> Result {
    side_by_side(Duration::from_secs(15), 20_000)
}

/// A publisher says that all packets there can be are not sent any more, and libsrt walks through all
/// their numbers on the thread that serves everybody; and whatever else control packets can say.
#[test]
fn control_packets_of_a_publisher_leave_its_neighbours_alone() -> Result {
    let lasts = Duration::from_secs(6);
    let passed = |name| ChannelConfig::pass_through(name).with_key("k3y");
    let server = Server::start(&["good", "liar"].map(passed))?;
    let proxy = UdpProxy::start(server.srt, 7)?;
    let mut good = Source::tiny(RATE).publish_srt(&server.srt("good", Some("k3y")))?;
    server.wait_playable("good", PLAYABLE_WITHIN)?;
    let witness = Witness::start(Watch::new(&server.url(""), "good"));
    let lying = Srt::to(proxy.listen, "liar", Some("k3y"));
    let mut liar = Source::tiny(RATE).publish_srt(&lying)?;
    server.wait_playable("liar", PLAYABLE_WITHIN)?;

    proxy.forge(hostile::withdrawal);
    let (first, _) = server.numbers("good")?;
    server.wait_segment("good", first + LEAD_IN + SEGMENTS, SOON)?;
    assert!(proxy.tally(Way::Up).forged > 100, "{:?}", proxy.tally(Way::Up));
    liar.check().context("what it withdraws is its own affair")?;

    proxy.forge(hostile::lie);
    let until = Instant::now() + lasts;
    while Instant::now() < until {
        // What it says may end its connection, and encoders come back.
        if liar.exited().is_some() {
            liar = Source::tiny(RATE).publish_srt(&lying)?;
        }
        good.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
    let record = witness.finish()?;
    one_run(&record)?;
    examine::whole(&record, &good, &Filled::of(&server, "good")?)?;
    let found = machine::log(&server.log(), &["k3y"]);
    assert!(found.is_empty(), "{found:#?}");
    server.stop()
}
