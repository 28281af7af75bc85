//! The ladder with a real worker process: real coded sources in, its output decoded and looked at.
#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

#[path = "ladder/again.rs"]
mod again;
#[path = "ladder/faults.rs"]
mod faults;
#[path = "ladder/fixture.rs"]
mod fixture;
#[path = "ladder/slate.rs"]
mod slate;
#[path = "ladder/sources.rs"]
mod sources;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use fixture::{Recipe, Timed};
use ingest::av::ladder::plan;
use ingest::av::mark;
use ingest::av::protocol::{ClockBase, Scene, Stats, monotonic_nanos};
use ingest::av::supervisor::{BroadcastConfig, Input, LadderConfig, Output, broadcast, spawn};
use ingest::source::{PictureConfig, SoundConfig, Unit};
use packager::grid::Grid;
use packager::media::{Rendition, Sample};
use packager::time::{FrameRate, Span, Timestamp};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
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
    noise: false,
    video: &["-tune", "zerolatency"],
    sound: Some((48_000, 2)),
};

/// How long the last picture stands.
const SLATE_AFTER: Duration = Duration::from_secs(5);

/// What a worker made, by rendition.
struct Made {
    first_k: u64,
    /// Video ticks of the first frame.
    start: i64,
    grid: Grid,
    renditions: Vec<Rendition>,
    samples: Vec<Vec<Sample>>,
    /// When the first sample of each left its encoder, `CLOCK_MONOTONIC` nanoseconds.
    begun: Vec<i64>,
    /// Which rung was switched on or off, and from which video ticks on.
    switched: Vec<(usize, bool, i64)>,
    /// Times of packets of Opus, in nanoseconds.
    opus: Vec<i64>,
    stats: Stats,
}

struct Ladder {
    input: Input,
    outputs: Receiver<Output>,
    grid: Grid,
    clock: ClockBase,
}

#[allow(clippy::disallowed_methods)] // A test has no other clock to begin with.
fn clock() -> ClockBase {
    let utc = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ClockBase { utc_minus_monotonic_nanos: utc.as_nanos() as i64 - monotonic_nanos() }
}

fn start(wishes: &[&str], source: (u16, u16), rate: FrameRate) -> Ladder {
    start_program(fixture::worker(), wishes, source, rate)
}

fn start_program(program: PathBuf, wishes: &[&str], source: (u16, u16), rate: FrameRate) -> Ladder {
    start_with(program, wishes, source, rate, (false, None, SLATE_AFTER))
}

/// A worker that goes on in a run which another one has begun.
fn start_again(wishes: &[&str], source: (u16, u16), rate: FrameRate) -> Ladder {
    start_with(fixture::worker(), wishes, source, rate, (true, None, SLATE_AFTER))
}

fn start_with(
    program: PathBuf,
    wishes: &[&str],
    source: (u16, u16),
    rate: FrameRate,
    (resume, slate, slate_after): (bool, Option<bytes::Bytes>, Duration),
) -> Ladder {
    let clock = clock();
    let wishes: Vec<_> = wishes.iter().map(|wish| wish.parse().unwrap()).collect();
    // Long parts: what is late for a part is left out, and these tests share their machine.
    let grid = Grid::choose(rate, 48_000, Span::millis(1_600), Span::millis(800));
    let config = LadderConfig {
        channel: program.display().to_string(),
        program,
        slate,
        slate_after,
        rungs: plan(source, &wishes, rate).rungs,
        grid,
        first_k_min: 0,
        resume,
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

/// What a worker makes, while it does.
struct Gathering {
    made: tokio::task::JoinHandle<Made>,
    /// Pictures of the first rung, and the newest statistics.
    so_far: watch::Receiver<(usize, Stats)>,
}

impl Gathering {
    /// Waits until what is there is as wished.
    async fn until(&mut self, wished: impl FnMut(&(usize, Stats)) -> bool) {
        let waited = timeout(SILENCE, self.so_far.wait_for(wished)).await;
        waited.expect("in time").expect("the worker is there");
    }

    /// Waits for so many more pictures of the first rung.
    async fn more(&mut self, pictures: usize) {
        let before = self.so_far.borrow().0;
        self.until(|(there, _)| *there >= before + pictures).await;
    }
}

/// Lets the worker end and gathers what it made.
async fn finish(input: Input, gathering: Gathering) -> Made {
    drop(input);
    gathering.made.await.unwrap()
}

/// Reads outputs until the worker is gone.
fn gather(mut outputs: Receiver<Output>, grid: Grid) -> Gathering {
    let (told, so_far) = watch::channel((0, Stats::default()));
    let made = tokio::spawn(async move {
        let mut made = Made {
            first_k: 0,
            start: 0,
            grid,
            renditions: Vec::new(),
            samples: Vec::new(),
            begun: Vec::new(),
            switched: Vec::new(),
            opus: Vec::new(),
            stats: Stats::default(),
        };
        loop {
            match timeout(SILENCE, outputs.recv()).await.expect("the worker goes on") {
                Some(Output::Started { renditions, first_k, start }) => {
                    assert!(made.renditions.is_empty(), "started once");
                    made.samples = vec![Vec::new(); renditions.len()];
                    made.begun = vec![0; renditions.len()];
                    (made.renditions, made.first_k, made.start) = (renditions, first_k, start);
                }
                Some(Output::Rung { rendition, on, at }) => made.switched.push((rendition, on, at)),
                Some(Output::Sample { rendition, sample, captured, encoded, .. }) => {
                    assert!(captured <= encoded);
                    if made.samples[rendition].is_empty() {
                        made.begun[rendition] = encoded;
                    }
                    made.samples[rendition].push(sample);
                    told.send_modify(|(pictures, _)| *pictures = made.samples[0].len());
                }
                Some(Output::Stats(stats)) => {
                    made.stats = stats;
                    told.send_modify(|(_, newest)| newest.clone_from(&made.stats));
                }
                Some(Output::Opus { at, data }) => {
                    assert!(!data.is_empty());
                    made.opus.push(at);
                }
                Some(Output::Located { .. } | Output::Film(_)) => {}
                Some(Output::Exited { reason }) => {
                    assert!(reason.contains("exit status: 0"), "{reason}");
                    return made;
                }
                None => panic!("the end was not told"),
            }
        }
    });
    Gathering { made, so_far }
}

/// Constant rate on the grid, IDRs at the start and the boundaries and nowhere else, no hole in any
/// track.
fn assert_on_the_grid(made: &Made) {
    let frame = i64::from(made.grid.rate.frame_ticks());
    assert_eq!(made.first_k, made.grid.number_at(made.start));
    for (rendition, samples) in made.renditions.iter().zip(&made.samples) {
        let (first, step) = match rendition.video() {
            Some(_) => (made.start, frame),
            None => (made.grid.audio_frame_at_or_after(made.start), 1024),
        };
        assert!(samples.len() > 30, "{} has {}", rendition.name, samples.len());
        for (n, sample) in (0i64..).zip(samples) {
            assert_eq!((sample.dts, sample.pts), (first + n * step, first + n * step));
            assert_eq!(i64::from(sample.duration), step);
            let boundary = sample.dts % made.grid.segment_ticks as i64 == 0;
            let sync = rendition.video().is_none() || boundary || n == 0;
            assert_eq!(sample.sync, sync, "frame {n}");
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
    input.set_opus(true);
    // Three segments of lead-in, so that players start at once.
    let before = grid.number_at(clock.utc_nanos() / 1_000 * 9 / 100) - 3;
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

    // Opus begins with what is heard now, and then there is some for all that there is of the rendition.
    let last = made.samples[2].last().expect("sound").pts;
    let behind = made.opus.last().expect("Opus") - last / 48 * 1_000_000;
    assert!((-50_000_000..200_000_000).contains(&behind), "{behind}");
    assert!(made.opus.len() > 200, "{} packets in four seconds", made.opus.len());
    assert!(made.opus.windows(2).all(|pair| (pair[1] - pair[0] - 10_000_000).abs() <= 1));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reordered_pictures_and_mono_sound_at_44100_come_out_in_order_and_in_step() {
    let source = fixture::source(Recipe {
        rate: (25, 1),
        video: &["-preset", "veryfast", "-bf", "2", "-x264-params", "b-adapt=0"],
        sound: Some((44_100, 1)),
        ..SMALL
    });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(25, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    let marks = marks(&made, 0);
    let shown: Vec<_> = marks.iter().copied().flatten().collect();
    assert!(shown.is_sorted(), "{shown:?}");
    // The wait for late pictures may have to grow at first; from then on nothing is lost.
    let start = marks.iter().position(|mark| *mark == Some(1_000)).expect("the second second");
    let expected: Vec<_> = (25..85).map(|n| Some(n * 40)).collect();
    assert_eq!(marks[start..start + 60], expected[..]);
    assert_ticks_match(&made, &marks, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_another_size_and_another_publisher_leave_the_output_whole() {
    let first = fixture::source(Recipe { seconds: 3, ..SMALL });
    let second = fixture::source(Recipe {
        seconds: 3,
        width: 256,
        height: 144,
        zero: ZERO + 100_000,
        ..SMALL
    });
    let third = fixture::source(Recipe {
        seconds: 3,
        width: 480,
        height: 270,
        rate: (25, 1),
        zero: ZERO + 200_000,
        sound: None,
        ..SMALL
    });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let mut gathering = gather(outputs, grid);
    play(&mut input, &first, 7_200_000).await;
    // The same publisher restarts its encoder: its clock begins again, its picture is smaller.
    play(&mut input, &second, 0).await;
    input.source_lost();
    // What was on its way is shown.
    gathering.more(21).await;
    // Another publisher: another rate and size, no sound.
    play(&mut input, &third, 55_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert_eq!(made.stats.jumps, 1, "{:?}", made.stats);
    let rungs = [marks(&made, 0), marks(&made, 1)];
    let both = rungs[0].len().min(rungs[1].len());
    assert_eq!(rungs[0][..both], rungs[1][..both], "all rungs show the same clock");
    assert!(rungs[0].iter().all(Option::is_some), "every picture is a whole one of the source");
    let mut seen: Vec<i64> = rungs[0].iter().copied().flatten().collect();
    assert!(seen.is_sorted());
    seen.dedup();
    for (begin, pictures) in [(0, 90), (100_000, 90), (200_000, 75)] {
        let count = seen.iter().filter(|ms| (begin..begin + 50_000).contains(*ms)).count();
        // What was on its way when the worker was told to end is not shown.
        assert!(count * 10 >= pictures * 9, "{count} of {pictures} from {begin}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_alone_starts_nothing_and_a_source_without_sound_is_silent() {
    let source = fixture::source(Recipe { seconds: 2, ..SMALL });
    let (sound, picture): (Vec<_>, Vec<_>) = source
        .into_iter()
        .partition(|timed| matches!(timed.unit, Unit::Audio(_) | Unit::AudioConfig(_)));
    let Ladder { mut input, mut outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    play(&mut input, &sound, 0).await;
    assert!(outputs.try_recv().is_err(), "nothing comes of sound alone");
    let gathering = gather(outputs, grid);
    play(&mut input, &picture, 2_000).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert!(fixture::sound(&made.samples[1]).iter().all(|sample| sample.abs() < 0.001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_samples_are_counted_and_the_last_good_picture_stands() {
    let mut source = fixture::source(Recipe { seconds: 3, ..SMALL });
    let mut pictures = 0;
    for timed in &mut source {
        if let Unit::Video(sample) = &mut timed.unit {
            pictures += 1;
            if (40..50).contains(&pictures) {
                let noise = (0..sample.data.len()).map(|n| (n * 37 % 251) as u8);
                sample.data = noise.collect::<Vec<_>>().into();
            }
        }
    }
    let Ladder { mut input, outputs, grid, .. } =
        start(&["96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play(&mut input, &source, 0).await;
    let made = finish(input, gathering).await;

    assert_on_the_grid(&made);
    assert!(made.stats.damaged >= 10, "{:?}", made.stats);
    let marks = marks(&made, 0);
    assert!(marks.contains(&Some(2_500)), "the picture is back after the next IDR");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_no_longer_fed_ends_in_order() {
    let Ladder { input, mut outputs, .. } = start(&["96p"], (320, 180), FrameRate::new(30, 1));
    drop(input);
    let Some(Output::Exited { reason }) = timeout(SILENCE, outputs.recv()).await.unwrap() else {
        panic!("no end");
    };
    assert!(reason.contains("exit status: 0"), "{reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broadcaster_shows_and_sounds_the_present_moment() {
    let scene = Scene {
        title: "demo".into(),
        width: 320,
        height: 180,
        rate: FrameRate::new(30, 1),
        bitrate: 500_000,
    };
    let clock = clock();
    let config = BroadcastConfig { program: fixture::worker(), clock, scene };
    let mut units = broadcast(config).expect("the worker starts");
    let (mut video, mut audio) = (None, None);
    let (mut pictures, mut sounds, mut ages) = (Vec::new(), Vec::new(), Vec::new());
    while pictures.len() < 100 {
        let unit = timeout(SILENCE, units.recv()).await.unwrap().expect("it goes on");
        let as_sample = |sample: &ingest::source::SourceSample| Sample {
            dts: sample.dts.ticks,
            pts: sample.pts.ticks,
            duration: 0,
            sync: sample.sync,
            data: sample.data.clone(),
        };
        match unit {
            Unit::VideoConfig(PictureConfig::Packaged(config)) => video = Some(config),
            Unit::VideoConfig(foreign) => panic!("{foreign:?}"),
            Unit::AudioConfig(SoundConfig::Aac(config)) => audio = Some(config),
            Unit::AudioConfig(foreign) => panic!("{foreign:?}"),
            Unit::Video(sample) => {
                ages.push(clock.utc_nanos() / 1_000_000);
                pictures.push(as_sample(&sample));
            }
            Unit::Audio(sample) => sounds.push(as_sample(&sample)),
            Unit::Data(_) | Unit::Section(_) | Unit::Notice(_) => {}
        }
    }
    drop(units);
    let video = video.expect("a video configuration");
    assert_eq!(audio.expect("an audio configuration").sample_rate, 48_000);
    let marks = fixture::marks_of(&video, &pictures);
    // Marks are cut to 40 bits, which wrap every 34 years.
    let era = ages[0] >> 40 << 40;
    let zero = era + marks[0].expect("a mark") as i64 - pictures[0].pts;
    for ((mark, picture), age) in marks.iter().zip(&pictures).zip(&ages) {
        let mark = era + mark.expect("a mark in every picture") as i64;
        assert!((mark - zero - picture.pts).abs() <= 1, "times and marks run alike");
        assert!(age - mark >= 0, "nothing is drawn before its time");
    }
    // A busy machine delays some; most are seen at once.
    let mut delays: Vec<_> =
        marks.iter().flatten().zip(&ages).map(|(m, a)| a - era - *m as i64).collect();
    delays.sort_unstable();
    assert!(delays[delays.len() / 2] < 250, "{delays:?}");
    assert!(pictures[0].sync && pictures[60].sync && !pictures[30].sync, "two seconds a GOP");
    let ticks = mark::read_ticks(&fixture::sound(&sounds), 48_000);
    assert!(ticks.len() >= 2, "{ticks:?}");
    for tick in ticks {
        let heard = zero + sounds[0].pts + tick.offset_samples as i64 / 48;
        let second = (heard + 500) / 1_000;
        assert!((heard - second * 1_000).abs() < 40, "{heard}");
    }
}
