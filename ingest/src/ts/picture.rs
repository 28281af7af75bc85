//! Pictures: from a byte stream with start codes to samples with NAL lengths and their configuration.
//!
//! A PES packet is one picture, as broadcasting asks (ETSI TS 101 154 §4.1): both fields of an
//! interlaced one. Parameter sets are taken out of the pictures and make up the configuration, which
//! is told again when it changes; delimiters and filler go.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::{BufMut, Bytes, BytesMut};
use packager::codec::nal::{self, AnnexB, LengthSize};
use packager::codec::{h264, h265};
use packager::media::{VideoCodec, VideoConfig};

/// Most parameter sets of a kind that are kept. Real streams have one or two.
const MAX_SETS: usize = 16;
/// Longest parameter set, in bytes: its length has 16 bits in a configuration record (ISO/IEC 14496-15
/// §5.3.3.1). They are kept, so that they are not to be as large as pictures.
const MAX_SET: usize = u16::MAX as usize;

/// What a PES packet gives.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// The configuration of the pictures behind it; where it is another than before.
    Config(VideoConfig),
    /// A picture.
    Picture {
        /// Whether decoding can start here, or may recover here where that is enough.
        sync: bool,
        /// Length-prefixed NAL units.
        data: Bytes,
    },
    /// Parameter sets that are not taken.
    Unusable(packager::codec::Error),
    /// NAL units that do not add up.
    Broken,
}

/// What is to be done with a NAL unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A parameter set: video, sequence, picture.
    Set(usize),
    /// Says nothing that the sample does not say.
    Dropped,
    Kept,
}

/// Pictures of one PID.
#[derive(Debug)]
pub(super) struct Pictures {
    codec: VideoCodec,
    /// Video, sequence and picture parameter sets, as they came last.
    sets: [Vec<Bytes>; 3],
    /// The record that was told last.
    record: Option<Bytes>,
    usable: bool,
    /// Whether decoding may start where it recovers.
    open_groups: bool,
}

impl Pictures {
    pub(super) fn new(codec: VideoCodec, open_groups: bool) -> Self {
        Self { codec, sets: Default::default(), record: None, usable: false, open_groups }
    }

    /// Takes the payload of a PES packet.
    pub(super) fn push(&mut self, payload: &[u8], mut each: impl FnMut(Found)) {
        // Start codes have three or four bytes and lengths four: exact unless there are many units.
        let mut data = BytesMut::with_capacity(payload.len().saturating_add(64));
        let mut new: [Vec<Bytes>; 3] = Default::default();
        let mut recovers = false;
        for unit in AnnexB::new(payload) {
            let Ok(unit) = unit else { return each(Found::Broken) };
            match self.role(unit.kind(self.codec)) {
                Role::Dropped => {}
                Role::Set(_) if unit.bytes.len() > MAX_SET => return each(Found::Broken),
                Role::Set(kind) => {
                    if let Some(sets) = new.get_mut(kind)
                        && sets.len() < MAX_SETS
                    {
                        sets.push(Bytes::copy_from_slice(unit.bytes));
                    }
                }
                Role::Kept => {
                    recovers |= self.open_groups
                        && self.codec == VideoCodec::H264
                        && h264::is_recovery_point(unit.bytes);
                    data.put_u32(u32::try_from(unit.bytes.len()).unwrap_or(u32::MAX));
                    data.put_slice(unit.bytes);
                }
            }
        }
        if new.iter().any(|sets| !sets.is_empty()) {
            self.renew(new);
            self.configure(&mut each);
        }
        // Behind an end of sequence, say, there is no picture. Without a configuration nobody could
        // decode one: the stream was joined in its middle.
        if data.is_empty() || !self.usable {
            return;
        }
        match nal::check(&data, LengthSize::Four, self.codec) {
            Ok(unit) => {
                let sync = unit.random_access || recovers;
                each(Found::Picture { sync, data: data.freeze() });
            }
            Err(_) => each(Found::Broken),
        }
    }

    fn role(&self, kind: u8) -> Role {
        match (self.codec, kind) {
            (VideoCodec::H264, 7) | (VideoCodec::H265, 33) => Role::Set(1),
            (VideoCodec::H264, 8) | (VideoCodec::H265, 34) => Role::Set(2),
            (VideoCodec::H265, 32) => Role::Set(0),
            // Delimiter, end of sequence, end of stream, filler.
            (VideoCodec::H264, 9..=12) | (VideoCodec::H265, 35..=38) => Role::Dropped,
            _ => Role::Kept,
        }
    }

    /// A sequence parameter set begins everything anew; without one, what came is added or takes the
    /// place of the one with the same id.
    fn renew(&mut self, new: [Vec<Bytes>; 3]) {
        let [_, sequence, _] = &new;
        if !sequence.is_empty() {
            let complete = new.iter().zip(&self.sets).map(|(new, old)| {
                // An encoder that leaves a kind out means those before.
                if new.is_empty() { old.clone() } else { new.clone() }
            });
            let mut sets = <[Vec<Bytes>; 3]>::default();
            for (place, set) in sets.iter_mut().zip(complete) {
                *place = set;
            }
            self.sets = sets;
            return;
        }
        let header = match self.codec {
            VideoCodec::H264 => 1,
            VideoCodec::H265 => 2,
        };
        for (place, sets) in self.sets.iter_mut().zip(new) {
            for set in sets {
                let id = first_ue(set.get(header..).unwrap_or_default());
                let same = |other: &Bytes| {
                    first_ue(other.get(header..).unwrap_or_default()) == id && id.is_some()
                };
                let room = place.len() < MAX_SETS;
                match place.iter_mut().find(|other| same(other)) {
                    Some(old) => *old = set,
                    None if room => place.push(set),
                    None => {}
                }
            }
        }
    }

    fn configure(&mut self, each: &mut impl FnMut(Found)) {
        let [video, sequence, picture] = self.sets.each_ref().map(|sets| slices(sets));
        let record = match (self.codec, sequence.first()) {
            // Those that are missing are on their way.
            (_, None) => return,
            _ if picture.is_empty() => return,
            (VideoCodec::H264, Some(first)) => h264::record(first, &picture),
            (VideoCodec::H265, _) if video.is_empty() => return,
            (VideoCodec::H265, _) => h265::record(&video, &sequence, &picture),
        };
        if record.is_ok() && record.as_ref().ok() == self.record.as_ref() {
            return;
        }
        self.record = record.as_ref().ok().cloned();
        let config = record.and_then(|record| match self.codec {
            VideoCodec::H264 => h264::config(record),
            VideoCodec::H265 => h265::config(record),
        });
        self.usable = config.is_ok();
        each(config.map_or_else(Found::Unusable, Found::Config));
    }
}

fn slices(sets: &[Bytes]) -> Vec<&[u8]> {
    sets.iter().map(Bytes::as_ref).collect()
}

/// The first Exp-Golomb number of some bytes, if it has up to 15 bits: a set's id.
fn first_ue(bytes: &[u8]) -> Option<u16> {
    let [a, b, ..] = bytes else { return None };
    let bits = u16::from_be_bytes([*a, *b]);
    let zeros = bits.leading_zeros();
    let length = zeros.checked_mul(2)?.checked_add(1)?;
    let rest = 16u32.checked_sub(length)?;
    (bits >> rest).checked_sub(1)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    /// Baseline, 318x188, and two picture parameter sets of ids 0 and 1.
    const SPS: &[u8] = &[
        0x67, 0x42, 0xc0, 0x0c, 0xd9, 0x01, 0x41, 0x96, 0x9e, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10,
        0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42, 0x99, 0x20,
    ];
    const PPS: &[u8] = &[0x68, 0xcb, 0x83, 0xcb, 0x20];
    const OTHER_PPS: &[u8] = &[0x68, 0x5b, 0x83, 0xcb, 0x20];

    fn stream(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    fn push(pictures: &mut Pictures, units: &[&[u8]]) -> Vec<Found> {
        let mut found = Vec::new();
        pictures.push(&stream(units), |one| found.push(one));
        found
    }

    #[test]
    fn parameter_sets_become_the_configuration_and_leave_the_picture() {
        let mut pictures = Pictures::new(VideoCodec::H264, false);
        let found = push(&mut pictures, &[&[9, 0xf0], SPS, PPS, &[0x65, 1, 2]]);
        let [Found::Config(config), Found::Picture { sync: true, data }] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!((config.width, config.height), (318, 188));
        assert_eq!(data, &[0u8, 0, 0, 3, 0x65, 1, 2][..]);
        // The same again is not told again.
        let found = push(&mut pictures, &[SPS, PPS, &[0x65, 1]]);
        assert!(matches!(found.as_slice(), [Found::Picture { .. }]), "{found:?}");
    }

    #[test]
    fn a_picture_before_its_configuration_is_nothing() {
        assert!(push(&mut Pictures::new(VideoCodec::H264, false), &[&[0x41, 1, 2]]).is_empty());
    }

    #[test]
    fn a_picture_parameter_set_alone_is_added_or_takes_the_place_of_its_like() {
        let mut pictures = Pictures::new(VideoCodec::H264, false);
        push(&mut pictures, &[SPS, PPS]);
        let found = push(&mut pictures, &[OTHER_PPS, &[0x41, 1]]);
        assert!(matches!(found.as_slice(), [Found::Config(_), Found::Picture { .. }]), "{found:?}");
        assert_eq!(pictures.sets[2], [PPS, OTHER_PPS]);
        push(&mut pictures, &[OTHER_PPS, &[0x41, 1]]);
        assert_eq!(pictures.sets[2].len(), 2);
    }

    #[test]
    fn a_picture_from_which_decoding_recovers_is_a_start_for_a_decoder_alone() {
        let recovery_point: &[u8] = &[0x06, 0x06, 0x01, 0xc4, 0x80];
        for open_groups in [false, true] {
            let mut pictures = Pictures::new(VideoCodec::H264, open_groups);
            let found = push(&mut pictures, &[SPS, PPS, recovery_point, &[0x41, 1]]);
            let [_, Found::Picture { sync, .. }] = found.as_slice() else { panic!("{found:?}") };
            assert_eq!(*sync, open_groups);
        }
    }

    #[test]
    fn a_parameter_set_as_large_as_a_picture_is_broken_and_not_kept() {
        let mut pictures = Pictures::new(VideoCodec::H264, false);
        push(&mut pictures, &[SPS, PPS]);
        let huge = [OTHER_PPS, &[0x55; MAX_SET]].concat();
        let found = push(&mut pictures, &[&huge, &[0x41, 1]]);
        assert!(matches!(found.as_slice(), [Found::Broken]), "{found:?}");
        assert_eq!(pictures.sets[2], [PPS]);
    }

    #[test]
    fn bytes_without_start_codes_are_broken() {
        let mut found = Vec::new();
        Pictures::new(VideoCodec::H264, false).push(&[1, 2, 3], |one| found.push(one));
        assert!(matches!(found.as_slice(), [Found::Broken]));
    }

    #[test]
    fn ids_of_sets_are_read() {
        assert_eq!(first_ue(&[0x80, 0]), Some(0));
        assert_eq!(first_ue(&[0x5b, 0]), Some(1));
        assert_eq!(first_ue(&[0b0011_1000, 0]), Some(6));
        assert_eq!((first_ue(&[0, 0]), first_ue(&[0x80])), (None, None));
    }
}
