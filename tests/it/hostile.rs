//! Hostile peers by the thousand beside two live channels, which notice nothing.

use std::time::Duration;

use harness::hostile;
use harness::process::tree::Usage;
use harness::proxy::tcp::TcpProxy;
use harness::publisher::{Publisher, Source};
use harness::server::{ChannelConfig, Server, publish_url};
use harness::wait::{Look, until};
use harness::witness::machine::{self, Machine};
use harness::witness::{Watch, Witness};
use harness::{Context, Failure, Result};
use packager::time::FrameRate;

const RATE: FrameRate = FrameRate::new(25, 1);
const PLAYABLE_WITHIN: Duration = Duration::from_secs(15);
/// The seed of all that is hostile here.
const SEED: u64 = 11;
/// What a silent peer is given at the most.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// How much is recorded of a real session: some seconds of a small one.
const RECORDED_BYTES: usize = 200_000;

/// Memory that 2,000 strangers may cost: 64 KiB each, and what the allocator loses.
const STRANGERS_BYTES: u64 = 256 << 20;

/// Two channels under the eyes of a witness each, and one to be attacked.
struct Town {
    server: Server,
    neighbours: Vec<(Publisher, Witness)>,
}

impl Town {
    fn found() -> Result<Self> {
        let tiny = |name| ChannelConfig::tiny(name).with_key("k3y").with_ladder(&["96p"]);
        let server = Server::start(&["one", "two", "bad"].map(tiny))?;
        let mut neighbours = Vec::new();
        for name in ["one", "two"] {
            let publisher = Source::tiny(RATE).publish(&server.publish_url(name, Some("k3y")))?;
            server.wait_playable(name, PLAYABLE_WITHIN)?;
            neighbours.push((publisher, Witness::start(Watch::new(&server.url(""), name))));
        }
        Ok(Self { server, neighbours })
    }

    /// A real publisher's session at the channel that is attacked.
    fn record(&self) -> Result<Vec<bytes::Bytes>> {
        let proxy = TcpProxy::start(self.server.rtmp, SEED)?;
        proxy.record(RECORDED_BYTES);
        let source = Source::tiny(RATE).publish(&publish_url(proxy.listen, "bad", Some("k3y")))?;
        until("recorded session", PLAYABLE_WITHIN, || {
            let length = proxy.records().first().map_or(0, bytes::Bytes::len);
            Ok(Look::at((length >= RECORDED_BYTES / 2).then_some(()), format!("{length} bytes")))
        })?;
        drop(source);
        Ok(proxy.records())
    }

    /// What the server may hold from now on.
    fn bounds(&self) -> Usage {
        let now = self.server.usage();
        Usage {
            resident_bytes: now.resident_bytes + STRANGERS_BYTES,
            open_files: now.open_files + 2_500,
            threads: now.threads + 32,
            // A mutated session may be good enough to be published again.
            processes: now.processes + 1,
        }
    }

    /// The neighbours are live, whole and on time; the log has no panic and no key.
    fn judge(self) -> Result {
        for name in ["one", "two"] {
            let (_, last) = self.server.numbers(name)?;
            self.server.wait_segment(name, last + 2, Duration::from_secs(20))?;
        }
        for (mut publisher, witness) in self.neighbours {
            publisher.check()?;
            witness.finish()?.clean()?;
        }
        let found = machine::log(&self.server.log(), &["k3y"]);
        if !found.is_empty() {
            return Err(Failure::new(format!("{found:#?}")));
        }
        self.server.stop()
    }
}

/// The server's count of connections at the RTMP door.
fn accepted(server: &Server) -> Result<u64> {
    let text = server.client.text(&server.admin_url("/metrics"))?;
    let line = text.lines().find_map(|l| l.strip_prefix("headwater_rtmp_connections_total "));
    line.and_then(|count| count.parse().ok()).context("headwater_rtmp_connections_total")
}

/// First `silent` peers, then an assault of `count` attacks, `rate` a second.
pub(crate) fn assaulted(count: u64, rate: u64, silent: u64) -> Result {
    let town = Town::found()?;
    let sessions = town.record()?;
    let (door, before) = (town.server.rtmp, accepted(&town.server)?);
    let mut machine = Machine::watch(town.server.id(), town.bounds());
    let kept = hostile::silent(door, silent, SILENT_FOR)?;
    let longest = kept.last().copied().context("a silent peer")?;
    // What an allocator keeps of its first crowd is no leak; what comes after adds nothing to it.
    machine.rebase();
    let outcome = hostile::assault(door, SEED, count, rate, &sessions)?;
    // A peer that resets at once may be gone before it is let in; few are.
    let most = (count + silent) * 9 / 10;
    let met = until("hostile peers at the door", PLAYABLE_WITHIN, || {
        let met = accepted(&town.server)? - before;
        Ok(Look::at((met >= most).then_some(met), format!("{met} of {}", count + silent)))
    })?;
    let peak = machine.finish()?;
    println!(
        "{outcome:?}, {met} accepted, silent for {longest:?} at most, {} MiB, {} files",
        peak.resident_bytes >> 20,
        peak.open_files
    );
    assert_eq!(outcome.refused, 0, "the door was shut: {outcome:?}");
    town.judge()
}

#[test]
fn thousands_of_hostile_peers_leave_the_neighbours_alone() -> Result {
    assaulted(3_000, 500, 2_000)
}
