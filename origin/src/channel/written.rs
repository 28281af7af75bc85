//! Playlists and the manifest of a channel in S3, for players that are served straight from there.
//!
//! ```text
//! mirror (S3) ─► timeline ─► snapshot ─► the renderers, without what a bucket can't do ─► S3
//! ```
//! What is written names what the index names, which is there: written behind it, each text lists what
//! can be fetched. A bucket holds no requests and has no parts, so HLS is plain and DASH names each
//! segment. Where S3 is away the texts wait for it like everything else, and only the newest are written.
//!
//! It is no part of the origin's own answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use packager::media::Name;
use packager::timeline::{Format, Snapshot, State, Timeline};
use packager::{dash, hls};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::s3::{FarError, Mirror, Mirrored, placed};
use crate::store::{ChannelStore, TextKind};

/// How often it is looked whether the index has grown.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What ends the playlist of a channel that has ended.
const END: &str = "#EXT-X-ENDLIST\n";

/// What is written, and where.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) name: Name,
    pub(crate) store: Arc<ChannelStore>,
    pub(crate) mirror: Mirror,
    pub(crate) hls: hls::Options,
    pub(crate) dash: dash::Options,
}

/// Writes until cancelled.
pub(crate) async fn run(context: Context, cancelled: CancellationToken) {
    let Context { name, store, mirror, hls, dash } = context;
    // Nobody is there to make what is made when it is asked for.
    let hls = hls::Options { stills: false, ..hls };
    let dash = dash::Options { key_frames: false, stills: false, ..dash };
    let mut mirror = mirror.naming();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    let mut written = HashMap::new();
    while cancelled.run_until_cancelled(tick.tick()).await.is_some() {
        let Some(looked) = cancelled.run_until_cancelled(mirror.look()).await else { break };
        // Else nothing is new, or nothing there; what is wrong the way into S3 tells.
        let Ok(Some(mirrored)) = looked else { continue };
        let (timeline, snapshot) = restored(mirrored, before.take());
        before = Some(timeline);
        for (path, text, kind) in texts(&snapshot, &hls, &dash) {
            if written.get(&path) == Some(&text) {
                continue;
            }
            let write = store.write_text(&path, text.clone(), kind);
            match cancelled.run_until_cancelled(write).await {
                Some(Ok(())) => drop(written.insert(path, text)),
                Some(Err(FarError::Missing)) | None => return,
                Some(Err(error)) => warn!(channel = %name, path, %error, "S3 does not take a text"),
            }
        }
    }
}

/// What the index tells, as something to render.
fn restored(mirrored: Mirrored, before: Option<Timeline>) -> (Timeline, Arc<Snapshot>) {
    let Mirrored { format, stretches, tracks, cues, ended } = mirrored;
    let (grid, window, publish_delay) = (format.grid, format.window, format.publish_delay);
    let format = Arc::new(Format { grid, window, publish_delay });
    let mut timeline = Timeline::restore(format, stretches, tracks).mirrored(before);
    timeline.trim();
    timeline.tell_cues(cues);
    if ended {
        timeline.end();
    }
    let snapshot = timeline.snapshot();
    (timeline, snapshot)
}

/// Every text, by its path below the channel: media playlists before the one that names them.
fn texts(
    snapshot: &Snapshot,
    hls: &hls::Options,
    dash: &dash::Options,
) -> Vec<(String, String, TextKind)> {
    let runs: Vec<_> = snapshot.listed_runs().into_iter().map(|listed| listed.run).collect();
    let at_home = |text: &str| placed(text, runs.iter().map(|run| &run.id));
    // What has ended has no low latency: that without its last line is a plain live playlist.
    let plain = Snapshot { state: State::Ended, ..snapshot.clone() };
    let goes_on = snapshot.state == State::Live;
    let open = |text: String| match text.strip_suffix(END) {
        Some(open) if goes_on => open.to_owned(),
        _ => text,
    };
    let mut texts = Vec::new();
    for (index, rendition) in snapshot.renditions.iter().enumerate() {
        let list = hls::media(&plain, index, hls::Skip::Nothing, hls);
        texts.push((format!("{}/index.m3u8", rendition.name), list, TextKind::Playlist));
        if rendition.video().is_some() {
            let keys = hls::iframes(&plain, index, hls::Skip::Nothing, hls);
            texts.push((format!("{}/iframes.m3u8", rendition.name), keys, TextKind::Playlist));
        }
    }
    for (_, text, _) in &mut texts {
        *text = at_home(&open(std::mem::take(text)));
    }
    let manifest = without_clock(dash::manifest(snapshot, dash), dash.public_url.is_some());
    texts.push(("manifest.mpd".to_owned(), at_home(&manifest), TextKind::Manifest));
    let all = hls::multivariant(snapshot, hls);
    texts.push(("index.m3u8".to_owned(), all, TextKind::Multivariant));
    texts
}

/// A manifest that asks no clock where none can be asked: a bucket has no time to tell, and players go
/// by their own.
fn without_clock(manifest: String, there_is_one: bool) -> String {
    let found = manifest.find("<UTCTiming").filter(|_| !there_is_one);
    let Some(start) = found else { return manifest };
    let Some(end) = manifest.get(start..).and_then(|rest| rest.find("/>")) else {
        return manifest;
    };
    let (before, rest) = manifest.split_at(start);
    let after = rest.get(end.saturating_add(2)..).unwrap_or_default();
    format!("{}{}", before.trim_end_matches([' ', '\n']), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_left_out_where_there_is_none() {
        let manifest = "<MPD>\n  <Period/>\n  <UTCTiming value=\"/time\"/>\n</MPD>";
        assert_eq!(without_clock(manifest.into(), false), "<MPD>\n  <Period/>\n</MPD>");
        assert_eq!(without_clock(manifest.into(), true), manifest);
    }
}
