//! What the API says of a channel: its public status, and what is for operators only. No key.

use std::collections::BTreeMap;
use std::time::Instant;

use packager::time::{Rounding, Timescale};
use serde::Serialize;

use crate::channel::{Event, Link, Status};
use crate::store::UpstreamStats;
use crate::viewers::Audience;
use crate::webrtc::Seen;

use super::Context;

/// A channel.
#[derive(Debug, Serialize)]
pub(super) struct Channel {
    name: String,
    #[serde(flatten)]
    status: Status,
    /// Address and port of the publisher.
    peer: Option<String>,
    /// Figures of the connection that the source comes over, where it is SRT's.
    link: Option<Link>,
    /// Publishers that were turned away since the server started, by a word for the reason.
    turned_away: BTreeMap<&'static str, u64>,
    grid: Option<Grid>,
    /// How the way into S3 stands, where there is one.
    s3: Option<UpstreamStats>,
    /// Those who watch and report.
    audience: Audience,
    /// Those who watch by WebRTC, oldest first.
    previews: Vec<Seen>,
    /// What has happened lately, oldest first.
    events: Vec<Event>,
}

/// What became of the wishes for segments and parts, once the channel has run.
#[derive(Debug, Serialize)]
struct Grid {
    segment_ms: u64,
    part_ms: f64,
    target_duration_s: u32,
    part_target_ms: f64,
    window_ms: u64,
    whole_audio_frames: bool,
}

impl Channel {
    pub(super) fn of(channel: &crate::channel::Channel, context: &Context) -> Self {
        let previews = context.webrtc.as_ref().map(|webrtc| webrtc.seen(&channel.name));
        let audience = context.viewers.audience(&channel.name, Instant::now());
        let status = Status::clone(&channel.status.borrow());
        let peer = status.source.as_ref().map(|source| source.peer.clone());
        let link = status.source.as_ref().and_then(|source| source.link);
        let grid = channel.snapshot.borrow().as_ref().map(|snapshot| {
            let grid = &snapshot.format.grid;
            let micros = |span: packager::time::Span| {
                span.ticks_in(MICROS, Rounding::Nearest) as f64 / 1_000.0
            };
            Grid {
                segment_ms: grid.segment().ticks_in(Timescale::MILLIS, Rounding::Nearest),
                part_ms: micros(grid.part()),
                target_duration_s: grid.target_duration(),
                part_target_ms: micros(grid.part_target()),
                window_ms: snapshot.format.window.ticks_in(Timescale::MILLIS, Rounding::Nearest),
                whole_audio_frames: grid.whole_audio_frames(),
            }
        });
        let (events, turned_away) = (status.events.clone(), status.turned_away.clone());
        let (name, s3) = (channel.name.to_string(), status.s3.clone());
        Self {
            name,
            status,
            peer,
            link,
            turned_away,
            grid,
            s3,
            audience,
            previews: previews.unwrap_or_default(),
            events,
        }
    }
}

const MICROS: Timescale = match Timescale::new(1_000_000) {
    Some(scale) => scale,
    None => Timescale::NANOS,
};
