//! Why a test can't go on: one text, with the causes in front of it.

use std::fmt;

/// A failed step, in words for the person who reads the test's output.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

/// Prints as the text itself: this is what a failed test shows.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What fallible steps of the harness return.
pub type Result<T = ()> = std::result::Result<T, Failure>;

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Puts `what` before the cause.
    ///
    /// # Errors
    /// The cause, if there is one.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|cause| Failure(format!("{what}: {cause}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(what.to_string()))
    }
}
