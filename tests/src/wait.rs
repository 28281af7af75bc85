//! Waiting for a condition, with a bound and a message.

use std::time::{Duration, Instant};

use crate::{Failure, Result};

/// How often a condition of another process is looked at: processes can only be asked, not awaited.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Waits until `look` gives something.
///
/// # Errors
/// After `bound`, with `what` and the last thing that `look` said was missing; at once when `look`
/// fails for good.
pub fn until<T>(
    what: &str,
    bound: Duration,
    mut look: impl FnMut() -> Result<Look<T>>,
) -> Result<T> {
    let deadline = Instant::now() + bound;
    loop {
        match look()? {
            Look::There(found) => return Ok(found),
            Look::NotYet(state) if Instant::now() >= deadline => {
                return Err(Failure::new(format!("no {what} within {bound:?}: {state}")));
            }
            Look::NotYet(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// What a look at a condition found.
#[derive(Debug)]
pub enum Look<T> {
    /// The condition holds.
    There(T),
    /// It does not hold yet; the text says how things stand.
    NotYet(String),
}

impl<T> Look<T> {
    /// The condition holds if there is something.
    pub fn at(found: Option<T>, otherwise: impl Into<String>) -> Self {
        found.map_or_else(|| Self::NotYet(otherwise.into()), Self::There)
    }
}
