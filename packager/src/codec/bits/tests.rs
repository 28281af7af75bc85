#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;

#[test]
fn exp_golomb_codes_are_read_as_table_9_2_lists_them() {
    // 1, 010, 011, 00100, 00101, 00110, 00111, 0001000.
    let bytes = [0b1010_0110, 0b0100_0010, 0b1001_1000, 0b1110_0010, 0b0000_0000];
    let mut reader = BitReader::new(&bytes, 0);
    let values: Vec<_> = (0..8).map(|_| reader.ue(100, "code").unwrap()).collect();
    assert_eq!(values, [0, 1, 2, 3, 4, 5, 6, 7]);
    let mut reader = BitReader::new(&bytes, 0);
    let values: Vec<_> = (0..8).map(|_| reader.se("code").unwrap()).collect();
    assert_eq!(values, [0, 1, -1, 2, -2, 3, -3, 4]);
}

#[test]
fn a_code_above_its_maximum_or_of_33_bits_and_more_is_invalid() {
    let mut reader = BitReader::new(&[0b0001_0000], 7);
    assert_eq!(reader.ue(6, "code"), Err(Error::Invalid { what: "code", offset: 7 }));
    let mut reader = BitReader::new(&[0, 0, 0, 0, 0x80, 0, 0, 0, 0], 0);
    assert_eq!(reader.ue(u32::MAX, "code"), Err(Error::Invalid { what: "code", offset: 3 }));
    let mut longest = BitReader::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe], 0);
    assert_eq!(longest.ue(u32::MAX, "code"), Ok(u32::MAX - 1));
}

#[test]
fn emulation_prevention_is_taken_out_and_offsets_stay_those_of_the_input() {
    let bytes = [0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 2, 3];
    let mut reader = BitReader::nal(&bytes, 100);
    let read: Vec<_> = (0..9).map(|_| reader.bits(8, "byte").unwrap()).collect();
    assert_eq!(read, [0, 0, 1, 0, 0, 0, 0, 2, 3]);
    assert_eq!(reader.bits(1, "more"), Err(Error::Incomplete { what: "more", offset: 112 }));
    let mut plain = BitReader::new(&bytes, 0);
    let read: Vec<_> = (0..4).map(|_| plain.bits(8, "byte").unwrap()).collect();
    assert_eq!(read, [0, 0, 3, 1]);
}
