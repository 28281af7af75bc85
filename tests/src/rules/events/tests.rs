use bytes::Bytes;
use packager::cmaf::{self, ChunkSpec, EventSpec};
use packager::media::{Config, Name, Rendition, Sample, Track, VideoCodec, VideoConfig};
use packager::time::Timescale;

use super::*;
use crate::rules::proof::{assert_clean, assert_finds, mutated};

const K: u64 = 1_000;
/// 1.6 s.
const SEGMENT: i64 = 144_000;
/// A section: of event 100, a break of 30 s.
const SECTION: &[u8] = &[
    0xfc, 0x30, 0x25, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 0x14, 0x05, 0, 0, 0, 0x64, 0x7f, 0xef, 0xfe,
    0, 0x7b, 0x98, 0xa0, 0xfe, 0, 0x29, 0x32, 0xe0, 0, 1, 0, 0, 0, 0, 0x34, 0x62, 0x82, 0xd1,
];
/// Its splice: a third of a second behind the start of the seventh segment.
const AT: i64 = (K as i64 + 6) * SEGMENT + 30_000;

fn pictures() -> Rendition {
    Rendition {
        name: Name::parse("180p").unwrap(),
        track: Track {
            timescale: Timescale::MPEG,
            config: Config::Video(VideoConfig {
                codec: VideoCodec::H264,
                record: Bytes::from_static(b"avcC"),
                codec_string: "avc1.64001f".into(),
                width: 320,
                height: 180,
                rate: None,
            }),
        },
        rate: None,
        average_bitrate: 1,
        peak_bitrate: 1,
    }
}

fn box_of(at: i64, scale: Timescale, duration: u32, message: &'static [u8]) -> Bytes {
    let message = Bytes::from_static(message);
    cmaf::emsg(&EventSpec { scheme: SCHEME, scale, at, duration, id: 7, message: &message })
}

fn good() -> Bytes {
    box_of(AT, Timescale::MPEG, 2_700_000, SECTION)
}

/// Ten segments of two parts; `events` says what each part of each carries.
fn segments(events: impl Fn(u64, u32) -> Vec<Bytes>) -> BTreeMap<u64, Vec<u8>> {
    let rendition = pictures();
    let segment = |k: u64| {
        let part = |part: u32| {
            let dts = k.cast_signed() * SEGMENT + i64::from(part) * SEGMENT / 2;
            let data = Bytes::from_static(b"picture");
            let sample = Sample { dts, pts: dts, duration: 72_000, sync: part == 0, data };
            let (samples, events) = ([sample], events(k, part));
            let chunk = cmaf::chunk(&ChunkSpec {
                rendition: &rendition,
                k,
                part,
                samples: &samples,
                events: &events,
            });
            let mut bytes = chunk.head.to_vec();
            chunk.samples.iter().for_each(|sample| bytes.extend_from_slice(sample));
            bytes
        };
        [part(0), part(1)].concat()
    };
    (K..K + 10).map(|k| (k, segment(k))).collect()
}

/// As it should be: told from the second segment on, which it came in the first of.
fn carried(k: u64, part: u32) -> Vec<Bytes> {
    if part == 0 && (K + 1..=K + 6).contains(&k) { vec![good()] } else { Vec::new() }
}

fn judge(events: impl Fn(u64, u32) -> Vec<Bytes>) -> Vec<Violation> {
    let segments = segments(events);
    let segments = segments.iter().map(|(k, bytes)| (*k, &bytes[..])).collect();
    let told = BTreeMap::from([(7, K * SEGMENT.unsigned_abs() + 1)]);
    check_carried(&Carried { timescale: 90_000, segments: &segments }, &told)
}

/// `carried` with other boxes in one segment.
fn with(at: u64, other: Vec<Bytes>) -> Vec<Violation> {
    judge(move |k, part| if (k, part) == (at, 0) { other.clone() } else { carried(k, part) })
}

#[test]
fn events_as_they_should_be_break_no_rule() {
    assert_eq!(judge(carried), []);
    let same = segments(carried);
    let same: BTreeMap<_, _> = same.iter().map(|(k, bytes)| (*k, &bytes[..])).collect();
    assert_eq!(check_same(&[&same, &same]), []);
}

#[test]
fn de_05_an_event_is_told_in_the_tracks_time_and_before_it_is() {
    assert_finds("DE-05", &with(K + 3, vec![box_of(AT, Timescale::MILLIS, 1, SECTION)]));
    let behind = |k, part| if (k, part) == (K + 7, 0) { vec![good()] } else { carried(k, part) };
    assert_finds("DE-05", &judge(behind));
    // Version 0: the same box with another number in its head.
    let old = |bytes: Bytes| {
        let mut bytes = bytes.to_vec();
        bytes[8] = 0;
        Bytes::from(bytes)
    };
    assert!(!with(K + 3, vec![old(good())]).is_empty());
    assert_finds("DE-03", &with(K + 3, vec![box_of(AT, Timescale::MPEG, u32::MAX, SECTION)]));
    assert_finds("DE-01", &with(K + 3, vec![box_of(AT, Timescale::MPEG, 1, &SECTION[..30])]));
}

#[test]
fn de_06_events_stand_before_the_first_chunk_alike_in_every_rung() {
    let within = |k, part| if (k, part) == (K + 3, 1) { vec![good()] } else { carried(k, part) };
    assert_finds("DE-06", &judge(within));
    let one = segments(carried);
    let other = segments(|k, part| if k == K + 3 { Vec::new() } else { carried(k, part) });
    let [one, other] = [&one, &other].map(|all| -> BTreeMap<u64, &[u8]> {
        all.iter().map(|(k, bytes)| (*k, &bytes[..])).collect()
    });
    assert_finds("DE-06", &check_same(&[&one, &other]));
}

#[test]
fn de_07_an_event_is_told_in_time_and_in_every_segment_up_to_its_splice() {
    assert_finds("DE-07", &with(K + 3, Vec::new()));
    assert_finds("DE-07", &with(K + 6, Vec::new()));
    let late = |k, part| if k < K + 4 { Vec::new() } else { carried(k, part) };
    assert_finds("DE-07", &judge(late));
}

/// A manifest with two sets that carry the same events.
const MPD: &str = "<MPD><Period>\
    <AdaptationSet><InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\"/>\
    <SegmentTemplate timescale=\"90000\" presentationTimeOffset=\"144000\"/></AdaptationSet>\
    <AdaptationSet><InbandEventStream schemeIdUri=\"urn:scte:scte35:2013:bin\"/>\
    <SegmentTemplate timescale=\"48000\" presentationTimeOffset=\"76800\"/></AdaptationSet>\
    </Period></MPD>";

fn declared(mpd: &str) -> Vec<Violation> {
    check_declared(mpd, &BTreeSet::from([SCHEME]))
}

#[test]
fn de_08_sets_with_the_same_events_count_time_alike() {
    assert_clean("DE-08", &declared(MPD));
    assert_finds("DE-08", &declared(&mutated(MPD, "\"76800\"", "\"76900\"")));
    assert_eq!(declared(MPD), []);
    let silent = MPD.replace("InbandEventStream", "EventStream");
    assert_finds("DE-01", &declared(&silent));
}
