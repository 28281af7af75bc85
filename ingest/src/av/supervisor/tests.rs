use packager::media::{AudioConfig, VideoCodec, VideoConfig};
use packager::time::Timestamp;

use super::*;
use crate::av::protocol::HEAD;
use crate::source::{PictureConfig, SoundConfig};

fn input(messages: usize) -> (Input, mpsc::Receiver<Wire>) {
    let (queue, receiver) = mpsc::channel(messages);
    let bytes = Arc::new(AtomicUsize::new(0));
    (Input { queue, bytes, pending: Pending::default(), broken: false, dropped: 0 }, receiver)
}

fn sample(sync: bool, length: usize) -> SourceSample {
    let at = Timestamp::new(40, Timescale::MILLIS);
    let data = Bytes::from(vec![0; length]);
    SourceSample { dts: at, pts: at, sync, data, received: Instant::now() }
}

fn config(byte: u8) -> Unit {
    Unit::VideoConfig(PictureConfig::Packaged(VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from(vec![byte]),
        codec_string: String::new(),
        width: 2,
        height: 2,
        rate: None,
    }))
}

fn received(receiver: &mut mpsc::Receiver<Wire>) -> ToWorker {
    let wire = receiver.try_recv().expect("a message");
    let bytes = Bytes::from([&wire.head[..], &wire.payload[..]].concat());
    ToWorker::from_body(bytes[4], bytes.slice(HEAD..)).expect("a good one")
}

#[test]
fn a_full_queue_drops_pictures_up_to_the_next_one_where_decoding_can_start() {
    let (mut input, mut receiver) = input(1);
    assert_eq!(input.send(&Unit::Video(sample(true, 1))), Delivery::Queued);
    assert_eq!(input.send(&Unit::Video(sample(false, 2))), Delivery::Dropped);
    received(&mut receiver);
    assert_eq!(
        input.send(&Unit::Video(sample(false, 3))),
        Delivery::Dropped,
        "refers to a lost one"
    );
    assert_eq!(input.send(&Unit::Video(sample(true, 4))), Delivery::Queued);
    assert!(matches!(received(&mut receiver), ToWorker::Video(sample) if sample.data.len() == 4));
    assert_eq!(input.send(&Unit::Video(sample(false, 5))), Delivery::Queued);
    assert_eq!(input.dropped(), 2);
}

#[test]
fn configurations_and_the_loss_of_the_source_survive_a_full_queue_the_newest_of_each() {
    let (mut input, mut receiver) = input(1);
    input.send(&Unit::Video(sample(true, 1)));
    assert_eq!(input.source_lost(), Delivery::Dropped, "still pending");
    input.send(&config(1));
    input.send(&config(2));
    let audio = AudioConfig {
        record: Bytes::from_static(&[3]),
        codec_string: String::new(),
        sample_rate: 48_000,
        channels: 2,
        frame_samples: 1024,
    };
    input.send(&Unit::AudioConfig(SoundConfig::Aac(audio)));
    input.ask_key_frames(0b1, 5);
    input.ask_key_frames(0b11, 9);
    input.set_opus(true);
    input.set_opus(false);
    let mut order = vec![received(&mut receiver)];
    for _ in 0..6 {
        input.send(&Unit::Video(sample(true, 9)));
        order.push(received(&mut receiver));
    }
    assert!(matches!(order[1], ToWorker::SourceLost), "{order:?}");
    assert!(matches!(&order[2], ToWorker::VideoConfig { record, .. } if record[..] == [2]));
    assert!(matches!(order[3], ToWorker::AudioConfig { .. }));
    assert_eq!(order[4], ToWorker::KeyFrames { rungs: 0b11, at: 9 });
    assert_eq!(order[5], ToWorker::Opus { on: false });
    assert!(matches!(order[6], ToWorker::Video(_)));
}

#[test]
fn a_queue_that_holds_too_many_bytes_is_full() {
    let (mut input, _receiver) = input(100);
    for _ in 0..4 {
        assert_eq!(input.send(&Unit::Video(sample(true, QUEUE_BYTES / 4 - 100))), Delivery::Queued);
    }
    assert_eq!(input.send(&Unit::Video(sample(true, 1_000))), Delivery::Dropped);
}

#[test]
fn a_worker_that_is_gone_is_told_apart_from_one_that_lags() {
    let (mut input, receiver) = input(1);
    drop(receiver);
    assert_eq!(input.send(&Unit::Video(sample(true, 1))), Delivery::Gone);
}

#[tokio::test]
async fn a_program_that_is_no_worker_is_reaped_and_told() {
    let clock = ClockBase { utc_minus_monotonic_nanos: 0 };
    let rate = packager::time::FrameRate::new(30, 1);
    let span = packager::time::Span::millis(300);
    let config = LadderConfig {
        program: PathBuf::from("/bin/true"),
        channel: "a".to_owned(),
        slate: None,
        slate_after: Duration::from_secs(5),
        rungs: Vec::new(),
        grid: Grid::choose(rate, 48_000, span, span),
        first_k_min: 0,
        resume: false,
        clock,
    };
    let (_input, mut outputs) = spawn(config).expect("it starts");
    let Some(Output::Exited { reason }) = outputs.recv().await else { panic!("no end") };
    assert!(reason.contains("exit status: 0"), "{reason}");
    assert!(outputs.recv().await.is_none());
}
