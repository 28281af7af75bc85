//! The multivariant playlist: the ladder and the sound that goes with it (RFC 8216bis §4.4.6).
//!
//! Written through m3u8-rs.

use m3u8_rs::{
    AlternativeMedia, AlternativeMediaType, ExtTag, MasterPlaylist, Resolution, VariantStream,
};

use super::Options;
use super::head::VERSION;
use crate::media::{Rendition, VideoConfig, still_bits, still_size, with_stills};
use crate::timeline::Snapshot;

/// Where an Apple player starts: the first variant should be the one for about 2 Mbit/s (APL 1.32).
const START_BITRATE: u64 = 2_000_000;
/// The one group of sound renditions.
const AUDIO_GROUP: &str = "audio";

/// Renders the multivariant playlist of a channel. URIs are relative to `/live/{channel}/`.
pub fn multivariant(snapshot: &Snapshot, options: &Options) -> String {
    let sounds: Vec<_> = with_index(snapshot).filter(|(_, r)| r.audio().is_some()).collect();
    let sound = sounds.first().map(|&(_, rendition)| (snapshot.bandwidth(rendition), rendition));
    let mut variants: Vec<_> = with_index(snapshot)
        .filter(|(_, rendition)| rendition.video().is_some())
        .map(|(_, rendition)| {
            let own = snapshot.bandwidth(rendition);
            let mut codecs = rendition.track.config.codec_string().to_owned();
            let (mut peak, mut average) = (own.peak, own.average);
            if let Some((bandwidth, sound)) = sound {
                codecs.push(',');
                codecs.push_str(sound.track.config.codec_string());
                peak += bandwidth.peak;
                average += bandwidth.average;
            }
            VariantStream {
                uri: format!("{}/index.m3u8", rendition.name),
                bandwidth: peak,
                average_bandwidth: Some(average),
                codecs: Some(codecs),
                resolution: rendition.video().map(resolution),
                // The library's type; the text is the exact one and comes back unchanged.
                frame_rate: rendition.rate.and_then(|rate| rate.to_string().parse().ok()),
                audio: sound.map(|_| AUDIO_GROUP.into()),
                ..VariantStream::default()
            }
        })
        .collect();
    // A channel of sound alone is its own variant.
    if let (true, Some((bandwidth, rendition))) = (variants.is_empty(), sound) {
        variants.push(VariantStream {
            uri: format!("{}/index.m3u8", rendition.name),
            bandwidth: bandwidth.peak,
            average_bandwidth: Some(bandwidth.average),
            codecs: Some(rendition.track.config.codec_string().into()),
            audio: Some(AUDIO_GROUP.into()),
            ..VariantStream::default()
        });
    }
    let start = variants
        .iter()
        .enumerate()
        .min_by_key(|(_, variant)| variant.bandwidth.abs_diff(START_BITRATE))
        .map_or(0, |(position, _)| position);
    if let Some(head) = variants.get_mut(..=start) {
        head.rotate_right(1);
    }
    variants.extend(
        with_index(snapshot).filter(|(_, r)| r.video().is_some()).map(key_frames(snapshot)),
    );
    let playlist = MasterPlaylist {
        unknown_tags: stills(snapshot).into_iter().filter(|_| options.stills).collect(),
        version: Some(VERSION),
        independent_segments: true,
        alternatives: sounds
            .iter()
            .enumerate()
            .map(|(position, (_, rendition))| AlternativeMedia {
                media_type: AlternativeMediaType::Audio,
                uri: Some(format!("{}/index.m3u8", rendition.name)),
                group_id: AUDIO_GROUP.into(),
                language: Some(options.language.clone()),
                assoc_language: None,
                name: rendition.name.to_string(),
                default: position == 0,
                autoselect: true,
                forced: false,
                instream_id: None,
                characteristics: None,
                channels: rendition.audio().map(|audio| audio.channels.to_string()),
                other_attributes: None,
            })
            .collect(),
        variants,
        ..MasterPlaylist::default()
    };
    let mut text = Vec::new();
    // Writing to memory and writing only text: neither can fail.
    let _ = playlist.write_to(&mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The I-frame playlist of a rendition. How large key frames get is the encoder's affair; all that is
/// promised is that they are a part of the whole.
fn key_frames(snapshot: &Snapshot) -> impl Fn((usize, &Rendition)) -> VariantStream {
    |(_, rendition)| VariantStream {
        is_i_frame: true,
        uri: format!("{}/iframes.m3u8", rendition.name),
        bandwidth: snapshot.bandwidth(rendition).peak,
        codecs: Some(rendition.track.config.codec_string().into()),
        resolution: rendition.video().map(resolution),
        ..VariantStream::default()
    }
}

/// The stills of the smallest rung, by the tag of the image playlists' specification (Roku and others, 1.0),
/// which the library does not know.
fn stills(snapshot: &Snapshot) -> Option<ExtTag> {
    let (rendition, video) = with_stills(&*snapshot.renditions)?;
    let size = still_size(video.width, video.height);
    let grid = &snapshot.format.grid;
    let scale = u64::from(grid.video_scale().get());
    let bandwidth = (u64::from(still_bits(size)) * scale).div_ceil(grid.segment_ticks.max(1));
    let (width, height) = size;
    Some(ExtTag {
        tag: "X-IMAGE-STREAM-INF".into(),
        rest: Some(format!(
            "BANDWIDTH={bandwidth},RESOLUTION={width}x{height},CODECS=\"jpeg\",\
             URI=\"{}/images.m3u8\"",
            rendition.name
        )),
    })
}

fn resolution(video: &VideoConfig) -> Resolution {
    Resolution { width: video.width.into(), height: video.height.into() }
}

fn with_index(snapshot: &Snapshot) -> impl Iterator<Item = (usize, &Rendition)> {
    snapshot.renditions.iter().enumerate()
}
