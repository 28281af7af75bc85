//! The `headwater` program.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

use std::process::ExitCode;

use clap::Parser;
use origin::cli::{Cli, Command, check};
use origin::telemetry::log;

/// What the shell gets to see of a bad command line, a bad file, a server that can't start.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headwater: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    log::start(cli.log.filter.as_deref(), cli.log.format)?;
    match cli.command {
        Command::Check { config } => print!("{}", check::report(&config)?),
        other => anyhow::bail!("{other:?} is not built in yet"),
    }
    Ok(())
}
