//! Fuzz targets: plain functions that panic when a promise is broken. libFuzzer calls them from
//! `fuzz_targets/`, and the integration binary with every file of `corpus/`.

use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use ingest::rtmp::amf0::{self, Value};
use ingest::rtmp::chunk::{Error, Message, Reader};
use ingest::rtmp::message::Writer;
use ingest::rtmp::session::{Event, Session};
use ingest::source::Unit;
use ingest::srt;
use ingest::srt::stream_id;
use ingest::ts::rtp::Reorder;
use ingest::ts::{self, Demuxer, MAX_PES, PACKET, Want};
use packager::grid::Grid;
use packager::grid::splices::Made;
use packager::scte35::breaks::Breaks;
use packager::scte35::section::checksum;
use packager::scte35::{Section, signals, xml};
use packager::time::{FrameRate, Span};

/// The chunk reader comes to the same messages and the same end wherever its input is split. The
/// first byte is the size of the pieces, its top bit says whether the peer is authenticated.
pub fn chunk_reader(data: &[u8]) {
    let Some((&head, wire)) = data.split_first() else { return };
    let authenticated = head & 0x80 != 0;
    let size = usize::from(head & 0x7F).max(1);
    let whole = read(authenticated, std::iter::once(wire));
    let pieces = read(authenticated, wire.chunks(size));
    assert_eq!(whole, pieces, "split every {size} bytes");
}

fn read<'a>(
    authenticated: bool,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Message>, Option<Error>) {
    let mut reader = Reader::new();
    if authenticated {
        reader.authenticate();
    }
    let (mut input, mut messages) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match reader.read(&mut input) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
        assert!(input.len() < 18, "a whole header was left lying");
    }
    (messages, None)
}

/// The AMF0 decoder keeps its budgets, and what it has read can be written and shown as JSON.
pub fn amf0(data: &[u8]) {
    let (values, whole) = match amf0::decode(data) {
        Ok(values) => (values, true),
        Err((values, _)) => (values, false),
    };
    let (nodes, depth) = measure(&values);
    assert!(nodes <= amf0::MAX_NODES && depth <= amf0::MAX_DEPTH + 1, "{nodes} {depth}");
    let json: Vec<_> = values.iter().map(Value::to_json).collect();
    let written = amf0::encode(&values);
    // Replacing what is no UTF-8 may make a text longer than it may be.
    if let Ok(again) = amf0::decode(&written) {
        let again: Vec<_> = again.iter().map(Value::to_json).collect();
        assert!(!whole || again == json, "{json:?} became {again:?}");
    }
}

/// Number of values at all levels, and number of levels.
fn measure(values: &[Value]) -> (usize, usize) {
    values.iter().fold((0, 0), |(nodes, depth), value| {
        let (below, levels) = match value {
            Value::StrictArray(items) => measure(items),
            Value::Object(members) | Value::EcmaArray(members) => {
                members.iter().fold((0, 0), |(nodes, depth), (_, member)| {
                    let (below, levels) = measure(std::slice::from_ref(member));
                    (nodes + below, depth.max(levels))
                })
            }
            _ => (0, 0),
        };
        (nodes + 1 + below, depth.max(levels + 1))
    })
}

/// A session that has granted a publish survives whatever its publisher sends.
pub fn session(data: &[u8]) {
    let now = Instant::now();
    let mut session = Session::new();
    session.push(&[3]);
    session.push(&[0; 2 * 1536]);
    let mut client = Writer::new();
    let object = Value::Object(vec![("app".into(), Value::string("live"))]);
    client.command(0, "connect", 1.0, &[object]);
    client.command(1, "publish", 2.0, &[Value::Null, Value::string("news")]);
    session.push(&client.take());
    assert!(matches!(session.poll(now), Ok(Some(Event::Publish(_)))));
    session.accept();
    session.push(data);
    loop {
        match session.poll(now) {
            Ok(Some(Event::Publish(_))) => session.accept(),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => {
                session.end(&error);
                break;
            }
        }
    }
    session.take_output();
}

/// A transport stream comes to the same units wherever its input is split, and every sample is small
/// enough. The first byte is the size of the pieces, the second says what the program holds.
pub fn transport(data: &[u8]) {
    let [size, kinds, wire @ ..] = data else { return };
    let stream = [tables(*kinds), wire.to_vec()].concat();
    let now = Instant::now();
    let want = Want { open_groups: kinds & 8 != 0, ..Want::default() };
    let whole = demux(want, std::iter::once(&stream[..]), now);
    let pieces = demux(want, stream.chunks(usize::from(*size).max(1)), now);
    assert_eq!(whole, pieces, "split every {size} bytes");
}

/// As [`transport`], with packets that are well formed, so that what they carry is reached, and played
/// twice, as a file is. The first byte says what the program holds; each packet is a byte of what it is, a length, and a payload.
pub fn elementary(data: &[u8]) {
    let Some((&kinds, mut rest)) = data.split_first() else { return };
    let mut stream = tables(kinds);
    let mut counters = [0u8; 4];
    while let [what, length, after @ ..] = rest {
        let (payload, after) = after.split_at(usize::from(*length).min(184).min(after.len()));
        let stream_of = usize::from(what & 3);
        let pid = [VIDEO, SOUND, CUES, PMT][stream_of];
        let counter = &mut counters[stream_of];
        let start = what & 4 != 0;
        // Now and then one is missing.
        *counter = counter.wrapping_add(1 + u8::from(what & 0xf0 == 0xf0));
        stream.extend(packet(pid, start, *counter, payload));
        rest = after;
    }
    let (mut demuxer, now) = (Demuxer::new(Want::default()), Instant::now());
    for _ in 0..2 {
        demuxer.push(&stream, now);
        demuxer.again();
        drain(&mut demuxer);
    }
}

/// Packets of RTP come out in order, each once, and what waits is bounded. Each is a byte of how long
/// it is, a byte of how many milliseconds have passed, and itself.
pub fn rtp(mut data: &[u8]) {
    let (mut reorder, mut now) = (Reorder::default(), Instant::now());
    while let [length, millis, after @ ..] = data {
        let (datagram, after) = after.split_at(usize::from(*length).min(after.len()));
        now += std::time::Duration::from_millis(u64::from(*millis));
        reorder.expire(now);
        reorder.push(Bytes::copy_from_slice(datagram), now);
        while reorder.poll().is_some() {}
        assert!(
            reorder.deadline().is_none_or(|deadline| deadline > now),
            "something waits too long"
        );
        data = after;
    }
}

/// What a caller or a configuration writes is read or refused: what is read of a stream identifier is in
/// it, and fit for a log line, and a URL is written without its secrets.
pub fn stream_ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(target) = stream_id::parse(text) {
        let keys: Vec<_> = target.keys().flatten().collect();
        assert!(keys.len() <= 4, "{keys:?}");
        for one in keys.into_iter().chain([target.channel.as_str()]) {
            assert!(one.len() <= text.len() && !one.contains(char::is_control), "{one:?}");
        }
    }
    if let Ok(url) = text.parse::<srt::Url>() {
        let written = url.to_string();
        assert!(!written.contains('?'), "{written}");
        assert!(written.parse::<srt::Url>().is_ok(), "{written}");
    }
}

const PMT: u16 = 0x1000;
const VIDEO: u16 = 0x100;
const SOUND: u16 = 0x101;
const CUES: u16 = 0x102;

/// PAT and PMT of a program with a picture, sound and cues, whose codecs `kinds` chooses.
fn tables(kinds: u8) -> Vec<u8> {
    let video = [0x1b, 0x24][usize::from(kinds & 1)];
    let sound = [0x0f, 0x11, 0x03, 0x81][usize::from(kinds >> 1 & 3)];
    let pat = section(&[0, 0xb0, 13, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0]);
    let mut pmt = vec![2, 0xb0, 28, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0];
    for (kind, pid) in [(video, 0), (sound, 1), (0x86, 2)] {
        pmt.extend([kind, 0xe1, pid, 0xf0, 0]);
    }
    let payload = |section: Vec<u8>| [vec![0], section].concat();
    let pmt = packet(PMT, true, 0, &payload(section(&pmt)));
    [packet(0, true, 0, &payload(pat)), pmt].concat()
}

/// A section with its checksum behind it.
fn section(bytes: &[u8]) -> Vec<u8> {
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 }
        })
    });
    [bytes, &crc.to_be_bytes()].concat()
}

/// A packet, filled up in its adaptation field.
fn packet(pid: u16, start: bool, counter: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let mut packet = vec![0x47, u8::from(start) << 6 | high, low];
    let room = PACKET - 4 - payload.len();
    packet.push(if room > 0 { 0x30 } else { 0x10 } | counter & 15);
    if room > 0 {
        packet.push((room - 1) as u8);
        packet.extend([0].iter().chain(&[0xff; PACKET]).take(room - 1));
    }
    packet.extend(payload);
    packet
}

/// What a stream gives, in words, and what was wrong with it.
fn demux<'a>(
    want: Want,
    pieces: impl Iterator<Item = &'a [u8]>,
    now: Instant,
) -> (Vec<String>, ts::Counts) {
    let mut demuxer = Demuxer::new(want);
    let mut found = Vec::new();
    for piece in pieces {
        demuxer.push(piece, now);
        found.extend(drain(&mut demuxer));
    }
    demuxer.finish();
    found.extend(drain(&mut demuxer));
    (found, demuxer.counts())
}

/// What a demultiplexer has to give, in words.
fn drain(demuxer: &mut Demuxer) -> Vec<String> {
    let events = std::iter::from_fn(|| demuxer.poll()).inspect(|event| {
        if let ts::Event::Unit(Unit::Video(sample) | Unit::Audio(sample)) = event {
            // Three bytes of a start code become four of a length.
            assert!(sample.data.len() <= MAX_PES / 3 * 4 + 64, "{}", sample.data.len());
        }
    });
    events.map(|event| format!("{event:?}")).collect()
}

/// A section is read as a whole or refused; what is read can be written, and is the same when it is read
/// again, and can be told in words. The input is tried as it is, and as what stands between a right length and a right checksum.
pub fn cue_section(data: &[u8]) {
    for bytes in [Bytes::copy_from_slice(data), sealed(data)] {
        let Ok(section) = Section::decode(&bytes) else { continue };
        let written = section.encode().expect("what was a section fits into one");
        assert_eq!(written.len(), bytes.len());
        assert_eq!(Section::decode(&written), Ok(section.clone()));
        assert!(signals(&section).len() <= section.descriptors.len() + 1);
        let words = xml(&section);
        assert!(
            words.starts_with("<SpliceInfoSection ") && words.ends_with("</SpliceInfoSection>")
        );
    }
}

/// A body with the head and the checksum that make a section of it.
fn sealed(body: &[u8]) -> Bytes {
    let body = body.get(..4_089).unwrap_or(body);
    let mut section = BytesMut::new();
    section.put_u8(0xfc);
    section.put_u16(0x3000 | (body.len() + 4) as u16);
    section.put_slice(body);
    section.put_u32(checksum(&section));
    section.freeze()
}

/// Breaks keep the grid whole, whatever is asked for and in whatever order: pairs of a section without
/// its checksum, and of how far the pictures get before it. Four bytes stand before each: how many
/// frames, how far ahead the splice is, and the section's length.
pub fn breaks(mut data: &[u8]) {
    let grid = Grid::choose(FrameRate::new(30, 1), 48_000, Span::millis(2_000), Span::millis(300));
    let (frame, length) = (i64::from(grid.rate.frame_ticks()), grid.segment_ticks as i64);
    let mut breaks = Breaks::new(grid, Span::millis(600_000));
    let mut made = Made { until: grid.boundary(1_000), first_k: 997 };
    while let Some((&[frames, ahead, high, low], rest)) = data.split_first_chunk::<4>() {
        made.until += i64::from(frames) * frame;
        let size = usize::from(u16::from_be_bytes([high & 0x0f, low])).min(rest.len());
        let (body, rest) = rest.split_at(size);
        data = rest;
        let raw = sealed(body);
        let asked = Section::decode(&raw).map(|section| signals(&section)).unwrap_or_default();
        for signal in asked {
            let wish = made.until + (i64::from(ahead) - 64) * frame;
            breaks.take(&signal, &raw, wish, made);
        }
        breaks.advance(made);
        let k = grid.number_at(made.until);
        for k in k.saturating_sub(3)..k + 20 {
            let splices = breaks.splices();
            let lasts = 2 * (splices.boundary(&grid, k + 1) - splices.boundary(&grid, k));
            assert!(lasts >= length && lasts <= 3 * length, "segment {k} lasts {lasts}/2");
        }
        for cue in breaks.cues() {
            let end = cue.end.as_ref().map_or(i64::MAX, |end| end.at);
            assert!(end > cue.start, "{cue:?}");
        }
        breaks.forget_before(made.until - 100 * length);
    }
}
