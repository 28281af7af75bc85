//! The way of a channel's segments into S3, in order and each once.
//!
//! ```text
//! head (read back) ─► batch of numbers ─► init segments ─► segments, side by side ─► pages ─► head
//!                          ▲                                                                  │
//!                          └──────────────────── drained(k) ◄─────────────────────────────────┘
//! ```
//! The index names a number when all of it is there, so whoever reads the index never asks in vain.
//! Everything may be done twice: names have one content, and the head is written whole. After a
//! restart the head that is there says where to go on.
//!
//! Nothing here is waited for by anybody who makes or serves media.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use packager::media::{Name, RunId};
use tokio::task::JoinSet;

use super::bucket::{Error, Kind};
use super::index::{Head, Hole};
use super::keys::Keys;
use super::{Keep, Upstream, retention};
use crate::store::channel::Shared;
use crate::store::fs::Directory;
use crate::store::journal::{RunRecord, SegmentRecord};
use crate::store::live_edge::Place;
use crate::store::outbox::{Batch, Outbox};

/// Numbers that are sent together where there is a backlog: enough to keep the gate's places taken,
/// few enough that what is sent is soon named.
const BATCH: usize = 8;

/// Whose segments are sent, and where their bytes are.
#[derive(Debug)]
pub(in crate::store) struct Source {
    pub(in crate::store) channel: Name,
    pub(in crate::store) keys: Keys,
    pub(in crate::store) outbox: Arc<Outbox>,
    pub(in crate::store) shared: Arc<Shared>,
    pub(in crate::store) directory: Directory,
    pub(in crate::store) keep: Keep,
}

/// Sends what is in the outbox until nobody adds anything.
pub(super) async fn drain(upstream: Arc<Upstream>, source: Source) {
    let mut drain = Drain { upstream, source: Arc::new(source), inits: BTreeSet::new() };
    let mut head = drain.read_back().await;
    let outbox = Arc::clone(&drain.source.outbox);
    outbox.reconcile(head.last_k, |segment| head.names(segment));
    while let Some(batch) = outbox.batch(BATCH).await {
        let last = batch.numbers.last().map(|(k, _)| *k);
        drain.send(&mut head, batch).await;
        if let Some(k) = last {
            outbox.drained(k);
        }
        retention::sweep(&drain.upstream, &drain.source, &mut head).await;
    }
}

struct Drain {
    upstream: Arc<Upstream>,
    source: Arc<Source>,
    /// Runs whose init segments are there.
    inits: BTreeSet<String>,
}

impl Drain {
    /// The head that an earlier process left; an empty one if there is none.
    async fn read_back(&self) -> Head {
        let key = self.source.keys.head();
        let read = self.upstream.insist(&self.source.outbox, |bucket, within| {
            let key = key.clone();
            async move { bucket.get(&key, None, within).await }
        });
        match read.await.map(|object| Head::read(&object.bytes)) {
            Ok(Ok(head)) => head,
            Ok(Err(error)) => {
                let channel = &self.source.channel;
                tracing::error!(%channel, %error, key, "can't read the index in S3: it begins anew");
                Head::default()
            }
            Err(_) => Head::default(),
        }
    }

    /// Sends some numbers and names them.
    async fn send(&mut self, head: &mut Head, Batch { channel, numbers, holes }: Batch) {
        head.tell(&channel);
        let before = head.holes.len();
        for segment in holes {
            head.lose(Hole { segment, why: "the disk was full before S3 took it".to_owned() });
        }
        let used: BTreeSet<_> =
            numbers.iter().flat_map(|(_, segments)| segments).map(|s| s.key.run.clone()).collect();
        for run in used.iter().filter_map(|id| channel.runs.get(id)) {
            if !self.inits.contains(&run.id) {
                self.send_inits(run).await;
                self.inits.insert(run.id.clone());
            }
        }
        let mut sending = JoinSet::new();
        for (k, segments) in numbers {
            for segment in segments {
                let run = channel.runs.get(&segment.key.run);
                let sound = run.is_some_and(|run| run.is_sound(&segment.key.rendition));
                let (upstream, source) = (Arc::clone(&self.upstream), Arc::clone(&self.source));
                sending.spawn(async move {
                    (k, send_segment(&upstream, &source, segment, sound).await)
                });
            }
        }
        let mut sent: Vec<(u64, SegmentRecord, Option<&'static str>)> = Vec::new();
        while let Some(done) = sending.join_next().await {
            if let Ok((k, (record, hole))) = done {
                sent.push((k, record, hole));
            }
        }
        sent.sort_by(|a, b| (a.0, &a.1.key).cmp(&(b.0, &b.1.key)));
        for (k, record, hole) in sent {
            if let Some(why) = hole {
                head.lose(Hole { segment: record.key.clone(), why: why.to_owned() });
            }
            head.add(k, record);
        }
        while let Some((page, content)) = head.take_page() {
            let Some(run) = page.run() else { continue };
            let key = self.source.keys.page(&run, page.first_k);
            self.put_text(key, content.write(), Kind::Index { fixed: true }).await;
        }
        let json = Kind::Index { fixed: false };
        if head.holes.len() > before {
            let holes = serde_json::to_vec(&head.holes).unwrap_or_default();
            self.put_text(self.source.keys.holes(), holes, json).await;
        }
        self.put_text(self.source.keys.head(), head.write(), json).await;
    }

    async fn send_inits(&self, run: &RunRecord) {
        let Some(id) = RunId::parse(&run.id) else { return };
        for rendition in &run.renditions {
            let Ok(name) = Name::parse(&rendition.name) else { continue };
            let there = self.source.shared.read().init(id.as_str(), name.as_str());
            let Some(init) = there.or_else(|| self.source.directory.read_init(&id, &name).ok())
            else {
                let channel = &self.source.channel;
                tracing::error!(%channel, run = %id, rendition = %name, "an init segment is lost");
                continue;
            };
            let key = self.source.keys.init(&id, name.as_str());
            let kind = Kind::Media { sound: rendition.size.is_none() };
            let sent = put_once(&self.upstream, &self.source, &key, init, kind).await;
            if let Err(error) = sent {
                tracing::error!(channel = %self.source.channel, %error, "an init segment is not taken");
            }
        }
    }

    /// Writes an object that may be there already.
    async fn put_text(&self, key: String, bytes: Vec<u8>, kind: Kind) {
        let bytes = Bytes::from(bytes);
        let put = self.upstream.insist(&self.source.outbox, |bucket, within| {
            let (key, bytes) = (key.clone(), bytes.clone());
            async move { bucket.put(&key, bytes, kind, false, within).await }
        });
        if let Err(error) = put.await {
            // Of an answer that is no success to an unconditional PUT.
            tracing::error!(channel = %self.source.channel, key, %error, "the index is not taken");
            self.source.outbox.tally(|tally| tally.trouble = Some(error.to_string()));
        }
    }
}

/// Sends a segment, unless it has no media. Gives its record as it is to be named: as a gap, with the
/// reason, where its bytes are lost.
async fn send_segment(
    upstream: &Upstream,
    source: &Source,
    mut segment: SegmentRecord,
    sound: bool,
) -> (SegmentRecord, Option<&'static str>) {
    if !segment.closed.has_media() {
        return (segment, None);
    }
    let key = RunId::parse(&segment.key.run)
        .map(|run| source.keys.segment(&run, &segment.key.rendition, segment.key.k));
    let why = match (key, bytes_of(source, &segment).await) {
        (Some(key), Some(bytes)) => {
            match put_once(upstream, source, &key, bytes, Kind::Media { sound }).await {
                Ok(()) => return (segment, None),
                Err(Error::Collision { .. }) => "another server has written it",
                Err(_) => "the store does not take it",
            }
        }
        _ => "its bytes were lost before S3 had them",
    };
    tracing::error!(channel = %source.channel, key = ?segment.key, why, "a segment is missing in S3");
    source.outbox.tally(|tally| tally.lost = tally.lost.saturating_add(1));
    segment.closed.lose();
    (segment, Some(why))
}

/// Stores an object that never changes, and counts it.
async fn put_once(
    upstream: &Upstream,
    source: &Source,
    key: &str,
    bytes: Bytes,
    kind: Kind,
) -> Result<(), Error> {
    let (length, began) = (bytes.len() as u64, Instant::now());
    let put = upstream.insist(&source.outbox, |bucket, within| {
        let (key, bytes) = (key.to_owned(), bytes.clone());
        async move { bucket.put_once(&key, bytes, kind, within).await }
    });
    put.await?;
    source.outbox.took(began.elapsed());
    source.outbox.tally(|tally| {
        tally.uploads = tally.uploads.saturating_add(1);
        tally.uploaded_bytes = tally.uploaded_bytes.saturating_add(length);
    });
    Ok(())
}

/// The bytes of a segment, from memory or its file, if they are as many as its record says.
async fn bytes_of(source: &Source, segment: &SegmentRecord) -> Option<Bytes> {
    let (run, name, k) = (&segment.key.run, &segment.key.rendition, segment.key.k);
    let length = usize::try_from(segment.closed.parts.bytes()).ok()?;
    let found = source.shared.read().find(run, name, k, None);
    let bytes = match found.map(|found| found.place) {
        Some(Place::Memory { pieces, .. }) => Bytes::from(pieces.concat()),
        _ => {
            let path = source.directory.segment(&RunId::parse(run)?, &Name::parse(name).ok()?, k);
            Bytes::from(tokio::fs::read(path).await.ok()?)
        }
    };
    (bytes.len() == length).then_some(bytes)
}
