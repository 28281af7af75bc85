//! A frame of silence: a raw_data_block (ISO/IEC 14496-3 §4.4.2.1) without a single spectral line.
//!
//! Every element of the channel configuration (table 1.19) is there, each with max_sfb 0: no
//! section, no scale factor, no spectrum, and so zeros in every channel once the frame before has
//! faded out. Under SBR and PS it is the core's frame; a decoder that finds no extension in it
//! doubles the rate of the silence.

use bytes::Bytes;

use super::super::bits::{BitReader, BitWriter};
use super::{Error, object_type, sample_rate};
use crate::media::AudioConfig;

/// A syntactic element of a raw_data_block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// single_channel_element.
    Single,
    /// channel_pair_element.
    Pair,
    /// lfe_channel_element.
    Low,
}

impl Element {
    /// The elements of channelConfiguration 1 to 7, in order.
    fn of(configuration: u32) -> Option<&'static [Self]> {
        Some(match configuration {
            1 => &[Self::Single],
            2 => &[Self::Pair],
            3 => &[Self::Single, Self::Pair],
            4 => &[Self::Single, Self::Pair, Self::Single],
            5 => &[Self::Single, Self::Pair, Self::Pair],
            6 => &[Self::Single, Self::Pair, Self::Pair, Self::Low],
            7 => &[Self::Single, Self::Pair, Self::Pair, Self::Pair, Self::Low],
            _ => return None,
        })
    }

    /// id_syn_ele.
    fn id(self) -> u32 {
        match self {
            Self::Single => 0,
            Self::Pair => 1,
            Self::Low => 3,
        }
    }
}

/// id_syn_ele of the end of a block.
const END: u32 = 7;

/// A frame of silence of this configuration, as long as each of its frames.
///
/// # Errors
/// The record is none that [`config`](super::config) takes.
pub fn silence(config: &AudioConfig) -> Result<Bytes, Error> {
    let mut asc = BitReader::new(&config.record, 0);
    object_type(&mut asc)?;
    sample_rate(&mut asc)?;
    let configuration = asc.bits(4, "channelConfiguration")?;
    let elements = Element::of(configuration)
        .ok_or(Error::Unsupported { what: "AAC channel configuration", value: configuration })?;
    let mut bits = BitWriter::default();
    for (position, element) in elements.iter().enumerate() {
        // Elements of a kind are told apart by their tags.
        let before = elements.iter().take(position).filter(|other| *other == element).count();
        bits.bits(3, element.id());
        bits.bits(4, u32::try_from(before).unwrap_or(0));
        match element {
            Element::Pair => {
                // common_window, one ics_info for both, ms_mask_present.
                bits.bits(1, 1);
                ics_info(&mut bits);
                bits.bits(2, 0);
                channel(&mut bits, false);
                channel(&mut bits, false);
            }
            Element::Single | Element::Low => channel(&mut bits, true),
        }
    }
    bits.bits(3, END);
    Ok(bits.finish().into())
}

/// One long window without a scale factor band (§4.4.2.1, table 4.6).
fn ics_info(bits: &mut BitWriter) {
    // ics_reserved_bit, window_sequence ONLY_LONG, window_shape, max_sfb, predictor_data_present.
    bits.bits(1 + 2 + 1 + 6 + 1, 0);
}

/// individual_channel_stream (table 4.44).
fn channel(bits: &mut BitWriter, own_window: bool) {
    // global_gain, which scales nothing.
    bits.bits(8, 0);
    if own_window {
        ics_info(bits);
    }
    // pulse_data_present, tns_data_present, gain_control_data_present.
    bits.bits(3, 0);
}
