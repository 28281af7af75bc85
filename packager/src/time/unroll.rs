//! Turns a wrapping counter into a line.

/// Unrolls a clock that wraps at `2^bits` by taking, for each value, the reading closest to the
/// one before. Works for jumps of up to half a period in either direction, so a B-frame before the
/// wrap and an audio frame after it come out in order (RTMP: 32 bits of milliseconds, wraps after
/// 49.7 days; MPEG: 33 bits of 90 kHz, wraps after 26.5 hours).
#[derive(Clone, Debug)]
pub struct Unroller {
    period: i64,
    last: Option<i64>,
}

impl Unroller {
    /// A clock of `bits` bits, 1 to 62.
    pub const fn new(bits: u32) -> Self {
        assert!(bits >= 1 && bits <= 62, "a wrapping clock has 1 to 62 bits");
        Self { period: 1 << bits, last: None }
    }

    /// The unrolled value of `raw`, which is taken modulo the period. The first value is itself.
    pub fn unroll(&mut self, raw: u64) -> i64 {
        let period = self.period;
        let raw = (raw % period.unsigned_abs()).cast_signed();
        let value = match self.last {
            None => raw,
            Some(last) => {
                let ahead = (raw - last).rem_euclid(period);
                let step = if ahead >= period / 2 { ahead - period } else { ahead };
                last.saturating_add(step)
            }
        };
        self.last = Some(value);
        value
    }
}
