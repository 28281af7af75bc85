//! Chance that can be had again: the same seed gives the same faults.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): small, fast, and any seed is a good one. Not for secrets.

/// Golden ratio of 2^64, the step of SplitMix64.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// A sequence of draws that its seed alone decides.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence of its own for part `number` of something: what it draws does not depend on how
    /// much the others have drawn.
    pub fn of(seed: u64, number: u64) -> Self {
        Self::new(mixed(seed ^ mixed(number.wrapping_add(STEP))))
    }

    /// 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The bias of the remainder is below 2^-32 for the small ends of tests.
        self.draw().checked_rem(end).unwrap_or(0)
    }

    /// A fraction from 0 to, but without, 1.
    pub fn fraction(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn hits(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }

    /// This many bytes without a pattern.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 7);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.draw().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_fractions_are_even() {
        let mut dice = Dice::of(7, 1);
        assert_eq!(dice.clone().bytes(100), Dice::of(7, 1).bytes(100));
        assert_ne!(dice.draw(), Dice::of(7, 2).draw());
        let hits = (0..10_000).filter(|_| dice.hits(0.25)).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!((0..1_000).all(|_| dice.below(3) < 3));
        assert_eq!(dice.below(0), 0);
    }
}
