//! Cues as a channel's task takes them: from an operator over the [`Desk`], and from its source.
//!
//! ```text
//! API, command line, page ─► Desk ─► order ┐
//! RTMP data messages, TS sections ─► message ┴► signals, each with its time ─► packaging (breaks)
//! ```
//! Whatever comes is noted in a log, with what became of it.

use std::collections::VecDeque;

use bytes::Bytes;
use packager::scte35::breaks::{Outcome, Refusal};
use packager::scte35::{self, Cue, Phase};
use packager::time::{Span, Timescale, Timestamp, iso};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

pub(super) mod log;
pub(super) mod message;
pub(super) mod order;
pub use log::Entry;

/// Orders that may wait for a channel's task, which takes one in a few milliseconds: an operator does
/// not send that many, and a program that does is told to come again.
const WAITING: usize = 16;

/// What is asked of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is to happen.
    pub ask: Ask,
    /// When, in UTC; `None` is at once.
    pub at: Option<Timestamp>,
    /// The same request under the same key again gets the same answer, and nothing is done.
    pub key: Option<String>,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What this section says; its own time means nothing here.
    Section(Bytes),
    /// A break is to begin.
    Out {
        /// Its number; one that is free, where none is given.
        event_id: Option<u32>,
        /// How long it is to last.
        duration: Option<Span>,
        /// Whether it ends then by itself.
        auto_return: bool,
    },
    /// A break is to end: the one with this number, or the newest.
    Return {
        /// Its number.
        event_id: Option<u32>,
    },
    /// A break that has not begun is not to be: the one with this number, or the newest.
    Cancel {
        /// Its number.
        event_id: Option<u32>,
    },
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Of each event in it, in order.
    pub outcomes: Vec<Outcome>,
    /// The cues they are about, as they are now.
    pub cues: Vec<CueView>,
    /// The section that manifests carry, in base64.
    pub section: String,
}

/// Why nothing could be done about a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The channel's task is not there, or has too much to do.
    #[error("the channel takes no cues now; try again")]
    Busy,
    /// There is nothing to cut.
    #[error("the channel is not on the air")]
    NotOnAir,
    /// The section can't be read.
    #[error("not a section of SCTE-35 that can be acted upon: {0}")]
    Section(#[from] scte35::Error),
    /// The section asks for nothing.
    #[error("the section asks for nothing that is acted upon")]
    Nothing,
    /// There is no break to end.
    #[error("no break is on, and none is to come, that could be ended")]
    NoBreak,
    /// There is no break to cancel.
    #[error("no break is to come; one that is on is ended, not cancelled")]
    NoneToCome,
    /// Its time is not to be believed.
    #[error("the time is more than a day from now")]
    TooFar,
    /// The key is known, and something else was asked for under it.
    #[error("something else was asked for under this idempotency key")]
    KeyUsed,
}

/// A cue for people and programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CueView {
    /// Its name in manifests.
    pub id: String,
    /// Its number on the wire.
    pub event_id: u32,
    /// Whether it is a break, or something told that is none.
    pub is_break: bool,
    /// Where it stands.
    pub phase: Phase,
    /// When it begins, as it is cut.
    pub start: String,
    /// The same, in milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Number of the segment that is cut for it; of a source that is packaged as it is, once that is made.
    pub segment: Option<u64>,
    /// When that segment begins: where a key frame can't be asked for, with the nearest one.
    pub cut: Option<String>,
    /// When it was to begin.
    pub wished: String,
    /// Why that is another time.
    pub moved: Option<packager::timeline::Moved>,
    /// When it ends, as far as is known.
    pub end: Option<String>,
    /// The same, in milliseconds since the Unix epoch.
    pub end_ms: Option<i64>,
    /// Number of the first segment behind it.
    pub end_segment: Option<u64>,
    /// When that segment begins.
    pub end_cut: Option<String>,
    /// Why it ends there.
    pub ends_by: Option<packager::timeline::EndsBy>,
}

impl CueView {
    /// A cue whose times are ticks of `scale`.
    pub fn of(cue: &Cue, scale: Timescale) -> Self {
        let at = |ticks| Timestamp::new(ticks, scale);
        let millis =
            |ticks| at(ticks).ticks_in(Timescale::MILLIS, packager::time::Rounding::Nearest);
        let end = cue.end.as_ref();
        Self {
            id: cue.id.clone(),
            event_id: cue.event.id,
            is_break: cue.is_break,
            phase: cue.phase,
            start: iso(at(cue.start)),
            start_ms: millis(cue.start),
            segment: cue.cut_at.map(|_| cue.k),
            cut: cue.cut_at.map(|cut| iso(at(cut))),
            wished: iso(at(cue.wished)),
            moved: cue.moved,
            end: end.map(|end| iso(at(end.at))),
            end_ms: end.map(|end| millis(end.at)),
            end_segment: end.and_then(|end| end.cut_at.map(|_| end.k)),
            end_cut: end.and_then(|end| Some(iso(at(end.cut_at?)))),
            ends_by: end.map(|end| end.by),
        }
    }
}

/// A request on its way, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Order {
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Result<Answer, Refused>>,
}

/// The way for cues into a channel's task. Cheap to share.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Order>);

impl Answer {
    /// Why nothing was done, if nothing was.
    pub fn refusal(&self) -> Option<Refusal> {
        let mut refusals = self.outcomes.iter().map(|outcome| match outcome {
            Outcome::Refused { reason } => Some(*reason),
            _ => None,
        });
        let first = refusals.next()??;
        refusals.all(|refusal| refusal.is_some()).then_some(first)
    }
}

impl Desk {
    /// A desk, and what is handed in at it.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(WAITING);
        (Self(sender), orders)
    }

    /// Hands in a request and waits for what becomes of it.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn ask(&self, request: Request) -> Result<Answer, Refused> {
        let (answer, answered) = oneshot::channel();
        self.0.try_send(Order { request, answer }).map_err(|_| Refused::Busy)?;
        answered.await.unwrap_or(Err(Refused::Busy))
    }
}

/// Answers to requests that had a key.
#[derive(Debug, Default)]
pub(super) struct Answered(VecDeque<(Request, Answer)>);

impl Answered {
    /// Keys that are remembered: retries come within seconds.
    const KEPT: usize = 64;

    /// The answer that this request has got before.
    pub(super) fn find(&self, request: &Request) -> Option<Result<Answer, Refused>> {
        let key = request.key.as_ref()?;
        let (known, answer) = self.0.iter().find(|(known, _)| known.key.as_ref() == Some(key))?;
        Some(if known == request { Ok(answer.clone()) } else { Err(Refused::KeyUsed) })
    }

    /// Remembers an answer, if the request had a key.
    pub(super) fn keep(&mut self, request: Request, answer: &Answer) {
        if request.key.is_none() {
            return;
        }
        if self.0.len() >= Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((request, answer.clone()));
    }
}
