use std::io::Read as _;
use std::os::unix::net::UnixStream;

use packager::time::{FrameRate, Span};
use proptest::prelude::*;

use super::super::decode::Sound;
use super::super::link;
use super::*;
use crate::av::protocol::{HEAD, read_head};
use crate::source::AudioCodec;

fn tone(from: i64, count: i64) -> Vec<[f32; 2]> {
    (from..from + count).map(|n| [n as f32, -n as f32]).collect()
}

#[test]
fn what_is_written_is_taken_where_it_belongs_and_gaps_are_silent() {
    let mut tape = Tape::default();
    tape.skip_to(10_240);
    assert_eq!(tape.write(10_300, &tone(10_300, 500)), 0);
    assert_eq!(tape.write(11_000, &tone(11_000, 1_000)), 0);
    let mut frame = Vec::new();
    assert_eq!(tape.take(10_240, AAC_FRAME, &mut frame), 60, "the gap inside is known silence");
    assert_eq!(frame.len(), 1024);
    assert_eq!((frame[59], frame[60]), ([0.0; 2], [10_300.0, -10_300.0]));
    assert_eq!((frame[560], frame[760]), ([0.0; 2], [11_000.0, -11_000.0]));
    assert_eq!(tape.take(11_264, AAC_FRAME, &mut frame), 1024 - 736);
    assert_eq!(frame[0], [11_264.0, -11_264.0]);
    assert_eq!(tape.take(12_288, AAC_FRAME, &mut frame), 1024);
}

#[test]
fn late_and_doubled_sound_is_cut_and_lateness_is_told() {
    let mut tape = Tape::default();
    tape.skip_to(5_000);
    assert_eq!(tape.write(4_900, &tone(4_900, 300)), 100);
    assert_eq!(tape.write(5_100, &tone(5_100, 300)), 0, "100 of it were there already");
    assert_eq!(tape.end(), 5_400);
    assert_eq!(tape.write(1_000, &tone(1_000, 10)), 10);
}

#[test]
fn sound_from_another_world_does_not_grow_the_tape() {
    let mut tape = Tape::default();
    tape.skip_to(1_000);
    tape.write(1_000, &tone(0, 100));
    tape.write(1_000_000_000, &tone(0, 100));
    assert_eq!(tape.end(), 1_100);
}

#[test]
fn jittering_timestamps_leave_sound_continuous_and_drift_is_steered() {
    let mut steering = Steering::default();
    let mut next = None;
    for n in 0..2_000i64 {
        let jitter = [0, 24, -24, 40][n as usize % 4];
        let (at, correction) = steering.place(n * 1024 + jitter, 1024);
        assert!(next.is_none_or(|next| next == at));
        next = Some(at + 1024);
        assert!(correction.is_none_or(|samples| samples == 0), "jitter is no drift");
    }
    // 300 ppm of drift, corrected by what is asked for.
    let (mut steering, mut extra, mut worst) = (Steering::default(), 0i64, 0);
    for n in 0..20_000i64 {
        let wanted = n * 1024 + n * 1024 * 300 / 1_000_000;
        let count = 1024 + extra / 47;
        let (at, correction) = steering.place(wanted, count);
        extra = correction.unwrap_or(extra);
        worst = worst.max((wanted - at).abs());
    }
    assert!(worst < RATE / 50, "{worst} samples apart");
}

#[test]
fn sound_that_is_far_from_its_place_is_moved_at_once() {
    let mut steering = Steering::default();
    steering.place(0, 1024);
    assert_eq!(steering.place(1024 + MOVE + 1, 1024).0, 1024 + MOVE + 1);
}

fn next_message(socket: &mut UnixStream) -> FromWorker {
    let mut head = [0; HEAD];
    socket.read_exact(&mut head).unwrap();
    let (length, kind) = read_head(head).unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).unwrap();
    FromWorker::from_body(kind, body.into()).unwrap()
}

#[test]
fn opus_is_made_from_now_on_while_it_is_wanted_and_takes_nothing_from_the_rendition() {
    ffmpeg::init().unwrap();
    let (mut server, worker) = UnixStream::pair().unwrap();
    let (link, _writer) = link::open(worker).unwrap();
    let clock = ClockBase { utc_minus_monotonic_nanos: 0 };
    let grid = Grid::choose(FrameRate::new(30, 1), 48_000, Span::millis(2_000), Span::millis(300));
    let desk = Desk::new(clock, Arc::default(), &grid);
    let now = clock.utc_nanos();
    let here = sample_at(now);
    desk.begin(here - 6 * RATE);
    // It lies ahead of its time, and begins far from a tick.
    let (length, second) = (2 * RATE, here + RATE / 2);
    let ticks: Vec<_> = (here..here + length)
        .map(|sample| [crate::av::mark::tick_sample(sample - second, SAMPLE_RATE); 2])
        .collect();
    desk.write(here, &ticks, true);
    desk.want_opus(true);
    let mut packets = Vec::new();
    std::thread::scope(|scope| {
        let opus = scope.spawn(|| desk.run_opus(&link));
        // A second and a whole tick.
        while packets.len() < 125 {
            if let FromWorker::Opus { at, data } = next_message(&mut server) {
                packets.push((at, data));
            }
        }
        desk.want_opus(false);
        opus.join().unwrap();
    });
    let begun = packets[0].0;
    assert!(begun >= now - 10_000_000, "it begins {} ns in the past", now - begun);
    assert!(packets.windows(2).all(|pair| (pair[1].0 - pair[0].0 - 10_000_000).abs() <= 1));

    let (mut decoder, mut line) =
        (Sound::open(AudioCodec::Opus, &bytes::Bytes::new()).unwrap(), Line::default());
    let (mut heard, mut first) = (Vec::new(), None);
    for (at, data) in &packets {
        decoder.decode(data, *at, |sound, at| {
            first.get_or_insert(at);
            heard.extend(line.stereo(sound).unwrap().iter().map(|[left, _]| *left));
        });
    }
    let ticks = crate::av::mark::read_ticks(&heard, SAMPLE_RATE);
    let tick = ticks.first().expect("a tick is heard");
    let at = sample_at(first.unwrap()) + tick.offset_samples as i64;
    let off = (at - second + RATE / 2).rem_euclid(RATE) - RATE / 2;
    assert!(off.abs() < RATE / 200, "it is heard {off} samples from its second");

    let state = desk.lock();
    assert!(state.opus.is_none());
    assert_eq!((state.tape.start, state.tape.sound.len() as i64), (here, length));
}

#[test]
fn who_does_not_want_opus_any_more_before_there_is_sound_waits_for_nothing() {
    let (_server, worker) = UnixStream::pair().unwrap();
    let (link, _writer) = link::open(worker).unwrap();
    let grid = Grid::choose(FrameRate::new(30, 1), 48_000, Span::millis(2_000), Span::millis(300));
    let clock = ClockBase { utc_minus_monotonic_nanos: 0 };
    let desk = Arc::new(Desk::new(clock, Arc::default(), &grid));
    desk.want_opus(true);
    let (told, ended) = std::sync::mpsc::channel();
    let opus = Arc::clone(&desk);
    std::thread::spawn(move || {
        opus.run_opus(&link);
        told.send(())
    });
    assert!(ended.recv_timeout(Duration::from_millis(50)).is_err(), "it does not wait for sound");
    desk.want_opus(false);
    ended.recv_timeout(Duration::from_secs(30)).expect("it ends");
}

proptest! {
    #[test]
    fn every_frame_is_whole_whatever_is_written(
        writes in proptest::collection::vec((0i64..20_000, 0i64..3_000), 0..40),
    ) {
        let mut tape = Tape::default();
        let mut frame = Vec::new();
        for (n, (at, count)) in writes.into_iter().enumerate() {
            tape.write(at, &tone(at, count));
            let start = n as i64 * 512;
            let silent = tape.take(start, AAC_FRAME, &mut frame);
            prop_assert_eq!(frame.len(), 1024);
            prop_assert!((0..=1024).contains(&silent));
            prop_assert!(tape.sound.len() as i64 <= MAX_WAITING);
        }
    }
}
