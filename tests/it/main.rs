//! The integration binary: everything that needs the real program, real publishers and real readers.
//!
//! `make test` runs all of it but what is ignored, which is long or wants a machine to itself and is
//! run by `make soak`. Each test starts servers and peers of its own on ports from the system. The
//! logs of the servers are kept in `<target>/it-logs`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod absence;
mod bad_input;
mod browser;
mod clocks;
mod corpus;
mod cues;
mod doors;
mod dvr;
mod edges;
mod examine;
mod faults;
mod hostile;
mod low_latency;
mod monitoring;
mod operator;
mod package;
mod parts;
mod passing;
mod planted;
mod players;
mod publishers;
mod readers;
mod restart;
mod rows;
mod s3;
mod soak;
mod srt;
mod stills;
mod timestamps;
mod transport;
mod trick_play;
mod viewers;
mod webrtc;
mod workers;
