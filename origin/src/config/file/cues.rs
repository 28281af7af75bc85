//! `[channel.cues]`: how ad breaks are told.

use packager::dash;
use packager::hls::{CueStyle, Markers, NoAssetList};
use toml::de::DeValue;

use super::{Section, join, kind};
use crate::config::{Cues, Periods};

type Result<T> = std::result::Result<T, String>;

/// Longest break without an end that may be asked for: below, a real one would be cut short; above, it is
/// a slip of the unit.
const MAX_BREAK: (u64, u64) = (1_000, 24 * 3_600_000);
/// The tag that is written unless the file says otherwise.
const DATE_RANGE: &str = "daterange";
/// Those of the other kind, of which a playlist has one.
const STYLES: [(&str, CueStyle); 3] = [
    ("elemental", CueStyle::Elemental),
    ("enhanced", CueStyle::Enhanced),
    ("scte35", CueStyle::Scte35),
];

impl Section<'_, '_, '_> {
    /// Reads the section of a channel.
    pub(super) fn cues(&mut self, into: &mut Cues) {
        self.section("cues", |cues| {
            cues.markers(&mut into.hls);
            cues.read("asset_list", &mut into.hls.asset_list, |text| {
                text.parse()
                    .map(Some)
                    .map_err(|error: NoAssetList| format!("{error}, found {text:?}"))
            });
            cues.read("dash", &mut into.dash, events);
            cues.read("periods", &mut into.periods, periods);
            cues.span("max_break", &mut into.max_break, MAX_BREAK);
        });
    }

    /// The kinds of tags in HLS: a list, which may be empty.
    fn markers(&mut self, into: &mut Markers) {
        const KEY: &str = "hls";
        self.walk.asked.insert(join(&self.shape, KEY));
        let Some(value) = self.take(KEY) else { return };
        let DeValue::Array(list) = value.get_ref() else {
            let found = kind(value.get_ref());
            let message = format!("expected a list such as [{DATE_RANGE:?}], found {found}");
            return self.problem(KEY, value.span().start, message);
        };
        into.date_ranges = false;
        for (index, item) in list.iter().enumerate() {
            let read = match item.get_ref() {
                DeValue::String(text) => marker(text, into),
                other => Err(format!("expected a text in quotes, found {}", kind(other))),
            };
            if let Err(message) = read {
                self.problem(&format!("{KEY}[{index}]"), item.span().start, message);
            }
        }
    }
}

fn marker(text: &str, into: &mut Markers) -> Result<()> {
    if text == DATE_RANGE {
        into.date_ranges = true;
        return Ok(());
    }
    let Some((_, style)) = STYLES.iter().find(|(name, _)| *name == text) else {
        let names: Vec<_> = STYLES.iter().map(|(name, _)| format!("{name:?}")).collect();
        let names = names.join(", ");
        return Err(format!("{text:?} is no kind of tag; there are {DATE_RANGE:?}, {names}"));
    };
    if into.style.replace(*style).is_some_and(|other| other != *style) {
        return Err("there is another kind of CUE-OUT tags; a playlist has one".to_owned());
    }
    Ok(())
}

fn events(text: &str) -> Result<dash::Events> {
    match text {
        "xml+bin" => Ok(dash::Events::Binary),
        "xml" => Ok(dash::Events::Xml),
        "inband" => Ok(dash::Events::Inband),
        _ => Err(format!("expected \"xml+bin\", \"xml\" or \"inband\", found {text:?}")),
    }
}

fn periods(text: &str) -> Result<Periods> {
    match text {
        "runs" => Ok(Periods::Runs),
        "breaks" => Ok(Periods::Breaks),
        _ => Err(format!("expected \"runs\" or \"breaks\", found {text:?}")),
    }
}
