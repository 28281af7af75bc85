//! How long a server that is killed takes to list something new, with many channels in its journal.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::Measure;
use super::passing::publish;
use crate::client::Client;
use crate::reader::dash::date_ns;
use crate::reader::hls;
use crate::server::{ChannelConfig, Server};
use crate::wait::{Look, until};
use crate::{Context, Failure, Result, clock};

/// Channels that are live at once.
const CHANNELS: usize = 50;
/// Channels that one publisher sends to.
const PUBLISHED_TOGETHER: usize = 10;
/// How much of each is in the journal, and in its window.
const HISTORY: Duration = Duration::from_secs(600);
/// The bar.
const WITHIN: Duration = Duration::from_secs(1);
/// Length of the clip, which is looped.
const CLIP: Duration = Duration::from_secs(20);
/// A playlist that has nothing new after this will not have it any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures it.
///
/// # Errors
/// A part is missing, or a channel does not come back.
pub fn measure() -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir().context("folder for the benchmark")?;
    let clip = folder.path().join("small.flv");
    small(&clip)?;
    let names: Vec<_> = (0..CHANNELS).map(|channel| format!("c{channel}")).collect();
    let channel = |name: &String| ChannelConfig::pass_through(name).with("window = \"10m\"");
    let channels: Vec<_> = names.iter().map(channel).collect();
    let server = Server::start(&channels)?;
    // One that opens fifty connections before it sends anything takes longer for that than any may be silent.
    let publishers = names.chunks(PUBLISHED_TOGETHER).map(|names| {
        publish(&clip, folder.path(), names.len(), |channel| {
            server.publish_url(&names[channel], None)
        })
    });
    let _publishers = publishers.collect::<Result<Vec<_>>>()?;
    let mut lists = Vec::with_capacity(CHANNELS);
    for name in &names {
        server.wait_playable(name, PATIENCE)?;
        lists.push(video(&server, name)?);
    }
    std::thread::sleep(HISTORY);
    let killed = i64::try_from(clock::now_ms()).context("the time")? * 1_000_000;
    server.kill()?;
    let begun = Instant::now();
    let mut taken = std::thread::scope(|scope| {
        let asked = lists.iter().map(|url| scope.spawn(move || something_new(url, killed, begun)));
        let asked: Vec<_> = asked.collect();
        let joined = asked
            .into_iter()
            .map(|asks| asks.join().unwrap_or_else(|_| Err(Failure::new("a viewer panicked"))));
        joined.collect::<Result<Vec<_>>>()
    })?;
    taken.sort_unstable();
    let worst = taken.last().copied().unwrap_or_default();
    let middle = taken.get(CHANNELS / 2).copied().unwrap_or_default();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    Ok(vec![Measure {
        name: format!("server killed → first new part, maximum of {CHANNELS} channels"),
        ours: format!("{} (median {})", seconds(worst), seconds(middle)),
        bar: "≤ 1 s".into(),
        met: worst <= WITHIN,
        method: format!(
            "{CHANNELS} pass-through channels of 640x360 at 300 kb/s, a publisher for ten each, a \
             window of 10 minutes that is full. The server is killed with SIGKILL, once; a viewer \
             of each channel asks for its playlist until that lists a part whose last picture is of \
             later than the kill by EXT-X-PROGRAM-DATE-TIME, which can't be earlier than a part's \
             length after it. From the kill to that answer."
        ),
        ..Measure::without_peer()
    }])
}

/// A clip that fifty channels can take without the machine being busy with it.
fn small(clip: &Path) -> Result {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
        .args(["-t", &CLIP.as_secs().to_string(), "-c:v", "libx264", "-preset", "veryfast"])
        .args(["-pix_fmt", "yuv420p", "-b:v", "300k", "-maxrate", "300k", "-bufsize", "300k"])
        .args(["-g", "50", "-sc_threshold", "0", "-bf", "0"])
        .args(["-c:a", "aac", "-b:a", "64k", "-ac", "2", "-f", "flv"])
        .arg(clip);
    let output = crate::process::run("ffmpeg", &mut command, Duration::from_secs(120))?;
    if output.status.success() { Ok(()) } else { Err(Failure::new(output.stderr)) }
}

/// The playlist of a channel's pictures.
fn video(server: &Server, name: &str) -> Result<String> {
    let lists = hls::fetch(&server.client, &server.url(&format!("/live/{name}/index.m3u8")))?;
    let video = lists.into_iter().find(|(rendition, _)| !rendition.audio);
    Ok(video.context("a playlist of pictures")?.0.url)
}

/// How long after `begun` a playlist lists something of later than `killed`.
fn something_new(url: &str, killed: i64, begun: Instant) -> Result<Duration> {
    let client = Client::afresh();
    until("a part of later than the kill", PATIENCE, || {
        // Connections that the old process had taken are reset.
        let Ok(text) = client.text(url) else { return Ok(Look::at(None, "no answer yet")) };
        let ends = listed_until(&text)?;
        let new = (ends > killed).then(|| begun.elapsed());
        Ok(Look::at(
            new,
            format!("what is listed ends {} ms before the kill", (killed - ends) / 1_000_000),
        ))
    })
}

/// When the last part that a playlist lists ends, in nanoseconds since the Unix epoch.
fn listed_until(text: &str) -> Result<i64> {
    let mut ends = None;
    for line in text.lines() {
        if let Some(date) = line.strip_prefix("#EXT-X-PROGRAM-DATE-TIME:") {
            ends = Some(date_ns(date).context(format!("date {date}"))?);
        } else if let Some(part) = line.strip_prefix("#EXT-X-PART:DURATION=") {
            let seconds = part.split(',').next().and_then(|text| text.parse::<f64>().ok());
            let seconds = seconds.context("duration of a part")?;
            ends = ends.map(|end| end + (seconds * 1e9) as i64);
        }
    }
    ends.context("a date in the playlist")
}
