//! The finished segments of a rendition, as snapshots share them, and what has been written of them.
//!
//! A window of a day has tens of thousands: the list is copied when a segment comes or goes and never for a
//! part, and a page of [`PAGE`] segments, once all of it is there, is written once by each kind of reader,
//! however long it stays in the window.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use super::Segment;

/// Segments in a page: their lines are some 3 kB, and a list of a day has 850 pages.
pub const PAGE: u64 = 64;

/// Segments, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Segments {
    list: Arc<Vec<Arc<Segment>>>,
    pages: Arc<Pages>,
}

/// What has been written of whole pages, by number and kind of text.
#[derive(Debug, Default)]
pub(super) struct Pages(Mutex<Texts>);

/// By number of the page, and there by kind.
type Texts = BTreeMap<u64, Vec<(String, Arc<str>)>>;

impl Pages {
    /// Forgets what lies before segment `k`.
    pub(super) fn forget_before(&self, k: u64) {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while pages.first_key_value().is_some_and(|(page, _)| (page + 1).saturating_mul(PAGE) <= k)
        {
            pages.pop_first();
        }
    }
}

impl Segments {
    /// A list with the pages of the timeline that it is of.
    pub(super) fn new(list: Vec<Arc<Segment>>, pages: Arc<Pages>) -> Self {
        Self { list: Arc::new(list), pages }
    }

    /// The same timeline's segments from a position on.
    pub(super) fn rest(&self, position: usize) -> Self {
        let list = self.list.get(position..).unwrap_or_default().to_vec();
        Self { list: Arc::new(list), pages: Arc::clone(&self.pages) }
    }

    /// Drops the segments that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&Arc<Segment>) -> bool) {
        self.pages = Arc::default();
        Arc::make_mut(&mut self.list).retain(keep);
    }

    /// What `make` writes of the page that begins at `position`, once for all. The caller sees to it that
    /// the page is all there, and that what it writes follows from the page, the segment before it and
    /// `kind` alone.
    pub(crate) fn page(
        &self,
        position: usize,
        kind: &str,
        make: impl FnOnce() -> String,
    ) -> Arc<str> {
        let number = self.list.get(position).map_or(0, |segment| segment.k / PAGE);
        let known = |pages: &Texts| {
            let texts = pages.get(&number)?;
            texts.iter().find(|(of, _)| of == kind).map(|(_, text)| Arc::clone(text))
        };
        if let Some(text) = known(&self.pages.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return text;
        }
        // Not held while it is written: who writes the same meanwhile writes the same.
        let text: Arc<str> = make().into();
        let mut pages = self.pages.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = known(&pages) {
            return text;
        }
        pages.entry(number).or_default().push((kind.to_owned(), Arc::clone(&text)));
        text
    }
}

impl Deref for Segments {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl PartialEq for Segments {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

impl Eq for Segments {}

impl From<Vec<Arc<Segment>>> for Segments {
    fn from(list: Vec<Arc<Segment>>) -> Self {
        Self::new(list, Arc::default())
    }
}

impl FromIterator<Arc<Segment>> for Segments {
    fn from_iter<I: IntoIterator<Item = Arc<Segment>>>(segments: I) -> Self {
        Vec::from_iter(segments).into()
    }
}

impl Extend<Arc<Segment>> for Segments {
    fn extend<I: IntoIterator<Item = Arc<Segment>>>(&mut self, segments: I) {
        Arc::make_mut(&mut self.list).extend(segments);
    }
}

/// What was written of them is of no use then.
impl<'a> IntoIterator for &'a mut Segments {
    type Item = &'a mut Arc<Segment>;
    type IntoIter = std::slice::IterMut<'a, Arc<Segment>>;

    fn into_iter(self) -> Self::IntoIter {
        self.pages = Arc::default();
        Arc::make_mut(&mut self.list).iter_mut()
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Arc<Segment>;
    type IntoIter = std::slice::Iter<'a, Arc<Segment>>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
