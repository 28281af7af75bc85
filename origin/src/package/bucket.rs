//! A bucket of S3 that a file is packaged into.
//!
//! ```text
//! PREFIX index.m3u8, manifest.mpd, {rendition}/index.m3u8, {rendition}/iframes.m3u8
//! PREFIX {run}/{rendition}/init.mp4, {k}.m4s
//! PREFIX unfinished/{page}.jsonl    notes of 64 numbers each; not there at the end
//! ```
//! A segment is collected in memory, as an object has to be sent whole, and sent while the next ones are
//! made. It is noted as soon as the store has it, so that notes never name what is not there; what was sent
//! and not noted is found by its hash. The first page comes first and goes last: where it is, something was
//! broken off.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use packager::media::RunId;
use packager::segmenter::PartChunk;
use tokio::task::JoinSet;

use super::Error;
use super::film::Film;
use super::notes::{Head, Job, Noted};
use crate::clock::SystemClock;
use crate::store::s3::{Item, Settings, Unusable, Upstream};

/// Numbers of segments that a page of notes has: it is written anew with each of them, so it is to be small.
const PAGE: u64 = 64;
/// Objects that are being sent or wait for that: enough for the gate, and a bound on memory.
const UNDER_WAY: usize = 16;
/// The largest segment that is held in memory, in bytes. A minute of 100 Mb/s is less.
const LARGEST: usize = 1 << 30;

/// The bucket of one file.
#[derive(Debug)]
pub(super) struct Bucket {
    upstream: Arc<Upstream>,
    head: Head,
    open: BTreeMap<usize, BytesMut>,
    under_way: JoinSet<Result<Stored, Unusable>>,
    /// Pages of notes that have something new.
    news: BTreeSet<u64>,
    /// Whether a page is being sent: one at a time, so that an older one never comes last.
    noting: bool,
}

/// What the store has now.
#[derive(Debug)]
enum Stored {
    Segment(Noted),
    Page,
}

impl Bucket {
    /// Tries a bucket out and opens it for a job: at a prefix where nothing is, which begins as this run, or
    /// where the same job was broken off.
    pub(super) async fn open(s3: &Settings, job: Job, run: &RunId) -> Result<(Self, Film), Error> {
        let upstream =
            Upstream::new(s3.clone(), Arc::new(SystemClock::new())).map_err(Error::Thread)?;
        let place = upstream.place();
        let failed = |source| Error::Store { place: place.clone(), source };
        upstream.probe().await.map_err(failed)?;
        let mut known: Option<(Head, Vec<Noted>)> = None;
        for page in 0.. {
            let Some(bytes) = upstream.read(&page_name(page)).await.map_err(failed)? else { break };
            let read = Head::read(&String::from_utf8_lossy(&bytes), &job);
            match (known.as_mut(), read) {
                (None, Some(first)) => known = Some(first),
                (None, None) => return Err(Error::Taken { place }),
                (Some((head, noted)), Some((same, more))) if same == *head => noted.extend(more),
                // A page of something older.
                (Some(_), _) => break,
            }
        }
        let (head, noted) = match known {
            Some(known) => known,
            None if upstream.has("index.m3u8").await.map_err(failed)? => {
                return Err(Error::Taken { place });
            }
            None => {
                let head = Head::new(job, run);
                let (name, line) = (page_name(0), Bytes::from(head.line()));
                upstream.store(&name, line, Item::Notes).await.map_err(failed)?;
                (head, Vec::new())
            }
        };
        let film = Film::new(head.run(), noted);
        let bucket = Self {
            upstream,
            head,
            open: BTreeMap::new(),
            under_way: JoinSet::new(),
            news: BTreeSet::new(),
            noting: false,
        };
        Ok((bucket, film))
    }

    /// Where it is, for people.
    pub(super) fn name(&self) -> String {
        self.upstream.place()
    }

    fn failed(&self, source: Unusable) -> Error {
        Error::Store { place: self.name(), source }
    }

    fn page(&self, film: &Film, page: u64) -> String {
        let first_k = page * PAGE;
        self.head.line() + &film.notes(first_k, first_k + PAGE - 1)
    }

    /// Takes from the notes what a film has forgotten: segments from one number to another.
    pub(super) async fn forget(&self, film: &Film, from: u64, to: u64) -> Result<(), Error> {
        for page in from / PAGE..=to / PAGE {
            self.write(&page_name(page), self.page(film, page).into(), Item::Notes).await?;
        }
        Ok(())
    }

    /// An object, if it is there.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Bytes>, Error> {
        self.upstream.read(name).await.map_err(|source| self.failed(source))
    }

    /// Begins or continues a segment.
    pub(super) fn append(&mut self, chunk: &PartChunk) -> Result<(), Error> {
        let open = self.open.entry(chunk.rendition).or_default();
        if open.len().saturating_add(chunk.chunk.len()) > LARGEST {
            let words = format!(
                "segment {} is larger than {} MB, which is more than is held for S3: its key frames are too \
                 far apart, and a ladder has its own",
                chunk.k,
                LARGEST >> 20
            );
            return Err(Error::Unfit(words));
        }
        open.extend_from_slice(&chunk.chunk.head);
        chunk.chunk.samples.iter().for_each(|sample| open.extend_from_slice(sample));
        Ok(())
    }

    /// Closes a segment; it is sent while others are made.
    pub(super) async fn close(&mut self, film: &mut Film, noted: Noted) -> Result<(), Error> {
        let Some(bytes) = self.open.remove(&noted.rendition) else { return Ok(()) };
        let name = format!("{}/{}.m4s", film.media(noted.rendition), noted.k);
        let item = Item::Media { sound: film.is_sound(noted.rendition) };
        let upstream = Arc::clone(&self.upstream);
        self.under_way.spawn(async move {
            upstream.store(&name, bytes.freeze(), item).await?;
            Ok(Stored::Segment(noted))
        });
        while let Some(stored) = self.under_way.try_join_next() {
            self.stored(film, stored)?;
        }
        while self.under_way.len() >= UNDER_WAY {
            self.next(film).await?;
        }
        Ok(())
    }

    /// Waits until the store has everything that was closed.
    pub(super) async fn settle(&mut self, film: &mut Film) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.next(film).await?;
        }
        Ok(())
    }

    async fn next(&mut self, film: &mut Film) -> Result<(), Error> {
        match self.under_way.join_next().await {
            Some(stored) => self.stored(film, stored),
            None => Ok(()),
        }
    }

    /// Takes note of what the store has, and has it note that.
    fn stored(
        &mut self,
        film: &mut Film,
        stored: Result<Result<Stored, Unusable>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let stored = stored.unwrap_or_else(|error| Err(Unusable::Away(error.to_string())));
        match stored.map_err(|source| self.failed(source))? {
            Stored::Segment(noted) => {
                self.news.insert(noted.k / PAGE);
                film.add(noted);
            }
            Stored::Page => self.noting = false,
        }
        if self.noting {
            return Ok(());
        }
        let Some(page) = self.news.pop_first() else { return Ok(()) };
        let text = self.page(film, page);
        let upstream = Arc::clone(&self.upstream);
        self.noting = true;
        self.under_way.spawn(async move {
            upstream.store(&page_name(page), text.into(), Item::Notes).await?;
            Ok(Stored::Page)
        });
        Ok(())
    }

    /// Stores an object.
    pub(super) async fn write(&self, name: &str, bytes: Bytes, item: Item) -> Result<(), Error> {
        self.upstream.store(name, bytes, item).await.map_err(|source| self.failed(source))
    }

    /// Nothing is missing any more.
    pub(super) async fn finish(self, film: &Film) -> Result<(), Error> {
        for page in (0..=film.last_k() / PAGE).rev() {
            let gone = self.upstream.discard(&page_name(page)).await;
            gone.map_err(|source| self.failed(source))?;
        }
        Ok(())
    }
}

fn page_name(page: u64) -> String {
    format!("unfinished/{page}.jsonl")
}
