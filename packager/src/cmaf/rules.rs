//! The rules of CMAF as checks on what [`read`](super::read) found, one for each row of the
//! conformance list that bytes alone can answer for.
//!
//! Each check takes what was read and says which row is broken and how. They are run on planted
//! faults in this crate, and on the live output of a whole server by the integration tests.

use super::read::{Chunk, FourCc, Init};
use crate::media::Config;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Row of the conformance list, such as `CB-05`.
    pub row: &'static str,
    /// What was found.
    pub why: String,
}

/// Collects what is broken.
#[derive(Default)]
struct Findings(Vec<Broken>);

impl Findings {
    fn expect(&mut self, row: &'static str, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Broken { row, why: why() });
        }
    }
}

/// Brands of the media profiles of video and audio.
const VIDEO_PROFILES: [&FourCc; 7] =
    [b"cfsd", b"cfhd", b"chdf", b"chhd", b"chh1", b"cud8", b"cud1"];
const AUDIO_PROFILES: [&FourCc; 2] = [b"caac", b"camc"];

/// Rules for one init segment.
pub fn init(init: &Init) -> Vec<Broken> {
    let mut found = Findings::default();
    let brand = |brand: &FourCc| init.brands.contains(brand);
    found.expect("CB-01", brand(b"cmfc") || brand(b"cmf2"), || {
        format!("no structural brand in {}", names(&init.brands))
    });
    found.expect("CB-01", init.tracks == 1, || format!("{} tracks", init.tracks));
    found.expect("CB-01", init.extended == [init.track_id], || {
        format!("trex for {:?}, the track is {}", init.extended, init.track_id)
    });
    found.expect("CB-01", init.duration == 0, || format!("duration {}", init.duration));
    let row = if init.config.is_video() { "CB-07" } else { "CB-08" };
    found.expect(row, !init.edit_list, || "there is an edit list".into());
    found.expect(row, brand(b"cmf2"), || "no cmf2".into());
    found.expect("CB-15", init.bitrates.is_some_and(|(peak, average)| peak >= average), || {
        format!("bit rates {:?}", init.bitrates)
    });
    found.expect("CB-15", init.language == "und", || format!("language {}", init.language));
    found.expect("CB-15", !init.roles.is_empty(), || "no role".into());
    found.0
}

/// The rule of a media profile brand, for a track that is within the bounds of one.
pub fn media_profile(init: &Init) -> Vec<Broken> {
    let profiles: &[&FourCc] = match init.config {
        Config::Video(_) => &VIDEO_PROFILES,
        Config::Audio(_) => &AUDIO_PROFILES,
    };
    let mut found = Findings::default();
    let named = init.brands.iter().any(|brand| profiles.contains(&brand));
    found.expect("CB-01", named, || format!("no media profile in {}", names(&init.brands)));
    found.0
}

/// Rules for a whole segment: all chunks of number `k`, first to last, as they lie in its file.
pub fn segment(k: u64, video: bool, chunks: &[Chunk]) -> Vec<Broken> {
    let mut found = Findings::default();
    for (part, chunk) in (0u64..).zip(chunks) {
        if part == 0 {
            segment_start(&mut found, chunk);
        }
        let later = chunk.brands.is_empty() || chunk.brands.contains(b"cmfl");
        found.expect("CB-02", part == 0 || later, || {
            format!("part {part} has a styp without cmfl: {}", names(&chunk.brands))
        });
        let sequence = (u128::from(k) * 64 + u128::from(part)) % (1 << 32);
        found.expect("CB-03", u128::from(chunk.sequence) == sequence, || {
            format!("part {part} has sequence {}, not {sequence}", chunk.sequence)
        });
        structure(&mut found, chunk, video);
    }
    found.expect("CB-03", !chunks.is_empty(), || "no chunk".into());
    found.0.extend(line(chunks));
    found.0
}

/// What only the first chunk of a segment has.
fn segment_start(found: &mut Findings, chunk: &Chunk) {
    for brand in [b"msdh", b"cmfs", b"cmff"] {
        found.expect("CB-02", chunk.brands.contains(brand), || {
            format!("no {} in styp {}", names(&[*brand]), names(&chunk.brands))
        });
    }
    let sync = chunk.samples.first().is_some_and(|s| s.is_sync() && s.is_independent());
    found.expect("CB-06", sync, || "the first sample is no sync sample".into());
    found.expect("DL-07", chunk.prft.is_some(), || "no prft".into());
    if let Some(prft) = chunk.prft {
        found.expect("DL-07", prft.media_time == chunk.base_decode_time, || {
            format!("prft at {}, tfdt at {}", prft.media_time, chunk.base_decode_time)
        });
    }
}

/// What every chunk has.
fn structure(found: &mut Findings, chunk: &Chunk, video: bool) {
    found.expect("CB-03", in_order(&chunk.boxes), || names(&chunk.boxes));
    found
        .expect("CB-03", chunk.track_fragments == 1, || format!("{} trafs", chunk.track_fragments));
    found.expect("CB-04", chunk.default_base_is_moof, || "no default-base-is-moof".into());
    let mut next = i64::try_from(chunk.data.start).unwrap_or(i64::MAX);
    for (at, sample) in chunk.samples.iter().enumerate() {
        found.expect("CB-04", sample.offset == next, || {
            format!("sample {at} lies at {}, not at {next}", sample.offset)
        });
        next = sample.offset.saturating_add(i64::from(sample.size));
    }
    found.expect("CB-04", usize::try_from(next).is_ok_and(|end| end == chunk.data.end), || {
        format!("samples end at {next}, mdat at {}", chunk.data.end)
    });
    found.expect("CB-05", chunk.tfdt_version == 1, || "tfdt has 32 bits".into());
    found.expect("CB-07", !video || chunk.trun_version == 1, || {
        "composition offsets are unsigned".into()
    });
}

/// `styp? prft? emsg* moof mdat`.
fn in_order(boxes: &[FourCc]) -> bool {
    let mut rest = boxes;
    for (kind, many) in [(b"styp", false), (b"prft", false), (b"emsg", true)] {
        while let [first, tail @ ..] = rest
            && first == kind
        {
            rest = tail;
            if !many {
                break;
            }
        }
    }
    rest == [*b"moof", *b"mdat"]
}

/// The rule of decode times, for chunks that follow each other: in a segment, over segments, over a
/// restart.
pub fn line(chunks: &[Chunk]) -> Vec<Broken> {
    let mut found = Findings::default();
    for pair in chunks.windows(2) {
        let [before, after] = pair else { continue };
        let end = before.base_decode_time.saturating_add(before.duration());
        found.expect("CB-05", after.base_decode_time == end, || {
            format!("tfdt {} after samples that end at {end}", after.base_decode_time)
        });
    }
    found.0
}

/// The rule that ntp and media time are the same instant, to 10 ms; media time counts from the Unix
/// epoch in ticks of `timescale`.
pub fn reference_times(timescale: u32, chunks: &[Chunk]) -> Vec<Broken> {
    let mut found = Findings::default();
    for prft in chunks.iter().filter_map(|chunk| chunk.prft) {
        let media = u128::from(prft.media_time) * 1_000 / u128::from(timescale.max(1));
        // The 32 bits of seconds wrap in 2036: compared within an era.
        let media = media + NTP_TO_UNIX * 1_000;
        let ntp = (u128::from(prft.ntp) * 1_000) >> 32;
        let era = 1_000u128 << 32;
        let apart = (media % era).abs_diff(ntp);
        found.expect("DL-07", apart.min(era - apart) <= 10, || {
            format!("ntp and media time are {apart} ms apart")
        });
    }
    found.0
}

/// Seconds from the NTP epoch (1900) to the Unix epoch.
const NTP_TO_UNIX: u128 = 2_208_988_800;

/// The rules of a switching set: renditions that a player may change between.
pub fn switching_set(inits: &[Init]) -> Vec<Broken> {
    let mut found = Findings::default();
    let Some((first, rest)) = inits.split_first() else {
        return found.0;
    };
    for other in rest {
        found.expect("CB-09", other.sample_entry == first.sample_entry, || {
            format!("sample entries {}", names(&[first.sample_entry, other.sample_entry]))
        });
        found.expect("CB-09", other.timescale == first.timescale, || {
            format!("timescales {} and {}", first.timescale, other.timescale)
        });
        found.expect("CB-07", other.edit_list == first.edit_list, || {
            "an edit list in one and not in the other".into()
        });
    }
    let profile =
        |brand: &&FourCc| VIDEO_PROFILES.contains(brand) || AUDIO_PROFILES.contains(brand);
    let shared = |brand: &FourCc| rest.iter().all(|other| other.brands.contains(brand));
    let common = first.brands.iter().filter(profile).any(shared);
    found.expect("CB-09", common, || "no media profile in common".into());
    found.0
}

fn names(codes: &[FourCc]) -> String {
    let names: Vec<_> = codes.iter().map(|code| String::from_utf8_lossy(code)).collect();
    names.join(" ")
}
