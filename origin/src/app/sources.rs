//! Keeps the sources that channels take by themselves: one that has ended has another turn, after a
//! wait that grows while it ends young.

use std::time::Duration;

use ingest::hub::Hub;
use ingest::ts::datagram::{Carrier, Door, Place};
use ingest::ts::door::End;
use ingest::ts::file::Recording;
use packager::media::Name;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::config::{Datagrams, Source};

/// The longest wait before a source has another turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Feeds a channel until cancelled, or until its file has been played.
pub(super) async fn keep(source: Source, hub: Hub, channel: Name, cancel: CancellationToken) {
    let mut backoff = Backoff::up_to(LONGEST_PAUSE);
    loop {
        let turn = cancel.run_until_cancelled(turn(&source, &hub, &channel));
        let Some(end) = turn.await else { return };
        match end {
            End::Over => {
                info!(%channel, "the file has been played");
                return;
            }
            end if end.is_shutdown() => return,
            // Whoever sends next is heard at once.
            End::Silent => {
                info!(%channel, %source, reason = %End::Silent, "source gone");
                continue;
            }
            end => warn!(%channel, %source, reason = %end, "source ended"),
        }
        let pause = backoff.after_death(Instant::now());
        if cancel.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
    }
}

/// One turn of a source.
async fn turn(source: &Source, hub: &Hub, channel: &Name) -> End {
    match source {
        Source::File { path, repeat } => {
            let recording = Recording { path: path.clone(), repeat: *repeat };
            recording.play(hub, channel).await
        }
        Source::Datagrams(Datagrams { rtp, address, interface, from }) => {
            let carrier = if *rtp { Carrier::Rtp } else { Carrier::Udp };
            let place = Place { address: *address, interface: *interface, from: *from };
            match Door::open(carrier, place) {
                Ok(door) => door.serve(hub, channel).await,
                Err(error) => End::Io(error),
            }
        }
    }
}
