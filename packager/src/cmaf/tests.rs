use bytes::{BufMut, BytesMut};
use mp4_atom::{Decode, Emsg, Encode, Ftyp, Moof, Moov, Prft, Styp};

use super::*;
use crate::codec::fixtures::{self, bytes};
use crate::codec::{aac, h264, h265};
use crate::media::{Config, Name, Track};
use crate::time::{FrameRate, Timescale};

mod rows;

/// 2026-11-25T12:00:00Z in seconds since the epoch.
pub(crate) const NOON: i64 = 1_795_608_000;
/// Number of the segment at noon where D is 1.6 s; times 64 it is above 2^32.
pub(crate) const K: u64 = 1_122_255_000;

fn rendition(config: Config, timescale: u32, rate: Option<FrameRate>) -> Rendition {
    Rendition {
        name: Name::parse("some").unwrap(),
        track: Track { timescale: Timescale::new(timescale).unwrap(), config },
        rate,
        average_bitrate: 2_500_000,
        peak_bitrate: 3_000_000,
    }
}

fn avc(hex: &str) -> Rendition {
    let config = h264::config(bytes(hex)).unwrap();
    let rate = config.rate.unwrap();
    rendition(Config::Video(config), rate.timescale().get(), Some(rate))
}

pub(crate) fn video() -> Rendition {
    avc(fixtures::AVC_720P30)
}

fn hevc() -> Rendition {
    let config = h265::config(bytes(fixtures::HEVC_MAIN10_360P30)).unwrap();
    rendition(Config::Video(config), 90_000, Some(FrameRate::new(30, 1)))
}

pub(crate) fn audio() -> Rendition {
    let config = aac::config(bytes(fixtures::AAC_48000_STEREO)).unwrap();
    rendition(Config::Audio(config), 48_000, None)
}

/// Pictures with two B-frames between references, from `start` on.
pub(crate) fn pictures(start: i64, count: usize, sync: bool) -> Vec<Sample> {
    let offsets = [0, 6_000, -3_000, -3_000];
    (0i64..)
        .zip(offsets.iter().cycle())
        .take(count)
        .map(|(at, offset)| Sample {
            dts: start + at * 3_000,
            pts: start + at * 3_000 + offset,
            duration: 3_000,
            sync: sync && at == 0,
            data: Bytes::from(vec![at as u8; 100 + at as usize]),
        })
        .collect()
}

fn frames(start: i64, count: usize) -> Vec<Sample> {
    (0i64..)
        .take(count)
        .map(|at| Sample {
            dts: start + at * 1024,
            pts: start + at * 1024,
            duration: 1024,
            sync: true,
            data: Bytes::from_static(&[0x21; 300]),
        })
        .collect()
}

fn spec<'a>(rendition: &'a Rendition, part: u32, samples: &'a [Sample]) -> ChunkSpec<'a> {
    ChunkSpec { rendition, k: K, part, samples, events: &[] }
}

pub(crate) fn joined(chunk: &Chunk) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&chunk.head);
    chunk.samples.iter().for_each(|sample| out.put_slice(sample));
    out.freeze()
}

/// The parts of a video segment as bytes: four of twelve pictures.
pub(crate) fn segment(k: u64, start: i64) -> Vec<Bytes> {
    let rendition = video();
    let part = |part: u32| {
        let samples = pictures(start + i64::from(part) * 36_000, 12, part == 0);
        joined(&chunk(&ChunkSpec { k, ..spec(&rendition, part, &samples) }))
    };
    (0..4).map(part).collect()
}

#[test]
fn a_chunk_reads_back_with_an_independent_reader() {
    let (rendition, samples) = (video(), pictures(NOON * 90_000, 12, true));
    let chunk = chunk(&spec(&rendition, 0, &samples));
    let whole = joined(&chunk);
    assert_eq!(whole.len(), chunk.len());
    let mut rest = &whole[..];
    let styp = Styp::decode(&mut rest).unwrap();
    assert_eq!(styp.major_brand, b"msdh".into());
    let prft = Prft::decode(&mut rest).unwrap();
    assert_eq!(prft.media_time, NOON.unsigned_abs() * 90_000);
    assert_eq!(prft.ntp_timestamp, (NOON.unsigned_abs() + 2_208_988_800) << 32);
    let before_moof = rest.len();
    let moof = Moof::decode(&mut rest).unwrap();
    let moof_size = before_moof - rest.len();
    let traf = &moof.traf[0];
    assert_eq!(traf.tfhd.track_id, 1);
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, prft.media_time);
    assert_eq!(traf.trun[0].data_offset, Some(i32::try_from(moof_size + 8).unwrap()));
    assert_eq!(traf.trun[0].samples.len(), samples.len());
    for (entry, sample) in traf.trun[0].samples.iter().zip(&samples) {
        assert_eq!(entry.duration, Some(sample.duration));
        assert_eq!(entry.size, Some(u32::try_from(sample.data.len()).unwrap()));
        assert_eq!(entry.flags, Some(if sample.sync { 0x0200_0000 } else { 0x0101_0000 }));
        assert_eq!(entry.cts, Some(sample.pts - sample.dts));
    }
    assert_eq!(&rest[4..8], b"mdat");
    let media: Vec<u8> = samples.iter().flat_map(|sample| sample.data.to_vec()).collect();
    assert_eq!(rest[8..], media);
}

#[test]
fn samples_are_shared_and_the_head_is_one_allocation_of_its_size() {
    let (rendition, samples) = (video(), pictures(NOON * 90_000, 12, true));
    let event = emsg();
    for part in [0, 1] {
        for rendition in [&rendition, &audio()] {
            let events = [event.clone()];
            let spec = ChunkSpec { events: &events, ..spec(rendition, part, &samples) };
            let made = chunk(&spec);
            for (made, given) in made.samples.iter().zip(&samples) {
                assert_eq!(made.as_ptr(), given.data.as_ptr());
            }
            let head = made.head.try_into_mut().unwrap();
            assert_eq!(head.capacity(), head.len());
        }
    }
}

fn emsg() -> Bytes {
    let mut out = Vec::new();
    let event = Emsg {
        timescale: 90_000,
        presentation_time: mp4_atom::EmsgTimestamp::Absolute(NOON.unsigned_abs() * 90_000),
        event_duration: 90_000,
        id: 7,
        scheme_id_uri: "urn:scte:scte35:2013:bin".into(),
        value: "1001".into(),
        message_data: vec![0xfc, 0x30],
    };
    event.encode(&mut out).unwrap();
    out.into()
}

#[test]
fn events_stand_between_prft_and_moof_as_given() {
    let (rendition, samples) = (video(), pictures(NOON * 90_000, 2, true));
    let events = [emsg(), emsg()];
    let made = joined(&chunk(&ChunkSpec { events: &events, ..spec(&rendition, 0, &samples) }));
    let read = &read::chunks(&made).unwrap()[0];
    assert_eq!(read.boxes, [*b"styp", *b"prft", *b"emsg", *b"emsg", *b"moof", *b"mdat"]);
    assert_eq!(rules::segment(K, true, std::slice::from_ref(read)), []);
    let mut rest = &made[64..];
    assert_eq!(Emsg::decode(&mut rest).unwrap().id, 7);
}

#[test]
fn an_init_segment_reads_back_with_an_independent_reader() {
    for rendition in [video(), hevc(), audio(), avc(fixtures::AVC_576P25_WIDE)] {
        let init = init(&rendition);
        let mut rest = &init[..];
        let ftyp = Ftyp::decode(&mut rest).unwrap();
        assert_eq!(ftyp.major_brand, b"cmf2".into());
        let moov = Moov::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        let trak = &moov.trak[0];
        assert_eq!(trak.mdia.mdhd.timescale, rendition.track.timescale.get());
        assert_eq!(trak.udta.as_ref().unwrap().kind[0].value, "main");
        let codec = &trak.mdia.minf.stbl.stsd.codecs[0];
        match (codec, rendition.video()) {
            (mp4_atom::Codec::Avc1(avc1), Some(video)) => {
                assert_eq!((avc1.visual.width, avc1.visual.height), (video.width, video.height));
                assert_eq!(avc1.avcc.avc_level_indication, video.record[3]);
            }
            (mp4_atom::Codec::Hvc1(hvc1), Some(_)) => assert_eq!(hvc1.hvcc.arrays.len(), 3),
            (mp4_atom::Codec::Mp4a(mp4a), None) => {
                let specific = mp4a.esds.es_desc.dec_config.dec_specific.as_ref().unwrap();
                assert_eq!(specific.raw, bytes(fixtures::AAC_48000_STEREO));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn colour_and_shape_are_written_where_the_bitstream_tells() {
    let visual = |hex| {
        let init = init(&avc(hex));
        let mut rest = &init[..];
        Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        let width = moov.trak[0].tkhd.width.integer();
        match moov.trak[0].mdia.minf.stbl.stsd.codecs[0].clone() {
            mp4_atom::Codec::Avc1(avc1) => (avc1.colr, avc1.pasp, width),
            other => panic!("{other:?}"),
        }
    };
    let (colr, pasp, width) = visual(fixtures::AVC_576P25_WIDE);
    let bt470bg = mp4_atom::Colr::Nclx {
        colour_primaries: 5,
        transfer_characteristics: 5,
        matrix_coefficients: 5,
        full_range_flag: false,
    };
    assert_eq!(colr, Some(bt470bg));
    assert_eq!(pasp, Some(mp4_atom::Pasp { h_spacing: 64, v_spacing: 45 }));
    assert_eq!(width, 1024);
    let (colr, _, width) = visual(fixtures::AVC_720P30);
    assert_eq!((colr, width), (None, 1280));
}

#[test]
fn media_profiles_are_those_whose_bounds_the_track_keeps() {
    let brands = |rendition: &Rendition| {
        let brands = read::init(&init(rendition)).unwrap().brands;
        assert_eq!(brands[..4], [*b"cmf2", *b"iso6", *b"cmfc", *b"cmf2"]);
        brands[4..].to_vec()
    };
    assert_eq!(brands(&avc(fixtures::AVC_576P25_WIDE)), [*b"cfsd", *b"cfhd", *b"chdf"]);
    assert_eq!(brands(&video()), [*b"cfhd", *b"chdf"]);
    assert_eq!(brands(&avc(fixtures::AVC_HIGH_422_10)), [] as [read::FourCc; 0]);
    assert_eq!(brands(&hevc()), [*b"chh1", *b"cud1"]);
    assert_eq!(brands(&audio()), [*b"caac"]);
    let mut surround = audio();
    let asc = bytes(fixtures::AAC_32000_5_1);
    surround.track.config = Config::Audio(aac::config(asc).unwrap());
    assert_eq!(brands(&surround), [*b"camc"]);
}

#[test]
fn times_before_the_epoch_and_offsets_beyond_32_bits_do_not_wrap() {
    let mut samples = pictures(-10, 1, true);
    samples[0].pts = i64::MAX;
    let made = joined(&chunk(&spec(&video(), 0, &samples)));
    let read = &read::chunks(&made).unwrap()[0];
    assert_eq!(read.base_decode_time, 0);
    assert_eq!(read.samples[0].composition_offset, i64::from(i32::MAX));
}

#[test]
fn audio_chunks_carry_no_composition_offsets() {
    let made = chunk(&spec(&audio(), 1, &frames(NOON * 48_000, 15)));
    // moof, mfhd, traf, tfhd, tfdt, trun and twelve bytes a sample; then the header of mdat.
    assert_eq!(made.head.len(), 8 + 16 + 8 + 16 + 20 + 20 + 15 * 12 + 8);
    let read = &read::chunks(&joined(&made)).unwrap()[0];
    assert_eq!(read.duration(), 15 * 1024);
    assert!(read.samples.iter().all(read::Sample::is_sync));
}

#[test]
fn a_key_frame_alone_is_the_first_picture_by_reference_and_lasts_as_long_as_its_segment() {
    let video = video();
    let samples = pictures(NOON * 90_000, 8, true);
    let spec = ChunkSpec { rendition: &video, k: K, part: 0, samples: &samples, events: &[] };
    let part = chunk(&spec);
    let part: Bytes = [&[part.head][..], &part.samples].concat().concat().into();
    let made = key_frame(&video, K, &part, 144_000).unwrap().unwrap();
    assert_eq!(made.samples.len(), 1);
    assert!(part.as_ptr_range().contains(&made.samples[0].as_ptr()), "not copied");
    let bytes = [&[made.head][..], &made.samples].concat().concat();
    let [read] = &read::chunks(&bytes).unwrap()[..] else { panic!("one chunk") };
    assert_eq!((read.base_decode_time, read.duration()), ((NOON * 90_000).unsigned_abs(), 144_000));
    assert_eq!(read.sequence, sequence(K, 0));
    let [sample] = &read.samples[..] else { panic!("one sample") };
    assert!(sample.is_sync() && sample.is_independent());
    assert_eq!(bytes[read.bytes_of(sample).unwrap()], samples[0].data);
    // A part that does not begin with a key frame, and no part at all.
    let later = pictures(NOON * 90_000, 3, false);
    let later = chunk(&ChunkSpec { part: 1, samples: &later, ..spec });
    let later: Bytes = [&[later.head][..], &later.samples].concat().concat().into();
    assert_eq!(key_frame(&video, K, &later, 144_000), Ok(None));
    assert_eq!(key_frame(&video, K, &Bytes::new(), 144_000), Ok(None));
    for cut in 1..part.len() {
        let _ = key_frame(&video, K, &part.slice(..cut), 144_000);
    }
}
