//! Stock players in a real browser: viewers who watch a channel through a fault, or join within it.
//!
//! A [`Stage`] is one Chromium with any number of [`Player`]s: hls.js, dash.js and shaka-player with
//! the configuration that they come with. Each is watched for what a viewer would mind: a picture
//! that stands, a jump, a source that is loaded anew, an error. The scripts are
//! `tests/browser/{stage.mjs,attend.js}`.
//!
//! Not here: the watch page itself, which has a script of its own (`play.mjs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{Process, Stdout};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, workspace};

/// How long a command may take: the first waits for Chromium, on a machine that is shared.
const OBEYED_WITHIN: Duration = Duration::from_secs(60);

/// A player that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// hls.js, which plays HLS.
    HlsJs,
    /// hls.js with its low latency mode off, as players are that know nothing of it.
    HlsJsWithoutLowLatency,
    /// dash.js, which plays DASH.
    DashJs,
    /// shaka-player on DASH.
    ShakaDash,
    /// shaka-player on DASH, configured for low latency.
    ShakaDashLow,
    /// shaka-player on DASH that does not read which latency the service is meant for: it would be led
    /// back to that while it searches.
    ShakaSearch,
    /// shaka-player on HLS.
    ShakaHls,
}

impl Library {
    /// All of them as they come.
    pub const ALL: [Self; 4] = [Self::HlsJs, Self::DashJs, Self::ShakaDash, Self::ShakaHls];

    /// The script's name for it.
    fn name(self) -> &'static str {
        match self {
            Self::HlsJs => "hls",
            Self::HlsJsWithoutLowLatency => "plain-hls",
            Self::DashJs => "dash",
            Self::ShakaDash | Self::ShakaHls => "shaka",
            Self::ShakaDashLow => "shaka-low",
            Self::ShakaSearch => "shaka-search",
        }
    }

    /// What it is given to play.
    fn manifest(self) -> &'static str {
        match self {
            Self::HlsJs | Self::HlsJsWithoutLowLatency | Self::ShakaHls => "index.m3u8",
            Self::DashJs | Self::ShakaDash | Self::ShakaDashLow | Self::ShakaSearch => {
                "manifest.mpd"
            }
        }
    }
}

/// One browser. Dropping it, and the last of its players, closes it.
#[derive(Clone, Debug)]
pub struct Stage {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug)]
struct Script {
    commands: ChildStdin,
    answers: Receiver<String>,
    process: Process,
    _dir: TempDir,
}

impl Stage {
    /// Opens a browser.
    ///
    /// # Errors
    /// If the script can't be started.
    pub fn open() -> Result<Self> {
        let dir = tempfile::tempdir().context("temporary folder")?;
        let mut command = Command::new("node");
        command.arg(workspace::root().join("tests/browser/stage.mjs"));
        let log = dir.path().join("log");
        let mut process = Process::spawn("stage.mjs", &mut command, Stdout::Piped, &log)?;
        let (commands, lines) = (process.stdin()?, process.stdout()?);
        // One answer per command, so that this never fills.
        let (tell, answers) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let lines = BufReader::new(lines).lines().map_while(std::result::Result::ok);
            // The thread ends with the script, or with the stage.
            let _ = lines.map(|line| tell.send(line)).find(std::result::Result::is_err);
        });
        let script = Script { commands, answers, process, _dir: dir };
        Ok(Self { script: Arc::new(Mutex::new(script)) })
    }

    /// Has the stage offer assets, each a manifest and how many seconds it lasts, to be played in place of
    /// breaks; gives the address of their X-ASSET-LIST.
    ///
    /// # Errors
    /// If the script is gone.
    pub fn offer(&self, assets: &[(String, f64)]) -> Result<String> {
        let list = assets.iter().map(|(uri, seconds)| json!({ "URI": uri, "DURATION": seconds }));
        let address = self.ask(&json!({ "offer": list.collect::<Vec<_>>() }))?;
        address.as_str().map(str::to_owned).context("an address")
    }

    /// The queries with which players have asked for what is offered, in order.
    ///
    /// # Errors
    /// If the script is gone.
    pub fn asked(&self) -> Result<Vec<String>> {
        serde_json::from_value(self.ask(&json!({ "asked": true }))?).context("queries")
    }

    fn ask(&self, command: &Value) -> Result<Value> {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = writeln!(script.commands, "{command}");
        let answered = sent.is_ok().then(|| script.answers.recv_timeout(OBEYED_WITHIN).ok());
        let Some(line) = answered.flatten() else {
            let said = script.process.log_tail(10);
            return Err(Failure::new(format!("no answer to {command}; stage.mjs said:\n{said}")));
        };
        let answer: Value = serde_json::from_str(&line).context(format!("stage.mjs: {line}"))?;
        match answer.get("ok") {
            Some(value) => Ok(value.clone()),
            None => Err(Failure::new(format!("{command}: {answer}"))),
        }
    }
}

/// A viewer.
#[derive(Clone, Debug)]
pub struct Player {
    stage: Stage,
    library: Library,
    number: u64,
}

impl Player {
    /// Starts to play a channel of the server at `origin`, `http://host:port`.
    ///
    /// # Errors
    /// If the browser does not come up.
    pub fn start(stage: &Stage, library: Library, origin: &str, channel: &str) -> Result<Self> {
        Self::open(stage, library, &format!("{origin}/live/{channel}/"))
    }

    /// Starts to play what lies in the folder at `folder`, with a slash at its end.
    ///
    /// # Errors
    /// If the browser does not come up.
    pub fn open(stage: &Stage, library: Library, folder: &str) -> Result<Self> {
        Self::play(stage, library, &format!("{folder}{}", library.manifest()))
    }

    /// The same from an instant on, in seconds since the Unix epoch. An MPD is given it as its address's
    /// anchor; an HLS playlist says itself where it begins.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_at(stage: &Stage, library: Library, folder: &str, from: u64) -> Result<Self> {
        let manifest = library.manifest();
        let anchor =
            if manifest.ends_with(".mpd") { format!("#t=posix:{from}") } else { String::new() };
        Self::play(stage, library, &format!("{folder}{manifest}{anchor}"))
    }

    fn play(stage: &Stage, library: Library, url: &str) -> Result<Self> {
        let number = stage.ask(&json!({ "play": library.name(), "url": url }))?;
        let number = number.as_u64().context("number of a player")?;
        Ok(Self { stage: stage.clone(), library, number })
    }

    /// Which it is.
    pub fn library(&self) -> Library {
        self.library
    }

    /// What it has seen since it was started.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn report(&self) -> Result<Report> {
        let report = self.stage.ask(&json!({ "report": self.number }))?;
        serde_json::from_value(report).context("report of a player")
    }

    /// Has it search the window from its beginning at `rate`, or play on at rate 1. shaka-player can.
    ///
    /// # Errors
    /// If it can't, or the browser is gone.
    pub fn search(&self, rate: f64) -> Result {
        self.stage.ask(&json!({ "search": self.number, "rate": rate }))?;
        Ok(())
    }

    /// Has it go back by so much in what it plays. hls.js and dash.js can.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn go_back(&self, by: Duration) -> Result {
        self.stage.ask(&json!({ "seek": self.number, "back": by.as_secs_f64() }))?;
        Ok(())
    }

    /// The still of so long ago, as its library finds it; `None` as long as it finds none. dash.js and
    /// shaka-player on DASH can.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn still(&self, back: Duration) -> Result<Option<Still>> {
        let back = back.as_secs_f64();
        let still = self.stage.ask(&json!({ "still": self.number, "back": back }))?;
        serde_json::from_value(still).context("a still")
    }

    /// Has it go to where viewers are who have just come. hls.js and dash.js can.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn go_live(&self) -> Result {
        self.stage.ask(&json!({ "seek": self.number, "back": null }))?;
        Ok(())
    }

    /// Waits until it has played everything.
    ///
    /// # Errors
    /// If it has not within `bound`, with its report.
    pub fn wait_ended(&self, bound: Duration) -> Result<Report> {
        until(&format!("the end in {:?}", self.library), bound, || {
            let report = self.report()?;
            let over = report.ended || !report.fatal.is_empty();
            Ok(Look::at(over.then(|| report.clone()), format!("{report:?}")))
        })
    }

    /// Waits until its picture moves; gives how long that took from its start.
    ///
    /// # Errors
    /// If it does not within `bound`, with its report.
    pub fn wait_started(&self, bound: Duration) -> Result<Duration> {
        until(&format!("picture in {:?}", self.library), bound, || {
            let report = self.report()?;
            let took = report.started_after_ms.map(Duration::from_millis);
            Ok(Look::at(took, format!("{report:?}")))
        })
    }

    /// How much it has played since its start.
    ///
    /// # Errors
    /// If the browser is gone.
    pub fn played(&self) -> Result<Duration> {
        Ok(Duration::from_secs_f64(self.report()?.played_seconds))
    }

    /// Waits until it has played this much since its start.
    ///
    /// # Errors
    /// If it has not within `bound`, with its report.
    pub fn wait_played(&self, total: Duration, bound: Duration) -> Result {
        until(&format!("{total:?} of play in {:?}", self.library), bound, || {
            let report = self.report()?;
            let is_there = report.played_seconds >= total.as_secs_f64();
            Ok(Look::at(is_there.then_some(()), format!("{report:?}")))
        })
    }

    /// Fails unless a viewer had nothing to mind since the start: no stall, no jump, no reload, no
    /// end, no fatal error, and a picture.
    ///
    /// # Errors
    /// With the report.
    pub fn smooth(&self) -> Result<Report> {
        let report = self.report()?;
        if report.is_smooth() {
            return Ok(report);
        }
        Err(Failure::new(format!("{:?} does not play smoothly: {report:#?}", self.library)))
    }
}

/// What a player has seen since it was started. Moments are in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// How long it took until the picture moved.
    pub started_after_ms: Option<u64>,
    /// When the picture stood though it should have moved; the last may still last.
    pub stalls: Vec<Stall>,
    /// Seeks of the player's own after its first second.
    pub jumps: Vec<Jump>,
    /// Times that the element was given another source.
    pub reloads: u64,
    /// Whether the presentation was said to be over.
    pub ended: bool,
    /// Errors that the player goes on after.
    pub errors: Vec<String>,
    /// Errors after which it is of no use.
    pub fatal: Vec<String>,
    /// Cues that it has raised, in order.
    pub cues: Vec<Raised>,
    /// What it has done about assets in place of breaks. hls.js is asked for them.
    pub ads: Vec<Ad>,
    /// Media time that was played.
    pub played_seconds: f64,
    /// How old the picture has been by the media's own date, from when it has played for five seconds.
    pub latency_ms: Option<Latency>,
    /// Where it is in the media.
    pub time: f64,
    /// How old the picture is by the media's own date; none before the first.
    pub behind_ms: Option<f64>,
    /// What it has in store.
    pub buffer_seconds: f64,
    /// Decoded pictures.
    pub frames: u64,
    /// Playlist requests of all players on the stage that were for something to come.
    pub blocking: u64,
    /// Requests of all players on the stage for parts.
    pub parts: u64,
    /// Requests of all players on the stage for key frames alone.
    pub key_frames: u64,
    /// Width of the picture.
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
}

/// A still, as a player tells its page.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Still {
    /// Where it is.
    pub url: String,
    /// Its width in pixels.
    pub width: f64,
    /// Its height in pixels.
    pub height: f64,
}

/// A cue that a player has raised.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Raised {
    /// Its name: the ID of a date range, the id of an event.
    pub id: String,
    /// When it is, by the player's word, in milliseconds since the epoch.
    pub date_ms: f64,
    /// Date of what was on the screen then.
    pub shown_ms: f64,
}

/// Something that a player has done about what it plays in place of a break.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Ad {
    /// `begun`, `asset begun`, `asset over`, `over`; or `asset failed`.
    pub what: String,
    /// The ID of the date range.
    pub id: String,
    /// When.
    pub at_ms: u64,
    /// Date of what was on the screen.
    pub date_ms: Option<f64>,
}

/// Percentiles of a latency, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// 95th percentile.
    pub p95: u64,
}

/// A picture that stood.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Stall {
    /// Since when.
    pub at_ms: u64,
    /// For how long.
    pub lasted_ms: u64,
    /// At which media time.
    pub time: f64,
    /// How much there was to be played from there on, without a gap.
    pub stored_seconds: f64,
    /// How old the picture was that stood, where the player knows.
    pub behind_ms: Option<f64>,
}

impl Stall {
    /// Whether it was short, and the browser had all that it takes to go on, or could have had it for
    /// long: on a machine that others use it has no time to decode what it has, or to ask for what is
    /// there. No server can do anything about that, and whether answers are late the witness judges.
    pub fn is_the_browsers(&self) -> bool {
        const SHORT_MS: u64 = 1_500;
        const PLENTY_SECONDS: f64 = 1.0;
        // Three segments and more of the tests' channels: the next was whole four seconds ago.
        const FAR_BEHIND_MS: f64 = 6_000.0;
        let stored = self.stored_seconds >= PLENTY_SECONDS;
        let listed = self.behind_ms.is_some_and(|behind| behind >= FAR_BEHIND_MS);
        self.lasted_ms <= SHORT_MS && (stored || listed)
    }
}

/// A seek of the player's own.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Jump {
    /// When.
    pub at_ms: u64,
    /// Where the picture was last, a tenth of a second before or less; none before the first.
    pub from: Option<f64>,
    /// To which media time.
    pub to: f64,
    /// What was in store, as pairs of times: a hole shows.
    pub stored: Vec<(f64, f64)>,
}

impl Report {
    /// Whether a viewer had nothing to mind.
    pub fn is_smooth(&self) -> bool {
        self.started_after_ms.is_some()
            && self.stalls.iter().all(Stall::is_the_browsers)
            && self.jumps.is_empty()
            && self.reloads == 0
            && !self.ended
            && self.fatal.is_empty()
    }
}
