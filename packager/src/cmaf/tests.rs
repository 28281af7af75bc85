use bytes::{BufMut, BytesMut};
use mp4_atom::{Decode, Ftyp, Moof, Moov, Prft, Styp};

use super::*;
use crate::codec::fixtures::{self, bytes};
use crate::codec::{aac, h264};
use crate::media::{Config, Name, Track};
use crate::time::{FrameRate, Timescale};

/// 2026-11-25T12:00:00Z in seconds since the epoch.
const NOON: i64 = 1_795_608_000;

fn rendition(config: Config, timescale: u32, rate: Option<FrameRate>) -> Rendition {
    Rendition {
        name: Name::parse("720p").unwrap(),
        track: Track { timescale: Timescale::new(timescale).unwrap(), config },
        rate,
        average_bitrate: 2_500_000,
        peak_bitrate: 3_000_000,
    }
}

fn video() -> Rendition {
    let config = h264::config(bytes(fixtures::AVC_720P30)).unwrap();
    rendition(Config::Video(config), 90_000, Some(FrameRate::new(30, 1)))
}

fn audio() -> Rendition {
    let config = aac::config(bytes(fixtures::AAC_48000_STEREO)).unwrap();
    rendition(Config::Audio(config), 48_000, None)
}

/// Samples of a GOP with one B-frame between references, from `start` on.
fn pictures(start: i64, count: i64) -> Vec<Sample> {
    let offsets = [0i64, 3_000, -3_000];
    (0..count)
        .map(|at| Sample {
            dts: start + at * 3_000,
            pts: start + at * 3_000 + offsets[usize::try_from(at % 3).unwrap()],
            duration: 3_000,
            sync: at == 0,
            data: Bytes::from(vec![u8::try_from(at).unwrap(); 100 + usize::try_from(at).unwrap()]),
        })
        .collect()
}

fn spec<'a>(rendition: &'a Rendition, part: u32, samples: &'a [Sample]) -> ChunkSpec<'a> {
    ChunkSpec { rendition, k: 1_122_255_000, part, samples, events: &[] }
}

fn joined(chunk: &Chunk) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&chunk.head);
    chunk.samples.iter().for_each(|sample| out.put_slice(sample));
    out.freeze()
}

#[test]
fn a_chunk_reads_back_with_an_independent_reader() {
    let (rendition, samples) = (video(), pictures(NOON * 90_000, 10));
    let chunk = chunk(&spec(&rendition, 0, &samples));
    let whole = joined(&chunk);
    assert_eq!(whole.len(), chunk.len());
    let mut rest = &whole[..];
    Styp::decode(&mut rest).unwrap();
    let prft = Prft::decode(&mut rest).unwrap();
    assert_eq!(prft.media_time, NOON.unsigned_abs() * 90_000);
    assert_eq!(prft.ntp_timestamp >> 32, NOON.unsigned_abs() + 2_208_988_800);
    let moof = Moof::decode(&mut rest).unwrap();
    let traf = &moof.traf[0];
    assert_eq!(traf.tfdt.as_ref().unwrap().base_media_decode_time, prft.media_time);
    let entries: Vec<_> = traf.trun[0].samples.iter().collect();
    for (entry, sample) in entries.iter().zip(&samples) {
        assert_eq!(entry.duration, Some(sample.duration));
        assert_eq!(entry.size, Some(u32::try_from(sample.data.len()).unwrap()));
        assert_eq!(entry.cts.unwrap(), sample.pts - sample.dts);
    }
    assert_eq!(&rest[4..8], b"mdat");
    assert_eq!(rest[8..].len(), samples.iter().map(|sample| sample.data.len()).sum::<usize>());
}

#[test]
fn an_init_segment_reads_back_with_an_independent_reader() {
    for rendition in [video(), audio()] {
        let init = init(&rendition);
        let mut rest = &init[..];
        Ftyp::decode(&mut rest).unwrap();
        let moov = Moov::decode(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(moov.trak[0].mdia.mdhd.timescale, rendition.track.timescale.get());
    }
}
