//! Harness of the integration tests: starts the real program and real peers, reads what comes out.
//!
//! ```text
//! publisher ─rtmp─► (proxy) ─► server ─http─► client ─► reader   (frames, marks, ticks, boxes)
//!                                              ├──────► witness  (invariants through a whole test)
//!                                              ├──────► player   (what a viewer would mind)
//!                                    edge ─────┴──────► crowd    (many viewers at the live edge)
//! ```
//! [`publisher`] makes pictures and sound that bear a machine-readable clock and sends them with a
//! real broadcaster's software; [`reader`] gives what comes out to programs that are not ours and
//! reads the clock back. Every process started here is reaped, every wait is bounded and says what
//! it waited for. [`architecture`] reads the source code: who may name whom; [`catalogue`] the list of
//! faults: whether the tests are there that it names.

pub mod architecture;
pub mod bench;
pub mod catalogue;
pub mod certificate;
pub mod client;
pub mod clock;
pub mod crowd;
pub mod dice;
pub mod edge;
pub mod failure;
pub mod hostile;
pub mod liar;
pub mod load;
pub mod player;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod reader;
pub mod rules;
pub mod s3;
pub mod server;
pub mod splicer;
pub mod wait;
pub mod witness;
pub mod workspace;

pub use failure::{Context, Failure, Result};
