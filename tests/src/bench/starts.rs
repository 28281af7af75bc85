//! How long a fresh server takes from a source to a playlist that plays.

use std::time::{Duration, Instant};

use super::Measure;
use crate::Result;
use crate::server::Server;
use crate::wait::{Look, until};

/// Starts of the server.
const STARTS: usize = 20;
/// The bar.
pub const WITHIN: Duration = Duration::from_secs(3);

/// How long each of twenty starts takes, shortest first.
///
/// # Errors
/// A server does not start.
pub fn durations() -> Result<Vec<Duration>> {
    let mut taken = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        let server = Server::demo_with(&["--ladder", "720p,480p,360p"])?;
        until("source of the demo", Duration::from_secs(10), || {
            let source = server.status("demo")?["source"].clone();
            Ok(Look::at(source.is_object().then_some(()), "no source yet"))
        })?;
        let accepted = Instant::now();
        server.wait_playable("demo", Duration::from_secs(10))?;
        taken.push(accepted.elapsed());
        server.stop()?;
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Measures it.
///
/// # Errors
/// A server does not start.
pub fn measure() -> Result<Vec<Measure>> {
    let taken = durations()?;
    let worst = taken.last().copied().unwrap_or_default();
    let middle = taken.get(STARTS / 2).copied().unwrap_or_default();
    Ok(vec![Measure {
        name: "publisher connected → playable, maximum of 20 starts".into(),
        ours: format!("{:.2} s (median {:.2} s)", worst.as_secs_f64(), middle.as_secs_f64()),
        bar: "≤ 3 s".into(),
        met: worst <= WITHIN,
        method: "`headwater demo` with its ladder of 720p, 480p and 360p, started anew each time; \
                 from the publisher's arrival in status.json, which is before its first key frame, \
                 to a multivariant playlist whose renditions all list a segment."
            .into(),
        ..Measure::without_peer()
    }])
}
