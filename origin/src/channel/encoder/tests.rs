//! The watch over a worker, with a process that does nothing and outputs a test makes.

use bytes::Bytes;
use ingest::av::ladder;
use ingest::av::protocol::ClockBase;
use ingest::source::SourceSample;
use packager::grid::Grid;
use packager::media::Sample;
use packager::time::{FrameRate, Span, Timestamp};

use super::*;

/// A segment is 1.6 s long.
fn encoder() -> (Encoder, mpsc::Sender<Output>) {
    let rate = FrameRate::new(30, 1);
    let config = LadderConfig {
        // Ends at once, as it is told nothing it knows.
        program: "/bin/true".into(),
        channel: "a".to_owned(),
        rungs: ladder::plan((16, 16), &[], rate).rungs,
        grid: Grid::choose(rate, 48_000, Span::millis(2_000), Span::millis(300)),
        slate: None,
        slate_after: Duration::from_secs(5),
        first_k_min: 1,
        resume: false,
        clock: ClockBase { utc_minus_monotonic_nanos: 0 },
    };
    let (says, outputs) = mpsc::channel(8);
    (Encoder { outputs, ..Encoder::start(config).unwrap() }, says)
}

fn made() -> Output {
    let data = Bytes::new();
    let sample = Sample { dts: 0, pts: 0, duration: 1, sync: true, data };
    Output::Sample {
        rendition: 0,
        sample,
        captured: 0,
        encoded: 0,
        received: std::time::Instant::now(),
    }
}

fn picture(sync: bool) -> Unit {
    let at = Timestamp::new(0, Timescale::MILLIS);
    let received = std::time::Instant::now();
    Unit::Video(SourceSample { dts: at, pts: at, sync, data: Bytes::new(), received })
}

/// How long the encoder lasts until it is lost, and why.
async fn lost(encoder: &mut Encoder) -> (Duration, String) {
    let begin = Instant::now();
    loop {
        if let Event::Lost(reason) = encoder.next().await {
            return (begin.elapsed(), reason);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_makes_nothing_any_more_is_lost_after_a_while() {
    let (mut encoder, says) = encoder();
    encoder.begin(Duration::ZERO);
    says.send(made()).await.unwrap();
    let (after, reason) = lost(&mut encoder).await;
    assert_eq!(after.as_secs(), MIN_SILENCE.as_secs());
    assert!(reason.contains("made nothing"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn one_that_talks_and_makes_nothing_is_lost_too() {
    let (mut encoder, says) = encoder();
    encoder.begin(Duration::ZERO);
    let talk = tokio::spawn(async move {
        while says.send(Output::Stats(Stats::default())).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (after, _) = lost(&mut encoder).await;
    assert_eq!(after.as_secs(), MIN_SILENCE.as_secs());
    talk.abort();
}

#[tokio::test(start_paused = true)]
async fn one_whose_run_lies_ahead_is_waited_for() {
    let (mut encoder, _says) = encoder();
    encoder.begin(Duration::from_secs(3));
    assert_eq!(lost(&mut encoder).await.0.as_secs(), 3 + MIN_SILENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn one_has_to_begin_within_a_time_from_its_first_key_frame() {
    let (mut encoder, _says) = encoder();
    encoder.feed(&picture(false));
    let waited = tokio::time::timeout(BEGIN_WITHIN * 9, lost(&mut encoder)).await;
    assert!(waited.is_err(), "nothing can be decoded yet");
    encoder.feed(&picture(true));
    tokio::time::advance(Duration::from_secs(1)).await;
    encoder.feed(&picture(true));
    let (after, reason) = lost(&mut encoder).await;
    assert_eq!(after, BEGIN_WITHIN - Duration::from_secs(1));
    assert!(reason.contains("did not begin"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_taken_proves_that_it_lives() {
    let (mut encoder, says) = encoder();
    encoder.begin(Duration::ZERO);
    says.send(made()).await.unwrap();
    // The channel itself was busy for longer.
    tokio::time::advance(MIN_SILENCE * 3).await;
    assert!(matches!(encoder.next().await, Event::Output(Output::Sample { .. })));
}
