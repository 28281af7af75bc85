//! The finished segments of a rendition, as snapshots share them, and what has been written of them.
//!
//! A window of a day has tens of thousands. They lie in pages of [`PAGE`] that begin at multiples of it,
//! as numbers have no hole; who adds one has a page's worth to copy and the list of pages, and who takes a
//! snapshot has nothing to copy. A page keeps its lines once all of it is there and some reader has written
//! them, however long it stays in the window.
//!
//! Excerpts may leave numbers out. Their pages begin anywhere, and no lines are kept of them.

use std::fmt;
use std::ops::{Index, Range};
use std::sync::{Arc, Mutex, PoisonError};

use super::Segment;

/// Segments in a page: their lines are some 3 kB, and a list of a day has 850 pages.
pub const PAGE: u64 = 64;
/// The same, of places.
const PLACES: usize = 64;

/// Segments, oldest first.
#[derive(Clone, Default)]
pub struct Segments(Arc<List>);

#[derive(Clone, Default)]
struct List {
    pages: Vec<Arc<Page>>,
    /// Place of the oldest segment in the first page.
    first: usize,
    len: usize,
}

/// Up to [`PAGE`] segments.
#[derive(Default)]
struct Page {
    /// Place of the first of them: 0 but in the page that a list begins with.
    begins: usize,
    segments: Vec<Segment>,
    /// What has been written of all of it, by kind.
    texts: Mutex<Vec<(String, Arc<str>)>>,
}

/// For who is about to change it: without what was written of it.
impl Clone for Page {
    fn clone(&self) -> Self {
        let mut segments = Vec::with_capacity(PLACES.saturating_sub(self.begins));
        segments.extend(self.segments.iter().cloned());
        Self { begins: self.begins, segments, texts: Mutex::default() }
    }
}

impl Page {
    fn at(begins: usize) -> Self {
        let segments = Vec::with_capacity(PLACES.saturating_sub(begins));
        Self { begins, segments, texts: Mutex::default() }
    }

    /// The place behind its last segment.
    fn ends(&self) -> usize {
        self.begins.saturating_add(self.segments.len())
    }
}

impl List {
    fn get(&self, position: usize) -> Option<&Segment> {
        if position >= self.len {
            return None;
        }
        let place = self.first.checked_add(position)?;
        let page = self.pages.get(place / PLACES)?;
        page.segments.get((place % PLACES).checked_sub(page.begins)?)
    }

    fn push(&mut self, segment: Segment) {
        if self.pages.last().is_none_or(|last| last.ends() >= PLACES) {
            let begins = match self.pages.is_empty() {
                true => usize::try_from(segment.k % PAGE).unwrap_or(0),
                false => 0,
            };
            if self.pages.is_empty() {
                self.first = begins;
            }
            self.pages.push(Arc::new(Page::at(begins)));
        }
        if let Some(last) = self.pages.last_mut() {
            Arc::make_mut(last).segments.push(segment);
            self.len = self.len.saturating_add(1);
        }
    }

    /// Leaves out the oldest ones.
    fn skip(&mut self, count: usize) {
        let count = count.min(self.len);
        if count == self.len {
            return *self = Self::default();
        }
        self.len = self.len.saturating_sub(count);
        let first = self.first.saturating_add(count);
        self.pages.drain(..(first / PLACES).min(self.pages.len()));
        self.first = first % PLACES;
    }
}

impl Segments {
    /// All of them.
    pub fn all(&self) -> Slice<'_> {
        Slice { list: &self.0, range: (0, self.0.len) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// The oldest.
    pub fn first(&self) -> Option<&Segment> {
        self.all().first()
    }

    /// The newest.
    pub fn last(&self) -> Option<&Segment> {
        self.all().last()
    }

    /// The one at a position.
    pub fn get(&self, position: usize) -> Option<&Segment> {
        self.0.get(position)
    }

    /// The one with a number.
    pub fn number(&self, k: u64) -> Option<&Segment> {
        let position = self.all().partition_point(|segment| segment.k < k);
        self.get(position).filter(|segment| segment.k == k)
    }

    /// Each of them.
    pub fn iter(&self) -> Iter<'_> {
        self.all().into_iter()
    }

    /// Each of them, to be changed; what was written of them is forgotten.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        let list = Arc::make_mut(&mut self.0);
        list.pages.iter_mut().flat_map(|page| {
            let page = Arc::make_mut(page);
            page.texts = Mutex::default();
            &mut page.segments
        })
    }

    /// Adds one behind the newest.
    pub(super) fn push(&mut self, segment: Segment) {
        Arc::make_mut(&mut self.0).push(segment);
    }

    /// Takes out the oldest ones, as long as `leaves` says so.
    pub(super) fn take_first(&mut self, mut leaves: impl FnMut(&Segment) -> bool) -> Vec<Segment> {
        let left: Vec<_> = self.iter().take_while(|segment| leaves(segment)).cloned().collect();
        if !left.is_empty() {
            Arc::make_mut(&mut self.0).skip(left.len());
        }
        left
    }

    /// Those from a position on.
    pub(super) fn rest(&self, position: usize) -> Self {
        let mut rest = self.clone();
        Arc::make_mut(&mut rest.0).skip(position);
        rest
    }

    /// Drops the segments that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(&Segment) -> bool) {
        *self = self.iter().filter(|segment| keep(segment)).cloned().collect();
    }

    /// The whole page that begins at a position, if one does.
    pub(crate) fn page(&self, position: usize) -> Option<WholePage<'_>> {
        let place = self.0.first.checked_add(position)?;
        let page = self.0.pages.get(place / PLACES)?;
        let whole = place.is_multiple_of(PLACES) && page.begins == 0 && page.ends() == PLACES;
        let numbers = page.segments.first()?.k..page.segments.last()?.k;
        let numbered =
            numbers.start.is_multiple_of(PAGE) && numbers.end - numbers.start == PAGE - 1;
        (whole && numbered).then_some(WholePage { page })
    }
}

/// A page that is all there, whose numbers are without a hole and begin at a multiple of [`PAGE`].
#[derive(Clone, Copy)]
pub(crate) struct WholePage<'a> {
    page: &'a Page,
}

impl<'a> WholePage<'a> {
    /// Its segments.
    pub(crate) fn segments(self) -> &'a [Segment] {
        &self.page.segments
    }

    /// What `make` writes of it, once for all. The caller sees to it that that follows from the page, the
    /// segment before it and `kind` alone.
    pub(crate) fn text(self, kind: &str, make: impl FnOnce() -> String) -> Arc<str> {
        let texts = || self.page.texts.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |texts: &[(String, Arc<str>)]| {
            texts.iter().find(|(of, _)| of == kind).map(|(_, text)| Arc::clone(text))
        };
        if let Some(text) = known(&texts()) {
            return text;
        }
        // Not held while it is written: who writes the same meanwhile writes the same.
        let text: Arc<str> = make().into();
        let mut texts = texts();
        known(&texts).unwrap_or_else(|| {
            texts.push((kind.to_owned(), Arc::clone(&text)));
            text
        })
    }
}

/// Some of the segments of a list, one after the other.
#[derive(Clone, Copy)]
pub struct Slice<'a> {
    list: &'a List,
    /// Positions in the list: of the first, and behind the last.
    range: (usize, usize),
}

static NOTHING: List = List { pages: Vec::new(), first: 0, len: 0 };

/// None.
impl Default for Slice<'_> {
    fn default() -> Self {
        Self { list: &NOTHING, range: (0, 0) }
    }
}

impl<'a> Slice<'a> {
    /// How many there are.
    pub fn len(self) -> usize {
        self.range.1.saturating_sub(self.range.0)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The oldest.
    pub fn first(self) -> Option<&'a Segment> {
        self.get(0)
    }

    /// The newest.
    pub fn last(self) -> Option<&'a Segment> {
        self.get(self.len().checked_sub(1)?)
    }

    /// The one at a position.
    pub fn get(self, position: usize) -> Option<&'a Segment> {
        let position = self.range.0.checked_add(position)?;
        (position < self.range.1).then(|| self.list.get(position))?
    }

    /// Those at some positions; as many as there are.
    #[must_use]
    pub fn within(self, positions: Range<usize>) -> Self {
        let at = |position: usize| self.range.0.saturating_add(position).min(self.range.1);
        let from = at(positions.start);
        Self { range: (from, at(positions.end).max(from)), ..self }
    }

    /// The newest, and those before it.
    pub fn split_last(self) -> Option<(&'a Segment, Self)> {
        let before = self.len().checked_sub(1)?;
        Some((self.get(before)?, self.within(0..before)))
    }

    /// How many come before the first of which `is_before` does not hold; it holds of all before that.
    pub fn partition_point(self, mut is_before: impl FnMut(&Segment) -> bool) -> usize {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.get(middle) {
                Some(segment) if is_before(segment) => from = middle.saturating_add(1),
                _ => to = middle,
            }
        }
        from
    }

    /// Each of them.
    pub fn iter(self) -> Iter<'a> {
        Iter { rest: self }
    }
}

impl Index<usize> for Slice<'_> {
    type Output = Segment;

    #[expect(clippy::expect_used, reason = "as of any slice")]
    fn index(&self, position: usize) -> &Segment {
        self.get(position).expect("a position within")
    }
}

impl Index<usize> for Segments {
    type Output = Segment;

    #[expect(clippy::expect_used, reason = "as of any slice")]
    fn index(&self, position: usize) -> &Segment {
        self.get(position).expect("a position within")
    }
}

/// Goes over segments.
#[derive(Clone)]
pub struct Iter<'a> {
    rest: Slice<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Segment;

    fn next(&mut self) -> Option<&'a Segment> {
        self.nth(0)
    }

    fn nth(&mut self, count: usize) -> Option<&'a Segment> {
        let segment = self.rest.get(count);
        self.rest = self.rest.within(count.saturating_add(1)..usize::MAX);
        segment
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.rest.len(), Some(self.rest.len()))
    }
}

impl<'a> DoubleEndedIterator for Iter<'a> {
    fn next_back(&mut self) -> Option<&'a Segment> {
        let (last, before) = self.rest.split_last()?;
        self.rest = before;
        Some(last)
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for Slice<'a> {
    type Item = &'a Segment;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a Segments {
    type Item = &'a Segment;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Segments {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.iter().eq(other)
    }
}

impl Eq for Segments {}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl FromIterator<Segment> for Segments {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Self {
        let mut list = Self::default();
        list.extend(segments);
        list
    }
}

impl Extend<Segment> for Segments {
    fn extend<I: IntoIterator<Item = Segment>>(&mut self, segments: I) {
        let list = Arc::make_mut(&mut self.0);
        segments.into_iter().for_each(|segment| list.push(segment));
    }
}

#[cfg(test)]
mod tests;
