//! What becomes of each datagram, decided by its number and a seed alone.

use super::Way;
use super::udp::Faults;
use crate::dice::Dice;

/// A datagram that is held back is overtaken by this many at the most.
const MOST_OVERTAKING: u64 = 4;

/// Loss by the model of Gilbert and Elliott: a path is good or bad, goes from one to the other by
/// chance at each datagram, and loses by chance in either.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// Probability of going bad, per datagram.
    pub worsen: f64,
    /// Probability of becoming good again, per datagram.
    pub recover: f64,
    /// Share of datagrams lost while good.
    pub good: f64,
    /// Share of datagrams lost while bad.
    pub bad: f64,
}

impl Loss {
    /// Everything is lost.
    pub const ALL: Self = Self { worsen: 0.0, recover: 0.0, good: 1.0, bad: 1.0 };

    /// Each datagram is lost with this probability, whatever happened before.
    pub fn even(share: f64) -> Self {
        Self { good: share, bad: share, ..Self::default() }
    }

    /// This share is lost, in bursts of this mean length (1 or more).
    pub fn bursts(share: f64, length: f64) -> Self {
        let recover = 1.0 / length.max(1.0);
        Self { worsen: recover * share / (1.0 - share), recover, good: 0.0, bad: 1.0 }
    }
}

/// What becomes of one datagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    pub(super) twice: bool,
    /// How many later ones go first.
    pub(super) overtaken_by: u64,
    /// The bit that is turned over.
    pub(super) corrupt: Option<u64>,
    /// Share of the jitter.
    pub(super) jitter: f64,
}

/// Fates of the datagrams of one way of one peer.
#[derive(Debug)]
pub(super) struct Plan {
    seed: u64,
    number: u64,
    is_bad: bool,
}

impl Plan {
    pub(super) fn new(seed: u64, peer: u64, way: Way) -> Self {
        Self { seed: Dice::of(seed, peer * 2 + way as u64).draw(), number: 0, is_bad: false }
    }

    /// The fate of the next datagram, of `length` bytes. All draws are made for every datagram, so
    /// that one fault's setting changes nothing about the others.
    pub(super) fn next(&mut self, faults: &Faults, length: usize) -> Fate {
        let mut dice = Dice::of(self.seed, self.number);
        self.number += 1;
        let turn = if self.is_bad { faults.loss.recover } else { faults.loss.worsen };
        self.is_bad ^= dice.hits(turn);
        let share = if self.is_bad { faults.loss.bad } else { faults.loss.good };
        let lost = dice.hits(share);
        let twice = dice.hits(faults.duplicate);
        let held_back = dice.hits(faults.reorder);
        let overtaken_by = 1 + dice.below(MOST_OVERTAKING);
        let corrupt = dice.hits(faults.corrupt);
        let bit = dice.below(length as u64 * 8);
        Fate {
            lost,
            twice,
            overtaken_by: if held_back { overtaken_by } else { 0 },
            corrupt: (corrupt && length > 0).then_some(bit),
            jitter: dice.fraction(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 20_000;

    fn fates(seed: u64, faults: &Faults) -> Vec<Fate> {
        let mut plan = Plan::new(seed, 0, Way::Up);
        (0..COUNT).map(|_| plan.next(faults, 100)).collect()
    }

    fn share(fates: &[Fate], is: impl Fn(&Fate) -> bool) -> f64 {
        fates.iter().filter(|fate| is(fate)).count() as f64 / fates.len() as f64
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_one_others() {
        let faults = Faults {
            loss: Loss::bursts(0.1, 5.0),
            duplicate: 0.1,
            reorder: 0.1,
            corrupt: 0.1,
            ..Faults::default()
        };
        assert_eq!(fates(1, &faults), fates(1, &faults));
        assert_ne!(fates(1, &faults), fates(2, &faults));
        let mut down = Plan::new(1, 0, Way::Down);
        assert!((0..COUNT).map(|_| down.next(&faults, 100)).ne(fates(1, &faults)));
    }

    #[test]
    fn shares_are_what_was_set() {
        let faults = Faults { duplicate: 0.2, reorder: 0.1, corrupt: 0.05, ..Faults::default() };
        let fates = fates(3, &faults);
        let near = |share: f64, wanted: f64| (share - wanted).abs() < 0.01;
        assert!(near(share(&fates, |f| f.twice), 0.2));
        assert!(near(share(&fates, |f| f.overtaken_by > 0), 0.1));
        assert!(near(share(&fates, |f| f.corrupt.is_some()), 0.05));
        assert!(near(share(&fates, |f| f.jitter < 0.5), 0.5));
        assert!(fates.iter().all(|f| !f.lost && f.overtaken_by <= MOST_OVERTAKING));
    }

    /// Mean number of losses in a row.
    fn burst(fates: &[Fate]) -> f64 {
        let lost = fates.iter().filter(|f| f.lost).count();
        let begins = fates.windows(2).filter(|pair| !pair[0].lost && pair[1].lost).count();
        lost as f64 / begins as f64
    }

    #[test]
    fn even_losses_are_alone_and_bursts_are_as_long_as_was_set() {
        let even = fates(4, &Faults { loss: Loss::even(0.1), ..Faults::default() });
        let bursts = fates(4, &Faults { loss: Loss::bursts(0.1, 8.0), ..Faults::default() });
        for fates in [&even, &bursts] {
            let lost = share(fates, |f| f.lost);
            assert!((lost - 0.1).abs() < 0.02, "{lost}");
        }
        assert!(burst(&even) < 1.3, "{}", burst(&even));
        assert!((burst(&bursts) - 8.0).abs() < 1.5, "{}", burst(&bursts));
        let all = fates(4, &Faults { loss: Loss::ALL, ..Faults::default() });
        assert!(all.iter().all(|f| f.lost));
    }
}
