//! Excerpts of a channel: start-over from an instant on, and what was on the air from one to another.
//!
//! ```text
//! from, to ─► Views (the ones asked for lately) ─► View ─► excerpt of the newest snapshot ─► texts
//! ```
//! Both ends stand in the path, so that one URL has one content. What goes on is answered as the
//! channel is, blocking reload included. What has both ends behind it never changes; it can be kept for as
//! long as its oldest segment stays in the window, and for [`KEPT`] at the most.
//!
//! Which segments those are is the timeline's to say; media is served under the channel's own addresses.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use packager::time::{Rounding, Timescale, Timestamp};
use packager::timeline::{NoExcerpt, Snapshot, State};

use super::Texts;
use super::error::Error;
use super::render::Options;

/// Excerpts of one channel whose texts are kept: the programmes that crowds watch. Who asks for another one
/// gets it too, and the one that was asked for least lately is rendered anew.
const VIEWS: usize = 32;
/// The longest excerpt: that of the longest window.
const LONGEST_SECONDS: i64 = 7 * 24 * 3_600;
/// Seconds that what never changes may be kept for, since an operator may still delete it.
pub(super) const KEPT: u32 = 3_600;

/// The ends of an excerpt, in milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// What was on the air from this instant on,
    pub(super) from: i64,
    /// and before this one.
    pub(super) to: Option<i64>,
}

impl Ends {
    /// Says what is wrong with these ends, whatever the channel has.
    ///
    /// # Errors
    /// [`Error::TooLong`] for more than any window holds, [`Error::Excerpt`] for less than nothing.
    pub(super) fn check(self, now_millis: u64) -> Result<(), Error> {
        let now = i64::try_from(now_millis).unwrap_or(i64::MAX);
        let to = self.to.unwrap_or(now);
        if self.to.is_some_and(|to| to <= self.from) {
            return Err(Error::Excerpt(NoExcerpt::Backwards));
        }
        let seconds = to.saturating_sub(self.from) / 1_000;
        if seconds > LONGEST_SECONDS { Err(Error::TooLong) } else { Ok(()) }
    }

    /// What leads from the folder of its manifests to that of the channel.
    fn base(self) -> &'static str {
        if self.to.is_some() { "../../../../" } else { "../../" }
    }
}

/// The excerpts of a channel that were asked for lately, the newest request last.
#[derive(Debug, Default)]
pub(super) struct Views {
    views: Mutex<VecDeque<Arc<View>>>,
}

/// An excerpt with its texts.
#[derive(Debug)]
pub(super) struct View {
    ends: Ends,
    /// What is rendered of it, and who waits for it.
    pub(super) texts: Texts,
    /// The newest snapshot that was asked for, and what was cut out of it.
    newest: Mutex<Option<(Arc<Snapshot>, Arc<Snapshot>)>>,
}

impl Views {
    /// The view of an excerpt, written by a channel's options.
    pub(super) fn view(&self, ends: Ends, options: &Options) -> Arc<View> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let known = views.iter().position(|view| view.ends == ends);
        let view = known.and_then(|at| views.remove(at)).unwrap_or_else(|| {
            let texts = Texts { options: options.based(ends.base()), ..Texts::default() };
            Arc::new(View { ends, texts, newest: Mutex::default() })
        });
        if views.len() >= VIEWS {
            views.pop_front();
        }
        views.push_back(Arc::clone(&view));
        view
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl View {
    /// The excerpt as of a snapshot of its channel.
    ///
    /// # Errors
    /// [`NoExcerpt`], where that has none.
    pub(super) fn cut(&self, snapshot: &Arc<Snapshot>) -> Result<Arc<Snapshot>, NoExcerpt> {
        let known = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((of, cut)) = known
            && (Arc::ptr_eq(&of, snapshot) || stays(&cut, snapshot))
        {
            return Ok(cut);
        }
        let at = |millis| Timestamp::new(millis, Timescale::MILLIS);
        let cut = Arc::new(snapshot.excerpt(at(self.ends.from), self.ends.to.map(at))?);
        let newest = (Arc::clone(snapshot), Arc::clone(&cut));
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(newest);
        Ok(cut)
    }
}

/// The texts of assets that were asked for lately, the newest request last. An asset's timeline is one as
/// long as it is kept in memory.
#[derive(Debug, Default)]
pub(super) struct Vods {
    texts: Mutex<VecDeque<(Arc<Snapshot>, Arc<Texts>)>>,
}

impl Vods {
    /// The texts of an asset with this timeline.
    pub(super) fn texts(
        &self,
        of: &Arc<Snapshot>,
        options: impl FnOnce() -> Options,
    ) -> Arc<Texts> {
        let mut all = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|(timeline, _)| Arc::ptr_eq(timeline, of));
        let entry = known.and_then(|at| all.remove(at)).unwrap_or_else(|| {
            let texts = Texts { options: options(), ..Texts::default() };
            (Arc::clone(of), Arc::new(texts))
        });
        let texts = Arc::clone(&entry.1);
        if all.len() >= VIEWS {
            all.pop_front();
        }
        all.push_back(entry);
        texts
    }
}

/// Whether an excerpt that never changes is all in a later window too.
fn stays(cut: &Snapshot, snapshot: &Snapshot) -> bool {
    cut.state == State::Whole && snapshot.first_k() <= cut.first_k() && snapshot.first_k().is_some()
}

/// Seconds for which an excerpt that never changes may be kept: until its oldest segment leaves the window.
/// It can be fetched for as long again, by who has the list by then.
pub(super) fn kept_for(cut: &Snapshot, snapshot: &Snapshot) -> u32 {
    let (Some(first), Some(last)) = (cut.first_k(), snapshot.last_k()) else { return 1 };
    let format = &snapshot.format;
    let left = first.saturating_add(format.window_segments()).saturating_sub(last);
    let millis = format.grid.segment().ticks_in(Timescale::MILLIS, Rounding::Floor);
    let seconds = left.saturating_mul(millis) / 1_000;
    u32::try_from(seconds).unwrap_or(KEPT).clamp(1, KEPT)
}
