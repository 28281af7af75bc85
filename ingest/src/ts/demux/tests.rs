#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use bytes::Bytes;
use proptest::prelude::*;

use super::super::fixture::*;
use super::super::packet::SYNC;
use super::super::pes::tests::pes;
use super::super::psi::tests::{pat, pmt};
use super::super::section;
use super::*;

fn demux(want: Want, bytes: &[u8], piece: usize) -> (Vec<Event>, Counts) {
    let mut demuxer = Demuxer::new(want);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece) {
        demuxer.push(piece, Instant::now());
        events.extend(std::iter::from_fn(|| demuxer.poll()));
    }
    demuxer.finish();
    events.extend(std::iter::from_fn(|| demuxer.poll()));
    (events, demuxer.counts())
}

/// Decoding and presentation times of pictures, and times of audio frames.
fn times(events: &[Event]) -> (Vec<(i64, i64)>, Vec<i64>) {
    let mut found = (Vec::new(), Vec::new());
    for event in events {
        match event {
            Event::Unit(Unit::Video(one)) => found.0.push((one.dts.ticks, one.pts.ticks)),
            Event::Unit(Unit::Audio(one)) => found.1.push(one.dts.ticks),
            _ => {}
        }
    }
    found
}

#[test]
fn a_program_comes_out_as_it_went_in() {
    let mut mux = Mux::default();
    mux.tables().program(900_000, 10);
    let (events, counts) = demux(Want::default(), &mux.bytes, 1000);
    let (pictures, sound) = times(&events);
    let wanted: Vec<_> = (0..10).map(|n| 900_000 + n * 3600).map(|dts| (dts, dts + 7200)).collect();
    assert_eq!(pictures, wanted);
    assert_eq!(sound.len(), 20);
    let configs = events
        .iter()
        .filter(|event| matches!(event, Event::Unit(Unit::VideoConfig(_) | Unit::AudioConfig(_))));
    assert_eq!(configs.count(), 2, "each is told once");
    assert_eq!(Counts { packets: counts.packets, ..Counts::default() }, counts);
}

#[test]
fn clocks_that_wrap_go_on_for_pictures_and_sound_alike() {
    let start = WRAP - 4 * PICTURE;
    let mut mux = Mux::default();
    mux.tables().program(start, 10);
    let (pictures, sound) = times(&demux(Want::default(), &mux.bytes, 188).0);
    let start = start.cast_signed();
    let wanted: Vec<_> = (0..10).map(|n| start + n * 3600).map(|d| (d, d + 7200)).collect();
    assert_eq!(pictures, wanted);
    assert!(sound.is_sorted() && sound[0] == start, "{sound:?}");
}

#[test]
fn cues_are_handed_on_whole_with_their_place_with_and_without_registration() {
    for descriptors in [&[][..], &[5, 4, b'C', b'U', b'E', b'I']] {
        let mut mux = Mux::default();
        mux.section(PAT_PID, &pat(&[(1, PMT)])).section(
            PMT,
            &pmt(1, 0, VIDEO, &[(0x1b, VIDEO, &[]), (0x86, CUES, descriptors), (0x86, 0x105, &[])]),
        );
        mux.program(900_000, 2).section(CUES, SPLICE_NULL).section(0x105, SPLICE_NULL);
        mux.section(CUES, &[SPLICE_NULL[..19].to_vec(), vec![0]].concat());
        let (events, counts) = demux(Want::default(), &mux.bytes, 4096);
        let cues: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Unit(Unit::Section(cue)) => Some((cue.pid, cue.at.ticks, &cue.raw)),
                _ => None,
            })
            .collect();
        let wanted = Bytes::from_static(SPLICE_NULL);
        assert_eq!(cues, [(CUES, 903_600, &wanted), (0x105, 903_600, &wanted)]);
        assert_eq!(counts.bad_sections, 1, "the last has a wrong checksum");
    }
}

#[test]
fn a_packet_that_is_lost_costs_its_picture_and_one_that_comes_twice_nothing() {
    let mut mux = Mux::default();
    mux.tables();
    let tables = mux.bytes.len();
    mux.unit(VIDEO, &pes(0, None, &[&[0, 0, 1], SPS, &[0, 0, 1], PPS].concat(), false), &[]);
    for n in 0..6 {
        let slice = [&[0, 0, 0, 1, 0x65][..], &[0xaa; 600]].concat();
        mux.unit(VIDEO, &pes(n * PICTURE, None, &slice, false), &[]);
    }
    let of = |bytes: &[u8]| {
        let (events, counts) = demux(Want::default(), bytes, 188);
        (times(&events).0.len(), counts.lost, counts.broken)
    };
    assert_eq!(of(&mux.bytes), (6, 0, 0));
    let mut lost = mux.bytes.clone();
    let second = tables + 188 + 4 * 188;
    lost.drain(second + 188..second + 2 * 188);
    assert_eq!(of(&lost), (5, 1, 1));
    let mut twice = mux.bytes.clone();
    let packet = twice[second..second + 188].to_vec();
    twice.splice(second..second, packet);
    assert_eq!(of(&twice), (6, 0, 0));
    // Not a third time: the counter stands still, so something was lost, and the packet begins anew.
    let mut thrice = twice.clone();
    thrice.splice(second..second, twice[second..second + 188].to_vec());
    assert_eq!(of(&thrice), (6, 1, 1));
}

#[test]
fn a_break_that_is_announced_costs_nothing_of_what_came_before_it() {
    // The times and counters of the second part have nothing to do with those of the first.
    let (mut first, mut second) = (Mux::default(), Mux::default());
    first.tables().program(900_000, 5);
    second.announce(VIDEO).announce(SOUND).program(45_000_000, 5);
    let bytes = [first.bytes, second.bytes].concat();
    let (events, counts) = demux(Want::default(), &bytes, 188);
    let (pictures, sound) = times(&events);
    assert_eq!((pictures.len(), sound.len()), (10, 20));
    assert_eq!(Counts { packets: counts.packets, ..Counts::default() }, counts);
}

#[test]
fn a_new_map_with_the_same_streams_changes_nothing_and_one_with_others_is_followed() {
    let mut mux = Mux::default();
    mux.tables().program(0, 5);
    let streams: [(u8, Pid, &[u8]); 2] = [(0x0f, SOUND, &[]), (0x1b, VIDEO, &[])];
    mux.section(PMT, &pmt(1, 1, VIDEO, &streams)).program(5 * PICTURE, 5);
    // The picture moves to another PID, as when an encoder is replaced.
    mux.section(PMT, &pmt(1, 2, 0x200, &[(0x1b, 0x200, &[])]));
    let slice = [&[0, 0, 1], SPS, &[0, 0, 1], PPS, &[0, 0, 1, 0x65, 1]].concat();
    mux.unit(0x200, &pes(10 * PICTURE, None, &slice, false), &[]);
    let (events, counts) = demux(Want::default(), &mux.bytes, 7000);
    // The last picture before the move did not end before its PID was gone.
    assert_eq!(times(&events).0.len(), 10);
    assert_eq!((counts.lost, counts.bad_sections), (0, 0));
    let configs = events.iter().filter(|e| matches!(e, Event::Unit(Unit::VideoConfig(_))));
    assert_eq!(configs.count(), 1, "the same configuration is not told again");
}

#[test]
fn the_wanted_program_is_read_and_one_that_is_missing_is_told_once() {
    let mut mux = Mux::default();
    let programs = pat(&[(1, PMT), (7, 0x1001)]);
    mux.section(PAT_PID, &programs);
    mux.section(PMT, &pmt(1, 0, VIDEO, &[(0x1b, VIDEO, &[])]));
    mux.section(0x1001, &pmt(7, 0, SOUND, &[(0x0f, SOUND, &[])]));
    mux.program(0, 3).section(PAT_PID, &programs);
    let of = |program| times(&demux(Want { program, ..Want::default() }, &mux.bytes, 500).0);
    assert_eq!((of(None).0.len(), of(None).1.len()), (3, 0));
    assert_eq!((of(Some(7)).0.len(), of(Some(7)).1.len()), (0, 6));
    let (events, _) = demux(Want { program: Some(9), ..Want::default() }, &mux.bytes, 500);
    let [Event::Unusable(unusable)] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(unusable.to_string(), "no program 9: there are [1, 7]");
}

#[test]
fn a_table_in_several_sections_does_not_change_the_program_with_each_of_them() {
    let of_two = |number: u8, programs: &[(u16, Pid)]| {
        let mut table = pat(programs);
        let end = table.len() - 4;
        (table[6], table[7]) = (number, 1);
        let crc = section::checksum(&table[..end]);
        table[end..].copy_from_slice(&crc.to_be_bytes());
        table
    };
    let (first, second) = (of_two(0, &[(1, PMT)]), of_two(1, &[(900, 0x1900)]));
    for want in [None, Some(1)] {
        let mut mux = Mux::default();
        mux.section(PAT_PID, &second).tables();
        mux.section(PAT_PID, &first).program(0, 3);
        mux.section(PAT_PID, &second).program(3 * PICTURE, 3);
        let (events, _) = demux(Want { program: want, ..Want::default() }, &mux.bytes, 1000);
        assert_eq!(times(&events).0.len(), 6, "{want:?}");
        assert!(!events.iter().any(|event| matches!(event, Event::Unusable(_))), "{events:?}");
    }
}

#[test]
fn a_program_of_codecs_that_are_not_read_says_which() {
    let mut mux = Mux::default();
    mux.section(PAT_PID, &pat(&[(1, PMT)]));
    mux.section(
        PMT,
        &pmt(1, 0, VIDEO, &[(0x02, VIDEO, &[]), (0x06, SOUND, &[5, 4, b'O', b'p', b'u', b's'])]),
    );
    mux.section(PAT_PID, &pat(&[(1, PMT)]));
    let (events, _) = demux(Want::default(), &mux.bytes, 500);
    let told: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Unusable(unusable) => unusable.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("MPEG-2 video on PID 256"), "{told:?}");
}

#[test]
fn a_stream_without_a_clock_reference_is_paced_by_its_pictures() {
    let mut mux = Mux::default();
    mux.section(PAT_PID, &pat(&[(1, PMT)]));
    // The PID that stands for none, and one on which none comes.
    for clock in [0x1fff, 0x1ee] {
        mux.section(
            PMT,
            &pmt(1, (clock & 15) as u8, clock, &[(0x1b, VIDEO, &[]), (0x0f, SOUND, &[])]),
        );
        mux.program(900_000, 3);
        let (events, _) = demux(Want::default(), &mux.bytes, 500);
        let clocks = events.iter().filter_map(|event| match event {
            Event::Clock(at) => Some(at.ticks),
            _ => None,
        });
        assert!(clocks.take(3).eq([900_000, 903_600, 907_200]), "{clock}");
    }
}

#[test]
fn a_scrambled_stream_is_told_once_and_the_others_are_read() {
    let mut mux = Mux::default();
    mux.tables().program(0, 6);
    for packet in
        mux.bytes.chunks_mut(PACKET).filter(|packet| packet[1] & 0x1f == 1 && packet[2] == 1)
    {
        packet[3] |= 0x80;
    }
    let (events, counts) = demux(Want::default(), &mux.bytes, 500);
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Unusable(unusable) => Some(unusable.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["PID 257 is scrambled"]);
    assert_eq!((times(&events).0.len(), times(&events).1.len(), counts.scrambled), (6, 0, 6));
}

#[test]
fn one_damaged_time_moves_no_other() {
    let mut mux = Mux::default();
    mux.tables().program(900_000, 3);
    // Bit 32 of its time is wrong: half a turn of the clock away, and back.
    let slice = [0, 0, 0, 1, 0x41, 0x9a, 3];
    mux.unit(VIDEO, &pes(900_000 + (1 << 32) + 12_000, None, &slice, false), &[]);
    mux.program(910_800, 5);
    let (pictures, _) = times(&demux(Want::default(), &mux.bytes, 500).0);
    let wanted: Vec<_> = (0..8).map(|n| 900_000 + n * 3600).collect();
    let found: Vec<_> =
        pictures.iter().map(|(dts, _)| *dts).filter(|dts| *dts < 1 << 30 && *dts > 0).collect();
    assert_eq!(found, wanted);
}

#[test]
fn pictures_without_times_follow_at_the_pace_of_those_before() {
    let mut mux = Mux::default();
    mux.tables().program(0, 2);
    let mut untimed = pes(0, None, &[0, 0, 1, 0x41, 1], false);
    // No PTS, and its five bytes are stuffing.
    untimed[7] = 0;
    mux.unit(VIDEO, &untimed, &[]).picture(3 * PICTURE, 0, false);
    let (pictures, _) = times(&demux(Want::default(), &mux.bytes, 188).0);
    let dts: Vec<_> = pictures.iter().map(|(dts, _)| *dts).collect();
    assert_eq!(dts, [0, 3600, 7200, 10800]);
}

proptest! {
    #[test]
    fn how_a_stream_is_split_changes_nothing(piece in 1usize..2000) {
        let mut mux = Mux::default();
        mux.tables().program(WRAP - 2 * PICTURE, 6).section(CUES, SPLICE_NULL);
        let (whole, counts) = demux(Want::default(), &mux.bytes, usize::MAX);
        let (split, split_counts) = demux(Want::default(), &mux.bytes, piece);
        prop_assert_eq!(times(&whole), times(&split));
        prop_assert_eq!((whole.len(), counts), (split.len(), split_counts));
    }

    #[test]
    fn a_damaged_stream_is_survived_and_is_read_again_behind_the_damage(
        damage in prop::collection::vec((0usize..30_000, any::<u8>()), 1..60),
        cut in 0usize..300,
    ) {
        let mut mux = Mux::default();
        mux.tables().program(0, 20);
        let (start, end) = (600.min(mux.bytes.len()), mux.bytes.len());
        for (at, byte) in damage {
            let place = start + at % (end - start);
            mux.bytes[place] = byte;
        }
        mux.bytes.drain(start..start + cut);
        mux.tables().program(20 * PICTURE, 10);
        let (events, _) = demux(Want::default(), &mux.bytes, 1316);
        let (pictures, _) = times(&events);
        // The ten behind it come, once a key frame's parameter sets have.
        let after = pictures.iter().filter(|(dts, _)| (20 * 3600..30 * 3600).contains(dts));
        prop_assert!(after.count() >= 9, "{:?}", pictures);
    }

    #[test]
    fn garbage_is_survived(bytes in prop::collection::vec(
        prop_oneof![2 => Just(SYNC), 3 => Just(0u8), 5 => any::<u8>()], 0..6000))
    {
        demux(Want::default(), &bytes, 700);
    }
}
