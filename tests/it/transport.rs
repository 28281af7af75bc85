//! MPEG transport streams: what the demultiplexer reads of them, beside ffprobe, and channels that
//! take them from files and datagrams.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::publisher::{Feed, Source};
use harness::reader::ffmpeg;
use harness::server::{ChannelConfig, LEAD_IN, Server};
use harness::wait::{Look, until};
use harness::witness::{Record, Watch, Witness};
use harness::{Context, Failure, Result, process};
use ingest::source::{AudioCodec, PictureCodec, SoundConfig, Unit};
use ingest::ts::{Counts, Demuxer, Event, PACKET, Want};
use packager::media::VideoCodec;
use packager::time::FrameRate;

use crate::{absence, examine};

pub(crate) mod cues;
mod datagrams;
mod ffprobe;
mod files;

const RATE: FrameRate = FrameRate::new(25, 1);
/// Turn of the clock of 33 bits, at 90 kHz.
const TURN: i64 = 1 << 33;
/// Half a second before it, in seconds.
const NEAR_THE_TURN: &str = "95443.2";

/// What stands in a stream: codecs and the times of its packets.
#[derive(Debug, PartialEq, Eq)]
struct Contents {
    codecs: [String; 2],
    pictures: Vec<i64>,
    sound: Vec<i64>,
}

/// Runs a program that has to succeed.
fn run(name: &str, command: &mut Command) -> Result<process::Output> {
    let output = process::run(name, command, Duration::from_secs(60))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(Failure::new(format!("{name} ended with {}: {}", output.status, output.stderr)))
}

/// What the demultiplexer finds, and what was wrong.
fn by_us(bytes: &[u8], piece: usize) -> (Contents, Counts) {
    let mut demuxer = Demuxer::new(Want::default());
    let mut contents =
        Contents { codecs: Default::default(), pictures: Vec::new(), sound: Vec::new() };
    let mut take = |event| match event {
        Event::Unit(Unit::VideoConfig(config)) => {
            contents.codecs[0] = match config.codec() {
                PictureCodec::Packaged(VideoCodec::H264) => "h264".into(),
                PictureCodec::Packaged(VideoCodec::H265) => "hevc".into(),
                PictureCodec::Vp8 => "vp8".into(),
            };
        }
        Event::Unit(Unit::AudioConfig(config)) => {
            contents.codecs[1] = match config.codec() {
                AudioCodec::Aac if matches!(config, SoundConfig::Aac(_)) => "aac".into(),
                AudioCodec::Mp2 => "mp2".into(),
                AudioCodec::Ac3 => "ac3".into(),
                AudioCodec::Eac3 => "eac3".into(),
                other => format!("{other:?}"),
            };
        }
        Event::Unit(Unit::Video(sample)) => {
            contents.pictures.push(sample.pts.ticks.rem_euclid(TURN))
        }
        Event::Unit(Unit::Audio(sample)) => contents.sound.push(sample.pts.ticks.rem_euclid(TURN)),
        _ => {}
    };
    for piece in bytes.chunks(piece) {
        demuxer.push(piece, Instant::now());
        std::iter::from_fn(|| demuxer.poll()).for_each(&mut take);
    }
    demuxer.finish();
    std::iter::from_fn(|| demuxer.poll()).for_each(&mut take);
    (contents, demuxer.counts())
}
