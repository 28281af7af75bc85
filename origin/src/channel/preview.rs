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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ingest::source::{PictureConfig, SoundConfig, SourceSample, Unit};
use packager::media::{Rendition, Sample};
use packager::time::{FrameRate, Rounding, Timescale, Timestamp};
use tokio::sync::{broadcast, watch};

use super::making::SOURCE;

pub(crate) mod rung;
pub(crate) mod sound;
mod track;

pub use track::{Joined, Picture, Track};

/// Units by which who makes a rung may lag: half a second of 60 fps with sound.
const LAG_UNITS: usize = 64;
/// Frames of sound by which who makes Opus of it may lag: 1.3 s of AAC.
const LAG_SOUND: usize = 64;
/// Packets of Opus by which a viewer may lag: as much.
const LAG_OPUS: usize = 128;

/// Name of the rung that is made of a source which browsers can't show.
const RUNG: &str = "preview";

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
            units: broadcast::Sender::new(LAG_UNITS),
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
mod tests;
