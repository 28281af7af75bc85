//! Harness of the integration tests: starts the real program and real peers, reads what comes out.

pub mod architecture;
