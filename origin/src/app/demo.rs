//! `headwater demo`: the server on loopback, fed through its own RTMP door.

use std::num::NonZero;
use std::path::PathBuf;

use packager::media::Name;

use super::broadcaster::Broadcaster;
use super::edge::Edge;
use super::{Asked, Error, Server, announce, block_on, broadcaster};
use crate::cli;
use crate::config::{self, Config, Rung};
use crate::sockets::{self, Sockets};

/// Runs the demo until it is asked to end.
///
/// # Errors
/// It can't start; the message says which address or folder is the trouble.
pub fn demo(options: &cli::Demo) -> Result<(), Error> {
    let scratch = options
        .data
        .is_none()
        .then(|| std::env::temp_dir().join(format!("headwater-demo-{}", std::process::id())));
    let config = configuration(options, scratch.clone());
    let reduced = options.ladder.is_none().then(|| reduced(&config.channels)).flatten();
    let sockets = Sockets::open(&config).map_err(|error| match error {
        // The arguments are named as the doors are.
        sockets::Error::Listen { door, .. } => {
            Error::Elsewhere { flag: door.name(), source: error }
        }
        error => error.into(),
    })?;
    let result = block_on(async {
        let mut asked = Asked::listen()?;
        let server = Server::start(&config, sockets)?;
        let origin = announce::reachable(server.http);
        let edge = options.cdn.map(|kind| Edge::start(kind, origin, options.cdn_listen));
        let mut edge = edge.transpose()?;
        let begun = tokio::select! {
            begun = begin(&server, edge.as_mut(), reduced.as_deref()) => begun.map(Some),
            () = asked.once(&server.reread) => Ok(None),
        };
        if let Ok(Some(_)) = begun {
            asked.once(&server.reread).await;
        }
        let (broadcaster, result) = match begun {
            Ok(broadcaster) => (broadcaster, Ok(())),
            Err(error) => (None, Err(error)),
        };
        let end = async {
            if let Some(broadcaster) = broadcaster {
                broadcaster.stop().await;
            }
            server.stop().await;
            if let Some(edge) = edge {
                edge.stop().await;
            }
        };
        asked.unless_again(end).await;
        result
    });
    if let Some(scratch) = scratch {
        // What is left there is of no use to anybody, and the system clears its folder anyway.
        let _ = std::fs::remove_dir_all(scratch);
    }
    result
}

/// Says where everything is once the edge is up, and goes on the air.
async fn begin(
    server: &Server,
    mut edge: Option<&mut Edge>,
    reduced: Option<&str>,
) -> Result<Broadcaster, Error> {
    if let Some(edge) = &mut edge {
        edge.up().await?;
    }
    announce::demo(server, edge.as_deref(), reduced);
    broadcaster::start(server)
}

fn configuration(options: &cli::Demo, scratch: Option<PathBuf>) -> Config {
    let mut config = Config::default();
    config.http.listen = options.http;
    config.rtmp.listen = options.rtmp;
    config.srt.listen = options.srt;
    config.webrtc.listen = Some(options.webrtc);
    config.admin.listen = options.admin;
    if let Some(path) = options.data.clone().or(scratch) {
        config.store.path = path;
    }
    if let Ok(name) = Name::parse(broadcaster::CHANNEL) {
        let mut channel = config::Channel::named(name);
        match &options.ladder {
            Some(cli::Ladder::Rungs(rungs)) => channel.ladder.clone_from(rungs),
            Some(cli::Ladder::Source) => {
                channel.pass_through = true;
                channel.ladder = Vec::new();
            }
            None => {
                let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
                channel.ladder = ladder(cores);
            }
        }
        config.channels.push(channel);
    }
    config
}

/// Heights of the renditions on a machine of so many cores. Its broadcaster draws and encodes there too, and
/// the browser that plays it decodes there: that is a core and more.
fn ladder(cores: usize) -> Vec<Rung> {
    let heights: &[u16] = match cores {
        0..=1 => &[360],
        2..=3 => &[720, 360],
        _ => &[720, 480, 360],
    };
    heights.iter().filter_map(|height| Rung::of_height(*height, None)).collect()
}

/// The renditions in words, where they are fewer than a channel has that says nothing of them.
fn reduced(channels: &[config::Channel]) -> Option<String> {
    let channel = channels.first()?;
    let usual = config::Channel::named(channel.name.clone()).ladder;
    let rungs: Vec<_> = channel.ladder.iter().map(|rung| format!("{}p", rung.height)).collect();
    (rungs.len() < usual.len()).then(|| rungs.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_is_given_a_small_ladder_and_every_other_what_a_channel_has() {
        let heights = |cores| ladder(cores).iter().map(|rung| rung.height).collect::<Vec<_>>();
        assert_eq!(
            (heights(1), heights(2), heights(3)),
            (vec![360], vec![720, 360], vec![720, 360])
        );
        let usual = config::Channel::named(Name::parse("demo").unwrap()).ladder;
        assert_eq!(ladder(4), usual);
        let told = |cores| {
            let mut channel = config::Channel::named(Name::parse("demo").unwrap());
            channel.ladder = ladder(cores);
            reduced(&[channel])
        };
        assert_eq!(told(2).as_deref(), Some("720p and 360p"));
        assert_eq!((told(1).as_deref(), told(8)), (Some("360p"), None));
    }
}
