#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::codec::fixtures::{self, bytes};

fn summary(asc: &[u8]) -> Result<(String, u32, u8, u32), Error> {
    let config = config(Bytes::copy_from_slice(asc))?;
    assert_eq!(config.record, asc);
    Ok((config.codec_string, config.sample_rate, config.channels, config.frame_samples))
}

fn expected(
    codec: &str,
    rate: u32,
    channels: u8,
    frame: u32,
) -> Result<(String, u32, u8, u32), Error> {
    Ok((codec.into(), rate, channels, frame))
}

#[test]
fn configurations_of_ffmpeg_are_aac_lc() {
    let lc = "mp4a.40.2";
    assert_eq!(summary(&bytes(fixtures::AAC_48000_STEREO)), expected(lc, 48_000, 2, 1024));
    assert_eq!(summary(&bytes(fixtures::AAC_44100_MONO)), expected(lc, 44_100, 1, 1024));
    assert_eq!(summary(&bytes(fixtures::AAC_32000_5_1)), expected(lc, 32_000, 6, 1024));
    // Without the extension, as OBS and Flash wrote it.
    assert_eq!(summary(&[0x11, 0x90]), expected(lc, 48_000, 2, 1024));
}

/// Packs (count, value) pairs.
fn pack(fields: &[(u32, u32)]) -> Vec<u8> {
    let bits: Vec<bool> = fields
        .iter()
        .flat_map(|&(count, value)| (0..count).rev().map(move |bit| value >> bit & 1 == 1))
        .collect();
    let byte = |bits: &[bool]| {
        bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << (7 - at))
    };
    bits.chunks(8).map(byte).collect()
}

#[test]
fn explicit_rates_and_short_frames_are_read() {
    let asc = pack(&[(5, 2), (4, 15), (24, 44_000), (4, 2), (3, 0b100)]);
    assert_eq!(summary(&asc), expected("mp4a.40.2", 44_000, 2, 960));
}

#[test]
fn a_core_coder_delay_is_passed_over() {
    // dependsOnCoreCoder, its delay, then SBR behind it.
    let asc =
        pack(&[(5, 2), (4, 6), (4, 2), (3, 0b010), (14, 99), (11, 0x2b7), (5, 5), (1, 1), (4, 3)]);
    assert_eq!(summary(&asc), expected("mp4a.40.5", 48_000, 2, 2048));
}

#[test]
fn sbr_doubles_rate_and_frame_however_it_is_signalled() {
    let explicit = pack(&[(5, 5), (4, 6), (4, 2), (4, 3), (5, 2), (3, 0)]);
    let behind = pack(&[(5, 2), (4, 6), (4, 2), (3, 0), (11, 0x2b7), (5, 5), (1, 1), (4, 3)]);
    for asc in [explicit, behind] {
        assert_eq!(summary(&asc), expected("mp4a.40.5", 48_000, 2, 2048));
    }
    let downsampled = pack(&[(5, 5), (4, 3), (4, 2), (4, 3), (5, 2), (3, 0)]);
    assert_eq!(summary(&downsampled), expected("mp4a.40.5", 48_000, 2, 1024));
    let odd = pack(&[(5, 5), (4, 6), (4, 2), (4, 4), (5, 2), (3, 0)]);
    assert_eq!(summary(&odd), Err(Error::Unsupported { what: "SBR sample rate", value: 44_100 }));
}

#[test]
fn parametric_stereo_makes_two_channels_of_one() {
    let explicit = pack(&[(5, 29), (4, 6), (4, 1), (4, 3), (5, 2), (3, 0)]);
    let behind = pack(&[
        (5, 2),
        (4, 6),
        (4, 1),
        (3, 0),
        (11, 0x2b7),
        (5, 5),
        (1, 1),
        (4, 3),
        (11, 0x548),
        (1, 1),
    ]);
    for asc in [explicit, behind] {
        assert_eq!(summary(&asc), expected("mp4a.40.29", 48_000, 2, 2048));
    }
}

#[test]
fn channel_configurations_1_to_7_are_taken_and_others_refused_with_the_number() {
    for (configuration, channels) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 8)] {
        let asc = pack(&[(5, 2), (4, 3), (4, configuration), (3, 0)]);
        assert_eq!(summary(&asc), expected("mp4a.40.2", 48_000, channels, 1024));
    }
    for value in [0, 8, 11, 15] {
        let asc = pack(&[(5, 2), (4, 3), (4, value), (3, 0)]);
        let what = "AAC channel configuration";
        assert_eq!(summary(&asc), Err(Error::Unsupported { what, value }));
    }
}

#[test]
fn what_is_not_aac_lc_is_refused_with_its_number() {
    for (object, found) in [(1, 1), (4, 4), (23, 23), (39, 39)] {
        let first = if object > 31 { vec![(5, 31), (6, object - 32)] } else { vec![(5, object)] };
        let asc = pack(&[&first[..], &[(4, 3), (4, 2), (8, 0)]].concat());
        let what = "AAC object type";
        assert_eq!(summary(&asc), Err(Error::Unsupported { what, value: found }));
    }
}

#[test]
fn rates_outside_8_to_96_khz_and_reserved_indexes_are_refused() {
    let low = pack(&[(5, 2), (4, 12), (4, 2), (3, 0)]);
    assert_eq!(summary(&low), Err(Error::Unsupported { what: "sample rate", value: 7_350 }));
    let high = pack(&[(5, 2), (4, 15), (24, 192_000), (4, 2), (3, 0)]);
    assert_eq!(summary(&high), Err(Error::Unsupported { what: "sample rate", value: 192_000 }));
    let reserved = pack(&[(5, 2), (4, 13), (4, 2), (3, 0)]);
    let what = "samplingFrequencyIndex";
    assert_eq!(summary(&reserved), Err(Error::Invalid { what, offset: 1 }));
    let bomb = Error::TooLong { what: "AudioSpecificConfig", len: 65, max: 64 };
    assert_eq!(summary(&[0x11; 65]), Err(bomb));
}

#[test]
fn a_configuration_cut_in_its_core_is_incomplete_and_in_its_extension_whole() {
    let whole = bytes(fixtures::AAC_48000_STEREO);
    for end in 0..2 {
        let cut = config(whole.slice(..end));
        assert!(matches!(cut, Err(Error::Incomplete { offset, .. }) if offset == end), "{cut:?}");
    }
    for end in 2..=whole.len() {
        assert_eq!(config(whole.slice(..end)).unwrap().sample_rate, 48_000);
    }
}

proptest! {
    #[test]
    fn garbage_is_an_error_or_a_config_within_the_limits(
        garbage in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        if let Ok(config) = config(garbage.into()) {
            prop_assert!((8_000..=96_000).contains(&config.sample_rate));
            prop_assert!((1..=8).contains(&config.channels));
        }
    }
}
