//! Real broadcasters: ffmpeg and GStreamer, fed in real time with a picture and a sound that bear
//! the wall clock.
//!
//! Frame n of a publisher is drawn with `start + n / rate`, rounded to a millisecond, and handed to
//! the encoder when that moment has come. So a mark read back names both the moment and the frame:
//! [`Feed::frame_of`] inverts it exactly, which is how readers prove that none is lost or doubled.
//!
//! Not here: broadcasters that misbehave on purpose, which need the wire in hand (see [`relay`]).

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{ChildStdout, Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ingest::av::mark;
use packager::time::FrameRate;
use tempfile::TempDir;

use crate::process::{Process, Stdout};
use crate::{Context, Failure, Result, clock, workspace};

pub mod obs;
mod picture;
pub mod relay;
pub mod spliced;
pub mod srt;

/// How long an encoder may take to flush and end after its input has ended.
const FLUSH_WITHIN: Duration = Duration::from_secs(10);
/// A frame that leaves this much after its time says that the machine is overloaded: drawing one and
/// handing it over takes less than a millisecond.
const LATE_AFTER: Duration = Duration::from_millis(10);
/// Sound is handed over in blocks of this many milliseconds.
const SOUND_BLOCK_MS: u64 = 20;
/// How long an encoder may take to come up and ask for an input: GStreamer looks through all its plugins the
/// first time.
const ASKED_WITHIN: Duration = Duration::from_secs(40);
/// How long a recording may take to be made: an encoder takes a hundred frames a second and more.
const RECORDED_WITHIN: Duration = Duration::from_secs(60);

/// What a publisher sends.
#[derive(Clone, Debug)]
pub struct Source {
    /// Frames per second.
    pub rate: FrameRate,
    /// Width and height in pixels.
    pub size: (usize, usize),
    /// Sound, if there is any.
    pub sound: Option<Sound>,
    /// B-frames between two reference frames.
    pub b_frames: u8,
    /// Frames between two IDR pictures.
    pub gop: u32,
    /// Who encodes and sends.
    pub broadcaster: Broadcaster,
    /// More arguments for the output, such as another audio codec.
    pub output_args: Vec<String>,
    /// How long after its moment a picture, and its sound, reach the encoder.
    pub lag: Duration,
}

/// A publisher's sound.
#[derive(Clone, Copy, Debug)]
pub struct Sound {
    /// Samples per second.
    pub rate: u32,
    /// Channels; all carry the same.
    pub channels: u8,
}

/// The software that encodes and sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcaster {
    /// Debian's ffmpeg with x264.
    Ffmpeg,
    /// A newer ffmpeg with x265, which sends the Enhanced RTMP header `hvc1`.
    NewerFfmpegHevc,
    /// GStreamer's `rtmp2sink` or `srtsink` with x264.
    GStreamer,
    /// Debian's ffmpeg with x265, which it can put into MPEG-TS only.
    FfmpegHevc,
    /// The same with x264, sent by `srt-live-transmit`.
    SrtLiveTransmit,
}

impl Source {
    /// A tiny source: 320x180, stereo at 48 kHz, an IDR each second, no B-frames, by ffmpeg.
    pub fn tiny(rate: FrameRate) -> Self {
        Self {
            rate,
            size: (320, 180),
            sound: Some(Sound { rate: 48_000, channels: 2 }),
            b_frames: 0,
            gop: rate.num.div_ceil(rate.den),
            broadcaster: Broadcaster::Ffmpeg,
            output_args: Vec::new(),
            lag: Duration::ZERO,
        }
    }

    /// The same with this sound, or without any.
    pub fn with_sound(mut self, sound: Option<Sound>) -> Self {
        self.sound = sound;
        self
    }

    /// The same with B-frames.
    pub fn with_b_frames(mut self, count: u8) -> Self {
        self.b_frames = count;
        self
    }

    /// The same by another broadcaster.
    pub fn by(mut self, broadcaster: Broadcaster) -> Self {
        self.broadcaster = broadcaster;
        self
    }

    /// The same in another size.
    pub fn with_size(mut self, width: usize, height: usize) -> Self {
        self.size = (width, height);
        self
    }

    /// The same with more arguments for the encoder's output.
    pub fn with_output_args(mut self, args: &[&str]) -> Self {
        self.output_args = args.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    /// The same with pictures and sound that reach the encoder this long after their moment.
    pub fn with_lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Starts to publish over SRT.
    ///
    /// # Errors
    /// If the broadcaster can't be started.
    pub fn publish_srt(self, to: &srt::Srt) -> Result<Publisher> {
        let url = to.url(self.broadcaster);
        Publisher::start(self, &url)
    }

    /// Starts to publish to `url` (`rtmp://…`). An ffmpeg publishes to several, each `[f=FORMAT]URL`,
    /// with a bar between them.
    ///
    /// # Errors
    /// If the broadcaster can't be started.
    pub fn publish(self, url: &str) -> Result<Publisher> {
        Publisher::start(self, url)
    }

    /// Records so many frames to a file, FLV or, if it is called so, MPEG-TS, as fast as the encoder
    /// takes them; gives what their marks mean.
    ///
    /// # Errors
    /// If the broadcaster can't be started, or ends badly.
    pub fn record(self, path: &Path, frames: u64) -> Result<Feed> {
        let url = path.display().to_string();
        let mut publisher = Publisher::start_with(self, &url, Stdout::Log, Some(frames))?;
        let status = publisher.wait(RECORDED_WITHIN)?;
        if status.success() {
            return Ok(publisher.feed());
        }
        let said = publisher.process.log_tail(15);
        Err(Failure::new(format!("the recorder ended with {status}:\n{said}")))
    }
}

/// What a publisher's marks mean.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// Wall clock of frame 0, in milliseconds since the Unix epoch.
    pub start_ms: u64,
    /// Frames per second.
    pub rate: FrameRate,
}

impl Feed {
    /// What is drawn into frame `n`: milliseconds since the Unix epoch.
    pub fn mark_of(&self, n: u64) -> u64 {
        let (num, den) = (u64::from(self.rate.num), u64::from(self.rate.den));
        self.start_ms + (n * 1000 * den + num / 2) / num
    }

    /// The frame that bears this mark; `None` if no frame does.
    pub fn frame_of(&self, mark: u64) -> Option<u64> {
        // A mark holds the lower 40 bits only.
        let full = (self.start_ms & !((1 << 40) - 1)) | mark;
        let after = full.checked_sub(self.start_ms)?;
        let (num, den) = (u64::from(self.rate.num), u64::from(self.rate.den));
        let n = (after * num + 500 * den) / (1000 * den);
        (self.mark_of(n) == full).then_some(n)
    }
}

/// A running broadcaster. Dropping it kills it, as if its machine had lost power.
#[derive(Debug)]
pub struct Publisher {
    process: Process,
    feed: Feed,
    flow: Arc<Flow>,
    pumps: Vec<JoinHandle<()>>,
    _dir: TempDir,
}

/// Shared by a publisher and the threads that feed it.
#[derive(Debug)]
struct Flow {
    /// Frames handed to the encoder.
    frames: AtomicU64,
    /// Frames that were handed over later than they should have been.
    late: AtomicU64,
    /// The feed is to end.
    stop: AtomicBool,
    /// When frame 0 is due at the encoder.
    start: Instant,
    /// How long a recording is, which is not made in real time.
    recorded: Option<Duration>,
}

impl Flow {
    /// Waits until what is of the time `after` the start is due; false if the feed is to end instead.
    fn pace(&self, after: Duration) -> bool {
        match self.recorded {
            Some(length) if after >= length => return false,
            Some(_) => {}
            None => {
                std::thread::sleep((self.start + after).saturating_duration_since(Instant::now()))
            }
        }
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Publisher {
    fn start(source: Source, url: &str) -> Result<Self> {
        Self::start_with(source, url, Stdout::Log, None)
    }

    /// Starts to encode into a pipe, as FLV.
    fn start_piped(source: Source) -> Result<(Self, ChildStdout)> {
        let mut publisher = Self::start_with(source, "pipe:1", Stdout::Piped, None)?;
        let pipe = publisher.process.stdout()?;
        Ok((publisher, pipe))
    }

    /// Starts to encode into a pipe, as MPEG-TS.
    fn start_piped_ts(source: Source) -> Result<(Self, ChildStdout)> {
        // ffmpeg reads no number in it, and takes its standard output.
        let mut publisher = Self::start_with(source, "pipe:.ts", Stdout::Piped, None)?;
        let pipe = publisher.process.stdout()?;
        Ok((publisher, pipe))
    }

    fn start_with(
        source: Source,
        url: &str,
        stdout: Stdout,
        recorded: Option<u64>,
    ) -> Result<Self> {
        let dir = tempfile::tempdir().context("temporary folder")?;
        let (picture_door, sound_door) = (Door::open()?, Door::open()?);
        let ports = Ports { picture: picture_door.port, sound: sound_door.port };
        let mut command = match source.broadcaster {
            Broadcaster::GStreamer => gstreamer(&source, ports, url),
            Broadcaster::Ffmpeg | Broadcaster::FfmpegHevc => {
                ffmpeg(&source, Command::new("ffmpeg"), ports, url)
            }
            Broadcaster::SrtLiveTransmit => {
                let mut command = Command::new("sh");
                let script = "\"$@\" | srt-live-transmit -quiet -chunk:1316 file://con \"$TO\"";
                command.args(["-c", script, "sh", "ffmpeg"]).env("TO", url);
                ffmpeg(&source, command, ports, "pipe:1")
            }
            Broadcaster::NewerFfmpegHevc => {
                ffmpeg(&source, Command::new(workspace::newer_ffmpeg()?), ports, url)
            }
        };
        let log = dir.path().join("log");
        let mut process = Process::spawn("broadcaster", &mut command, stdout, &log)?;
        drop(process.stdin()?);
        // The clock of the feed starts when the encoder is up, not when it was asked to come up.
        let pictures = picture_door
            .await_peer(|| process.exited().is_none())
            .context(format!("an encoder that reads; it said: {}", process.log_tail(10)))?;
        let feed = Feed { start_ms: clock::now_ms(), rate: source.rate };
        let flow = Arc::new(Flow {
            frames: AtomicU64::new(0),
            late: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            start: Instant::now() + source.lag,
            recorded: recorded
                .map(|frames| Duration::from_millis(feed.mark_of(frames) - feed.start_ms)),
        });
        let mut pumps = Vec::new();
        let (size, shared) = (source.size, Arc::clone(&flow));
        pumps.push(std::thread::spawn(move || pump_pictures(feed, size, pictures, &shared)));
        if let Some(sound) = source.sound {
            let shared = Arc::clone(&flow);
            pumps.push(std::thread::spawn(move || pump_sound(feed, sound, &sound_door, &shared)));
        }
        Ok(Self { process, feed, flow, pumps, _dir: dir })
    }

    /// What its marks mean.
    pub fn feed(&self) -> Feed {
        self.feed
    }

    /// Frames handed to the encoder so far.
    pub fn frames(&self) -> u64 {
        self.flow.frames.load(Ordering::Relaxed)
    }

    /// How many of `frames` shown frames may be out of line because this machine, not the server,
    /// did not keep time: none if every frame left for the encoder when it was due, else a few for
    /// each one that did not, and a twentieth at most.
    pub fn excused(&self, frames: u64) -> u64 {
        let late = self.flow.late.load(Ordering::Relaxed);
        (late * 4).min(frames / 20)
    }

    /// Everything the broadcaster has said.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The broadcaster's exit status, if it has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.process.exited()
    }

    /// Waits for the broadcaster to end by itself, as one that was refused does.
    ///
    /// # Errors
    /// If it goes on.
    pub fn wait(&mut self, bound: Duration) -> Result<ExitStatus> {
        self.process.wait(bound)
    }

    /// Fails if the broadcaster has ended, with what it said.
    ///
    /// # Errors
    /// As told.
    pub fn check(&mut self) -> Result {
        match self.exited() {
            None => Ok(()),
            Some(status) => {
                let said = self.process.log_tail(15);
                Err(Failure::new(format!("the broadcaster ended with {status}:\n{said}")))
            }
        }
    }

    /// Ends the feed, lets the encoder flush and say goodbye; gives the number of frames sent.
    ///
    /// # Errors
    /// If the encoder does not end.
    pub fn finish(mut self) -> Result<u64> {
        self.stop_pumps();
        self.process.wait(FLUSH_WITHIN)?;
        Ok(self.frames())
    }

    /// Kills the broadcaster, as if its machine had lost power.
    pub fn kill(&mut self) {
        // First the process, so that a pump that waits in a write comes free.
        self.process.signal(rustix::process::Signal::KILL);
        self.stop_pumps();
    }

    fn stop_pumps(&mut self) {
        self.flow.stop.store(true, Ordering::Relaxed);
        for pump in self.pumps.drain(..) {
            // A pump that panicked has said so; the encoder's exit is what matters here.
            let _ = pump.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Draws frames and writes them when they are due, until told to end or the encoder is gone.
fn pump_pictures(feed: Feed, size: (usize, usize), mut to: impl Write, flow: &Flow) {
    let mut canvas = picture::Canvas::new(size.0, size.1);
    for n in 0.. {
        let mark = feed.mark_of(n);
        if !flow.pace(Duration::from_millis(mark - feed.start_ms)) {
            return;
        }
        if to.write_all(canvas.frame(n, mark)).is_err() {
            return;
        }
        let due = Duration::from_millis(mark - feed.start_ms);
        if Instant::now() > flow.start + due + LATE_AFTER {
            flow.late.fetch_add(1, Ordering::Relaxed);
        }
        flow.frames.store(n + 1, Ordering::Relaxed);
    }
}

/// Writes sound when it is due, until told to end or the encoder is gone.
fn pump_sound(feed: Feed, sound: Sound, door: &Door, flow: &Flow) {
    let running = || !flow.stop.load(Ordering::Relaxed);
    let Some(mut to) = door.await_peer(running) else { return };
    let rate = u64::from(sound.rate);
    let first = feed.start_ms * rate / 1000;
    let mut bytes = Vec::new();
    for block in 0.. {
        if !flow.pace(Duration::from_millis(block * SOUND_BLOCK_MS)) {
            return;
        }
        bytes.clear();
        let edge = |block: u64| block * SOUND_BLOCK_MS * rate / 1000;
        for index in edge(block)..edge(block + 1) {
            let level = mark::tick_sample((first + index) as i64, sound.rate);
            let sample = ((level * f32::from(i16::MAX)) as i16).to_le_bytes();
            for _ in 0..sound.channels {
                bytes.extend_from_slice(&sample);
            }
        }
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// A port on which an encoder asks for its input.
#[derive(Debug)]
struct Door {
    listener: TcpListener,
    port: u16,
}

/// The ports of an encoder's inputs.
#[derive(Clone, Copy, Debug)]
struct Ports {
    picture: u16,
    sound: u16,
}

impl Door {
    fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("port for an encoder's input")?;
        listener.set_nonblocking(true).context("port for an encoder's input")?;
        let port = listener.local_addr().context("port for an encoder's input")?.port();
        Ok(Self { listener, port })
    }

    /// The encoder's connection; `None` if it does not come.
    fn await_peer(&self, mut still: impl FnMut() -> bool) -> Option<TcpStream> {
        let deadline = Instant::now() + ASKED_WITHIN;
        while Instant::now() < deadline && still() {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).ok()?;
                return Some(stream);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

fn ffmpeg(source: &Source, mut command: Command, ports: Ports, url: &str) -> Command {
    let (width, height) = source.size;
    let rate = format!("{}/{}", source.rate.num, source.rate.den);
    // Raw input needs no probing, which would only delay the first picture.
    let raw = ["-analyzeduration", "0", "-probesize", "32", "-thread_queue_size", "64"];
    command.args(["-hide_banner", "-nostdin", "-loglevel", "info", "-y"]).args(raw);
    command.args(["-f", "rawvideo", "-pixel_format", "yuv420p", "-framerate", &rate]);
    command.args(["-video_size", &format!("{width}x{height}")]);
    command.args(["-i", &format!("tcp://127.0.0.1:{}", ports.picture)]);
    if let Some(sound) = source.sound {
        command.args(raw).args(["-f", "s16le", "-ar", &sound.rate.to_string()]);
        command.args(["-ac", &sound.channels.to_string()]);
        command.args(["-i", &format!("tcp://127.0.0.1:{}", ports.sound)]);
        command.args(["-map", "1:a", "-c:a", "aac", "-b:a", "96k"]);
    }
    let (gop, b_frames) = (source.gop.to_string(), source.b_frames.to_string());
    command.args(["-map", "0:v", "-pix_fmt", "yuv420p", "-b:v", "700k", "-g", &gop]);
    if matches!(source.broadcaster, Broadcaster::NewerFfmpegHevc | Broadcaster::FfmpegHevc) {
        let parameters = format!(
            "keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:pools=none:frame-threads=1:\
             log-level=error"
        );
        command.args(["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", &parameters]);
    } else {
        command.args(["-c:v", "libx264", "-preset", "ultrafast", "-threads", "1"]);
        command.args(["-keyint_min", &gop, "-sc_threshold", "0"]);
        command.args(["-bf", &b_frames, "-b_strategy", "0"]);
    }
    command.args(&source.output_args);
    if url.starts_with("[f=") {
        command.args(["-f", "tee", url]);
    } else if carries_ts(source, url) {
        // Sound is else held back until there is enough of it for a packet.
        command.args(["-pes_payload_size", "0", "-flush_packets", "1", "-f", "mpegts", url]);
    } else {
        command.args(["-flush_packets", "1", "-f", "flv", url]);
    }
    command
}

/// Whether a source goes out as MPEG-TS; all else is FLV.
fn carries_ts(source: &Source, url: &str) -> bool {
    url.starts_with("srt://")
        || url.ends_with(".ts")
        || source.broadcaster == Broadcaster::SrtLiveTransmit
}

/// A GStreamer pipeline with the same feed. `rtmp2sink` takes the query as part of the stream name.
fn gstreamer(source: &Source, ports: Ports, url: &str) -> Command {
    let (width, height) = source.size;
    let rate = format!("{}/{}", source.rate.num, source.rate.den);
    let mut command = Command::new("gst-launch-1.0");
    let mut pipeline = format!(
        "tcpclientsrc host=127.0.0.1 port={} ! rawvideoparse format=i420 width={width} height={height} framerate={rate} ! \
         queue ! x264enc speed-preset=ultrafast tune=zerolatency threads=1 bframes={} \
         key-int-max={} bitrate=700 ! {}",
        ports.picture,
        source.b_frames,
        source.gop,
        if carries_ts(source, url) {
            format!(
                "h264parse config-interval=-1 ! mpegtsmux name=mux alignment=7 ! \
                 srtsink wait-for-connection=false uri=\"{url}\""
            )
        } else {
            format!("h264parse ! flvmux name=mux streamable=true ! rtmp2sink location={url}")
        },
    );
    if let Some(sound) = source.sound {
        pipeline.push_str(&format!(
            " tcpclientsrc host=127.0.0.1 port={} ! rawaudioparse format=pcm \
             pcm-format=s16le sample-rate={} num-channels={} ! queue ! audioconvert ! avenc_aac ! \
             aacparse ! mux.",
            ports.sound, sound.rate, sound.channels,
        ));
    }
    command.arg("-e").args(pipeline.split_whitespace());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_names_its_frame_and_no_other_millisecond_does() {
        for rate in FrameRate::STANDARD {
            let feed = Feed { start_ms: 1_790_000_000_123, rate };
            let known: Vec<u64> = (0..200).map(|n| feed.mark_of(n) & ((1 << 40) - 1)).collect();
            for (n, mark) in known.iter().enumerate() {
                assert_eq!(feed.frame_of(*mark), Some(n as u64), "{rate}");
            }
            assert_eq!(feed.frame_of(known[7] + 3), None, "{rate}");
        }
    }
}
