use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// Real and made sections with what they say (names as they are known in the field).
pub(crate) const PPO_START: &str =
    "/DA0AAAAAAAA///wBQb+cr0AUAAeAhxDVUVJSAAAjn/PAAGlmbAICAAAAAAsoKGKNAIAmsnRfg==";
pub(crate) const INSERT_OUT: &str =
    "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo=";
pub(crate) const PPO_END: &str =
    "/DAvAAAAAAAA///wBQb+dGKQoAAZAhdDVUVJSAAAjn+fCAgAAAAALKChijUCAKnMZ1g=";
pub(crate) const PROGRAMS: &str = "/DBIAAAAAAAA///wBQb+ek2ItgAyAhdDVUVJSAAAGH+fCAgAAAAALMvDRBEAAAIXQ1VFSUgAABl/nwgIAAAAACyk26AQAACZcuND";
const OVERLAP: &str = "/DAvAAAAAAAA///wBQb+rr//ZAAZAhdDVUVJSAAACH+fCAgAAAAALKVs9RcAAJUdsKg=";
const BLACKOUT: &str = "/DBIAAAAAAAA///wBQb+ky44CwAyAhdDVUVJSAAACn+fCAgAAAAALKCh4xgAAAIXQ1VFSUgAAAl/nwgIAAAAACygoYoRAAC0IX6w";
const DTMF: &str = "/DAxAAAAAAAAAP/wFAVAAIeuf+/+0AWRK/4AUmXAAC0AfwAMAQpDVUVJUJ81MTkqo5/+gA==";
pub(crate) const NO_DURATION: &str = "/DAqAAAAAAAAAP/wDwUAAHn+f8/+QubGOQAAAAAACgAIQ1VFSQAAAADizteX";
const HEARTBEAT: &str = "/DARAAAAAAAAAP/wAAAAAHpPv/8=";
const BAD_CRC: &str =
    "/DA4AAAAAAAAAP/wFAUABDEAf+//mWEhzP4Azf5gAQAAAAATAhFDVUVJAAAAAX+/AQIwNAEAAKeYO3Q=";
pub(crate) const MEDIALIVE: &str =
    "/DA0AAAAAAAAAAAABQb+ADAQ6QAeAhxDVUVJQAAAO3/PAAEUrEoICAAAAAAg+2UBNAAANvrtoQ==";
pub(crate) const AMAGI: &str = "/DAgAAAAAAAAAP/wDwUAAAjsf/9+AKTLgAAAAAAAAAcCe8k=";
const ELEMENTAL: &str =
    "FC302500000000000000FFF01405000003E77FEFFE0011FB9EFE002932E00001010100004D192A59";
pub(crate) const UNIFIED: &str =
    "FC302100000000000000FFF01005000007D27FEF7F7E0020F580C0000000000088B9661D";
pub(crate) const MEDIAPACKAGE: &str = "FC303000000002CDE400FFF00506FE00526C14001A021843554549900000017FC00000292EA80A04ABCD0001300000D6F17117";
pub(crate) const S1_OUT: &str = "/DAlAAAAAAAAAP/wFAUAAABkf+/+AHuYoP4AKTLgAAEAAAAANGKC0Q==";
pub(crate) const S2_IN_NOW: &str = "/DAbAAAAAAAAAP/wCgUAAABkf18AAQAAAAD3ePN3";
pub(crate) const S3_IN: &str = "/DAgAAAAAAAAAP/wDwUAAABkf0/+AJ3tsAABAAAAAGiYZr4=";
pub(crate) const S4_CANCEL: &str = "/DAWAAAAAAAAAP/wBQUAAABk/wAALoqDgA==";
pub(crate) const S5_WRAP: &str = "/DAlAAAAAAAAAP/wFAUAAABlf+////9QOH4AKTLgAAEAAAAAqIPmGg==";
const S8_PPO_END: &str = "/DAnAAAAAAAAAP/wBQb+ANu6AAARAg9DVUVJAAAAyH+/AAA1AQG/gFjH";
pub(crate) const S10_OUT_NOW: &str = "/DAbAAAAAAAAAP/wCgUAAABnf98AAQAAAADIaP4P";

/// The bytes of a vector, base64 or hexadecimal.
pub(crate) fn bytes(text: &str) -> Bytes {
    if text.starts_with("FC") {
        let digits = text.as_bytes().chunks(2).map(|two| std::str::from_utf8(two).unwrap());
        return digits.map(|two| u8::from_str_radix(two, 16).unwrap()).collect();
    }
    STANDARD.decode(text).unwrap().into()
}

/// A vector, decoded.
pub(crate) fn section(text: &str) -> Section {
    let bytes = bytes(text);
    let section = Section::decode(&bytes).unwrap();
    assert_eq!(section.encode().unwrap(), bytes, "{text} is encoded as it was");
    section
}

fn insert(text: &str) -> (u32, Splice) {
    match section(text).command {
        Command::Insert(Insert { event_id, splice: Some(splice) }) => (event_id, splice),
        other => panic!("{other:?}"),
    }
}

/// The time of a time signal, and what its segmentation descriptors say.
fn segments(text: &str) -> (Option<u64>, Vec<(u32, Segment)>) {
    let section = section(text);
    let Command::TimeSignal(time) = section.command else { panic!("{section:?}") };
    let segments = section.descriptors.into_iter().map(|descriptor| match descriptor {
        Descriptor::Segmentation(Segmentation { event_id, segment: Some(segment), .. }) => {
            (event_id, segment)
        }
        other => panic!("{other:?}"),
    });
    (time, segments.collect())
}

/// Type, event and length of a segmentation descriptor.
type Outline = (u8, u32, Option<u64>);

/// The same, in short.
fn outline(text: &str) -> (Option<u64>, Vec<Outline>) {
    let (time, all) = segments(text);
    (time, all.into_iter().map(|(id, segment)| (segment.type_id, id, segment.duration)).collect())
}

#[test]
fn placement_opportunities_say_when_how_long_and_for_whom() {
    let (time, all) = segments(PPO_START);
    assert_eq!(time, Some(1_924_989_008));
    let (id, segment) = &all[0];
    assert_eq!((*id, segment.type_id, segment.duration), (0x4800_008e, 0x34, Some(27_630_000)));
    assert_eq!((segment.upid_type, &segment.upid[4..]), (8, &[0x2c, 0xa0, 0xa1, 0x8a][..]));
    assert_eq!((segment.number, segment.expected, segment.sub), (2, 0, None));
    let delivery =
        Delivery { web_allowed: false, no_blackout: true, archive_allowed: true, devices: 3 };
    assert_eq!(segment.delivery, Some(delivery));
    assert_eq!(outline(PPO_END), (Some(1_952_616_608), vec![(0x35, 1_207_959_694, None)]));
    let medialive = outline(MEDIALIVE);
    assert_eq!(medialive, (Some(3_150_057), vec![(0x34, 0x4000_003b, Some(18_132_042))]));
    assert_eq!(section(MEDIALIVE).tier, 0);
    assert_eq!(outline(S8_PPO_END), (Some(160 * 90_000), vec![(0x35, 200, None)]));
}

#[test]
fn several_descriptors_stand_in_one_time_signal() {
    let programs = vec![(0x11, 1_207_959_576, None), (0x10, 1_207_959_577, None)];
    assert_eq!(outline(PROGRAMS), (Some(2_051_901_622), programs));
    assert_eq!(outline(OVERLAP), (Some(2_931_818_340), vec![(0x17, 1_207_959_560, None)]));
    let blackout: Vec<_> = outline(BLACKOUT).1.iter().map(|one| one.0).collect();
    assert_eq!((outline(BLACKOUT).0, blackout), (Some(2_469_279_755), vec![0x18, 0x11]));
}

#[test]
fn an_adjustment_is_added_to_every_time() {
    let section = section(MEDIAPACKAGE);
    assert_eq!(section.pts_adjustment, 183_780);
    assert_eq!(section.effective(5_401_620), 5_585_400);
    let (_, all) = outline(MEDIAPACKAGE);
    assert_eq!(all, [(0x30, 2_415_919_105, Some(2_698_920))]);
    let near_wrap = Section { pts_adjustment: TIME_MASK, ..section };
    assert_eq!(near_wrap.effective(2), 1, "without carry");
}

#[test]
fn inserts_say_where_they_lead_and_for_how_long() {
    for (text, id, time, ticks, auto_return) in [
        (INSERT_OUT, 1_207_959_695, Some(1_936_310_318), 5_426_421, true),
        (DTMF, 1_073_776_558, Some(3_490_025_771), 5_400_000, true),
        (AMAGI, 2284, None, 120 * 90_000, false),
        (ELEMENTAL, 999, Some(1_178_526), 30 * 90_000, true),
        (UNIFIED, 2002, None, 24 * 90_000, false),
        (S1_OUT, 100, Some(90 * 90_000), 30 * 90_000, true),
        (S5_WRAP, 101, Some(8_589_889_592), 2_700_000, false),
    ] {
        let (event_id, splice) = insert(text);
        assert_eq!((event_id, splice.out, splice.time.first()), (id, true, time), "{text}");
        assert_eq!(splice.duration, Some(BreakDuration { auto_return, ticks }), "{text}");
    }
    assert_eq!(insert(AMAGI).1.time, SpliceTime::Immediate);
    assert_eq!(insert(UNIFIED).1.time, SpliceTime::Program(None));
    let (_, dtmf) = insert(DTMF);
    assert_eq!((dtmf.program_id, dtmf.avails), (45, 127));
    let (id, none) = insert(NO_DURATION);
    assert_eq!((id, none.out, none.time.first()), (31_230, true, Some(1_122_420_281)));
    assert_eq!(none.duration, None);
    let now = insert(S10_OUT_NOW).1;
    assert_eq!((now.out, now.time.first(), now.duration), (true, None, None));
    for (text, time) in [(S2_IN_NOW, None), (S3_IN, Some(115 * 90_000))] {
        let (id, splice) = insert(text);
        assert_eq!((id, splice.out, splice.time.first()), (100, false, time), "{text}");
    }
    let cancel = Command::Insert(Insert { event_id: 100, splice: None });
    assert_eq!(section(S4_CANCEL).command, cancel);
    assert_eq!(section(HEARTBEAT).command, Command::Null);
}

#[test]
fn components_and_a_length_that_is_not_told_come_back_as_they_were() {
    let time = SpliceTime::Components {
        immediate: false,
        components: vec![
            Component { tag: 1, time: None },
            Component { tag: 9, time: Some(TIME_MASK) },
        ],
    };
    let (_, splice) = insert(S1_OUT);
    let splice = Splice { time: time.clone(), ..splice };
    let command = Command::Insert(Insert { event_id: 7, splice: Some(splice) });
    let mut made = Section::new(command, Vec::new());
    for legacy_length in [false, true] {
        made.legacy_length = legacy_length;
        assert_eq!(Section::decode(&made.encode().unwrap()), Ok(made.clone()));
    }
    assert_eq!(time.first(), Some(TIME_MASK));
}

#[test]
fn a_damaged_section_is_refused_wherever_the_damage_is() {
    assert!(matches!(Section::decode(&bytes(BAD_CRC)), Err(Error::Checksum { .. })));
    let whole = bytes(PPO_START);
    for length in 0..whole.len() {
        assert!(Section::decode(&whole.slice(..length)).is_err(), "cut to {length}");
    }
    for at in 0..whole.len() * 8 {
        let mut damaged = whole.to_vec();
        damaged[at / 8] ^= 1 << (at % 8);
        assert!(Section::decode(&damaged.into()).is_err(), "bit {at}");
    }
}

/// A section with another body and a right checksum.
fn sealed(body: &[u8]) -> Bytes {
    let mut section = vec![0xfc, 0x30, 0];
    section.extend(body);
    let length = section.len() - 3 + 4;
    section[1] = 0x30 | (length >> 8) as u8;
    section[2] = length as u8;
    section.extend(checksum(&section).to_be_bytes());
    section.into()
}

#[test]
fn a_section_that_is_encrypted_or_from_the_future_is_told() {
    let mut body = bytes(S1_OUT)[3..].to_vec();
    body.truncate(body.len() - 4);
    let mut encrypted = body.clone();
    encrypted[1] = 0x84;
    assert_eq!(Section::decode(&sealed(&encrypted)), Err(Error::Encrypted { algorithm: 2 }));
    body[0] = 1;
    let version = Error::Invalid { what: "protocol_version", offset: 3 };
    assert_eq!(Section::decode(&sealed(&body)), Err(version));
}

#[test]
fn foreign_and_broken_descriptors_are_kept_as_they_are() {
    let strange = [
        Descriptor::Other { tag: 2, bytes: Bytes::from_static(b"CUEI\0\0\0\x01\x7f") },
        Descriptor::Other { tag: 2, bytes: Bytes::from_static(b"OWN!12345") },
        Descriptor::Other { tag: 0xf0, bytes: Bytes::new() },
    ];
    let mut made = section(PPO_START);
    made.descriptors.extend(strange);
    made.stuffing = Bytes::from_static(&[0xff; 3]);
    assert_eq!(Section::decode(&made.encode().unwrap()), Ok(made));
}

#[test]
fn what_is_too_long_for_a_section_is_not_written() {
    let long = Descriptor::Other { tag: 0xf0, bytes: Bytes::from(vec![0; 255]) };
    let mut made = Section::new(Command::Null, vec![long.clone(); 15]);
    assert!(made.encode().is_some());
    made.descriptors.push(long);
    assert_eq!(made.encode(), None);
    let longer = Descriptor::Other { tag: 0xf0, bytes: Bytes::from(vec![0; 256]) };
    assert_eq!(Section::new(Command::Null, vec![longer]).encode(), None);
}

proptest! {
    #[test]
    fn whatever_is_read_is_read_again_from_what_is_written(mut body in prop::collection::vec(any::<u8>(), 12..80), kind in prop::sample::select(vec![0u8, 5, 6, 4, 255])) {
        // Protocol version and encryption; the command's length and type; the loop's length.
        body[0] = 0;
        body[1] &= 0x7f;
        let length = body.len().saturating_sub(30).min(20) as u16;
        body[8] &= 0xf0;
        body[9] = length as u8;
        body[10] = kind;
        let at = 11 + usize::from(length);
        let left = body.len().saturating_sub(at + 2);
        if let Some(two) = body.get_mut(at..at + 2) {
            two.copy_from_slice(&(left as u16).to_be_bytes());
        }
        if let Ok(section) = Section::decode(&sealed(&body)) {
            prop_assert_eq!(Section::decode(&section.encode().unwrap()), Ok(section));
        }
    }
}
