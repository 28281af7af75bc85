//! Which rungs a channel's ladder has: the operator's wishes against the source at run start.
//!
//! A wish is a height. A rung never stands above the source, keeps its aspect, and takes its bit
//! rate from the one table here unless the wish names one. What was wished and is not made is told
//! with the reason. Nothing is encoded here; the worker reads the [`Rung`]s.

use packager::media::Name;
use packager::time::FrameRate;

/// Lowest rung: below it the picture tells nothing.
const MIN_HEIGHT: u16 = 96;
/// Highest rung: 4K UHD, more than one machine encodes live in software.
const MAX_HEIGHT: u16 = 2160;
/// Widest rung; H.264 level 5.2 holds no wider picture at 2160 lines.
const MAX_WIDTH: u32 = 4096;

/// Average bits per second by height at up to 30 fps, for live H.264 at a fast preset. Heights in
/// between are interpolated.
const BITRATES: [(u16, u32); 9] = [
    (96, 120_000),
    (144, 180_000),
    (240, 350_000),
    (360, 700_000),
    (480, 1_200_000),
    (720, 2_800_000),
    (1080, 5_000_000),
    (1440, 8_000_000),
    (2160, 12_000_000),
];
/// Average bits per second of every ladder's sound: transparent stereo for AAC-LC.
pub const AUDIO_BITRATE: u32 = 128_000;
/// Above 30 fps a picture costs less than at 30, as it differs less from the one before: 1.4 times
/// the bits for twice the pictures.
const FAST_PERCENT: u32 = 140;
/// The encoder's rate limit in percent of the average.
const PEAK_PERCENT: u32 = 125;
/// From this height on pictures are coded in High profile; smaller ones go to small devices.
const HIGH_PROFILE_HEIGHT: u16 = 480;

/// What an operator asks for: `720p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// As written; becomes the rendition's name.
    pub name: Name,
    /// Lines of the picture; even, 96–2160.
    pub height: u16,
    /// Average bits per second, if not by the table.
    pub bitrate: Option<u32>,
}

/// Why a text is not a [`Wish`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WishError {
    /// Not digits and `p`.
    #[error("{text:?} is no rung: write a height such as \"720p\"")]
    Form {
        /// What was written.
        text: String,
    },
    /// Odd, too small or too large.
    #[error("{height}p is no rung: heights are even, {MIN_HEIGHT} to {MAX_HEIGHT}")]
    Height {
        /// What was written.
        height: u32,
    },
}

impl std::str::FromStr for Wish {
    type Err = WishError;

    fn from_str(text: &str) -> Result<Self, WishError> {
        let form = || WishError::Form { text: text.to_owned() };
        let digits = text.strip_suffix('p').ok_or_else(form)?;
        // A leading zero or sign would give one rung two names.
        if !digits.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(form());
        }
        let height: u32 = digits.parse().map_err(|_| form())?;
        let fits = u16::try_from(height)
            .ok()
            .filter(|h| (MIN_HEIGHT..=MAX_HEIGHT).contains(h) && h.is_multiple_of(2));
        let height = fits.ok_or(WishError::Height { height })?;
        let name = Name::parse(text).map_err(|_| form())?;
        Ok(Self { name, height, bitrate: None })
    }
}

/// H.264 profiles of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Main.
    Main,
    /// High.
    High,
}

/// One rung as it is made. The H.264 level follows from size, rate and bit rate in the encoder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rung {
    /// The rendition's name.
    #[serde(with = "name_text")]
    pub name: Name,
    /// Width in pixels; even.
    pub width: u16,
    /// Height in pixels; even.
    pub height: u16,
    /// Average bits per second.
    pub average_bitrate: u32,
    /// Bits per second that the encoder's rate control does not exceed.
    pub peak_bitrate: u32,
    /// H.264 profile.
    pub profile: Profile,
}

/// A wish that is not made.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// The wish's name.
    #[serde(with = "name_text")]
    pub name: Name,
    /// Why, for the operator.
    pub reason: String,
}

/// What becomes of the wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rungs, in the order wished; at least one if there was a wish.
    pub rungs: Vec<Rung>,
    /// The wishes that are not made, and wishes made otherwise than asked.
    pub left_out: Vec<LeftOut>,
}

/// Fits the wishes to a source of `source` (width, height) pixels, square or already corrected to
/// square ones. If every wish is above the source, the lowest is made at the source's size and
/// keeps its name, so that a channel always has a picture; the reason says so.
pub fn plan(source: (u16, u16), wishes: &[Wish], rate: FrameRate) -> Plan {
    fit(source, wishes, rate, &format!("above the source's {} lines", source.1))
}

/// The same for what outlives its source: the reasons speak of the first one.
pub fn plan_for_good(source: (u16, u16), wishes: &[Wish], rate: FrameRate) -> Plan {
    fit(source, wishes, rate, "the first source had fewer lines; change `ladder` to plan anew")
}

fn fit(source: (u16, u16), wishes: &[Wish], rate: FrameRate, reason: &str) -> Plan {
    let (_, source_height) = source;
    let mut plan = Plan { rungs: Vec::new(), left_out: Vec::new() };
    for wish in wishes {
        if wish.height <= source_height.max(MIN_HEIGHT) {
            plan.rungs.push(rung(wish, wish.height, source, rate));
        } else {
            plan.left_out.push(LeftOut { name: wish.name.clone(), reason: reason.to_owned() });
        }
    }
    if plan.rungs.is_empty()
        && let Some(lowest) = wishes.iter().min_by_key(|wish| wish.height)
    {
        let height = (source_height & !1).clamp(MIN_HEIGHT, MAX_HEIGHT);
        plan.rungs.push(rung(lowest, height, source, rate));
        if let Some(entry) = plan.left_out.iter_mut().find(|out| out.name == lowest.name) {
            entry.reason =
                format!("made at {height} lines under this name, as no rung is lower: {reason}");
        }
    }
    plan
}

fn rung(wish: &Wish, height: u16, source: (u16, u16), rate: FrameRate) -> Rung {
    let average_bitrate = wish.bitrate.unwrap_or_else(|| table_bitrate(height, rate));
    Rung {
        name: wish.name.clone(),
        width: width_for(height, source),
        height,
        average_bitrate,
        peak_bitrate: percent(average_bitrate, PEAK_PERCENT),
        profile: if height >= HIGH_PROFILE_HEIGHT { Profile::High } else { Profile::Main },
    }
}

/// The even width nearest to the source's aspect.
fn width_for(height: u16, (source_width, source_height): (u16, u16)) -> u16 {
    let (w, h) = (u32::from(source_width.max(2)), u32::from(source_height.max(2)));
    let half = (u32::from(height) * w + h) / (2 * h);
    u16::try_from((half * 2).clamp(2, MAX_WIDTH)).unwrap_or(u16::MAX)
}

fn table_bitrate(height: u16, rate: FrameRate) -> u32 {
    let above = BITRATES.iter().position(|(h, _)| *h >= height).unwrap_or(BITRATES.len() - 1);
    let (h1, b1) = BITRATES[above];
    let (h0, b0) = BITRATES[above.saturating_sub(1)];
    let base = if h1 > h0 && height > h0 {
        b0 + u32::try_from(u64::from(b1 - b0) * u64::from(height.min(h1) - h0) / u64::from(h1 - h0))
            .unwrap_or(0)
    } else {
        b1
    };
    if rate.num > 30 * rate.den { percent(base, FAST_PERCENT) } else { base }
}

fn percent(value: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(value) * u64::from(percent) / 100).unwrap_or(u32::MAX)
}

/// A [`Name`] as text in JSON.
mod name_text {
    use packager::media::Name;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &Name, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Name, D::Error> {
        Name::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
