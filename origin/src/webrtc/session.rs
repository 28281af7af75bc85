//! A viewer's session: one task that waits for what its peer sends, for pictures and sound of the channel, and
//! for what is due.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::rtcp;
use super::transport::{Came, End, Transport};
use super::whep::{Due, Figures, Viewer, Wish};
use crate::channel::preview::{Picture, Preview, Track, Watching};
use crate::clock::Clock;

/// How long a session outlives the last track: a run that begins anew has others within a second.
const WITHOUT_TRACKS: std::time::Duration = std::time::Duration::from_secs(10);

/// What of a session others see.
#[derive(Debug, Default)]
pub(super) struct Shown {
    /// How it goes.
    pub(super) figures: Figures,
    /// Name of the track that is sent.
    pub(super) track: String,
    pub(super) connected: bool,
}

/// A viewer's session.
pub(super) struct Session {
    pub(super) id: String,
    pub(super) channel: String,
    pub(super) transport: Transport,
    pub(super) datagrams: mpsc::Receiver<Bytes>,
    pub(super) viewer: Viewer,
    pub(super) preview: Arc<Preview>,
    /// The track that was asked for by name, if one was.
    pub(super) wanted: Option<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shown: Arc<Mutex<Shown>>,
    pub(super) deleted: CancellationToken,
    pub(super) stopping: CancellationToken,
}

/// The track that is watched.
struct Watched {
    track: Arc<Track>,
    feed: broadcast::Receiver<Arc<Picture>>,
}

impl Session {
    /// Runs until it is over.
    pub(super) async fn run(mut self) -> End {
        let watching = self.preview.watch();
        let end = match self.attend(&watching).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        if self.transport.is_connected() && end != End::Vanished {
            let goodbye = self.viewer.goodbye();
            self.send_control(&goodbye).await;
            self.transport.close().await;
        }
        let figures = self.viewer.figures();
        info!(
            channel = %self.channel,
            session = %self.id,
            reason = %end,
            pictures = figures.pictures,
            resent = figures.resent,
            "preview ended"
        );
        end
    }

    async fn attend(&mut self, _: &Watching) -> Result<std::convert::Infallible, End> {
        let mut tracks = self.preview.tracks();
        let mut opus = self.preview.opus();
        let mut shed = self.preview.shed();
        let mut watched: Option<Watched> = None;
        let mut without: Option<Instant> = None;
        loop {
            if watched.is_none() && self.transport.is_connected() {
                watched = self.join(&tracks);
                without = match watched {
                    Some(_) => None,
                    None => without.or_else(|| Some(Instant::now() + WITHOUT_TRACKS)),
                };
            }
            let due = self.transport.due().min(self.viewer.due());
            let due = without.map_or(due, |at| due.min(at));
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Err(End::ShuttingDown),
                () = self.deleted.cancelled() => return Err(End::Deleted),
                () = is_shed(&mut shed) => return Err(End::Shed),
                datagram = self.datagrams.recv() => {
                    let datagram = datagram.ok_or(End::Closed)?;
                    let wish = self.take_datagram(datagram, watched.as_ref()).await?;
                    if let Some(wish) = wish {
                        self.take_wish(wish, &mut watched, &tracks)?;
                    }
                }
                picture = next_picture(&mut watched) => match picture {
                    // It has just turned out to be one that browsers can't show.
                    Ok(_) if watched.as_ref().is_some_and(|w| !w.track.is_showable()) => {
                        watched = None;
                    }
                    Ok(picture) => self.viewer.take_picture(&picture, Instant::now()),
                    Err(RecvError::Lagged(_)) => {
                        self.viewer.lose();
                        if let Some(watched) = &mut watched {
                            let joined = watched.track.join();
                            watched.feed = joined.feed;
                            self.viewer.take_group(&joined.group, Instant::now());
                        }
                    }
                    Err(RecvError::Closed) => watched = None,
                },
                packet = opus.recv() => {
                    if let Ok(packet) = packet
                        && self.transport.is_connected()
                    {
                        self.viewer.take_sound(&packet, Instant::now());
                    }
                }
                changed = tracks.changed() => {
                    if changed.is_err() {
                        return Err(End::NothingLeft);
                    }
                    let all = Arc::clone(&tracks.borrow_and_update());
                    let wanted = self.wanted.as_deref();
                    watched = watched.filter(|w| stays(&all, &w.track, wanted));
                }
                () = tokio::time::sleep_until(due.into()) => {}
            }
            // Whatever came: nobody puts off the end of a session by sending more.
            self.transport.pass_time().await?;
            if without.is_some_and(|at| Instant::now() >= at) {
                return Err(End::NothingLeft);
            }
            self.send_due().await;
            self.show(watched.as_ref());
        }
    }

    /// Begins to watch a track.
    fn join(&mut self, tracks: &watch::Receiver<Arc<[Arc<Track>]>>) -> Option<Watched> {
        let all = Arc::clone(&tracks.borrow());
        let track = choose(&all, self.wanted.as_deref()).cloned()?;
        Some(self.watch(track))
    }

    fn watch(&mut self, track: Arc<Track>) -> Watched {
        let now = Instant::now();
        let joined = track.join();
        self.viewer.change_track(now);
        self.viewer.take_group(&joined.group, now);
        Watched { track, feed: joined.feed }
    }

    async fn take_datagram(
        &mut self,
        datagram: Bytes,
        watched: Option<&Watched>,
    ) -> Result<Option<Wish>, End> {
        let compound = match self.transport.receive(datagram).await? {
            Came::Control(compound) => compound,
            Came::Connected => {
                info!(channel = %self.channel, session = %self.id, "preview connected");
                return Ok(None);
            }
            // A viewer has no media that we agreed to.
            Came::Media(_) | Came::Nothing => return Ok(None),
        };
        let (now, ntp) = (Instant::now(), self.ntp());
        let mut packets: Vec<BytesMut> = Vec::new();
        let mut wish = None;
        for message in rtcp::read(&compound) {
            let heard = self.viewer.hear(message, now, ntp, |packet| packets.push(packet.into()));
            wish = wish.or(heard.wish);
            if heard.wants_group
                && let Some(watched) = watched
            {
                self.viewer.take_group(&watched.track.group(), now);
            }
        }
        for packet in packets {
            self.send_media(&packet).await;
        }
        Ok(wish)
    }

    /// Acts upon a wish. One who asked for a track by name gets no other.
    fn take_wish(
        &mut self,
        wish: Wish,
        watched: &mut Option<Watched>,
        tracks: &watch::Receiver<Arc<[Arc<Track>]>>,
    ) -> Result<(), End> {
        if wish == Wish::Gone {
            return Err(End::Closed);
        }
        let Some(now) = watched.as_ref().filter(|_| self.wanted.is_none()) else { return Ok(()) };
        if let Some(track) = beside(&tracks.borrow(), &now.track, wish) {
            info!(channel = %self.channel, session = %self.id, track = %track.name, ?wish, "preview changed");
            *watched = Some(self.watch(track));
        }
        Ok(())
    }

    async fn send_due(&mut self) {
        if !self.transport.is_connected() || self.viewer.due() > Instant::now() {
            return;
        }
        let ntp = self.ntp();
        let mut protected = Vec::new();
        let Some(protection) = self.transport.protection() else { return };
        self.viewer.send(Instant::now(), ntp, |due| {
            protected.extend(match due {
                Due::Media(packet) => protection.protect(packet),
                Due::Control(compound) => protection.protect_control(compound),
            });
        });
        for packet in protected {
            self.transport.send(&packet).await;
        }
    }

    async fn send_media(&mut self, packet: &[u8]) {
        let protected = self.transport.protection().and_then(|p| p.protect(packet));
        if let Some(packet) = protected {
            self.transport.send(&packet).await;
        }
    }

    async fn send_control(&mut self, compound: &[u8]) {
        let protected = self.transport.protection().and_then(|p| p.protect_control(compound));
        if let Some(packet) = protected {
            self.transport.send(&packet).await;
        }
    }

    fn ntp(&self) -> u64 {
        super::whep::ntp(self.clock.now().ticks)
    }

    fn show(&self, watched: Option<&Watched>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.figures = self.viewer.figures();
        shown.connected = self.transport.is_connected();
        if let Some(watched) = watched
            && shown.track != watched.track.name
        {
            shown.track.clone_from(&watched.track.name);
        }
    }
}

/// The track to begin with: the one asked for, or the first that can be watched. The one asked for may be off for
/// a while.
fn choose<'a>(all: &'a [Arc<Track>], wanted: Option<&str>) -> Option<&'a Arc<Track>> {
    let mut watchable = all.iter().filter(|track| track.is_watchable());
    let named = watchable.clone().find(|track| wanted == Some(track.name.as_str()));
    named.or_else(|| watchable.next())
}

/// Whether to go on with a track, though one might begin with another: it is still made, and does not stand in
/// for the one asked for where that is back.
fn stays(all: &[Arc<Track>], watched: &Arc<Track>, wanted: Option<&str>) -> bool {
    let is = |track: &Arc<Track>| Arc::ptr_eq(track, watched);
    let is_best = || wanted.is_none() || choose(all, wanted).is_some_and(is);
    all.iter().any(is) && watched.is_watchable() && is_best()
}

/// The next lower or higher of the tracks that can be watched.
fn beside(all: &[Arc<Track>], now: &Arc<Track>, wish: Wish) -> Option<Arc<Track>> {
    let watchable: Vec<_> = all.iter().filter(|track| track.is_watchable()).collect();
    let at = watchable.iter().position(|track| Arc::ptr_eq(track, now))?;
    let other = match wish {
        Wish::Lower => at.checked_add(1),
        Wish::Higher => at.checked_sub(1),
        Wish::Gone => None,
    };
    other.and_then(|at| watchable.get(at)).map(|track| Arc::clone(track))
}

/// Resolves when there is no room for viewers any more.
async fn is_shed(shed: &mut watch::Receiver<bool>) {
    if shed.wait_for(|shed| *shed).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The next picture of the track, or never while there is none.
async fn next_picture(watched: &mut Option<Watched>) -> Result<Arc<Picture>, RecvError> {
    match watched {
        Some(watched) => watched.feed.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a panic here is a failed test")]
mod tests {
    use packager::media::VideoCodec;

    use super::*;

    #[test]
    fn a_track_that_browsers_cannot_show_is_no_better_one() {
        let track = |name: &str, codec| Track::of(name, codec);
        let (h264, h265) = (VideoCodec::H264, VideoCodec::H265);
        let beside_source = [track("source", h265), track("preview", h264)];
        assert!(beside(&beside_source, &beside_source[1], Wish::Higher).is_none());
        assert!(beside(&beside_source, &beside_source[1], Wish::Lower).is_none());
        let ladder = [track("720p", h264), track("360p", h264)];
        let name = |wish, at: usize| beside(&ladder, &ladder[at], wish).map(|t| t.name.clone());
        assert_eq!(name(Wish::Lower, 0), Some("360p".into()));
        assert_eq!(name(Wish::Higher, 1), Some("720p".into()));
        assert_eq!((name(Wish::Higher, 0), name(Wish::Lower, 1)), (None, None));
    }

    #[test]
    fn who_watches_a_track_that_goes_off_gets_another_and_the_one_asked_for_when_it_is_back() {
        let ladder = [Track::of("720p", VideoCodec::H264), Track::of("360p", VideoCodec::H264)];
        let [high, low] = &ladder;
        let chosen = |wanted| choose(&ladder, wanted).map(|track| track.name.as_str());
        assert_eq!((chosen(None), chosen(Some("360p"))), (Some("720p"), Some("360p")));
        assert!(stays(&ladder, low, None), "a way that is narrow is no reason to begin anew");
        high.switch_off(0);
        assert_eq!((chosen(None), chosen(Some("720p"))), (Some("360p"), Some("360p")));
        assert!(!stays(&ladder, high, Some("720p")) && stays(&ladder, low, Some("720p")));
        assert!(beside(&ladder, low, Wish::Higher).is_none());
        high.switch_on();
        assert!(!stays(&ladder, low, Some("720p")) && stays(&ladder, low, None));
    }
}
