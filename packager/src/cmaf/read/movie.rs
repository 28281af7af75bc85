//! Init segments: `ftyp` and `moov`.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::boxes::{Reader, brands};
use super::{Error, FourCc, Init};
use crate::codec::{aac, h264, h265};
use crate::media::Config;

/// Bytes of a VisualSampleEntry before its boxes.
const VISUAL_FIELDS: usize = 78;
/// Bytes of an AudioSampleEntry before its boxes.
const AUDIO_FIELDS: usize = 28;

/// Reads an init segment.
pub fn init(bytes: &[u8]) -> Result<Init, Error> {
    let input = Reader::new(bytes);
    let brands = brands(input.child(b"ftyp", "input without ftyp")?)?;
    let moov = input.child(b"moov", "input without moov")?;
    let mut mvhd = moov.child(b"mvhd", "moov without mvhd")?;
    let (_, mut duration) = media_header(&mut mvhd, "mvhd")?;
    let trak = moov.child(b"trak", "moov without trak")?;
    let tracks = count(moov, b"trak")?;

    let mut tkhd = trak.child(b"tkhd", "trak without tkhd")?;
    let (track_id, track_duration) = track_header(&mut tkhd)?;
    let edit_list = count(trak, b"edts")? > 0;
    let mdia = trak.child(b"mdia", "trak without mdia")?;
    let mut mdhd = mdia.child(b"mdhd", "mdia without mdhd")?;
    let (timescale, media_duration) = media_header(&mut mdhd, "mdhd")?;
    let language = language(mdhd.u16("language")?);
    duration = duration.max(track_duration).max(media_duration);

    let mut extended = Vec::new();
    let mut children = moov;
    while let Some(found) = children.next_box()? {
        if &found.kind == b"mvex" {
            duration = duration.max(extends(found.body, &mut extended)?);
        }
    }
    let minf = mdia.child(b"minf", "mdia without minf")?;
    let stbl = minf.child(b"stbl", "minf without stbl")?;
    let mut stsd = stbl.child(b"stsd", "stbl without stsd")?;
    stsd.full("stsd")?;
    stsd.u32("entry_count")?;
    let nothing = Error::Invalid { what: "stsd without an entry", offset: stsd.offset() };
    let entry = stsd.next_box()?.ok_or(nothing)?;
    let (config, bitrates) = sample_entry(entry.kind, entry.body, entry.offset)?;
    Ok(Init {
        brands,
        tracks,
        track_id,
        timescale,
        duration,
        language,
        roles: roles(trak)?,
        edit_list,
        extended,
        sample_entry: entry.kind,
        bitrates,
        config,
    })
}

fn count(mut children: Reader<'_>, kind: &FourCc) -> Result<usize, Error> {
    let mut count = 0usize;
    while let Some(found) = children.next_box()? {
        count = count.saturating_add(usize::from(found.kind == *kind));
    }
    Ok(count)
}

/// Timescale and duration of `mvhd` or `mdhd`, which begin alike.
fn media_header(body: &mut Reader<'_>, what: &'static str) -> Result<(u32, u64), Error> {
    let (version, _) = body.full(what)?;
    body.versioned(version, "creation_time")?;
    body.versioned(version, "modification_time")?;
    let timescale = body.u32("timescale")?;
    Ok((timescale, body.versioned(version, "duration")?))
}

/// Track ID and duration of `tkhd`.
fn track_header(body: &mut Reader<'_>) -> Result<(u32, u64), Error> {
    let (version, _) = body.full("tkhd")?;
    body.versioned(version, "creation_time")?;
    body.versioned(version, "modification_time")?;
    let track_id = body.u32("track_ID")?;
    body.u32("reserved")?;
    Ok((track_id, body.versioned(version, "duration")?))
}

/// Notes the tracks of `mvex`, and says which duration it claims.
fn extends(mut children: Reader<'_>, tracks: &mut Vec<u32>) -> Result<u64, Error> {
    let mut duration = 0;
    while let Some(mut found) = children.next_box()? {
        match &found.kind {
            b"trex" => {
                found.body.full("trex")?;
                tracks.push(found.body.u32("track_ID")?);
            }
            b"mehd" => {
                let (version, _) = found.body.full("mehd")?;
                duration = found.body.versioned(version, "fragment_duration")?;
            }
            _ => {}
        }
    }
    Ok(duration)
}

/// Values of the `kind` boxes in the `udta` boxes of a track.
fn roles(mut children: Reader<'_>) -> Result<Vec<String>, Error> {
    let mut roles = Vec::new();
    while let Some(mut found) = children.next_box()? {
        if &found.kind != b"udta" {
            continue;
        }
        while let Some(mut inner) = found.body.next_box()? {
            if &inner.kind == b"kind" {
                inner.body.full("kind")?;
                let mut strings = inner.body.rest().split(|byte| *byte == 0).skip(1);
                let value = strings.next().unwrap_or_default();
                roles.push(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    Ok(roles)
}

/// Three letters of five bits each (§8.4.2.3).
fn language(packed: u16) -> String {
    let letter = |shift: u16| {
        let bits = packed.checked_shr(u32::from(shift)).unwrap_or(0) & 0x1f;
        char::from(u8::try_from(bits).unwrap_or(0).saturating_add(0x60))
    };
    [letter(10), letter(5), letter(0)].into_iter().collect()
}

/// Decoder configuration and bit rates of a sample entry.
fn sample_entry(
    kind: FourCc,
    mut body: Reader<'_>,
    offset: usize,
) -> Result<(Config, Option<(u32, u32)>), Error> {
    let fields = if &kind == b"mp4a" { AUDIO_FIELDS } else { VISUAL_FIELDS };
    body.take(fields, "sample entry")?;
    let record = match &kind {
        b"avc1" => body.child(b"avcC", "avc1 without avcC")?,
        b"hvc1" => body.child(b"hvcC", "hvc1 without hvcC")?,
        b"mp4a" => decoder_specific_info(body.child(b"esds", "mp4a without esds")?)?,
        _ => return Err(Error::Invalid { what: "kind of sample entry", offset }),
    };
    let bytes = Bytes::copy_from_slice(record.rest());
    let config = match &kind {
        b"avc1" => h264::config(bytes).map(Config::Video),
        b"hvc1" => h265::config(bytes).map(Config::Video),
        _ => aac::config(bytes).map(Config::Audio),
    };
    let config = config.map_err(|source| Error::Config { offset: record.offset(), source })?;
    let mut bitrates = None;
    while let Some(mut found) = body.next_box()? {
        if &found.kind == b"btrt" {
            found.body.u32("bufferSizeDB")?;
            let peak = found.body.u32("maxBitrate")?;
            bitrates = Some((peak, found.body.u32("avgBitrate")?));
        }
    }
    Ok((config, bitrates))
}

/// The AudioSpecificConfig in an `esds` (ISO/IEC 14496-1 §7.2.6.5).
fn decoder_specific_info(mut esds: Reader<'_>) -> Result<Reader<'_>, Error> {
    esds.full("esds")?;
    let mut es = descriptor(&mut esds, 3, "ES_Descriptor")?;
    es.u16("ES_ID")?;
    let flags = es.u8("streamDependenceFlag")?;
    if flags & 0x80 != 0 {
        es.u16("dependsOn_ES_ID")?;
    }
    if flags & 0x40 != 0 {
        let len = usize::from(es.u8("URLlength")?);
        es.take(len, "URLstring")?;
    }
    if flags & 0x20 != 0 {
        es.u16("OCR_ES_Id")?;
    }
    let mut decoder = descriptor(&mut es, 4, "DecoderConfigDescriptor")?;
    decoder.take(13, "DecoderConfigDescriptor")?;
    descriptor(&mut decoder, 5, "DecoderSpecificInfo")
}

/// The body of the next descriptor, which must have this tag.
fn descriptor<'a>(
    input: &mut Reader<'a>,
    tag: u8,
    what: &'static str,
) -> Result<Reader<'a>, Error> {
    let offset = input.offset();
    if input.u8(what)? != tag {
        return Err(Error::Invalid { what, offset });
    }
    let mut len = 0usize;
    for _ in 0..4 {
        let byte = input.u8(what)?;
        len = (len << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return input.take(len, what);
        }
    }
    Err(Error::Invalid { what, offset })
}
