#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;

fn units(bytes: &[u8], length: LengthSize) -> Result<Vec<&[u8]>, Error> {
    Units::new(bytes, length).map(|unit| unit.map(|unit| unit.bytes)).collect()
}

fn annex_b(bytes: &[u8]) -> Result<Vec<&[u8]>, Error> {
    AnnexB::new(bytes).map(|unit| unit.map(|unit| unit.bytes)).collect()
}

#[test]
fn units_are_found_behind_lengths_of_one_two_and_four_bytes() {
    let expected: [&[u8]; 2] = [&[0x65, 1, 2], &[0x41]];
    let four = [0, 0, 0, 3, 0x65, 1, 2, 0, 0, 0, 1, 0x41];
    assert_eq!(units(&four, LengthSize::Four).unwrap(), expected);
    assert_eq!(units(&[0, 3, 0x65, 1, 2, 0, 1, 0x41], LengthSize::Two).unwrap(), expected);
    assert_eq!(units(&[3, 0x65, 1, 2, 1, 0x41], LengthSize::One).unwrap(), expected);
    let sizes: Vec<_> = (0..4).map(LengthSize::from_minus_one).collect();
    let (one, two, four) = (LengthSize::One, LengthSize::Two, LengthSize::Four);
    assert_eq!(sizes, [Some(one), Some(two), None, Some(four)]);
}

#[test]
fn an_access_unit_cut_anywhere_is_incomplete_where_the_unit_begins() {
    let whole = [0, 0, 0, 3, 0x65, 1, 2, 0, 0, 0, 2, 0x41, 9];
    for end in 1..whole.len() {
        let cut = units(&whole[..end], LengthSize::Four);
        let expected = match end {
            7 => Ok(vec![&whole[4..7]]),
            0..4 => Err(Error::Incomplete { offset: 0, len: 0 }),
            4..7 => Err(Error::Incomplete { offset: 0, len: 3 }),
            8..11 => Err(Error::Incomplete { offset: 7, len: 0 }),
            _ => Err(Error::Incomplete { offset: 7, len: 2 }),
        };
        assert_eq!(cut, expected, "{end}");
    }
}

#[test]
fn empty_and_huge_units_are_refused_and_end_the_walk() {
    let mut empty = Units::new(&[0, 0, 0, 0, 0, 0, 0, 1, 0x41], LengthSize::Four);
    assert_eq!(empty.next(), Some(Err(Error::Empty { offset: 0 })));
    assert_eq!(empty.next(), None);
    let huge = [&[0, 0x40, 0, 1][..], &[0x65; 64]].concat();
    let too_long = Error::TooLong { offset: 0, len: MAX_NAL + 1 };
    assert_eq!(units(&huge, LengthSize::Four), Err(too_long));
    let mut largest = vec![0, 0x40, 0, 0];
    largest.resize(MAX_NAL + 4, 0x65);
    assert_eq!(units(&largest, LengthSize::Four).unwrap()[0].len(), MAX_NAL);
}

#[test]
fn a_513th_unit_is_refused() {
    let slices = |count: usize| [0, 0, 0, 1, 0x41].repeat(count);
    assert_eq!(units(&slices(512), LengthSize::Four).unwrap().len(), 512);
    let too_many = Error::TooMany { offset: 512 * 5 };
    assert_eq!(units(&slices(513), LengthSize::Four), Err(too_many.clone()));
    assert!(matches!(annex_b(&[0, 0, 1, 0x41].repeat(513)), Err(Error::TooMany { .. })));
    let checked = check(&slices(100_000), LengthSize::Four, VideoCodec::H264);
    assert_eq!(checked, Err(too_many));
}

#[test]
fn more_than_64_kib_of_sei_is_refused_in_both_codecs() {
    for (codec, header, slice) in
        [(VideoCodec::H264, 6, 0x65), (VideoCodec::H265, 39 << 1, 19 << 1)]
    {
        let access_unit = |messages: usize| {
            let mut out = Vec::new();
            for _ in 0..messages {
                out.extend([0, 0, 0x40, 0]);
                out.extend([&[header][..], &[4; 0x3fff]].concat());
            }
            out.extend([0, 0, 0, 2, slice, 1]);
            out
        };
        let found = check(&access_unit(4), LengthSize::Four, codec).unwrap();
        assert_eq!(
            found,
            AccessUnit { nals: 5, sei: 65_536, random_access: true, sequence: false }
        );
        let too_much = Error::TooMuchSei { offset: 4 * 0x4004 };
        assert_eq!(check(&access_unit(5), LengthSize::Four, codec), Err(too_much));
    }
}

#[test]
fn an_access_unit_that_decoding_can_start_with_is_told_by_its_slices() {
    let starts = |unit: &[u8], codec| check(unit, LengthSize::Four, codec).unwrap().random_access;
    let idr = [0, 0, 0, 2, 9, 0x10, 0, 0, 0, 1, 6, 0, 0, 0, 3, 0x65, 1, 2];
    assert!(starts(&idr, VideoCodec::H264));
    assert!(!starts(&[0, 0, 0, 2, 0x41, 0x9a], VideoCodec::H264));
    assert!(!starts(&[], VideoCodec::H264));
    for (kind, expected) in
        [(1, false), (9, false), (16, true), (19, true), (21, true), (32, false)]
    {
        let unit = [0, 0, 0, 2, 35 << 1, 1, 0, 0, 0, 3, kind << 1, 1, 0x80];
        assert_eq!(starts(&unit, VideoCodec::H265), expected, "{kind}");
    }
}

#[test]
fn start_codes_of_three_and_four_bytes_and_zeros_around_are_taken_off() {
    let stream = [0, 0, 0, 1, 0x67, 5, 0, 0, 1, 0x68, 0, 0, 0, 0, 1, 0x65, 0, 7, 0, 0, 0];
    let expected: [&[u8]; 3] = [&[0x67, 5], &[0x68], &[0x65, 0, 7]];
    assert_eq!(annex_b(&stream).unwrap(), expected);
    let prefixed = from_annex_b(&stream).unwrap();
    assert_eq!(units(&prefixed, LengthSize::Four).unwrap(), expected);
    assert_eq!(annex_b(&[]).unwrap(), [] as [&[u8]; 0]);
    assert_eq!(annex_b(&[0; 9]).unwrap(), [] as [&[u8]; 0]);
}

#[test]
fn bytes_before_a_start_code_and_start_codes_before_nothing_are_errors() {
    assert_eq!(annex_b(&[0x67, 0, 0, 1]), Err(Error::NoStartCode { offset: 0 }));
    assert_eq!(annex_b(&[0, 1, 0x67]), Err(Error::NoStartCode { offset: 0 }));
    assert_eq!(annex_b(&[0, 0, 2, 0x67]), Err(Error::NoStartCode { offset: 0 }));
    assert_eq!(annex_b(&[0, 0, 1, 0, 0, 1, 0x67]), Err(Error::Empty { offset: 3 }));
    assert_eq!(annex_b(&[0, 0, 1]), Err(Error::Empty { offset: 3 }));
    let mut huge = vec![0, 0, 1];
    huge.resize(MAX_NAL + 4, 0x65);
    assert_eq!(annex_b(&huge), Err(Error::TooLong { offset: 3, len: MAX_NAL + 1 }));
}

/// A NAL unit as an encoder may write it: no start code within, no zero at the end.
fn unit() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(1), 2u8..], 1..40).prop_map(|mut bytes| {
        for at in 2..bytes.len() {
            if bytes[at - 2] == 0 && bytes[at - 1] == 0 && bytes[at] < 4 {
                bytes[at] = 9;
            }
        }
        if bytes.last() == Some(&0) {
            bytes.push(0x80);
        }
        bytes
    })
}

proptest! {
    #[test]
    fn start_codes_become_lengths_of_the_same_units(
        all in prop::collection::vec((unit(), any::<bool>()), 0..20),
    ) {
        let mut stream = Vec::new();
        for (unit, long) in &all {
            stream.extend(if *long { &[0, 0, 0, 1][..] } else { &[0, 0, 1] });
            stream.extend(unit);
        }
        let prefixed = from_annex_b(&stream).unwrap();
        let given: Vec<&[u8]> = all.iter().map(|(unit, _)| &unit[..]).collect();
        prop_assert_eq!(units(&prefixed, LengthSize::Four).unwrap(), given);
    }

    #[test]
    fn garbage_never_panics_and_units_stay_within_it(
        garbage in prop::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..200),
    ) {
        for length in [LengthSize::One, LengthSize::Two, LengthSize::Four] {
            for codec in [VideoCodec::H264, VideoCodec::H265] {
                let _ = check(&garbage, length, codec);
            }
            let total: usize = Units::new(&garbage, length).flatten().map(|u| u.bytes.len()).sum();
            prop_assert!(total <= garbage.len());
        }
        let total: usize = AnnexB::new(&garbage).flatten().map(|unit| unit.bytes.len()).sum();
        prop_assert!(total <= garbage.len());
        let _ = from_annex_b(&garbage);
    }
}
