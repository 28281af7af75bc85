//! SRT ingest: a caller's connection in, units of a source out; and calls to sources elsewhere.
//!
//! ```text
//! libsrt's threads ─► engine (one thread: its poll) ─► Connection ─► server, caller (tasks)
//!   (sockets)            │ bytes, figures     bounded     │ ts::feed ─► hub::Publication
//!        └─ listener's hook: stream_id ─► hub::ask ─► a passphrase, or a code to be rejected with
//!                    └─ sieve: what the kernel lets through to the library, and how many handshakes
//! ```
//! [`serve`] takes callers on one port, [`pull`] calls a source by its URL. Who may publish is
//! decided before a connection is there, so that a caller learns why not; and once more when it is,
//! since a caller without the passphrase must not take anything over.
//!
//! The protocol (draft-sharabayko-srt) is libsrt's: handshake and its cookies, encryption,
//! retransmission, and the time at which a packet is handed on. `ffi` and `library` are all there
//! is of it. Not here: playing, rendezvous, files, bonding of several links (refused by the library).

mod caller;
mod engine;
mod ffi;
mod library;
mod link;
mod reject;
mod server;
mod sieve;
pub mod stream_id;

pub use caller::{BadUrl, End as CallEnd, Url, pull};
pub use engine::Engine;
pub use library::{Error, PASSPHRASE, version};
pub use link::Link;
pub use reject::Reject;
pub use server::{End, Options, serve};

/// The latency that can be asked for. Below, a lost packet is hardly ever there in time; above, what
/// is held grows beyond reason.
pub const LATENCY: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::from_millis(80)..=std::time::Duration::from_secs(8);
