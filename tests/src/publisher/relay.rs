//! A broadcaster with its hand on the wire: ffmpeg encodes, the test changes the FLV tags, and our
//! own RTMP client sends them. For sources that no well-behaved program makes.

use std::io::Read;
use std::process::ChildStdout;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ingest::rtmp::amf0::Value;
use ingest::rtmp::client;
use packager::media::VideoCodec;

use super::{Publisher, Source};
use crate::{Context, Failure, Result};

/// A tag of FLV, which is a message of RTMP.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// Milliseconds; decoding time.
    pub at_ms: u32,
    /// What it is.
    pub body: Body,
}

/// What a tag holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// avcC.
    VideoConfig(Vec<u8>),
    /// A picture.
    Video {
        /// Whether decoding can start here.
        key: bool,
        /// Presentation time minus decoding time, in milliseconds.
        composition_ms: i32,
        /// NAL units with their lengths.
        data: Vec<u8>,
    },
    /// AudioSpecificConfig.
    AudioConfig(Vec<u8>),
    /// A raw AAC frame.
    Audio(Vec<u8>),
    /// A data message; ffmpeg sends none that is passed on.
    Data {
        /// What it is called.
        name: String,
        /// What it says.
        values: Vec<Value>,
    },
}

/// Changes what is sent: gets each tag, gives what is sent in its place.
pub type Edit = Box<dyn FnMut(Tag) -> Vec<Tag> + Send>;

/// A running relay. Dropping it cuts the connection without a goodbye.
#[derive(Debug)]
pub struct Relay {
    publisher: Publisher,
    thread: Option<JoinHandle<Result>>,
}

impl Relay {
    /// Publishes `source` to `rtmp://{server}/live/{stream}`, changed by `edit`.
    ///
    /// # Errors
    /// If the encoder can't be started. A refusal shows in [`Self::ended`].
    pub fn start(source: Source, server: &str, stream: &str, edit: Edit) -> Result<Self> {
        Self::start_all(source, server, vec![(stream.to_owned(), edit)])
    }

    /// Publishes one `source` to several streams, each changed by its own edit. One that is refused
    /// ends all.
    ///
    /// # Errors
    /// If the encoder can't be started.
    pub fn start_all(source: Source, server: &str, streams: Vec<(String, Edit)>) -> Result<Self> {
        // A worker of its own looks after the sockets while the thread waits for the encoder's pipe.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .context("runtime of the relay")?;
        // Before the encoder begins, or its first pictures would wait in the pipe.
        let connected = runtime.block_on(connect(server, streams));
        let (publisher, pipe) = Publisher::start_piped(source)?;
        let thread = std::thread::spawn(move || runtime.block_on(relay(pipe, connected?)));
        Ok(Self { publisher, thread: Some(thread) })
    }

    /// The publisher behind it, for its feed.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Waits until the server ends the publication; gives the reason that it told.
    ///
    /// # Errors
    /// If the server still takes it after `bound`, or nothing was ever wrong.
    pub fn ended(mut self, bound: Duration) -> Result<String> {
        let deadline = Instant::now() + bound;
        let thread = self.thread.take().context("a relay at work")?;
        while !thread.is_finished() {
            if Instant::now() > deadline {
                return Err(Failure::new(format!(
                    "the server still takes the source after {bound:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        match thread.join().map_err(|_| Failure::new("the relay panicked"))? {
            Ok(()) => Err(Failure::new("the source ended without a refusal")),
            Err(failure) => Ok(failure.to_string()),
        }
    }

    /// Whether it still sends.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|t| !t.is_finished())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Without its encoder the pipe ends, and with it the thread.
        self.publisher.kill();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A stream at the server, what is done to its tags, and its name.
type Stream = (client::Publisher, Edit, String);

async fn connect(server: &str, streams: Vec<(String, Edit)>) -> Result<Vec<Stream>> {
    let mut all = Vec::new();
    for (stream, edit) in streams {
        let to = client::Publisher::connect(server, "live", &stream).await;
        all.push((to.context(format!("publishing {stream}"))?, edit, stream));
    }
    Ok(all)
}

async fn relay(mut pipe: ChildStdout, mut streams: Vec<Stream>) -> Result {
    let mut head = [0; 13];
    pipe.read_exact(&mut head).context("head of FLV")?;
    while let Some(tag) = read_tag(&mut pipe)? {
        let Some(tag) = tag else { continue };
        for (to, edit, stream) in &mut streams {
            for tag in edit(tag.clone()) {
                send(to, &tag).await.context(format!("sending {stream}"))?;
            }
        }
    }
    Ok(())
}

async fn send(to: &mut client::Publisher, tag: &Tag) -> std::result::Result<(), client::Error> {
    let at = tag.at_ms;
    match &tag.body {
        Body::VideoConfig(record) => to.send_video_config(VideoCodec::H264, record, at).await,
        Body::Video { key, composition_ms, data } => {
            to.send_video(VideoCodec::H264, *key, at, *composition_ms, data).await
        }
        Body::AudioConfig(record) => to.send_audio_config(record, at).await,
        Body::Audio(data) => to.send_audio(at, data).await,
        Body::Data { name, values } => to.metadata(name, values, at).await,
    }
}

/// The next tag; `None` at the end, `Some(None)` for one that is of no interest.
fn read_tag(pipe: &mut impl Read) -> Result<Option<Option<Tag>>> {
    let mut head = [0; 11];
    if pipe.read_exact(&mut head).is_err() {
        return Ok(None);
    }
    let [kind, size @ .., _, _, _] = head;
    let [s0, s1, s2, t0, t1, t2, t3] = size;
    let length = u32::from_be_bytes([0, s0, s1, s2]) as usize;
    let at_ms = u32::from_be_bytes([t3, t0, t1, t2]);
    let mut data = vec![0; length + 4];
    if pipe.read_exact(&mut data).is_err() {
        return Ok(None);
    }
    data.truncate(length);
    let body = match (kind, data.as_slice()) {
        (8, [_, 0, record @ ..]) => Body::AudioConfig(record.to_vec()),
        (8, [_, 1, frame @ ..]) => Body::Audio(frame.to_vec()),
        (9, [_, 0, _, _, _, record @ ..]) => Body::VideoConfig(record.to_vec()),
        (9, [first, 1, c0, c1, c2, units @ ..]) => Body::Video {
            key: first >> 4 == 1,
            composition_ms: i32::from_be_bytes([*c0, *c1, *c2, 0]) >> 8,
            data: units.to_vec(),
        },
        _ => return Ok(Some(None)),
    };
    Ok(Some(Some(Tag { at_ms, body })))
}
