//! Why a call is not taken, in the numbers that SRT has for it.
//!
//! Below 1000 they are the library's own; from 1000 on, those its `access_control.h` gives to
//! applications, which follow HTTP's.

use std::fmt;

use crate::hub::Refusal;

/// A reason. Callers see its code; what they make of it is up to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    code: i32,
    /// What the library says, of its own codes.
    said: String,
}

impl Reject {
    /// A stream identifier that makes no sense.
    pub(super) const BAD_REQUEST: Self = Self::new(1400);
    /// No such channel, or a wrong key.
    pub(super) const UNAUTHORIZED: Self = Self::new(1401);
    /// The machine is used up, or callers come too fast.
    pub(super) const OVERLOAD: Self = Self::new(1402);
    /// Callers from elsewhere may not.
    pub(super) const FORBIDDEN: Self = Self::new(1403);
    /// Nothing can be played here.
    pub(super) const BAD_MODE: Self = Self::new(1405);
    /// The channel has changed hands too often.
    pub(super) const CONFLICT: Self = Self::new(1409);
    /// No live stream: a file, say.
    pub(super) const UNSUPPORTED_MEDIA: Self = Self::new(1415);
    /// What came through the channel's door has crashed its sessions.
    pub(super) const LOCKED: Self = Self::new(1423);
    /// A bug of ours.
    pub(super) const FAILED: Self = Self::new(1500);
    /// The server is going down.
    pub(super) const DOWN: Self = Self::new(1503);

    const fn new(code: i32) -> Self {
        Self { code, said: String::new() }
    }

    /// What a peer answered to a call of ours, with the library's words for it.
    pub(super) fn of(code: i32, said: String) -> Self {
        Self { code, said }
    }

    /// The number on the wire.
    pub fn code(&self) -> i32 {
        self.code
    }
}

impl From<&Refusal> for Reject {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::BadName(_) => Self::BAD_REQUEST,
            Refusal::Denied => Self::UNAUTHORIZED,
            Refusal::LoopbackOnly | Refusal::HasSource => Self::FORBIDDEN,
            Refusal::TooOften { .. } => Self::CONFLICT,
            Refusal::Quarantined { .. } => Self::LOCKED,
            Refusal::NoCapacity(_) | Refusal::Busy => Self::OVERLOAD,
            Refusal::ShuttingDown => Self::DOWN,
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.code {
            10 => "wrong passphrase",
            11 => "one side has a passphrase and the other has none",
            16 => "nobody answers",
            1400 => "the stream id makes no sense",
            1401 => "unknown stream or wrong key",
            1402 => "overloaded",
            1403 => "forbidden",
            1404 => "no such stream",
            1405 => "this mode is not supported",
            1409 => "the stream is taken",
            1415 => "this kind of stream is not supported",
            1423 => "locked",
            1500 => "an error in the server",
            1503 => "going down",
            _ => &self.said,
        };
        write!(f, "{words} (code {})", self.code)
    }
}
