//! A text that must not be printed: stream keys.

use std::fmt;

use subtle::ConstantTimeEq;

/// A stream key. `Debug` and `Display` print `***`; comparing takes the same time wherever the
/// texts differ.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a key.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether `offered` is this key.
    pub fn matches(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }

    /// The key itself, for the operator's page and for publishing with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_prints_itself() {
        let key = Secret::new("canary");
        assert_eq!(format!("{key} {key:?}"), "*** ***");
    }

    #[test]
    fn matches_only_the_same_text() {
        let key = Secret::new("abc");
        assert!(key.matches("abc"));
        for other in ["", "ab", "abcd", "abd"] {
            assert!(!key.matches(other));
        }
    }
}
