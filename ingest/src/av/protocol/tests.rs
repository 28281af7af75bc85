use packager::grid::splices::Splices;
use packager::media::{AudioConfig, Config, Name, Track, VideoCodec, VideoConfig};
use packager::time::{Span, Timescale};
use proptest::prelude::*;

use super::*;

fn round_to(message: &ToWorker) -> ToWorker {
    let (kind, body) = unwire(&message.to_wire());
    ToWorker::from_body(kind, body).expect("reads back")
}

fn round_from(message: &FromWorker) -> FromWorker {
    let (kind, body) = unwire(&message.to_wire());
    FromWorker::from_body(kind, body).expect("reads back")
}

fn unwire(wire: &Wire) -> (u8, Bytes) {
    let bytes = [&wire.head[..], &wire.payload[..]].concat();
    let head: [u8; HEAD] = bytes[..HEAD].try_into().expect("a head");
    let (length, kind) = read_head(head).expect("a good head");
    assert_eq!(length, bytes.len() - HEAD);
    (kind, Bytes::from(bytes).slice(HEAD..))
}

fn grid() -> Grid {
    Grid::choose(FrameRate::new(30, 1), 48_000, Span::millis(2_000), Span::millis(300))
}

#[test]
fn every_message_reads_back_as_it_was() {
    let rung = crate::av::ladder::plan(
        (640, 360),
        &["360p".parse().expect("a wish")],
        FrameRate::new(30, 1),
    )
    .rungs;
    let role = Role::Ladder {
        name: "news".into(),
        rungs: rung,
        grid: grid(),
        first_k_min: 1_121_875_000,
        resume: true,
        slate_after_ms: 5_000,
    };
    let clock = ClockBase { utc_minus_monotonic_nanos: -3 };
    let start = Start { version: VERSION, clock, role };
    for message in [
        ToWorker::Start(start),
        ToWorker::VideoConfig {
            codec: PictureCodec::Packaged(VideoCodec::H265),
            record: Bytes::from_static(b"hvcC"),
        },
        ToWorker::VideoConfig { codec: PictureCodec::Vp8, record: Bytes::new() },
        ToWorker::AudioConfig { codec: AudioCodec::Aac, record: Bytes::from_static(&[0x11, 0x90]) },
        ToWorker::AudioConfig { codec: AudioCodec::Eac3, record: Bytes::new() },
        ToWorker::SourceLost,
        ToWorker::Slate { image: Bytes::from_static(b"PNG") },
        ToWorker::Rungs { on: 0b101 },
        ToWorker::KeyFrames { rungs: 0b10, at: -7 },
        ToWorker::Splices(Splices::restore([-3_000, 161_606_988_144_000])),
        ToWorker::Locate { id: 9, at: i64::MIN },
        ToWorker::Opus { on: true },
        ToWorker::Film(FilmWork::AsItIs { rate: FrameRate::new(25, 1) }),
        ToWorker::Stop,
    ] {
        assert_eq!(round_to(&message), message);
    }
    let video = Rendition {
        name: Name::parse("360p").expect("a name"),
        track: Track {
            timescale: Timescale::MPEG,
            config: Config::Video(VideoConfig {
                codec: VideoCodec::H264,
                record: Bytes::from_static(&[1, 100, 0, 30]),
                codec_string: "avc1.64001e".into(),
                width: 640,
                height: 360,
                rate: Some(FrameRate::new(30, 1)),
            }),
        },
        rate: Some(FrameRate::new(30, 1)),
        average_bitrate: 700_000,
        peak_bitrate: 875_000,
    };
    let audio = Rendition {
        name: Name::parse("audio").expect("a name"),
        track: Track {
            timescale: Timescale::new(48_000).expect("not zero"),
            config: Config::Audio(AudioConfig {
                record: Bytes::from_static(&[0x11, 0x90]),
                codec_string: "mp4a.40.2".into(),
                sample_rate: 48_000,
                channels: 2,
                frame_samples: 1024,
            }),
        },
        rate: None,
        average_bitrate: 128_000,
        peak_bitrate: 140_000,
    };
    for message in [
        FromWorker::Started { renditions: vec![video, audio], first_k: 7, start: 90_000 },
        FromWorker::Rung { rendition: 1, on: true, at: -9 },
        FromWorker::Located { id: 9, at: Some(-3_000) },
        FromWorker::Located { id: u64::MAX, at: None },
        FromWorker::Opus { at: -20_000_000, data: Bytes::from_static(b"opus") },
        FromWorker::Stats(Stats { lag_ms: 3, jumps: 1, ..Stats::default() }),
        FromWorker::Log { warning: true, text: "ä".into() },
        FromWorker::Failed { reason: "no decoder".into() },
    ] {
        assert_eq!(round_from(&message), message);
    }
}

#[test]
fn a_worker_of_another_version_is_refused() {
    let start = Start {
        version: VERSION + 1,
        clock: ClockBase { utc_minus_monotonic_nanos: 0 },
        role: Role::Ladder {
            name: String::new(),
            rungs: vec![],
            grid: grid(),
            first_k_min: 0,
            resume: false,
            slate_after_ms: 5_000,
        },
    };
    let wire = ToWorker::Start(start).to_wire();
    let (kind, body) = unwire(&wire);
    assert!(matches!(ToWorker::from_body(kind, body), Err(Error::Value { .. })));
}

#[test]
fn a_message_longer_than_any_is_refused_before_it_is_read() {
    let [a, b, c, d] = (MAX_BODY as u32 + 1).to_be_bytes();
    assert_eq!(read_head([a, b, c, d, 4]), Err(Error::TooLong { length: MAX_BODY + 1 }));
}

proptest! {
    #[test]
    fn samples_read_back_and_keep_their_bytes(
        dts in any::<i64>(), pts in any::<i64>(), received in any::<i64>(), sync in any::<bool>(),
        duration in any::<u32>(), data in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let data = Bytes::from(data);
        let sample = CodedSample { dts, pts, sync, received, data: data.clone() };
        for message in [ToWorker::Video(sample.clone()), ToWorker::Audio(sample)] {
            prop_assert_eq!(round_to(&message), message);
        }
        let sample = packager::media::Sample { dts, pts, duration, sync, data };
        let message = FromWorker::Sample { rendition: 3, sample, captured: dts, encoded: pts };
        prop_assert_eq!(round_from(&message), message);
    }

    #[test]
    fn any_body_is_read_or_refused_without_a_panic(
        kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let body = Bytes::from(body);
        let _ = ToWorker::from_body(kind, body.clone());
        let _ = FromWorker::from_body(kind, body);
    }
}
