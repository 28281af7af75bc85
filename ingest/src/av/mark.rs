//! The machine-readable clock: the wall clock drawn into a picture and sounded in a tick.
//!
//! **Picture.** Two rows of 24 cells at the top, each a twelfth of the picture high and a 24th
//! wide, hold 48 bits, most significant first: 40 bits of milliseconds since the Unix epoch, then a
//! CRC-8 (polynomial 0x07, initial value 0xFF) over those five bytes. A one is white. The cells are
//! so large that the mark survives scaling to 96 lines and a starved encoder.
//!
//! **Sound.** At every whole UTC second S: 20 ms of 1 kHz, then eight bits of 15 ms each, most
//! significant first, as 2 kHz (zero) or 3 kHz (one): six bits of S mod 64 and two check bits.
//! Every tone is a whole number of periods long, so the tick has no phase jump and is a pure
//! function of the sample's number since the epoch.
//!
//! The player's latency meter reads the same marks in the browser.

use std::f64::consts::TAU;

/// Columns of cells; two rows of them hold 48 bits.
const COLUMNS: usize = 24;
/// Rows of cells.
const ROWS: usize = 2;
/// A row is this fraction of the picture's height.
const ROW_FRACTION: usize = 12;
/// Luma of a one (white in video range).
const WHITE: u8 = 235;
/// Luma of a zero (black in video range).
const BLACK: u8 = 16;
/// Mean luma of a cell above which it is a one.
const THRESHOLD: u64 = 128;
/// The clock wraps after 2^40 ms: 34.8 years.
const MILLIS_MASK: u64 = (1 << 40) - 1;

/// Length of the tick's opening tone in milliseconds.
const BEEP_MS: i64 = 20;
/// Length of one bit in milliseconds.
const BIT_MS: i64 = 15;
/// Bits in a tick.
const BITS: i64 = 8;
/// Rise and fall of the tick in milliseconds, so that it does not click.
const RAMP_MS: f64 = 1.0;
/// Peak of the tick as a fraction of full scale: well audible, far from clipping.
const AMPLITUDE: f64 = 0.25;
/// Frequencies of the opening tone, a zero and a one, in Hz.
const TONES: [f64; 3] = [1000.0, 2000.0, 3000.0];

/// Draws `millis` since the Unix epoch into the top sixth of a luma plane. A plane smaller than its
/// stated size is drawn into as far as it goes.
pub fn draw(luma: &mut [u8], stride: usize, width: usize, height: usize, millis: u64) {
    let code = encode(millis);
    for row in 0..ROWS {
        let lines = row * height / ROW_FRACTION..(row + 1) * height / ROW_FRACTION;
        for y in lines {
            for column in 0..COLUMNS {
                let bit = code >> (ROWS * COLUMNS - 1 - (row * COLUMNS + column)) & 1;
                let cells = y * stride + column * width / COLUMNS
                    ..y * stride + (column + 1) * width / COLUMNS;
                if let Some(pixels) = luma.get_mut(cells) {
                    pixels.fill(if bit == 1 { WHITE } else { BLACK });
                }
            }
        }
    }
}

/// Reads the clock out of a luma plane: milliseconds since the Unix epoch modulo 2^40, or `None`
/// when the picture bears no intact mark.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<u64> {
    let mut code = 0u64;
    for row in 0..ROWS {
        let (top, bottom) = (row * height / ROW_FRACTION, (row + 1) * height / ROW_FRACTION);
        for column in 0..COLUMNS {
            let (left, right) = (column * width / COLUMNS, (column + 1) * width / COLUMNS);
            let mean = mean_of_centre(luma, stride, left..right, top..bottom)?;
            code = code << 1 | u64::from(mean >= THRESHOLD);
        }
    }
    let millis = code >> 8;
    (encode(millis) == code).then_some(millis)
}

/// Mean of the centre half of a cell: its edges are smeared by scaling and blocks.
fn mean_of_centre(
    luma: &[u8],
    stride: usize,
    columns: std::ops::Range<usize>,
    lines: std::ops::Range<usize>,
) -> Option<u64> {
    let (x_margin, y_margin) = (columns.len() / 4, lines.len() / 4);
    let (mut sum, mut count) = (0u64, 0u64);
    for y in lines.start + y_margin..lines.end - y_margin {
        let row =
            luma.get(y * stride + columns.start + x_margin..y * stride + columns.end - x_margin)?;
        sum += row.iter().map(|pixel| u64::from(*pixel)).sum::<u64>();
        count += row.len() as u64;
    }
    sum.checked_div(count)
}

/// The 48 bits of a mark.
fn encode(millis: u64) -> u64 {
    let millis = millis & MILLIS_MASK;
    let bytes = millis.to_be_bytes();
    millis << 8 | u64::from(crc8(&bytes[3..]))
}

fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0xFF, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
    })
}

/// The tick's sample number `index` since the Unix epoch at `rate` samples per second, in -1..1.
pub fn tick_sample(index: i64, rate: u32) -> f32 {
    let rate = i64::from(rate.max(1));
    let position = index.rem_euclid(rate);
    let end = (BEEP_MS + BITS * BIT_MS) * rate / 1000;
    if position >= end {
        return 0.0;
    }
    let tone = match position * 1000 / rate - BEEP_MS {
        before if before < 0 => TONES[0],
        within => {
            let bits = second_code(index.div_euclid(rate).rem_euclid(64) as u8);
            let bit = bits >> (BITS - 1 - (within / BIT_MS).min(BITS - 1)) & 1;
            TONES[1 + usize::from(bit)]
        }
    };
    let ramp = RAMP_MS * rate as f64 / 1000.0;
    let envelope = (position.min(end - position) as f64 / ramp).min(1.0);
    ((TAU * tone * position as f64 / rate as f64).sin() * AMPLITUDE * envelope) as f32
}

/// Six bits of the second and their two check bits.
fn second_code(second: u8) -> u8 {
    second << 2 | (second ^ second >> 2 ^ second >> 4) & 3
}

/// A tick found in sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// Where it starts, in samples from the first one looked at.
    pub offset_samples: usize,
    /// The UTC second that it marks, modulo 64.
    pub second_mod_64: u8,
}

/// Finds every whole tick in mono samples of `rate` per second.
pub fn read_ticks(samples: &[f32], rate: u32) -> Vec<Tick> {
    /// A tick quieter than this is not looked for: amplitude of the opening tone.
    const FLOOR: f64 = 0.02;
    /// A bit that is quieter than this share of the opening tone is none: the sound broke off.
    const BIT_FLOOR: f64 = 0.4;
    /// An opening tone that is quieter than this share of the loudest bit was not heard from its start: the
    /// tick begins before the sound does.
    const OPENING_FLOOR: f64 = 0.8;
    let per_ms = |ms: i64| (ms * i64::from(rate) / 1000).unsigned_abs() as usize;
    let tones = TONES.map(|frequency| Tone::of(samples, frequency, f64::from(rate)));
    let (beep, bit, whole) = (per_ms(BEEP_MS), per_ms(BIT_MS), per_ms(BEEP_MS + BITS * BIT_MS));
    let step = per_ms(1).max(1);
    let mut ticks = Vec::new();
    let mut at = 0;
    while at + whole <= samples.len() {
        if tones[0].amplitude(at, beep) < FLOOR {
            at += step;
            continue;
        }
        // The tone has begun to enter the window; it fills it within one length of the tone.
        let start = (at..=at + beep + step)
            .max_by(|a, b| tones[0].amplitude(*a, beep).total_cmp(&tones[0].amplitude(*b, beep)))
            .unwrap_or(at);
        if start + whole > samples.len() {
            // Cut off by the end. Read from a bit before its start it could say another second.
            break;
        }
        let opening = tones[0].amplitude(start, beep);
        let mut code = 0u8;
        let (mut whole_bits, mut loudest) = (true, 0.0f64);
        for index in 0..BITS.unsigned_abs() as usize {
            // The middle of a bit: its edges are smeared by the audio codec.
            let (from, length) = (start + beep + index * bit + bit / 8, bit * 3 / 4);
            let [zero, one] = [1, 2].map(|tone| tones[tone].amplitude(from, length));
            whole_bits &= zero.max(one) > opening * BIT_FLOOR;
            loudest = loudest.max(zero).max(one);
            code = code << 1 | u8::from(one > zero);
        }
        let second = code >> 2;
        let lone = opening > 2.0 * tones[1].amplitude(start, beep);
        let whole_opening = opening > loudest * OPENING_FLOOR;
        if lone && whole_opening && whole_bits && second_code(second) == code {
            ticks.push(Tick { offset_samples: start, second_mod_64: second });
            at = start + whole;
        } else {
            at = start.max(at) + step;
        }
    }
    ticks
}

/// Running sums of the samples turned back by one frequency: the discrete Fourier transform of any
/// window at that frequency is one subtraction away.
struct Tone {
    sums: Vec<(f64, f64)>,
}

impl Tone {
    fn of(samples: &[f32], frequency: f64, rate: f64) -> Self {
        let mut sums = Vec::with_capacity(samples.len() + 1);
        let (mut re, mut im) = (0.0, 0.0);
        sums.push((re, im));
        for (index, sample) in samples.iter().enumerate() {
            let (sin, cos) = (TAU * (frequency * index as f64 / rate).fract()).sin_cos();
            re += f64::from(*sample) * cos;
            im -= f64::from(*sample) * sin;
            sums.push((re, im));
        }
        Self { sums }
    }

    /// Amplitude of the tone in a window; 0 outside of the samples.
    fn amplitude(&self, from: usize, length: usize) -> f64 {
        match (self.sums.get(from), self.sums.get(from + length)) {
            (Some(a), Some(b)) if length > 0 => 2.0 * (b.0 - a.0).hypot(b.1 - a.1) / length as f64,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
mod tests;
