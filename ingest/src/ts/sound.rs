//! AAC in ADTS (ISO/IEC 14496-3 §1.A.2): frames without their headers, and the configuration that the
//! headers say.
//!
//! A PES packet holds any number of frames and pieces of frames; its time is that of the first frame
//! that begins in it, and the frames behind follow by their length.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use packager::codec::aac;
use packager::media::AudioConfig;
use packager::time::{Rounding, Timescale, rescale};

/// Samples of a frame without SBR.
const FRAME: i64 = 1024;
/// samplingFrequencyIndex 0 to 12 (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// What sound gives.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The configuration of the frames behind it; where it is another than before.
    Config(AudioConfig),
    /// A raw frame.
    Frame {
        /// At 90 kHz, unrolled as the PES packet's time was.
        at: i64,
        data: Bytes,
        received: Instant,
    },
    /// A configuration that is not taken.
    Unusable(packager::codec::Error),
    /// Bytes that are no frame.
    Broken,
}

/// Sound of one PID.
#[derive(Debug, Default)]
pub(super) struct Adts {
    /// A frame that has begun.
    left: BytesMut,
    header: Option<Header>,
    /// A configuration that was refused is told once.
    usable: bool,
    clock: Clock,
}

/// The parts of a header that make up the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    object: u8,
    rate_index: u8,
    channels: u8,
}

/// Where frames are: a time as sent and samples since then, so that no rounding adds up.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    base: Option<i64>,
    samples: i64,
}

impl Clock {
    fn next(&mut self, rate: u32) -> Option<i64> {
        let scale = Timescale::new(rate)?;
        let after = rescale(self.samples, scale, Timescale::MPEG, Rounding::Nearest);
        self.samples = self.samples.saturating_add(FRAME);
        Some(self.base?.saturating_add(after))
    }
}

impl Adts {
    /// Forgets the frame that has begun, because packets were lost.
    pub(super) fn reset(&mut self) {
        self.left.clear();
    }

    /// Takes the payload of a PES packet and its time.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        at: Option<i64>,
        received: Instant,
        mut each: impl FnMut(Found),
    ) {
        let before = self.left.len();
        self.left.extend_from_slice(payload);
        let mut bytes = std::mem::take(&mut self.left).freeze();
        let total = bytes.len();
        let mut at = at;
        let mut broken = false;
        while let Some((header, head, length)) = read(&bytes) {
            if length == 0 {
                // Not a header: looked for at the next byte.
                broken = true;
                bytes.advance(1);
                continue;
            }
            if bytes.len() < length {
                break;
            }
            if std::mem::take(&mut broken) {
                each(Found::Broken);
            }
            let begins = total.saturating_sub(bytes.len());
            if begins >= before
                && let Some(at) = at.take()
            {
                self.clock = Clock { base: Some(at), samples: 0 };
            }
            let frame = bytes.split_to(length).slice(head..);
            self.configure(header, &mut each);
            let rate = RATES.get(usize::from(header.rate_index)).copied().unwrap_or_default();
            if let Some(at) = self.clock.next(rate)
                && self.usable
            {
                each(Found::Frame { at, data: frame, received });
            }
        }
        if broken {
            each(Found::Broken);
        }
        // Less than a frame.
        self.left = BytesMut::from(bytes.as_ref());
    }

    fn configure(&mut self, header: Header, each: &mut impl FnMut(Found)) {
        if self.header == Some(header) {
            return;
        }
        self.header = Some(header);
        let Header { object, rate_index, channels } = header;
        let asc = [object << 3 | rate_index >> 1, (rate_index & 1) << 7 | channels << 3];
        match aac::config(Bytes::copy_from_slice(&asc)) {
            Ok(config) => {
                self.usable = true;
                each(Found::Config(config));
            }
            Err(error) => {
                self.usable = false;
                each(Found::Unusable(error));
            }
        }
    }
}

/// A frame's header, its length in bytes, and the length of the frame with it; lengths of 0 where the
/// bytes are no header. `None` where more bytes are needed.
fn read(bytes: &[u8]) -> Option<(Header, usize, usize)> {
    let [sync, flags, b, c, d, e, f, ..] = bytes else { return None };
    let header = Header {
        object: (b >> 6).saturating_add(1),
        rate_index: b >> 2 & 15,
        channels: (b & 1) << 2 | c >> 6,
    };
    let head = if flags & 1 == 0 { 9 } else { 7 };
    let length = usize::from(c & 3) << 11 | usize::from(*d) << 3 | usize::from(e >> 5);
    let known = usize::from(header.rate_index) < RATES.len();
    // Several blocks in a frame, each with a checksum of its own, are allowed and not seen.
    let single = f & 3 == 0;
    if *sync != 0xff || flags & 0xf6 != 0xf0 || !known || !single || length <= head {
        return Some((header, 0, 0));
    }
    Some((header, head, length))
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A frame of AAC-LC, 48 kHz, stereo.
    pub(in super::super) fn frame(payload: &[u8]) -> Vec<u8> {
        let length = payload.len() + 7;
        let mut bytes = vec![
            0xff,
            0xf1,
            1 << 6 | 3 << 2,
            2 << 6 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        bytes.extend(payload);
        bytes
    }

    fn frames(adts: &mut Adts, pieces: &[(&[u8], Option<i64>)]) -> (Vec<(i64, Bytes)>, usize) {
        let (mut found, mut broken) = (Vec::new(), 0);
        for (piece, at) in pieces {
            adts.push(piece, *at, Instant::now(), |one| match one {
                Found::Frame { at, data, .. } => found.push((at, data)),
                Found::Broken => broken += 1,
                Found::Config(config) => assert_eq!(config.codec_string, "mp4a.40.2"),
                Found::Unusable(error) => panic!("{error}"),
            });
        }
        (found, broken)
    }

    #[test]
    fn frames_follow_each_other_by_their_length() {
        let bytes: Vec<u8> = (0..3u8).flat_map(|n| frame(&[n; 50])).collect();
        let (found, broken) = frames(&mut Adts::default(), &[(&bytes, Some(900))]);
        let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!((times, broken), (vec![900, 2820, 4740], 0));
        assert_eq!(found[2].1, &[2; 50][..]);
    }

    #[test]
    fn a_time_is_that_of_the_first_frame_that_begins_in_its_packet() {
        let bytes: Vec<u8> = (0..3u8).flat_map(|n| frame(&[n; 50])).collect();
        let (first, second) = bytes.split_at(70);
        let (found, _) = frames(&mut Adts::default(), &[(first, Some(0)), (second, Some(9000))]);
        let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
        assert_eq!(times, [0, 1920, 9000]);
    }

    #[test]
    fn frames_are_found_again_behind_garbage() {
        let mut bytes = frame(&[1; 20]);
        bytes.extend([0xff, 0xff, 0x00, 0xf1, 3]);
        bytes.extend(frame(&[2; 20]));
        let (found, broken) = frames(&mut Adts::default(), &[(&bytes, Some(0))]);
        assert_eq!((found.len(), broken), (2, 1));
    }

    #[test]
    fn an_object_type_that_is_not_packaged_is_told_once() {
        let mut bytes = frame(&[1; 20]);
        // Main profile.
        bytes[2] &= 0x3f;
        let twice = [bytes.clone(), bytes].concat();
        let (mut told, mut others) = (0, 0);
        Adts::default().push(&twice, Some(0), Instant::now(), |found| match found {
            Found::Unusable(_) => told += 1,
            _ => others += 1,
        });
        assert_eq!((told, others), (1, 0));
    }

    proptest! {
        #[test]
        fn garbage_is_survived_and_what_is_kept_stays_small(
            pieces in prop::collection::vec(prop::collection::vec(
                prop_oneof![Just(0xffu8), Just(0xf1), any::<u8>()], 0..300), 0..20)
        ) {
            let mut adts = Adts::default();
            for piece in pieces {
                adts.push(&piece, Some(0), Instant::now(), |_| ());
                // The longest length that a header can state.
                prop_assert!(adts.left.len() <= 8191);
            }
        }
    }
}
