//! Which brands an init segment may carry (ISO/IEC 23000-19 §7.2 and annexes A, B, D, K).

use mp4_atom::FourCC;

use crate::codec;
use crate::media::{AudioConfig, Config, Rendition, VideoCodec, VideoConfig};
use crate::time::FrameRate;

/// No edit list, signed composition offsets, chunks that need nothing of `trex`: the second
/// structural brand, a subset of the first (`cmfc`).
pub(super) const STRUCTURAL: FourCC = FourCC::new(b"cmf2");

/// Signed composition offsets and base-is-moof (`iso6`), both structural brands, and every media
/// profile whose bounds the track keeps. A small rendition is listed under the profiles of large
/// ones too, so that the renditions of a ladder have one in common.
pub(super) fn compatible(rendition: &Rendition) -> Vec<FourCC> {
    let mut brands = vec![FourCC::new(b"iso6"), FourCC::new(b"cmfc"), STRUCTURAL];
    match &rendition.track.config {
        Config::Video(config) => brands.extend(video(config, rendition.rate)),
        Config::Audio(config) => brands.extend(audio(config)),
    }
    brands
}

/// Bounds of a video media profile.
struct Profile {
    brand: &'static [u8; 4],
    codec: VideoCodec,
    width: u16,
    height: u16,
    /// level_idc: ten (H.264) or thirty (H.265) times the level.
    level: u8,
    bit_depth: u8,
}

const fn profile(
    brand: &'static [u8; 4],
    codec: VideoCodec,
    (width, height): (u16, u16),
    level: u8,
    bit_depth: u8,
) -> Profile {
    Profile { brand, codec, width, height, level, bit_depth }
}

/// Tables A.1 (AVC) and B.1 (HEVC).
const PROFILES: [Profile; 7] = [
    profile(b"cfsd", VideoCodec::H264, (864, 576), 31, 8),
    profile(b"cfhd", VideoCodec::H264, (1920, 1080), 40, 8),
    profile(b"chdf", VideoCodec::H264, (1920, 1080), 42, 8),
    profile(b"chhd", VideoCodec::H265, (1920, 1080), 123, 8),
    profile(b"chh1", VideoCodec::H265, (1920, 1080), 123, 10),
    profile(b"cud8", VideoCodec::H265, (3840, 2160), 150, 8),
    profile(b"cud1", VideoCodec::H265, (3840, 2160), 153, 10),
];
/// Every profile ends here.
const MAX_FRAMES_PER_SECOND: u32 = 60;

fn video(config: &VideoConfig, rate: Option<FrameRate>) -> impl Iterator<Item = FourCC> {
    let picture = codec::picture(config).ok();
    let level = match config.codec {
        VideoCodec::H264 => config.record.get(3),
        VideoCodec::H265 => config.record.get(12),
    };
    let (codec, width, height) = (config.codec, config.width, config.height);
    let level = level.copied().unwrap_or(u8::MAX);
    let slow = rate.is_some_and(|rate| rate.num <= MAX_FRAMES_PER_SECOND * rate.den);
    PROFILES.iter().filter_map(move |profile| {
        let picture = picture.filter(|picture| slow && picture.chroma_format == 1)?;
        let fits = profile.codec == codec
            && width <= profile.width
            && height <= profile.height
            && level <= profile.level
            && picture.bit_depth.max(picture.chroma_bit_depth) <= profile.bit_depth;
        fits.then(|| FourCC::new(profile.brand))
    })
}

/// AAC core: at most two channels at 48 kHz (§10.4); AAC multichannel: up to 7.1 (§10.5).
fn audio(config: &AudioConfig) -> Option<FourCC> {
    let core = config.channels <= 2 && config.sample_rate <= 48_000;
    let multichannel = config.channels > 2 && config.sample_rate <= 48_000;
    if core { Some(FourCC::new(b"caac")) } else { multichannel.then(|| FourCC::new(b"camc")) }
}
