//! Who asks to watch or to publish: whether it is granted, and what becomes of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ingest::hub;
use ingest::secret::Secret;
use ingest::source::{Peer, Protocol};
use packager::media::Name;

use super::agreeing::{agree, agree_to_take};
use super::publishing::Publishing;
use super::random::Random;
use super::sdp::{self, Offer};
use super::session::Session;
use super::sessions::{Role, seen_id};
use super::whep::Viewer;
use super::whip::Publisher;
use super::{Made, WebRtc};

/// Why a request is not granted. The texts are public.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such channel, or no such session.
    #[error("no such channel or session")]
    Unknown,
    /// The channel has nothing to show.
    #[error("the channel is not on the air")]
    NotLive,
    /// The offer can't be read.
    #[error("the offer can't be answered: {0}")]
    Offer(#[from] sdp::Error),
    /// There is nothing in it that both sides have.
    #[error("{0}")]
    NothingInCommon(&'static str),
    /// There is no rendition of that name.
    #[error("the channel has no rendition of that name")]
    NoRendition,
    /// There are too many viewers.
    #[error("there is no room for another preview now: too many watch, or the machine is busy")]
    Crowded,
    /// Too many of the address's sessions have not connected.
    #[error("too many sessions of your address have not connected yet; end them or wait a moment")]
    Hasty,
    /// The channel does not take this publisher.
    #[error("{0}")]
    Denied(hub::Refusal),
    /// It does not take one now.
    #[error("{0}")]
    Busy(hub::Refusal),
    /// Another generation of the session is there.
    #[error("the session has changed meanwhile")]
    Stale,
    /// The request does not say which generation it means.
    #[error("If-Match is missing")]
    Unconditional,
    /// The server is going down, or can't have what it needs.
    #[error("the server can't do this now")]
    Unavailable,
}

impl From<hub::Refusal> for Refusal {
    fn from(refusal: hub::Refusal) -> Self {
        match refusal {
            hub::Refusal::BadName(_) => Self::Unknown,
            hub::Refusal::Denied | hub::Refusal::LoopbackOnly | hub::Refusal::HasSource => {
                Self::Denied(refusal)
            }
            _ => Self::Busy(refusal),
        }
    }
}

/// A session that was made.
#[derive(Debug)]
pub struct Created {
    /// Its name.
    pub id: String,
    /// The answer.
    pub answer: String,
    /// Of its generation, in quotes.
    pub etag: String,
}

/// What became of a change.
#[derive(Debug)]
pub enum Patched {
    /// Candidates were brought, of which we need none.
    Nothing,
    /// It has new credentials.
    Restarted {
        /// Body of type `application/trickle-ice-sdpfrag`.
        fragment: String,
        /// Of the new generation, in quotes.
        etag: String,
    },
}

impl WebRtc {
    /// Answers an offer to watch a channel, by somebody at an address, where that is known; of a rendition, if
    /// one is wanted by name.
    ///
    /// # Errors
    /// Says why not, in words for the viewer.
    pub fn watch(
        self: &Arc<Self>,
        channel: &Name,
        from: Option<IpAddr>,
        offer: &str,
        rendition: Option<&str>,
    ) -> Result<Created, Refusal> {
        let created = self.try_watch(channel, from, offer, rendition);
        if created.is_err() {
            self.metrics.refused.inc();
        }
        created
    }

    fn try_watch(
        self: &Arc<Self>,
        channel: &Name,
        from: Option<IpAddr>,
        offer: &str,
        rendition: Option<&str>,
    ) -> Result<Created, Refusal> {
        let preview = &self.channels.get(channel).ok_or(Refusal::Unknown)?.preview;
        if *preview.shed().borrow() {
            return Err(Refusal::Crowded);
        }
        let offer = Offer::read(offer)?;
        let tracks = Arc::clone(&preview.tracks().borrow());
        let wanted = match rendition {
            Some(name) => tracks.iter().find(|t| t.name == name).ok_or(Refusal::NoRendition),
            None => tracks.first().ok_or(Refusal::NotLive),
        };
        let track = if tracks.is_empty() { return Err(Refusal::NotLive) } else { wanted? };
        let now = Instant::now();
        let mut random = Random(self);
        let (sections, video, audio) = agree(&offer, track, &mut random, now)?;
        let Made { created, transport, datagrams, shown, deleted } =
            self.make(channel, (Role::Viewer, from), &offer, &sections)?;
        let session = Session {
            id: seen_id(&created.id).to_owned(),
            channel: channel.to_string(),
            transport,
            datagrams,
            viewer: Viewer::new(video, audio, now),
            preview: Arc::clone(preview),
            wanted: rendition.map(str::to_owned),
            clock: Arc::clone(&self.clock),
            shown,
            deleted,
            stopping: self.stopping.clone(),
        };
        self.spawn(&created.id, session.run());
        Ok(created)
    }

    /// Answers an offer to publish to a channel, by somebody at an address who shows a key.
    ///
    /// # Errors
    /// Says why not, in words for the publisher.
    pub fn publish(
        self: &Arc<Self>,
        channel: &str,
        key: Option<&str>,
        from: SocketAddr,
        offer: &str,
    ) -> Result<Created, Refusal> {
        let created = self.try_publish(channel, key, from, offer);
        if let Err(refusal) = &created {
            self.metrics.refused.inc();
            if let Refusal::Denied(refusal) | Refusal::Busy(refusal) = refusal {
                self.hub.turned_away(channel, refusal.label());
            }
        }
        created
    }

    fn try_publish(
        self: &Arc<Self>,
        channel: &str,
        key: Option<&str>,
        from: SocketAddr,
        offer: &str,
    ) -> Result<Created, Refusal> {
        let peer = Peer::At(from);
        let request = hub::Request { channel, key, peer: peer.clone(), protocol: Protocol::Whip };
        self.hub.ask(&request)?;
        let name = Name::parse(channel).map_err(|_| Refusal::Unknown)?;
        let offer = Offer::read(offer)?;
        let (sections, agreed) = agree_to_take(&offer)?;
        // What can fail comes before there is a session.
        let publisher = Publisher::new(agreed, Random(self).number()?, Instant::now());
        // Those whom a proxy does not name are not one person.
        let named = Some(from.ip()).filter(|address| !address.is_unspecified());
        let Made { created, transport, datagrams, shown, deleted } =
            self.make(&name, (Role::Publisher, named), &offer, &sections)?;
        let session = Publishing {
            id: seen_id(&created.id).to_owned(),
            channel: channel.to_owned(),
            key: key.map(Secret::new),
            peer,
            hub: self.hub.clone(),
            transport,
            datagrams,
            publisher,
            shown,
            deleted,
            stopping: self.stopping.clone(),
        };
        self.spawn(&created.id, session.run());
        Ok(created)
    }
}
