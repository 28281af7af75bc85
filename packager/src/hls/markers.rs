//! What playlists tell of cues.

/// The kinds of tags, any of which may be written beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// `EXT-X-DATERANGE` (RFC 8216bis §4.4.5.1).
    pub date_ranges: bool,
    /// Tags of the `EXT-X-CUE-OUT` kind, which no standard has but many ad inserters read.
    pub style: Option<CueStyle>,
    /// Where players find what to play in a break themselves: interstitials.
    pub asset_list: Option<AssetList>,
}

impl Markers {
    /// Nothing.
    pub(super) const NONE: Self = Self { date_ranges: false, style: None, asset_list: None };
}

impl Default for Markers {
    fn default() -> Self {
        Self { date_ranges: true, ..Self::NONE }
    }
}

/// How tags of the `EXT-X-CUE-OUT` kind are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CueStyle {
    /// `EXT-X-CUE-OUT`, `-CONT` and `-IN` with lengths.
    Elemental,
    /// The same with the section, in `EXT-OATCLS-SCTE35` and `-CONT`.
    Enhanced,
    /// `EXT-X-SCTE35` (ANSI/SCTE 35 §12.2).
    Scte35,
}

/// The address of asset lists (RFC 8216bis appendix D.2), in which `{id}` stands for the id of the
/// break, `{duration}` for the seconds it is meant to last, empty where nobody said, and `{section}`
/// for the section of SCTE-35 that announced it, in base64 for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetList(String);

/// Why a text is no address of asset lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAssetList {
    /// It is of another kind, or has what can't stand in a playlist.
    #[error("expected an address such as \"https://ads.example.org/list?break={{id}}\"")]
    Address,
    /// A word in braces means nothing.
    #[error("only {{id}}, {{duration}} and {{section}} stand for something")]
    Word,
}

impl std::str::FromStr for AssetList {
    type Err = NoAssetList;

    fn from_str(text: &str) -> Result<Self, NoAssetList> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let quotable = |rest: &&str| {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            !host.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && c != '"')
        };
        rest.filter(quotable).ok_or(NoAssetList::Address)?;
        let bare = WORDS.iter().fold(text.to_owned(), |text, word| text.replace(word, ""));
        if bare.contains(['{', '}']) {
            return Err(NoAssetList::Word);
        }
        Ok(Self(text.to_owned()))
    }
}

const WORDS: [&str; 3] = ["{id}", "{duration}", "{section}"];

impl AssetList {
    /// The address with what its words stand for; that has nothing in it that is not fit for one.
    pub(super) fn address(&self, id: &str, duration: &str, section: &str) -> String {
        let [for_id, for_duration, for_section] = WORDS;
        self.0.replace(for_id, id).replace(for_duration, duration).replace(for_section, section)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_and_its_words_are_known() {
        let list: AssetList =
            "https://a.example/l?b={id}&d={duration}&s={section}".parse().unwrap();
        assert_eq!(
            list.address("05-7-9", "15.0", "_DA"),
            "https://a.example/l?b=05-7-9&d=15.0&s=_DA"
        );
        for bad in ["", "ftp://a/b", "https://", "https:///x", "https://a/\"b", "https://a/b c"] {
            assert_eq!(bad.parse::<AssetList>(), Err(NoAssetList::Address), "{bad}");
        }
        for bad in ["https://a/{break}", "https://a/{id", "https://a/}"] {
            assert_eq!(bad.parse::<AssetList>(), Err(NoAssetList::Word), "{bad}");
        }
    }
}
