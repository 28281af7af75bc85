//! `make bench`: the numbers, as ratios against peers measured in the same run.
//!
//! Each measure runs a peer and Headwater on the same work, one after the other, and gives CPU
//! seconds or times. The table is printed and written to `bench/RESULTS.md` with the machine, the
//! date and the method. Nothing here passes or fails: bars stand beside the values, and a missed
//! one is written down.
//!
//! `bench NAME…` takes only these measures. Other rows stay, and so does what is written by hand of long runs. `bench latency --seconds 40`
//! watches every player for that long, and writes nothing: the bars are for the whole time.
#![allow(clippy::print_stdout, reason = "a table on the terminal is what is asked for")]

use std::process::ExitCode;
use std::time::Duration;

use harness::bench::{Measure, Options};
use harness::{Context, Failure, Result, bench};

/// Some measures are of memory.
#[global_allocator]
static ALLOCATOR: bench::window::Counting = bench::window::Counting;

/// A measure's name, what it measures and how long that takes, and how.
type Entry = (&'static str, &'static str, fn(&Options) -> Result<Vec<Measure>>);

const MEASURES: &[Entry] = &[
    ("ladder", "CPU seconds against the ffmpeg command, about 5 minutes", |_| {
        bench::ladder::measure()
    }),
    ("passing", "CPU seconds against nginx with its RTMP module, about 5 minutes", |_| {
        bench::passing::measure()
    }),
    ("delivery", "answers per second of CPU time against nginx, about 3 minutes", |_| {
        bench::delivery::measure()
    }),
    ("parked", "10,000 requests that wait, about 2 minutes", |_| bench::parked::measure()),
    ("starts", "first key frame to playable playlist, about a minute", |_| {
        bench::starts::measure()
    }),
    ("restarts", "a kill with fifty channels of ten minutes, about 11 minutes", |_| {
        bench::restarts::measure()
    }),
    ("transport", "bytes of MPEG-TS per second of a core against ffmpeg, half a minute", |_| {
        bench::transport::measure()
    }),
    ("window", "playlists of a day in virtual time, half a minute", |_| bench::window::measure()),
    ("takeover", "a window of a day taken over from S3, a minute", |_| bench::takeover::measure()),
    ("package", "a file against ffmpeg and shaka-packager, a minute", |_| {
        bench::package::measure()
    }),
    ("srt", "what SRT adds to the time to a segment, about 2 minutes", |_| bench::srt::measure()),
    ("webrtc", "CPU time of viewers by WebRTC, about 2 minutes", |_| bench::webrtc::measure()),
    ("edges", "low-latency viewers through nginx and Varnish, about 3 minutes", |_| {
        bench::edges::measure()
    }),
    ("latency", "glass to glass in a browser, about 15 minutes", bench::latency::measure),
    ("preview", "previews by WebRTC in a browser, about 15 minutes", bench::preview::measure),
];

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
    let (wanted, options) = arguments(std::env::args().skip(1))?;
    let file = &harness::workspace::root().join("bench/RESULTS.md");
    let mut report = bench::Report::read(&std::fs::read_to_string(file).unwrap_or_default());
    for (name, what, measure) in wanted {
        println!("{name}: {what}");
        report.add(measure(&options)?);
    }
    let text = report.to_markdown();
    println!("\n{text}");
    if options.watch.is_some() {
        println!("not written to {}: it was not the whole time", file.display());
        return Ok(());
    }
    std::fs::write(file, text).context("bench/RESULTS.md")
}

/// The measures that are asked for, all without a name, and the options.
fn arguments(given: impl Iterator<Item = String>) -> Result<(Vec<&'static Entry>, Options)> {
    let (mut wanted, mut options) = (Vec::new(), Options::default());
    let mut given = given.peekable();
    while let Some(word) = given.next() {
        if word == "--seconds" {
            let seconds = given.next().and_then(|text| text.parse().ok());
            options.watch = Some(Duration::from_secs(seconds.context("--seconds NUMBER")?));
            continue;
        }
        let found = MEASURES.iter().find(|(name, ..)| *name == word);
        let names: Vec<_> = MEASURES.iter().map(|(name, ..)| *name).collect();
        let unknown = || Failure::new(format!("no measure {word}; there are {}", names.join(", ")));
        wanted.push(found.ok_or_else(unknown)?);
    }
    if wanted.is_empty() {
        wanted = MEASURES.iter().collect();
    }
    Ok((wanted, options))
}
