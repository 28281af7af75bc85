use proptest::prelude::*;

use super::*;

/// A moment of 2026, in milliseconds.
const NOW: u64 = 1_795_000_123_456;

fn drawn(width: usize, height: usize, millis: u64) -> Vec<u8> {
    let mut luma = vec![90; width * height];
    draw(&mut luma, width, width, height, millis);
    luma
}

#[test]
fn the_layout_is_the_one_the_browser_reads() {
    // 2^40 - 1 has forty ones; CRC-8 (0x07, init 0xFF) of five 0xFF bytes is 0x36 by bitwise division.
    let luma = drawn(240, 120, MILLIS_MASK);
    let cell = |row: usize, column: usize| luma[(row * 10 + 5) * 240 + column * 10 + 5];
    assert!((0..24).all(|column| cell(0, column) == WHITE));
    assert!((0..16).all(|column| cell(1, column) == WHITE));
    let crc = (16..24).fold(0u8, |bits, column| bits << 1 | u8::from(cell(1, column) == WHITE));
    assert_eq!(crc, crc8(&[0xFF; 5]));
    assert_eq!(luma[20 * 240], 90, "nothing below the two rows is touched");
}

#[test]
fn the_crc_is_the_standard_one() {
    // The check value of CRC-8 with polynomial 0x07 and initial value 0xFF over "123456789".
    assert_eq!(crc8(b"123456789"), 0xFB);
}

#[test]
fn a_picture_without_a_mark_reads_as_nothing() {
    for luma in [0u8, 16, 128, 235, 255] {
        assert_eq!(read(&vec![luma; 320 * 180], 320, 320, 180), None, "flat {luma}");
    }
    assert_eq!(read(&[], 320, 320, 180), None);
    assert_eq!(read(&[], 0, 0, 0), None);
}

#[test]
fn any_single_wrong_cell_is_noticed() {
    for bit in 0..48 {
        let (row, column) = (bit / 24, bit % 24);
        let mut luma = drawn(240, 120, NOW);
        for y in row * 10..row * 10 + 10 {
            for pixel in &mut luma[y * 240 + column * 10..y * 240 + column * 10 + 10] {
                *pixel = 251 - *pixel;
            }
        }
        assert_eq!(read(&luma, 240, 240, 120), None, "bit {bit}");
    }
}

#[test]
fn a_second_is_read_from_its_tick_at_any_rate() {
    for rate in [44_100u32, 48_000] {
        let first = 1_795_000_100i64 * i64::from(rate) + 1234;
        let samples: Vec<f32> =
            (0..i64::from(rate) * 26 / 5).map(|n| tick_sample(first + n, rate)).collect();
        let ticks = read_ticks(&samples, rate);
        assert_eq!(ticks.len(), 5, "at {rate}");
        for (n, tick) in ticks.iter().enumerate() {
            let second = 1_795_000_101 + n as i64;
            let exact = second * i64::from(rate) - first;
            assert_eq!(i64::from(tick.second_mod_64), second % 64);
            assert!((tick.offset_samples as i64 - exact).abs() <= 20, "{tick:?} {exact}");
        }
    }
}

/// Seen where a record ended within a tick: 5 was read as 2, and 7 as 3, from one bit before the start.
#[test]
fn a_tick_that_is_cut_off_by_the_end_says_nothing() {
    let rate = 48_000u32;
    for second in 1_795_000_101..1_795_000_101 + 64 {
        let first = second * i64::from(rate) - 4_800;
        let end = 4_800 + 140 * 48;
        let samples: Vec<f32> = (0..end + 480).map(|n| tick_sample(first + n, rate)).collect();
        assert_eq!(read_ticks(&samples, rate).len(), 1, "{} is whole", second % 64);
        for cut in (48..end).step_by(96) {
            let kept = usize::try_from(end - cut).unwrap();
            assert_eq!(read_ticks(&samples[..kept], rate), [], "{} by {cut}", second % 64);
        }
    }
}

#[test]
fn a_tick_that_breaks_off_into_silence_says_nothing() {
    let rate = 48_000u32;
    let whole = (BEEP_MS + BITS * BIT_MS) as usize * 48;
    for second in 0..64i64 {
        for bit in 0..BITS as usize {
            // Off within the bit: what is left of it may be heard as either tone.
            for into in [0, 5, 10] {
                let cut = (BEEP_MS as usize + bit * BIT_MS as usize + into) * 48;
                let from = second * i64::from(rate) - 4_800;
                let mut sound: Vec<f32> =
                    (0..24_000).map(|n| tick_sample(from + n, rate)).collect();
                sound[4_800 + cut..].fill(0.0);
                // The last bit is as good as whole where two thirds of it are there.
                let ticks = read_ticks(&sound, rate);
                assert!(
                    ticks.iter().all(|tick| i64::from(tick.second_mod_64) == second)
                        && (ticks.is_empty() || whole - cut <= 5 * 48),
                    "{second} cut in bit {bit} at {into} ms: {ticks:?}"
                );
            }
        }
    }
}

/// Seen where sound began within a tick: it was read, 9 ms late.
#[test]
fn a_tick_that_begins_before_the_sound_says_nothing_wrong() {
    let rate = 48_000u32;
    for second in 0..64i64 {
        for cut in (0..160 * 48).step_by(96) {
            let from = second * i64::from(rate) + cut;
            let sound: Vec<f32> = (0..24_000).map(|n| tick_sample(from + n, rate)).collect();
            let ticks = read_ticks(&sound, rate);
            let is_right = |tick: &Tick| i64::from(tick.second_mod_64) == second && cut <= 7 * 48;
            assert!(ticks.iter().all(is_right), "{second} without {cut} samples: {ticks:?}");
        }
    }
}

#[test]
fn noise_and_music_bear_no_tick() {
    let chord: Vec<f32> = (0..96_000)
        .map(|n| {
            let t = f64::from(n) / 48_000.0;
            ([220.0, 440.0, 2000.0].iter().map(|f| (TAU * f * t).sin()).sum::<f64>() / 8.0) as f32
        })
        .collect();
    assert_eq!(read_ticks(&chord, 48_000), []);
    assert_eq!(read_ticks(&[0.0; 48_000], 48_000), []);
    assert_eq!(read_ticks(&[], 48_000), []);
}

#[test]
fn a_tick_never_exceeds_a_quarter_of_full_scale_and_is_silent_outside() {
    for n in 0..48_000 {
        let sample = tick_sample(n, 48_000);
        assert!(sample.abs() <= 0.25);
        assert!(n < 48 * 140 || sample == 0.0);
    }
}

proptest! {
    #[test]
    fn every_moment_reads_back_at_every_size(
        millis in any::<u64>(),
        height in 48usize..400,
        wide in 0usize..3,
    ) {
        let height = height * 2;
        let width = height * [16, 4, 21][wide] / [9, 3, 9][wide];
        let luma = drawn(width, height, millis);
        prop_assert_eq!(read(&luma, width, width, height), Some(millis & MILLIS_MASK));
    }

    #[test]
    fn noise_of_a_starved_encoder_does_not_hide_the_mark(millis in any::<u64>(), seed in any::<u32>()) {
        let mut luma = drawn(170, 96, millis);
        let mut state = seed | 1;
        for pixel in &mut luma {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *pixel = pixel.saturating_add((state >> 24) as u8 / 3).saturating_sub((state >> 16) as u8 / 3);
        }
        prop_assert_eq!(read(&luma, 170, 170, 96), Some(millis & MILLIS_MASK));
    }

    #[test]
    fn any_plane_is_read_without_a_panic(
        luma in proptest::collection::vec(any::<u8>(), 0..4096),
        stride in 0usize..100, width in 0usize..100, height in 0usize..100,
    ) {
        let _ = read(&luma, stride, width, height);
    }
}
