//! Previews by WebRTC in Chromium, by the watch page: how far behind they are, how many pictures are shown
//! and how soon the first, on a good way and on a lossy one.

use std::net::UdpSocket;
use std::time::Duration;

use packager::time::FrameRate;

use super::latency::{self, Case, PASSED, Player, Seen};
use super::{Measure, Options};
use crate::proxy::udp::{Faults, UdpProxy};
use crate::proxy::{Loss, Timing, Way};
use crate::publisher::Source;
use crate::server::{ChannelConfig, Server};
use crate::{Context, Result};

const PREVIEW: Player = Player { name: "WHEP", format: "webrtc", query: "" };
/// Beside servers that hand no AAC on to browsers.
const SILENT: Player = Player { name: "WHEP without sound", query: "&sound=off", ..PREVIEW };

/// Of the ladder's rungs one is made: beside all of them and a browser that decodes, two cores have no room
/// for a preview, which is refused then.
const CASES: [Case; 2] = [
    Case {
        name: "a ladder's rung",
        arguments: &["--ladder", "720p"],
        rendition: "720p",
        edges: false,
        bars: [150.0; 2],
    },
    Case { edges: false, bars: [50.0; 2], ..PASSED },
];

/// Of 30.
const LEAST_RATE: f64 = 29.0;
const LATEST_FIRST_MS: f64 = 500.0;
/// Of the sound, before or behind the picture.
const MOST_APART_MS: f64 = 60.0;

/// How the lossy way is, and how long it is watched.
const LOST: f64 = 0.03;
const DELAY: Duration = Duration::from_millis(20);
const LOSSY_WATCHED: Duration = Duration::from_secs(60);
const LEAST_RATE_LOSSY: f64 = 27.0;

/// Measures it.
///
/// # Errors
/// The server does not start.
pub fn measure(options: &Options) -> Result<Vec<Measure>> {
    let mut measures = Vec::new();
    for case in &CASES {
        let server = Server::demo_with(case.arguments)?;
        server.wait_playable("demo", Duration::from_secs(30))?;
        for (player, bar) in [PREVIEW, SILENT].into_iter().zip(case.bars) {
            let (measure, seen) = latency::of_player(&server, case, player, bar, options);
            measures.push(measure);
            measures.extend(seen.map(|seen| pictures(case, player, &seen)));
        }
        server.stop()?;
    }
    measures.push(lossy(options)?);
    Ok(measures)
}

/// What else was seen of a preview.
fn pictures(case: &Case, player: Player, seen: &Seen) -> Measure {
    let first = seen.time_to_first_frame_ms.unwrap_or(f64::INFINITY);
    let rate = seen.rate();
    let apart = seen.av_offset_ms.map(f64::abs);
    let sound = match seen.av_offset_ms {
        Some(ms) => format!(", sound {ms:+.0} ms behind"),
        None => String::new(),
    };
    Measure {
        name: format!("pictures, {}, {}", case.name, player.name),
        ours: format!("{rate:.1} of 30 a second, the first after {:.2} s{sound}", first / 1e3),
        bar: format!(
            "≥ {LEAST_RATE}, ≤ {:.1} s, ± {MOST_APART_MS} ms",
            LATEST_FIRST_MS / 1e3
        ),
        met: rate >= LEAST_RATE
            && first <= LATEST_FIRST_MS
            && apart.is_none_or(|ms| ms <= MOST_APART_MS),
        method: "The same viewers. The first picture is counted from when the page sets the player to work, \
                 before its offer is made; what it drops is not counted as shown."
            .into(),
        ..Measure::without_peer()
    }
}

/// What a viewer has behind a way that loses packets.
fn lossy(options: &Options) -> Result<Measure> {
    let watched = options.watch.unwrap_or(LOSSY_WATCHED).min(LOSSY_WATCHED);
    // The browser is told of the proxy's port, which is known before the server's is.
    let port = UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()).context("a port")?;
    let proxy = UdpProxy::start(port, 7)?;
    let lines = format!("advertise = [\"{}\"]", proxy.listen);
    let server = Server::start_previewing(&[ChannelConfig::pass_through("a")], Some(port), &lines)?;
    let source = Source::tiny(FrameRate::new(30, 1)).with_size(1_280, 720);
    let _publisher = source.publish(&server.publish_url("a", None))?;
    server.wait_playable("a", Duration::from_secs(30))?;
    let timing = Timing { delay: DELAY, ..Timing::default() };
    proxy.set_both(Faults { timing, loss: Loss::even(LOST), ..Faults::default() });
    let times = [watched, Duration::ZERO];
    let seen = latency::watch(&server.url("/watch/a"), PREVIEW, "source", times)?;
    let lost = proxy.tally(Way::Down).lost;
    server.stop()?;
    let rate = seen.rate();
    Ok(Measure {
        name: "pictures, pass-through, WHEP, 3 % lost each way and 40 ms of round trip".into(),
        ours: format!("{rate:.1} of 30 a second, {} freezes", seen.stalls),
        bar: format!("≥ {LEAST_RATE_LOSSY}, no freeze > 0.5 s"),
        met: rate >= LEAST_RATE_LOSSY && seen.stalls == 0,
        method: format!(
            "A test picture, 1280x720 at 30 fps, an IDR each second, by x264 over RTMP; all of the preview's \
             packets through a proxy that lost {lost} on the way to the browser in {} s. A picture that stands \
             for 0.4 s counts as a freeze.",
            watched.as_secs()
        ),
        ..Measure::without_peer()
    })
}
