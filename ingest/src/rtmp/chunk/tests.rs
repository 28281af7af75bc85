use proptest::prelude::*;

use super::*;

/// Bytes of a chunk stream under construction.
#[derive(Clone, Default)]
struct Wire(Vec<u8>);

impl Wire {
    fn basic(mut self, format: u8, csid: u32) -> Self {
        match csid {
            2..=63 => self.0.push(format << 6 | csid as u8),
            64..=319 => self.0.extend([format << 6, (csid - 64) as u8]),
            _ => {
                let [low, high, ..] = (csid - 64).to_le_bytes();
                self.0.extend([format << 6 | 1, low, high]);
            }
        }
        self
    }

    fn u24(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes()[1..]);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A header of type 0, 1 or 2 with its extended timestamp where needed.
    fn header(self, format: u8, csid: u32, time: u32, kind: u8, length: usize) -> Self {
        let mut wire = self.basic(format, csid).u24(time.min(EXTENDED));
        if format < 2 {
            wire = wire.u24(length as u32).bytes(&[kind]);
        }
        if format == 0 {
            wire = wire.bytes(&1u32.to_le_bytes());
        }
        if time >= EXTENDED { wire.bytes(&time.to_be_bytes()) } else { wire }
    }

    /// A header of type 3; `extended` is there in one dialect only.
    fn next(self, csid: u32, extended: Option<u32>) -> Self {
        let wire = self.basic(3, csid);
        match extended {
            Some(time) => wire.bytes(&time.to_be_bytes()),
            None => wire,
        }
    }

    fn control(self, kind: u8, value: u32) -> Self {
        self.header(0, 2, 0, kind, 4).bytes(&value.to_be_bytes())
    }

    fn read(&self) -> Result<Vec<Message>, Error> {
        read(&[&self.0])
    }
}

/// Reads pieces as they would come from a socket, the peer being authenticated.
fn read(pieces: &[&[u8]]) -> Result<Vec<Message>, Error> {
    let mut reader = Reader::new();
    reader.authenticate();
    read_with(&mut reader, pieces)
}

fn read_with(reader: &mut Reader, pieces: &[&[u8]]) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        while let Some(message) = reader.read(&mut input)? {
            messages.push(message);
        }
        assert!(input.len() < 18, "{} bytes left lying", input.len());
    }
    Ok(messages)
}

fn bodies(messages: &[Message]) -> Vec<&[u8]> {
    messages.iter().map(|m| m.payload.as_ref()).collect()
}

fn times(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|m| m.timestamp).collect()
}

/// What a real session sends after its handshake.
fn recorded() -> &'static [u8] {
    &include_bytes!("../session/tests/ffmpeg.rtmp")[1 + 2 * 1536..]
}

#[test]
fn a_recorded_session_reads_the_same_at_every_split() {
    let whole = read(&[recorded()]).unwrap();
    assert!(whole.len() > 50, "{}", whole.len());
    for split in 0..recorded().len() {
        let (front, back) = recorded().split_at(split);
        assert_eq!(read(&[front, back]).unwrap(), whole, "split at {split}");
    }
    let bytes: Vec<_> = recorded().chunks(1).collect();
    assert_eq!(read(&bytes).unwrap(), whole);
}

#[test]
fn interleaved_messages_come_out_whole() {
    let (audio, video) = ([1; 200], [2; 300]);
    let wire = Wire::default()
        .header(0, 4, 40, 9, 300)
        .bytes(&video[..128])
        .header(0, 5, 41, 8, 200)
        .bytes(&audio[..128])
        .next(4, None)
        .bytes(&video[128..256])
        .next(5, None)
        .bytes(&audio[128..])
        .next(4, None)
        .bytes(&video[256..]);
    let messages = wire.read().unwrap();
    assert_eq!(bodies(&messages), [audio.as_slice(), video.as_slice()]);
    assert_eq!(times(&messages), [41, 40]);
}

#[test]
fn abort_drops_the_message_begun_and_nothing_else() {
    let wire = Wire::default()
        .header(0, 4, 0, 9, 200)
        .bytes(&[9; 128])
        .header(0, 5, 0, 8, 200)
        .bytes(&[8; 128])
        .control(ABORT, 4)
        .next(5, None)
        .bytes(&[8; 72])
        .header(0, 4, 7, 9, 3)
        .bytes(b"new");
    let messages = wire.read().unwrap();
    assert_eq!(bodies(&messages[1..]), [[8; 200].as_slice(), b"new"]);
}

#[test]
fn aborting_gives_back_what_the_message_claimed() {
    let mut wire = Wire::default();
    for _ in 0..10 {
        wire = wire.header(0, 4, 0, 9, MAX_VIDEO).bytes(&[0; 128]).control(ABORT, 4);
    }
    assert_eq!(wire.read().unwrap().len(), 10);
}

#[test]
fn the_four_header_types_mean_what_the_specification_says() {
    let wire = Wire::default()
        .header(0, 4, 1_000, 9, 1)
        .bytes(b"a")
        .header(1, 4, 40, 8, 2)
        .bytes(b"bb")
        .header(2, 4, 20, 0, 0)
        .bytes(b"cc")
        .next(4, None)
        .bytes(b"dd")
        .header(1, 4, 0, 9, 1)
        .bytes(b"e");
    let messages = wire.read().unwrap();
    assert_eq!(times(&messages), [1_000, 1_040, 1_060, 1_080, 1_080]);
    assert_eq!(bodies(&messages), [b"a".as_slice(), b"bb", b"cc", b"dd", b"e"]);
    assert_eq!(messages.iter().map(|m| m.kind).collect::<Vec<_>>(), [9, 8, 8, 8, 9]);
    assert!(messages.iter().all(|m| m.stream_id == 1));
}

#[test]
fn chunk_stream_ids_have_three_lengths() {
    let mut wire = Wire::default();
    let csids = [2, 3, 63, 64, 65, 319, 320, 1_000, 65_599];
    for csid in csids {
        wire = wire.header(0, csid, 0, 9, 129).bytes(&[1; 128]);
    }
    for csid in csids {
        wire = wire.next(csid, None).bytes(&[csid as u8]);
    }
    let last: Vec<u8> = wire.read().unwrap().iter().map(|m| m.payload[128]).collect();
    assert_eq!(last, csids.map(|csid| csid as u8));
}

/// Four pictures of 300 bytes, 40 ms apart, over three chunks each.
fn pictures(start: u32, repeats: bool) -> Wire {
    let mut wire = Wire::default();
    for n in 0..4u32 {
        let time = start.wrapping_add(n * 40);
        let extended = (repeats && time >= EXTENDED).then_some(time);
        wire = wire
            .header(0, 4, time, 9, 300)
            .bytes(&[n as u8; 128])
            .next(4, extended)
            .bytes(&[n as u8; 128])
            .next(4, extended)
            .bytes(&[n as u8; 44]);
    }
    wire
}

#[test]
fn extended_timestamps_are_read_in_both_dialects_at_every_split() {
    for start in [EXTENDED - 80, EXTENDED, EXTENDED + 1, u32::MAX - 100, 0x0707_0707] {
        for repeats in [true, false] {
            let wire = pictures(start, repeats);
            let expected: Vec<_> = (0..4).map(|n| start.wrapping_add(n * 40)).collect();
            for split in 0..wire.0.len() {
                let (front, back) = wire.0.split_at(split);
                let messages = read(&[front, back]).unwrap();
                assert_eq!(times(&messages), expected, "{start:#x} {repeats} {split}");
                for (n, message) in messages.iter().enumerate() {
                    assert_eq!(message.payload, vec![n as u8; 300]);
                }
            }
        }
    }
}

#[test]
fn every_header_type_crosses_the_threshold_in_both_dialects_at_every_split() {
    let start = EXTENDED - 15;
    let jump = EXTENDED + 100;
    let continued = |wire: Wire, n: u8, extended: Option<u32>| {
        let wire = wire.bytes(&[n; 128]).next(4, extended);
        wire.bytes(&[n; 128]).next(4, extended).bytes(&[n; 44])
    };
    for repeats in [true, false] {
        let field = |time: u32| (repeats && time >= EXTENDED).then_some(time);
        let wire = continued(Wire::default().header(0, 4, start, 9, 300), 0, None);
        let wire = continued(wire.header(1, 4, 40, 9, 300), 1, None);
        let wire = continued(wire.header(2, 4, 40, 9, 300), 2, None);
        let wire = continued(wire.next(4, None), 3, None);
        let wire = continued(wire.header(1, 4, jump, 9, 300), 4, field(jump));
        let wire = continued(wire.header(2, 4, jump, 9, 300), 5, field(jump));
        let last = start + 120 + 2 * jump;
        let wire = continued(wire.header(0, 4, last, 9, 300), 6, field(last));
        let wire = continued(wire.header(2, 4, 40, 9, 300), 7, None);
        let expected =
            [0, 40, 80, 120, 120 + jump, 120 + 2 * jump, last - start, last - start + 40]
                .map(|after| start + after);
        for split in 0..wire.0.len() {
            let (front, back) = wire.0.split_at(split);
            let messages = read(&[front, back]).unwrap();
            assert_eq!(times(&messages), expected, "{repeats} {split}");
            for (n, message) in messages.iter().enumerate() {
                assert_eq!(message.payload, vec![n as u8; 300], "{repeats} {split}");
            }
        }
    }
}

#[test]
fn deltas_go_on_across_the_threshold_and_the_wrap() {
    for start in [EXTENDED - 50, u32::MAX - 50] {
        let mut wire = Wire::default().header(0, 4, start, 9, 1).bytes(b"x");
        wire = wire.header(2, 4, 40, 0, 0).bytes(b"x");
        wire = wire.next(4, None).bytes(b"x").next(4, None).bytes(b"x");
        let expected: Vec<_> = (0..4).map(|n| start.wrapping_add(n * 40)).collect();
        assert_eq!(times(&wire.read().unwrap()), expected);
    }
}

#[test]
fn a_type_3_that_starts_a_message_after_an_extended_type_0_repeats_its_time() {
    let time = EXTENDED + 5;
    let wire = Wire::default()
        .header(0, 4, time, 9, 1)
        .bytes(b"x")
        .next(4, Some(time))
        .bytes(b"y")
        .next(4, None)
        .bytes(b"z");
    // The third waits for bytes that tell the dialects apart.
    let messages = wire.control(3, 0).read().unwrap();
    assert_eq!(times(&messages), [time, time, time, 0]);
}

#[test]
fn a_full_header_inside_a_message_continues_it_or_gives_it_up() {
    let again = Wire::default()
        .header(0, 4, 7, 9, 200)
        .bytes(&[1; 128])
        .header(0, 4, 7, 9, 200)
        .bytes(&[1; 72]);
    assert_eq!(bodies(&again.read().unwrap()), [[1; 200].as_slice()]);
    let other = Wire::default()
        .header(0, 4, 7, 9, 200)
        .bytes(&[1; 128])
        .header(0, 4, 8, 9, 3)
        .bytes(b"new");
    assert_eq!(bodies(&other.read().unwrap()), [b"new"]);
}

#[test]
fn chunk_sizes_outside_the_limits_end_the_connection() {
    for size in [1, 127, 128, 4_096, MAX_CHUNK_SIZE] {
        assert!(Wire::default().control(SET_CHUNK_SIZE, size).read().is_ok(), "{size}");
    }
    for size in [0, MAX_CHUNK_SIZE + 1, 0x7FFF_FFFF, u32::MAX] {
        let error = Wire::default().control(SET_CHUNK_SIZE, size).read().unwrap_err();
        assert_eq!(error, Error::ChunkSize { size, offset: 16 });
    }
    let short = Wire::default().header(0, 2, 0, SET_CHUNK_SIZE, 1).bytes(&[0]);
    assert!(matches!(short.read(), Err(Error::ShortControl { .. })));
}

#[test]
fn chunks_of_one_byte_work() {
    let mut wire = Wire::default().control(SET_CHUNK_SIZE, 1).header(0, 4, 0, 9, 100).bytes(&[0]);
    for n in 1..100 {
        wire = wire.next(4, None).bytes(&[n]);
    }
    let expected: Vec<u8> = (0..100).collect();
    assert_eq!(bodies(&wire.read().unwrap()[1..]), [expected]);
}

#[test]
fn a_message_longer_than_its_type_may_be_is_refused_at_its_header() {
    for (kind, limit) in
        [(20, MAX_COMMAND), (99, MAX_COMMAND), (18, MAX_METADATA), (8, MAX_AUDIO), (9, MAX_VIDEO)]
    {
        let fits = Wire::default().header(0, 4, 0, kind, limit);
        assert_eq!(fits.read(), Ok(Vec::new()));
        let error = Wire::default().header(0, 4, 0, kind, limit + 1).read().unwrap_err();
        assert_eq!(error, Error::TooLong { kind, length: limit + 1, limit, offset: 12 });
    }
}

#[test]
fn sixteen_large_claims_do_not_add_up() {
    let mut wire = Wire::default();
    for csid in 3..19 {
        wire = wire.header(0, csid, 0, 9, MAX_VIDEO).bytes(&[0; 128]);
    }
    assert!(matches!(wire.read(), Err(Error::TooMuchUnfinished { .. })));
}

#[test]
fn a_seventeenth_chunk_stream_is_refused() {
    let mut wire = Wire::default();
    for csid in 0..MAX_CHUNK_STREAMS as u32 {
        wire = wire.header(0, 100 + csid, 0, 9, 1).bytes(&[0]);
    }
    assert_eq!(wire.read().unwrap().len(), MAX_CHUNK_STREAMS);
    let wire = wire.header(0, 3, 0, 9, 1).bytes(&[0]);
    assert!(matches!(wire.read(), Err(Error::TooManyStreams { .. })));
}

#[test]
fn a_compressed_header_needs_one_before_it() {
    for format in [2, 3] {
        let wire = Wire::default().basic(format, 7).u24(0).bytes(&[0]);
        assert_eq!(wire.read(), Err(Error::NoHeader { format, csid: 7, offset: 0 }));
    }
    let type_1 = Wire::default().header(1, 7, 5, 9, 1).bytes(b"x");
    assert_eq!(times(&type_1.read().unwrap()), [5]);
}

#[test]
fn before_authentication_bytes_and_headers_are_counted() {
    let mut many = Wire::default().control(SET_CHUNK_SIZE, MAX_CHUNK_SIZE);
    for _ in 0..7 {
        many = many.header(0, 3, 0, 20, 10_000).bytes(&[0; 10_000]);
    }
    let error = read_with(&mut Reader::new(), &[&many.0]).unwrap_err();
    assert!(matches!(error, Error::BeforeAuth { what: "bytes", .. }), "{error}");

    let mut wire = Wire::default().header(0, 3, 0, 3, 0);
    for _ in 0..MAX_HEADERS_BEFORE_AUTH {
        wire = wire.next(3, None);
    }
    let error = read_with(&mut Reader::new(), &[&wire.0]).unwrap_err();
    assert!(matches!(error, Error::BeforeAuth { what: "chunk headers", .. }), "{error}");
    assert!(wire.read().is_ok());
}

#[test]
fn a_claim_before_authentication_is_bounded_too() {
    let wire = Wire::default().header(0, 4, 0, 9, MAX_BYTES_BEFORE_AUTH as usize + 1);
    let error = read_with(&mut Reader::new(), &[&wire.0]).unwrap_err();
    assert!(matches!(error, Error::TooMuchUnfinished { .. }), "{error}");
}

/// Chunks of every header form with arbitrary numbers in them.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let csid = prop_oneof![2u32..8, 60u32..70, 315u32..325, 65_590u32..65_600];
    let time = prop_oneof![0..100u32, EXTENDED - 2..EXTENDED + 2, any::<u32>()];
    let kind = prop_oneof![Just(1u8), Just(2), Just(8), Just(9), Just(18), Just(20), any::<u8>()];
    let length = prop_oneof![0usize..300, Just(0xFF_FFFF)];
    let chunk = (0u8..4, csid, time, kind, length, prop::collection::vec(any::<u8>(), 0..140));
    prop::collection::vec(chunk, 1..40).prop_map(|chunks| {
        let wire = chunks.into_iter().fold(Wire::default(), |wire, chunk| {
            let (format, csid, time, kind, length, body) = chunk;
            let wire = match format {
                3 => wire.next(csid, time.is_multiple_of(2).then_some(time)),
                _ => wire.header(format, csid, time, kind, length),
            };
            wire.bytes(&body)
        });
        wire.0
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hostile_chunks_end_the_same_at_any_split(wire in hostile(), size in 1usize..50) {
        let whole = read(&[&wire]);
        let pieces: Vec<_> = wire.chunks(size).collect();
        prop_assert_eq!(read(&pieces), whole);
    }
}
