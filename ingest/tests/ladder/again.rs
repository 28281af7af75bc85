//! Workers that go on where another has stopped, and rungs that go off and come back.

use super::*;

/// Hands over what a hub keeps of a source: everything up to `at`, at once, as received in real time.
fn replay(input: &mut Input, source: &[Timed], at: Duration) {
    let now = std::time::Instant::now();
    for timed in source.iter().take_while(|timed| timed.at < at) {
        let mut unit = timed.unit.clone();
        if let Unit::Video(sample) | Unit::Audio(sample) = &mut unit {
            sample.received = now - (at - timed.at);
        }
        input.send(&unit);
    }
}

/// Plays on from `at` in real time.
async fn play_on(input: &mut Input, source: &[Timed], at: Duration, end: Duration) {
    let begin = Instant::now();
    for timed in source.iter().filter(|timed| (at..end).contains(&timed.at)) {
        sleep_until(begin + (timed.at - at)).await;
        input.send(&fixture::moved(&timed.unit, 0));
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_goes_on_begins_on_time_with_an_idr_at_the_next_part_in_every_rung() {
    let source = fixture::source(Recipe { video: &["-tune", "zerolatency", "-g", "90"], ..SMALL });
    let Ladder { mut input, outputs, grid, clock } =
        start_again(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    let began = clock.utc_nanos();
    replay(&mut input, &source, SECOND);
    let half = SECOND / 2;
    play_on(&mut input, &source, SECOND, 2 * SECOND + half).await;
    // One of the rungs is behind, and filler has got to a tenth of a second from now.
    let behind = (clock.utc_nanos() + 100_000_000) / 100_000 * 9;
    input.ask_key_frames(0b10, behind);
    play_on(&mut input, &source, 2 * SECOND + half, 4 * SECOND).await;
    let mut made = finish(input, gathering).await;

    let frame = i64::from(grid.rate.frame_ticks());
    let wanted = (behind + frame - 1) / frame * frame;
    let asked = made.samples[1].iter_mut().find(|sample| sample.dts == wanted).expect("a frame");
    assert!(asked.sync, "it was asked for a key frame");
    // All others are where they always are, in the rung that was not asked too.
    asked.sync = wanted % grid.segment_ticks as i64 == 0;
    assert_on_the_grid(&made);
    let into = made.start - grid.boundary(made.first_k);
    assert_eq!(into % grid.part_ticks as i64, 0, "a part begins there");
    let nanos = |ticks: i64| ticks / 9 * 100_000;
    let after = nanos(made.start) - began;
    assert!((0..2_000_000_000).contains(&after), "{after} ns after it was started");
    for begun in &made.begun {
        let late = begun + clock.utc_minus_monotonic_nanos - nanos(made.start);
        assert!(late < 500_000_000, "the first sample comes {late} ns after its time");
    }
    let rungs = [marks(&made, 0), marks(&made, 1)];
    let both = rungs[0].len().min(rungs[1].len());
    assert_eq!(rungs[0][..both], rungs[1][..both], "all rungs show the same clock");
    // It is the present picture that comes first, and not the one where decoding starts.
    let shown = (nanos(made.start) - began) / 1_000_000 + 1_000;
    let first = rungs[0][0].expect("a mark");
    assert!((first - shown).abs() < 300, "{first} and not {shown}");
    assert_ticks_match(&made, &rungs[0], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_goes_off_and_comes_back_at_boundaries_and_the_others_do_not_notice() {
    let source = fixture::source(Recipe { seconds: 10, ..SMALL });
    let Ladder { mut input, outputs, grid, .. } =
        start(&["180p", "96p"], (320, 180), FrameRate::new(30, 1));
    let gathering = gather(outputs, grid);
    play_on(&mut input, &source, Duration::ZERO, 2 * SECOND).await;
    input.set_rungs(0b10);
    play_on(&mut input, &source, 2 * SECOND, 6 * SECOND).await;
    input.set_rungs(u64::MAX);
    play_on(&mut input, &source, 6 * SECOND, 10 * SECOND).await;
    let mut made = finish(input, gathering).await;

    let [(0, false, off), (0, true, on)] = made.switched[..] else {
        panic!("{:?}", made.switched);
    };
    let segment = grid.segment_ticks as i64;
    assert!(off % segment == 0 && on % segment == 0 && on > off);
    let there: Vec<_> = marks(&made, 0).iter().copied().flatten().collect();
    assert_eq!(there.len(), made.samples[0].len(), "one init segment serves both pieces");
    let back = made.samples[0].iter().position(|sample| sample.dts >= off).expect("it is back");
    assert!(made.samples[0][back].sync && made.samples[0][back].dts == on);
    assert_eq!(made.samples[0][back - 1].dts, off - i64::from(grid.rate.frame_ticks()));
    for pair in made.samples[0].windows(2).filter(|pair| pair[1].dts != on) {
        assert_eq!(pair[1].dts - pair[0].dts, i64::from(grid.rate.frame_ticks()));
    }
    assert!(made.stats.rungs.iter().all(|rung| rung.on), "{:?}", made.stats.rungs);
    assert_eq!(made.stats.rungs.len(), 2);
    // Both show the same again.
    let other: Vec<_> = marks(&made, 1).iter().copied().flatten().collect();
    let at = made.samples[1].iter().position(|sample| sample.dts == on).expect("there all along");
    let both = (there.len() - back).min(other.len() - at);
    assert_eq!(there[back..back + both], other[at..at + both]);
    made.samples[0].clear();
    made.renditions.remove(0);
    made.samples.remove(0);
    assert_on_the_grid(&made);
}
