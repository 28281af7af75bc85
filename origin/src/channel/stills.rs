//! Stills for viewers who search: made of key frames when they are asked for, by one worker process for all
//! channels.
//!
//! ```text
//! asked for ─► kept? ─► desk (a queue) ─► worker, one after the other ─► kept
//! ```
//! Nothing is stored: the key frames are, and the same one is always the same still. However many ask for one,
//! it is made once; so many may wait, and the rest are told to come again. The worker begins with the first who
//! asks and ends when nobody has for a while; one that dies over a key frame is started again after a growing
//! wait.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ingest::av::supervisor::{self, Delivery, Input, Output};
use ingest::source::{SourceSample, Unit};
use moka::future::Cache;
use packager::media::VideoConfig;
use packager::time::{Timescale, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::encoder::at;
use crate::backoff::Backoff;

/// Bytes of stills that are kept: those of an hour of a channel.
const KEPT: u64 = 32 << 20;
/// Who may wait: at some milliseconds each, none for a second.
const WAITING: usize = 64;
/// How long one may take: a large key frame, on a machine that has other things to do.
const MADE_WITHIN: Duration = Duration::from_secs(5);
/// How long a worker outlives the last who asked.
const LINGER: Duration = Duration::from_secs(30);
/// The longest pause before a worker that died is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Where stills are asked for.
#[derive(Debug)]
pub struct Stills {
    kept: Cache<String, Bytes>,
    orders: mpsc::Sender<Order>,
}

/// Where they are made.
#[derive(Debug)]
pub struct Desk(mpsc::Receiver<Order>);

/// A key frame, and what decodes it.
#[derive(Clone, Debug)]
pub struct KeyFrame {
    /// The decoder's configuration.
    pub config: VideoConfig,
    /// Length-prefixed NAL units.
    pub data: Bytes,
}

/// Why there is no still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStill {
    /// Too many are waited for, or the worker is not to be had just now.
    #[error("too many stills are asked for")]
    Busy,
    /// No picture can be made of the key frame.
    #[error("the key frame makes no picture")]
    Unusable,
}

#[derive(Debug)]
struct Order {
    frame: KeyFrame,
    done: oneshot::Sender<Result<Bytes, NoStill>>,
}

impl Stills {
    /// Both ends; nothing is made before the desk runs.
    pub fn new() -> (Arc<Self>, Desk) {
        let (orders, desk) = mpsc::channel(WAITING);
        let weigh = |name: &String, still: &Bytes| {
            u32::try_from(name.len().saturating_add(still.len())).unwrap_or(u32::MAX)
        };
        let kept = Cache::builder().max_capacity(KEPT).weigher(weigh).build();
        (Arc::new(Self { kept, orders }), Desk(desk))
    }

    /// The still of this name, if it is kept.
    pub async fn known(&self, name: &str) -> Option<Bytes> {
        self.kept.get(name).await
    }

    /// The still of a key frame, which is kept under this name.
    ///
    /// # Errors
    /// [`NoStill`].
    pub async fn make(&self, name: String, frame: KeyFrame) -> Result<Bytes, NoStill> {
        let making = async {
            let (done, made) = oneshot::channel();
            self.orders.try_send(Order { frame, done }).map_err(|_| NoStill::Busy)?;
            made.await.unwrap_or(Err(NoStill::Busy))
        };
        self.kept.try_get_with(name, making).await.map_err(|error: Arc<NoStill>| *error)
    }
}

impl Desk {
    /// Makes what is asked for, with `program` as a worker, until cancelled.
    pub(crate) async fn run(mut self, program: PathBuf, cancel: CancellationToken) {
        let mut worker: Option<Worker> = None;
        let mut backoff = Backoff::up_to(LONGEST_PAUSE);
        let (mut not_before, mut leave_at) = (Instant::now(), None);
        loop {
            let order = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                order = self.0.recv() => order,
                () = at(leave_at) => {
                    (worker, leave_at) = (None, None);
                    continue;
                }
            };
            let Some(Order { frame, done }) = order else { return };
            // Who has gone on to another place does not wait any more.
            if done.is_closed() {
                continue;
            }
            if worker.is_none() && Instant::now() >= not_before {
                worker = Worker::start(&program);
            }
            let made = match &mut worker {
                Some(worker) => {
                    let made = tokio::time::timeout(MADE_WITHIN, worker.make(frame));
                    let Some(made) = cancel.run_until_cancelled(made).await else { return };
                    made.ok().flatten()
                }
                None => None,
            };
            let answer = match made {
                Some(still) if still.is_empty() => Err(NoStill::Unusable),
                Some(still) => Ok(still),
                None => {
                    if worker.take().is_some() {
                        warn!("the worker that makes stills died or hung over a key frame");
                    }
                    if Instant::now() >= not_before {
                        not_before = Instant::now() + backoff.after_death(Instant::now());
                    }
                    Err(NoStill::Busy)
                }
            };
            leave_at = worker.is_some().then(|| Instant::now() + LINGER);
            // Nobody may be there.
            let _ = done.send(answer);
        }
    }
}

/// A running worker.
#[derive(Debug)]
struct Worker {
    input: Input,
    outputs: mpsc::Receiver<Output>,
    config: Option<VideoConfig>,
    /// Number of the last key frame, which it gives back as a time.
    last: i64,
}

impl Worker {
    fn start(program: &Path) -> Option<Self> {
        match supervisor::stills(program) {
            Ok((input, outputs)) => Some(Self { input, outputs, config: None, last: 0 }),
            Err(error) => {
                warn!(%error, "no worker that makes stills");
                None
            }
        }
    }

    /// The still of a key frame, empty where there is none; `None` if the worker is gone.
    async fn make(&mut self, KeyFrame { config, data }: KeyFrame) -> Option<Bytes> {
        if self.config.as_ref() != Some(&config) {
            self.input.send(&Unit::VideoConfig(config.clone().into()));
            self.config = Some(config);
        }
        self.last = self.last.saturating_add(1);
        let at = Timestamp::new(self.last, Timescale::NANOS);
        let received = std::time::Instant::now();
        let sample = SourceSample { dts: at, pts: at, sync: true, received, data };
        if self.input.send(&Unit::Video(sample)) != Delivery::Queued {
            return None;
        }
        loop {
            match self.outputs.recv().await? {
                Output::Sample { sample, .. } if sample.dts == self.last => {
                    return Some(sample.data);
                }
                Output::Exited { .. } => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use packager::media::VideoCodec;

    use super::*;

    fn frame() -> KeyFrame {
        let config = VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::new(),
            codec_string: String::new(),
            width: 170,
            height: 96,
            rate: None,
        };
        KeyFrame { config, data: Bytes::from_static(b"key frame") }
    }

    #[tokio::test]
    async fn who_asks_for_the_same_still_gets_one_that_is_made_once_and_kept() {
        let (stills, mut desk) = Stills::new();
        let made = async {
            let order = desk.0.recv().await.unwrap();
            order.done.send(Ok(order.frame.data)).unwrap();
            desk
        };
        let ask = || stills.make("a".to_owned(), frame());
        let (first, second, desk) = tokio::join!(ask(), ask(), made);
        assert_eq!(first.as_deref(), Ok(&b"key frame"[..]));
        assert_eq!(second, first);
        drop(desk);
        assert_eq!(stills.known("a").await, first.ok());
    }

    #[tokio::test]
    async fn what_fails_is_told_and_asked_for_again() {
        let (stills, mut desk) = Stills::new();
        for answer in [Err(NoStill::Unusable), Err(NoStill::Busy), Ok(Bytes::from_static(b"jpeg"))]
        {
            let made = async {
                desk.0.recv().await.unwrap().done.send(answer.clone()).unwrap();
            };
            let (asked, ()) = tokio::join!(stills.make("a".to_owned(), frame()), made);
            assert_eq!(asked, answer);
        }
        drop(desk);
        let asked = stills.make("b".to_owned(), frame()).await;
        assert_eq!(asked, Err(NoStill::Busy), "nobody makes any");
    }

    #[tokio::test]
    async fn so_many_wait_and_the_rest_are_told_to_come_again() {
        let (stills, desk) = Stills::new();
        let waiting: Vec<_> = (0..WAITING)
            .map(|n| {
                let stills = Arc::clone(&stills);
                tokio::spawn(async move { stills.make(n.to_string(), frame()).await })
            })
            .collect();
        while desk.0.len() < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(stills.make("more".to_owned(), frame()).await, Err(NoStill::Busy));
        drop(desk);
        for asked in waiting {
            assert_eq!(asked.await.unwrap(), Err(NoStill::Busy));
        }
    }

    #[tokio::test]
    async fn a_worker_that_does_not_speak_costs_nobody_more_than_a_refusal() {
        let (stills, desk) = Stills::new();
        let cancel = CancellationToken::new();
        // It ends at once, whatever it is told.
        let running = tokio::spawn(desk.run(PathBuf::from("/bin/true"), cancel.clone()));
        for name in ["a", "b"] {
            let asked = stills.make(name.to_owned(), frame()).await;
            assert_eq!(asked, Err(NoStill::Busy), "{name}");
        }
        cancel.cancel();
        running.await.unwrap();
    }
}
