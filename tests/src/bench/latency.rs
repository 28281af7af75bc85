//! Glass to glass: from the clock that the demo's broadcaster draws into its picture to the moment
//! at which Chromium shows it, by the watch page and its stock players.
//!
//! Everything runs on one machine, the browser's software decoder too: what is measured is an upper
//! bound of what a viewer with a video card sees.

use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::{Measure, Options};
use crate::edge::{self, Edge};
use crate::server::Server;
use crate::{Context, Failure, Result, process, workspace};

/// How long each player is watched, the first moments included.
const WATCHED: Duration = Duration::from_secs(180);
/// Left out of the figures: a player joins where it can and then finds its place.
const SETTLES: Duration = Duration::from_secs(15);
/// How long a player is watched at an edge, which is compared with the same player without.
const WATCHED_AT_EDGE: Duration = Duration::from_secs(35);
/// What an edge may add to a player's median.
const MOST_ADDED_MS: f64 = 200.0;
/// What the 95th percentile may lie above the median.
const SPREAD_MS: f64 = 300.0;
/// For the browser to come up and show a first picture.
const COMES_UP: Duration = Duration::from_secs(60);

/// What a failure may say of itself in the table.
const MOST_SAID: usize = 600;

/// A stock player.
#[derive(Clone, Copy, Debug)]
pub(super) struct Player {
    pub(super) name: &'static str,
    /// The page's word for it.
    pub(super) format: &'static str,
    /// What more the page is told.
    pub(super) query: &'static str,
}

const HLS: Player = Player { name: "LL-HLS in hls.js", format: "hls", query: "" };
const DASH: Player = Player { name: "LL-DASH in dash.js", format: "dash", query: "" };

/// A server, and the bars of its players in milliseconds.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) arguments: &'static [&'static str],
    pub(super) rendition: &'static str,
    /// Whether it is watched through the edges too: where that leaves the machine the most room.
    pub(super) edges: bool,
    /// Of each of the two players.
    pub(super) bars: [f64; 2],
}

const CASES: [Case; 2] = [
    Case {
        name: "ladder of three",
        arguments: &["--ladder", "720p,480p,360p"],
        rendition: "720p",
        edges: false,
        bars: [1_700.0, 1_500.0],
    },
    PASSED,
];

/// A source without an encoder.
pub(super) const PASSED: Case = Case {
    name: "pass-through",
    arguments: &["--ladder", "source"],
    rendition: "source",
    edges: true,
    bars: [1_500.0, 1_300.0],
};

/// What `play.mjs` saw.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    /// Waits for data in the middle of playing.
    pub(super) stalls: u64,
    /// How long all of them lasted.
    stall_seconds: f64,
    /// Frames that came too late to be shown.
    dropped_frames: u64,
    /// Frames decoded.
    total_frames: u64,
    /// How long the picture moved.
    played_seconds: f64,
    /// From when the player was set to work to the first picture.
    pub(super) time_to_first_frame_ms: Option<f64>,
    /// Readings of the clock in the picture.
    glass: Glass,
    /// By how many milliseconds the sound comes after the picture, where that could be heard.
    pub(super) av_offset_ms: Option<f64>,
}

impl Seen {
    /// Pictures a second that were shown.
    pub(super) fn rate(&self) -> f64 {
        self.total_frames.saturating_sub(self.dropped_frames) as f64 / self.played_seconds.max(1.0)
    }
}

/// Readings of the clock in the picture, in milliseconds.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Glass {
    /// How many.
    readings: u64,
    /// Median.
    p50_ms: f64,
    /// 95th percentile.
    p95_ms: f64,
    /// The longest.
    max_ms: f64,
    /// Stalls before the first reading.
    stalls_before: u64,
    /// Where the time goes: medians.
    stages_p50_ms: Stages,
}

/// The stages that the page splits it into, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Stages {
    /// The broadcaster, the way here, the server's buffer.
    ingest: f64,
    /// The encoder.
    encode: f64,
    /// Until a part can be fetched.
    part: f64,
    /// Until it is in the browser.
    edge: f64,
    /// What the player keeps.
    buffer: f64,
}

/// Plays a watch page with a player.
pub(super) fn watch(
    page: &str,
    player: Player,
    rendition: &str,
    [watched, settles]: [Duration; 2],
) -> Result<Seen> {
    // A viewer is another machine: its decoder has what the server leaves of this one.
    let mut command = Command::new("nice");
    command.args(["-n", "5", "node"]).arg(workspace::root().join("tests/browser/play.mjs"));
    command.args(["--url", &format!("{page}?rendition={rendition}{}", player.query)]);
    command.args(["--format", player.format, "--seconds", &watched.as_secs().to_string()]);
    command.args(["--settle", &settles.as_secs().to_string(), "--start-timeout", "45"]);
    let output = process::run("play.mjs", &mut command, watched + COMES_UP)?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(Failure::new(format!("play.mjs: {line} {}", output.stderr)));
    }
    serde_json::from_str(line.trim()).context(format!("play.mjs said {line}"))
}

/// Measures players of segments.
///
/// # Errors
/// The server does not start, or a player shows nothing.
pub fn measure(options: &Options) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for case in &CASES {
        let server = Server::demo_with(case.arguments)?;
        server.wait_playable("demo", Duration::from_secs(30))?;
        for (player, bar) in [HLS, DASH].into_iter().zip(case.bars) {
            let (measure, seen) = of_player(&server, case, player, bar, options);
            measures.push(measure);
            if case.edges {
                let direct = seen.map(|seen| seen.glass.p50_ms);
                measures.extend(through_edges(&server, case, player, direct, options)?);
            }
        }
        server.stop()?;
    }
    Ok(measures)
}

/// The row of a player at the server itself, and what was seen.
pub(super) fn of_player(
    server: &Server,
    case: &Case,
    player: Player,
    bar: f64,
    options: &Options,
) -> (Measure, Option<Seen>) {
    let watched = options.watch.unwrap_or(WATCHED);
    let times = [watched, SETTLES.min(watched / 2)];
    let seen = watch(&server.url("/watch/demo"), player, case.rendition, times);
    let name = format!("glass to glass, {}, {}", case.name, player.name);
    let known = seen.as_ref().ok().cloned();
    (row(name, seen, bar, times), known)
}

/// What either edge adds to a player's latency, which was `direct` without.
fn through_edges(
    server: &Server,
    case: &Case,
    player: Player,
    direct: Option<f64>,
    options: &Options,
) -> Result<Vec<Measure>> {
    let watched = options.watch.unwrap_or(WATCHED).min(WATCHED_AT_EDGE);
    let times = [watched, SETTLES.min(watched / 2)];
    let mut measures = Vec::new();
    for kind in [edge::Kind::Nginx, edge::Kind::Varnish] {
        let edge = Edge::start(kind, server.http, &[])?;
        let seen = watch(&edge.url("/watch/demo"), player, case.rendition, times);
        let added = seen.as_ref().ok().zip(direct).map(|(seen, direct)| seen.glass.p50_ms - direct);
        let name = format!("glass to glass, {}, {}, through {kind:?}", case.name, player.name);
        let bar = direct.map_or(0.0, |direct| direct + MOST_ADDED_MS);
        let mut measure = row(name, seen, bar, times);
        if let Some(added) = added {
            measure.ratio = format!("{:+.2} s", added / 1_000.0);
        }
        measures.push(measure);
    }
    Ok(measures)
}

/// A player that shows nothing is a row too: the others are worth knowing.
fn row(name: String, seen: Result<Seen>, bar: f64, [watched, settles]: [Duration; 2]) -> Measure {
    let wanted = |ms: f64| format!("{:.2} s", ms / 1_000.0);
    let bar_words = format!("p50 ≤ {}, p95 ≤ p50 + {}, no stall", wanted(bar), wanted(SPREAD_MS));
    let seen = match seen {
        Ok(seen) => seen,
        Err(failure) => {
            let said = failure.to_string();
            return Measure {
                name,
                ours: "did not play".into(),
                bar: bar_words,
                met: false,
                method: said.chars().take(MOST_SAID).filter(|c| !c.is_control()).collect(),
                ..Measure::without_peer()
            };
        }
    };
    let Glass { readings, p50_ms, p95_ms, max_ms, stalls_before, stages_p50_ms: stages } =
        seen.glass;
    let seconds = wanted;
    Measure {
        name,
        ours: format!("p50 {}, p95 {}, {} stalls", seconds(p50_ms), seconds(p95_ms), seen.stalls),
        bar: bar_words,
        met: p50_ms <= bar && p95_ms <= p50_ms + SPREAD_MS && seen.stalls == 0,
        method: format!(
            "`headwater demo`, 720p30, in headless Chromium with software decoding and less priority on the same \
             machine; the clock in the picture is read four times a second for {} s, the first {} s \
             left out, with {stalls_before} of the stalls, which took {:.1} s in all; {readings} \
             readings, the longest {}. {} of {} frames dropped; the sound is {} the picture. Medians of the stages: ingest \
             {:.0} ms, encode {:.0} ms, part {:.0} ms, edge and network {:.0} ms, player's buffer \
             {:.0} ms.",
            watched.as_secs(),
            settles.as_secs(),
            seen.stall_seconds,
            seconds(max_ms),
            seen.dropped_frames,
            seen.total_frames,
            seen.av_offset_ms
                .map_or_else(|| "not heard beside".into(), |ms| format!("{ms:+.0} ms behind")),
            stages.ingest,
            stages.encode,
            stages.part,
            stages.edge,
            stages.buffer,
        ),
        ..Measure::without_peer()
    }
}
