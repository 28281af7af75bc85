#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use proptest::prelude::*;

use super::*;
use crate::source::AudioCodec;

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

/// Bits in the order they are sent.
#[derive(Default)]
struct Written(Vec<bool>);

impl Written {
    fn bits(&mut self, count: u32, value: u32) -> &mut Self {
        self.0.extend((0..count).rev().map(|n| value >> n & 1 == 1));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|byte| byte.iter().zip(0..).map(|(bit, n)| u8::from(*bit) << (7 - n)).sum())
            .collect()
    }
}

/// An element of LOAS with one frame, AAC-LC at 48 kHz in stereo, with its configuration or without.
fn element(payload: &[u8], with_config: bool, subframes: u32) -> Vec<u8> {
    let mut inner = Written::default();
    inner.bits(1, u32::from(!with_config));
    if with_config {
        // Version 0, same framing, subframes, one program, one layer.
        inner.bits(1, 0).bits(1, 1).bits(6, subframes).bits(4, 0).bits(3, 0);
        inner.bits(5, 2).bits(4, 3).bits(4, 2).bits(3, 0);
        // Length before each frame, buffer fullness, other data of 3 bits, no checksum.
        inner.bits(3, 0).bits(8, 0xff).bits(1, 1).bits(1, 0).bits(8, 3).bits(1, 0);
    }
    let mut left = payload.len() as u32;
    while left >= 255 {
        inner.bits(8, 255);
        left -= 255;
    }
    inner.bits(8, left);
    payload.iter().for_each(|byte| {
        inner.bits(8, u32::from(*byte));
    });
    inner.bits(3, 0);
    let inner = inner.bytes();
    let mut bytes = vec![0x56, 0xe0 | (inner.len() >> 8) as u8, inner.len() as u8];
    bytes.extend(inner);
    bytes
}

/// Frames, how often something was broken, and configurations.
fn frames(
    sounds: &mut Sounds,
    pieces: &[(&[u8], Option<i64>)],
) -> (Vec<(i64, Bytes)>, usize, Vec<SoundConfig>) {
    let (mut found, mut broken, mut configs) = (Vec::new(), 0, Vec::new());
    for (piece, at) in pieces {
        let piece = Bytes::copy_from_slice(piece);
        sounds.push(piece, *at, Instant::now(), |one| match one {
            Found::Frame { at, data, .. } => found.push((at, data)),
            Found::Broken => broken += 1,
            Found::Config(config) => configs.push(config),
            Found::Unusable(error) => panic!("{error}"),
        });
    }
    (found, broken, configs)
}

fn adts() -> Sounds {
    Sounds::new(Format::Adts)
}

#[test]
fn frames_follow_each_other_by_their_length() {
    let bytes: Vec<u8> = (0..3u8).flat_map(|n| frame(&[n; 50])).collect();
    let (found, broken, configs) = frames(&mut adts(), &[(&bytes, Some(900))]);
    let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
    assert_eq!((times, broken), (vec![900, 2820, 4740], 0));
    assert_eq!(found[2].1, &[2; 50][..]);
    let strings: Vec<_> = configs.iter().map(SoundConfig::codec_string).collect();
    assert_eq!(strings, ["mp4a.40.2"]);
}

#[test]
fn a_time_is_that_of_the_first_frame_that_begins_in_its_packet() {
    let bytes: Vec<u8> = (0..3u8).flat_map(|n| frame(&[n; 50])).collect();
    let (first, second) = bytes.split_at(70);
    let (found, ..) = frames(&mut adts(), &[(first, Some(0)), (second, Some(9000))]);
    let times: Vec<_> = found.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 1920, 9000]);
}

#[test]
fn frames_are_found_again_behind_garbage() {
    let mut bytes = frame(&[1; 20]);
    bytes.extend([0xff, 0xff, 0x00, 0xf1, 3]);
    bytes.extend(frame(&[2; 20]));
    bytes.extend(frame(&[3; 20]));
    let (found, broken, _) = frames(&mut adts(), &[(&bytes, Some(0))]);
    assert_eq!((found.len(), broken), (3, 1));
}

#[test]
fn what_looks_like_the_head_of_a_frame_within_sound_is_none() {
    // Behind garbage a head of another rate, and 4 bytes on the true frames.
    let liar = [0xff, 0xf1, 1 << 6 | 4 << 2, 2 << 6, 20 >> 3, 20 << 5, 0xfc];
    let mut bytes = vec![1, 2, 3];
    bytes.extend(liar);
    bytes.extend((0..3u8).flat_map(|n| frame(&[n; 50])));
    let (found, broken, configs) = frames(&mut adts(), &[(&bytes, Some(0))]);
    assert_eq!((found.len(), broken, configs.len()), (3, 1, 1));
    assert_eq!(found[0].1, &[0; 50][..]);
}

#[test]
fn an_object_type_that_is_not_packaged_is_told_once() {
    let mut bytes = frame(&[1; 20]);
    // Main profile.
    bytes[2] &= 0x3f;
    let twice = [bytes.clone(), bytes].concat();
    let (mut told, mut others) = (0, 0);
    adts().push(twice.into(), Some(0), Instant::now(), |found| match found {
        Found::Unusable(_) => told += 1,
        _ => others += 1,
    });
    assert_eq!((told, others), (1, 0));
}

#[test]
fn frames_in_latm_lie_at_any_bit_and_come_out_raw() {
    // The first comes before any configuration; 300 bytes need two of length.
    let bytes =
        [element(&[9; 10], false, 0), element(&[1; 20], true, 0), element(&[2; 300], false, 0)]
            .concat();
    let mut sounds = Sounds::new(Format::Latm);
    let (mut found, mut told, mut configs) = (Vec::new(), 0, Vec::new());
    for piece in bytes.chunks(17) {
        sounds.push(Bytes::copy_from_slice(piece), Some(900), Instant::now(), |one| match one {
            Found::Frame { data, .. } => found.push(data),
            Found::Config(config) => configs.push(config),
            Found::Unusable(_) => told += 1,
            Found::Broken => panic!("{piece:?}"),
        });
    }
    assert_eq!(found, [Bytes::from(vec![1; 20]), Bytes::from(vec![2; 300])]);
    let [SoundConfig::Aac(config)] = configs.as_slice() else { panic!("{configs:?}") };
    assert_eq!((config.sample_rate, config.channels, told), (48_000, 2, 0));
}

#[test]
fn latm_of_another_form_is_told() {
    let mut told = Vec::new();
    let bytes = element(&[1; 20], true, 3);
    Sounds::new(Format::Latm).push(bytes.into(), Some(0), Instant::now(), |one| told.push(one));
    assert!(matches!(told.as_slice(), [Found::Unusable(_)]), "{told:?}");
}

#[test]
fn foreign_frames_come_out_whole_and_follow_by_their_samples() {
    // Layer II at 48 kHz: 576 bytes, 24 ms.
    let mut frame = vec![0; 576];
    frame[..4].copy_from_slice(&[0xff, 0xfd, 0xa4, 0x00]);
    let bytes = frame.repeat(3);
    let mut sounds = Sounds::new(Format::Mpeg);
    let (first, second) = bytes.split_at(600);
    let (found, broken, configs) = frames(&mut sounds, &[(first, Some(0)), (second, None)]);
    assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 2160, 4320]);
    assert!(broken == 0 && found.iter().all(|(_, data)| data == &frame));
    let mp2 = ForeignSound { codec: AudioCodec::Mp2, sample_rate: 48_000, channels: 2 };
    assert_eq!(configs, [SoundConfig::Foreign(mp2)]);
}

proptest! {
    #[test]
    fn garbage_is_survived_and_what_is_kept_stays_small(
        pieces in prop::collection::vec(prop::collection::vec(
            prop_oneof![
                Just(0xffu8), Just(0xf1), Just(0xfd), Just(0x0b), Just(0x77), Just(0x56),
                Just(0xe1), any::<u8>()
            ], 0..300), 0..20),
        format in prop_oneof![
            Just(Format::Adts), Just(Format::Latm), Just(Format::Mpeg), Just(Format::Ac3)
        ],
    ) {
        let mut sounds = Sounds::new(format);
        for piece in pieces {
            sounds.push(piece.into(), Some(0), Instant::now(), |_| ());
            prop_assert!(sounds.left.len() <= MAX_FRAME);
        }
    }
}
