//! Sources for the ladder, really encoded by the ffmpeg command, and readers of what comes out,
//! really decoded by it.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ingest::av::mark;
use ingest::source::{SoundConfig, SourceSample, Unit};
use packager::codec::nal::{self, LengthSize};
use packager::codec::{aac, h264, h265};
use packager::media::{Rendition, Sample, VideoCodec, VideoConfig};
use packager::time::{Timescale, Timestamp};

/// What a fixture is made of.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) rate: (u32, u32),
    pub(crate) seconds: u32,
    /// The source's own clock at the first picture, in ms; also what the marks say.
    pub(crate) zero: u64,
    /// More options of the ffmpeg command, for its video encoder.
    pub(crate) video: &'static [&'static str],
    /// Noise behind the marks, another in every picture, instead of a moving slope.
    pub(crate) noise: bool,
    /// Sample rate and channels, or no sound at all.
    pub(crate) sound: Option<(u32, u32)>,
}

/// One message of a source, by when it is sent.
pub(crate) struct Timed {
    pub(crate) at: Duration,
    pub(crate) unit: Unit,
}

/// Draws marks and ticks, lets ffmpeg encode them, and takes the FLV apart. Times begin at 0.
pub(crate) fn source(recipe: Recipe) -> Vec<Timed> {
    let folder = tempfile::tempdir().expect("a folder");
    let (num, den) = recipe.rate;
    let mut command = picture_input(&recipe, folder.path());
    if let Some((rate, channels)) = recipe.sound {
        let sound = folder.path().join("sound.f32");
        let first = recipe.zero as i64 * i64::from(rate) / 1000;
        let samples: Vec<u8> = (0..i64::from(recipe.seconds * rate))
            .flat_map(|n| {
                let sample = mark::tick_sample(first + n, rate).to_le_bytes();
                std::iter::repeat_n(sample, channels as usize).flatten()
            })
            .collect();
        std::fs::write(&sound, samples).expect("written");
        command.args(["-f", "f32le", "-ar", &rate.to_string(), "-ac", &channels.to_string(), "-i"]);
        command.arg(&sound).args(["-c:a", "aac", "-b:a", "96k"]);
    }
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", &(num / den).to_string()]);
    command.args(recipe.video).args(["-flvflags", "no_duration_filesize", "-f", "flv", "-"]);
    flv(&run(command))
}

/// The same picture as H.265 and without sound, taken out of a bare stream with a delimiter before
/// each access unit: Debian's ffmpeg writes no H.265 into FLV.
pub(crate) fn h265_source(recipe: Recipe) -> Vec<Timed> {
    /// nal_unit_type of an access unit delimiter.
    const DELIMITER: [u8; 6] = [0, 0, 0, 1, 35 << 1, 1];
    let folder = tempfile::tempdir().expect("a folder");
    let (num, den) = recipe.rate;
    let mut command = picture_input(&recipe, folder.path());
    let options = format!("keyint={}:bframes=0:aud=1:log-level=error", num / den);
    command.args(["-c:v", "libx265", "-preset", "ultrafast", "-x265-params", &options]);
    command.args(recipe.video).args(["-f", "hevc", "-"]);
    let stream = run(command);
    let mut starts: Vec<_> = (0..stream.len() - DELIMITER.len())
        .filter(|at| stream[*at..].starts_with(&DELIMITER))
        .collect();
    let config = h265::config_from_annex_b(&stream[..starts[1]]).expect("parameter sets");
    let mut units = vec![Timed { at: Duration::ZERO, unit: Unit::VideoConfig(config.into()) }];
    starts.push(stream.len());
    for (n, pair) in starts.windows(2).enumerate() {
        let data = nal::from_annex_b(&stream[pair[0]..pair[1]]).expect("an access unit");
        let millis = n as i64 * 1000 * i64::from(den) / i64::from(num);
        let at = Timestamp::new(millis, Timescale::MILLIS);
        let unit = nal::check(&data, LengthSize::Four, VideoCodec::H265).expect("an access unit");
        let sync = unit.random_access;
        let sample = SourceSample { dts: at, pts: at, sync, data, received: Instant::now() };
        let at = Duration::from_millis(millis.unsigned_abs());
        units.push(Timed { at, unit: Unit::Video(sample) });
    }
    units
}

/// A PNG image whose left half is white and whose right half is black.
pub(crate) fn png() -> Bytes {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "color=black:size=640x360,format=rgb24"]);
    command.args(["-vf", "drawbox=w=320:h=360:color=white:t=fill", "-frames:v", "1"]);
    command.args(["-c:v", "png", "-f", "image2pipe", "-"]);
    run(command).into()
}

/// An ffmpeg command with the drawn picture as its first input.
fn picture_input(recipe: &Recipe, folder: &Path) -> Command {
    let (num, den) = recipe.rate;
    let picture = folder.join("picture.yuv");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&picture).expect("a file"));
    let (w, h) = (recipe.width, recipe.height);
    let mut noise = 1u32;
    for n in 0..u64::from(recipe.seconds * num / den) {
        let mut luma = vec![60u8; w * h];
        for (index, pixel) in luma.iter_mut().enumerate() {
            *pixel = match recipe.noise {
                false => ((index % w + index / w + 3 * n as usize) % 160 + 40) as u8,
                true => {
                    noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (noise >> 24) as u8
                }
            };
        }
        let millis = recipe.zero + n * 1000 * u64::from(den) / u64::from(num);
        mark::draw(&mut luma, w, w, h, millis);
        file.write_all(&luma).expect("written");
        file.write_all(&vec![128u8; w / 2 * (h / 2) * 2]).expect("written");
    }
    drop(file);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"]);
    command.args(["-video_size", &format!("{w}x{h}"), "-framerate", &format!("{num}/{den}"), "-i"]);
    command.arg(&picture);
    command
}

fn run(mut command: Command) -> Vec<u8> {
    let output = command.stderr(Stdio::inherit()).output().expect("ffmpeg runs");
    assert!(output.status.success());
    output.stdout
}

/// Takes FLV tags apart (Adobe Flash Video File Format 10.1, annex E).
pub(crate) fn flv(file: &[u8]) -> Vec<Timed> {
    let mut rest = &file[13..];
    let mut units = Vec::new();
    while rest.len() > 11 {
        let size = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]) as usize;
        let dts = i64::from(u32::from_be_bytes([rest[7], rest[4], rest[5], rest[6]]));
        let body = &rest[11..11 + size];
        let data = |skip: usize| Bytes::copy_from_slice(&body[skip..]);
        let sample = |pts: i64, sync: bool, data: Bytes| SourceSample {
            dts: Timestamp::new(dts, Timescale::MILLIS),
            pts: Timestamp::new(pts, Timescale::MILLIS),
            sync,
            data,
            received: Instant::now(),
        };
        let unit = match (rest[0], body.get(1)) {
            (9, Some(0)) => {
                h264::config(data(5)).ok().map(|config| Unit::VideoConfig(config.into()))
            }
            (9, Some(1)) => {
                let shift = i32::from_be_bytes([body[2], body[3], body[4], 0]) >> 8;
                let sync = body[0] >> 4 == 1;
                Some(Unit::Video(sample(dts + i64::from(shift), sync, data(5))))
            }
            (8, Some(0)) => aac::config(data(2)).ok().map(SoundConfig::Aac).map(Unit::AudioConfig),
            (8, Some(1)) => Some(Unit::Audio(sample(dts, true, data(2)))),
            _ => None,
        };
        let at = Duration::from_millis(dts.unsigned_abs());
        units.extend(unit.map(|unit| Timed { at, unit }));
        rest = &rest[11 + size + 4..];
    }
    units
}

/// The same message with its times moved by `millis` and received now.
pub(crate) fn moved(unit: &Unit, millis: i64) -> Unit {
    let sample = |sample: &SourceSample| {
        let shift = |at: Timestamp| Timestamp::new(at.ticks + millis, at.scale);
        SourceSample {
            dts: shift(sample.dts),
            pts: shift(sample.pts),
            received: Instant::now(),
            ..sample.clone()
        }
    };
    match unit {
        Unit::Video(video) => Unit::Video(sample(video)),
        Unit::Audio(audio) => Unit::Audio(sample(audio)),
        other => other.clone(),
    }
}

/// The program that is a worker and nothing else, which cargo builds beside the tests.
pub(crate) fn worker() -> PathBuf {
    let test = std::env::current_exe().expect("our own path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("a target folder");
    folder.join("examples").join("worker")
}

/// The marks in a rendition's pictures, one entry per sample.
pub(crate) fn marks(rendition: &Rendition, samples: &[Sample]) -> Vec<Option<u64>> {
    marks_of(rendition.video().expect("a picture rendition"), samples)
}

/// The same by the decoder's configuration alone.
pub(crate) fn marks_of(config: &VideoConfig, samples: &[Sample]) -> Vec<Option<u64>> {
    let (w, h) = (usize::from(config.width), usize::from(config.height));
    pictures(config, samples).iter().map(|luma| mark::read(luma, w, w, h)).collect()
}

/// The luma of every picture, without padding.
pub(crate) fn pictures(config: &VideoConfig, samples: &[Sample]) -> Vec<Vec<u8>> {
    let (w, h) = (usize::from(config.width), usize::from(config.height));
    let mut stream = Vec::new();
    for set in parameter_sets(&config.record) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(set);
    }
    for sample in samples {
        let mut rest = &sample.data[..];
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let (unit, tail) = tail.split_at(u32::from_be_bytes(*length) as usize);
            stream.extend_from_slice(&[0, 0, 0, 1]);
            stream.extend_from_slice(unit);
            rest = tail;
        }
    }
    let raw = pipe(
        &stream,
        &[
            "-f",
            "h264",
            "-i",
            "-",
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
            "-pix_fmt",
            "gray",
            "-",
        ],
    );
    assert_eq!(raw.len(), w * h * samples.len(), "ffmpeg decodes every picture");
    raw.chunks(w * h).map(<[u8]>::to_vec).collect()
}

/// SPS and PPS of an AVCDecoderConfigurationRecord.
fn parameter_sets(record: &[u8]) -> Vec<&[u8]> {
    let mut sets = Vec::new();
    let mut rest = &record[5..];
    for mask in [0x1F, 0xFF] {
        let (count, mut tail) = (rest[0] & mask, &rest[1..]);
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes([tail[0], tail[1]]));
            sets.push(&tail[2..2 + length]);
            tail = &tail[2 + length..];
        }
        rest = tail;
    }
    sets
}

/// The left channel of the ladder's sound at 48 kHz.
pub(crate) fn sound(samples: &[Sample]) -> Vec<f32> {
    let mut stream = Vec::new();
    for sample in samples {
        // ADTS (ISO/IEC 13818-7 §6.2): AAC-LC, 48 kHz, stereo.
        let length = sample.data.len() + 7;
        stream.extend_from_slice(&[
            0xFF,
            0xF1,
            0x4C,
            0x80 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1F,
            0xFC,
        ]);
        stream.extend_from_slice(&sample.data);
    }
    let raw = pipe(&stream, &["-f", "aac", "-i", "-", "-f", "f32le", "-ac", "2", "-"]);
    raw.chunks_exact(8)
        .map(|pair| f32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]))
        .collect()
}

fn pipe(input: &[u8], arguments: &[&str]) -> Vec<u8> {
    let mut child = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ffmpeg runs");
    let mut stdin = child.stdin.take().expect("piped");
    let mut output = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.stdout.take().expect("piped").read_to_end(&mut output).expect("readable");
    });
    assert!(child.wait().expect("waited for").success());
    output
}
