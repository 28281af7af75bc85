//! What a viewer is sent, and when: pictures of one track, sound, reports, and what was lost.
//!
//! ```text
//! group of the track, then its feed ─► times ─► queue ─► so many a moment ─► stream (numbers) ─► packet
//! feedback: NACK ─► again at once · PLI ─► the group once more · loss ─► a lower track
//! ```
//! **The first picture** is the newest key frame, followed by everything up to now. All of it is handed over
//! at once, with times a millisecond apart that end at the newest: the browser decodes it as fast as it can and
//! is at the live edge, where the true times would have it play a group behind. The same is done for one that
//! has lost the picture, so that no viewer ever makes an encoder do anything.
//!
//! **Sound** is sent [evenly](super::pace).
//!
//! **Times.** Pictures and sound are on one clock; both are moved so that the picture that was the newest when
//! the viewer came is now. A source whose clock jumps moves that place.
//!
//! Pure but for the instants it is given: `session` has the socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::pace::Pace;
use super::packets;
use super::rtcp::{self, CNAME, Message, Reception};
use super::steps::Steps;
use super::stream::Stream;
use crate::channel::preview::{OpusPacket, Picture};

/// Packets that are sent at one moment, and how long a moment is: 38 Mb/s at the most, so that a group
/// does not overrun the socket's buffer at the other end.
const AT_ONCE: usize = 16;
const MOMENT: Duration = Duration::from_millis(4);
/// Packets that may wait: a group of 4 MB. Beyond, the viewer's way is too slow for anything.
const MAX_QUEUED: usize = 4_096;
/// How long a viewer waits for a group that it has been sent before.
const GROUPS_APART: Duration = Duration::from_millis(500);
/// How often streams are reported on.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Between the pictures of a group that are handed over at once.
const HURRIED: i64 = 1_000_000;
/// A picture whose time is further off than this has had its clock moved.
const JUMP: i64 = 2_000_000_000;
/// Length of a packet of Opus.
const OPUS_NANOS: i64 = 10_000_000;
/// Sound that is further off than this from where it would follow is put where it belongs.
const SOUND_SLACK: i64 = 60_000_000;
/// Packets of sound that may wait for their time.
const MAX_SOUNDS: usize = 64;
/// Seconds from 1900 to 1970.
const NTP_OFFSET: u64 = 2_208_988_800;

/// How a viewer is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) pictures: u64,
    pub(super) nacks: u64,
    pub(super) key_frames: u64,
    pub(super) resent: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// Of the last report, in percent.
    pub(super) loss: f64,
    pub(super) round_trip: Option<Duration>,
}

/// What has to happen besides sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// A track with less in it is wanted.
    Lower,
    /// A better one can be tried.
    Higher,
    /// The viewer has gone.
    Gone,
}

/// A packet of a picture that waits.
#[derive(Debug)]
struct Queued {
    timestamp: u32,
    marker: bool,
    /// Whether it is of a key frame.
    key: bool,
    payload: Bytes,
}

/// A packet of sound that waits.
#[derive(Debug)]
struct QueuedSound {
    due: Instant,
    timestamp: u32,
    marker: bool,
    payload: Bytes,
}

/// One viewer.
#[derive(Debug)]
pub(super) struct Viewer {
    began: Instant,
    /// What is taken off the track's times; `None` before the first picture.
    base: Option<i64>,
    video: Stream,
    audio: Option<Stream>,
    queue: VecDeque<Queued>,
    sounds: VecDeque<QueuedSound>,
    pace: Pace,
    /// When more may be sent.
    next_at: Instant,
    /// Time of the newest picture that was queued, in nanoseconds of the session.
    newest: i64,
    group_at: Option<Instant>,
    /// Whether pictures are of no use up to the next key frame.
    broken: bool,
    /// Time of the next packet of sound.
    sound: Option<i64>,
    report_at: Instant,
    steps: Steps,
    figures: Figures,
}

impl Viewer {
    pub(super) fn new(video: Stream, audio: Option<Stream>, now: Instant) -> Self {
        Self {
            began: now,
            base: None,
            video,
            audio,
            queue: VecDeque::new(),
            sounds: VecDeque::new(),
            pace: Pace::default(),
            next_at: now,
            newest: 0,
            group_at: None,
            broken: true,
            sound: None,
            report_at: now + REPORT_EVERY,
            steps: Steps::new(now),
            figures: Figures::default(),
        }
    }

    fn elapsed(&self, now: Instant) -> i64 {
        i64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(i64::MAX)
    }

    /// A time of the track in nanoseconds of the session.
    fn place(&mut self, pts: i64, now: Instant) -> i64 {
        let elapsed = self.elapsed(now);
        let at = self.base.map(|base| pts.saturating_sub(base));
        match at {
            Some(at) if at.saturating_sub(elapsed).saturating_abs() < JUMP => at,
            _ => {
                self.base = Some(pts.saturating_sub(elapsed));
                elapsed
            }
        }
    }

    /// Hands a group over, which ends with the newest picture there is; false if there was one just now.
    pub(super) fn take_group(&mut self, group: &[Arc<Picture>], now: Instant) -> bool {
        let Some(last) = group.last() else { return false };
        if self.group_at.is_some_and(|at| now.saturating_duration_since(at) < GROUPS_APART) {
            return false;
        }
        self.group_at = Some(now);
        self.broken = false;
        // What waits is in the group too, or of another track.
        self.queue.clear();
        let count = i64::try_from(group.len()).unwrap_or(i64::MAX);
        let live = self.place(last.pts, now);
        let behind = count.saturating_mul(HURRIED);
        // Where there is no room for it before the newest picture, it lies between that and the next one.
        let (from, step) = if !self.video.has_begun() || live.saturating_sub(behind) > self.newest {
            (live.saturating_sub(behind), HURRIED)
        } else {
            let room = live.saturating_add(20_000_000).saturating_sub(self.newest).max(1);
            (self.newest, (room / count.saturating_add(1)).clamp(20_000, HURRIED))
        };
        for (picture, index) in group.iter().zip(1i64..) {
            self.queue_picture(picture, from.saturating_add(step.saturating_mul(index)));
        }
        true
    }

    /// The next picture of the track.
    pub(super) fn take_picture(&mut self, picture: &Picture, now: Instant) {
        if self.broken && picture.key.is_none() {
            return;
        }
        self.broken = false;
        let at = self.place(picture.pts, now);
        self.queue_picture(picture, at);
    }

    fn queue_picture(&mut self, picture: &Picture, at: i64) {
        // No two pictures have one time, and none goes back: a tick is 11 microseconds.
        let at = if self.video.has_begun() || self.newest > 0 {
            at.max(self.newest.saturating_add(20_000))
        } else {
            at
        };
        self.newest = at;
        let timestamp = self.video.timestamp(at);
        let payloads = picture.payloads(packets::cut);
        if self.queue.len().saturating_add(payloads.len()) > MAX_QUEUED {
            self.queue.clear();
            self.broken = true;
            return;
        }
        let last = payloads.len().saturating_sub(1);
        let packets = payloads.iter().enumerate().map(|(index, payload)| Queued {
            timestamp,
            marker: index == last,
            key: picture.key.is_some(),
            payload: payload.clone(),
        });
        self.queue.extend(packets);
        self.figures.pictures = self.figures.pictures.saturating_add(1);
    }

    /// Pictures were missed: the next one that is of use is a key frame.
    pub(super) fn lose(&mut self) {
        self.broken = true;
    }

    /// The next packet of sound; false before there is a picture, which sets the clock, and if it is too many.
    pub(super) fn take_sound(&mut self, packet: &OpusPacket, now: Instant) -> bool {
        let elapsed = self.elapsed(now);
        let (Some(base), Some(audio)) = (self.base, &self.audio) else { return false };
        if self.sounds.len() >= MAX_SOUNDS {
            return false;
        }
        let at = packet.pts.saturating_sub(base);
        let next =
            self.sound.filter(|next| at.saturating_sub(*next).saturating_abs() < SOUND_SLACK);
        let at = next.unwrap_or(at);
        self.sound = Some(at.saturating_add(OPUS_NANOS));
        let wait = self.pace.due(at, elapsed).saturating_sub(elapsed);
        self.sounds.push_back(QueuedSound {
            due: now + Duration::from_nanos(u64::try_from(wait).unwrap_or(0)),
            timestamp: audio.timestamp(at),
            // The first packet after silence is marked (RFC 3551 §4.1).
            marker: next.is_none(),
            payload: packet.data.clone(),
        });
        true
    }

    /// What the viewer says.
    pub(super) fn hear(
        &mut self,
        message: Message,
        now: Instant,
        ntp: u64,
        mut send: impl FnMut(&[u8]),
    ) -> Heard {
        let mut heard = Heard::default();
        match message {
            Message::Nack { ssrc, lost } => {
                self.figures.nacks = self.figures.nacks.saturating_add(1);
                let stream = std::iter::once(&mut self.video).chain(&mut self.audio);
                let Some(stream) = stream.into_iter().find(|stream| stream.is(ssrc)) else {
                    return heard;
                };
                let mut packet = BytesMut::new();
                for sequence in lost {
                    if stream.write_again(&mut packet, sequence, now) {
                        self.figures.resent = self.figures.resent.saturating_add(1);
                        send(&packet);
                    }
                }
            }
            Message::KeyFrame { ssrc } if self.video.is(ssrc) => {
                self.figures.key_frames = self.figures.key_frames.saturating_add(1);
                heard.wants_group = true;
            }
            Message::Reception(report) => heard.wish = self.take_report(&report, now, ntp),
            Message::Bye => heard.wish = Some(Wish::Gone),
            Message::KeyFrame { .. } | Message::Sender { .. } => {}
        }
        heard
    }

    fn take_report(&mut self, report: &Reception, now: Instant, ntp: u64) -> Option<Wish> {
        // RFC 3550 §6.4.1: in 65536ths of a second.
        #[allow(clippy::cast_possible_truncation)]
        let middle = (ntp >> 16) as u32;
        if report.last_sr != 0 {
            let trip = middle.wrapping_sub(report.last_sr).wrapping_sub(report.delay);
            // A clock that is off by a tick turns it over.
            if trip < 1 << 20 {
                let nanos = u64::from(trip).saturating_mul(1_000_000_000) >> 16;
                self.figures.round_trip = Some(Duration::from_nanos(nanos));
            }
        }
        if !self.video.is(report.ssrc) {
            return None;
        }
        self.figures.loss = f64::from(report.fraction) / 2.56;
        self.steps.take(report.fraction, now)
    }

    /// Another track is watched from now on.
    pub(super) fn change_track(&mut self, now: Instant) {
        self.broken = true;
        self.group_at = None;
        self.steps.changed(now);
    }

    /// Sends what is due. The packet that is handed out is not protected yet.
    pub(super) fn send(&mut self, now: Instant, ntp: u64, mut send: impl FnMut(Due<'_>)) {
        let mut packet = BytesMut::new();
        // Before the picture, which may take a moment.
        while let Some(sound) = self.sounds.pop_front_if(|sound| sound.due <= now) {
            let Some(audio) = &mut self.audio else { continue };
            audio.write(&mut packet, sound.timestamp, (sound.marker, false), &sound.payload);
            send(Due::Media(&packet));
        }
        if now >= self.next_at && !self.queue.is_empty() {
            for queued in self.queue.drain(..self.queue.len().min(AT_ONCE)) {
                let Queued { timestamp, marker, key, payload } = queued;
                self.video.write(&mut packet, timestamp, (marker, key), &payload);
                send(Due::Media(&packet));
            }
            self.next_at = now + MOMENT;
        }
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            let elapsed = self.elapsed(now);
            for stream in std::iter::once(&self.video).chain(&self.audio) {
                if stream.has_begun() {
                    packet.clear();
                    rtcp::write_sender_report(&mut packet, &stream.report(elapsed, ntp), CNAME);
                    send(Due::Control(&packet));
                }
            }
        }
    }

    /// When [`Self::send`] has something to do.
    pub(super) fn due(&self) -> Instant {
        let pictures = (!self.queue.is_empty()).then_some(self.next_at);
        let sound = self.sounds.front().map(|sound| sound.due);
        pictures.into_iter().chain(sound).fold(self.report_at, Instant::min)
    }

    /// What is said when the session ends from this side.
    pub(super) fn goodbye(&self) -> BytesMut {
        let mut packet = BytesMut::new();
        let streams = std::iter::once(&self.video).chain(&self.audio);
        let ssrcs: Vec<u32> = streams.map(Stream::ssrc).collect();
        rtcp::write_bye(&mut packet, &ssrcs, CNAME);
        packet
    }

    pub(super) fn figures(&self) -> Figures {
        let mut figures = self.figures;
        for stream in std::iter::once(&self.video).chain(&self.audio) {
            let (packets, octets, _) = stream.sent();
            figures.packets = figures.packets.saturating_add(packets.into());
            figures.octets = figures.octets.saturating_add(octets.into());
        }
        figures
    }
}

/// A packet that is due.
#[derive(Debug)]
pub(super) enum Due<'a> {
    Media(&'a [u8]),
    Control(&'a [u8]),
}

/// What comes of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The group is to be handed over once more.
    pub(super) wants_group: bool,
    pub(super) wish: Option<Wish>,
}

/// UTC in units of 2^-32 s since 1900 (RFC 3550 §4), of nanoseconds since 1970.
pub(super) fn ntp(nanos: i64) -> u64 {
    let nanos = u64::try_from(nanos).unwrap_or(0);
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let fraction = (rest << 32) / 1_000_000_000;
    // Of 2036 on it begins anew.
    seconds.wrapping_add(NTP_OFFSET) << 32 | fraction
}

#[cfg(test)]
mod tests;
