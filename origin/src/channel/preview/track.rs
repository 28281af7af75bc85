//! A picture track and those who watch it: its newest group of pictures, and what follows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use packager::media::{Sample, VideoCodec, VideoConfig};
use packager::time::{Rounding, Timescale, rescale};
use tokio::sync::broadcast;

use super::lock;

/// Pictures by which a viewer may lag: a second of 60 fps.
const LAG: usize = 64;
/// Pictures of a group that are kept: 10 s of 30 fps, the longest distance of key frames in use.
const MAX_GROUP: usize = 300;
/// Bytes of a group that are kept: 6 s at 10 Mb/s. Of a longer one nothing is, up to the next key frame.
const MAX_GROUP_BYTES: usize = 8 << 20;

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

/// A picture track that can be watched.
#[derive(Debug)]
pub struct Track {
    /// Name of its rendition; of a source that is passed through, `source`.
    pub name: String,
    /// Width and height in pixels.
    pub size: (u16, u16),
    /// Bits per second that it has on average, where that is known.
    pub bitrate: Option<u32>,
    pub(super) config: Arc<VideoConfig>,
    reordered: AtomicBool,
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
    pub(super) fn new(name: String, config: VideoConfig, bitrate: Option<u32>) -> Arc<Self> {
        Arc::new(Self {
            name,
            size: (config.width, config.height),
            bitrate,
            config: Arc::new(config),
            reordered: AtomicBool::new(false),
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
        lock(&self.group).off_from = None;
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
        self.is_showable() && lock(&self.group).off_from.is_none()
    }

    /// It is not made any more from a time on, up to the key frame that it returns with.
    pub(crate) fn switch_off(&self, from: i64) {
        let mut group = lock(&self.group);
        *group = Group { off_from: Some(from), ..Group::default() };
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

    /// As [`Self::push`], of a rendition.
    pub(super) fn push_sample(&self, scale: Timescale, sample: &Sample) -> bool {
        let nanos = |ticks| rescale(ticks, scale, Timescale::NANOS, Rounding::Nearest);
        self.push((nanos(sample.dts), nanos(sample.pts)), sample.sync, sample.data.clone())
    }

    /// True if it was off and is back with this one. Times are in nanoseconds.
    pub(super) fn push(&self, (dts, pts): (i64, i64), sync: bool, data: Bytes) -> bool {
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
        // Nobody may be there.
        let _ = self.feed.send(picture);
        was_off.is_some()
    }
}
