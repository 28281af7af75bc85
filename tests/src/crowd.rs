//! Many viewers of low-latency HLS at once, without decoders: each waits for the next part with a
//! blocking reload, fetches it, and goes on, on two connections that it keeps.
//!
//! All of them run on one thread, so that what is measured is the edge's work and not theirs. What
//! each had, and when, is kept for the test to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::{Context, Failure, Result};

/// The longest an answer may take, on a machine that runs other tests.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The largest header of an answer.
const LARGEST_HEAD: usize = 32 * 1024;

/// What all viewers had of one address.
#[derive(Clone, Debug, Default)]
pub struct Had {
    /// When each viewer had all of it.
    pub at: Vec<Instant>,
    /// The digests of what they had.
    pub digests: BTreeSet<[u8; 32]>,
    /// The origin's answers that it was made of.
    pub ids: BTreeSet<String>,
}

impl Had {
    /// From the first viewer that had it to the last.
    pub fn spread(&self) -> Duration {
        let (first, last) = (self.at.iter().min(), self.at.iter().max());
        first.zip(last).map(|(first, last)| *last - *first).unwrap_or_default()
    }
}

/// What a crowd had, by path and query.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Playlists that were waited for.
    pub playlists: BTreeMap<String, Had>,
    /// Parts.
    pub parts: BTreeMap<String, Had>,
}

/// Lets `viewers` watch the media playlist at `path` of `edge` until each has had `parts` parts of it.
///
/// # Errors
/// If one of them is not answered as a viewer should be.
pub fn watch(edge: SocketAddr, path: &str, viewers: usize, parts: usize) -> Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("runtime of the viewers")?;
    runtime.block_on(async {
        let mut watching = JoinSet::new();
        for _ in 0..viewers {
            watching.spawn(view(edge, path.to_owned(), parts));
        }
        let mut seen = Seen::default();
        for viewed in watching.join_all().await {
            let viewed = viewed?;
            merge(&mut seen.playlists, viewed.playlists);
            merge(&mut seen.parts, viewed.parts);
        }
        Ok(seen)
    })
}

fn merge(all: &mut BTreeMap<String, Had>, one: BTreeMap<String, Had>) {
    for (path, had) in one {
        let entry = all.entry(path).or_default();
        entry.at.extend(had.at);
        entry.digests.extend(had.digests);
        entry.ids.extend(had.ids);
    }
}

/// One viewer.
async fn view(edge: SocketAddr, path: String, parts: usize) -> Result<Seen> {
    let mut lists = Connection::open(edge).await?;
    let mut media = Connection::open(edge).await?;
    let mut seen = Seen::default();
    let mut position = next(&lists.get(&path).await?.text()?)?;
    let mut known: Option<BTreeSet<String>> = None;
    while seen.parts.len() < parts {
        let (msn, part) = position;
        let wanted = format!("{path}?_HLS_msn={msn}&_HLS_part={part}");
        let answer = lists.get(&wanted).await?;
        let text = answer.text()?;
        note(&mut seen.playlists, &wanted, &answer);
        position = next(&text)?;
        if position <= (msn, part) {
            return Err(Failure::new(format!("{wanted} was answered without that part")));
        }
        let listed: BTreeSet<String> = addresses(&text, &path).into_iter().collect();
        // What was there before the first answer is nothing to wait for.
        let known = known.get_or_insert_with(|| listed.clone());
        let new: Vec<_> = listed.difference(known).cloned().collect();
        known.extend(listed);
        for part in new {
            let answer = media.get(&part).await?;
            note(&mut seen.parts, &part, &answer);
        }
    }
    Ok(seen)
}

fn note(all: &mut BTreeMap<String, Had>, path: &str, answer: &Answer) {
    let had = all.entry(path.to_owned()).or_default();
    had.at.push(answer.at);
    had.digests.insert(digest(&answer.body));
    had.ids.extend(answer.header("headwater-answer"));
}

/// The digest by which bodies are compared.
pub fn digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Number and part of what comes after a playlist's end.
fn next(text: &str) -> Result<(u64, u64)> {
    let mut number = None;
    let mut parts = 0;
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            number = value.parse::<u64>().ok();
        } else if line.starts_with("#EXT-X-PART:") {
            parts += 1;
        } else if !line.starts_with('#') && !line.is_empty() {
            number = number.map(|number| number + 1);
            parts = 0;
        }
    }
    Ok((number.context("a playlist's number")?, parts))
}

/// Paths of the parts that a playlist lists.
fn addresses(text: &str, playlist: &str) -> Vec<String> {
    let parts = text.lines().filter(|line| line.starts_with("#EXT-X-PART:"));
    let uris = parts.filter_map(|line| line.split("URI=\"").nth(1)?.split('"').next());
    uris.map(|uri| resolved(playlist, uri)).collect()
}

/// A relative address as a path of the host.
fn resolved(base: &str, uri: &str) -> String {
    if uri.starts_with('/') {
        return uri.to_owned();
    }
    let mut folders: Vec<&str> = base.split('/').collect();
    folders.pop();
    for step in uri.split('/') {
        match step {
            "." => {}
            ".." => drop(folders.pop()),
            name => folders.push(name),
        }
    }
    folders.join("/")
}

/// An answer, and when all of it was there.
struct Answer {
    head: String,
    body: Bytes,
    at: Instant,
}

impl Answer {
    fn header(&self, name: &str) -> Option<String> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn text(&self) -> Result<String> {
        String::from_utf8(self.body.to_vec()).context("a playlist as text")
    }
}

/// A connection that is kept: HTTP/1.1, one question at a time.
struct Connection {
    stream: TcpStream,
    read: BytesMut,
}

impl Connection {
    async fn open(edge: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(edge).await.context("connection to the edge")?;
        stream.set_nodelay(true).context("connection to the edge")?;
        Ok(Self { stream, read: BytesMut::new() })
    }

    /// Gets a path and insists on status 200.
    async fn get(&mut self, path: &str) -> Result<Answer> {
        let asking = tokio::time::timeout(ANSWER_WITHIN, self.ask(path));
        asking.await.context(format!("answer to {path}"))?
    }

    async fn ask(&mut self, path: &str) -> Result<Answer> {
        let question = format!("GET {path} HTTP/1.1\r\nHost: edge.invalid\r\n\r\n");
        self.stream.write_all(question.as_bytes()).await.context("a question")?;
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if self.read.len() > LARGEST_HEAD {
                return Err(Failure::new(format!("{path}: a header without an end")));
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.read.split_to(end + 4)).into_owned();
        let mut answer = Answer { head, body: Bytes::new(), at: Instant::now() };
        answer.body = match answer.header("content-length") {
            Some(length) => {
                let length = length.parse::<usize>().context("Content-Length")?;
                self.exactly(length).await?
            }
            None => self.chunks().await?,
        };
        answer.at = Instant::now();
        let first = answer.head.lines().next().unwrap_or_default();
        if first.split(' ').nth(1) == Some("200") {
            Ok(answer)
        } else {
            Err(Failure::new(format!("{path}: {first}")))
        }
    }

    async fn more(&mut self) -> Result {
        let count = self.stream.read_buf(&mut self.read).await.context("an answer")?;
        if count == 0 { Err(Failure::new("the edge closed the connection")) } else { Ok(()) }
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes> {
        while self.read.len() < length {
            self.more().await?;
        }
        Ok(self.read.split_to(length).freeze())
    }

    async fn chunks(&mut self) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let end = loop {
                if let Some(end) = self.read.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let line = String::from_utf8_lossy(&self.read.split_to(end + 2)).into_owned();
            let size = line.split(';').next().unwrap_or_default().trim().to_owned();
            let size = usize::from_str_radix(&size, 16).context("size of a chunk")?;
            body.extend_from_slice(&self.exactly(size).await?);
            self.exactly(2).await?.advance(2);
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_knows_what_comes_next_and_where_parts_are() {
        let text = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:1.6,\n../r/v/7.m4s\n\
                    #EXT-X-PART:DURATION=0.2,URI=\"../r/v/8.0.m4s\"\n\
                    #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"../r/v/8.1.m4s\"\n";
        assert_eq!(next(text).unwrap(), (8, 1));
        assert_eq!(addresses(text, "/live/a/v/index.m3u8"), ["/live/a/r/v/8.0.m4s"]);
    }
}
