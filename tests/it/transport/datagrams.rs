//! Channels that take their source from datagrams.

use std::net::UdpSocket;

use harness::dice::Dice;

use super::*;

/// Longer than a door waits before it tries to open again.
const SOON: Duration = Duration::from_secs(25);

/// A port on which nobody listens.
fn free_port() -> Result<u16> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("a port")?;
    Ok(socket.local_addr().context("a port")?.port())
}

/// One encoder sends to two channels, a ladder by UDP and a passed source by RTP, and a third channel
/// gets the same stream with damage in it; every picture of the two comes out once, at its time. A fourth
/// can't listen where another program does, says so, and takes the port when it is free.
#[test]
fn datagrams_come_out_whole_beside_a_channel_whose_datagrams_are_damaged() -> Result {
    let (udp, rtp, damaged) = (free_port()?, free_port()?, free_port()?);
    let taken = UdpSocket::bind("127.0.0.1:0").context("a port")?;
    let place = taken.local_addr().context("a port")?;
    let source = |url: String| format!("source = {url:?}");
    let server = Server::start(&[
        ChannelConfig::tiny("a")
            .with_ladder(&["96p"])
            .patient()
            .with(&source(format!("udp://127.0.0.1:{udp}"))),
        ChannelConfig::pass_through("b").with(&source(format!("rtp://127.0.0.1:{rtp}"))),
        ChannelConfig::pass_through("c").with(&source(format!("udp://127.0.0.1:{damaged}"))),
        ChannelConfig::pass_through("d").with(&source(format!("udp://{place}"))),
    ])?;
    let trouble = |words: Option<&str>| {
        until("trouble of a door", SOON, || {
            let said = server.status("d")?["last_error"].clone();
            let is_so = match (said.as_str(), words) {
                (Some(said), Some(words)) => said.contains(words),
                (said, words) => said == words,
            };
            Ok(Look::at(is_so.then_some(()), said.to_string()))
        })
    };
    trouble(Some("can't listen: Address already in use"))?;
    drop(taken);
    let witnesses = ["a", "b"].map(|name| Witness::start(Watch::new(&server.url(""), name)));
    let vandal = Vandal::between(free_port()?, damaged)?;
    let to = format!(
        "[f=mpegts:pes_payload_size=0]udp://127.0.0.1:{udp}?pkt_size=1316|\
         [f=rtp_mpegts]rtp://127.0.0.1:{rtp}?pkt_size=1328|\
         [f=mpegts]udp://127.0.0.1:{}?pkt_size=1316",
        vandal.port
    );
    let mut publisher = Source::tiny(RATE).with_b_frames(2).publish(&to)?;
    for name in ["a", "b"] {
        let playable = server.wait_playable(name, Duration::from_secs(15));
        publisher.check()?;
        playable.context(name)?;
        let (first, _) = server.numbers(name)?;
        server.wait_segment(name, first + LEAD_IN + 4, Duration::from_secs(25))?;
    }
    until("damage that is told", Duration::from_secs(10), || {
        let status = server.status("c")?;
        let lost = status["source"]["transport_faults"]["lost"].as_u64();
        Ok(Look::at(lost.filter(|lost| *lost > 10), status.to_string()))
    })?;
    publisher.check()?;
    let status = server.status("b")?;
    assert_eq!(status["source"]["protocol"], "rtp", "{status}");
    assert_eq!(status["source"]["transport_faults"], serde_json::json!({}), "{status}");
    for (name, witness) in ["a", "b"].into_iter().zip(witnesses) {
        let record = witness.finish()?;
        let filled = examine::Filled::of(&server, name)?;
        let ticks = examine::whole(&record, &publisher, &filled).context(name)?;
        assert!(ticks >= 3, "{name}: {ticks} ticks heard");
        absence::one_run(&record).context(name)?;
    }
    trouble(None)?;
    drop(vandal);
    publisher.kill();
    server.stop()
}

/// Stands between a sender and a channel and damages a third of the datagrams.
struct Vandal {
    port: u16,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Vandal {
    fn between(port: u16, to: u16) -> Result<Self> {
        let from = UdpSocket::bind(("127.0.0.1", port)).context("a port")?;
        from.set_read_timeout(Some(Duration::from_millis(100))).context("a bound")?;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut dice, mut room) = (Dice::new(11), [0; 2048]);
            while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok(length) = from.recv(&mut room) else { continue };
                let datagram = &mut room[..length];
                if dice.hits(0.1) {
                    continue;
                }
                if dice.hits(0.3) {
                    for _ in 0..20 {
                        let at = dice.below(length as u64) as usize;
                        datagram[at] = dice.below(256) as u8;
                    }
                }
                // Nobody may be there yet.
                let _ = from.send_to(datagram, ("127.0.0.1", to));
            }
        });
        Ok(Self { port, stop, thread: Some(thread) })
    }
}

impl Drop for Vandal {
    fn drop(&mut self) {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
