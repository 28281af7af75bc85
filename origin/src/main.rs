//! The `headwater` program.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use origin::app;
use origin::asking;
use origin::cdn_check;
use origin::cli::{Cli, Command, Package, check};
use origin::config::Config;
use origin::cue;
use origin::guardian;
use origin::package;
use origin::telemetry::log;

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("headwater: {error:#}");
        ExitCode::from(2)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    // Who packages a file reads how far it is.
    let quiet = matches!(cli.command, Command::Package(_)).then_some("warn");
    log::start(cli.log.filter.as_deref().or(quiet), cli.log.format)?;
    match cli.command {
        Command::Serve(how) => {
            let path = how.config.as_deref();
            match (how.guarded, how.no_guardian) {
                (true, _) => app::serve_guarded(path)?,
                (false, true) => app::serve(&Config::find(path)?.config)?,
                (false, false) => return Ok(guardian::run(&Config::find(path)?.config)?),
            }
        }
        Command::Demo(options) => app::demo(&options)?,
        Command::Check { config, s3 } => {
            let report = check::report(&config)?;
            let notes = app::examine(&config)?;
            print!("{report}");
            for note in notes {
                println!("  {note}");
            }
            if s3 {
                println!("  {}", app::try_store(&config)?);
            }
        }
        Command::CdnCheck(what) => {
            let report = cdn_check::run(&what.url, what.viewers)?;
            if what.json {
                println!("{}", report.to_json())
            } else {
                print!("{report}")
            }
            return Ok(if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Cue(what) => {
            return Ok(answered(&cue::send(what.admin, &what.order())?));
        }
        Command::Clip(what) => {
            let (path, body) = what.order();
            return Ok(answered(&asking::ask(what.admin, ("POST", &path), Some(&body))?));
        }
        Command::Assets(what) => {
            let (method, path, body) = what.what.order();
            return Ok(answered(&asking::ask(what.admin, (method, &path), body.as_ref())?));
        }
        Command::Package(what) => package(what)?,
        Command::Worker { film } => return Ok(app::worker(film.as_deref())),
    }
    Ok(ExitCode::SUCCESS)
}

/// Packages a file, with a line that tells how far it is where somebody is there to read it.
fn package(what: Package) -> anyhow::Result<()> {
    let watched = std::io::stderr().is_terminal();
    let failed = format!("can't package {}", what.input.display());
    let order = package::Order::of(what)?;
    let made = package::run(&order, |progress| {
        if watched {
            eprint!("\r{progress}");
        }
    });
    if watched {
        eprintln!();
    }
    println!("{}", made.context(failed)?);
    Ok(())
}

/// Prints what a server has said to an operator.
fn answered(answer: &asking::Answer) -> ExitCode {
    if !answer.text.is_empty() {
        println!("{}", answer.text);
    }
    if answer.done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
