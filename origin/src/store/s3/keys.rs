//! What objects are called.
//!
//! ```text
//! PREFIX/CHANNEL/DAY/RUN/RENDITION/init.mp4
//! PREFIX/CHANNEL/DAY/RUN/RENDITION/K.m4s
//! PREFIX/CHANNEL/DAY/RUN/index/FIRST.json       records of the segments from FIRST on: never changes
//! PREFIX/CHANNEL/head.json                      what the channel is, and its newest segments
//! PREFIX/CHANNEL/holes.json                     segments that S3 will never have, if there are any
//! PREFIX/CHANNEL/index.m3u8, manifest.mpd, RENDITION/index.m3u8    by configuration: for players
//! ```
//! Without a `prefix` they begin with the channel. DAY is that on which the run began, in UTC, and follows from its id: the key of a segment is a
//! function of its URL, nothing has to be looked up, and a rule of a bucket's lifecycle, or a person,
//! finds what belongs together.

use packager::media::RunId;
use packager::time::{Timescale, Timestamp, iso};

/// Names the objects of one channel.
#[derive(Clone, Debug)]
pub(in crate::store) struct Keys {
    /// Prefix and channel, with a slash at the end.
    base: String,
}

impl Keys {
    /// The keys of a channel under a prefix, which is empty or ends with a slash.
    pub(in crate::store) fn new(prefix: &str, channel: &str) -> Self {
        Self { base: format!("{prefix}{channel}/") }
    }

    /// Where a run's objects are.
    fn run(&self, run: &RunId) -> String {
        format!("{}{}/{run}", self.base, day(run))
    }

    pub(in crate::store) fn init(&self, run: &RunId, rendition: &str) -> String {
        format!("{}/{rendition}/init.mp4", self.run(run))
    }

    pub(in crate::store) fn segment(&self, run: &RunId, rendition: &str, k: u64) -> String {
        format!("{}/{rendition}/{k}.m4s", self.run(run))
    }

    pub(super) fn page(&self, run: &RunId, first_k: u64) -> String {
        format!("{}/index/{first_k}.json", self.run(run))
    }

    pub(super) fn head(&self) -> String {
        format!("{}head.json", self.base)
    }

    /// A text for players, by its path below the channel.
    pub(in crate::store) fn text(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) fn holes(&self) -> String {
        format!("{}holes.json", self.base)
    }
}

/// A playlist or manifest with the addresses of these runs as they are in a bucket, where a day stands
/// before the run.
pub fn placed<'a>(text: &str, runs: impl IntoIterator<Item = &'a RunId>) -> String {
    runs.into_iter().fold(text.to_owned(), |text, run| {
        ["../", "\""].iter().fold(text, |text, before| {
            text.replace(&format!("{before}{run}/"), &format!("{before}{}/{run}/", day(run)))
        })
    })
}

/// The day on which a run began, such as `2026-11-26`.
fn day(run: &RunId) -> String {
    let millis = i64::try_from(run.millis()).unwrap_or(i64::MAX);
    let mut text = iso(Timestamp::new(millis, Timescale::MILLIS));
    text.truncate(text.find('T').unwrap_or(text.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_follows_from_the_media_url_and_has_channel_day_and_run_in_order() {
        let keys = Keys::new("live/", "news");
        // 2026-11-26T12:00:00Z
        let run = RunId::from_millis(1_795_694_400_000);
        let base = format!("live/news/2026-11-26/{run}");
        assert_eq!(keys.segment(&run, "720p", 7), format!("{base}/720p/7.m4s"));
        assert_eq!(keys.init(&run, "audio"), format!("{base}/audio/init.mp4"));
        assert_eq!(keys.page(&run, 64), format!("{base}/index/64.json"));
        assert_eq!(keys.head(), "live/news/head.json");
        assert_eq!(keys.text("720p/index.m3u8"), "live/news/720p/index.m3u8");
    }

    #[test]
    fn addresses_in_a_bucket_have_the_day_before_the_run_and_nothing_else_is_touched() {
        let run = RunId::from_millis(1_795_694_400_000);
        let text = format!(
            "URI=\"../{run}/a/init.mp4\"\n../{run}/a/7.m4s\nmedia=\"{run}/b\" id=\"{run}\""
        );
        let day = "2026-11-26";
        let expected = format!(
            "URI=\"../{day}/{run}/a/init.mp4\"\n../{day}/{run}/a/7.m4s\nmedia=\"{day}/{run}/b\" id=\"{run}\""
        );
        assert_eq!(placed(&text, [&run]), expected);
    }
}
