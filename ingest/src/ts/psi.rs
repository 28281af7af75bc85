//! The two tables that say what a stream holds: programs (PAT, §2.4.4.3) and the streams of one
//! (PMT, §2.4.4.8).

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use packager::media::VideoCodec;

use super::section::checksum;
use super::sound::Format;
use super::{MAX_PROGRAMS, MAX_STREAMS, Pid};

/// table_id of the PAT.
const PAT: u8 = 0;
/// table_id of a PMT.
const PMT: u8 = 2;
/// registration_descriptor (§2.6.8).
const REGISTRATION: u8 = 5;
/// descriptor_tag of AC-3 and enhanced AC-3 (ETSI EN 300 468 annex D).
const AC3: u8 = 0x6a;
const EAC3: u8 = 0x7a;
/// Longest PAT or PMT behind its length field (§2.4.4.5).
const MAX_LENGTH: usize = 1021;

/// Why a section is no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Error {
    /// Its checksum is wrong.
    #[error("wrong checksum")]
    Checksum,
    /// It is another table, or its lengths contradict each other.
    #[error("invalid {what}")]
    Invalid { what: &'static str },
    /// It is for later.
    #[error("not in force yet")]
    Next,
}

/// A program in the PAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) number: u16,
    pub(super) pid: Pid,
}

/// A PMT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Map {
    pub(super) program: u16,
    pub(super) clock: Pid,
    pub(super) streams: Vec<Stream>,
}

/// A stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) pid: Pid,
    pub(super) kind: Kind,
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Video(VideoCodec),
    Sound(Format),
    /// SCTE-35.
    Cues,
    /// Sound or a picture that is not read, by name.
    Unread(&'static str),
    /// Anything else.
    Other(u8),
}

/// A section in the long form: what stands between its head and its checksum.
struct Table<'a> {
    extension: u16,
    /// Whether it is the only section of its table.
    is_whole: bool,
    body: &'a [u8],
}

/// A section of the PAT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Programs {
    pub(super) list: Vec<Program>,
    /// Whether there are no others: a table of hundreds of programs has several sections.
    pub(super) is_whole: bool,
}

fn table<'a>(section: &'a [u8], id: u8) -> Result<Table<'a>, Error> {
    let what = if id == PAT { "PAT" } else { "PMT" };
    let invalid = Error::Invalid { what };
    let [found, flags, _, high, low, version, _, last, rest @ ..] = section else {
        return Err(invalid);
    };
    let length = section.len().saturating_sub(3);
    if *found != id || flags & 0x80 == 0 || length > MAX_LENGTH {
        return Err(invalid);
    }
    if checksum(section) != 0 {
        return Err(Error::Checksum);
    }
    if version & 1 == 0 {
        return Err(Error::Next);
    }
    let body = rest.len().checked_sub(4).and_then(|end| rest.get(..end)).ok_or(invalid)?;
    Ok(Table { extension: u16::from_be_bytes([*high, *low]), is_whole: *last == 0, body })
}

fn pid(high: u8, low: u8) -> Pid {
    u16::from_be_bytes([high & 0x1f, low])
}

/// Splits `length` bytes off, as a length of twelve bits says.
fn sized(high: u8, low: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(usize::from(u16::from_be_bytes([high & 0x0f, low])))
}

/// Reads the programs of a PAT; those beyond the limit are left out.
pub(super) fn programs(section: &[u8]) -> Result<Programs, Error> {
    let table = table(section, PAT)?;
    let (entries, []) = table.body.as_chunks::<4>() else {
        return Err(Error::Invalid { what: "PAT" });
    };
    let programs = entries.iter().map(|[number_high, number_low, high, low]| Program {
        number: u16::from_be_bytes([*number_high, *number_low]),
        pid: pid(*high, *low),
    });
    // Number 0 is the network's.
    let list = programs.filter(|program| program.number != 0).take(MAX_PROGRAMS).collect();
    Ok(Programs { list, is_whole: table.is_whole })
}

/// Reads a PMT; streams beyond the limit are left out.
pub(super) fn map(section: &[u8]) -> Result<Map, Error> {
    let table = table(section, PMT)?;
    let invalid = Error::Invalid { what: "PMT" };
    let [clock_high, clock_low, high, low, rest @ ..] = table.body else { return Err(invalid) };
    let (of_program, mut rest) = sized(*high, *low, rest).ok_or(invalid)?;
    let cues = registration(of_program) == Some(*b"CUEI");
    let mut streams = Vec::new();
    while let [kind, pid_high, pid_low, high, low, after @ ..] = rest {
        let (descriptors, after) = sized(*high, *low, after).ok_or(invalid)?;
        let kind = stream(*kind, descriptors, cues);
        if streams.len() < MAX_STREAMS {
            streams.push(Stream { pid: pid(*pid_high, *pid_low), kind });
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(invalid);
    }
    Ok(Map { program: table.extension, clock: pid(*clock_high, *clock_low), streams })
}

/// What a stream holds by its stream_type (table 2-34, ATSC A/53, SCTE 35) and its descriptors.
/// `cues` says whether the program is registered as one with cues.
fn stream(kind: u8, descriptors: &[u8], cues: bool) -> Kind {
    match kind {
        0x1b => Kind::Video(VideoCodec::H264),
        0x24 => Kind::Video(VideoCodec::H265),
        0x0f => Kind::Sound(Format::Adts),
        0x11 => Kind::Sound(Format::Latm),
        0x03 | 0x04 => Kind::Sound(Format::Mpeg),
        0x81 | 0x87 => Kind::Sound(Format::Ac3),
        // SCTE 35 asks for a registration, and splicers leave it out; what is registered as something
        // else (DTS-HD has the same number) is that.
        0x86 => match registration(descriptors) {
            Some(id) if id != *b"CUEI" => Kind::Other(kind),
            Some(_) => Kind::Cues,
            None if cues || !has_audio_descriptor(descriptors) => Kind::Cues,
            None => Kind::Other(kind),
        },
        0x01 | 0x02 => Kind::Unread("MPEG-2 video"),
        0x10 => Kind::Unread("MPEG-4 video"),
        0x06 if has(descriptors, AC3) || has(descriptors, EAC3) => Kind::Sound(Format::Ac3),
        0x06 => match registration(descriptors).as_ref().map(<[u8; 4]>::as_slice) {
            Some(b"HEVC") => Kind::Video(VideoCodec::H265),
            Some(b"Opus") => Kind::Unread("Opus"),
            Some(b"AC-3" | b"EAC3") => Kind::Sound(Format::Ac3),
            _ => Kind::Other(kind),
        },
        other => Kind::Other(other),
    }
}

/// Whether DTS is described (ETSI EN 300 468 annex G).
fn has_audio_descriptor(descriptors: &[u8]) -> bool {
    has(descriptors, 0x7b)
}

fn has(descriptors: &[u8], tag: u8) -> bool {
    each(descriptors).any(|(found, _)| found == tag)
}

fn registration(descriptors: &[u8]) -> Option<[u8; 4]> {
    let (_, body) = each(descriptors).find(|(tag, _)| *tag == REGISTRATION)?;
    body.first_chunk().copied()
}

/// Walks descriptors as far as their lengths make sense.
fn each(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let [tag, length, rest @ ..] = bytes else { return None };
        let (body, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some((*tag, body))
    })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
pub(super) mod tests {
    use super::*;

    /// A section in the long form with a right checksum.
    pub(in super::super) fn section(id: u8, extension: u16, version: u8, body: &[u8]) -> Vec<u8> {
        let [high, low] = u16::try_from(body.len() + 9).unwrap().to_be_bytes();
        let [ext_high, ext_low] = extension.to_be_bytes();
        let mut bytes = vec![id, 0xb0 | high, low, ext_high, ext_low, 0xc1 | version << 1, 0, 0];
        bytes.extend(body);
        let crc = checksum(&bytes);
        bytes.extend(crc.to_be_bytes());
        bytes
    }

    /// A PAT of (number, PID).
    pub(in super::super) fn pat(programs: &[(u16, Pid)]) -> Vec<u8> {
        let entry = |(number, pid): &(u16, Pid)| {
            let ([a, b], [c, d]) = (number.to_be_bytes(), pid.to_be_bytes());
            [a, b, 0xe0 | c, d]
        };
        section(PAT, 1, 0, &programs.iter().flat_map(entry).collect::<Vec<_>>())
    }

    /// A PMT of (stream_type, PID, descriptors).
    pub(in super::super) fn pmt(
        program: u16,
        version: u8,
        clock: Pid,
        streams: &[(u8, Pid, &[u8])],
    ) -> Vec<u8> {
        let [high, low] = clock.to_be_bytes();
        let mut body = vec![0xe0 | high, low, 0xf0, 0];
        for (kind, pid, descriptors) in streams {
            let [high, low] = pid.to_be_bytes();
            let length = u8::try_from(descriptors.len()).unwrap();
            body.extend([*kind, 0xe0 | high, low, 0xf0, length]);
            body.extend(*descriptors);
        }
        section(PMT, program, version, &body)
    }

    #[test]
    fn programs_are_read_without_the_network() {
        let found = programs(&pat(&[(0, 16), (1, 0x1000), (7, 0x1fff)])).unwrap();
        assert!(found.is_whole);
        let numbers: Vec<_> = found.list.iter().map(|p| (p.number, p.pid)).collect();
        assert_eq!(numbers, [(1, 0x1000), (7, 0x1fff)]);
    }

    #[test]
    fn streams_are_known_by_type_and_descriptors() {
        let cuei = [5, 4, b'C', b'U', b'E', b'I'];
        let hdmv = [5, 4, b'H', b'D', b'M', b'V'];
        let found = map(&pmt(
            3,
            0,
            0x101,
            &[
                (0x1b, 0x101, &[]),
                (0x24, 0x102, &[]),
                (0x0f, 0x103, &[]),
                (0x86, 0x104, &cuei),
                (0x86, 0x105, &[]),
                (0x86, 0x106, &hdmv),
                (0x06, 0x107, &[0x6a, 1, 0]),
                (0x15, 0x108, &[]),
            ],
        ))
        .unwrap();
        assert_eq!((found.program, found.clock), (3, 0x101));
        let kinds: Vec<_> = found.streams.iter().map(|s| s.kind).collect();
        assert_eq!(
            kinds,
            [
                Kind::Video(VideoCodec::H264),
                Kind::Video(VideoCodec::H265),
                Kind::Sound(Format::Adts),
                Kind::Cues,
                Kind::Cues,
                Kind::Other(0x86),
                Kind::Sound(Format::Ac3),
                Kind::Other(0x15),
            ]
        );
    }

    #[test]
    fn a_table_that_is_damaged_at_any_byte_is_refused() {
        let good = pmt(3, 0, 0x101, &[(0x1b, 0x101, &[]), (0x0f, 0x102, &[10, 4, 1, 2, 3, 0])]);
        assert!(map(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(map(&bad).is_err(), "{at}");
            assert!(map(&good[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn lengths_that_lie_are_refused_though_the_checksum_is_right() {
        // A program information of 4095 bytes, and a stream whose descriptors end beyond the table.
        for body in [&[0xe1, 1, 0xff, 0xff][..], &[0xe1, 1, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 9]] {
            let bad = section(PMT, 1, 0, body);
            assert_eq!(map(&bad), Err(Error::Invalid { what: "PMT" }));
        }
    }

    #[test]
    fn a_table_for_later_is_not_in_force() {
        let mut later = pat(&[(1, 0x100)]);
        later[5] &= 0xfe;
        let end = later.len() - 4;
        let crc = checksum(&later[..end]);
        later[end..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(programs(&later), Err(Error::Next));
    }
}
