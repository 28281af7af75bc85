//! The integration binary: everything that needs the real program, real publishers and real readers.
//!
//! `cargo test -p headwater-tests --test it -- --test-threads=2` runs all of it but the soak, which
//! wants `soak:: timestamps:: --ignored`. Each test starts servers and peers of its own on ports from
//! the system. The logs of the servers are kept in `<target>/it-logs`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this is tests")]

mod absence;
mod bad_input;
mod browser;
mod clocks;
mod corpus;
mod doors;
mod edges;
mod examine;
mod faults;
mod hostile;
mod low_latency;
mod operator;
mod parts;
mod passing;
mod planted;
mod players;
mod publishers;
mod readers;
mod restart;
mod rows;
mod soak;
mod timestamps;
mod viewers;
mod workers;
