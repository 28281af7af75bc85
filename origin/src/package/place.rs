//! Where a packaged file goes, a folder or a bucket, and what a segmenter makes on its way there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use packager::media::{Rendition, RunId};
use packager::segmenter::Output;
use packager::timeline::Part;

use super::bucket::Bucket;
use super::film::Film;
use super::folder::Folder;
use super::notes::{Job, Noted};
use super::{Error, Target};
use crate::store::s3::Item;

/// A file that is being packaged, and where to.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) film: Film,
    way: Way,
    /// The segments that are not whole yet, of each rendition one.
    open: BTreeMap<usize, Noted>,
}

#[derive(Debug)]
enum Way {
    Folder(Folder),
    Bucket(Box<Bucket>),
}

impl Place {
    /// Opens a place for a job: one where nothing is, which begins as this run, or one where the same job was
    /// broken off.
    pub(super) async fn open(target: &Target, job: Job, run: &RunId) -> Result<Self, Error> {
        let (way, film) = match target {
            Target::Folder(path) => {
                let (folder, film) = Folder::open(path, job, run)?;
                (Way::Folder(folder), film)
            }
            Target::S3(s3) => {
                let (bucket, film) = Bucket::open(s3, job, run).await?;
                (Way::Bucket(Box::new(bucket)), film)
            }
        };
        Ok(Self { film, way, open: BTreeMap::new() })
    }

    fn name(&self) -> String {
        match &self.way {
            Way::Folder(folder) => folder.name(),
            Way::Bucket(bucket) => bucket.name(),
        }
    }

    /// Begins with these renditions, at segment `first_k`, or with all of them again if that is 0.
    pub(super) async fn begin(
        &mut self,
        renditions: &Arc<[Rendition]>,
        first_k: u64,
    ) -> Result<(), Error> {
        // Before the first of them is written over: notes would name it as it was.
        let Some(last_k) = self.film.begin(renditions, first_k) else { return Ok(()) };
        match &mut self.way {
            Way::Folder(folder) => folder.forget(&self.film),
            Way::Bucket(bucket) => bucket.forget(&self.film, first_k, last_k).await,
        }
    }

    /// Takes what a segmenter has made.
    pub(super) async fn take(&mut self, output: Output) -> Result<(), Error> {
        match output {
            Output::Init { rendition, bytes } => self.init(rendition, bytes).await,
            Output::Chunk(chunk) => {
                if self.film.has(chunk.rendition, chunk.k) {
                    return Ok(());
                }
                let (rendition, k, start) = (chunk.rendition, chunk.k, chunk.start);
                let open = self.open.entry(rendition);
                let noted =
                    open.or_insert_with(|| Noted { rendition, k, start, parts: Vec::new() });
                let bytes = u32::try_from(chunk.chunk.len()).unwrap_or(u32::MAX);
                let (duration, independent) = (chunk.duration, chunk.independent);
                let first_sample = chunk.first_sample;
                noted.parts.push(Part { duration, bytes, independent, first_sample });
                match &mut self.way {
                    Way::Folder(folder) => folder.append(&self.film, &chunk),
                    Way::Bucket(bucket) => bucket.append(&chunk),
                }
            }
            Output::SegmentClosed { rendition, .. } => {
                let Some(noted) = self.open.remove(&rendition) else { return Ok(()) };
                match &mut self.way {
                    Way::Folder(folder) => folder.close(&mut self.film, noted),
                    Way::Bucket(bucket) => bucket.close(&mut self.film, noted).await,
                }
            }
            Output::Shifted(_) | Output::Spliced { .. } | Output::Off { .. } => Ok(()),
        }
    }

    async fn init(&mut self, rendition: usize, bytes: Bytes) -> Result<(), Error> {
        let name = format!("{}/init.mp4", self.film.media(rendition));
        if self.film.kept() > 0 {
            let there = match &self.way {
                Way::Folder(folder) => folder.read(&name).map(Bytes::from),
                Way::Bucket(bucket) => bucket.read(&name).await?,
            };
            // Segments of another encoder don't go with this one's.
            if there.is_some_and(|there| there != bytes) {
                return Err(Error::Taken { place: self.name() });
            }
        }
        let item = Item::Media { sound: self.film.is_sound(rendition) };
        self.write(&name, bytes.clone(), item).await?;
        self.film.init(rendition, bytes);
        Ok(())
    }

    /// Waits until everything that was taken is where it is to be.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        match &mut self.way {
            Way::Folder(_) => Ok(()),
            Way::Bucket(bucket) => bucket.settle(&mut self.film).await,
        }
    }

    /// Writes an object, whole or not at all.
    pub(super) async fn write(&self, name: &str, bytes: Bytes, item: Item) -> Result<(), Error> {
        match &self.way {
            Way::Folder(folder) => folder.write(name, &bytes),
            Way::Bucket(bucket) => bucket.write(name, bytes, item).await,
        }
    }

    /// Nothing is missing any more.
    pub(super) async fn finish(self) -> Result<(), Error> {
        match self.way {
            Way::Folder(folder) => folder.finish(),
            Way::Bucket(bucket) => bucket.finish(&self.film).await,
        }
    }
}
