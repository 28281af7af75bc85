//! What a rendition costs on the wire: the coded bits plus what CMAF puts around them.
//!
//! Encoders are given bit rates of coded samples; manifests promise bit rates of files. The
//! difference is computed from the format, never measured, so that it is the same in every
//! manifest, on every node, from the first second.

use crate::grid::Grid;
use crate::media::Rendition;

/// Bytes of `moof` and the `mdat` header around a chunk without its sample table: `styp`, `prft`,
/// `mfhd`, `tfhd`, `tfdt`, `trun`. Rounded up, so that the promise holds.
const CHUNK_BYTES: u64 = 160;
/// Bytes of one sample's row in `trun`: duration, size, flags, composition offset.
const SAMPLE_BYTES: u64 = 16;

/// Bits per second of a rendition's segments, container included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// No segment exceeds this by more than a quarter.
    pub peak: u64,
    /// Over a long time.
    pub average: u64,
}

impl Bandwidth {
    /// Of one rendition of a channel with this grid.
    pub(super) fn of(rendition: &Rendition, grid: &Grid) -> Self {
        let scale = u64::from(grid.video_scale().get());
        let samples = match rendition.audio() {
            Some(_) => u64::from(grid.audio_rate).div_ceil(u64::from(grid.audio_frame.max(1))),
            None => u64::from(grid.rate.num).div_ceil(u64::from(grid.rate.den.max(1))),
        };
        // Twice the nominal number of chunks: a boundary displaced by a splice adds short ones.
        let chunks = (2 * scale).div_ceil(grid.part_ticks.max(1));
        let overhead = 8 * (CHUNK_BYTES * chunks + SAMPLE_BYTES * samples);
        Self {
            peak: u64::from(rendition.peak_bitrate) + overhead,
            average: u64::from(rendition.average_bitrate) + overhead,
        }
    }
}
