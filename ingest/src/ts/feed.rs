//! The bridge from the bytes of a transport stream to a channel: what every door for MPEG-TS drives.
//!
//! ```text
//! door ─► Feed::push ─► Demuxer ─► units ─► hub::Publication
//!                          └► clock ─► pace, of a file
//! ```
//! A feed tells the channel what the stream lacks, and gives up where no picture or sound comes of it
//! at all. It opens nothing and knows no socket; how a peer is told that its feed has ended is the
//! door's business.

use std::time::{Duration, Instant};

use super::Counts;
use super::complaint::{Missing, Unusable};
use super::demux::{Demuxer, Event};
use super::pace::Pace;
use crate::hub::{Closed, Publication};
use crate::source::Unit;

/// A stream may go without picture and sound for so long, from its first byte on and later: tables
/// come ten times a second, key frames every few seconds.
pub const DEADLINE_MEDIA: Duration = Duration::from_secs(10);
/// After so long without picture and sound the operator is told what is missing.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Why a feed has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The channel takes no more.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// No picture and no sound came within [`DEADLINE_MEDIA`], or a file's length.
    #[error("{what}")]
    Nothing {
        /// What was missing.
        what: Missing,
    },
    /// As above: what is sent can't be used.
    #[error("{0}")]
    Unusable(Unusable),
    /// Picture and sound have stopped while other bytes go on.
    #[error("no picture or sound any more")]
    Stopped,
}

impl Error {
    /// A label for metrics: one of a few.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Closed(Closed::TakenOver) => "taken over",
            Self::Closed(Closed::Rejected(_)) => "rejected",
            Self::Closed(Closed::TooMuch { .. }) => "too much",
            Self::Closed(_) => "shutdown",
            Self::Unusable(_) => "media",
            Self::Nothing { .. } | Self::Stopped => "deadline",
        }
    }
}

/// Brings a transport stream to a channel. Dropping it tells the channel that the source is gone.
#[derive(Debug)]
pub struct Feed {
    publication: Publication,
    demuxer: Demuxer,
    pace: Option<Pace>,
    /// The newest of picture and sound, or the first byte before there was any.
    alive: Option<Instant>,
    has_media: bool,
    told: bool,
    /// What can't be used, newest last.
    unusable: Option<Unusable>,
}

impl Feed {
    /// Feeds a channel with the program that it wants.
    pub fn new(publication: Publication) -> Self {
        let demuxer = Demuxer::new(publication.wants());
        Self {
            publication,
            demuxer,
            pace: None,
            alive: None,
            has_media: false,
            told: false,
            unusable: None,
        }
    }

    /// The same at the pace of the stream's own clock, for what is there before its time: a file.
    pub fn paced(publication: Publication) -> Self {
        Self { pace: Some(Pace::default()), ..Self::new(publication) }
    }

    /// Takes the next bytes of the stream, in pieces of any size, which were received at `received`;
    /// waits while the channel's queue is full, and for the stream's clock if it is paced.
    ///
    /// # Errors
    /// The channel takes no more, or nothing of use comes.
    pub async fn push(&mut self, bytes: &[u8], received: Instant) -> Result<(), Error> {
        self.demuxer.push(bytes, received);
        self.hand_on().await?;
        self.publication.report(|report| report.transport = Some(self.demuxer.counts()));
        self.judge(received).await
    }

    /// Nothing follows: hands on the picture that has begun.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(&mut self) -> Result<(), Error> {
        self.demuxer.finish();
        self.hand_on().await
    }

    /// The same stream follows from its beginning; its times go on behind the last ones.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn again(&mut self) -> Result<(), Error> {
        self.demuxer.again();
        self.hand_on().await
    }

    /// Resolves when the channel ends the publication, with the reason.
    pub async fn closed(&self) -> Closed {
        self.publication.closed().await
    }

    /// Where the units go.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// What was wrong with the stream so far.
    pub fn counts(&self) -> Counts {
        self.demuxer.counts()
    }

    /// Asks for picture or sound of a stream that has come to its end.
    ///
    /// # Errors
    /// There was none, and it is said why.
    pub fn ask_for_media(&mut self) -> Result<(), Error> {
        if self.has_media { Ok(()) } else { Err(self.reason()) }
    }

    /// Why nothing of use comes.
    fn reason(&mut self) -> Error {
        match (self.has_media, self.unusable.take(), self.demuxer.missing()) {
            (true, ..) | (_, None, None) => Error::Stopped,
            (_, Some(unusable), _) => Error::Unusable(unusable),
            (_, _, Some(what)) => Error::Nothing { what },
        }
    }

    async fn hand_on(&mut self) -> Result<(), Error> {
        while let Some(event) = self.demuxer.poll() {
            match event {
                Event::Unit(unit) => self.unit(unit).await?,
                Event::Clock(at) => {
                    if let Some(pace) = &mut self.pace {
                        let due = pace.due(at, Instant::now());
                        self.wait_until(due).await?;
                    }
                }
                Event::Unusable(unusable) => {
                    self.publication.push(Unit::Notice(unusable.to_string())).await?;
                    self.unusable = Some(unusable);
                }
            }
        }
        Ok(())
    }

    async fn unit(&mut self, mut unit: Unit) -> Result<(), Error> {
        if let Unit::Video(sample) | Unit::Audio(sample) = &mut unit {
            if self.pace.is_some() {
                // Read ahead of its time, it is received when that has come.
                sample.received = Instant::now();
            }
            self.alive = Some(sample.received);
            self.has_media = true;
        }
        Ok(self.publication.push(unit).await?)
    }

    /// Waits for a moment, unless the channel ends the publication before.
    async fn wait_until(&self, due: Option<Instant>) -> Result<(), Error> {
        let Some(due) = due else { return Ok(()) };
        tokio::select! {
            biased;
            reason = self.publication.closed() => Err(reason.into()),
            () = tokio::time::sleep_until(due.into()) => Ok(()),
        }
    }

    /// Tells what is missing, and gives up where nothing of use comes.
    async fn judge(&mut self, now: Instant) -> Result<(), Error> {
        let now = if self.pace.is_some() { Instant::now() } else { now };
        let silent = now.saturating_duration_since(*self.alive.get_or_insert(now));
        if silent >= DEADLINE_MEDIA {
            return Err(self.reason());
        }
        if silent >= TELL_AFTER
            && !self.told
            && let Some(missing) = self.demuxer.missing()
        {
            self.told = true;
            self.publication.push(Unit::Notice(missing.to_string())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
