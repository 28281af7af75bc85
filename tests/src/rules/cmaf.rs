//! Rules for CMAF bytes: rows CB-*, and HP-19.
//!
//! The rows that one track's bytes can answer for are [`packager::cmaf::rules`], which are proven
//! there by planted faults; here they are asked about what a player got, with the rows that need
//! several segments or several tracks.

use std::collections::BTreeMap;

use packager::cmaf::read::{self, Chunk, Init};
use packager::cmaf::rules::{self, Broken};
use packager::media::{Config, VideoConfig};

use super::{Findings, Violation};

/// Judges an init segment (CB-01, CB-07, CB-08, CB-15).
pub fn check_init(bytes: &[u8]) -> Vec<Violation> {
    let mut findings = Findings::default();
    match read::init(bytes) {
        Ok(init) => adopt(&mut findings, rules::init(&init)),
        Err(error) => findings.add("CB-01", format!("can't be read: {error}")),
    }
    findings.0
}

/// Judges the init segments of a ladder's pictures as one switching set (CB-09).
pub fn check_switching_set(inits: &[&[u8]]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let read: Result<Vec<Init>, _> = inits.iter().map(|bytes| read::init(bytes)).collect();
    match read {
        Ok(inits) => adopt(&mut findings, rules::switching_set(&inits)),
        Err(error) => findings.add("CB-01", format!("can't be read: {error}")),
    }
    findings.0
}

/// Judges the init segments in force before and behind a splice within one presentation (CB-12): a
/// decoder goes on as it was set up.
pub fn check_splice(before: &[u8], behind: &[u8]) -> Vec<Violation> {
    let mut findings = Findings::default();
    let (before, behind) = match (read::init(before), read::init(behind)) {
        (Ok(before), Ok(behind)) => (before, behind),
        (Err(error), _) | (_, Err(error)) => {
            findings.add("CB-12", format!("can't be read: {error}"));
            return findings.0;
        }
    };
    findings.expect("CB-12", before.sample_entry == behind.sample_entry, || {
        format!("{:?} becomes {:?}", before.sample_entry, behind.sample_entry)
    });
    match (&before.config, &behind.config) {
        (Config::Video(one), Config::Video(other)) => {
            let shape = |config: &VideoConfig| {
                u32::from(config.width) * 9_000 / u32::from(config.height.max(1))
            };
            findings.expect("CB-12", one.rate == other.rate && shape(one) == shape(other), || {
                format!("pictures change from {one:?} to {other:?}")
            });
        }
        (Config::Audio(one), Config::Audio(other)) => {
            findings.expect("CB-12", one.channels == other.channels, || {
                format!("{} channels become {}", one.channels, other.channels)
            });
        }
        _ => findings.add("CB-12", "pictures become sound"),
    }
    findings.0
}

/// Judges segments of one run and rendition that follow each other, by number (CB-02 to CB-07,
/// HP-19).
pub fn check_segments(video: bool, segments: &BTreeMap<u64, &[u8]>) -> Vec<Violation> {
    let mut findings = Findings::default();
    let mut last: Option<(u64, Vec<Chunk>)> = None;
    for (&k, bytes) in segments {
        let chunks = match read::chunks(bytes) {
            Ok(chunks) => chunks,
            Err(error) => {
                findings.add("CB-03", format!("segment {k} can't be read: {error}"));
                last = None;
                continue;
            }
        };
        adopt(&mut findings, rules::segment(k, video, &chunks));
        hp_19(&mut findings, k, &chunks, last.as_ref());
        last = Some((k, chunks));
    }
    findings.0
}

/// Every segment starts with a sync sample, where the one before ended.
fn hp_19(findings: &mut Findings, k: u64, chunks: &[Chunk], last: Option<&(u64, Vec<Chunk>)>) {
    let Some(first) = chunks.first() else { return };
    let sync = first.samples.first().is_some_and(read::Sample::is_sync);
    findings.expect("HP-19", sync, || format!("segment {k} does not start with a sync sample"));
    let Some((last_k, before)) = last.filter(|(last_k, _)| last_k + 1 == k) else { return };
    let Some(end) = before.last().map(|chunk| chunk.base_decode_time + chunk.duration()) else {
        return;
    };
    findings.expect("HP-19", first.base_decode_time == end, || {
        format!("segment {last_k} ends at {end}, {k} starts at {}", first.base_decode_time)
    });
}

/// A track's segments by the decode time of their first sample, and its timescale.
#[derive(Clone, Debug)]
pub struct Starts {
    /// Ticks since the epoch, by number.
    pub ticks: BTreeMap<u64, i64>,
    /// Ticks per second.
    pub timescale: u32,
}

/// Decode time of a segment's first sample, in ticks of its track since the epoch.
pub fn start(bytes: &[u8]) -> Option<i64> {
    let chunks = read::chunks(bytes).ok()?;
    i64::try_from(chunks.first()?.base_decode_time).ok()
}

/// Judges where sound is cut (CB-10): at the first audio frame at or after the boundary of the
/// pictures, frames of `frame` samples being counted since the epoch. The first segment of a run
/// begins with the frame that contains its boundary.
pub fn check_boundaries(pictures: &Starts, sound: &Starts, frame: u32) -> Vec<Violation> {
    let mut findings = Findings::default();
    let frame = i128::from(frame.max(1));
    for (position, (k, &video)) in pictures.ticks.iter().enumerate() {
        let Some(&audio) = sound.ticks.get(k) else {
            findings.add("CB-10", format!("there is no sound for segment {k}"));
            continue;
        };
        let (video_scale, audio_scale) =
            (i128::from(pictures.timescale.max(1)), i128::from(sound.timescale));
        // In audio ticks, rounded up: the first sample at or after the boundary.
        let boundary = -(-(i128::from(video) * audio_scale)).div_euclid(video_scale);
        let after = -(-boundary).div_euclid(frame) * frame;
        let containing = boundary.div_euclid(frame) * frame;
        let audio = i128::from(audio);
        let first = position == 0 && audio == containing;
        findings.expect("CB-10", audio == after || first, || {
            format!("segment {k}: sound is cut at {audio}, not at {after}")
        });
    }
    findings.0
}

fn adopt(findings: &mut Findings, broken: Vec<Broken>) {
    findings.0.extend(broken.into_iter().map(|Broken { row, why }| Violation { row, text: why }));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use packager::cmaf::{self, ChunkSpec};
    use packager::codec::aac;
    use packager::media::{Config, Name, Rendition, Sample, Track};
    use packager::time::Timescale;

    use super::*;
    use crate::rules::proof::{assert_clean, assert_finds};

    const K: u64 = 1_122_270_751;
    /// 1.6 s at 48 kHz.
    const SEGMENT: i64 = 76_800;

    fn sound() -> Rendition {
        let config = aac::config(Bytes::from_static(&[0x11, 0x90])).unwrap();
        Rendition {
            name: Name::parse("audio").unwrap(),
            track: Track {
                timescale: Timescale::new(config.sample_rate).unwrap(),
                config: Config::Audio(config),
            },
            rate: None,
            average_bitrate: 128_000,
            peak_bitrate: 128_000,
        }
    }

    /// Segment `k` of sound, shifted by some ticks.
    fn segment(k: u64, shift: i64, sync: bool) -> Vec<u8> {
        let samples: Vec<Sample> = (0..75)
            .map(|at| {
                let dts = k.cast_signed() * SEGMENT + at * 1024 + shift;
                let data = Bytes::from_static(b"frame");
                Sample { dts, pts: dts, duration: 1024, sync: sync || at > 0, data }
            })
            .collect();
        let rendition = sound();
        let spec = ChunkSpec { rendition: &rendition, k, part: 0, samples: &samples, events: &[] };
        let chunk = cmaf::chunk(&spec);
        chunk.head.iter().copied().chain(chunk.samples.iter().flatten().copied()).collect()
    }

    fn judge(segments: &[(u64, Vec<u8>)]) -> Vec<Violation> {
        check_segments(false, &segments.iter().map(|(k, bytes)| (*k, &bytes[..])).collect())
    }

    #[test]
    fn what_the_packager_writes_breaks_no_rule() {
        assert_eq!(check_init(&cmaf::init(&sound())), []);
        let good = [(K, segment(K, 0, true)), (K + 1, segment(K + 1, 0, true))];
        assert_eq!(judge(&good), []);
        assert_eq!(start(&good[0].1), Some(K.cast_signed() * SEGMENT));
    }

    #[test]
    fn bytes_that_can_not_be_read_are_a_finding() {
        assert_finds("CB-01", &check_init(b"\0\0\0\x08ftyp"));
        assert_finds("CB-01", &check_switching_set(&[b"x"]));
        let whole = segment(K, 0, true);
        assert_finds("CB-03", &judge(&[(K, whole[..whole.len() - 1].to_vec())]));
        assert_finds("CB-03", &judge(&[(K + 1, whole)]));
    }

    #[test]
    fn hp_19_segments_start_with_a_sync_sample_where_the_last_one_ended() {
        let first = (K, segment(K, 0, true));
        assert_clean("HP-19", &judge(&[first.clone(), (K + 1, segment(K + 1, 0, true))]));
        assert_finds("HP-19", &judge(&[first.clone(), (K + 1, segment(K + 1, 1, true))]));
        assert_finds("HP-19", &judge(&[first.clone(), (K + 1, segment(K + 1, 0, false))]));
        assert_clean("HP-19", &judge(&[first, (K + 3, segment(K + 3, 0, true))]));
    }

    #[test]
    fn cb_10_sound_is_cut_at_the_first_frame_after_the_pictures_are() {
        // 2.002 s at 24000 and 48000: no boundary holds whole frames.
        let starts = |timescale: u32, at: &dyn Fn(i64) -> i64| Starts {
            ticks: (0..5u64).map(|n| (n, at(n.cast_signed()))).collect(),
            timescale,
        };
        let pictures = starts(24_000, &|n| (900_000_001 + n) * 48_048);
        let cut = |n| ((900_000_001i64 + n) * 96_096 + 1023) / 1024 * 1024;
        assert_eq!(check_boundaries(&pictures, &starts(48_000, &cut), 1024), []);
        let early = starts(48_000, &|n| cut(n) - 1024);
        assert_finds("CB-10", &check_boundaries(&pictures, &early, 1024));
        let late = starts(48_000, &|n| cut(n) + 1024);
        assert_finds("CB-10", &check_boundaries(&pictures, &late, 1024));
        let contained = starts(48_000, &|n| cut(n) - if n == 0 { 1024 } else { 0 });
        assert_eq!(check_boundaries(&pictures, &contained, 1024), []);
        let mut missing = starts(48_000, &cut);
        missing.ticks.remove(&3);
        assert_finds("CB-10", &check_boundaries(&pictures, &missing, 1024));
    }

    #[test]
    fn cb_12_a_decoder_goes_on_over_a_splice() {
        let init = |channels: u8| {
            // An AudioSpecificConfig of AAC-LC at 48 kHz.
            let config = Bytes::from(vec![0x11, 0x80 | channels << 3]);
            let config = Config::Audio(aac::config(config).unwrap());
            let rendition = sound();
            let track = Track { config, ..rendition.track.clone() };
            cmaf::init(&Rendition { track, ..rendition })
        };
        assert_eq!(check_splice(&init(2), &init(2)), []);
        assert_finds("CB-12", &check_splice(&init(2), &init(1)));
        assert_finds("CB-12", &check_splice(&init(2), &[]));
    }
}
