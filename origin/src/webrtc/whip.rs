//! What a browser publishes: packets in, units of a source out, with one clock for picture and sound.
//!
//! ```text
//! packet ─► stream (by SSRC, or by payload type) ─► receive (order, gaps) ─► pictures │ sound ─► units
//!                                                     └► NACK, key frame, reports ─► publisher
//! ```
//! **Times.** Each stream has a clock of its own, which begins anywhere. At first both are placed by when they came;
//! as soon as sender reports say how the two go together (RFC 3550 §6.4.1), the sound is moved to fit the
//! picture. A source's times may jump, which the channel repairs.
//!
//! Pure but for the instants it is given: `publishing` has the socket and the hub.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use ingest::source::{AudioCodec, ForeignSound, SoundConfig, SourceSample, Unit};
use packager::time::{Timescale, Timestamp, Unroller};

use super::packets::{OPUS_CLOCK, VIDEO_CLOCK};
use super::pictures::{Coding, Pictures};
use super::receive::{Packet, Ready, Receiver};
use super::rtcp::{self, CNAME, Message};

/// How long a picture's packet is waited for: it is asked for several times in that.
const VIDEO_PATIENCE: Duration = Duration::from_millis(400);
/// How long a packet of sound is waited for: it is only put in order.
const AUDIO_PATIENCE: Duration = Duration::from_millis(60);
/// How often a key frame is asked for: it costs the browser a burst.
const KEY_FRAME_EVERY: Duration = Duration::from_secs(1);
/// How often streams are reported on. Browsers raise their rate with the reports that find no loss.
const REPORT_EVERY: Duration = Duration::from_millis(500);
/// A sound that is off by less stays where it is, in nanoseconds.
const SYNC_SLACK: i64 = 15_000_000;
/// A sound that is off by more is not: no way delays one of the two by so much, and reports may say anything.
const MOST_SYNC: i64 = 10_000_000_000;
/// Streams of a kind that are followed: a browser that begins anew has another.
const MAX_STREAMS: usize = 4;

/// What a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) coding: Coding,
    pub(super) video: u8,
    pub(super) again: Option<u8>,
    pub(super) audio: Option<u8>,
}

/// How a publisher is doing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) pictures: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) lost: u64,
    pub(super) nacks: u64,
    pub(super) key_frames: u64,
}

/// A stream's clock in nanoseconds of the session.
#[derive(Debug)]
struct StreamClock {
    ticks: Unroller,
    per_second: i64,
    /// What is added to the stream's own nanoseconds.
    offset: Option<i64>,
    /// Its own nanoseconds and the peer's wall clock, of the newest report.
    report: Option<(i64, i64)>,
}

impl StreamClock {
    fn new(per_second: u32) -> Self {
        Self { ticks: Unroller::new(32), per_second: per_second.into(), offset: None, report: None }
    }

    fn nanos(&mut self, timestamp: u32) -> i64 {
        let ticks = self.ticks.unroll(timestamp.into());
        let nanos = i128::from(ticks) * 1_000_000_000 / i128::from(self.per_second.max(1));
        i64::try_from(nanos).unwrap_or(0)
    }

    /// A time of the stream in nanoseconds of the session.
    fn place(&mut self, timestamp: u32, elapsed: i64) -> i64 {
        let nanos = self.nanos(timestamp);
        nanos.saturating_add(*self.offset.get_or_insert_with(|| elapsed.saturating_sub(nanos)))
    }

    fn hear(&mut self, ntp: u64, rtp: u32) {
        if self.offset.is_some() {
            let wall = (u128::from(ntp) * 1_000_000_000) >> 32;
            self.report = Some((self.nanos(rtp), i64::try_from(wall).unwrap_or(0)));
        }
    }

    /// The peer's wall clock at the session's beginning, as this stream has it.
    fn beginning(&self) -> Option<i64> {
        let (nanos, wall) = self.report?;
        Some(wall.saturating_sub(nanos.saturating_add(self.offset?)))
    }
}

#[derive(Debug)]
struct Track {
    ssrc: Option<u32>,
    receiver: Receiver,
    clock: StreamClock,
}

impl Track {
    fn new(per_second: u32, patience: Duration, now: Instant) -> Self {
        let receiver = Receiver::new(per_second, patience, now);
        Self { ssrc: None, receiver, clock: StreamClock::new(per_second) }
    }
}

/// One publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    began: Instant,
    agreed: Agreed,
    /// Our own, in what we tell.
    ssrc: u32,
    video: Track,
    audio: Track,
    pictures: Pictures,
    told_sound: bool,
    key_frame_at: Option<Instant>,
    report_at: Instant,
    figures: Figures,
    streams: Vec<u32>,
}

impl Publisher {
    pub(super) fn new(agreed: Agreed, ssrc: u32, now: Instant) -> Self {
        Self {
            began: now,
            agreed,
            ssrc,
            video: Track::new(VIDEO_CLOCK, VIDEO_PATIENCE, now),
            audio: Track::new(OPUS_CLOCK, AUDIO_PATIENCE, now),
            pictures: Pictures::new(agreed.coding),
            told_sound: false,
            key_frame_at: None,
            report_at: now + REPORT_EVERY,
            figures: Figures::default(),
            streams: Vec::new(),
        }
    }

    /// Whether a stream may be opened: its payload type is one of those agreed on, and there are not too
    /// many. What stands there is not proved to be the peer's yet.
    pub(super) fn expects(&self, payload_type: u8, ssrc: u32) -> bool {
        let Agreed { video, again, audio, .. } = self.agreed;
        let known =
            payload_type == video || Some(payload_type) == again || Some(payload_type) == audio;
        known && (self.streams.contains(&ssrc) || self.streams.len() < 3 * MAX_STREAMS)
    }

    /// An opened packet of the peer's; gives what comes of it.
    pub(super) fn take(&mut self, packet: Packet, now: Instant, units: &mut Vec<Unit>) {
        if !self.streams.contains(&packet.ssrc) {
            self.streams.push(packet.ssrc);
        }
        self.figures.packets = self.figures.packets.saturating_add(1);
        let octets = u64::try_from(packet.payload.len()).unwrap_or(0);
        self.figures.octets = self.figures.octets.saturating_add(octets);
        if packet.payload_type == self.agreed.video {
            if self.video.ssrc != Some(packet.ssrc) {
                // It began anew: its numbers and times have nothing to do with those before.
                self.video = Track::new(VIDEO_CLOCK, VIDEO_PATIENCE, now);
                self.video.ssrc = Some(packet.ssrc);
                self.pictures.lose();
            }
            self.video.receiver.take(packet, false, now);
        } else if Some(packet.payload_type) == self.agreed.again {
            if let Some(ssrc) = self.video.ssrc
                && let Some(packet) = packet.original(self.agreed.video, ssrc)
            {
                self.video.receiver.take(packet, true, now);
            }
        } else {
            if self.audio.ssrc != Some(packet.ssrc) {
                self.audio = Track::new(OPUS_CLOCK, AUDIO_PATIENCE, now);
                self.audio.ssrc = Some(packet.ssrc);
            }
            self.audio.receiver.take(packet, false, now);
        }
        self.drain(now, units);
    }

    /// What is in order by now, or has been given up.
    fn drain(&mut self, now: Instant, units: &mut Vec<Unit>) {
        let elapsed =
            i64::try_from(now.saturating_duration_since(self.began).as_nanos()).unwrap_or(0);
        while let Some(ready) = self.video.receiver.ready(now) {
            match ready {
                Ready::Gap(count) => {
                    self.figures.lost = self.figures.lost.saturating_add(count);
                    self.pictures.lose();
                }
                Ready::Packet(packet) => {
                    let Some(whole) = self.pictures.take(&packet) else { continue };
                    units.extend(whole.config.map(Unit::VideoConfig));
                    let at = self.video.clock.place(whole.timestamp, elapsed);
                    let sample = sample(at, whole.sync, whole.data, now);
                    units.push(Unit::Video(sample));
                    self.figures.pictures = self.figures.pictures.saturating_add(1);
                }
            }
        }
        while let Some(ready) = self.audio.receiver.ready(now) {
            let Ready::Packet(packet) = ready else { continue };
            if packet.payload.is_empty() {
                continue;
            }
            if !std::mem::replace(&mut self.told_sound, true) {
                let sound =
                    ForeignSound { codec: AudioCodec::Opus, sample_rate: OPUS_CLOCK, channels: 2 };
                units.push(Unit::AudioConfig(SoundConfig::Foreign(sound)));
            }
            let at = self.audio.clock.place(packet.timestamp, elapsed);
            units.push(Unit::Audio(sample(at, true, packet.payload, now)));
        }
    }

    /// What the peer says; false if it has gone.
    pub(super) fn hear(&mut self, message: &Message, now: Instant) -> bool {
        match message {
            Message::Sender { ssrc, ntp, rtp } => {
                let tracks = [&mut self.video, &mut self.audio];
                if let Some(track) = tracks.into_iter().find(|track| track.ssrc == Some(*ssrc)) {
                    track.receiver.hear_sender(*ntp, now);
                    track.clock.hear(*ntp, *rtp);
                }
                self.synchronise();
            }
            Message::Bye => return false,
            Message::Reception(_) | Message::Nack { .. } | Message::KeyFrame { .. } => {}
        }
        true
    }

    /// Moves the sound to where the reports say that it belongs.
    fn synchronise(&mut self) {
        let (Some(video), Some(audio)) =
            (self.video.clock.beginning(), self.audio.clock.beginning())
        else {
            return;
        };
        let off = audio.saturating_sub(video);
        if (SYNC_SLACK..=MOST_SYNC).contains(&off.saturating_abs())
            && let Some(offset) = &mut self.audio.clock.offset
        {
            *offset = offset.saturating_add(off);
        }
    }

    /// Everything that is due: compounds of control packets, and units of what was given up.
    pub(super) fn pass_time(
        &mut self,
        now: Instant,
        units: &mut Vec<Unit>,
        mut send: impl FnMut(&[u8]),
    ) {
        self.drain(now, units);
        let mut packet = BytesMut::new();
        if let Some(ssrc) = self.video.ssrc {
            let wanted = self.video.receiver.wanted(now);
            if !wanted.is_empty() {
                rtcp::write_receiver_report(&mut packet, self.ssrc, &[], CNAME);
                rtcp::write_nack(&mut packet, self.ssrc, ssrc, &wanted);
                self.figures.nacks = self.figures.nacks.saturating_add(1);
            }
            let asked = self.key_frame_at.is_some_and(|at| now < at + KEY_FRAME_EVERY);
            if self.pictures.wants_key_frame() && !asked {
                self.key_frame_at = Some(now);
                if packet.is_empty() {
                    rtcp::write_receiver_report(&mut packet, self.ssrc, &[], CNAME);
                }
                rtcp::write_pli(&mut packet, self.ssrc, ssrc);
                self.figures.key_frames = self.figures.key_frames.saturating_add(1);
            }
        }
        if !packet.is_empty() {
            send(&packet);
        }
        // Those for sound are left to their time.
        let _ = self.audio.receiver.wanted(now);
        if now >= self.report_at {
            self.report_at = now + REPORT_EVERY;
            let blocks: Vec<_> = [&mut self.video, &mut self.audio]
                .into_iter()
                .filter_map(|track| track.receiver.report(track.ssrc?, now))
                .collect();
            if !blocks.is_empty() {
                packet.clear();
                rtcp::write_receiver_report(&mut packet, self.ssrc, &blocks, CNAME);
                send(&packet);
            }
        }
    }

    /// When [`Self::pass_time`] has something to do.
    pub(super) fn due(&self) -> Instant {
        let tracks = [&self.video, &self.audio].into_iter();
        let receivers = tracks.filter_map(|track| track.receiver.due()).min();
        let key = self.video.ssrc.filter(|_| self.pictures.wants_key_frame());
        let key = key.map(|_| self.key_frame_at.map_or(self.began, |at| at + KEY_FRAME_EVERY));
        receivers.into_iter().chain(key).fold(self.report_at, Instant::min)
    }

    /// What is said when the session ends from this side.
    pub(super) fn goodbye(&self) -> BytesMut {
        let mut packet = BytesMut::new();
        rtcp::write_bye(&mut packet, &[self.ssrc], CNAME);
        packet
    }

    pub(super) fn figures(&self) -> Figures {
        self.figures
    }
}

fn sample(at: i64, sync: bool, data: bytes::Bytes, received: Instant) -> SourceSample {
    let at = Timestamp::new(at, Timescale::NANOS);
    SourceSample { dts: at, pts: at, sync, data, received }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const AGREED: Agreed =
        Agreed { coding: Coding::H264, video: 102, again: Some(103), audio: Some(111) };

    fn sound(sequence: u16, timestamp: u32) -> Packet {
        let payload = Bytes::from_static(b"opus");
        Packet { payload_type: 111, marker: false, sequence, timestamp, ssrc: 5, payload }
    }

    fn at(unit: &Unit) -> Option<i64> {
        match unit {
            Unit::Audio(sample) => Some(sample.pts.ticks / 1_000_000),
            _ => None,
        }
    }

    #[test]
    fn sound_is_told_once_and_kept_in_order() {
        let now = Instant::now();
        let mut publisher = Publisher::new(AGREED, 1, now);
        let mut units = Vec::new();
        for (sequence, timestamp) in [(1, 960), (3, 2_880), (2, 1_920)] {
            publisher.take(sound(sequence, timestamp), now, &mut units);
        }
        assert!(
            matches!(&units[0], Unit::AudioConfig(SoundConfig::Foreign(s)) if s.codec == AudioCodec::Opus)
        );
        assert_eq!(units.iter().filter_map(at).collect::<Vec<_>>(), [0, 20, 40]);
    }

    #[test]
    fn reports_bring_sound_and_picture_together() {
        let now = Instant::now();
        let mut publisher = Publisher::new(AGREED, 1, now);
        let mut units = Vec::new();
        // Both clocks are placed by arrival; the sound was 200 ms on its way.
        publisher.video.ssrc = Some(7);
        publisher.video.clock.place(90_000, 0);
        publisher.take(sound(1, 48_000), now, &mut units);
        let ntp = |millis: u64| (1_000 << 32) + ((millis << 32) / 1_000);
        let video = Message::Sender { ssrc: 7, ntp: ntp(400), rtp: 90_000 };
        let audio = Message::Sender { ssrc: 5, ntp: ntp(200), rtp: 48_000 };
        assert!(publisher.hear(&video, now) && publisher.hear(&audio, now));
        units.clear();
        publisher.take(sound(2, 48_960), now, &mut units);
        let times: Vec<_> = units.iter().filter_map(at).collect();
        assert!((-181..=-179).contains(&times[0]), "{times:?}");
        // Told again, it stays.
        assert!(publisher.hear(&audio, now) && publisher.hear(&video, now));
        units.clear();
        publisher.take(sound(3, 49_920), now, &mut units);
        let again: Vec<_> = units.iter().filter_map(at).collect();
        assert!((19..=21).contains(&(again[0] - times[0])), "{again:?} after {times:?}");
    }

    #[test]
    fn reports_that_make_no_sense_move_nothing() {
        let now = Instant::now();
        for wall in [0, 1 << 40, u64::MAX] {
            let mut publisher = Publisher::new(AGREED, 1, now);
            let mut units = Vec::new();
            publisher.video.ssrc = Some(7);
            publisher.video.clock.place(90_000, 0);
            publisher.take(sound(1, 48_000), now, &mut units);
            let video = Message::Sender { ssrc: 7, ntp: 1_000 << 32, rtp: 90_000 };
            let audio = Message::Sender { ssrc: 5, ntp: wall, rtp: 48_000 };
            assert!(publisher.hear(&video, now) && publisher.hear(&audio, now));
            units.clear();
            publisher.take(sound(2, 48_960), now, &mut units);
            assert_eq!(units.iter().filter_map(at).collect::<Vec<_>>(), [20], "{wall}");
        }
    }

    #[test]
    fn strangers_are_not_expected_and_streams_are_bounded() {
        let now = Instant::now();
        let mut publisher = Publisher::new(AGREED, 1, now);
        assert!(
            publisher.expects(102, 1) && publisher.expects(111, 2) && !publisher.expects(96, 1)
        );
        let mut units = Vec::new();
        for ssrc in 0..12 {
            publisher.take(Packet { ssrc, ..sound(1, 0) }, now, &mut units);
        }
        assert!(publisher.expects(111, 3) && !publisher.expects(111, 99));
    }

    #[test]
    fn a_key_frame_is_asked_for_once_a_second() {
        let now = Instant::now();
        let mut publisher = Publisher::new(AGREED, 1, now);
        let mut units = Vec::new();
        let picture = Packet { payload_type: 102, marker: true, ssrc: 7, ..sound(1, 0) };
        publisher.take(picture, now, &mut units);
        let mut asked = 0;
        for millis in (0..2_500).step_by(10) {
            publisher.pass_time(now + Duration::from_millis(millis), &mut units, |compound| {
                let messages = rtcp::read(compound);
                asked += messages.iter().filter(|m| **m == Message::KeyFrame { ssrc: 7 }).count();
            });
        }
        assert_eq!(asked, 3);
    }
}
