//! How long S3 keeps what no playlist lists any more: by age and by size, for each channel.
//!
//! What goes, goes a page at a time and the oldest first: its segments, then the page, then its name in
//! the head. Done half and then again, that comes to the same. What is listed is never looked at.

use std::sync::Arc;
use std::time::Duration;

use packager::media::RunId;
use tokio::task::JoinSet;

use super::Upstream;
use super::bucket::Error;
use super::drain::Source;
use super::index::{Head, Page, PageRef};

/// How long S3 keeps a channel's segments beyond its window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// After its end; `None`: for ever.
    pub age: Option<Duration>,
    /// All of the channel's segments together; `None`: any number.
    pub bytes: Option<u64>,
}

impl Keep {
    /// The oldest page, if its time is up.
    fn due<'a>(&self, head: &'a Head, now_ms: i64) -> Option<&'a PageRef> {
        let oldest = head.pages.first().filter(|page| page.last_k < head.first_k)?;
        let age = Duration::from_millis(now_ms.saturating_sub(oldest.end_ms).max(0).unsigned_abs());
        let is_old = self.age.is_some_and(|most| age > most);
        let all = head.pages.iter().fold(0u64, |sum, page| sum.saturating_add(page.bytes));
        let is_much = self.bytes.is_some_and(|most| all > most);
        (is_old || is_much).then_some(oldest)
    }
}

/// Deletes the oldest page if its time is up and there is nothing better to do.
pub(super) async fn sweep(upstream: &Arc<Upstream>, source: &Arc<Source>, head: &mut Head) {
    if source.outbox.waiting().segments > 0 {
        return;
    }
    let Some(page) = source.keep.due(head, upstream.now_ms()).cloned() else { return };
    if let Some(run) = page.run() {
        delete(upstream, source, &run, &page, head).await;
    }
    head.pages.retain(|kept| kept != &page);
    // The head that says so is written with the next number.
    tracing::debug!(channel = %source.channel, page.first_k, page.last_k, "deleted in S3");
}

async fn delete(
    upstream: &Arc<Upstream>,
    source: &Arc<Source>,
    run: &RunId,
    page: &PageRef,
    head: &Head,
) {
    let key = source.keys.page(run, page.first_k);
    let read = upstream.insist(&source.outbox, |bucket, within| {
        let key = key.clone();
        async move { bucket.get(&key, None, within).await }
    });
    let Ok(Ok(content)) = read.await.map(|object| Page::read(&object.bytes)) else { return };
    let mut keys: Vec<_> = content
        .segments
        .iter()
        .filter(|segment| segment.closed.has_media())
        .map(|segment| source.keys.segment(run, &segment.key.rendition, segment.key.k))
        .collect();
    let is_last = !head.pages.iter().any(|other| other != page && other.run == page.run)
        && !head.recent.iter().any(|segment| segment.key.run == page.run);
    if is_last {
        keys.extend(content.run.renditions.iter().map(|r| source.keys.init(run, &r.name)));
    }
    let mut deleting = JoinSet::new();
    for key in keys {
        let (upstream, source) = (Arc::clone(upstream), Arc::clone(source));
        deleting.spawn(async move { gone(&upstream, &source, key).await });
    }
    while deleting.join_next().await.is_some() {}
    gone(upstream, source, key).await;
}

/// Deletes an object. A store that refuses has rules of its own, and is not asked again.
async fn gone(upstream: &Upstream, source: &Source, key: String) {
    let deleted = upstream.insist(&source.outbox, |bucket, within| {
        let key = key.clone();
        async move {
            match bucket.delete(&key, within).await {
                Err(Error::Refused { .. }) => Ok(()),
                deleted => deleted,
            }
        }
    });
    if let Err(error) = deleted.await {
        tracing::debug!(key, %error, "not deleted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        let page = |n: u64| PageRef {
            run: "018f0000000".into(),
            first_k: n * 64,
            last_k: n * 64 + 63,
            bytes: 1_000,
            end_ms: i64::try_from(n * 1_000).unwrap(),
        };
        Head { first_k: 64 * 3 + 7, pages: (0..6).map(page).collect(), ..Head::default() }
    }

    #[test]
    fn the_oldest_goes_when_it_is_old_or_there_is_too_much_and_never_what_is_listed() {
        let mut head = head();
        let age = |millis| Keep { age: Some(Duration::from_millis(millis)), bytes: None };
        let first = |keep: Keep, head: &Head, now| keep.due(head, now).map(|page| page.first_k);
        assert_eq!(first(Keep::default(), &head, i64::MAX), None, "for ever");
        assert_eq!(first(age(5_000), &head, 5_000), None);
        assert_eq!(first(age(5_000), &head, 5_001), Some(0));
        let bytes = |bytes| Keep { age: None, bytes: Some(bytes) };
        assert_eq!(first(bytes(6_000), &head, 0), None);
        assert_eq!(first(bytes(5_999), &head, 0), Some(0));
        head.pages.drain(..3);
        assert_eq!(first(age(1), &head, i64::MAX), None, "page 3 has a listed number");
        assert_eq!(first(bytes(0), &head, i64::MAX), None);
    }
}
