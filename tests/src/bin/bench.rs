//! `make bench`: the numbers, as ratios against peers measured in the same run.
//!
//! Each measure runs a peer and Headwater on the same work, one after the other, and gives CPU
//! seconds or times. The table is printed and written to `bench/RESULTS.md` with the machine, the
//! date and the method. Nothing here passes or fails: bars stand beside the values, and a missed
//! one is written down.
#![allow(clippy::print_stdout, reason = "a table on the terminal is what is asked for")]

use std::path::Path;
use std::process::ExitCode;

use harness::{Context, Result, bench};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result {
    let mut report = bench::Report::new();
    println!("ladder: CPU seconds against the ffmpeg command, about 5 minutes");
    report.add(bench::ladder::measure()?);
    println!("pass-through: CPU seconds against nginx with its RTMP module, about 5 minutes");
    report.add(bench::passing::measure()?);
    println!("starts: first key frame to playable playlist, about a minute");
    report.add(bench::starts::measure()?);
    let text = report.to_markdown();
    println!("\n{text}");
    let file = Path::new("bench/RESULTS.md");
    std::fs::create_dir_all("bench").context("folder bench")?;
    std::fs::write(file, text).context("bench/RESULTS.md")
}
