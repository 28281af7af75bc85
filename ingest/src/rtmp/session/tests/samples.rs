//! What a session makes of the media that comes: configurations, samples, times.

use super::*;

#[test]
fn equal_sequence_headers_are_passed_on_once_and_changed_ones_again() {
    let mut client = Client::publishing();
    let video = [b"\x17\0\0\0\0".as_slice(), &avcc()].concat();
    for _ in 0..3 {
        client.send(kind::VIDEO, 0, &video);
        client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    }
    assert!(matches!(client.units().unwrap()[..], [Unit::VideoConfig(_), Unit::AudioConfig(_)]));
    client.send(kind::AUDIO, 0, b"\xAF\0\x12\x10");
    assert!(
        matches!(&client.units().unwrap()[..], [Unit::AudioConfig(SoundConfig::Aac(c))] if c.sample_rate == 44_100)
    );
}

#[test]
fn the_clock_goes_on_over_its_wrap_and_back() {
    let mut client = Client::publishing();
    client.send(kind::AUDIO, u32::MAX - 10, b"\xAF\0\x11\x90");
    for timestamp in [u32::MAX - 10, 12, u32::MAX - 5, 40] {
        client.send(kind::AUDIO, timestamp, b"\xAF\x01x");
    }
    let times: Vec<_> = client.units().unwrap()[1..]
        .iter()
        .map(|unit| match unit {
            Unit::Audio(sample) => sample.dts,
            other => panic!("{other:?}"),
        })
        .collect();
    let last = i64::from(u32::MAX);
    let expected = [last - 10, last + 13, last - 5, last + 41];
    assert_eq!(times, expected.map(|ticks| Timestamp::new(ticks, Timescale::MILLIS)));
}

#[test]
fn the_clock_goes_on_over_half_its_range_and_over_the_whole_for_both_tracks() {
    for start in [(1u32 << 31) - 5_000, 5_000_u32.wrapping_neg(), 0x00FF_FFF0] {
        let mut client = Client::publishing();
        client.send(kind::VIDEO, start, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
        client.send(kind::AUDIO, start, b"\xAF\0\x11\x90");
        for n in 0..500u32 {
            let at = start.wrapping_add(n * 40);
            client.send(kind::VIDEO, at, b"\x27\x01\0\0\0\0\0\0\x02\x41\x9A");
            client.send(kind::AUDIO, at.wrapping_add(20), b"\xAF\x01x");
        }
        let units = client.units().unwrap();
        let times = |video: bool| -> Vec<i64> {
            let at = |unit: &Unit| match unit {
                Unit::Video(sample) if video => Some(sample.dts.ticks),
                Unit::Audio(sample) if !video => Some(sample.dts.ticks),
                _ => None,
            };
            units.iter().filter_map(at).collect()
        };
        let expected = |offset: i64| -> Vec<i64> {
            (0..500).map(|n| i64::from(start) + n * 40 + offset).collect()
        };
        assert_eq!((times(true), times(false)), (expected(0), expected(20)), "{start:#x}");
    }
}

#[test]
fn a_change_from_aac_lc_to_he_aac_and_back_comes_through_and_video_goes_on() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    // 44.1 kHz stereo as LC; 22.05 kHz as HE-AAC, which doubles it; LC again.
    let (low, high) = ([0x12, 0x10].as_slice(), [0x2B, 0x92, 0x08, 0x00].as_slice());
    let mut rates = Vec::new();
    for (n, record) in [low, high, low].into_iter().enumerate() {
        client.send(kind::AUDIO, 0, &[b"\xAF\0", record].concat());
        client.send(kind::AUDIO, 0, b"\xAF\x01x");
        client.send(kind::VIDEO, 0, b"\x27\x01\0\0\0\0\0\0\x02\x41\x9A");
        let units = client.units().unwrap();
        let configs = units.iter().filter_map(|unit| match unit {
            Unit::AudioConfig(SoundConfig::Aac(config)) => {
                Some((config.sample_rate, config.frame_samples))
            }
            _ => None,
        });
        rates.extend(configs);
        assert!(matches!(units[..], [.., Unit::Audio(_), Unit::Video(_)]), "{n}: {units:?}");
    }
    assert_eq!(rates, [(44_100, 1024), (44_100, 2048), (44_100, 1024)]);
}

#[test]
fn short_nal_lengths_become_four_bytes_in_record_and_samples() {
    let mut client = Client::publishing();
    let mut record = avcc().to_vec();
    record[4] = 0xFC | 1;
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &record].concat());
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\x02\x65\x88\0\x01\x0C");
    let units = client.units().unwrap();
    let [Unit::VideoConfig(PictureConfig::Packaged(config)), Unit::Video(sample)] = &units[..]
    else {
        panic!("{units:?}")
    };
    assert_eq!(config.record, avcc());
    assert!(sample.sync);
    assert_eq!(sample.data[..], [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 1, 0x0C]);
}

#[test]
fn a_key_frame_that_is_no_idr_is_no_place_to_start() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x41\x9A");
    let units = client.units().unwrap();
    assert!(matches!(&units[1], Unit::Video(sample) if !sample.sync));
}

#[test]
fn a_picture_whose_nal_units_do_not_add_up_is_dropped_and_counted() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    client.send(kind::VIDEO, 40, b"\x17\x01\0\0\0\0\0\0\x09\x65\x88");
    client.send(kind::VIDEO, 80, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert_eq!(client.units().unwrap().len(), 2);
    assert_eq!(client.session.media().counts().broken, 1);
}

#[test]
fn pictures_without_a_configuration_are_waited_for_and_then_refused() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert!(client.units().unwrap().is_empty());
    client.now += CONFIG_WAIT - Duration::from_millis(1);
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    assert!(client.units().unwrap().is_empty());
    client.now += Duration::from_millis(1);
    client.send(kind::VIDEO, 0, b"\x17\x01\0\0\0\0\0\0\x02\x65\x88");
    let (error, codes) = client.failure();
    assert!(matches!(error, Error::Media(media::Error::NoVideoConfig { .. })), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn codecs_we_do_not_take_are_refused_to_the_peer() {
    for (kind, body) in [
        (kind::AUDIO, b"\x2F\xFF\xFB".as_slice()),
        (kind::VIDEO, b"\x90av01\x81"),
        (kind::VIDEO, b"\x96\x01hvc1"),
    ] {
        let mut client = Client::publishing();
        client.send(kind, 0, body);
        let (error, codes) = client.failure();
        assert!(matches!(error, Error::Media(media::Error::Codec(_))), "{error}");
        assert_eq!(codes, ["NetStream.Publish.Rejected"]);
    }
}

/// Exp-Golomb code.
fn ue(value: u32) -> String {
    let code = format!("{:b}", value + 1);
    "0".repeat(code.len() - 1) + &code
}

/// An avcC whose SPS claims a picture of `size` times `size` pixels.
fn avcc_of(size: u32) -> Vec<u8> {
    // seq_parameter_set_id, log2_max_frame_num, pic_order_cnt_type, max_num_ref_frames; no gaps.
    let mut bits = [0, 0, 2, 1].map(ue).concat() + "0";
    bits += &ue(size / 16 - 1).repeat(2);
    // frame_mbs_only, direct_8x8_inference, no cropping, no VUI, stop bit.
    bits += "11001";
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let mut sps = vec![0x67, 66, 0xC0, 30];
    let bytes = bits.as_bytes().chunks(8);
    sps.extend(bytes.map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 2).unwrap()));
    let length = (sps.len() as u16).to_be_bytes();
    let head = [1, 66, 0xC0, 30, 0xFF, 0xE1].as_slice();
    [head, &length, &sps, &[1, 0, 4, 0x68, 0xCE, 0x3C, 0x80]].concat()
}

#[test]
fn a_picture_too_large_to_decode_is_refused_to_the_peer() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc_of(1024)].concat());
    let units = client.units().unwrap();
    assert!(matches!(&units[..], [Unit::VideoConfig(c)] if c.size().0 == 1024), "{units:?}");
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc_of(16_384)].concat());
    let (error, codes) = client.failure();
    assert!(error.to_string().contains("16384x16384"), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn a_picture_that_brings_a_parameter_set_too_large_to_decode_is_refused_to_the_peer() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, &[b"\x17\0\0\0\0".as_slice(), &avcc()].concat());
    let record = avcc_of(16_384);
    let length = u16::from_be_bytes([record[6], record[7]]);
    let sps = &record[8..8 + usize::from(length)];
    let picture = [&[0, 0], &record[6..8], sps, b"\0\0\0\x02\x65\x88"].concat();
    client.send(kind::VIDEO, 0, &[b"\x17\x01\0\0\0".as_slice(), &picture].concat());
    let (error, codes) = client.failure();
    assert!(error.to_string().contains("16384x16384"), "{error}");
    assert_eq!(codes, ["NetStream.Publish.Rejected"]);
}

#[test]
fn aggregates_are_taken_apart() {
    let mut client = Client::publishing();
    let tag = |kind: u8, time: u32, body: &[u8]| {
        let [_, l @ ..] = (body.len() as u32).to_be_bytes();
        let [high, t @ ..] = time.to_be_bytes();
        let head = [[kind].as_slice(), &l, &t, &[high], &[0; 3]].concat();
        [&head, body, &[0; 4]].concat()
    };
    let payload = [
        tag(kind::AUDIO, 100, b"\xAF\0\x11\x90"),
        tag(kind::AUDIO, 121, b"\xAF\x01x"),
        tag(kind::AGGREGATE, 0, &tag(kind::AUDIO, 0, b"\xAF\x01never")),
        tag(kind::AUDIO, 0x0100_0000, b"\xAF\x01y"),
    ];
    client.send(kind::AGGREGATE, 100, &payload.concat());
    let units = client.units().unwrap();
    let [Unit::AudioConfig(_), Unit::Audio(x), Unit::Audio(y)] = &units[..] else {
        panic!("{units:?}")
    };
    assert_eq!((x.dts.ticks, y.dts.ticks), (121, 0x0100_0000));
    for cut in 0..40 {
        client.send(kind::AGGREGATE, 100, &payload.concat()[..cut]);
        let _ = client.events();
    }
}

#[test]
fn media_headers_that_make_no_sense_cost_their_message_only() {
    let mut client = Client::publishing();
    client.send(kind::VIDEO, 0, b"\x17\x01\0");
    client.send(kind::VIDEO, 0, b"\x95hvc1");
    client.send(kind::AUDIO, 0, b"\xAF\x07");
    client.send(kind::AUDIO, 0, b"\xAF\0\x11\x90");
    assert!(matches!(client.units().unwrap()[..], [Unit::AudioConfig(_)]));
    assert_eq!(client.session.media().counts().broken, 3);
}

/// hvcC of a 160x90 stream by x265.
const HVCC: &[u8] = b"\x01\x01\x60\0\0\0\x90\0\0\0\0\0\x1E\xF0\0\xFC\xFD\xF8\xF8\0\0\x0F\x03\
    \xA0\0\x01\0\x18\x40\x01\x0C\x01\xFF\xFF\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x1E\x95\x98\x09\
    \xA1\0\x01\0\x2A\x42\x01\x01\x01\x60\0\0\x03\0\x90\0\0\x03\0\0\x03\0\x1E\xA0\x14\x20\x61\xF2\x65\
    \x95\x9A\x49\x32\xBC\x05\xA0\x20\0\0\x03\0\x20\0\0\x03\x03\x21\
    \xA2\0\x01\0\x07\x44\x01\xC1\x72\xB4\x62\x40";

#[test]
fn h265_comes_in_by_four_cc_and_by_its_old_number() {
    for (config, picture) in [
        (b"\x90hvc1".as_slice(), b"\x91hvc1\0\0\x28".as_slice()),
        (b"\x1C\0\0\0\0", b"\x1C\x01\0\0\x28"),
    ] {
        let mut client = Client::publishing();
        client.send(kind::VIDEO, 0, &[config, HVCC].concat());
        client.send(kind::VIDEO, 40, &[picture, b"\0\0\0\x03\x28\x01\xAF"].concat());
        let units = client.units().unwrap();
        let [Unit::VideoConfig(PictureConfig::Packaged(config)), Unit::Video(sample)] = &units[..]
        else {
            panic!("{units:?}")
        };
        assert_eq!((config.width, config.height), (160, 90));
        assert!(config.codec_string.starts_with("hvc1."), "{}", config.codec_string);
        assert_eq!((sample.dts.ticks, sample.pts.ticks, sample.sync), (40, 80, true));
    }
}
