//! The boxes of segments, by mp4-atom: decode times, durations, sync flags.

use std::io::Cursor;

use mp4_atom::{Any, Decode as _};

use crate::{Context, Failure, Result};

/// One `moof` with its `mdat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `mfhd` sequence number.
    pub sequence: u32,
    /// `tfdt`: decode time of the first sample, in ticks of the track.
    pub tfdt: u64,
    /// Its samples, in decoding order.
    pub samples: Vec<FragmentSample>,
}

/// A sample as `trun` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentSample {
    /// Length in ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Whether its flags say that decoding can start here.
    pub sync: bool,
    /// Presentation time minus decode time, in ticks.
    pub composition_offset: i64,
}

impl Fragment {
    /// Decode time of the sample after the last one.
    pub fn end(&self) -> u64 {
        self.tfdt + self.samples.iter().map(|s| u64::from(s.duration)).sum::<u64>()
    }
}

/// What an init segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Init {
    /// Ticks per second of its one track.
    pub timescale: u32,
    /// Values of `trex`, which `tfhd` and `trun` may leave out.
    defaults: Defaults,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Defaults {
    duration: u32,
    size: u32,
    flags: u32,
}

/// Bit of the sample flags: not a sync sample (ISO/IEC 14496-12 §8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;

/// Reads an init segment with one track.
///
/// # Errors
/// If it has no `moov` with exactly one track.
pub fn read_init(bytes: &[u8]) -> Result<Init> {
    for atom in atoms(bytes)? {
        if let Any::Moov(moov) = atom {
            let [track] = moov.trak.as_slice() else {
                return Err(Failure::new(format!("{} tracks in moov", moov.trak.len())));
            };
            let trex = moov.mvex.as_ref().and_then(|mvex| mvex.trex.first());
            let defaults = trex.map_or_else(Defaults::default, |trex| Defaults {
                duration: trex.default_sample_duration,
                size: trex.default_sample_size,
                flags: trex.default_sample_flags,
            });
            return Ok(Init { timescale: track.mdia.mdhd.timescale, defaults });
        }
    }
    Err(Failure::new("no moov in the init segment"))
}

/// Reads the fragments of a segment.
///
/// # Errors
/// If its boxes can't be read, a fragment has no decode time, or the sizes of the samples and of
/// `mdat` differ.
pub fn read_segment(init: &Init, bytes: &[u8]) -> Result<Vec<Fragment>> {
    let mut fragments: Vec<Fragment> = Vec::new();
    for atom in atoms(bytes)? {
        match atom {
            Any::Moof(moof) => fragments.push(fragment(init, &moof)?),
            Any::Mdat(mdat) => {
                let last = fragments.last().context("mdat without a moof before it")?;
                let sum: u64 = last.samples.iter().map(|s| u64::from(s.size)).sum();
                if sum != mdat.data.len() as u64 {
                    let size = mdat.data.len();
                    return Err(Failure::new(format!("samples of {sum} bytes in mdat of {size}")));
                }
            }
            _ => {}
        }
    }
    if fragments.is_empty() { Err(Failure::new("no moof in the segment")) } else { Ok(fragments) }
}

fn fragment(init: &Init, moof: &mp4_atom::Moof) -> Result<Fragment> {
    let [traf] = moof.traf.as_slice() else {
        return Err(Failure::new(format!("{} traf boxes in a moof", moof.traf.len())));
    };
    let tfdt = traf.tfdt.as_ref().context("no tfdt")?.base_media_decode_time;
    let tfhd = &traf.tfhd;
    let duration = tfhd.default_sample_duration.unwrap_or(init.defaults.duration);
    let size = tfhd.default_sample_size.unwrap_or(init.defaults.size);
    let flags = tfhd.default_sample_flags.unwrap_or(init.defaults.flags);
    let samples = traf
        .trun
        .iter()
        .flat_map(|trun| trun.samples.iter())
        .map(|entry| FragmentSample {
            duration: entry.duration.unwrap_or(duration),
            size: entry.size.unwrap_or(size),
            sync: entry.flags.unwrap_or(flags) & NON_SYNC == 0,
            composition_offset: entry.cts.unwrap_or(0),
        })
        .collect();
    Ok(Fragment { sequence: moof.mfhd.sequence_number, tfdt, samples })
}

fn atoms(bytes: &[u8]) -> Result<Vec<Any>> {
    let mut cursor = Cursor::new(bytes);
    let mut atoms = Vec::new();
    while (cursor.position() as usize) < bytes.len() {
        let at = cursor.position();
        atoms.push(Any::decode(&mut cursor).context(format!("box at byte {at}"))?);
    }
    Ok(atoms)
}
