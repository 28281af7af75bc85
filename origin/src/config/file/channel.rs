//! `[[channel]]`: the channels, and what each of them may wish for beside the other sections.

use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Given, Section, join, kind};
use crate::config::{Channel, Config, Datagrams, Fallback, Rung, Source, value};

/// Segments the grid can have, in milliseconds.
const SEGMENT: (u64, u64) = (1_000, 6_000);
/// Parts the grid can have, in milliseconds; half a segment is the other bound.
const PART: (u64, u64) = (200, 1_000);
/// A window below this is shorter than what players start behind the edge; above, lists
/// and the index of a channel grow beyond reason, and what is to be kept is better kept as a recording.
const WINDOW: (u64, u64) = (10_000, 7 * 24 * 3_600_000);
/// How long a channel may go on without its source.
const HOLD: (u64, u64) = (1_000, 24 * 3_600_000);
/// A slate within less would be seen at every hiccup of a link.
const SLATE_AFTER: (u64, u64) = (1_000, 24 * 3_600_000);
/// What S3 keeps beyond the window: less than a minute is a slip of the unit, and so is more than ten
/// years.
const KEEP: (u64, u64) = (60_000, 3_653 * 24 * 3_600_000);
/// Bytes that S3 keeps of a channel.
const KEEP_SIZE: (u64, u64) = (1 << 20, 1 << 50);
/// Rungs of one ladder: each is an encoder, and no player gains from more.
const MAX_RUNGS: usize = 8;

impl<'a> Section<'_, 'a, '_> {
    /// The channels, beside what the other sections say.
    pub(super) fn channels(&mut self, others: &Config) -> Vec<Channel> {
        let mut channels: Vec<Channel> = Vec::new();
        let Some(value) = self.take("channel") else { return channels };
        let DeValue::Array(list) = value.get_ref() else {
            let message = format!("expected [[channel]], found {}", kind(value.get_ref()));
            self.problem("channel", value.span().start, message);
            return channels;
        };
        for (index, item) in list.iter().enumerate() {
            let path = format!("channel[{index}]");
            let DeValue::Table(table) = item.get_ref() else {
                let message = format!("expected a table, found {}", kind(item.get_ref()));
                self.walk.problem(&path, Some(item.span().start), message);
                continue;
            };
            let mut section = Section::new(self.walk, path, "channel", table);
            let channel = section.channel();
            if let Some(channel) = channel {
                if channels.iter().any(|other| other.name == channel.name) {
                    let at = section.take("name").map_or(0, |v| v.span().start);
                    section.problem(
                        "name",
                        at,
                        format!("there is another channel {:?}", channel.name.as_str()),
                    );
                }
                let taken = channel.source.as_ref().is_some_and(|source| {
                    channels
                        .iter()
                        .filter_map(|other| other.source.as_ref())
                        .any(|o| source.clashes(o))
                });
                if taken {
                    let at = section.take("source").map_or(0, |v| v.span().start);
                    let words = "another channel listens on this address and port";
                    section.problem("source", at, words.to_owned());
                }
                section.beside(&channel, others);
                channels.push(channel);
            } else if !section.table.iter().any(|(key, _)| key.get_ref() == "name") {
                section.problem("name", item.span().start, "a channel has a name".to_owned());
            }
            section.finish();
        }
        channels
    }

    /// What a channel can't wish for beside the other sections.
    fn beside(&mut self, channel: &Channel, others: &Config) {
        let kept = [("keep", channel.keep.is_some()), ("keep_size", channel.keep_size.is_some())];
        for (key, _) in kept.into_iter().filter(|(_, is_set)| *is_set && others.store.s3.is_none())
        {
            let at = self.take(key).map_or(0, |v| v.span().start);
            let words = "only what is in S3 is kept beyond the window: see [store]";
            self.problem(key, at, words.to_owned());
        }
        let doors = [
            ("callers of [srt]", Some(others.srt.listen)),
            ("browsers, by [webrtc],", others.webrtc.listen),
        ];
        for (who, address) in doors {
            let Some(address) = address else { continue };
            let rtp = false;
            let door = Source::Datagrams(Datagrams { rtp, address, interface: None, from: None });
            if channel.source.as_ref().is_some_and(|source| source.clashes(&door)) {
                let at = self.take("source").map_or(0, |v| v.span().start);
                self.problem("source", at, format!("{who} come to this address and port"));
            }
        }
    }

    /// Reads a channel; `None` where its name is missing or wrong.
    fn channel(&mut self) -> Option<Channel> {
        let mut name = None;
        self.read("name", &mut name, |text| value::channel_name(text).map(Some));
        let placeholder = packager::media::Name::parse("x").ok()?;
        let mut channel = Channel::named(name.clone().unwrap_or(placeholder));
        if let Some(Given { text, at, place }) = self.secret("key", "key_env") {
            match value::key(&text) {
                Ok(key) => channel.key = Some(key),
                Err(message) => self.problem(place, at, message),
            }
        }
        if let Some(Given { text, at, place }) = self.secret("passphrase", "passphrase_env") {
            match value::passphrase(&text) {
                Ok(passphrase) => channel.passphrase = Some(passphrase),
                Err(message) => self.problem(place, at, message),
            }
        }
        self.read("max_bitrate", &mut channel.max_bitrate, value::max_bitrate);
        self.ladder(&mut channel);
        self.read("fallback", &mut channel.fallback, value::fallback);
        if !channel.pass_through && channel.fallback != Fallback::Refuse {
            let at = self.take("fallback").map_or(0, |v| v.span().start);
            let message = "only a channel with ladder = \"source\" has a fallback".to_owned();
            self.problem("fallback", at, message);
        }
        self.source(&mut channel);
        if channel.source.is_some() && channel.key.is_some() {
            let place = if self.take("key").is_some() { "key" } else { "key_env" };
            let at = self.take(place).map_or(0, |v| v.span().start);
            let message = "a channel with a source of its own takes no publisher, and needs no key";
            self.problem(place, at, message.to_owned());
        }
        self.read("program", &mut channel.program, |text| value::program(text).map(Some));
        self.read("fps", &mut channel.fps, |text| value::frame_rate(text).map(Some));
        self.span("segment", &mut channel.segment, SEGMENT);
        self.span("part", &mut channel.part, PART);
        self.span("window", &mut channel.window, WINDOW);
        self.read("keep", &mut channel.keep, |text| {
            value::millis(text, KEEP.0, KEEP.1).map(Duration::from_millis).map(Some)
        });
        self.read("keep_size", &mut channel.keep_size, |text| {
            value::bytes(text, KEEP_SIZE.0, KEEP_SIZE.1).map(Some)
        });
        self.duration("hold", &mut channel.hold, HOLD);
        self.duration("slate_after", &mut channel.slate_after, SLATE_AFTER);
        self.read("slate", &mut channel.slate, |text| value::slate(text).map(Some));
        self.read("record", &mut channel.record, value::record);
        self.cues(&mut channel.cues);
        if channel.part.ticks * 2 > channel.segment.ticks {
            let at =
                self.take("part").or_else(|| self.take("segment")).map_or(0, |v| v.span().start);
            let half = value::print_millis(channel.segment.ticks / 2);
            self.problem("part", at, format!("a part is at most half a segment, here {half}"));
        }
        name.map(|name| Channel { name, ..channel })
    }

    fn source(&mut self, channel: &mut Channel) {
        self.read("source", &mut channel.source, |text| value::source(text).map(Some));
        let Some((text, at)) = self.text("repeat") else { return };
        match (value::repeat(text), &mut channel.source) {
            (Err(message), _) => self.problem("repeat", at, message),
            (Ok(wish), Some(Source::File { repeat, .. })) => *repeat = wish,
            (Ok(_), _) => {
                let message = "only a channel whose source is a file repeats it".to_owned();
                self.problem("repeat", at, message);
            }
        }
    }

    fn ladder(&mut self, channel: &mut Channel) {
        const KEY: &str = "ladder";
        self.walk.asked.insert(join(&self.shape, KEY));
        let Some(value) = self.take(KEY) else { return };
        let at = value.span().start;
        let list = match value.get_ref() {
            DeValue::Array(list) => list,
            DeValue::String(text) if text == "source" => {
                channel.pass_through = true;
                channel.ladder = Vec::new();
                return;
            }
            other => {
                let message = format!(
                    "expected a list such as [\"720p\", \"480p\"], or \"source\", found {}",
                    kind(other)
                );
                return self.problem(KEY, at, message);
            }
        };
        if list.is_empty() || list.len() > MAX_RUNGS {
            let message = format!("a ladder has 1 to {MAX_RUNGS} rungs, this one {}", list.len());
            return self.problem(KEY, at, message);
        }
        let mut rungs: Vec<Rung> = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let Some(rung) = self.rung(index, item) else { continue };
            if rungs.iter().any(|other| other.height == rung.height) {
                self.problem(
                    &format!("{KEY}[{index}]"),
                    item.span().start,
                    format!("{} is there twice", rung.name),
                );
            }
            rungs.push(rung);
        }
        rungs.sort_by_key(|rung| std::cmp::Reverse(rung.height));
        channel.ladder = rungs;
    }

    /// A rung: `"720p"`, or `{ height = "720p", bitrate = "3M" }`.
    fn rung(&mut self, index: usize, item: &Spanned<DeValue<'_>>) -> Option<Rung> {
        let path = join(&self.path, &format!("ladder[{index}]"));
        match item.get_ref() {
            DeValue::String(text) => match value::height(text) {
                Ok(height) => Rung::of_height(height, None),
                Err(message) => {
                    self.walk.problem(&path, Some(item.span().start), message);
                    None
                }
            },
            DeValue::Table(table) => {
                let mut section = Section::new(self.walk, path, "channel.ladder", table);
                let (mut height, mut bitrate) = (None, None);
                section.read("height", &mut height, |text| value::height(text).map(Some));
                section.read("bitrate", &mut bitrate, |text| value::bitrate(text).map(Some));
                if !table.iter().any(|(key, _)| key.get_ref() == "height") {
                    section.problem("height", item.span().start, "a rung has a height".to_owned());
                }
                section.finish();
                height.and_then(|height| Rung::of_height(height, bitrate))
            }
            other => {
                let message = format!("expected a height such as \"720p\", found {}", kind(other));
                self.walk.problem(&path, Some(item.span().start), message);
                None
            }
        }
    }
}
