//! Faults on datagrams.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::plan::{Loss, Plan};
use super::{Narrow, Tallies, Tally, Timing, Way};
use crate::{Context, Result};

/// Datagrams that may wait in the proxy, per way and peer; more are dropped and counted. Seconds of
/// any stream of the tests.
const QUEUE_DATAGRAMS: usize = 8192;
/// How long a datagram may wait for a narrow place, as in a router's buffer.
const BUFFER: Duration = Duration::from_millis(200);
/// A datagram that was to be overtaken goes after this time when none comes to overtake it.
const HELD_BACK: Duration = Duration::from_millis(100);
/// Largest datagram there is.
const DATAGRAM_BYTES: usize = 65_536;

/// What goes wrong with what goes one way. Shares are from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// How long it takes.
    pub timing: Timing,
    /// What is lost.
    pub loss: Loss,
    /// Share that comes twice.
    pub duplicate: f64,
    /// Share that is overtaken by up to four later ones.
    pub reorder: f64,
    /// Share in which a bit is turned over.
    pub corrupt: f64,
}

/// What is sent behind a datagram in its sender's name; `None`: nothing.
pub type Forge = fn(&[u8]) -> Option<Bytes>;

/// What happens on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    faults: [Faults; 2],
    forge: Option<Forge>,
}

/// A running proxy. Each peer is given a port of its own towards the server.
#[derive(Debug)]
pub struct UdpProxy {
    /// Where to send to.
    pub listen: SocketAddr,
    settings: watch::Sender<Settings>,
    tallies: Tallies,
    _runtime: tokio::runtime::Runtime,
}

impl UdpProxy {
    /// Starts a proxy on a port from the system, to `target`, that does nothing wrong at first.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(target: SocketAddr, seed: u64) -> Result<Self> {
        let runtime = super::runtime()?;
        let near = runtime.block_on(UdpSocket::bind("127.0.0.1:0")).context("port of the proxy")?;
        let listen = near.local_addr().context("port of the proxy")?;
        let (settings, heard) = watch::channel(Settings::default());
        let tallies = Tallies::default();
        let path = Path { target, seed, settings: heard, tallies: tallies.clone() };
        runtime.spawn(path.accept(Arc::new(near)));
        Ok(Self { listen, settings, tallies, _runtime: runtime })
    }

    /// Sets what goes wrong one way, from now on.
    pub fn set(&self, way: Way, faults: Faults) {
        self.settings.send_modify(|settings| settings.faults[way as usize] = faults);
    }

    /// Sets what goes wrong both ways, from now on.
    pub fn set_both(&self, faults: Faults) {
        self.settings.send_modify(|settings| settings.faults = [faults; 2]);
    }

    /// From now on sends the server more in the name of its peers, behind what they send.
    pub fn forge(&self, forge: Forge) {
        self.settings.send_modify(|settings| settings.forge = Some(forge));
    }

    /// What went one way so far.
    pub fn tally(&self, way: Way) -> Tally {
        self.tallies.of(way)
    }
}

/// What all peers share.
#[derive(Clone)]
struct Path {
    target: SocketAddr,
    seed: u64,
    settings: watch::Receiver<Settings>,
    tallies: Tallies,
}

impl Path {
    /// Reads what peers send, each into its own lane.
    async fn accept(self, near: Arc<UdpSocket>) {
        let mut peers: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            // A peer whose port is closed shows as an error of the next read; others go on.
            let Ok((count, peer)) = near.recv_from(&mut buffer).await else { continue };
            if !peers.contains_key(&peer) {
                let Ok(up) = self.open(Arc::clone(&near), peer, peers.len() as u64).await else {
                    continue;
                };
                peers.insert(peer, up);
            }
            self.hand(&peers[&peer], Way::Up, &buffer[..count]);
        }
    }

    /// Opens a port towards the server for a new peer; gives its way up.
    async fn open(
        &self,
        near: Arc<UdpSocket>,
        peer: SocketAddr,
        number: u64,
    ) -> std::io::Result<mpsc::Sender<Bytes>> {
        let far = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        far.connect(self.target).await?;
        let (up, going_up) = mpsc::channel(QUEUE_DATAGRAMS);
        let (down, going_down) = mpsc::channel(QUEUE_DATAGRAMS);
        tokio::spawn(
            Lane::new(self, number, Way::Up).carry(going_up, Exit::Server(Arc::clone(&far))),
        );
        tokio::spawn(Lane::new(self, number, Way::Down).carry(going_down, Exit::Peer(near, peer)));
        let path = self.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM_BYTES];
            while !down.is_closed() {
                // A closed port of the server shows as an error; it may open again.
                let Ok(count) = far.recv(&mut buffer).await else { continue };
                path.hand(&down, Way::Down, &buffer[..count]);
            }
        });
        Ok(up)
    }

    fn hand(&self, to: &mpsc::Sender<Bytes>, way: Way, datagram: &[u8]) {
        if to.try_send(Bytes::copy_from_slice(datagram)).is_err() {
            self.tallies.note(way, |tally| tally.overflowed += 1);
        }
    }
}

/// Where a lane ends.
enum Exit {
    Server(Arc<UdpSocket>),
    Peer(Arc<UdpSocket>, SocketAddr),
}

impl Exit {
    async fn send(&self, datagram: &[u8]) {
        // A datagram that can't be sent is lost, as datagrams are.
        let _ = match self {
            Self::Server(far) => far.send(datagram).await,
            Self::Peer(near, peer) => near.send_to(datagram, *peer).await,
        };
    }
}

/// One way of one peer.
struct Lane {
    settings: watch::Receiver<Settings>,
    tallies: Tallies,
    way: Way,
    plan: Plan,
    narrow: Narrow,
    last_due: Instant,
    /// Datagrams that came so far.
    number: u64,
    /// By the time they are due; twice the number keeps those of one time in order, with room for the
    /// overtaken.
    waiting: BinaryHeap<Reverse<(Instant, u64, Bytes)>>,
    /// Those that are to be overtaken: until which number, and when at the latest.
    held: Vec<(u64, Instant, Bytes)>,
}

impl Lane {
    fn new(path: &Path, number: u64, way: Way) -> Self {
        Self {
            settings: path.settings.clone(),
            tallies: path.tallies.clone(),
            way,
            plan: Plan::new(path.seed, number, way),
            narrow: Narrow::new(),
            last_due: Instant::now(),
            number: 0,
            waiting: BinaryHeap::new(),
            held: Vec::new(),
        }
    }

    async fn carry(mut self, mut coming: mpsc::Receiver<Bytes>, exit: Exit) {
        loop {
            let next = self.waiting.peek().map(|Reverse((due, _, _))| *due);
            let next = next.into_iter().chain(self.held.iter().map(|(_, due, _)| *due)).min();
            tokio::select! {
                datagram = coming.recv() => match datagram {
                    Some(datagram) => self.take(datagram),
                    None => return,
                },
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
            self.release();
            while let Some(Reverse((_, _, datagram))) = self.pop_due() {
                self.tallies.note(self.way, |tally| {
                    tally.passed += 1;
                    tally.bytes += datagram.len() as u64;
                });
                exit.send(&datagram).await;
            }
        }
    }

    fn pop_due(&mut self) -> Option<Reverse<(Instant, u64, Bytes)>> {
        let Reverse((due, _, _)) = self.waiting.peek()?;
        if *due <= Instant::now() { self.waiting.pop() } else { None }
    }

    /// Decides what becomes of a datagram that came.
    fn take(&mut self, mut datagram: Bytes) {
        let Settings { faults, forge } = *self.settings.borrow();
        let faults = faults[self.way as usize];
        let forged = forge.filter(|_| matches!(self.way, Way::Up)).and_then(|f| f(&datagram));
        let fate = self.plan.next(&faults, datagram.len());
        self.number += 1;
        if fate.lost {
            self.tallies.note(self.way, |tally| {
                tally.lost += 1;
                tally.lost_bytes += datagram.len() as u64;
            });
            return;
        }
        let now = Instant::now();
        let through = self.narrow.through(now, datagram.len(), faults.timing.rate);
        if through > now + BUFFER || self.waiting.len() + self.held.len() >= QUEUE_DATAGRAMS {
            self.tallies.note(self.way, |tally| tally.overflowed += 1);
            return;
        }
        self.narrow.take(through);
        if let Some(bit) = fate.corrupt {
            let mut bytes = datagram.to_vec();
            bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            datagram = bytes.into();
            self.tallies.note(self.way, |tally| tally.corrupted += 1);
        }
        let due = through + faults.timing.delay + faults.timing.jitter.mul_f64(fate.jitter);
        self.last_due = due.max(self.last_due);
        if fate.twice {
            self.tallies.note(self.way, |tally| tally.duplicated += 1);
            self.waiting.push(Reverse((self.last_due, self.number * 2, datagram.clone())));
        }
        if fate.overtaken_by > 0 {
            self.tallies.note(self.way, |tally| tally.reordered += 1);
            let latest = self.last_due + HELD_BACK;
            self.held.push((self.number + fate.overtaken_by, latest, datagram));
        } else {
            self.waiting.push(Reverse((self.last_due, self.number * 2, datagram)));
        }
        if let Some(forged) = forged {
            self.tallies.note(self.way, |tally| tally.forged += 1);
            self.waiting.push(Reverse((self.last_due, self.number * 2 + 1, forged)));
        }
    }

    /// Lets those go that were overtaken, or have waited long enough.
    fn release(&mut self) {
        let (now, number) = (Instant::now(), self.number);
        let last_due = self.last_due;
        let waiting = &mut self.waiting;
        self.held.retain(|(until, latest, datagram)| {
            let stays = number < *until && now < *latest;
            if !stays {
                let due = if number >= *until { last_due } else { now };
                waiting.push(Reverse((due, number * 2 + 1, datagram.clone())));
            }
            stays
        });
    }
}

#[cfg(test)]
mod tests;
