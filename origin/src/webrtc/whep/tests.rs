//! What a viewer is sent, without a socket.

use bytes::BufMut as _;

use super::super::stream::Terms;
use super::*;
use crate::channel::preview::Preview;
use ingest::source::{SourceSample, Unit};
use packager::media::{VideoCodec, VideoConfig};
use packager::time::{Timescale, Timestamp};

fn stream(ssrc: u32, clock: u32, now: Instant) -> Stream {
    let terms = Terms { ssrc, payload_type: 102, clock, again: None, at_once: None };
    Stream::new(terms, [0; 8], now)
}

fn viewer(now: Instant) -> Viewer {
    Viewer::new(stream(7, 90_000, now), Some(stream(9, 48_000, now)), now)
}

/// Pictures every 40 ms, the first a key frame; each of one small unit.
fn pictures(from_ms: i64, count: i64) -> Vec<Arc<Picture>> {
    let preview = Preview::default();
    let config = VideoConfig {
        codec: VideoCodec::H264,
        record: Bytes::from_static(&[1]),
        codec_string: String::new(),
        width: 128,
        height: 96,
        rate: None,
    };
    preview.passed(&Unit::VideoConfig(config.into()));
    for index in 0..count {
        let mut data = BytesMut::new();
        data.put_u32(3);
        data.put_slice(&[0x65, 1, 2]);
        let at = Timestamp::new(from_ms + index * 40, Timescale::MILLIS);
        let received = Instant::now();
        let data = data.freeze();
        let sample = SourceSample { dts: at, pts: at, sync: index == 0, data, received };
        preview.passed(&Unit::Video(sample));
    }
    preview.tracks().borrow()[0].group()
}

/// Times on the stream's clock of everything that is sent up to an instant.
fn sent(viewer: &mut Viewer, until: Instant) -> Vec<u32> {
    let mut times = Vec::new();
    while viewer.due() <= until {
        let now = viewer.due();
        viewer.send(now, 0, |due| {
            if let Due::Media(packet) = due {
                times.push(u32::from_be_bytes(packet[4..8].try_into().unwrap()));
            }
        });
    }
    times
}

#[test]
fn a_group_is_played_in_a_hurry_and_then_at_its_own_pace() {
    let began = Instant::now();
    let mut viewer = viewer(began);
    let now = began + Duration::from_millis(500);
    let all = pictures(3_600_000, 12);
    assert!(viewer.take_group(&all[..10], now));
    let group = sent(&mut viewer, now + Duration::from_millis(100));
    let steps: Vec<u32> = group.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(group.len(), 10);
    assert!(steps.iter().all(|step| *step == 90), "{steps:?}");
    // The newest picture is now.
    assert_eq!(group.last(), Some(&45_000));
    for (index, picture) in all[10..].iter().enumerate() {
        let at = now + Duration::from_millis(40 * (index as u64 + 1));
        viewer.take_picture(picture, at);
        assert_eq!(sent(&mut viewer, at), [45_000 + 3_600 * (index as u32 + 1)]);
    }
}

#[test]
fn a_lost_picture_is_answered_from_the_group_and_not_again_at_once() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    let all = pictures(0, 11);
    viewer.take_group(&all[..10], now);
    let first = sent(&mut viewer, now + Duration::from_millis(100));
    let pli = || Message::KeyFrame { ssrc: 7 };
    let later = now + Duration::from_millis(600);
    assert!(viewer.hear(pli(), later, 0, |_| {}).wants_group);
    assert!(!viewer.hear(Message::KeyFrame { ssrc: 1 }, later, 0, |_| {}).wants_group);
    assert!(viewer.take_group(&all[..10], later));
    let second = sent(&mut viewer, later + Duration::from_millis(100));
    assert_eq!(second.len(), 10);
    assert!(second[0] > *first.last().unwrap(), "{first:?} {second:?}");
    assert!(second.windows(2).all(|pair| pair[0] < pair[1]), "{second:?}");
    assert!(!viewer.take_group(&all[..10], later + Duration::from_millis(100)));
    // The next picture is behind the last of the group again.
    viewer.take_picture(&all[10], later + Duration::from_millis(120));
    let third = sent(&mut viewer, later + Duration::from_millis(120));
    assert!(third[0] > *second.last().unwrap(), "{second:?} {third:?}");
}

#[test]
fn a_clock_that_jumps_moves_the_place_of_both() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    viewer.take_group(&pictures(0, 1), now);
    sent(&mut viewer, now);
    let later = now + Duration::from_secs(1);
    viewer.take_picture(&pictures(9_000_000, 1)[0], later);
    assert_eq!(sent(&mut viewer, later), [90_000]);
    let sound = OpusPacket { pts: 9_000_000_000_000, data: Bytes::from_static(b"o") };
    assert!(viewer.take_sound(&sound, later));
    assert_eq!(sent(&mut viewer, later), [48_000]);
}

#[test]
fn sound_follows_itself_and_waits_for_a_picture() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    let sound = |ms: i64| OpusPacket { pts: ms * 1_000_000, data: Bytes::from_static(b"o") };
    assert!(!viewer.take_sound(&sound(0), now));
    viewer.take_group(&pictures(0, 1), now);
    sent(&mut viewer, now);
    // Off by a few milliseconds, as sound is that is cut anew.
    for (ms, marker, time) in
        [(0, true, 0u32), (13, false, 480), (17, false, 960), (900, true, 43_200)]
    {
        let at = now + Duration::from_millis(ms);
        assert!(viewer.take_sound(&sound(ms as i64), at));
        let mut seen = Vec::new();
        viewer.send(at + Duration::from_millis(60), 0, |due| {
            if let Due::Media(packet) = due {
                seen.push((packet[1] & 0x80 != 0, packet[4..8].to_vec()));
            }
        });
        assert_eq!(seen, [(marker, time.to_be_bytes().to_vec())], "{ms}");
    }
}

#[test]
fn sound_that_comes_in_lumps_is_sent_evenly() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    viewer.take_group(&pictures(0, 1), now);
    sent(&mut viewer, now);
    let mut at = Vec::new();
    for lump in 1..50u64 {
        let here = now + Duration::from_millis(lump * 40);
        for packet in lump * 4..lump * 4 + 4 {
            let pts = i64::try_from(packet).unwrap() * 10_000_000;
            assert!(viewer.take_sound(&OpusPacket { pts, data: Bytes::from_static(b"o") }, here));
        }
        while viewer.due() < here + Duration::from_millis(40) {
            let due = viewer.due();
            viewer.send(due, 0, |packet| {
                if matches!(packet, Due::Media(_)) {
                    at.push(due);
                }
            });
        }
    }
    assert!(at.len() > 180, "{}", at.len());
    let apart = at.windows(2).skip(4).map(|pair| pair[1] - pair[0]);
    assert!(apart.clone().all(|gap| gap == Duration::from_millis(10)), "{:?}", apart.max());
}

#[test]
fn a_way_that_takes_nothing_does_not_fill_memory() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    let picture = pictures(0, 1);
    for _ in 0..10 * MAX_QUEUED {
        viewer.take_picture(&picture[0], now);
        assert!(viewer.queue.len() <= MAX_QUEUED);
    }
}

#[test]
fn the_round_trip_is_read_off_a_report() {
    let now = Instant::now();
    let mut viewer = viewer(now);
    // Asked 1 s ago, answered after 0.9 s.
    let sent_at = ntp(1_000_000_000_000_000_000);
    let heard_at = ntp(1_000_000_001_000_000_000);
    #[allow(clippy::cast_possible_truncation)]
    let last_sr = (sent_at >> 16) as u32;
    let report = Reception { ssrc: 7, fraction: 64, last_sr, delay: 58_982, ..Default::default() };
    viewer.hear(Message::Reception(report), now, heard_at, |_| {});
    let trip = viewer.figures().round_trip.unwrap();
    assert!((99..=101).contains(&trip.as_millis()), "{trip:?}");
    assert!((viewer.figures().loss - 25.0).abs() < 0.1);
}
