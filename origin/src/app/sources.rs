//! Keeps the sources that channels take by themselves: one that has ended has another turn, after a
//! wait that grows while it ends young.

use std::sync::Arc;
use std::time::Duration;

use ingest::door::Stats;
use ingest::hub::Hub;
use ingest::srt;
use ingest::ts::datagram::{Carrier, Door, Place};
use ingest::ts::door::End;
use ingest::ts::feed;
use ingest::ts::file::Recording;
use packager::media::Name;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::config::{Datagrams, Source};

/// The longest wait before a source has another turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// What sources are brought in with.
#[derive(Clone, Debug)]
pub(super) struct Hands {
    pub(super) hub: Hub,
    pub(super) srt: srt::Engine,
    pub(super) srt_stats: Arc<Stats>,
    pub(super) cancel: CancellationToken,
}

/// Why a turn has ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{0}")]
    Stream(#[from] End),
    #[error("{0}")]
    Call(#[from] srt::CallEnd),
}

impl Ended {
    /// Whether it was the channel that ended it, and tells why.
    fn is_told(&self) -> bool {
        matches!(
            self,
            Self::Stream(End::Feed(feed::Error::Closed(_)))
                | Self::Call(srt::CallEnd::Gone(
                    srt::End::Closed(_) | srt::End::Feed(feed::Error::Closed(_))
                ))
        )
    }
}

/// Feeds a channel until cancelled, or until its file has been played.
pub(super) async fn keep(source: Source, hands: Hands, channel: Name) {
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    loop {
        let turn = hands.cancel.run_until_cancelled(turn(&source, &hands, &channel));
        let Some(end) = turn.await else { return };
        match end {
            Ended::Stream(End::Over) => {
                info!(%channel, "the file has been played");
                return;
            }
            Ended::Stream(end) if end.is_shutdown() => return,
            Ended::Call(end) if end.is_shutdown() => return,
            // Whoever sends next is heard at once.
            Ended::Stream(End::Silent) => {
                info!(%channel, %source, reason = %End::Silent, "source gone");
                continue;
            }
            end => {
                warn!(%channel, %source, reason = %end, "source ended");
                if !end.is_told() {
                    hands.hub.absent(&channel, Some(end.to_string()));
                }
            }
        }
        let pause = backoff.after_death(Instant::now());
        if hands.cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// One turn of a source.
async fn turn(source: &Source, hands: &Hands, channel: &Name) -> Ended {
    let Hands { hub, srt, srt_stats, cancel } = hands;
    match source {
        Source::File { path, repeat } => {
            let recording = Recording { path: path.clone(), repeat: *repeat };
            recording.play(hub, channel).await.into()
        }
        Source::Datagrams(Datagrams { rtp, address, interface, from }) => {
            let carrier = if *rtp { Carrier::Rtp } else { Carrier::Udp };
            let place = Place { address: *address, interface: *interface, from: *from };
            match Door::open(carrier, place) {
                Ok(door) => {
                    // Whoever sends is waited for.
                    hub.absent(channel, None);
                    door.serve(hub, channel).await.into()
                }
                Err(error) => End::Listen(error).into(),
            }
        }
        Source::Call(url) => srt::pull(srt, url, hub, channel, srt_stats, cancel).await.into(),
    }
}
