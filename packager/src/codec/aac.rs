//! AAC: AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
//!
//! AAC-LC is packaged, alone or under SBR (HE-AAC) and PS (HE-AAC v2). Both may be signalled
//! explicitly, by an object type in front of the core's, or for old decoders by an extension
//! behind it; both ways are read. Implicit signalling, by nothing but the coded frames, is not
//! looked for: such a stream plays everywhere as what its configuration says.
//!
//! Raw frames are not parsed; the one that is written is [`silence`].

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![deny(clippy::arithmetic_side_effects)]

use bytes::Bytes;

use super::bits::BitReader;
use crate::media::AudioConfig;

pub use super::Error;

/// Longest configuration, in bytes. AAC-LC's has 2 to 7; the longest describe a channel layout,
/// which is refused anyway.
const MAX_CONFIG: usize = 64;
/// Lowest sample rate, in Hz.
const MIN_RATE: u32 = 8_000;
/// Highest sample rate, in Hz.
const MAX_RATE: u32 = 96_000;

/// audioObjectType of AAC-LC.
const LC: u32 = 2;
/// audioObjectType of spectral band replication.
const SBR: u32 = 5;
/// audioObjectType of parametric stereo.
const PS: u32 = 29;
/// samplingFrequencyIndex 0 to 12 (table 1.18).
const RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];
/// Channels of channelConfiguration 1 to 7 (table 1.19).
const CHANNELS: [u8; 7] = [1, 2, 3, 4, 5, 6, 8];

/// Reads an AudioSpecificConfig.
pub fn config(asc: Bytes) -> Result<AudioConfig, Error> {
    if asc.len() > MAX_CONFIG {
        return Err(Error::TooLong {
            what: "AudioSpecificConfig",
            len: asc.len(),
            max: MAX_CONFIG,
        });
    }
    let mut bits = BitReader::new(&asc, 0);
    let mut object = object_type(&mut bits)?;
    let core_rate = sample_rate(&mut bits)?;
    let channel_configuration = bits.bits(4, "channelConfiguration")?;
    let mut extension = Extension::default();
    if matches!(object, SBR | PS) {
        extension = Extension { sbr_rate: Some(sample_rate(&mut bits)?), ps: object == PS };
        object = object_type(&mut bits)?;
    }
    if object != LC {
        return Err(Error::Unsupported { what: "AAC object type", value: object });
    }
    let short_frame = bits.flag("frameLengthFlag")?;
    if bits.flag("dependsOnCoreCoder")? {
        bits.skip(14, "coreCoderDelay")?;
    }
    bits.flag("extensionFlag")?;
    let mut channels = channels(channel_configuration)?;
    if extension.sbr_rate.is_none() {
        extension = Extension::behind_core(&mut bits);
    }
    let rate = extension.sbr_rate.unwrap_or(core_rate);
    if !(MIN_RATE..=MAX_RATE).contains(&rate) {
        return Err(Error::Unsupported { what: "sample rate", value: rate });
    }
    // SBR doubles the rate, or keeps it where the doubling is followed by downsampling.
    let core_samples = if short_frame { 960 } else { 1024u32 };
    let frame_samples = match extension.sbr_rate {
        Some(sbr) if sbr == core_rate.saturating_mul(2) => core_samples.saturating_mul(2),
        Some(sbr) if sbr != core_rate => {
            return Err(Error::Unsupported { what: "SBR sample rate", value: sbr });
        }
        _ => core_samples,
    };
    let stereo_from_mono = extension.ps && channels == 1;
    if stereo_from_mono {
        channels = 2;
    }
    let object = match extension.sbr_rate {
        Some(_) if stereo_from_mono => PS,
        Some(_) => SBR,
        None => LC,
    };
    Ok(AudioConfig {
        codec_string: format!("mp4a.40.{object}"),
        sample_rate: rate,
        channels,
        frame_samples,
        record: asc,
    })
}

/// SBR and PS, as signalled.
#[derive(Default)]
struct Extension {
    /// Sample rate behind SBR, if there is SBR.
    sbr_rate: Option<u32>,
    /// Whether there is parametric stereo.
    ps: bool,
}

impl Extension {
    /// Reads the backward compatible signalling behind the core's configuration. Its absence is no
    /// error, and neither are bits that are none of it: a decoder that doesn't know it must pass
    /// over them too.
    fn behind_core(bits: &mut BitReader<'_>) -> Self {
        let mut found = Self::default();
        let _ = found.read(bits);
        found
    }

    fn read(&mut self, bits: &mut BitReader<'_>) -> Result<(), Error> {
        if bits.bits(11, "syncExtensionType")? != 0x2b7 || object_type(bits)? != SBR {
            return Ok(());
        }
        if !bits.flag("sbrPresentFlag")? {
            return Ok(());
        }
        self.sbr_rate = Some(sample_rate(bits)?);
        if bits.bits(11, "syncExtensionType")? == 0x548 {
            self.ps = bits.flag("psPresentFlag")?;
        }
        Ok(())
    }
}

fn object_type(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    match bits.bits(5, "audioObjectType")? {
        31 => Ok(bits.bits(6, "audioObjectTypeExt")?.saturating_add(32)),
        object => Ok(object),
    }
}

fn sample_rate(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let index = bits.bits(4, "samplingFrequencyIndex")?;
    if index == 15 {
        return bits.bits(24, "samplingFrequency");
    }
    let rate = usize::try_from(index).ok().and_then(|index| RATES.get(index));
    rate.copied().ok_or_else(|| bits.invalid("samplingFrequencyIndex"))
}

fn channels(configuration: u32) -> Result<u8, Error> {
    let index = usize::try_from(configuration).ok().and_then(|index| index.checked_sub(1));
    let channels = index.and_then(|index| CHANNELS.get(index)).copied();
    channels.ok_or(Error::Unsupported { what: "AAC channel configuration", value: configuration })
}

mod silence;
pub use silence::silence;

#[cfg(test)]
mod tests;
