//! A publisher's session: one task that waits for what its peer sends and hands it to the channel through the
//! hub, like every other source.
//!
//! The channel is taken over by the first whole picture, not by the asking: who can't connect, or connects and
//! sends nothing that can be shown, takes nobody's place.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use ingest::hub::{Hub, Publication, Request};
use ingest::secret::Secret;
use ingest::source::{Peer, Protocol, Unit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::receive::Packet;
use super::rtcp;
use super::session::Shown;
use super::transport::{Came, End, Transport};
use super::whip::Publisher;

/// How long a connected publisher may take to its first whole picture: a key frame is asked for every second.
const FIRST_PICTURE_WITHIN: Duration = Duration::from_secs(15);

/// A publisher's session.
pub(super) struct Publishing {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) key: Option<Secret>,
    pub(super) peer: Peer,
    pub(super) hub: Hub,
    pub(super) transport: Transport,
    pub(super) datagrams: mpsc::Receiver<Bytes>,
    pub(super) publisher: Publisher,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) deleted: CancellationToken,
    pub(super) stopping: CancellationToken,
}

impl Publishing {
    /// Runs until it is over.
    pub(super) async fn run(mut self) -> End {
        let end = match self.attend().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if self.transport.is_connected() && end != End::Vanished {
            let goodbye = self.publisher.goodbye();
            self.send_control(&goodbye).await;
            self.transport.close().await;
        }
        let figures = self.publisher.figures();
        info!(
            channel = %self.channel,
            session = %self.id,
            reason = %end,
            pictures = figures.pictures,
            lost = figures.lost,
            "publisher of WebRTC ended"
        );
        end
    }

    async fn attend(&mut self) -> Result<std::convert::Infallible, End> {
        let mut publication: Option<Publication> = None;
        let mut silent_at: Option<Instant> = None;
        let mut units = Vec::new();
        loop {
            let connected = self.transport.is_connected();
            let due = self.transport.due();
            let due = if connected { due.min(self.publisher.due()) } else { due };
            let due = silent_at.map_or(due, |at| due.min(at));
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Err(End::ShuttingDown),
                () = self.deleted.cancelled() => return Err(End::Deleted),
                reason = closed(publication.as_ref()) => {
                    info!(channel = %self.channel, session = %self.id, %reason, "the channel let its publisher go");
                    return Err(End::Refused);
                }
                datagram = self.datagrams.recv() => {
                    let datagram = datagram.ok_or(End::Closed)?;
                    match self.transport.receive(datagram).await? {
                        Came::Connected => silent_at = Some(Instant::now() + FIRST_PICTURE_WITHIN),
                        Came::Media(packet) => self.take_media(&packet, &mut units),
                        Came::Control(compound) => {
                            let now = Instant::now();
                            for message in rtcp::read(&compound) {
                                if !self.publisher.hear(&message, now) {
                                    return Err(End::Closed);
                                }
                            }
                        }
                        Came::Nothing => {}
                    }
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
            // Whatever came: nobody puts off the end of a session by sending more.
            self.transport.pass_time().await?;
            if self.transport.is_connected() {
                self.pass_time(&mut units).await;
            }
            if publication.is_none() {
                if begins(&mut units) {
                    publication = Some(self.publish()?);
                    silent_at = None;
                } else if silent_at.is_some_and(|at| at <= Instant::now()) {
                    return Err(End::Silent);
                }
            }
            if let Some(publication) = &publication {
                for unit in units.drain(..) {
                    // The channel's own pace: what comes meanwhile waits in the inbox, or is lost.
                    publication.push(unit).await.map_err(|_| End::Refused)?;
                }
            }
            self.show();
        }
    }

    fn publish(&self) -> Result<Publication, End> {
        let request = Request {
            channel: &self.channel,
            key: self.key.as_ref().map(Secret::expose),
            peer: self.peer.clone(),
            protocol: Protocol::Whip,
        };
        let publication = self.hub.publish(&request).map_err(|refusal| {
            info!(channel = %self.channel, session = %self.id, reason = %refusal, "publisher of WebRTC refused");
            self.hub.turned_away(&self.channel, refusal.label());
            End::Refused
        })?;
        info!(channel = %self.channel, session = %self.id, peer = %self.peer, "publisher of WebRTC is live");
        Ok(publication)
    }

    fn take_media(&mut self, packet: &Bytes, units: &mut Vec<Unit>) {
        // What was not agreed on is not worth opening.
        let Some(header) = Packet::read(packet.clone()) else { return };
        if !self.publisher.expects(header.payload_type, header.ssrc) {
            return;
        }
        let opened = self.transport.protection().and_then(|protection| protection.open(packet));
        if let Some(packet) = opened.and_then(|packet| Packet::read(packet.freeze())) {
            self.publisher.take(packet, Instant::now(), units);
        }
    }

    async fn pass_time(&mut self, units: &mut Vec<Unit>) {
        if self.publisher.due() > Instant::now() {
            return;
        }
        let mut compounds: Vec<BytesMut> = Vec::new();
        self.publisher.pass_time(Instant::now(), units, |compound| compounds.push(compound.into()));
        for compound in compounds {
            self.send_control(&compound).await;
        }
    }

    async fn send_control(&mut self, compound: &[u8]) {
        let protected = self.transport.protection().and_then(|p| p.protect_control(compound));
        if let Some(packet) = protected {
            self.transport.send(&packet).await;
        }
    }

    fn show(&self) {
        let figures = self.publisher.figures();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.connected = self.transport.is_connected();
        shown.figures.pictures = figures.pictures;
        shown.figures.packets = figures.packets;
        shown.figures.octets = figures.octets;
        shown.figures.nacks = figures.nacks;
        shown.figures.key_frames = figures.key_frames;
    }
}

/// Whether there is a whole picture in what a publisher has sent before it is one. What it sends until then is
/// told of and not kept: sound alone is nothing to begin with.
fn begins(units: &mut Vec<Unit>) -> bool {
    let has_picture = units.iter().any(|unit| matches!(unit, Unit::Video(_)));
    if !has_picture {
        units.retain(|unit| !matches!(unit, Unit::Audio(_)));
    }
    has_picture
}

/// Why the channel ends a publication, when it does.
async fn closed(publication: Option<&Publication>) -> ingest::hub::Closed {
    match publication {
        Some(publication) => publication.closed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use ingest::source::{AudioCodec, ForeignSound, SoundConfig, SourceSample};
    use packager::time::{Timescale, Timestamp};

    use super::*;

    fn sample() -> SourceSample {
        let at = Timestamp::new(0, Timescale::NANOS);
        let (data, received) = (Bytes::from_static(b"data"), Instant::now());
        SourceSample { dts: at, pts: at, sync: true, data, received }
    }

    #[test]
    fn a_publisher_begins_with_its_first_picture_and_its_sound_is_told_of_then() {
        let sound = ForeignSound { codec: AudioCodec::Opus, sample_rate: 48_000, channels: 2 };
        let told = Unit::AudioConfig(SoundConfig::Foreign(sound));
        let mut units = vec![told, Unit::Audio(sample()), Unit::Audio(sample())];
        assert!(!begins(&mut units));
        assert!(matches!(units[..], [Unit::AudioConfig(_)]));
        units.extend([Unit::Audio(sample()), Unit::Video(sample())]);
        assert!(begins(&mut units));
        assert_eq!(units.len(), 3);
    }
}
