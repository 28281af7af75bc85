//! Faults on TCP connections.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Narrow, Tallies, Tally, Timing, Way};
use crate::dice::Dice;
use crate::{Context, Result};

/// Blocks that may wait for their time, per way: seconds of any stream of the tests. When they do,
/// nothing more is read, as by any router whose peer slows down.
const QUEUE_BLOCKS: usize = 4096;
/// Largest block that is handed on at once.
const BLOCK_BYTES: usize = 16 * 1024;
/// A narrow place takes blocks that are through in this time, so that they flow evenly.
const BLOCKS_PER_SECOND: u32 = 50;
/// Bytes that have the same share of the jitter: a segment of TCP.
const JITTER_CELL: u64 = 1460;

/// What goes wrong with what goes one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How long it takes.
    pub timing: Timing,
    /// One bit is turned over in this many bytes, on average, if at all.
    pub corrupt_every: Option<u32>,
    /// The connection is reset when this many of its bytes have been handed on.
    pub cut_after: Option<u64>,
    /// Whether things flow at all.
    pub flow: Flow,
}

impl Faults {
    /// Late by this much, and nothing else.
    pub fn late(delay: Duration) -> Self {
        Self { timing: Timing { delay, ..Timing::default() }, ..Self::default() }
    }

    /// Through a narrow place of this many bytes per second, and nothing else.
    pub fn narrow(rate: u32) -> Self {
        Self { timing: Timing { rate: Some(rate), ..Timing::default() }, ..Self::default() }
    }

    /// Not flowing, in this way.
    pub fn stopped(flow: Flow) -> Self {
        Self { flow, ..Self::default() }
    }
}

/// Whether things flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They do.
    #[default]
    Open,
    /// Bytes are read and forgotten, and that a side closes or resets is not told to the other:
    /// each believes that the other is there. In both ways this is a half-open connection.
    Forgotten,
    /// Nothing is read: the sender's window fills and closes.
    Unread,
}

/// What becomes of new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// They are carried to the server.
    #[default]
    Open,
    /// They are accepted, what they send is forgotten, and the server never hears of them.
    Blackhole,
    /// They are reset.
    Reset,
}

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct TcpProxy {
    /// Where to connect to.
    pub listen: SocketAddr,
    settings: watch::Sender<Settings>,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    ways: [Faults; 2],
    door: Door,
    /// Connections with a number below this one are reset.
    reset_below: u64,
    /// Bytes to be kept of what each new connection sends up.
    record: usize,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    seed: u64,
    connections: AtomicU64,
    tallies: Tallies,
    records: Mutex<Vec<BytesMut>>,
}

impl TcpProxy {
    /// Starts a proxy on a port from the system, to `target`, that does nothing wrong at first.
    ///
    /// # Errors
    /// If there is no port.
    pub fn start(target: SocketAddr, seed: u64) -> Result<Self> {
        let runtime = super::runtime()?;
        let listener =
            runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("port of the proxy")?;
        let listen = listener.local_addr().context("port of the proxy")?;
        let (settings, heard) = watch::channel(Settings::default());
        let shared = Arc::new(Shared {
            target,
            seed,
            connections: AtomicU64::new(0),
            tallies: Tallies::default(),
            records: Mutex::default(),
        });
        runtime.spawn(accept(listener, heard, Arc::clone(&shared)));
        Ok(Self { listen, settings, shared, _runtime: runtime })
    }

    /// Sets what goes wrong one way, for all connections, from now on.
    pub fn set(&self, way: Way, faults: Faults) {
        self.settings.send_modify(|settings| settings.ways[way as usize] = faults);
    }

    /// Sets what goes wrong both ways, for all connections, from now on.
    pub fn set_both(&self, faults: Faults) {
        self.settings.send_modify(|settings| settings.ways = [faults; 2]);
    }

    /// Sets what becomes of new connections.
    pub fn set_door(&self, door: Door) {
        self.settings.send_modify(|settings| settings.door = door);
    }

    /// Resets every connection there is, towards both sides. New ones are welcome.
    pub fn reset(&self) {
        let next = self.shared.connections.load(Ordering::SeqCst);
        self.settings.send_modify(|settings| settings.reset_below = next);
    }

    /// Keeps the first `most` bytes that each connection sends up, of those that come from now on.
    pub fn record(&self, most: usize) {
        self.settings.send_modify(|settings| settings.record = most);
    }

    /// What was kept of each connection, in the order of their coming.
    pub fn records(&self) -> Vec<Bytes> {
        let records = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().map(|record| record.clone().freeze()).collect()
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// What went one way so far.
    pub fn tally(&self, way: Way) -> Tally {
        self.shared.tallies.of(way)
    }
}

async fn accept(listener: TcpListener, settings: watch::Receiver<Settings>, shared: Arc<Shared>) {
    while let Ok((near, _)) = listener.accept().await {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let (settings, shared) = (settings.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let door = settings.borrow().door;
            let far = match door {
                Door::Open => TcpStream::connect(shared.target).await.ok(),
                Door::Blackhole => return swallow(near, settings, number, &shared).await,
                Door::Reset => None,
            };
            match far {
                Some(far) => carry(near, far, settings, number, &shared).await,
                // As the server's own door would have answered.
                None => drop(near.set_zero_linger()),
            }
        });
    }
}

/// A connection that the server never hears of.
async fn swallow(
    mut near: TcpStream,
    mut settings: watch::Receiver<Settings>,
    number: u64,
    shared: &Shared,
) {
    let mut sink = vec![0; BLOCK_BYTES];
    let reset = async { settings.wait_for(|s| s.reset_below > number).await.is_ok() };
    let forget = async {
        while let Ok(count @ 1..) = near.read(&mut sink).await {
            shared.tallies.note(Way::Up, |tally| tally.lost += count as u64);
        }
    };
    tokio::select! {
        true = reset => drop(near.set_zero_linger()),
        () = forget => {}
    }
}

/// A connection is to be reset towards both sides.
struct Cut;

/// How carrying a connection ends when nothing more comes.
type Carried = std::result::Result<(), Cut>;

/// Carries a connection until both sides have closed it, or it is reset.
async fn carry(
    mut near: TcpStream,
    mut far: TcpStream,
    settings: watch::Receiver<Settings>,
    number: u64,
    shared: &Shared,
) {
    // Without Nagle's algorithm the delay is the set one and no more.
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let kept = (settings.borrow().record > 0).then(|| {
        let mut records = shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(BytesMut::new());
        records.len() - 1
    });
    let is_reset = {
        let (near_read, near_write) = near.split();
        let (far_read, far_write) = far.split();
        let lane = |way, kept| Lane::new(settings.clone(), shared, number, way, kept);
        let up = lane(Way::Up, kept).carry(near_read, far_write);
        let down = lane(Way::Down, None).carry(far_read, near_write);
        let mut told = settings.clone();
        tokio::select! {
            ends = async { tokio::try_join!(up, down) } => ends.is_err(),
            told = told.wait_for(|s| s.reset_below > number) => told.is_ok(),
        }
    };
    if is_reset {
        let _ = (near.set_zero_linger(), far.set_zero_linger());
    }
}

/// One way of one connection.
struct Lane<'a> {
    settings: watch::Receiver<Settings>,
    shared: &'a Shared,
    way: Way,
    seed: u64,
    /// Where what is sent up is kept.
    kept: Option<usize>,
    /// Bytes read so far.
    position: u64,
    dice: Dice,
    /// The next byte in which a bit is turned over, for a mean distance.
    corrupt: Option<(u32, u64)>,
    narrow: Narrow,
    last_due: Instant,
}

/// What waits for its time.
enum Waiting {
    Block(Instant, Bytes),
    Cut,
}

impl<'a> Lane<'a> {
    fn new(
        settings: watch::Receiver<Settings>,
        shared: &'a Shared,
        number: u64,
        way: Way,
        kept: Option<usize>,
    ) -> Self {
        let seed = Dice::of(shared.seed, number * 2 + way as u64).draw();
        Self {
            settings,
            shared,
            way,
            seed,
            kept,
            position: 0,
            dice: Dice::new(seed),
            corrupt: None,
            narrow: Narrow::new(),
            last_due: Instant::now(),
        }
    }

    async fn carry(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Carried {
        let (blocks, queue) = mpsc::channel(QUEUE_BLOCKS);
        let (tallies, way) = (self.shared.tallies.clone(), self.way);
        tokio::try_join!(self.read(from, blocks), write(to, queue, tallies, way)).map(drop)
    }

    fn faults(&mut self) -> Faults {
        self.settings.borrow_and_update().ways[self.way as usize]
    }

    async fn read(mut self, mut from: ReadHalf<'_>, blocks: mpsc::Sender<Waiting>) -> Carried {
        loop {
            let faults = self.faults();
            if faults.flow == Flow::Unread {
                let Ok(()) = self.settings.changed().await else { return Ok(()) };
                continue;
            }
            let most = faults.timing.rate.map_or(BLOCK_BYTES, |rate| {
                (rate / BLOCKS_PER_SECOND).clamp(1, BLOCK_BYTES as u32) as usize
            });
            let mut block = BytesMut::with_capacity(most).limit(most);
            let read = tokio::select! {
                biased;
                Ok(()) = self.settings.changed() => continue,
                read = from.read_buf(&mut block) => read,
            };
            let mut block = block.into_inner();
            match read {
                Ok(1..) if faults.flow == Flow::Forgotten => {
                    let count = block.len() as u64;
                    self.shared.tallies.note(self.way, |tally| tally.lost += count);
                }
                Ok(1..) => {
                    self.keep(&block);
                    let is_cut = self.spoil(&mut block, &faults);
                    let due = self.due(block.len(), &faults.timing).await;
                    let _ = blocks.send(Waiting::Block(due, block.freeze())).await;
                    if is_cut {
                        let _ = blocks.send(Waiting::Cut).await;
                        return Ok(());
                    }
                }
                // The other side is not to hear of it.
                _ if faults.flow == Flow::Forgotten => std::future::pending().await,
                Ok(0) => return Ok(()),
                Err(_) => return Err(Cut),
            }
        }
    }

    fn keep(&self, block: &[u8]) {
        let Some(index) = self.kept else { return };
        let most = self.settings.borrow().record;
        let mut records = self.shared.records.lock().unwrap_or_else(PoisonError::into_inner);
        let room = most.saturating_sub(records[index].len());
        records[index].extend_from_slice(&block[..block.len().min(room)]);
    }

    /// Turns bits over and cuts off what is behind the end; true if this is the end.
    fn spoil(&mut self, block: &mut BytesMut, faults: &Faults) -> bool {
        let begin = self.position;
        let is_cut = faults.cut_after.is_some_and(|end| begin + block.len() as u64 >= end);
        if let Some(end) = faults.cut_after.filter(|_| is_cut) {
            block.truncate(end.saturating_sub(begin) as usize);
        }
        let end = begin + block.len() as u64;
        self.position = end;
        let Some(every) = faults.corrupt_every else {
            self.corrupt = None;
            return is_cut;
        };
        let mut next = match self.corrupt {
            Some((distance, next)) if distance == every => next,
            _ => begin + self.dice.below(u64::from(every) * 2),
        };
        while next < end {
            block[(next - begin) as usize] ^= 1 << self.dice.below(8);
            self.shared.tallies.note(self.way, |tally| tally.corrupted += 1);
            next += 1 + self.dice.below(u64::from(every) * 2);
        }
        self.corrupt = Some((every, next));
        is_cut
    }

    /// When a block that was just read is to be handed on; waits while the narrow place is busy.
    async fn due(&mut self, bytes: usize, timing: &Timing) -> Instant {
        let through = self.narrow.through(Instant::now(), bytes, timing.rate);
        self.narrow.take(through);
        sleep_until(through).await;
        let share = Dice::of(self.seed, self.position / JITTER_CELL).fraction();
        let due = through + timing.delay + timing.jitter.mul_f64(share);
        self.last_due = due.max(self.last_due);
        self.last_due
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut queue: mpsc::Receiver<Waiting>,
    tallies: Tallies,
    way: Way,
) -> Carried {
    while let Some(waiting) = queue.recv().await {
        let Waiting::Block(due, block) = waiting else { return Err(Cut) };
        sleep_until(due).await;
        to.write_all(&block).await.map_err(|_| Cut)?;
        tallies.note(way, |tally| tally.bytes += block.len() as u64);
    }
    // The other side has closed. This one may be gone already.
    let _ = to.shutdown().await;
    Ok(())
}

#[cfg(test)]
mod tests;
