//! Benchmarks against peers, and the page they are written to.
//!
//! [`cpu`] reads what the kernel has counted for a process and its threads; nothing is sampled.

use std::fmt::Write as _;
use std::time::Duration;

use crate::clock;

pub mod cpu;
pub mod delivery;
pub mod edges;
pub mod ladder;
pub mod latency;
pub mod package;
pub mod parked;
pub mod passing;
pub mod preview;
pub mod restarts;
pub mod srt;
pub mod starts;
pub mod takeover;
pub mod transport;
pub mod webrtc;
pub mod window;

/// The bar of a measure that is told for its own sake, and the ratio of one without a peer.
pub const NO_BAR: &str = "–";

/// What the command line says of how to measure.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How long a player is watched, instead of the time that the bars are for.
    pub watch: Option<Duration>,
}

/// One measure: a row of the table and how it was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// Our value with its unit.
    pub ours: String,
    /// The peer's value with its unit, and who it is.
    pub peer: String,
    /// Ours over the peer's, or the value that is judged.
    pub ratio: String,
    /// What it should be.
    pub bar: String,
    /// Whether the bar is met.
    pub met: bool,
    /// How it was taken, and what is to be known of it.
    pub method: String,
}

impl Measure {
    /// What a measure without a peer begins with.
    fn without_peer() -> Self {
        Self {
            name: String::new(),
            ours: String::new(),
            peer: "none".into(),
            ratio: NO_BAR.into(),
            bar: NO_BAR.into(),
            met: false,
            method: String::new(),
        }
    }
}

/// The heading of what is written by hand: what long runs showed, which no measure takes.
const BY_HAND: &str = "\n## Seen in long runs\n";

/// The measures of one run.
#[derive(Debug, Default)]
pub struct Report {
    measures: Vec<Measure>,
    /// What is written by hand, with its heading; kept as it is.
    by_hand: String,
}

impl Report {
    /// A report without measures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads back a page that was written before: its rows are kept until they are measured again.
    pub fn read(page: &str) -> Self {
        let (page, by_hand) = page.split_at(page.find(BY_HAND).unwrap_or(page.len()));
        let rows = page.lines().filter(|line| line.starts_with("| ")).skip(1);
        let measures = rows.filter_map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [name, ours, peer, ratio, bar, met] = cells.try_into().ok()?;
            let head = format!("**{name}.** ");
            let method = page.lines().find_map(|line| line.strip_prefix(&head))?;
            Some(Measure {
                name: name.into(),
                ours: ours.into(),
                peer: peer.into(),
                ratio: ratio.into(),
                bar: bar.into(),
                met: met == "met",
                method: method.into(),
            })
        });
        Self { measures: measures.collect(), by_hand: by_hand.into() }
    }

    /// Adds measures; one of the same name takes the place of the one before.
    pub fn add(&mut self, measures: Vec<Measure>) {
        for measure in measures {
            match self.measures.iter_mut().find(|known| known.name == measure.name) {
                Some(known) => *known = measure,
                None => self.measures.push(measure),
            }
        }
    }

    /// The page.
    pub fn to_markdown(&self) -> String {
        let mut text = String::from("# Benchmark results\n\nWritten by `make bench`; ");
        // Writing to a String can't fail.
        let _ = writeln!(text, "each ratio was measured in one run, ours beside the peer.\n");
        let _ = writeln!(text, "* Date: {}", date());
        let _ = writeln!(text, "* Machine: {}\n", machine());
        text.push_str(
            "| measure | Headwater | peer | ratio | bar | |\n|---|---|---|---|---|---|\n",
        );
        for m in &self.measures {
            let met = match (m.bar.as_str(), m.met) {
                (NO_BAR, _) => "",
                (_, true) => "met",
                (_, false) => "**missed**",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {met} |",
                m.name, m.ours, m.peer, m.ratio, m.bar
            );
        }
        text.push_str("\n## Method\n");
        for m in &self.measures {
            let _ = writeln!(text, "\n**{}.** {}", m.name, m.method);
        }
        text.push_str(&self.by_hand);
        text
    }
}

/// Today in UTC.
fn date() -> String {
    let days = clock::now_ms() / 86_400_000;
    // Howard Hinnant's civil calendar from days since 1970-01-01, for dates after it.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// Processor, cores, memory and kernel of this machine.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?.to_owned();
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    format!(
        "{processor}, {cores} cores, {memory}, Linux {}, load before {}",
        kernel.trim(),
        load.split_whitespace().next().unwrap_or("unknown")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &str, ours: &str) -> Measure {
        Measure {
            name: name.into(),
            ours: ours.into(),
            peer: "none".into(),
            ratio: "–".into(),
            bar: "≤ 1 s".into(),
            met: false,
            method: "With a clock. Twice.".into(),
        }
    }

    #[test]
    fn a_page_is_read_back_and_only_what_was_measured_anew_changes() {
        let mut report = Report::new();
        report.add(vec![measure("one", "1 s"), measure("two, ladder", "2 s")]);
        let mut again = Report::read(&report.to_markdown());
        assert_eq!(again.measures, report.measures);
        again.add(vec![measure("one", "0.5 s"), measure("three", "3 s")]);
        let values: Vec<_> = again.measures.iter().map(|m| m.ours.as_str()).collect();
        assert_eq!(values, ["0.5 s", "2 s", "3 s"]);
        assert_eq!(Report::read("nothing").measures, []);
        let by_hand = format!("{BY_HAND}\n| four | 4 s |\n");
        let page = format!("{}{by_hand}", report.to_markdown());
        let again = Report::read(&page);
        assert_eq!((&again.measures, &again.to_markdown()), (&report.measures, &page));
    }
}
