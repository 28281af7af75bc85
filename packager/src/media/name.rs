//! Names of channels and renditions: one rule at every door.

use std::fmt;
use std::sync::Arc;

/// A channel's or rendition's name: `[A-Za-z0-9][A-Za-z0-9_-]{0,63}`. Safe in a path, a URL and a
/// log line as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// Nothing there.
    #[error("a name has at least one character")]
    Empty,
    /// Longer than [`Name::MAX_LEN`].
    #[error("a name has at most 64 characters, this one has {len}")]
    TooLong {
        /// Length of the text in bytes.
        len: usize,
    },
    /// A character outside the rule.
    #[error(
        "a name is made of A-Z a-z 0-9 _ - and begins with a letter or digit; offset {offset} is something else"
    )]
    Character {
        /// Byte offset of the first one.
        offset: usize,
    },
}

impl Name {
    /// Longest name, in bytes. Long enough for any channel, short enough for a file name with a
    /// suffix on every file system.
    pub const MAX_LEN: usize = 64;

    /// Checks `text` against the rule.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(InvalidName::TooLong { len: text.len() });
        }
        let bad = text
            .bytes()
            .enumerate()
            .find(|&(i, b)| !(b.is_ascii_alphanumeric() || (i > 0 && (b == b'_' || b == b'-'))));
        match bad {
            Some((offset, _)) => Err(InvalidName::Character { offset }),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// So that a map keyed by names can be asked with a text from a path.
impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_contract_says() {
        for name in ["a", "720p", "News-1_b", "0", &"x".repeat(64)] {
            assert_eq!(Name::parse(name).map(|n| n.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn refuses_everything_else() {
        for name in
            ["", "-a", "_", "a/b", "../x", "a.b", "ä", "a b", "a\0", "a%2e", &"x".repeat(65)]
        {
            assert!(Name::parse(name).is_err(), "{name:?}");
        }
    }
}
