//! What every protocol's door has: a gate for peers that are not authenticated yet, counters, and a bound
//! on what is said of those who are refused.

mod gate;
mod stats;
mod talk;

#[cfg(test)]
pub(crate) use gate::MAX_PER_ADDRESS;
pub(crate) use gate::{Gate, Pass};
pub(crate) use stats::Publishing;
pub use stats::{Snapshot, Stats};
pub(crate) use talk::Talk;
