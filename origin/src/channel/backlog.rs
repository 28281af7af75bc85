//! What a worker needs to begin at any moment: the source's configurations and its units since the
//! newest key frame.
//!
//! A worker that is started again is handed this and shows a picture at once; it waits neither for
//! a sequence header, which encoders send once, nor for the next key frame. Until the first worker
//! is handed it, everything since the first key frame is kept, so that the channel begins with the
//! first picture there was.
//!
//! It copies no bytes, and it is bounded: of a longer group the sound goes first, and then all of
//! it, up to the next key frame.

use std::collections::VecDeque;

use ingest::source::{PictureConfig, SoundConfig, Unit};

/// Units kept: 3 s of 60 fps, 7 s of 25 fps, with what sound fits. They go into a worker's queue at
/// once, which holds 256 and needs room for what the source sends while the worker starts.
const MAX_UNITS: usize = 192;
/// Bytes kept: 3 s at 32 Mb/s. A worker's queue takes 16 MiB.
const MAX_BYTES: usize = 12 << 20;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// In force before the first unit.
    video: Option<PictureConfig>,
    /// In force before the first unit.
    audio: Option<SoundConfig>,
    /// Begins with a key frame, if there is anything.
    units: VecDeque<Unit>,
    bytes: usize,
    /// Whether a worker was handed this: from then on a key frame replaces what lies before it.
    handed: bool,
}

impl Backlog {
    /// Of a new source; `handed` if a worker runs, which gets the source's units as they come.
    pub(super) fn new(handed: bool) -> Self {
        Self { handed, ..Self::default() }
    }

    /// Keeps a unit, if a worker could use it.
    pub(super) fn keep(&mut self, unit: &Unit) {
        match unit {
            Unit::Video(sample) if sample.sync && self.handed => self.forget(self.units.len()),
            Unit::Video(sample) if sample.sync => {}
            Unit::VideoConfig(_) | Unit::AudioConfig(_) if self.units.is_empty() => {
                return self.put_in_force(unit.clone());
            }
            Unit::Data(_) | Unit::Section(_) | Unit::Notice(_) => return,
            _ if self.units.is_empty() => return,
            _ => {}
        }
        self.bytes += bytes_of(unit);
        self.units.push_back(unit.clone());
        while self.is_full() && self.drop_sound() {}
        while self.is_full() {
            let newest = self.units.iter().rposition(is_key).filter(|at| *at > 0);
            self.forget(newest.unwrap_or(self.units.len()));
        }
    }

    /// Everything a worker has to be given to begin, in order.
    pub(super) fn hand_over(&mut self) -> Vec<Unit> {
        self.handed = true;
        let video = self.video.iter().cloned().map(Unit::VideoConfig);
        let audio = self.audio.iter().cloned().map(Unit::AudioConfig);
        let units = video.chain(audio).chain(self.units.iter().cloned()).collect();
        if let Some(newest) = self.units.iter().rposition(is_key) {
            self.forget(newest);
        }
        units
    }

    fn is_full(&self) -> bool {
        self.units.len() > MAX_UNITS || self.bytes > MAX_BYTES
    }

    /// Drops the oldest sound; false if there is none.
    fn drop_sound(&mut self) -> bool {
        let oldest = self.units.iter().position(|unit| matches!(unit, Unit::Audio(_)));
        let Some(sound) = oldest.and_then(|at| self.units.remove(at)) else { return false };
        self.bytes -= bytes_of(&sound);
        true
    }

    /// Drops the first `count` units; configurations among them stay in force.
    fn forget(&mut self, count: usize) {
        let rest = self.units.split_off(count);
        for unit in std::mem::replace(&mut self.units, rest) {
            self.bytes -= bytes_of(&unit);
            self.put_in_force(unit);
        }
    }

    fn put_in_force(&mut self, unit: Unit) {
        match unit {
            Unit::VideoConfig(config) => self.video = Some(config),
            Unit::AudioConfig(config) => self.audio = Some(config),
            Unit::Video(_)
            | Unit::Audio(_)
            | Unit::Data(_)
            | Unit::Section(_)
            | Unit::Notice(_) => {}
        }
    }
}

fn is_key(unit: &Unit) -> bool {
    matches!(unit, Unit::Video(sample) if sample.sync)
}

fn bytes_of(unit: &Unit) -> usize {
    match unit {
        Unit::Video(sample) | Unit::Audio(sample) => sample.data.len(),
        Unit::VideoConfig(_)
        | Unit::AudioConfig(_)
        | Unit::Data(_)
        | Unit::Section(_)
        | Unit::Notice(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;
    use ingest::source::SourceSample;
    use packager::media::{AudioConfig, VideoCodec, VideoConfig};
    use packager::time::{Timescale, Timestamp};

    use super::*;

    fn sample(ms: i64, sync: bool, bytes: usize) -> SourceSample {
        let at = Timestamp::new(ms, Timescale::MILLIS);
        let data = Bytes::from(vec![0; bytes]);
        SourceSample { dts: at, pts: at, sync, data, received: Instant::now() }
    }

    fn picture(ms: i64, sync: bool) -> Unit {
        Unit::Video(sample(ms, sync, 10))
    }

    fn sound(ms: i64) -> Unit {
        Unit::Audio(sample(ms, true, 10))
    }

    fn video(record: u8) -> Unit {
        Unit::VideoConfig(PictureConfig::Packaged(VideoConfig {
            codec: VideoCodec::H264,
            record: Bytes::from(vec![record]),
            codec_string: String::new(),
            width: 2,
            height: 2,
            rate: None,
        }))
    }

    fn audio() -> Unit {
        Unit::AudioConfig(SoundConfig::Aac(AudioConfig {
            record: Bytes::from_static(&[1]),
            codec_string: String::new(),
            sample_rate: 48_000,
            channels: 2,
            frame_samples: 1024,
        }))
    }

    fn keep(backlog: &mut Backlog, units: impl IntoIterator<Item = Unit>) {
        units.into_iter().for_each(|unit| backlog.keep(&unit));
    }

    /// One word per unit.
    fn words(units: &[Unit]) -> Vec<String> {
        let word = |unit: &Unit| match unit {
            Unit::VideoConfig(config) => format!("video {}", config.record()[0]),
            Unit::AudioConfig(_) => "audio".into(),
            Unit::Video(s) => format!("{}{}", if s.sync { "key" } else { "p" }, s.dts.ticks),
            Unit::Audio(s) => format!("a{}", s.dts.ticks),
            Unit::Data(_) | Unit::Section(_) | Unit::Notice(_) => "data".into(),
        };
        units.iter().map(word).collect()
    }

    #[test]
    fn nothing_but_configurations_is_kept_before_the_first_key_frame() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [video(1), audio(), sound(0), picture(0, false)]);
        assert_eq!(words(&backlog.hand_over()), ["video 1", "audio"]);
    }

    #[test]
    fn the_first_worker_gets_everything_since_the_first_key_frame() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [video(1), picture(0, true), sound(1), picture(40, true)]);
        assert_eq!(words(&backlog.hand_over()), ["video 1", "key0", "a1", "key40"]);
    }

    #[test]
    fn a_later_worker_gets_the_newest_key_frame_and_the_configurations_again() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [video(1), audio(), picture(0, true), picture(40, false)]);
        backlog.hand_over();
        keep(&mut backlog, [sound(41), picture(80, true), picture(120, false)]);
        for _ in 0..2 {
            assert_eq!(words(&backlog.hand_over()), ["video 1", "audio", "key80", "p120"]);
        }
    }

    #[test]
    fn a_new_configuration_takes_its_place_before_its_key_frame() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [video(1), picture(0, true), video(2), picture(40, true)]);
        assert_eq!(words(&backlog.hand_over()), ["video 1", "key0", "video 2", "key40"]);
        assert_eq!(words(&backlog.hand_over()), ["video 2", "key40"]);
    }

    #[test]
    fn of_a_long_group_the_sound_goes_first() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [picture(0, true)]);
        keep(&mut backlog, (0..2_000).map(sound));
        let kept = backlog.hand_over();
        assert_eq!(kept.len(), MAX_UNITS);
        assert_eq!(words(&kept[..1]), ["key0"]);
    }

    #[test]
    fn of_a_group_that_does_not_fit_nothing_is_kept_up_to_the_next_key_frame() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, [video(1), picture(0, true)]);
        keep(&mut backlog, (1..1_000).map(|ms| picture(ms, false)));
        assert_eq!(words(&backlog.hand_over()), ["video 1"]);
        keep(&mut backlog, [picture(1_001, false), picture(1_002, true)]);
        assert_eq!(words(&backlog.hand_over()), ["video 1", "key1002"]);
        keep(&mut backlog, [Unit::Video(sample(1_003, false, MAX_BYTES))]);
        assert_eq!(words(&backlog.hand_over()), ["video 1"]);
    }

    #[test]
    fn while_everything_is_kept_the_oldest_groups_go_when_it_is_too_much() {
        let mut backlog = Backlog::default();
        keep(&mut backlog, (0..1_000).map(|ms| picture(ms, ms % 50 == 0)));
        let kept = backlog.hand_over();
        assert!(kept.len() <= MAX_UNITS && is_key(&kept[0]), "{:?}", words(&kept));
        assert_eq!(words(&kept).last().unwrap(), "p999");
    }
}
