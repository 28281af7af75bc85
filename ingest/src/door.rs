//! What every protocol's door has: a gate for peers that are not authenticated yet, and counters.

mod gate;
mod stats;

#[cfg(test)]
pub(crate) use gate::MAX_PER_ADDRESS;
pub(crate) use gate::{Gate, Pass};
pub(crate) use stats::Publishing;
pub use stats::{Snapshot, Stats};
