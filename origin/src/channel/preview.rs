//! What a channel shows of itself *now*: the coded pictures of each rendition as they leave the encoder (or
//! come from the source), for those who watch by WebRTC.
//!
//! ```text
//! channel's task ─► begin, picture, sound ─► track: group since its key frame ─► join ─► viewer
//!                                              └──────── broadcast ────────────────────┘
//! ```
//! A track keeps the pictures since the newest key frame, so that a viewer begins with one at once, and one
//! that has lost the picture gets it back, without a word to the encoder. Nothing is copied: what is kept
//! are references to what is packaged anyway. While nobody watches nothing else is done.
//!
//! The task never waits for viewers: one that lags by a second of pictures begins anew with the group. It knows
//! nothing of packets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use ingest::source::{PictureConfig, SoundConfig, SourceSample, Unit};
use packager::media::{Rendition, Sample, VideoCodec, VideoConfig};
use packager::time::{FrameRate, Rounding, Timescale, Timestamp, rescale};
use tokio::sync::{broadcast, watch};

use super::making::SOURCE;

pub(crate) mod rung;
pub(crate) mod sound;

/// Pictures by which a viewer may lag: a second of 60 fps.
const LAG: usize = 64;
/// Pictures of a group that are kept: 10 s of 30 fps, the longest distance of key frames in use.
const MAX_GROUP: usize = 300;
/// Bytes of a group that are kept: 6 s at 10 Mb/s. Of a longer one nothing is, up to the next key frame.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// Frames of sound by which who makes Opus of it may lag: 1.3 s of AAC.
const LAG_SOUND: usize = 64;
/// Packets of Opus by which a viewer may lag: as much.
const LAG_OPUS: usize = 128;

/// Name of the rung that is made of a source which browsers can't show.
const RUNG: &str = "preview";

/// A coded picture.
#[derive(Debug)]
pub struct Picture {
    /// When it is shown, in nanoseconds of the track's clock.
    pub pts: i64,
    /// When it is decoded, on the same clock.
    pub(super) dts: i64,
    /// Whether decoding can start here; then with this configuration.
    pub key: Option<Arc<VideoConfig>>,
    /// Length-prefixed NAL units, with lengths of four bytes.
    pub data: Bytes,
    payloads: OnceLock<Arc<[Bytes]>>,
}

impl Picture {
    /// What `cut` makes of it, which is done once for all who watch.
    pub fn payloads(&self, cut: impl FnOnce(&Self) -> Arc<[Bytes]>) -> &Arc<[Bytes]> {
        self.payloads.get_or_init(|| cut(self))
    }
}

/// A packet of Opus.
#[derive(Clone, Debug)]
pub struct OpusPacket {
    /// When its first sample is heard, in nanoseconds on the clock of the pictures.
    pub pts: i64,
    /// The packet.
    pub data: Bytes,
}

/// A frame of a passed-through source's sound as it is coded.
#[derive(Clone, Debug)]
pub(super) struct CodedSound {
    pub(super) config: Arc<SoundConfig>,
    /// Its times in nanoseconds.
    pub(super) sample: SourceSample,
}

/// A picture track that can be watched.
#[derive(Debug)]
pub struct Track {
    /// Name of its rendition; of a source that is passed through, `source`.
    pub name: String,
    /// Width and height in pixels.
    pub size: (u16, u16),
    /// Bits per second that it has on average, where that is known.
    pub bitrate: Option<u32>,
    config: Arc<VideoConfig>,
    reordered: AtomicBool,
    off: AtomicBool,
    group: Mutex<Group>,
    feed: broadcast::Sender<Arc<Picture>>,
}

#[derive(Debug, Default)]
struct Group {
    pictures: Vec<Arc<Picture>>,
    bytes: usize,
    /// The latest time shown so far, and that of the last one decoded.
    latest: i64,
    decoded: i64,
    /// From when on it is switched off: what comes of it then begins with the key frame it returns with.
    off_from: Option<i64>,
}

/// A place among a track's viewers.
#[derive(Debug)]
pub struct Joined {
    /// The pictures since the newest key frame, oldest first.
    pub group: Vec<Arc<Picture>>,
    /// Those that follow. Closed when the track ends.
    pub feed: broadcast::Receiver<Arc<Picture>>,
}

impl Track {
    fn new(name: String, config: VideoConfig, bitrate: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            name,
            size: (config.width, config.height),
            bitrate,
            config: Arc::new(config),
            reordered: AtomicBool::new(false),
            off: AtomicBool::new(false),
            group: Mutex::default(),
            feed: broadcast::Sender::new(LAG),
        })
    }

    /// One of a codec, for tests of who chooses between tracks.
    #[cfg(test)]
    pub(crate) fn of(name: &str, codec: VideoCodec) -> Arc<Self> {
        let (record, codec_string) = (Bytes::from_static(&[1]), String::new());
        let config =
            VideoConfig { codec, record, codec_string, width: 128, height: 96, rate: None };
        Self::new(name.to_owned(), config, None)
    }

    /// What its next key frame does.
    #[cfg(test)]
    pub(crate) fn switch_on(&self) {
        self.off.store(false, Ordering::Relaxed);
    }

    /// Whether its pictures are shown in another order than they are coded in, which browsers do not bear: a
    /// packet of RTP has no time of decoding.
    fn is_reordered(&self) -> bool {
        self.reordered.load(Ordering::Relaxed)
    }

    /// Whether browsers can show it in WebRTC: H.264 in the order it is coded in.
    pub fn is_showable(&self) -> bool {
        self.config.codec == VideoCodec::H264 && !self.is_reordered()
    }

    /// Whether it can be watched now: browsers can show it, and it is being made.
    pub fn is_watchable(&self) -> bool {
        self.is_showable() && !self.off.load(Ordering::Relaxed)
    }

    /// It is not made any more from a time on, up to the key frame that it returns with.
    pub(crate) fn switch_off(&self, from: i64) {
        let mut group = lock(&self.group);
        *group = Group { off_from: Some(from), ..Group::default() };
        self.off.store(true, Ordering::Relaxed);
    }

    /// The decoder's configuration.
    pub fn config(&self) -> &VideoConfig {
        &self.config
    }

    /// The pictures since the newest key frame, and those that follow.
    pub fn join(&self) -> Joined {
        // Subscribed under the lock, so that no picture is in both or in neither.
        let group = lock(&self.group);
        Joined { group: group.pictures.clone(), feed: self.feed.subscribe() }
    }

    /// The pictures since the newest key frame.
    pub fn group(&self) -> Vec<Arc<Picture>> {
        lock(&self.group).pictures.clone()
    }

    /// True if it was off and is back with this one.
    fn push_sample(&self, scale: Timescale, sample: &Sample) -> bool {
        let nanos = |ticks| rescale(ticks, scale, Timescale::NANOS, Rounding::Nearest);
        self.push((nanos(sample.dts), nanos(sample.pts)), sample.sync, sample.data.clone())
    }

    fn push(&self, (dts, pts): (i64, i64), sync: bool, data: Bytes) -> bool {
        let mut group = lock(&self.group);
        let was_off = group.off_from;
        if was_off.is_some_and(|from| dts < from || !sync) {
            // The last pictures before it goes: who watched it has another.
            return false;
        }
        if sync {
            *group = Group { latest: pts, ..Group::default() };
        } else if dts < group.decoded {
            // The source's clock has begun anew, which is no order.
            group.latest = pts;
        } else if pts < group.latest {
            self.reordered.store(true, Ordering::Relaxed);
        }
        (group.latest, group.decoded) = (group.latest.max(pts), dts);
        let key = sync.then(|| Arc::clone(&self.config));
        group.bytes = group.bytes.saturating_add(data.len());
        let picture = Arc::new(Picture { pts, dts, key, data, payloads: OnceLock::new() });
        if sync || !group.pictures.is_empty() {
            group.pictures.push(Arc::clone(&picture));
        }
        if group.pictures.len() > MAX_GROUP || group.bytes > MAX_GROUP_BYTES {
            group.pictures = Vec::new();
        }
        self.off.store(false, Ordering::Relaxed);
        // Nobody may be there.
        let _ = self.feed.send(picture);
        was_off.is_some()
    }
}

/// A channel's preview: its task writes, viewers read. Cheap while nobody watches.
#[derive(Debug)]
pub struct Preview {
    tracks: watch::Sender<Arc<[Arc<Track>]>>,
    viewers: watch::Sender<u32>,
    /// Whether the machine has no room for viewers.
    shed: watch::Sender<bool>,
    /// Whether there is a source that browsers can't show as it is.
    unshowable: watch::Sender<bool>,
    /// Frame rate of the source, once it is known.
    rate: Mutex<Option<FrameRate>>,
    /// Units of such a source, for who makes a rung of it.
    units: rung::Units,
    /// Whether the sound is that rung's.
    of_rung: AtomicBool,
    /// What the sound of such a source is coded in.
    sound: Mutex<Option<Arc<SoundConfig>>>,
    coded: broadcast::Sender<CodedSound>,
    opus: broadcast::Sender<OpusPacket>,
}

impl Default for Preview {
    fn default() -> Self {
        Self {
            tracks: watch::Sender::new(Arc::new([])),
            viewers: watch::Sender::new(0),
            shed: watch::Sender::new(false),
            unshowable: watch::Sender::new(false),
            rate: Mutex::default(),
            units: broadcast::Sender::new(LAG),
            of_rung: AtomicBool::new(false),
            sound: Mutex::default(),
            coded: broadcast::Sender::new(LAG_SOUND),
            opus: broadcast::Sender::new(LAG_OPUS),
        }
    }
}

/// Somebody who watches, counted for as long as this lives.
#[derive(Debug)]
pub struct Watching(Arc<Preview>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.viewers.send_modify(|viewers| *viewers = viewers.saturating_sub(1));
    }
}

impl Preview {
    /// The picture tracks, the highest first; they change when a run begins, and when one of them is switched
    /// off or is back.
    pub fn tracks(&self) -> watch::Receiver<Arc<[Arc<Track>]>> {
        self.tracks.subscribe()
    }

    /// Counts somebody who watches. Sound is made for as long as anybody does.
    pub fn watch(self: &Arc<Self>) -> Watching {
        self.viewers.send_modify(|viewers| *viewers = viewers.saturating_add(1));
        Watching(Arc::clone(self))
    }

    /// How many watch.
    pub fn viewers(&self) -> u32 {
        *self.viewers.borrow()
    }

    /// How many watch, as that changes.
    pub(super) fn watching(&self) -> watch::Receiver<u32> {
        self.viewers.subscribe()
    }

    /// Whether the machine has no room for viewers: they are the first that an overloaded one is rid of.
    pub fn shed(&self) -> watch::Receiver<bool> {
        self.shed.subscribe()
    }

    /// Says whether the machine has room for viewers.
    pub(super) fn set_shed(&self, shed: bool) {
        self.shed.send_if_modified(|now| std::mem::replace(now, shed) != shed);
    }

    /// The sound from now on.
    pub fn opus(&self) -> broadcast::Receiver<OpusPacket> {
        self.opus.subscribe()
    }

    /// A run of these renditions began, or goes on.
    pub(super) fn begin(&self, renditions: &[Rendition]) {
        let tracks: Vec<_> = renditions
            .iter()
            .filter_map(|rendition| {
                let bitrate = Some(rendition.average_bitrate);
                let video = rendition.video()?.clone();
                Some(Track::new(rendition.name.to_string(), video, bitrate))
            })
            .collect();
        *lock(&self.sound) = None;
        self.show(tracks);
    }

    /// There is nothing to watch any more.
    pub(super) fn end(&self) {
        self.set_shed(false);
        self.show(Vec::new());
    }

    /// Replaces the tracks, unless they are what they were: viewers of a worker that was started again go
    /// on without a new beginning.
    fn show(&self, tracks: Vec<Arc<Track>>) {
        let unshowable = tracks.first().is_some_and(|track| !track.is_showable());
        self.tracks.send_if_modified(|now| {
            let same = now.len() == tracks.len()
                && now.iter().zip(&tracks).all(|(a, b)| a.name == b.name && a.config == b.config);
            if !same {
                *now = tracks.into();
                self.unshowable.send_replace(unshowable);
            }
            !same
        });
    }

    /// A passed-through source and its rate, if there is one that browsers can't show.
    fn source(&self) -> Option<(Arc<Track>, Option<FrameRate>)> {
        let source = self.tracks.borrow().first().filter(|track| !track.is_showable()).cloned();
        source.map(|source| (source, *lock(&self.rate)))
    }

    fn is_source(&self, track: &Arc<Track>) -> bool {
        self.tracks.borrow().first().is_some_and(|first| Arc::ptr_eq(first, track))
    }

    fn source_sound(&self) -> Option<Arc<SoundConfig>> {
        lock(&self.sound).clone()
    }

    /// Puts a rung for browsers beside the source, or takes it away.
    fn replace_rung(&self, rung: Option<Arc<Track>>) {
        self.of_rung.store(rung.is_some(), Ordering::Relaxed);
        self.tracks.send_modify(|now| {
            let source = now.iter().filter(|track| track.name != RUNG).cloned();
            *now = source.chain(rung).collect();
        });
    }

    /// A picture of that rung.
    fn rung_picture(&self, scale: Timescale, sample: &Sample) {
        if let Some(track) = self.tracks.borrow().iter().find(|track| track.name == RUNG) {
            track.push_sample(scale, sample);
        }
    }

    /// A packet of Opus, on the clock of the pictures.
    pub(super) fn heard(&self, pts: i64, data: Bytes) {
        // Nobody may be there.
        let _ = self.opus.send(OpusPacket { pts, data });
    }

    /// A frame of a passed-through source's sound for who makes Opus of it.
    fn sound(&self, config: Arc<SoundConfig>, pts: i64, data: Bytes) {
        if self.coded.receiver_count() > 0 {
            let at = Timestamp::new(pts, Timescale::NANOS);
            let received = std::time::Instant::now();
            let sample = SourceSample { dts: at, pts: at, sync: true, data, received };
            // Who makes Opus of it may have ended.
            let _ = self.coded.send(CodedSound { config, sample });
        }
    }

    /// The rate of a source that is passed through.
    pub(super) fn paced(&self, rate: FrameRate) {
        *lock(&self.rate) = Some(rate);
    }

    /// A picture of the encoder, by the index of its rendition.
    pub(super) fn encoded(&self, index: usize, scale: Timescale, sample: &Sample) {
        let track = self.tracks.borrow().get(index).cloned();
        if track.is_some_and(|track| track.push_sample(scale, sample)) {
            self.tracks.send_modify(|_| ());
        }
    }

    /// A rendition of the encoder is switched off from this time on. When it is back its pictures tell.
    pub(super) fn switched_off(&self, index: usize, from: Timestamp) {
        let track = self.tracks.borrow().get(index).cloned();
        if let Some(track) = track {
            track.switch_off(from.ticks_in(Timescale::NANOS, Rounding::Nearest));
            self.tracks.send_modify(|_| ());
        }
    }

    /// A unit of a source that is packaged as it is.
    pub(crate) fn passed(&self, unit: &Unit) {
        let nanos = |at: Timestamp| at.ticks_in(Timescale::NANOS, Rounding::Nearest);
        match unit {
            Unit::VideoConfig(PictureConfig::Packaged(config)) => {
                // The same once more changes nothing, whatever stands beside it.
                if self.tracks.borrow().first().is_none_or(|track| *track.config != *config) {
                    self.show(vec![Track::new(SOURCE.to_owned(), config.clone(), None)]);
                }
            }
            // Nothing that browsers are sent as it is.
            Unit::VideoConfig(PictureConfig::Foreign(_)) => self.show(Vec::new()),
            Unit::AudioConfig(config) => *lock(&self.sound) = Some(Arc::new(config.clone())),
            Unit::Video(sample) => {
                if let Some(track) = self.tracks.borrow().first() {
                    let at = (nanos(sample.dts), nanos(sample.pts));
                    track.push(at, sample.sync, sample.data.clone());
                    if !track.is_showable() {
                        self.unshowable.send_if_modified(|now| !std::mem::replace(now, true));
                    }
                }
            }
            Unit::Audio(sample) if !self.of_rung.load(Ordering::Relaxed) => {
                if let Some(config) = self.source_sound() {
                    self.sound(config, nanos(sample.pts), sample.data.clone());
                }
            }
            Unit::Audio(_) | Unit::Data(_) | Unit::Section(_) | Unit::Notice(_) => return,
        }
        if self.units.receiver_count() > 0 {
            // Who makes a rung of it may have ended.
            let _ = self.units.send(unit.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain data, which no panic leaves half-written.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(width: u16) -> VideoConfig {
        VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::from_static(&[1]),
            codec_string: String::new(),
            width,
            height: 96,
            rate: None,
        }
    }

    fn source(preview: &Preview, ms: i64, sync: bool) {
        decoded_at(preview, ms, ms, sync);
    }

    fn decoded_at(preview: &Preview, dts: i64, pts: i64, sync: bool) {
        let [dts, pts] = [dts, pts].map(|ms| Timestamp::new(ms, Timescale::MILLIS));
        let received = std::time::Instant::now();
        let sample = SourceSample { dts, pts, sync, data: Bytes::from_static(b"p"), received };
        preview.passed(&Unit::Video(sample));
    }

    fn times(pictures: &[Arc<Picture>]) -> Vec<i64> {
        pictures.iter().map(|picture| picture.pts / 1_000_000).collect()
    }

    #[test]
    fn a_viewer_begins_with_the_newest_key_frame_and_misses_nothing_behind_it() {
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(config(128).into()));
        for (ms, sync) in [(0, true), (40, false), (80, true), (120, false)] {
            source(&preview, ms, sync);
        }
        let track = Arc::clone(&preview.tracks().borrow()[0]);
        let mut joined = track.join();
        assert_eq!(times(&joined.group), [80, 120]);
        assert!(joined.group[0].key.is_some() && joined.group[1].key.is_none());
        source(&preview, 160, false);
        assert_eq!(times(&[joined.feed.try_recv().unwrap()]), [160]);
        assert_eq!(times(&track.group()), [80, 120, 160]);
    }

    #[test]
    fn a_group_without_end_is_not_kept() {
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(config(128).into()));
        for ms in 0..1_000 {
            source(&preview, ms, ms == 0);
        }
        let track = Arc::clone(&preview.tracks().borrow()[0]);
        assert!(track.group().is_empty());
        source(&preview, 1_000, true);
        assert_eq!(times(&track.group()), [1_000]);
    }

    #[test]
    fn pictures_out_of_order_are_noticed() {
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(config(128).into()));
        let track = Arc::clone(&preview.tracks().borrow()[0]);
        for (ms, sync) in [(0, true), (40, false), (80, true)] {
            source(&preview, ms, sync);
        }
        assert!(track.is_showable() && !*preview.unshowable.borrow());
        decoded_at(&preview, 100, 160, false);
        decoded_at(&preview, 120, 120, false);
        assert!(!track.is_showable() && *preview.unshowable.borrow());
    }

    #[test]
    fn a_clock_that_jumps_back_is_no_other_order() {
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(config(128).into()));
        for (ms, sync) in [(90_000, true), (90_040, false), (0, false), (40, false)] {
            source(&preview, ms, sync);
        }
        assert!(preview.tracks().borrow()[0].is_showable());
    }

    #[test]
    fn the_same_configuration_again_is_the_same_track_and_another_ends_it() {
        let preview = Preview::default();
        preview.passed(&Unit::VideoConfig(config(128).into()));
        let mut tracks = preview.tracks();
        let mut feed = tracks.borrow_and_update()[0].join().feed;
        preview.passed(&Unit::VideoConfig(config(128).into()));
        source(&preview, 0, true);
        assert!(feed.try_recv().is_ok() && !tracks.has_changed().unwrap());
        preview.passed(&Unit::VideoConfig(config(256).into()));
        assert!(tracks.has_changed().unwrap());
    }

    /// Seen where a preview was watched that the machine could not make any more: it stood for half a minute.
    #[test]
    fn a_rung_that_is_off_can_not_be_watched_before_it_is_back_with_a_key_frame() {
        let preview = Preview::default();
        preview.show(vec![Track::new("720p".to_owned(), config(128), None)]);
        let (mut tracks, scale) = (preview.tracks(), Timescale::MILLIS);
        let track = Arc::clone(&tracks.borrow_and_update()[0]);
        let picture = |dts, sync| {
            let data = Bytes::from_static(b"p");
            preview.encoded(0, scale, &Sample { dts, pts: dts, duration: 40, sync, data });
        };
        picture(0, true);
        preview.switched_off(0, Timestamp::new(2_000, scale));
        assert!(tracks.has_changed().unwrap() && !track.is_watchable() && track.is_showable());
        tracks.mark_unchanged();
        // What it was before it went is no place to begin at.
        picture(1_960, true);
        assert!(track.group().is_empty() && !track.is_watchable());
        picture(4_000, true);
        assert!(tracks.has_changed().unwrap() && track.is_watchable());
        assert_eq!(times(&track.group()), [4_000]);
    }

    #[test]
    fn viewers_are_counted_while_they_watch() {
        let preview = Arc::new(Preview::default());
        let watching = [preview.watch(), preview.watch()];
        assert_eq!(preview.viewers(), 2);
        drop(watching);
        assert_eq!(preview.viewers(), 0);
    }
}
