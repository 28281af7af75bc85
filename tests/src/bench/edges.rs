//! What an edge costs low latency: one viewer through nginx and through Varnish beside one at the
//! origin, and two hundred through Varnish.
//!
//! Viewers of [`crowd`]: playlists that are waited for, and the parts they name. The
//! same parts are timed at the same moment on all ways, so that the origin's own time is not in the
//! difference.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Measure;
use crate::crowd::{self, Seen};
use crate::edge::{Edge, Kind};
use crate::publisher::Source;
use crate::server::{ChannelConfig, Server};
use crate::{Context, Failure, Result};

/// Parts that each viewer watches.
const PARTS: usize = 60;
/// Viewers of the crowd.
const CROWD: usize = 200;
/// What an edge may add for one viewer.
const MOST_ADDED: Duration = Duration::from_millis(200);
/// From the first viewer of a crowd that has a part to the last.
const MOST_SPREAD: Duration = Duration::from_millis(100);
/// The playlist that is watched.
const PLAYLIST: &str = "/live/a/96p/index.m3u8";

/// Measures it.
///
/// # Errors
/// A part is missing or does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let channel = ChannelConfig::tiny("a").with_ladder(&["96p"]);
    let server = Server::start(&[channel])?;
    let source = Source::tiny(packager::time::FrameRate::new(30, 1));
    let _publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(30))?;
    server.wait_more("a", 2)?;
    let nginx = Edge::start(Kind::Nginx, server.http, &[])?;
    let varnish = Edge::start(Kind::Varnish, server.http, &[])?;

    let ways = [server.http, nginx.address, varnish.address];
    let watching =
        ways.map(|way| std::thread::spawn(move || crowd::watch(way, PLAYLIST, 1, PARTS)));
    let mut seen = Vec::new();
    for watched in watching {
        seen.push(watched.join().map_err(|_| Failure::new("a viewer panicked"))??);
    }
    let [direct, nginx_seen, varnish_seen] = <[Seen; 3]>::try_from(seen).ok().context("three")?;
    let mut measures =
        vec![one("nginx", &direct, &nginx_seen)?, one("Varnish", &direct, &varnish_seen)?];
    let crowd = crowd::watch(varnish.address, PLAYLIST, CROWD, PARTS / 2)?;
    measures.push(many("Varnish", &crowd, true)?);
    let crowd = crowd::watch(nginx.address, PLAYLIST, CROWD, PARTS / 2)?;
    measures.push(many("nginx", &crowd, false)?);
    Ok(measures)
}

/// When one viewer had each part.
fn times(seen: &Seen) -> BTreeMap<&str, Instant> {
    let mut times = BTreeMap::new();
    for (path, had) in &seen.parts {
        times.extend(had.at.first().map(|at| (path.as_str(), *at)));
    }
    times
}

/// What an edge adds for one viewer.
fn one(edge: &str, direct: &Seen, through: &Seen) -> Result<Measure> {
    let (direct, through) = (times(direct), times(through));
    let later =
        |(path, at): (&&str, &Instant)| Some(at.saturating_duration_since(*direct.get(path)?));
    let mut added: Vec<Duration> = through.iter().filter_map(later).collect();
    added.sort();
    let median = *added.get(added.len() / 2).context("no part was seen on both ways")?;
    let most = *added.last().context("no part was seen on both ways")?;
    Ok(Measure {
        name: format!("one low-latency viewer through {edge}: what it adds to a part"),
        ours: format!("p50 {} ms, most {} ms", median.as_millis(), most.as_millis()),
        peer: "a viewer at the origin".into(),
        ratio: super::NO_BAR.into(),
        bar: format!("≤ {} ms", MOST_ADDED.as_millis()),
        met: most <= MOST_ADDED,
        method: format!(
            "{} parts of a channel at 96p; a viewer at the origin and one through {edge} wait for the \
             same playlists and fetch the parts they name; from when the one has a part to when the \
             other does.",
            added.len()
        ),
    })
}

/// How a crowd shares parts.
fn many(edge: &str, seen: &Seen, judged: bool) -> Result<Measure> {
    let parts = || seen.parts.values().filter(|had| had.at.len() == CROWD);
    let mut spreads: Vec<Duration> = parts().map(crowd::Had::spread).collect();
    spreads.sort();
    let median = *spreads.get(spreads.len() / 2).context("no part was seen by all")?;
    let most = *spreads.last().context("no part was seen by all")?;
    let urls = seen.playlists.len();
    let answers: usize = seen.playlists.values().map(|had| had.ids.len()).sum();
    Ok(Measure {
        name: format!("{CROWD} low-latency viewers through {edge}: first to last that has a part"),
        ours: format!("p50 {} ms, most {} ms", median.as_millis(), most.as_millis()),
        peer: "none".into(),
        ratio: format!("{answers} requests at the origin for {urls} playlists"),
        bar: if judged {
            format!("≤ {} ms", MOST_SPREAD.as_millis())
        } else {
            super::NO_BAR.into()
        },
        met: most <= MOST_SPREAD && answers == urls,
        method: format!(
            "{} parts that all of {CROWD} viewers had, who run in one thread of one process on the \
             machine of edge, origin and encoder; each waits for every playlist on one connection and \
             fetches its part on another.",
            spreads.len()
        ),
    })
}
