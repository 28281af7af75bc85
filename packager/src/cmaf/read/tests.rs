#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::cmaf;
use crate::cmaf::tests::{K, NOON, audio, segment, video};

#[test]
fn an_init_segment_gives_back_what_it_was_written_from() {
    for rendition in [video(), audio()] {
        let read = init(&cmaf::init(&rendition)).unwrap();
        assert_eq!(read.config, rendition.track.config);
        assert_eq!(read.timescale, rendition.track.timescale.get());
        assert_eq!((read.track_id, read.tracks), (1, 1));
    }
}

#[test]
fn an_init_segment_cut_anywhere_is_an_error() {
    let whole = cmaf::init(&video());
    for end in 0..whole.len() {
        assert!(init(&whole[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_segment_is_the_list_of_its_chunks() {
    let parts = segment(K, NOON * 90_000);
    let whole = parts.concat();
    let read = chunks(&whole).unwrap();
    let ranges: Vec<&[u8]> = read.iter().map(|chunk| &whole[chunk.range.clone()]).collect();
    assert_eq!(ranges, parts);
    for chunk in &read {
        let first = chunk.samples[0];
        let start = usize::try_from(first.offset).unwrap();
        assert_eq!(whole[start..start + first.size as usize], [0; 100]);
    }
}

#[test]
fn a_segment_cut_anywhere_but_between_its_chunks_is_incomplete() {
    let parts = segment(K, NOON * 90_000);
    let whole = parts.concat();
    let edges: Vec<usize> = chunks(&whole).unwrap().iter().map(|chunk| chunk.range.end).collect();
    let styp_and_prft = [32, 64];
    for end in 0..=whole.len() {
        let read = chunks(&whole[..end]);
        if end == 0 || edges.contains(&end) || styp_and_prft.contains(&end) {
            read.unwrap();
        } else {
            assert!(
                matches!(read, Err(Error::Incomplete { offset, .. }) if offset <= end),
                "{end}"
            );
        }
    }
}

#[test]
fn a_sample_count_that_asks_for_memory_is_refused() {
    let mut part = segment(K, NOON * 90_000)[1].to_vec();
    let trun = part.windows(4).position(|window| window == b"trun").unwrap() + 4;
    part[trun + 4..trun + 8].copy_from_slice(&u32::MAX.to_be_bytes());
    let error = Error::Invalid { what: "sample_count", offset: trun };
    assert_eq!(chunks(&part), Err(error));
}

#[test]
fn what_only_trex_could_tell_is_an_error() {
    let mut part = segment(K, NOON * 90_000)[1].to_vec();
    let trun = part.windows(4).position(|window| window == b"trun").unwrap() + 4;
    part[trun + 2] &= !1;
    let error = Error::Invalid { what: "sample_duration", offset: trun };
    assert_eq!(chunks(&part), Err(error));
}

#[test]
fn boxes_with_64_bit_sizes_and_without_an_end_are_read() {
    let part = &segment(K, NOON * 90_000)[1];
    let mdat = part.windows(4).position(|window| window == b"mdat").unwrap() - 4;
    let (head, tail) = part.split_at(mdat);
    let open = [head, &[0, 0, 0, 0], &tail[4..]].concat();
    assert_eq!(chunks(&open), chunks(part));
    let size = (tail.len() as u64 + 8).to_be_bytes();
    let large = [head, &[0, 0, 0, 1], b"mdat", &size, &tail[8..]].concat();
    assert_eq!(chunks(&large).unwrap()[0].data.len(), tail.len() - 8);
    let absurd = [head, &[0, 0, 0, 1], b"mdat", &[0, 0, 0, 0, 0, 0, 0, 3], &tail[8..]].concat();
    assert_eq!(chunks(&absurd), Err(Error::Invalid { what: "box size", offset: mdat }));
}

#[test]
fn a_configuration_that_is_refused_is_named_with_its_place() {
    let mut whole = cmaf::init(&video()).to_vec();
    let avcc = whole.windows(4).position(|window| window == b"avcC").unwrap() + 4;
    whole[avcc] = 3;
    let source = codec::Error::Invalid { what: "configurationVersion", offset: 0 };
    assert_eq!(init(&whole), Err(Error::Config { offset: avcc, source }));
}

proptest! {
    #[test]
    fn garbage_and_changed_bytes_never_panic(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let _ = (init(&garbage), chunks(&garbage));
        for mut bytes in [cmaf::init(&video()).to_vec(), cmaf::init(&audio()).to_vec()] {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let _ = init(&bytes);
        }
        let mut bytes = segment(K, NOON * 90_000).concat();
        for (at, value) in &changes {
            // Heads rather than pictures.
            let at = at.index(400);
            bytes[at] = *value;
        }
        if let Ok(read) = chunks(&bytes) {
            let _ = cmaf::rules::segment(K, true, &read);
            let _ = cmaf::rules::reference_times(90_000, &read);
        }
    }
}
