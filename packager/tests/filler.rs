//! Filler as FFmpeg's decoders read it: pictures of x264 shown again, and silence.

#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use bytes::Bytes;
use packager::cmaf::{self, ChunkSpec};
use packager::codec::{aac, h264, h265, nal};
use packager::filler::Filler;
use packager::media::{Config, Name, Rendition, Sample, Track, VideoConfig};
use packager::time::Timescale;

/// Runs ffmpeg on `input`: what it wrote, and what it complained of.
fn ffmpeg(args: &str, input: Vec<u8>) -> (Vec<u8>, String) {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "warning", "-nostdin"])
        .args(args.split_whitespace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let mut stderr = child.stderr.take().unwrap();
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    child.wait().unwrap();
    feed.join().unwrap();
    (out, complaints.join().unwrap())
}

fn rendition(config: Config, timescale: u32) -> Rendition {
    Rendition {
        name: Name::parse("r").unwrap(),
        track: Track { timescale: Timescale::new(timescale).unwrap(), config },
        rate: None,
        average_bitrate: 1_000_000,
        peak_bitrate: 1_000_000,
    }
}

/// An MP4 file of one rendition.
fn file(rendition: &Rendition, samples: &[Sample]) -> Vec<u8> {
    let mut out = cmaf::init(rendition).to_vec();
    for (part, sample) in (0..).zip(samples) {
        let samples = std::slice::from_ref(sample);
        let chunk = cmaf::chunk(&ChunkSpec { rendition, k: 1, part, samples, events: &[] });
        out.extend(&chunk.head);
        chunk.samples.iter().for_each(|data| out.extend(data));
    }
    out
}

/// Twelve pictures, a key frame each sixth, as length-prefixed access units.
fn encoded(encoder: &str) -> (Vec<u8>, Vec<Bytes>) {
    let source = "-f lavfi -i testsrc2=size=320x180:rate=25 -frames:v 12 -g 6 -pix_fmt yuv420p";
    let (stream, _) = ffmpeg(&format!("{source} {encoder} -"), Vec::new());
    let hevc = encoder.contains("hevc");
    let mut units: Vec<Vec<u8>> = Vec::new();
    for unit in nal::AnnexB::new(&stream) {
        let bytes = unit.unwrap().bytes;
        let delimiter = if hevc { bytes[0] >> 1 == 35 } else { bytes[0] & 0x1f == 9 };
        if delimiter {
            units.push(Vec::new());
            continue;
        }
        let unit = units.last_mut().expect("an access unit delimiter comes first");
        unit.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
        unit.extend(bytes);
    }
    assert_eq!(units.len(), 12);
    (stream, units.into_iter().map(Bytes::from).collect())
}

/// Two coded pictures, five of filler, the rest of the coded ones, and what FFmpeg makes of them.
fn decode_with_hole(config: VideoConfig, units: &[Bytes]) -> Vec<u8> {
    let rendition = rendition(Config::Video(config), 25_000);
    let mut filler = Filler::new(&rendition);
    let mut samples: Vec<Sample> = Vec::new();
    let coded = |index: usize, dts| Sample {
        dts,
        pts: dts,
        duration: 1_000,
        sync: index.is_multiple_of(6),
        data: units[index].clone(),
    };
    for index in 0..2 {
        samples.push(coded(index, 1_000 * i64::try_from(index).unwrap()));
        filler.note(samples.last().unwrap());
    }
    for n in 0..5 {
        samples.push(filler.sample(2_000 + 6_000 * n, 6_000).unwrap());
    }
    for index in 6..12 {
        samples.push(coded(index, 32_000 + 1_000 * i64::try_from(index - 6).unwrap()));
    }
    let whole = file(&rendition, &samples);
    let args = "-err_detect explode -i - -fps_mode passthrough -f rawvideo -pix_fmt yuv420p -";
    let (pictures, complaints) = ffmpeg(args, whole);
    assert_eq!(complaints, "");
    let size = 320 * 180 * 3 / 2;
    assert_eq!(pictures.len(), 13 * size, "a picture for every sample");
    // Filler shows exactly what the key frame shows.
    for n in 2..7 {
        assert_eq!(pictures[..size], pictures[n * size..(n + 1) * size], "picture {n}");
    }
    pictures
}

/// The idr_pic_id of each slice of IDR pictures, as FFmpeg's reader of bitstreams names them.
fn ids(config: &VideoConfig, samples: &[Bytes]) -> Vec<u16> {
    let rendition = rendition(Config::Video(config.clone()), 25_000);
    let sample = |(dts, data): (i64, &Bytes)| Sample {
        dts,
        pts: dts,
        duration: 1,
        sync: true,
        data: data.clone(),
    };
    let samples: Vec<_> = (0..).zip(samples).map(sample).collect();
    let args = "-v info -i - -c copy -bsf:v trace_headers -f null -";
    let (_, trace) = ffmpeg(args, file(&rendition, &samples));
    let lines = trace.lines().filter(|line| line.contains(" idr_pic_id "));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect()
}

/// Every kind of header and of slice data x264 can write.
#[test]
fn ffmpeg_decodes_repeated_pictures_of_x264_without_a_word() {
    for params in [
        // CAVLC: slice data begins at any bit.
        "cabac=0",
        "cabac=0:slices=4",
        // CABAC: slice data begins at a byte.
        "cabac=1",
        "cabac=1:slices=4",
        "cabac=1:slices=3:no-deblock=1",
        "cabac=0:slices=3:no-deblock=1:bframes=0",
        // Fields: a header with field_pic_flag, a bottom field's picture order.
        "cabac=1:tff=1",
        "cabac=0:tff=1:slices=2",
        // Few bits a picture: a header that is most of its slice.
        "cabac=1:qp=51",
        "cabac=0:qp=51:slices=6",
        // Many: emulation prevention in every slice.
        "cabac=1:qp=1",
        "cabac=0:qp=1",
    ] {
        let encoder = format!(
            "-c:v libx264 -preset veryfast -x264-params aud=1:bframes=0:scenecut=0:{params} -f h264"
        );
        let (stream, units) = encoded(&encoder);
        let config = h264::config_from_annex_b(&stream).unwrap();
        let repeats = h264::repeats(&config.record, &units[0]).expect(params);
        let [first, second] = &repeats;
        let ids = ids(&config, &[units[0].clone(), first.clone(), second.clone()]);
        let slices = ids.len() / 3;
        assert!(slices > 0 && ids[..slices].iter().all(|id| *id < 2), "{params}: {ids:?}");
        assert!(ids[slices..2 * slices].iter().all(|id| *id == 65_533), "{params}: {ids:?}");
        assert!(ids[2 * slices..].iter().all(|id| *id == 65_532), "{params}: {ids:?}");
        decode_with_hole(config, &units);
    }
}

#[test]
fn ffmpeg_decodes_repeated_pictures_of_x265_without_a_word() {
    let encoder = "-c:v libx265 -preset ultrafast -x265-params aud=1:bframes=0:scenecut=0:open-gop=0:log-level=0 -f hevc";
    let (stream, units) = encoded(encoder);
    decode_with_hole(h265::config_from_annex_b(&stream).unwrap(), &units);
}

#[test]
fn every_cut_of_a_picture_is_an_error_or_a_picture_and_never_a_panic() {
    for params in ["cabac=0:slices=2", "cabac=1:slices=2"] {
        let encoder = format!("-c:v libx264 -x264-params aud=1:bframes=0:qp=51:{params} -f h264");
        let (stream, units) = encoded(&encoder);
        let config = h264::config_from_annex_b(&stream).unwrap();
        // The parameter sets, SEI and the beginning of the first slice.
        for end in 0..units[0].len().min(2_000) {
            let _ = h264::repeats(&config.record, &units[0][..end]);
        }
        for end in 0..config.record.len() {
            let _ = h264::repeats(&config.record[..end], &units[0]);
        }
    }
}

/// AudioSpecificConfig: object type, index of the sample rate, channel configuration.
fn asc(object: u16, rate: u16, channels: u16) -> Bytes {
    Bytes::copy_from_slice(&(object << 11 | rate << 7 | channels << 3).to_be_bytes())
}

/// Ten frames of filler as ffmpeg decodes them: samples of all channels, and complaints.
fn decode_silence(record: Bytes) -> (Vec<i16>, u32, u32, String) {
    let config = aac::config(record).unwrap();
    let (rate, frame) = (config.sample_rate, config.frame_samples);
    let channels = config.channels;
    let rendition = rendition(Config::Audio(config), rate);
    let mut filler = Filler::new(&rendition);
    let frames = (0..10).map(|n| filler.sample(n * i64::from(frame), frame).unwrap());
    let file = file(&rendition, &frames.collect::<Vec<_>>());
    let (pcm, complaints) = ffmpeg("-err_detect explode -i - -f s16le -c:a pcm_s16le -", file);
    let samples = pcm.chunks(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    (samples, channels.into(), frame, complaints)
}

#[test]
fn silence_decodes_to_zeros_in_every_channel_configuration() {
    for configuration in 1..=7 {
        for rate in [3, 4, 11] {
            let (samples, channels, frame, complaints) =
                decode_silence(asc(2, rate, configuration));
            assert_eq!(complaints, "", "configuration {configuration}");
            let expected = usize::try_from(10 * frame * channels).unwrap();
            assert_eq!(samples.len(), expected, "configuration {configuration}");
            assert!(samples.iter().all(|sample| *sample == 0), "configuration {configuration}");
        }
    }
}

#[test]
fn silence_of_he_aac_is_twice_as_long() {
    // AAC-LC at 24 kHz under SBR at 48 kHz, stereo; and mono with PS on top of it.
    for record in [&[0x2b, 0x11, 0x88, 0x00][..], &[0xeb, 0x09, 0x88, 0x00]] {
        let (samples, channels, frame, complaints) = decode_silence(Bytes::copy_from_slice(record));
        assert_eq!(complaints, "");
        assert_eq!((channels, frame), (2, 2_048));
        let expected = usize::try_from(10 * frame * channels).unwrap();
        assert_eq!(samples.len(), expected);
        assert!(samples.iter().all(|sample| *sample == 0));
    }
}
