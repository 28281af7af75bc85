//! The ladder with a real worker process: real coded sources in, its output decoded and looked at.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

#[path = "ladder/fixture.rs"]
mod fixture;

use std::time::{Duration, SystemTime};

use fixture::{Recipe, Timed};
use ingest::av::ladder::plan;
use ingest::av::mark;
use ingest::av::protocol::{ClockBase, Stats, monotonic_nanos};
use ingest::av::supervisor::{Input, LadderConfig, Output, spawn};
use packager::grid::Grid;
use packager::media::{Rendition, Sample};
use packager::time::{FrameRate, Span};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep_until, timeout};

/// 2026-01-01T00:00:00Z, where the marks of the fixtures begin.
const ZERO: u64 = 1_767_225_600_000;
/// A worker that says nothing for so long is hung.
const SILENCE: Duration = Duration::from_secs(15);

const SMALL: Recipe = Recipe {
    width: 320,
    height: 180,
    rate: (30, 1),
    seconds: 4,
    zero: ZERO,
    video: &["-tune", "zerolatency"],
    sound: Some((48_000, 2)),
};

/// What a worker made, by rendition.
struct Made {
    first_k: u64,
    grid: Grid,
    renditions: Vec<Rendition>,
    samples: Vec<Vec<Sample>>,
    stats: Stats,
}

struct Ladder {
    input: Input,
    outputs: Receiver<Output>,
    grid: Grid,
    clock: ClockBase,
}

#[allow(clippy::disallowed_methods)] // A test has no other clock to begin with.
fn start(wishes: &[&str], source: (u16, u16), rate: FrameRate) -> Ladder {
    let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let clock = ClockBase { utc_minus_monotonic_nanos: utc.as_nanos() as i64 - monotonic_nanos() };
    let wishes: Vec<_> = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
    let grid = Grid::choose(rate, 48_000, Span::millis(1_600), Span::millis(300));
    let config = LadderConfig {
        program: fixture::worker(),
        rungs: plan(source, &wishes, rate).rungs,
        grid,
        first_k_min: 0,
        clock,
    };
    let (input, outputs) = spawn(config).expect("the worker starts");
    Ladder { input, outputs, grid, clock }
}

/// Sends a source in real time, its times moved by `shift` ms.
async fn play(input: &mut Input, source: &[Timed], shift: i64) {
    let begin = Instant::now();
    for timed in source {
        sleep_until(begin + timed.at).await;
        input.send(&fixture::moved(&timed.unit, shift));
    }
}

/// Lets the worker end and gathers what it made.
async fn finish(input: Input, gathering: tokio::task::JoinHandle<Made>) -> Made {
    drop(input);
    gathering.await.unwrap()
}

/// Reads outputs until the worker is gone.
fn gather(mut outputs: Receiver<Output>, grid: Grid) -> tokio::task::JoinHandle<Made> {
    tokio::spawn(async move {
        let mut made = Made {
            first_k: 0,
            grid,
            renditions: Vec::new(),
            samples: Vec::new(),
            stats: Stats::default(),
        };
        loop {
            match timeout(SILENCE, outputs.recv()).await.expect("the worker goes on") {
                Some(Output::Started { renditions, first_k }) => {
                    assert!(made.renditions.is_empty(), "started once");
                    made.samples = vec![Vec::new(); renditions.len()];
                    (made.renditions, made.first_k) = (renditions, first_k);
                }
                Some(Output::Sample { rendition, sample, captured, encoded }) => {
                    assert!(captured <= encoded);
                    made.samples[rendition].push(sample);
                }
                Some(Output::Stats(stats)) => made.stats = stats,
                Some(Output::Exited { reason }) => {
                    assert!(reason.contains("exit status: 0"), "{reason}");
                    return made;
                }
                None => panic!("the end was not told"),
            }
        }
    })
}

/// Constant rate on the grid, IDRs at the boundaries and nowhere else, no hole in any track.
fn assert_on_the_grid(made: &Made) {
    let frame = i64::from(made.grid.rate.frame_ticks());
    for (rendition, samples) in made.renditions.iter().zip(&made.samples) {
        let (first, step) = match rendition.video() {
            Some(_) => (made.grid.boundary(made.first_k), frame),
            None => (made.grid.audio_boundary(made.first_k), 1024),
        };
        assert!(samples.len() > 30, "{} has {}", rendition.name, samples.len());
        for (n, sample) in (0i64..).zip(samples) {
            assert_eq!((sample.dts, sample.pts), (first + n * step, first + n * step));
            assert_eq!(i64::from(sample.duration), step);
            let boundary = sample.dts % made.grid.segment_ticks as i64 == 0;
            assert_eq!(sample.sync, rendition.video().is_none() || boundary, "frame {n}");
        }
    }
}

/// Marks of a rung, in ms since the fixtures' zero.
fn marks(made: &Made, index: usize) -> Vec<Option<i64>> {
    fixture::marks(&made.renditions[index], &made.samples[index])
        .into_iter()
        .map(|mark| mark.map(|millis| millis as i64 - (ZERO % (1 << 40)) as i64))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_of_the_outputs_rate_is_shown_picture_by_picture_with_its_sound() {
    let source = fixture::source(SMALL);
    let Ladder { mut input, outputs, grid, clock } =
        start(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    let before = grid.number_at(clock.utc_nanos() / 1_000 * 9 / 100);
    play(&mut input, &source, 5_000_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert!((before..=before + 1).contains(&made.first_k));
    let rungs = [marks(&made, 0), marks(&made, 1)];
    let shown = rungs[0].len().min(rungs[1].len());
    assert_eq!(rungs[0][..shown], rungs[1][..shown], "all rungs show the same clock");
    // Backfill repeats the first picture; from there on every picture follows the one before.
    let start = rungs[0].iter().rposition(|mark| *mark == Some(0)).expect("the first picture");
    assert!(rungs[0][..start].iter().all(|mark| *mark == Some(0)));
    let expected: Vec<_> = (0..100).map(|n| Some(n * 1000 / 30)).collect();
    assert_eq!(rungs[0][start..start + 100], expected[..]);

    assert_ticks_match(&made, &rungs[0], 3);
}

/// The tick of second S sounds when the picture with the mark of second S is shown, ± 40 ms.
fn assert_ticks_match(made: &Made, marks: &[Option<i64>], at_least: usize) {
    let last = made.samples.len() - 1;
    let ticks = mark::read_ticks(&fixture::sound(&made.samples[last]), 48_000);
    let sound_start = made.samples[last][0].pts as f64 / 48_000.0;
    let mut matched = 0;
    for tick in &ticks {
        let heard = sound_start + tick.offset_samples as f64 / 48_000.0;
        let zero = (ZERO / 1000) as i64;
        let Some((sample, mark)) = made.samples[0].iter().zip(marks).find(|(_, mark)| {
            mark.is_some_and(|ms| {
                ms % 1000 == 0 && (zero + ms / 1000) % 64 == i64::from(tick.second_mod_64) && ms > 0
            })
        }) else {
            continue;
        };
        let seen = sample.pts as f64 / f64::from(made.grid.video_scale().get());
        assert!((heard - seen).abs() < 0.040, "{mark:?}: heard {heard}, seen {seen}");
        matched += 1;
    }
    assert!(matched >= at_least, "{ticks:?}");
}
